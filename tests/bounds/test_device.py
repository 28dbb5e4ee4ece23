"""Which device is taken, and what a GPU is refused for."""

from __future__ import annotations

import pytest
import torch

from bounds import device
from bounds.device import EMULATE, HOW, check_environment, check_products, multiplies, pick_device
from encoders.errors import OptionError


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A GPU as far as anybody can see, in an environment that says nothing about it."""
    for name in (EMULATE, *HOW):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(device, "multiplies", lambda name: True)
    return monkeypatch


def test_a_gpu_is_taken_where_there_is_one(gpu: pytest.MonkeyPatch) -> None:
    assert pick_device("auto") == "cuda"
    assert pick_device("cuda:0") == "cuda:0"
    assert pick_device("cpu") == "cpu"
    gpu.setattr(torch.cuda, "is_available", lambda: False)
    assert pick_device("auto") == "cpu"
    with pytest.raises(OptionError, match="sees no GPU"):
        pick_device("cuda")


@pytest.mark.parametrize(("name", "value"), [(EMULATE, "1"), (HOW[0], "20"), (HOW[1], "eager")])
def test_emulated_float64_is_refused(gpu: pytest.MonkeyPatch, name: str, value: str) -> None:
    gpu.setenv(name, value)
    for wanted in ("auto", "cuda"):
        with pytest.raises(OptionError, match=f"{name}={value}: .*unset it") as refused:
            pick_device(wanted)
        assert "\n" not in str(refused.value)
    assert pick_device("cpu") == "cpu"  # where cuBLAS has no say
    gpu.setenv(EMULATE, "0")
    check_environment()


def test_a_gpu_whose_products_are_no_sums_is_refused(gpu: pytest.MonkeyPatch) -> None:
    check_products("cuda")
    gpu.setattr(device, "multiplies", lambda name: False)
    with pytest.raises(OptionError, match="device cpu"):
        check_products("cuda")
    check_products("cpu")


def test_ordinary_products_pass_and_fixed_point_ones_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "SIZE", 8)
    assert multiplies.__wrapped__("cpu")
    product = torch.Tensor.__matmul__

    def emulated(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """Each row of a, and column of b, as whole numbers of 79 bits beside its largest."""
        unit_a, unit_b = a.abs().amax(1, keepdim=True) * 2.0**-79, b.abs().amax(0, keepdim=True) * 2.0**-79
        return product((a / unit_a).round() * unit_a, (b / unit_b).round() * unit_b)

    monkeypatch.setattr(torch.Tensor, "__matmul__", emulated)
    assert not multiplies.__wrapped__("cpu")
