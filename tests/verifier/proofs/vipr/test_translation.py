"""Proofs by hand as certificates that the tests' checker accepts: each rule of the format, in linf and l1."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from encoders.errors import ProofError
from tests.small_files import f32, node, written
from tests.verifier.checker.small_proofs import Line, fully_connected, hexadecimal, ranges, statement
from tests.verifier.proofs.vipr.translated import accepted, translated
from tests.vipr_checker import Vipr
from verifier.proofs.vipr import translation

CLOSE: Line = {"close": True}


@pytest.fixture
def sum_of_two(tmp_path: Path) -> Path:
    """Class 1 has the score relu(x0 + x1), class 0 has 1: the nearest adversary of (0, 0) is where x0 + x1 = 1."""
    return fully_connected(tmp_path / "sum.onnx", [([[1], [1]], [0]), ([[0, 1]], [1, 0])])


@pytest.fixture
def same(tmp_path: Path) -> Path:
    """Class 1 has the score relu(x) - relu(x), which is always 0, of two neurons; class 0 has 1/2."""
    return fully_connected(tmp_path / "same.onnx", [([[1, 1]], [0, 0]), ([[0, 1], [0, -1]], [0.5, 0])])


@pytest.fixture
def three(tmp_path: Path) -> Path:
    """Three classes with the scores 1, relu(x) and -2."""
    return fully_connected(tmp_path / "three.onnx", [([[1]], [0]), ([[0, 1, 0]], [1, 0, -2])])


@pytest.mark.parametrize(("norm", "far", "radius"), [("linf", 0.75, 0.484375), ("l1", 1.25, 0.96875)])
def test_a_bracket(sum_of_two: Path, tmp_path: Path, norm: str, far: float, radius: float) -> None:
    """What is proven of the program is the proof's bracket, and its point is the witness."""
    witness = {"input": hexadecimal([0.75, 0.5]), "distance": hexadecimal(far)}
    lines = ranges(0, [-1], [1]), {"goal": 1}, CLOSE
    text = translated(sum_of_two, statement(sum_of_two, [0, 0], radius, norm=norm, witness=witness), *lines)
    assert accepted(text, tmp_path) == f"within [{Fraction(radius)}, {Fraction(far)}]"
    (solution,) = Vipr(text).solutions
    names = Vipr(text).variables
    moves = {"t_0": Fraction(3, 4), "t_1": Fraction(1, 2)} if norm == "l1" else {}
    assert {names[at]: value for at, value in solution.items()} == moves | {
        "x_0": Fraction(3, 4), "x_1": Fraction(1, 2), "r": Fraction(far), "h_0_0": Fraction(5, 4),
        "y_0_0": Fraction(5, 4), "z_0_0": 1, "f_0": 1, "f_1": Fraction(5, 4), "g_1": 1, "b": 1,
    }  # fmt: skip


@pytest.mark.parametrize("norm", ["linf", "l1"])
def test_the_ball_alone_and_the_witness_alone(sum_of_two: Path, tmp_path: Path, norm: str) -> None:
    first = statement(sum_of_two, [0, 0], 0.25, norm=norm)
    lines = ranges(0, [-0.5], [0.5]), {"goal": 1}, CLOSE
    assert accepted(translated(sum_of_two, first, *lines), tmp_path) == "infeasible"
    witness = {"input": hexadecimal([2, 0]), "distance": hexadecimal(2)}
    alone = statement(sum_of_two, [0, 0], None, norm=norm, witness=witness)
    assert accepted(translated(sum_of_two, alone), tmp_path) == "within [-inf, 2]"


@pytest.mark.parametrize("norm", ["linf", "l1"])
def test_a_ball_of_one_point(sum_of_two: Path, tmp_path: Path, norm: str) -> None:
    witness = {"input": hexadecimal([2, 0]), "distance": hexadecimal(2)}
    first = statement(sum_of_two, [0, 0], 0, norm=norm, witness=witness)
    text = translated(sum_of_two, first, ranges(0, [0], [0]), {"goal": 1}, CLOSE)
    assert accepted(text, tmp_path) == "within [0, 2]"


@pytest.mark.parametrize("norm", ["linf", "l1"])
def test_the_box_holds_inputs_back(sum_of_two: Path, tmp_path: Path, norm: str) -> None:
    """x0 has room of 1/8 and x1 of 3/4 upwards: their sum stays below 1 however large the ball is."""
    room = [hexadecimal([-9, -9]), hexadecimal([0.125, 0.75])]
    first = statement(sum_of_two, [0, 0], 5, norm=norm, box=room)
    text = translated(sum_of_two, first, ranges(0, [-10], [0.875]), {"goal": 1}, CLOSE)
    assert accepted(text, tmp_path) == "infeasible"


