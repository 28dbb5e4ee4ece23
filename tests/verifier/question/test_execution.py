"""Files as they are executed: certificates that no execution may beat, nets on which a proof about reals is beaten."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from bounds.execution_error import FLOAT32, error_at_points
from bounds.propagation.neuron_bounds import device_graph_for
from encoders.errors import OptionError
from encoders.layer_graph.graph import Graph, affine_chain
from tests.executions import executed, forward_sum, pairwise_sum, replays, sums
from tests.onnx_builder import to_onnx
from tests.small_files import f32, node, written
from verifier.answer import distance, verify
from verifier.cli.main import main
from verifier.options import Options
from verifier.question.model import load
from verifier.question.results import Result, Verdict

pytestmark = pytest.mark.usefixtures("brief_questions")
SWAP = affine_chain([np.eye(2)], [np.zeros(2)])  # scores (x1, x2)
LARGE = 2.0**22


def single(*parts: np.ndarray) -> list[np.ndarray]:
    return [part.astype(np.float32).astype(np.float64) for part in parts]


# y0 = L·(relu(5x) - relu(3x) - relu(2x)) + 1/8, y1 = 0: the lead of class 0 is 1/8; 5x and 3x are rounded.
CANCELLING = affine_chain(
    [np.array([[5.0], [3.0], [2.0]]), np.array([[LARGE, -LARGE, -LARGE], [0.0, 0.0, 0.0]])],
    [np.zeros(3), np.array([0.125, 0.0])],
)


def paired(rng: np.random.Generator) -> Graph:
    """Neurons in pairs that are nearly alike and nearly cancel: scores near one, of terms near a thousand."""
    apart, weight, bias, gain = 1e-3, *(rng.normal(size=shape) for shape in ((4, 2), 4, (3, 4)))
    first = np.concatenate([weight, weight + apart * rng.normal(size=(4, 2))])
    offset = np.concatenate([bias, bias + apart * rng.normal(size=4)])
    last = np.concatenate([gain, -gain], axis=1) / apart
    return affine_chain(single(first, last), single(offset, rng.normal(size=3)))


def around(result: Result, x: np.ndarray, within: float, rng: np.random.Generator) -> np.ndarray:
    """Inputs [B, n] nearer than `within`: anywhere, and on the way to the adversary that was found."""
    points = x + rng.uniform(-within, within, size=(2000, x.size))
    if result.adversary is not None:
        way = result.adversary.input.astype(np.float64) - x
        points = np.concatenate([points, x + way * rng.uniform(0.98, 1.0, size=(4000, 1)) + 1e-6 * (points[:1] - x)])
    points = np.clip(points, 0.0, 1.0).astype(np.float32)
    near = np.abs(points.astype(np.float64) - x).max(axis=1) < within
    return np.asarray(points[near])


def flips(graph: Graph, path: Path, points: np.ndarray, predicted: int, rng: np.random.Generator) -> int:
    """How many of the inputs some execution classifies otherwise."""
    ways = [np.array(executed(graph, points.T, add, fused=fused)).T for add in sums(rng) for fused in (False, True)]
    scores = np.array([*ways, *replays(path, points)])
    others = np.delete(scores, predicted, axis=2).max(axis=2)
    return int((others > scores[:, :, predicted]).any(axis=0).sum())


@pytest.mark.slow
def test_no_execution_beats_a_certificate(tmp_path: Path) -> None:
    beaten = 0
    for seed in (5, 6, 9, 15):
        rng = np.random.default_rng(seed)
        graph = paired(rng)
        path, x = to_onnx(graph, tmp_path / f"{seed}.onnx"), rng.uniform(size=2).astype(np.float32)
        real, held = distance(path, x), distance(path, x, execution="float32")
        assert held.lower <= real.upper
        assert held.execution_error is not None
        assert verify(path, x, 0.999 * held.lower, execution="float32").verdict is Verdict.CERTIFIED
        beaten += flips(graph, path, around(real, x, real.lower, rng), real.predicted, rng) > 0
        assert flips(graph, path, around(held, x, held.lower, rng), held.predicted, rng) == 0
        assert held.adversary is not None
        assert replays(path, held.adversary.input[None])[-1].argmax() == held.target != held.predicted
        assert held.lower >= 0.8 * real.lower  # it says something
    assert beaten  # by points like these a proof about real arithmetic is


def test_cancelling_sums_refute_a_proof_about_reals(tmp_path: Path) -> None:
    path, x = to_onnx(CANCELLING, tmp_path / "net.onnx"), np.array([0.25], dtype=np.float32)
    real, held = (verify(path, x, 1e-3, execution=execution) for execution in ("real", "float32"))
    assert real.verdict is Verdict.CERTIFIED
    points = (0.25 + np.arange(-400, 400)[:, None] * 2.0**-25).astype(np.float32)
    assert np.abs(points - x).max() < 1e-3
    ways = [np.array(executed(CANCELLING, points.T, add)).T for add in (forward_sum, pairwise_sum)]
    assert any((scores[:, 1] > scores[:, 0]).any() for scores in [*ways, *replays(path, points)])
    assert held.verdict is not Verdict.CERTIFIED
    assert held.execution_error is not None
    assert held.execution_error >= 0.125


@pytest.mark.parametrize(
    "question",
    [
        {"engine": "auto"}, {"engine": "search", "norm": "l1"}, {"engine": "search", "norm": "l2"},
        {"engine": "highs"}, {"engine": "highs", "norm": "l1"}, {"norm": "l0"}, {"engine": "subsets", "norm": "l0"},
        {"engine": "highs", "norm": "l0"}, {"targets": (1,)}, {"targets": (0, 2)}, {"margin": 0.05},
        {"targets": (1,), "margin": 0.25},
    ],
)  # fmt: skip
@pytest.mark.fewer(1)
def test_every_engine_ends_where_no_proof_reaches(question: dict[str, Any], tmp_path: Path) -> None:
    """The bracket of reals holds between the two sides, and the proof stops short of it by what execution can do."""
    rng = np.random.default_rng(15)
    path, x = to_onnx(paired(rng), tmp_path / "net.onnx"), rng.uniform(size=2).astype(np.float32)
    real = distance(path, x, **question)
    held = distance(path, x, **question, execution="float32", time_limit=600.0)
    assert held.seconds < 600.0
    assert 0.8 * real.lower - 1.0 * (question.get("norm") == "l0") <= held.lower <= real.upper
    assert held.upper <= 1.001 * real.upper
    near = held.lower == np.inf or held.upper - held.lower <= 1e-6 * max(1.0, held.upper)
    assert held.verdict is (Verdict.EXACT if near else Verdict.UNRESOLVED)


def test_what_is_within_the_tolerance_is_exact(tmp_path: Path) -> None:
    path, x = to_onnx(SWAP, tmp_path / "swap.onnx"), np.array([0.75, 0.25], dtype=np.float32)
    result = distance(path, x, execution="float32")
    assert result.verdict is Verdict.EXACT
    assert result.lower < 0.25 - 1e-7  # ties are won in some execution
    assert result.execution_error is not None
    assert 1e-7 < result.execution_error < 1e-5
    assert verify(path, x, 0.2499, execution="float32").verdict is Verdict.CERTIFIED
    assert verify(path, x, 0.2501, execution="float32").verdict is Verdict.FALSIFIED
    assert distance(path, x, execution="float32", mask=[0, 0]).lower == float("inf")
    assert distance(path, x).execution_error is None


def test_nothing_is_proven_where_execution_has_no_bound(tmp_path: Path) -> None:
    # Scores 1e36·x and -1: the first leaves float32's range beyond x = 340.
    graph = affine_chain(single(np.array([[1e20]]), np.array([[1e16], [0.0]])), [np.zeros(1), np.array([0.0, -1.0])])
    path, x = to_onnx(graph, tmp_path / "net.onnx"), np.array([1e-5], dtype=np.float32)
    held = verify(path, x, 800.0, execution="float32", box=(0.0, 1000.0))
    assert (held.verdict, held.lower, held.execution_error) == (Verdict.UNRESOLVED, 0.0, float("inf"))


def test_executions_that_are_not_the_files_own_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, x = to_onnx(SWAP, tmp_path / "swap.onnx"), np.array([0.75, 0.25], dtype=np.float32)
    with pytest.raises(OptionError, match="choose from real, float32, float64"):
        Options(execution="float16")
    with pytest.raises(OptionError, match="it computes in float32"):
        distance(path, x, execution="float64")
    with pytest.raises(OptionError, match="grid"):
        distance(path, x, execution="float32", grid=4)
    double = to_onnx(SWAP, tmp_path / "double.onnx", kind=np.float64)
    with pytest.raises(OptionError, match="it computes in float64"):
        distance(double, x, execution="float32")
    held = distance(double, x, execution="float64")
    assert held.verdict is Verdict.EXACT
    assert held.execution_error is not None
    assert held.execution_error < 1e-14
    model = load(path)
    monkeypatch.setattr(type(model), "quantised", property(lambda _: object()))
    with pytest.raises(OptionError, match="to the bit"):
        distance(model, x, execution="float32", grid=255)


@pytest.mark.parametrize(("kinds", "asked"), [(["ArgMax"], True), (["Sigmoid"], False), (["Softmax", "ArgMax"], False)])
def test_what_rounds_behind_the_scores_is_refused(kinds: list[str], asked: bool, tmp_path: Path) -> None:
    # Executed, the Sigmoids of 20 and of 30 are both 1, and the file's class is the first of them.
    path = to_onnx(affine_chain([np.eye(2)], [np.array([20.0, 30.0])]), tmp_path / "net.onnx")
    model = onnx.load(str(path))
    for k, kind in enumerate(kinds):
        axis: dict[str, Any] = {} if kind == "Sigmoid" else {"axis": 1}
        source = model.graph.node[-1].output[0]
        model.graph.node.append(helper.make_node(kind, [source], [f"end{k}"], **axis))
    number = TensorProto.INT64 if "ArgMax" in kinds else TensorProto.FLOAT
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info(f"end{len(kinds) - 1}", number, ["N", "C"]))
    onnx.save(model, str(path))
    assert verify(path, np.zeros(2, dtype=np.float32), 0.5).verdict is Verdict.CERTIFIED
    if asked:
        assert verify(path, np.zeros(2, dtype=np.float32), 0.5, execution="float32").verdict is Verdict.CERTIFIED
    else:
        with pytest.raises(OptionError, match=kinds[0]):
            verify(path, np.zeros(2, dtype=np.float32), 0.5, execution="float32")


def test_on_the_command_line_and_in_the_records(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, data, out = to_onnx(SWAP, tmp_path / "swap.onnx"), tmp_path / "x.npy", tmp_path / "out.jsonl"
    np.save(data, np.array([[0.75, 0.25], [0.25, 0.5]], dtype=np.float32))
    arguments = ["distance", str(path), "--data", str(data), "--json", str(out)]
    assert main([*arguments, "--execution", "float32"]) == 0
    assert "as executed" in capsys.readouterr().out
    records = [json.loads(line) for line in out.read_text().splitlines()]
    assert [record["run"]["execution"] for record in records] == ["float32"] * 2
    assert all(0.0 < record["execution_error"] < 1e-5 for record in records)
    assert main(arguments) == 2  # another question than the journal's
    assert main([*arguments, "--execution", "float64"]) == 2
    assert "computes in float32" in capsys.readouterr().err


def test_a_proof_that_ignores_execution_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test above can see a certificate that is too large: without the easing, points like those refute it."""
    monkeypatch.setattr("verifier.sample_question.execution_error", lambda *_: torch.zeros(1, 2, dtype=torch.float64))
    found = 0
    for seed in (5, 6, 9, 15):
        rng = np.random.default_rng(seed)
        graph = paired(rng)
        path, x = to_onnx(graph, tmp_path / f"{seed}.onnx"), rng.uniform(size=2).astype(np.float32)
        held = distance(path, x, execution="float32")
        found += flips(graph, path, around(held, x, held.lower, rng), held.predicted, rng)
    assert found


