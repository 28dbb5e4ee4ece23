"""An adversary must be one at the file's own output too, where a Softmax, Sigmoid or ArgMax rounds its scores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

import verifier
from tests.small_files import f32, gemm, head, node, written
from verifier.question.incumbent import Incumbent
from verifier.question.model import beside_threshold
from verifier.question.results import Verdict

pytestmark = pytest.mark.usefixtures("quick_attacks")
TAILS = {
    "softmax": [node("Softmax", ["t"], ["y"], axis=-1)],
    "log-softmax": [node("LogSoftmax", ["t"], ["y"], axis=-1)],
    "sigmoid": [node("Sigmoid", ["t"], ["y"])],
    "argmax": [
        node("Softmax", ["t"], ["u"], axis=-1),
        node("ArgMax", ["u"], ["v"], axis=-1, keepdims=0),
        node("Cast", ["v"], ["y"], to=onnx.TensorProto.FLOAT),
    ],
}
CROSSING = head([[2.0], [0.7]], [8.0, 9.0])  # class 0 where 1.3 x > 1
BORDER = 1.0 / (2.0 - float(f32(0.7)))


def classifier(folder: Path, tail: list[onnx.NodeProto], numbers: dict[str, np.ndarray] = CROSSING) -> Path:
    """A net of one input and two scores, with operators behind them."""
    outputs = {"y": (1,) if tail[-1].op_type == "Cast" else (1, 2)}
    return written(folder / "net.onnx", [gemm("x", "t"), *tail], numbers, outputs=outputs)


def class_of(path: Path, x: np.ndarray) -> int | None:
    """The class that who runs the file sees: the largest output, none where two are; or the number that it says."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (output,) = session.run(None, {session.get_inputs()[0].name: f32(x).reshape(1, -1)})
    if output.size == 1:
        return int(output.ravel()[0])
    largest = np.flatnonzero(output.ravel() == output.max())
    return int(largest[0]) if len(largest) == 1 else None


@pytest.mark.slow
@pytest.mark.parametrize("tail", TAILS)
@pytest.mark.parametrize("x", [0.1, 0.9])
@pytest.mark.fewer
def test_who_runs_the_file_sees_the_adversary(tail: str, x: float, tmp_path: Path) -> None:
    path = classifier(tmp_path, TAILS[tail])
    result = verifier.distance(path, [x])
    assert result.adversary is not None
    assert class_of(path, result.adversary.input) == result.adversary.label == int(x > 0.5)
    assert result.lower <= abs(float(f32(x)) - BORDER) <= result.upper
    assert result.upper - result.lower < 1e-3


def test_without_that_a_tie_would_be_an_adversary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = classifier(tmp_path, TAILS["sigmoid"])
    offer = Incumbent.offer

    def blind(self: Incumbent, *arguments: object) -> bool:
        self.shown = None
        return offer(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Incumbent, "offer", blind)
    result = verifier.distance(path, [0.1])
    assert result.adversary is not None
    assert class_of(path, result.adversary.input) is None


@pytest.mark.slow
def test_scores_that_all_come_out_as_one_show_no_adversary(tmp_path: Path) -> None:
    # Above 20 every float32 sigmoid is 1: the real network changes its class, and nobody who runs the file can see it.
    path = classifier(tmp_path, TAILS["sigmoid"], head([[2.0], [0.7]], [30.0, 31.0]))
    result = verifier.distance(path, [0.9], time_limit=2)
    assert result.verdict is Verdict.UNRESOLVED
    assert result.adversary is None
    assert result.lower <= 0.9 - 1 / 1.3 + 1e-6


@pytest.mark.parametrize("threshold", [0.5, 0.3, 0.8])
@pytest.mark.parametrize("x", [0.05, 0.95])
@pytest.mark.fewer(2)
def test_the_output_passes_the_threshold(threshold: float, x: float, tmp_path: Path) -> None:
    nodes = [gemm("x", "t"), node("Sigmoid", ["t"], ["y"])]
    path = written(tmp_path / "net.onnx", nodes, head([[5.3]], [-2.4]), outputs={"y": (1, 1)})
    result = verifier.distance(verifier.load(path, threshold=threshold), [x])
    assert result.adversary is not None
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (output,) = session.run(None, {"x": result.adversary.input.reshape(1, 1)})
    before, after = x > 0.5, output.ravel()[0]
    for asked in (threshold, float(np.float32(threshold))):
        assert (float(after) < asked) if before else (float(after) > asked)


def test_a_threshold_and_its_nearest_float_count_as_one() -> None:
    near = np.nextafter(f32(0.3), f32([0, 1]))
    columns = beside_threshold(np.array([near[0], 0.3, near[1]], dtype=np.float32), 0.3)
    assert (columns[:, 1] > columns[:, 0]).tolist() == [False, False, True]
    assert (columns[:, 1] < columns[:, 0]).tolist() == [True, False, False]


def test_on_the_grid_too(tmp_path: Path) -> None:
    # On integers/2 the two scores are equal up to a rounding at 1/2, and apart at 1.
    numbers = head([[2.0], [1.0]], [3.0, np.nextafter(f32(3.5), f32(0))])
    path = classifier(tmp_path, TAILS["sigmoid"], numbers)
    result = verifier.distance(path, [0.0], grid=2)
    assert result.verdict is Verdict.UNRESOLVED  # the real network changes its class at 1/2
    assert result.lower == 0.5
    assert class_of(path, f32([0.5])) is None
    assert result.adversary is None or class_of(path, result.adversary.input) == result.adversary.label
