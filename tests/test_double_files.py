"""Files that compute in float64: numbers that float32 cannot hold are read, asked about and proven as they are."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path

import numpy as np
import onnx
import pytest

import verifier
from encoders.errors import PlumblineError
from tests.file_exact import ExactFile
from tests.small_files import bracketed, exact, gemm, node, refusal, written
from verifier.question.results import Verdict

SHARP = Fraction(1, 10**12)


def double(path: Path, nodes: list[onnx.NodeProto], constants: Mapping[str, object]) -> Path:
    """A file of float64 numbers throughout."""
    return written(
        path, nodes, {name: np.array(value, dtype=np.float64) for name, value in constants.items()}, double=True
    )


def test_weights_and_samples_beyond_float32(tmp_path: Path) -> None:
    # 0.3 - x/3 against 0.1 + x/7 at 0.1, all of them as doubles.
    constants = {"w": [[-1 / 3], [1 / 7]], "b": [0.3, 0.1]}
    path = double(tmp_path / "net.onnx", [gemm("x")], constants)
    lead = exact(0.3) - exact(0.1)
    truth = lead / (exact(1 / 3) + exact(1 / 7)) - exact(0.1)
    result = bracketed(path, np.array([0.1]), truth, slack=SHARP)
    assert result is not None
    below = verifier.verify(path, np.array([0.1]), float(truth * (1 - Fraction(5, 10**9))), time_limit=0.5)
    assert below.verdict is Verdict.CERTIFIED


@pytest.mark.slow
@pytest.mark.parametrize("sample", [0.1, 0.6, 0.7])
def test_a_sample_stays_what_it_is(sample: float, tmp_path: Path) -> None:
    # 1/2 - x against x - 1/2: the distance of 1/2 from the sample is all there is, but not from its float32.
    path = double(tmp_path / "net.onnx", [gemm("x")], {"w": [[-1], [1]], "b": [0.5, -0.5]})
    truth = abs(Fraction(1, 2) - exact(sample))
    result = bracketed(path, np.array([sample]), truth, slack=SHARP)
    assert result is not None
    if result.adversary is not None:
        moved = abs(exact(result.adversary.input[0]) - exact(sample))
        assert abs(moved - exact(result.upper)) <= Fraction(1, 10**15)


def test_a_difference_that_float32_would_round_away(tmp_path: Path) -> None:
    # 1 + 1e-12 against 1 + x·1e-11: all ones in float32, and a tie near x = 1/10.
    path = double(tmp_path / "net.onnx", [gemm("x")], {"w": [[0], [1e-11]], "b": [1 + 1e-12, 1]})
    truth = (exact(1 + 1e-12) - 1) / exact(1e-11)
    bracketed(path, np.array([0.0]), truth)


@pytest.mark.parametrize("limit", [1e38, 1e39, 1e300])
def test_clip_limits_beyond_float32(limit: float, tmp_path: Path) -> None:
    # h = 4·limit·x, and h less its clip at the limit is 0 up to x = 1/4: a tie with limit/2 at x = 3/8.
    nodes = [gemm("x", "h"), node("Clip", ["h", "", "top"], ["q"]), node("Sub", ["h", "q"], ["d"])]
    nodes += [node("Mul", ["d", "down"], ["t"]), node("Gemm", ["t", "v", "c"], ["y"], transB=1)]
    constants = {"w": [[4 * limit]], "b": [0], "top": limit, "down": 1 / limit, "v": [[0], [1]], "c": [0.5, 0]}
    path = double(tmp_path / "net.onnx", nodes, constants)
    truth = ExactFile.read(path).distance(Fraction(0), 0)
    assert truth is not None
    assert abs(truth - Fraction(3, 8)) < Fraction(1, 10**12)
    bracketed(path, np.array([0.0]), truth, "Clip", "range", "finite")


def test_a_lower_clip_limit_beyond_float32(tmp_path: Path) -> None:
    # h = 1e40·(x - 1), clipped from below at -1e39: flat up to x = 9/10, so 1/2 + t/1e39 crosses 0 at x = 19/20.
    nodes = [gemm("x", "h"), node("Clip", ["h", "bottom"], ["q"]), node("Mul", ["q", "down"], ["t"])]
    nodes += [node("Gemm", ["t", "v", "c"], ["y"], transB=1)]
    constants = {"w": [[1e40]], "b": [-1e40], "bottom": -1e39, "down": 1e-39, "v": [[0], [1]], "c": [0, 0.5]}
    path = double(tmp_path / "net.onnx", nodes, constants)
    truth = ExactFile.read(path).distance(Fraction(0), 0)
    assert truth is not None
    assert abs(truth - Fraction(19, 20)) < Fraction(1, 10**12)
    bracketed(path, np.array([0.0]), truth, "Clip", "range", "finite")


def test_weights_whose_product_float64_cannot_hold(tmp_path: Path) -> None:
    # relu(1e200·x) · 1e200 against relu(1e199 - 1e200·x) · 1e-200: the first is above for every x over 1e-400.
    nodes = [gemm("x", "h"), node("Relu", ["h"], ["r"]), node("Gemm", ["r", "v"], ["y"], transB=1)]
    constants = {"w": [[1e200], [-1e200]], "b": [0, 1e199], "v": [[1e200, 0], [0, 1e-200]]}
    path = double(tmp_path / "net.onnx", nodes, constants)
    for sample in (0.05, 0.0):
        x = exact(sample)
        try:
            predicted = int(np.argmax(verifier.load(path).scores(np.array([[sample]]))[0]))
        except PlumblineError as error:
            refusal(error)
            return
        bracketed(path, np.array([sample]), ExactFile.read(path).distance(x, predicted), "range", "finite", "large")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(8))
def test_random_double_files(seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    nodes = [
        gemm("x", "h"),
        node("BatchNormalization", ["h", *"szmq"], ["n"]),
        node("LeakyRelu", ["n"], ["r"], alpha=0.1),
    ]
    nodes += [node("Gemm", ["r", "v", "c"], ["y"], transB=1)]
    constants = {"w": rng.normal(size=(3, 1)), "b": rng.normal(size=3) + 1e9, "m": rng.normal(size=3) + 1e9}
    constants |= {name: rng.normal(size=3) for name in "sz"} | {"q": rng.uniform(0.1, 2, size=3)}
    constants |= {"v": rng.normal(size=(2, 3)), "c": rng.normal(size=2)}
    path = double(tmp_path / "net.onnx", nodes, constants)
    scores = ExactFile.read(path).at(exact(0.1))
    predicted = int(np.argmax(scores))
    result = bracketed(
        path, np.array([0.1]), ExactFile.read(path).distance(exact(0.1), predicted), slack=Fraction(1, 10**9)
    )
    assert result is None or result.predicted == predicted