@pytest.mark.parametrize(("norm", "radius"), [("linf", 0.25), ("l1", 0.375)])
def test_units_that_divide_nothing(sum_of_two: Path, tmp_path: Path, norm: str, radius: float) -> None:
    """In units of 3 and 3/8 x0 + x1 moves by 27/32 at most; in L1 by 9/8, but that x0 stays below 3/4: 3/4 + 3/64."""
    room = [hexadecimal([-9, -9]), hexadecimal([0.75, 9])]
    first = statement(sum_of_two, [0, 0], radius, norm=norm, box=room, scale=hexadecimal([3, 0.375]))
    high = 27 / 32 if norm == "linf" else 51 / 64
    text = translated(sum_of_two, first, ranges(0, [-1.5], [high]), {"goal": 1}, CLOSE)
    assert accepted(text, tmp_path) == "infeasible"


def test_constraints(sum_of_two: Path, tmp_path: Path) -> None:
    """Where x0 + x1 is at most 1/2 there is no adversary at all."""
    first = statement(sum_of_two, [0, 0], 2, constraints=[[[0, 1], hexadecimal([1, 1]), hexadecimal(0.5)]])
    tree = {"split": [0, 0]}, CLOSE | {"rows": [1, 1]}, CLOSE | {"rows": [1, 0]}
    text = translated(sum_of_two, first, ranges(0, [-4], [4]), {"goal": 1}, *tree)
    assert accepted(text, tmp_path) == "infeasible"


@pytest.mark.parametrize(
    ("changed", "radius", "goals"),
    [
        ({"targets": [2]}, 9, [(2, {"rows": [1, 0]})]),
        ({"targets": [2, 1]}, 0.5, [(2, {"rows": [1, 0]}), (1, {"rows": [1, 0]})]),
        ({"rivals": [2]}, 9, [(2, {})]),
        ({"margin": hexadecimal(0.75)}, 1.5, [(1, {}), (2, {})]),
        ({"margin": hexadecimal(-0.5), "rivals": [2]}, 1.5, [(2, {})]),
    ],
)
def test_goals(three: Path, tmp_path: Path, changed: Line, radius: float, goals: list[tuple[int, Line]]) -> None:
    lines = [line for goal, more in goals for line in ({"goal": goal}, CLOSE | more)]
    first = statement(three, [0], radius, **changed)
    text = translated(three, first, ranges(0, [-radius], [radius]), *lines)
    assert accepted(text, tmp_path) == "infeasible"


def cap(side: str, value: int, neuron: int = 1, exponent: int = -20, **multipliers: object) -> Line:
    return {"cap": [[0, [neuron], side, [value], [1]]], "exponent": exponent, "rows": [0], **multipliers}


DEAD = cap("upper", 1, signs=[[0, [0], [-1]]])  # φ = x: where the first neuron is below 0 the second is
BOTH = ranges(0, [-0.75, -0.75], [0.75, 0.75])


def test_split_cap_and_an_empty_range(same: Path, tmp_path: Path) -> None:
    start = (statement(same, [0], 0.75), BOTH, {"goal": 1})
    by_split = translated(same, *start, {"split": [0, 0]}, CLOSE, DEAD, CLOSE)
    assert accepted(by_split, tmp_path) == "infeasible"
    low = cap("upper", -1, neuron=0, exponent=-3, weights_exponent=-1, rows=[4])  # φ = 1/2 + 2 x
    live, empty = CLOSE | {"slopes": [[0, [1], [0]]]}, {"empty": [0, 0]}
    text = translated(same, *start, low, {"split": [0, 0]}, empty, live)
    assert accepted(text, tmp_path) == "infeasible"


def test_a_cap_with_equality_needs_exact_coefficients(same: Path, tmp_path: Path) -> None:
    start = (statement(same, [0], 0.75), BOTH, {"goal": 1}, {"split": [0, 0]}, CLOSE)
    dead = cap("upper", 0, exponent=-1000, signs=[[0, [0], [-1]]])
    assert accepted(translated(same, *start, dead, CLOSE), tmp_path) == "infeasible"


@pytest.mark.parametrize("subtree", [0, 1])
def test_the_same_neuron_twice(same: Path, tmp_path: Path, subtree: int) -> None:
    """A split below a split of the same neuron rests on the same assumptions."""
    again = {"split": [0, 0]}, CLOSE
    tree = [*again, CLOSE, DEAD, CLOSE] if subtree == 0 else [CLOSE, *again, DEAD, CLOSE]
    text = translated(same, statement(same, [0], 0.75), BOTH, {"goal": 1}, {"split": [0, 0]}, *tree)
    assert accepted(text, tmp_path) == "infeasible"


