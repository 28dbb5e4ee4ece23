"""Parabolas that inputs pay for: by hand, and against the truth at random inputs, in both arithmetics."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from tests.verifier.checker.sampled_node import sampled_node
from tests.verifier.checker.small_proofs import (
    Line,
    fully_connected,
    hexadecimal,
    packed,
    ranges,
    statement,
)
from verifier.checker import Checker, Multipliers, Parabolas, RefusedError, check
from verifier.checker.parabolas import no_eigenvalue_above_1

HAIR = 2.0**-18
HALVES: Line = {
    "layer": 0,
    "neurons": [0, 1],
    "weights": [[1, 1], -1],
    "spreads": [[1, 1], -1],
    "prices": [[3, 3], -2],
    "point": [[0, 0], 0],
}
Arithmetic = Literal["exact", "float"]


def sum_of_two(path: Path, against: float) -> Path:
    """Class 1 has relu(x0 + x1) + relu(x0 - x1), class 0 a constant."""
    return fully_connected(path, [([[1, 1], [1, -1]], [0, 0]), ([[0, 1], [0, 1]], [against, 0])])


def told(model: Path, arithmetic: Arithmetic, parabolas: Any, radius: float = 1, **changed: Any) -> bool:
    """Whether a proof that closes its one node with these is accepted; the box is [-1, 1] for each input."""
    first = statement(model, [0, 0], radius, box=hexadecimal([-1, 1]), **changed)
    close = {"close": True} | ({} if parabolas is None else {"parabolas": parabolas})
    proof = (first, ranges(0, [-2, -2], [2, 2]), {"goal": 1}, close)
    return check(packed(*proof), model, arithmetic).whole


@pytest.mark.parametrize("arithmetic", ["exact", "float"])
@pytest.mark.parametrize(("norm", "radius"), [("linf", 1), ("l1", 2), ("l2", 2)])
@pytest.mark.parametrize(
    ("changed", "most"),
    [
        (None, 3.0),  # chords: each neuron is at most 1 + h / 2
        ({}, 42 / 16),  # z0 + z1 - x0 - 13/8 + |x|² / 16 ≤ 0, whose tangent at 0 is without the square
        ({"point": [[1, 0], 0]}, 41 / 16),  # its tangent at x0 = 1
        ({"point": [[7, 0], 0]}, 41 / 16),  # a point beyond the box is moved to its end
        ({"prices": [[46343, 46343], -16]}, 2.5 + 2.0**-13),  # c² = 1/2 and a little: with 1/2 it is x0 + 3/2
        ({"neurons": [0], "weights": [[1], -1], "spreads": [[1], -1]}, 3.375),  # dearer than the chord
        ({"weights": [[0, 0], 0], "prices": [[0, 0], 0]}, 3.5),  # nothing but s² of each
    ],
)
def test_two_neurons_share_what_inputs_pay(
    tmp_path: Path, norm: str, radius: float, arithmetic: Arithmetic, changed: Line | None, most: float
) -> None:
    """The sum is at most 2 where both inputs are at most 1, and closes against anything above the bound."""
    parabolas = None if changed is None else HALVES | changed
    for against, accepted in ((most + HAIR, True), (most - HAIR - 2.0**-12, False)):
        model = sum_of_two(tmp_path / f"{accepted}.onnx", against)
        assert told(model, arithmetic, parabolas, radius, norm=norm) == accepted


@pytest.mark.parametrize("arithmetic", ["exact", "float"])
def test_prices_that_do_not_pay_are_refused(tmp_path: Path, arithmetic: Arithmetic) -> None:
    """C Cᵀ has the eigenvalue 1/2 / c², twice: above 1 for c = 0.703, whatever else is said, and for c = 0."""
    model = sum_of_two(tmp_path / "net.onnx", 99)
    for prices, accepted in (([46343, 46343], True), ([46072, 46343], False), ([46072, 46072], False)):
        assert told(model, arithmetic, HALVES | {"prices": [prices, -16]}) == accepted
    assert told(model, arithmetic, HALVES | {"prices": [[0, 0], 0]})  # b = 0, and τ holds all that y can be
    assert not told(model, arithmetic, HALVES | {"prices": [[1, 1], -200]})


@pytest.mark.parametrize("arithmetic", ["exact", "float"])
def test_units_and_constraints(tmp_path: Path, arithmetic: Arithmetic) -> None:
    model = sum_of_two(tmp_path / "net.onnx", 2.75)
    assert told(model, arithmetic, HALVES, 0.5, scale=hexadecimal([2, 2]))
    assert not told(model, arithmetic, None, 0.5, scale=hexadecimal([2, 2]))
    first = statement(model, [0, 0], 1, box=hexadecimal([-1, 1]), constraints=[[[0], hexadecimal([1]), hexadecimal(9)]])
    lines = (first, ranges(0, [-2, -2], [2, 2]), {"goal": 1}, {"close": True, "rows": [1, 0], "parabolas": HALVES})
    assert check(packed(*lines), model, arithmetic).whole


@pytest.mark.parametrize("arithmetic", ["exact", "float"])
def test_the_function_of_a_cap_may_have_parabolas(tmp_path: Path, arithmetic: Arithmetic) -> None:
    """φ > 0 with them: no adversary is left, and any value of any neuron follows."""
    model = sum_of_two(tmp_path / "net.onnx", 2.75)
    start = (statement(model, [0, 0], 1, box=hexadecimal([-1, 1])), ranges(0, [-2, -2], [2, 2]), {"goal": 1})
    cap = {"cap": [[0, [0], "lower", [3], [1 << 20]]], "exponent": 0}
    for parabolas, accepted in (({"parabolas": HALVES}, True), ({}, False)):
        assert check(packed(*start, cap | parabolas, {"empty": [0, 0]}), model, arithmetic).whole == accepted


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"layer": 1}, "a layer of parabolas is 1"),
        ({"neurons": [0, 2]}, "or one that layer 0 has not"),
        ({"neurons": [0, 0]}, "lists a neuron twice"),
        ({"neurons": []}, "lists no neuron"),
        ({"neurons": [0]}, "weights has 2 entries"),
        ({"weights": [[1, -1], 0]}, "weights holds -1"),
        ({"weights": [[1, 1 << 24], 0]}, "more than 24 bits"),
        ({"spreads": [[1, 1], 201]}, "the exponent of spreads is 201"),
        ({"spreads": [1, 1]}, "spreads is no list"),
        ({"prices": [[3], 0]}, "prices has 1 entries"),
        ({"prices": [[3, 3], 0, 0]}, "prices has 3 entries"),
        ({"point": [[0], 0]}, "point has 1 entries"),
        ({"point": [[0, 0], 5001]}, "the exponent of point"),
        ({"more": 1}, "'more' is not known"),
    ],
)
def test_what_breaks_the_rule_is_refused(tmp_path: Path, changed: Line, why: str) -> None:
    model = sum_of_two(tmp_path / "net.onnx", 99)
    first = statement(model, [0, 0], 1, box=hexadecimal([-1, 1]))
    for parabolas, told_why in ((HALVES | changed, why), ([], "is no JSON object"), ({}, "'layer' is missing")):
        close: Line = {"close": True, "parabolas": parabolas}
        proof = (first, ranges(0, [-2, -2], [2, 2]), {"goal": 1}, close)
        assert told_why in check(packed(*proof), model, "exact").why


@pytest.mark.parametrize("kind", [np.int64, np.float64])
def test_an_eigenvalue_above_1_is_never_missed(kind: type[np.generic]) -> None:
    """Matrices just below and just above, and such as no factor is found of, or none that whole numbers hold."""
    rng = np.random.default_rng(3)
    for size, wide in ((1, 1), (1, 7), (5, 3), (12, 30)):
        matrix = rng.normal(size=(size, wide))
        matrix /= np.linalg.norm(matrix, 2)
        for factor, held in ((1 - 2.0**-15, True), (1 + 2.0**-22, False), (1.3, False), (30.0, False)):
            whole = np.rint(matrix * factor * 2.0**26).astype(np.int64)
            assert no_eigenvalue_above_1(whole, kind) == held
    assert no_eigenvalue_above_1(np.zeros((2, 3), np.int64), kind)
    assert not no_eigenvalue_above_1(np.full((1, 1 << 12), 1 << 26), kind)  # whose square 64 bits take for 0


def test_a_factor_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it misses must be small beside what is left, and nothing in it may be too large to be multiplied."""
    matrix = np.rint(np.array([[0.7, 0.1], [0.0, 0.6]]) * 2.0**26).astype(np.int64)
    assert no_eigenvalue_above_1(matrix, np.int64)
    for wrong in (np.eye(2), np.full((2, 2), np.nan), np.full((2, 2), 1e10)):
        monkeypatch.setattr(np.linalg, "cholesky", lambda _, found=wrong: found)
        assert not no_eigenvalue_above_1(matrix, np.int64)


