"""What the checker reads of an int8 file, and how it computes float32 without a machine's, beside onnxruntime."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from tests.draws import draws
from tests.encoders.quantised.test_reader import UNFUSED, Edit, quantised, unfused
from tests.int8_builder import Int8Layer, random_int8, write_int8
from tests.int8_points import executed
from verifier.checker import UncheckableError
from verifier.checker.int8_file import read_int8
from verifier.checker.int8_network import BEYOND, Int8Network, Scale, float32


def test_float32_rounds_as_machines_do() -> None:
    rng = np.random.default_rng(0)
    for _ in range(draws(1000, 20000)):
        x = np.float32(rng.normal() * 10.0 ** rng.uniform(-44, 10))
        by = np.float32(10.0 ** rng.uniform(-20, 10))
        whole = int(rng.integers(-(2**24), 2**24))
        level, n = int(rng.integers(-(2**20), 2**20)), int(rng.integers(1, 2**16))
        assert float32(Fraction(float(x)) / Fraction(float(by))) == Fraction(float(x / by))
        assert float32(whole * Fraction(float(by))) == Fraction(float(np.float32(whole) * by))
        assert float32(Fraction(level, n)) == Fraction(float(np.float32(level / n)))  # through float64, as grids do


def test_float32_at_halves_and_at_its_end() -> None:
    one = Fraction(2**24)
    assert [float32(one + k) - one for k in (1, 2, 3)] == [0, 2, 4]
    assert float32(Fraction(1, 2**150)) == 0
    assert float32(Fraction(3, 2**150)) == Fraction(2, 2**149)
    assert float32(-Fraction(5, 2**151)) == -Fraction(1, 2**149)


def test_levels_by_hand() -> None:
    scale = Scale(Fraction(1, 2), 3)
    assert [scale.level(Fraction(k, 4)) for k in (-9, -7, 0, 1, 3, 5, 1000)] == [0, 0, 3, 3, 5, 5, 255]
    assert scale.value(5) == 1


def replays(path: Path, network: Int8Network, rng: np.random.Generator, shape: tuple[int, ...]) -> None:
    """Random inputs have the scores that onnxruntime gives, to the bit."""
    for _ in range(10):
        x = rng.uniform(-0.3, 1.3, shape).astype(np.float32)
        levels = np.array([network.source.level(Fraction(float(v))) for v in x.reshape(-1)])
        assert [float(v) for v in network.classified(levels)] == executed(path, x[None])[0].tolist()


def test_random_nets_replay(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    for k in range(draws(8, 100)):
        path = random_int8(rng, tmp_path / f"{k}.onnx")
        network = read_int8(path.read_bytes(), {})
        replays(path, network, rng, (network.inputs,))


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("form", ["QDQ", "QOperator"])
@pytest.mark.parametrize(("kind", "levels"), [("gemm", "QInt8"), ("matmul", "QUInt8"), ("conv", "QInt8")])
def test_each_form_replays(kind: str, levels: str, form: str, per_channel: bool, tmp_path: Path) -> None:
    path = quantised(kind, tmp_path, form, levels, per_channel)
    shape = (2, 4, 4) if kind == "conv" else (6,)
    replays(path, read_int8(path.read_bytes(), {}), np.random.default_rng(2), shape)


def test_thresholds_are_where_levels_begin(tmp_path: Path) -> None:
    for seed in range(4):
        network = read_int8(random_int8(np.random.default_rng(seed), tmp_path / "net.onnx").read_bytes(), {})
        for layer in network.layers:
            for j, row in enumerate(layer.least[:, 1:-1].tolist()):
                for level, least in enumerate(row[:: 1 + seed * 20], 1):
                    wanted = 1 + (level - 1) * (1 + seed * 20)
                    assert least == BEYOND or layer.level(least, j) >= wanted
                    assert least == -(2**24) or layer.level(least - 1, j) < wanted


def test_the_sample_net_is_refused_where_its_form_is_not_known(tmp_path: Path) -> None:
    layers = [Int8Layer(np.array([[3, -2]]), np.array([5]), np.array([0.1], np.float32), 0.5, 7)]
    path = write_int8(layers, tmp_path / "net.onnx", 1 / 64, relu=True)

    def refused(change: str) -> str:
        model = onnx.load(path)
        nodes = {node.op_type: node for node in model.graph.node}
        if change == "relu":
            nodes["Gemm"].output[0] = "before"
            model.graph.node.insert(5, onnx.helper.make_node("Relu", ["before"], ["g1"]))
        elif change == "alpha":
            nodes["Gemm"].attribute.append(onnx.helper.make_attribute("alpha", 2.0))
        elif change == "end":
            model.graph.node.pop()
            model.graph.output[0].name = "q1"
        else:
            values: dict[str, tuple[str, Any]] = {
                "bias": ("c1", np.array(0.1 / 32, np.float32)),
                "zero": ("v1", np.array(1, np.int8)),
            }
            name, value = values[change]
            held = next(one for one in model.graph.initializer if one.name == name)
            held.CopyFrom(onnx.numpy_helper.from_array(value, name))
        with pytest.raises(UncheckableError) as told:
            read_int8(model.SerializeToString(), {})
        return str(told.value)

    assert "Relu stands before levels that reach below zero" in refused("relu")
    assert "alpha, beta or transA" in refused("alpha")
    assert "does not end in a DequantizeLinear" in refused("end")
    assert "its bias has other scales" in refused("bias")
    assert "zero points other than 0" in refused("zero")


def test_two_weights_whose_products_16_bits_do_not_hold_are_refused(tmp_path: Path) -> None:
    def written(*weights: int) -> bytes:
        layer = Int8Layer(np.array([[1, -2, 3], weights]), np.array([5, 0]), np.array([0.1], np.float32), 0.5)
        return write_int8([layer], tmp_path / "net.onnx", 1 / 64).read_bytes()

    read_int8(written(64, 3, -64), {})
    with pytest.raises(UncheckableError, match="some processors cut off their sum"):
        read_int8(written(-65, 3, 64), {})


@pytest.mark.parametrize("edit", UNFUSED)
def test_what_a_runtime_does_not_fuse_is_refused(edit: Edit, tmp_path: Path) -> None:
    with pytest.raises(UncheckableError, match="not fuse"):
        read_int8(unfused(edit, tmp_path).read_bytes(), {})