@pytest.mark.parametrize(("norm", "radius"), [("linf", 1), ("l1", 2)])
@pytest.mark.parametrize("second", [1, -1])
def test_upper_lines_by_shares(tmp_path: Path, norm: str, radius: int, second: int) -> None:
    """Class 0 leads relu(x0 ± x1) by x0 + 1 + 2^-7 less that: the envelope over the box touches it at x1 = ±1."""
    spare = 2.0**-7
    layers = [([[1, 1], [second, 0]], [0, 2]), ([[0, 1], [1, 0]], [spare - 1, 0])]
    model = fully_connected(tmp_path / "lead.onnx", layers)
    shares = {"shares": [[0, [0], [[256, 0]]]]}
    bins = {"bins": [0, 1 if second > 0 else 0]}
    first = statement(model, [0, 0], radius, norm=norm, box=hexadecimal([-1, 1]))
    text = translated(model, first, ranges(0, [-2, 1], [2, 3]), {"goal": 1}, CLOSE | shares | bins)
    assert accepted(text, tmp_path) == "infeasible"
    with pytest.raises(ProofError, match="line 4: the node is not closed"):
        translated(model, first, ranges(0, [-2, 1], [2, 3]), {"goal": 1}, CLOSE)


def test_two_layers(tmp_path: Path) -> None:
    """relu(2 - relu(x) - relu(-x)) is at least 3/2 where |x| ≤ 1/2: its range needs the chords of the first layer."""
    layers = [([[1, -1]], [0, 0]), ([[-1], [-1]], [2]), ([[1, 0]], [0, 1.25])]
    model = fully_connected(tmp_path / "two.onnx", layers)
    lines = ranges(0, [-0.5, -0.5], [0.5, 0.5], hair=0), ranges(1, [1.5], [2], hair=0), {"goal": 1}, CLOSE
    text = translated(model, statement(model, [0], 0.5), *lines)
    assert accepted(text, tmp_path) == "infeasible"


def test_without_neurons_and_a_relu_of_the_input(tmp_path: Path) -> None:
    linear = fully_connected(tmp_path / "linear.onnx", [([[1, -1]], [0.5, 0])])
    text = translated(linear, statement(linear, [0], 0.125), {"goal": 1}, CLOSE)
    assert accepted(text, tmp_path) == "infeasible"
    nodes = [node("Relu", ["x"], ["z"]), node("MatMul", ["z", "w"], ["y"])]
    bent = written(tmp_path / "bent.onnx", nodes, {"w": f32(np.eye(2))}, inputs=(1, 2), outputs={"y": (1, 2)})
    first = statement(bent, [1, 0], 0.375)
    shares = {"shares": [[0, [1], [[128, 128]]]], "bins": [1, 0]}
    for more in ({}, shares):
        text = translated(bent, first, ranges(0, [0.625, -0.375], [1.375, 0.375]), {"goal": 1}, CLOSE | more)
        assert accepted(text, tmp_path) == "infeasible"


def test_short_coefficients_are_tried_first_and_exact_ones_where_they_fail(
    three: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What few bits leave of a multiplier counts as often as y may be at all, up to 9; there is room for 2^-12."""
    far, witness = 1 - 2**-12, {"input": hexadecimal([9]), "distance": hexadecimal(9)}
    first = statement(three, [0], far, witness=witness)
    close = CLOSE | {"rows": [3**40], "rows_exponent": -64}
    lines = first, ranges(0, [-far], [far], hair=0), {"goal": 1}, close, {"goal": 2}, CLOSE
    for bits in ((32, None), (4, None), (None,)):
        monkeypatch.setattr(translation, "BITS", bits)
        assert accepted(translated(three, *lines), tmp_path) == f"within [{Fraction(far)}, 9]"
    monkeypatch.setattr(translation, "BITS", (4,))
    with pytest.raises(ProofError, match="line 4: the node is not closed by linear constraints"):
        translated(three, *lines)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (CLOSE | {"rows": [0]}, "the proof is refused|the node is not closed"),
        (CLOSE | {"parabolas": {}}, "line 4: parabolas have no linear form"),
        (CLOSE | {"products": {}}, "line 4: products have no linear form"),
        ({"claim": "a solver"}, "line 4: a solver's claim is no proof"),
        ({"split": [0, 1]}, "line 4: split names a neuron that the model has not"),
        ({"goal": 2}, "line 4: a tree begins with its goal"),
    ],
)
def test_what_is_refused_is_named_with_its_line(three: Path, line: Line, why: str) -> None:
    with pytest.raises(ProofError, match=why):
        translated(three, statement(three, [0], 0.5), ranges(0, [-0.5], [0.5]), {"goal": 1}, line)


def test_a_false_claim_is_refused(sum_of_two: Path) -> None:
    """A radius that reaches the nearest adversary, a range that is too tight, and a witness that is none."""
    good = ranges(0, [-1], [1]), {"goal": 1}, CLOSE
    translated(sum_of_two, statement(sum_of_two, [0, 0], 0.484375), *good)
    for radius, lines in (
        (0.5, good),
        (0.484375, (ranges(0, [-1], [0.875]), *good[1:])),
        (0.484375, good[:2]),
        (0.484375, ()),
    ):
        with pytest.raises(ProofError):
            translated(sum_of_two, statement(sum_of_two, [0, 0], radius), *lines)
    near = {"input": hexadecimal([0.5, 0.25]), "distance": hexadecimal(0.5)}
    with pytest.raises(ProofError, match="the witness is no adversary"):
        translated(sum_of_two, statement(sum_of_two, [0, 0], 0.25, witness=near), *good)