@pytest.mark.parametrize("norm", ["linf", "l1", "l2"])
def test_any_numbers_are_right_and_float_is_never_above_exact(tmp_path: Path, norm: str) -> None:
    """S + F at random points of the region and of the node is at least what both arithmetics say of it."""
    rng = np.random.default_rng(11)
    checkers, hidden = sampled_node(tmp_path / "net.onnx", rng, norm, classes=2, points=20_000)
    s, closer = hidden[2][:, 0] - hidden[2][:, 1], 0
    for draw in range(40):
        neurons = [int(one) for one in rng.permutation(4)[: 1 + draw % 4]]
        wanted = ((len(neurons), 6), (len(neurons), 12), (3, 24), (3, 9))
        given = (([int(one) for one in rng.integers(0, most, count)], -4) for count, most in wanted)
        chosen = Multipliers([1], parabolas=Parabolas(draw % 2, neurons, *given))
        if not all(paid_for(checker, chosen) for checker in checkers):
            continue
        exact, rounded = (checker.node.least(chosen) for checker in checkers)
        assert float(exact) <= s.min() + 1e-9
        assert Fraction(float(rounded)) <= exact
        assert float(rounded) >= float(exact) - 1e-9
        closer += exact > checkers[0].node.least(Multipliers([1]))
    assert closer


def paid_for(checker: Checker, chosen: Multipliers) -> bool:
    """Whether prices pay, with which most random numbers are refused."""
    try:
        checker.node.function(chosen)
    except RefusedError as error:
        if "do not pay" in str(error):
            return False
        raise
    return True