def normalised(path: Path, rng: np.random.Generator) -> Path:
    """Convolution, BatchNormalization, ReLU, Add and Gemm: what onnxruntime folds and fuses."""

    def numbers(*shape: int) -> np.ndarray:
        return rng.normal(size=shape).astype(np.float32)

    values = {
        "w": numbers(3, 1, 3, 3), "b": numbers(3), "scale": numbers(3), "shift": numbers(3), "mean": numbers(3),
        "variance": np.abs(numbers(3)) + np.float32(0.1), "plus": numbers(1, 3, 1, 1),
        "v": numbers(12, 3), "c": numbers(3),
    }  # fmt: skip
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["conv"]),
        helper.make_node("BatchNormalization", ["conv", "scale", "shift", "mean", "variance"], ["norm"]),
        helper.make_node("Add", ["norm", "plus"], ["sum"]),
        helper.make_node("Relu", ["sum"], ["relu"]),
        helper.make_node("Flatten", ["relu"], ["flat"]),
        helper.make_node("Gemm", ["flat", "v", "c"], ["y"], alpha=0.3, beta=0.7),
    ]
    graph = helper.make_graph(
        nodes, "net", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 1, 4, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 3])],
        [numpy_helper.from_array(value, name) for name, value in values.items()],
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def test_onnxruntime_stays_within_the_bound_at_every_level_of_optimisation(tmp_path: Path) -> None:
    largest = 0.0
    for seed in range(6):
        rng = np.random.default_rng(seed)
        path = normalised(tmp_path / f"{seed}.onnx", rng)
        model, x = load(path), rng.uniform(size=(64, 16)).astype(np.float32)
        points = torch.as_tensor(x.astype(np.float64))
        bound = error_at_points(device_graph_for(model.graph), points, FLOAT32).numpy()
        for scores in replays(path, x.reshape(-1, 1, 4, 4)):
            off = np.abs(scores.astype(np.float64) - model.real(x.astype(np.float64)))
            assert (off <= bound).all()
            largest = max(largest, float((off / bound).max()))
    assert largest > 1e-2  # it says something


