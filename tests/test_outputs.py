"""Which numbers are the classes: one output with a threshold, one of several outputs, batches laid out otherwise."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from decimal import Decimal, localcontext
from fractions import Fraction
from pathlib import Path

import numpy as np
import onnx
import pytest

import verifier
from encoders.errors import PlumblineError
from tests.small_files import check_bracket, exact, f32, gemm, head, node, refusal, refused, single, written
from verifier.cli.main import main
from verifier.question.results import Verdict

RISING = head([[2]], [-0.5])  # 2x - 1/2
ONE = {"y": (1, 1)}


def one_output(folder: Path, *nodes: onnx.NodeProto) -> Path:
    """A file of one number, 2x - 1/2 or what the nodes make of it."""
    return written(folder / "net.onnx", nodes or [gemm("x")], RISING, outputs=ONE)


def sigmoid(folder: Path) -> Path:
    """The same with a last sigmoid."""
    return one_output(folder, gemm("x", "t"), node("Sigmoid", ["t"], ["y"]))


@pytest.mark.parametrize("net", [one_output, sigmoid])
def test_one_output_alone_is_no_classifier(
    net: Callable[[Path], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = net(tmp_path)
    with pytest.raises(PlumblineError) as caught:
        verifier.distance(verifier.load(path), [0.0])
    refusal(caught.value, "threshold")
    np.savez(tmp_path / "x.npz", x=np.zeros((1, 1), dtype=np.float32))
    assert main(["distance", str(path), "--data", str(tmp_path / "x.npz")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "threshold T" in error


@pytest.mark.slow
@pytest.mark.parametrize("rank", [(1,), (1, 1)])
@pytest.mark.fewer(1)
def test_a_threshold_makes_two_classes(rank: tuple[int, ...], tmp_path: Path) -> None:
    # 2x - 1/2 > 1/2 right of x = 1/2.
    nodes = [gemm("x", "t"), node("Squeeze" if rank == (1,) else "Identity", ["t", "axis"][: 3 - len(rank)], ["y"])]
    path = written(tmp_path / "net.onnx", nodes, {**RISING, "axis": np.array([1])}, outputs={"y": rank})
    model = verifier.load(path, threshold=0.5)
    assert model.classes == 2
    inputs = f32([[0], [0.5], [0.75], [1]])
    assert model.scores(inputs).shape == (4, 2)
    assert np.argmax(model.scores(inputs), axis=1).tolist() == [0, 0, 1, 1]  # the threshold itself is class 0
    assert np.argmax(model.real(inputs.astype(np.float64)), axis=1).tolist() == [0, 0, 1, 1]
    for sample, predicted, truth in ((0.0, 0, Fraction(1, 2)), (0.75, 1, Fraction(1, 4)), (1.0, 1, Fraction(1, 2))):
        result = verifier.distance(model, [sample], time_limit=0.5)
        assert result.predicted == predicted
        check_bracket(result, truth)
        assert verifier.verify(model, [sample], float(truth) * 0.99).verdict is Verdict.CERTIFIED
        beyond = verifier.verify(model, [sample], float(truth) * 1.01)
        assert beyond.verdict is Verdict.FALSIFIED
        assert beyond.target == 1 - predicted


@pytest.mark.slow
@pytest.mark.parametrize("threshold", [0.1, -1e30, 1e30, -0.5])
def test_a_threshold_is_the_number_that_was_given(threshold: float, tmp_path: Path) -> None:
    # 2x - 1/2 = T at x = T/2 + 1/4, with T in full, not as float32.
    truth = exact(threshold) / 2 + Fraction(1, 4)
    model = verifier.load(one_output(tmp_path), threshold=threshold)
    result = verifier.distance(model, [0.0], time_limit=0.5)
    assert result.predicted == int(truth < 0)
    check_bracket(result, truth if 0 <= truth <= 1 else None)
    if 0 < truth <= 1:
        sharp = verifier.verify(model, [0.0], float(truth * (1 + Fraction(1, 10**9))), time_limit=0.1)
        assert sharp.verdict is not Verdict.CERTIFIED


@pytest.mark.slow
@pytest.mark.parametrize("threshold", [0.5, 0.7, 0.3, 0.8])
def test_a_threshold_goes_through_a_last_sigmoid(threshold: float, tmp_path: Path) -> None:
    # sigmoid(2x - 1/2) > T where 2x - 1/2 > ln(T / (1 - T)).
    with localcontext() as context:
        context.prec = 60
        share = Decimal(threshold)
        truth = Fraction(((share / (1 - share)).ln() + Decimal("0.5")) / 2)
    model = verifier.load(sigmoid(tmp_path), threshold=threshold)
    result = verifier.distance(model, [0.0], time_limit=0.5)
    assert result.predicted == int(truth < 0)
    check_bracket(result, truth if truth > 0 else None)
    if truth > 0:
        for step, verdict in ((Fraction(-1, 10**6), True), (Fraction(1, 10**9), False)):
            found = verifier.verify(model, [0.0], float(truth * (1 + step)), time_limit=0.5).verdict
            assert (found is Verdict.CERTIFIED) == verdict


@pytest.mark.parametrize("threshold", [0.0, 1.0, -0.5, 2.0])
def test_no_sigmoid_passes_what_it_cannot_reach(threshold: float, tmp_path: Path) -> None:
    with pytest.raises(PlumblineError) as caught:
        verifier.load(sigmoid(tmp_path), threshold=threshold)
    refusal(caught.value, "threshold")


@pytest.mark.parametrize("threshold", [float("nan"), float("inf")])
def test_a_threshold_is_a_finite_number(threshold: float, tmp_path: Path) -> None:
    with pytest.raises(PlumblineError) as caught:
        verifier.load(one_output(tmp_path), threshold=threshold)
    refusal(caught.value, "threshold")


def test_two_classes_need_no_threshold(tmp_path: Path) -> None:
    path = written(tmp_path / "net.onnx", [gemm("x")], head([[-1], [1]], [1, 0]))
    with pytest.raises(PlumblineError) as caught:
        verifier.load(path, threshold=0.5)
    refusal(caught.value, "threshold")


def test_another_threshold_is_another_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, journal = one_output(tmp_path), str(tmp_path / "r.jsonl")
    np.savez(tmp_path / "x.npz", x=np.zeros((2, 1), dtype=np.float32))
    line = ["distance", str(path), "--data", str(tmp_path / "x.npz"), "--json", journal]
    assert main([*line, "--samples", "0:1", "--threshold", "0.5"]) == 0
    capsys.readouterr()
    assert main([*line, "--threshold", "0.25"]) == 2
    assert "another run" in capsys.readouterr().err
    assert main([*line, "--threshold", "0.5"]) == 0


def test_workers_keep_the_threshold(tmp_path: Path) -> None:
    path = one_output(tmp_path)
    models = [pickle.loads(pickle.dumps(verifier.load(path, threshold=t))) for t in (0.5, 0.0)]
    assert [int(np.argmax(model.scores(f32([[0.375]]))[0])) for model in models] == [0, 1]


def two_outputs(folder: Path) -> Path:
    """1/2 - x against x by the name of near, 1 - x against x by the name of far."""
    nodes = [gemm("x", "near"), node("Gemm", ["x", "v", "c"], ["far"], transB=1)]
    constants = {**head([[-1], [1]], [0.5, 0]), "v": f32([[-1], [1]]), "c": f32([1, 0])}
    return written(folder / "net.onnx", nodes, constants, outputs={"near": (1, 2), "far": (1, 2)})


def test_one_of_several_outputs_must_be_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = two_outputs(tmp_path)
    with pytest.raises(PlumblineError) as caught:
        verifier.load(path)
    refusal(caught.value)
    for word in ("near", "far", "output"):
        assert word in str(caught.value)
    np.savez(tmp_path / "x.npz", x=np.zeros((1, 1), dtype=np.float32))
    line = ["distance", str(path), "--data", str(tmp_path / "x.npz")]
    assert main(line) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "output NAME" in error
    assert main([*line, "--output", "far"]) == 0


@pytest.mark.parametrize(("name", "truth"), [("near", Fraction(1, 4)), ("far", Fraction(1, 2))])
def test_the_named_output_is_asked_about(name: str, truth: Fraction, tmp_path: Path) -> None:
    model = verifier.load(two_outputs(tmp_path), output=name)
    assert model.scores(f32([[0]]))[0].tolist() == [float(2 * truth), 0.0]
    check_bracket(verifier.distance(model, [0.0], time_limit=0.5), truth)
    assert verifier.verify(model, [0.0], float(truth) * 0.99).verdict is Verdict.CERTIFIED
    assert verifier.verify(model, [0.0], float(truth) * 1.01).verdict is Verdict.FALSIFIED
    again = pickle.loads(pickle.dumps(model))
    assert again.scores(f32([[0]]))[0].tolist() == [float(2 * truth), 0.0]


def test_an_output_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(PlumblineError) as caught:
        verifier.load(two_outputs(tmp_path), output="middle")
    refusal(caught.value)
    assert "near" in str(caught.value)


def test_another_output_is_another_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = two_outputs(tmp_path)
    np.savez(tmp_path / "x.npz", x=np.zeros((2, 1), dtype=np.float32))
    line = ["distance", str(path), "--data", str(tmp_path / "x.npz"), "--json", str(tmp_path / "r.jsonl")]
    assert main([*line, "--samples", "0:1", "--output", "near"]) == 0
    capsys.readouterr()
    assert main([*line, "--output", "far"]) == 2
    assert "another run" in capsys.readouterr().err


def test_a_batch_laid_out_the_other_way_is_scored_one_by_one(tmp_path: Path) -> None:
    # Scores [2, N]: read row by row, as if they were [N, 2], they would mix the samples.
    nodes = [gemm("x", "h"), node("Transpose", ["h"], ["y"])]
    constants = head([[-1], [1]], [0.6, 0])
    path = written(tmp_path / "net.onnx", nodes, constants, inputs=("N", 1), outputs={"y": (2, "N")})
    try:
        model = verifier.load(path)
    except PlumblineError as error:
        refusal(error)
        return
    batch = f32([[0], [1], [0.2]])
    expected = np.stack([f32(0.6) - batch[:, 0], batch[:, 0]], axis=1)
    np.testing.assert_array_equal(model.scores(batch), expected)
    np.testing.assert_array_equal(np.concatenate([model.scores(sample[None]) for sample in batch]), expected)
    check_bracket(verifier.distance(model, [0.0], time_limit=0.5), single(0.6) / 2)


def test_a_threshold_goes_through_one_sigmoid(tmp_path: Path) -> None:
    # The second sigmoid's output is above 1/2 wherever its input is above 0: a first one's always is.
    path = one_output(tmp_path, gemm("x", "t"), node("Sigmoid", ["t"], ["u"]), node("Sigmoid", ["u"], ["y"]))
    with pytest.raises(PlumblineError) as caught:
        verifier.load(path, threshold=0.6)
    refusal(caught.value, "Sigmoid and Sigmoid")


@pytest.mark.parametrize("last", ["ArgMax", "Softmax", "LogSoftmax"])
def test_a_single_number_has_no_axis_of_classes(last: str, tmp_path: Path) -> None:
    nodes = [gemm("x", "t"), node("Reshape", ["t", "none"], ["u"]), node(last, ["u"], ["y"])]
    path = written(tmp_path / "net.onnx", nodes, {**RISING, "none": np.zeros(0, dtype=np.int64)}, outputs={"y": ()})
    refused(path, "no axis of classes" if last != "ArgMax" else last)
