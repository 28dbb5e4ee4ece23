"""Published exact minima of two toy nets (MIPVerify's tests), and real nets against their file."""

from __future__ import annotations

import json

import numpy as np
import pytest
from _pytest.mark.structures import ParameterSet

from tests.shared_data import FOLDER, shared_data
from verifier.answer import distance, verify
from verifier.question.model import load
from verifier.question.results import Verdict

LONG = (  # they take a while; in L1 the minimum is our own
    "['conv_pool_fc.onnx', [2], 'l1', 6.146451420498723]",
    "['conv_pool_fc.onnx', [2], 'linf', 0.42705843139919314]",
)


def questions() -> list[ParameterSet]:
    """Every question once: some stand in the file twice, with a minimum that was published and with our own."""
    path = FOLDER / "mipverify_fixtures" / "expected.json"
    if not path.exists():
        return [pytest.param(None, id="no data")]
    asked: dict[str, dict[str, object]] = {}
    for case in json.loads(path.read_text())["cases"]:
        asked.setdefault(str([case[key] for key in ("model", "targets_0based", "norm", "milp_recheck")]), case)
    return [
        pytest.param(case, id=name, marks=[pytest.mark.exhaustive] if name in LONG else [])
        for name, case in asked.items()
    ]


NETS = sorted(path.name for path in FOLDER.glob("*.onnx")) or ["wk17a.onnx"]


@pytest.mark.slow
@pytest.mark.usefixtures("quick_attacks")
@pytest.mark.parametrize("case", questions())
def test_published_minima(case: dict[str, object] | None) -> None:
    folder = shared_data("mipverify_fixtures")
    assert case is not None
    name, targets = str(case["model"]), case["targets_0based"]
    assert isinstance(targets, list)
    sample = np.load(folder / "inputs.npz")[name.removesuffix(".onnx")]
    result = distance(load(folder / name), sample, norm=str(case["norm"]), targets=tuple(targets), time_limit=1200.0)
    expected = case["milp_recheck"]
    if expected is None:
        assert result.lower == float("inf")
        return
    assert isinstance(expected, float)
    assert result.verdict is Verdict.EXACT
    assert result.lower <= expected + 1e-6 * max(1.0, expected)
    assert result.upper >= expected - 1e-6 * max(1.0, expected)
    assert result.lower == pytest.approx(expected, abs=1e-6, rel=1e-6)


@pytest.mark.parametrize("name", NETS)
def test_real_nets_agree_with_onnxruntime(name: str) -> None:
    compared = load(shared_data(name)).comparison
    assert compared is not None
    assert compared.difference < min(1e-4, compared.allowed)


@pytest.mark.slow
def test_wk17a_decisions() -> None:
    # Test images 0 (robust at 0.1), 92 (adversarial at 0.0365) and 247 (misclassified), as MIPVerify found them.
    model, data = load(shared_data("wk17a.onnx")), np.load(shared_data("mnist_test.npz"))
    expected = {0: Verdict.CERTIFIED, 92: Verdict.FALSIFIED, 247: Verdict.MISCLASSIFIED}
    for index, verdict in expected.items():
        sample = data["x"][index].astype(np.float32) / np.float32(255)
        assert verify(model, sample, 0.1, label=int(data["y"][index]), time_limit=1200.0).verdict is verdict