@pytest.mark.parametrize("factor", [1e-36, 0.0])
def test_what_overflows_before_it_is_scaled_down_is_not_proven(factor: float, tmp_path: Path) -> None:
    """Beyond x = 340 a value in between leaves float32's range; times the factor it would be small, or nothing."""
    nodes = [
        node("MatMul", ["x", "v"], ["h"]), node("Relu", ["h"], ["t"]), node("MatMul", ["t", "w"], ["p"]),
        node("Mul", ["p", "f"], ["s"]), node("Add", ["s", "b"], ["y"]),
    ]  # fmt: skip
    constants = {"v": f32([[1e16]]), "w": f32([[1e20, 0]]), "f": f32([[factor, 1]]), "b": f32([0, 1e4])}
    path = written(tmp_path / "net.onnx", nodes, constants, inputs=("N", 1), outputs={"y": ("N", 2)})
    assert not any(np.isfinite(scores).all() for scores in replays(path, f32([[800.0]])))
    question: dict[str, Any] = {"box": (0.0, 1000.0), "execution": "float32"}
    assert verify(path, f32([1.0]), 900.0, **question).verdict is not Verdict.CERTIFIED


def off_by(path: Path, inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How far onnxruntime is from the network at most, and how far it may be. [B, classes] each."""
    model, points = load(path), inputs.astype(np.float64)
    bound = error_at_points(device_graph_for(model.graph), torch.as_tensor(points), FLOAT32).numpy()
    return np.max([np.abs(scores - model.real(points)) for scores in replays(path, inputs)], axis=0), bound


def test_an_operators_own_factor_counts_with_those_folded_after_it(tmp_path: Path) -> None:
    """Products that are no normal numbers lose much of their size, and are scaled up by both."""
    nodes = [node("Gemm", ["x", "w"], ["t"], alpha=2.0**30), node("Mul", ["t", "f"], ["y"])]
    constants = {"w": f32([[2e-38, 0]]), "f": f32([2.0**59, 1])}
    path = written(tmp_path / "net.onnx", nodes, constants, inputs=("N", 1), outputs={"y": ("N", 2)})
    off, bound = off_by(path, np.linspace(1e-7, 1e-5, 100, dtype=np.float32)[:, None])
    assert (off <= bound).all()
    assert off.max() > 2.0**-62  # 2^-150, scaled twice


@pytest.mark.parametrize(
    ("equation", "shapes"), [("bi,ijk->bk", [(1, 2000, 2)]), ("bi,ij,jk->bk", [(1, 2000), (2000, 2)])]
)
def test_all_terms_of_an_einsum_count(equation: str, shapes: list[tuple[int, ...]], tmp_path: Path) -> None:
    """An entry of its matrix is a sum of two thousand numbers that the file leaves to the runtime."""
    constants = {f"c{k}": f32(np.full(shape, 0.3)) for k, shape in enumerate(shapes)}
    nodes = [node("Einsum", ["x", *constants], ["y"], equation=equation)]
    path, x = written(tmp_path / "net.onnx", nodes, constants, inputs=("N", 1), outputs={"y": ("N", 2)}), f32([[0.7]])
    off, bound = off_by(path, x)
    assert (off <= bound).all()
    terms = [x[0, 0] * np.float32(0.3)] * 2000
    total = forward_sum(terms if len(shapes) == 1 else [term * np.float32(0.3) for term in terms])
    assert abs(float(total) - load(path).real(x)[0, 0]) <= bound[0, 0]
