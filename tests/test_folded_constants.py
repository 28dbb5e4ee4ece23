"""Constants that are folded, cancel, or are left out: no lower bound exceeds the truth about the file's own numbers.

The truth is `file_exact`'s, or is worked out by hand where constants go through operators that it does not know.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal, localcontext
from fractions import Fraction
from pathlib import Path

import numpy as np
import onnx
import pytest

import verifier
from encoders.errors import PlumblineError
from encoders.onnx.runtime import execute, node_model
from tests.file_exact import ExactFile
from tests.small_files import bracketed, check_bracket, f32, gemm, head, i64, node, refusal, single, written
from verifier.question.results import Verdict

FILES = 40  # of each kind and size
Maker = Callable[[np.random.Generator, float, Path], Path]


def near(rng: np.random.Generator, size: float) -> tuple[np.ndarray, np.ndarray, float]:
    """Two pairs of numbers of a size that all but cancel, and how far apart neighbours of theirs lie."""
    mean = f32(size * rng.uniform(0.5, 2.0, size=2))
    gap = np.spacing(mean)
    return mean, f32(mean + gap * rng.integers(-3, 4, size=2)), float(gap.max())


def normal(rng: np.random.Generator, mean: np.ndarray, unit: float) -> dict[str, np.ndarray]:
    """The four constants of a BatchNormalization."""
    shift = f32([rng.uniform(0.01, 0.5) * unit, 0.0])
    return {"s": f32(rng.uniform(0.1, 3, 2)), "z": shift, "m": mean, "v": f32(rng.uniform(0.3, 3, 2))}


def gemm_and_normalisation(rng: np.random.Generator, size: float, path: Path) -> Path:
    """A matrix with a large bias, and a BatchNormalization whose mean takes it off again."""
    mean, bias, gap = near(rng, size)
    unit = max(1.0, 20 * gap)
    nodes = [gemm("x", "h"), node("BatchNormalization", ["h", *"szmv"], ["y"])]
    constants = normal(rng, mean, unit)
    return written(path, nodes, {**constants, **head(f32([[-1], [1]]) * rng.uniform(0.5, 2) * unit, bias)})


def convolution_and_normalisation(rng: np.random.Generator, size: float, path: Path) -> Path:
    """The same of a picture of one pixel, with three kernel rows in the pads."""
    mean, bias, gap = near(rng, size)
    unit = max(1.0, 20 * gap)
    kernel = rng.normal(size=(2, 1, 3, 3))
    kernel[:, 0, 1, 1] = np.array([-1, 1]) * rng.uniform(0.5, 2)
    nodes = [node("Reshape", ["x", "shape"], ["i"]), node("Conv", ["i", "k", "c"], ["h"], pads=[1, 1, 1, 1])]
    nodes += [node("BatchNormalization", ["h", *"szmv"], ["n"], epsilon=0.001), node("Flatten", ["n"], ["y"])]
    constants = {"shape": i64(1, 1, 1, 1), "k": f32(kernel * unit), "c": bias, **normal(rng, mean, unit)}
    return written(path, nodes, constants)


def chain(rng: np.random.Generator, size: float, path: Path) -> Path:
    """A matrix, and large numbers that are added, scaled, and taken off again one by one."""
    nodes, constants, top = [gemm("x", "h0")], {}, "h0"
    total, factor = np.zeros(2), np.ones(2)
    for k in range(int(rng.integers(2, 6))):
        if rng.random() < 0.3:
            operator, number = "Mul", f32(rng.uniform(0.3, 3.0, size=2))
            total, factor = total * number, factor * number
        else:
            operator, number = str(rng.choice(["Add", "Sub"])), f32(size * rng.normal(size=2))
            total = total + number * (1 if operator == "Add" else -1)
        nodes.append(node(operator, [top, f"c{k}"], [f"h{k + 1}"]))
        constants[f"c{k}"], top = number, f"h{k + 1}"
    last = f32(total)
    unit = max(1.0, 20 * float(np.spacing(last).max()))
    constants["last"] = last
    nodes += [node("Sub", [top, "last"], ["e"]), node("Add", ["e", "lead"], ["y"])]
    lead = f32([rng.uniform(0.01, 0.5) * unit, 0.0])
    return written(
        path, nodes, {**constants, "lead": lead, **head(np.array([[-1], [1]]) * unit / factor[:, None], [0, 0])}
    )


@pytest.mark.parametrize("size", [1e4, 1e9, 1e12])
@pytest.mark.parametrize("maker", [gemm_and_normalisation, convolution_and_normalisation, chain])
@pytest.mark.fewer
def test_biases_that_cancel(maker: Maker, size: float, tmp_path: Path) -> None:
    rng, asked = np.random.default_rng(int(size)), 0
    for k in range(FILES):
        path = maker(rng, size, tmp_path / f"{k}.onnx")
        file = ExactFile.read(path)
        scores = file.at(Fraction(0))
        truth = file.distance(Fraction(0), int(np.argmax(scores)))
        if not truth:
            continue
        asked += 1
        try:
            result = verifier.verify(path, [0.0], float(truth * (1 + Fraction(1, 10**12))), time_limit=0.01)
            if scores[result.predicted] < max(scores):
                truth = Fraction(0)  # onnxruntime's rounding names a class that is not the file's
            assert result.verdict is not Verdict.CERTIFIED, f"file {k}: at {result.radius!r}"
            check_bracket(result, truth)
            if k % 10 == 0 and truth:
                check_bracket(verifier.distance(path, [0.0], time_limit=0.1), truth)
        except PlumblineError as error:
            refusal(error)
    assert asked > FILES // 3


def test_a_bias_that_is_taken_off_in_three_steps(tmp_path: Path) -> None:
    # 1 - x against x + 1e17 + 1/2 - 1e17: a tie at 1/4, or at 1/2 if the half is lost on the way.
    nodes = [
        gemm("x", "g"),
        node("Add", ["g", "A"], ["a"]),
        node("Add", ["a", "B"], ["c"]),
        node("Add", ["c", "C"], ["y"]),
    ]
    constants = {"A": f32([0, 1e17]), "B": f32([0, 0.5]), "C": f32([0, -1e17]), **head([[-1], [1]], [1, 0])}
    bracketed(written(tmp_path / "net.onnx", nodes, constants), [0.0], Fraction(1, 4))


def test_constants_meet_before_they_meet_the_input(tmp_path: Path) -> None:
    # (1e8 + 1) - 1e8 is 1 of real numbers, and 0 of float32. Constants are what onnxruntime computes from constants:
    # 3/2 - x against x, a tie at 3/4, not at 1/4.
    nodes = [node("Add", ["A", "B"], ["c"]), node("Sub", ["c", "A"], ["d"]), gemm("x", "h")]
    nodes += [node("Add", ["h", "d"], ["y"])]
    constants = {"A": f32([0, 1e8]), "B": f32([0, 1]), **head([[-1], [1]], [1.5, 0])}
    bracketed(written(tmp_path / "net.onnx", nodes, constants), [0.0], Fraction(3, 4), "Add", "Sub")


@pytest.mark.parametrize("operator", ["Sum", "Mean"])
def test_constants_of_a_sum_are_not_added_in_float32(operator: str, tmp_path: Path) -> None:
    # 2^27 + x against 2^27 + 7, which float32 takes for 2^27: a tie at 7, not at 0.
    nodes = [node("MatMul", ["x", "k"], ["t"]), node(operator, ["a", "c", "t"], ["y"])]
    constants = {"k": f32([[1, 0]]), "a": f32([2**27, 2**27]), "c": f32([0, 7])}
    assert bracketed(written(tmp_path / "net.onnx", nodes, constants), [32.0], Fraction(25), box=(-100, 100))


@pytest.mark.parametrize("double", [False, True])
def test_an_entry_that_is_a_long_sum_of_constants(double: bool, tmp_path: Path) -> None:
    # 100x against 50x: a tie at 0. A thousand roundings are in each entry.
    kind = np.float64 if double else np.float32
    constants = {"a": np.full((1, 1000), 0.1, dtype=kind), "c": np.tile(np.array([[1, 0.5]], dtype=kind), (1000, 1))}
    nodes = [node("Einsum", ["x", "a", "c"], ["y"], equation="bi,ij,jk->bk")]
    path = written(tmp_path / "net.onnx", nodes, constants, double=double)
    assert bracketed(path, [0.5], Fraction(1, 2), box=(-1, 1))


def nearly(path: Path, truth: Fraction | Decimal, *named: str) -> None:
    """Certified five parts in 10^9 before the tie, and not as far beyond it; or refused by name."""
    step, truth = Fraction(5, 10**9), Fraction(truth)
    try:
        before, beyond = (verifier.verify(path, [0.0], float(truth * (1 + k * step)), time_limit=1.0) for k in (-1, 1))
    except PlumblineError as error:
        refusal(error, *named)
        return
    assert before.verdict is Verdict.CERTIFIED
    assert beyond.verdict is not Verdict.CERTIFIED


def two_to_one(
    path: Path, activation: list[onnx.NodeProto], weight: float, bias: float, **constants: np.ndarray
) -> Path:
    """Scores bias - weight·t and weight·t, where t is the activation of x."""
    return written(path, [*activation, gemm()], {**constants, **head([[-weight], [weight]], [bias, 0])})


def test_the_slope_of_leaky_relu_left_out(tmp_path: Path) -> None:
    # t = leaky(x - 1) = alpha·(x - 1), and -0.019 - t against t: a tie at t = -0.0095, a little right of 0.
    nodes = [node("Sub", ["x", "one"], ["h"]), node("LeakyRelu", ["h"], ["t"])]
    path = two_to_one(tmp_path / "net.onnx", nodes, 1, -0.019, one=f32([1]))
    nearly(path, 1 - single(0.019) / 2 / single(0.01), "LeakyRelu")


def test_alpha_and_beta_of_hard_sigmoid_left_out(tmp_path: Path) -> None:
    # t = x/5 + 1/2, and 1.25 - t against t: a tie at t = 5/8.
    path = two_to_one(tmp_path / "net.onnx", [node("HardSigmoid", ["x"], ["t"])], 1, 1.25)
    nearly(path, Fraction(1, 8) / single(0.2), "HardSigmoid")


def test_beta_of_hard_sigmoid_is_float32(tmp_path: Path) -> None:
    # t = x/2 + 0.3, and 1 - t against t: a tie at t = 1/2.
    path = two_to_one(tmp_path / "net.onnx", [node("HardSigmoid", ["x"], ["t"], alpha=0.5, beta=0.3)], 1, 1)
    nearly(path, 2 * (Fraction(1, 2) - single(0.3)), "HardSigmoid")


@pytest.mark.slow
@pytest.mark.parametrize("variance", [0.0, 1e-5, 3e-7])
def test_epsilon_of_batch_normalization_left_out(variance: float, tmp_path: Path) -> None:
    # t = x / sqrt(variance + epsilon): 256 - t against t.
    nodes = [node("BatchNormalization", ["x", "one", "zero", "zero", "v"], ["t"])]
    constants = {"one": f32([1]), "zero": f32([0]), "v": f32([variance])}
    path = two_to_one(tmp_path / "net.onnx", nodes, 1, 256, **constants)
    truth = ExactFile.read(path).distance(Fraction(0), 0)
    with localcontext() as context:
        context.prec = 60
        total = single(variance) + single(1e-5)
        root = (Decimal(total.numerator) / Decimal(total.denominator)).sqrt()
        assert truth is not None
        assert abs(truth - Fraction(128 * root)) < Fraction(1, 10**50)
    nearly(path, truth, "BatchNormalization")


ALPHA, GAMMA = Decimal(float(np.float32(1.6732632423543772))), Decimal(float(np.float32(1.0507009873554805)))  # Selu's
FUNCTIONS: dict[str, tuple[float, Callable[[Decimal], Decimal]]] = {
    # of which constant; what is computed from constants alone is the float32 number that onnxruntime computes
    "Elu": (-0.75, lambda x: x.exp() - 1),
    "Exp": (-1.0, Decimal.exp),
    "Log": (1.5, Decimal.ln),
    "Reciprocal": (41.0, lambda x: 1 / x),
    "Selu": (-0.75, lambda x: GAMMA * ALPHA * (x.exp() - 1)),
    "Sqrt": (3.0, Decimal.sqrt),
}


def executed(operator: str, number: float) -> np.float32:
    """What onnxruntime makes of a constant."""
    found = execute(
        node_model(node(operator, ["c"], ["k"]), 17, {"c": f32([number])}, {}).SerializeToString(), [{}], ["k"]
    )
    return np.float32(found[0][0].item())


@pytest.mark.parametrize("operator", FUNCTIONS)
def test_functions_of_a_constant(operator: str, tmp_path: Path) -> None:
    # x times the constant k, against k/4 or so less that much: a tie at half of the quotient.
    number, function = FUNCTIONS[operator]
    with localcontext() as context:
        context.prec = 60
        exact = function(Decimal(number))
        value = Decimal(float(executed(operator, number)))
        assert abs(value - exact) < abs(exact) / 10**6
        bias = np.float32(float(value) / 4)
        truth = Fraction(Decimal(float(bias)) / 2 / value)
    nodes = [node(operator, ["c"], ["k"]), node("Mul", ["x", "k"], ["t"])]
    path = two_to_one(tmp_path / "net.onnx", nodes, 1, float(bias), c=f32([number]))
    bracketed(path, [0.0], truth, operator, slack=Fraction(5, 10**9))


def test_division_by_three(tmp_path: Path) -> None:
    # x/3 against 1/4 - x/3: a tie at 3/8, which a factor of 1/3 in float32 misses by 3e-8 of it.
    path = two_to_one(tmp_path / "net.onnx", [node("Div", ["x", "c"], ["t"])], 1, 0.25, c=f32([3]))
    nearly(path, Fraction(3, 8), "Div")


def test_attributes_are_float32(tmp_path: Path) -> None:
    # 0.01 - 0.1·x against 0.1·x, both numbers as float32.
    nodes = [node("Gemm", ["x", "w", "b"], ["y"], transB=1, alpha=0.1, beta=0.01)]
    path = written(tmp_path / "net.onnx", nodes, head([[-1], [1]], [1, 0]))
    nearly(path, single(0.01) / (2 * single(0.1)), "Gemm")
