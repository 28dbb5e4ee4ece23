"""Upper lines by shares, by hand and against the truth at random inputs, in both arithmetics."""

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
from verifier.checker import Multipliers, check

SPARE = 2.0**-7
WHOLE = {"bins": [0, 1], "shares": [[0, [0], [[256, 0]]]]}  # x0 whole, x1 not at all


def lead(path: Path, second: int) -> Path:
    """Class 0 has the score x0 + 1 + 2^-7, class 1 has relu(x0 ± x1): the envelope at x1 = ±1, where they are equal."""
    return fully_connected(path, [([[1, 1], [second, 0]], [0, 2]), ([[0, 1], [1, 0]], [SPARE - 1, 0])])


def told(model: Path, arithmetic: Literal["exact", "float"], lines: Line, radius: float = 1, **changed: Any) -> bool:
    """Whether a proof that closes its one node with these lines is accepted; the box is [-1, 1] for each input."""
    first = statement(model, [0, 0], radius, box=hexadecimal([-1, 1]), **changed)
    proof = (first, ranges(0, [-2, 1], [2, 3]), {"goal": 1}, {"close": True} | lines)
    return check(packed(*proof), model, arithmetic).whole


@pytest.mark.parametrize("arithmetic", ["exact", "float"])
@pytest.mark.parametrize(("norm", "radius"), [("linf", 1), ("l1", 2), ("l2", 4)])
def test_one_input_whole(tmp_path: Path, norm: str, radius: float, arithmetic: Literal["exact", "float"]) -> None:
    """relu(x0 + x1) is at most x0 + 1 where both are at most 1; the chord, (x0 + x1) / 2 + 1, is not."""
    model = lead(tmp_path / "sum.onnx", 1)
    assert told(model, arithmetic, WHOLE, radius, norm=norm)
    for wrong in (
        {},
        {"bins": [1, 0], "shares": [[0, [0], [[256, 0]]]]},  # the other input
        {"bins": [0, 1], "shares": [[0, [1], [[256, 0]]]]},  # another neuron
        {"bins": [0, 1], "shares": [[0, [0], [[192, 0]]]]},  # too small a share
        {"shares": [[0, [0], [[256]]]]},  # the neuron itself, which falls below 0
        {"shares": [[0, [0], [[0]]]]},  # its greatest value
    ):
        assert not told(model, arithmetic, wrong, radius, norm=norm)
    assert told(model, arithmetic, {"shares": [[0, [0], [[1022, 0]]]], "share_bits": 10, "bins": [0, 1]}, radius)


@pytest.mark.parametrize("arithmetic", ["exact", "float"])
def test_inputs_that_lower_a_neuron_count_bins_from_the_end(
    tmp_path: Path, arithmetic: Literal["exact", "float"]
) -> None:
    """Of relu(x0 - x1) the line x0 + 1 takes x0 whole: where x1 is in the last bin, its share is the first."""
    model = lead(tmp_path / "difference.onnx", -1)
    for bins, shares, accepted in (
        ([0, 2], [256, 0, 0], False),  # both whole
        ([0, 1], [256, 0], False),
        ([2, 2], [0, 0, 256], True),
        ([2, 2], [256, 0, 0], False),  # x1 whole
        ([1, 2], [0, 256, 0], True),
        ([1, 1], [256], False),  # as many shares as there are bins
    ):
        assert told(model, arithmetic, {"bins": bins, "shares": [[0, [0], [shares]]]}) == accepted


@pytest.mark.parametrize("arithmetic", ["exact", "float"])
def test_a_line_holds_on_its_region_alone(tmp_path: Path, arithmetic: Literal["exact", "float"]) -> None:
    """Where x1 may be 5/4, relu(x0 + x1) reaches beyond x0 + 1: the same shares make a line that is higher."""
    model = lead(tmp_path / "sum.onnx", 1)
    for upper, accepted in ((1, True), (1.25, False)):
        first = statement(model, [0, 0], 2, box=[hexadecimal(-1), hexadecimal([1, upper])])
        lines = (first, ranges(0, [-2, 1], [2.25, 3]), {"goal": 1}, {"close": True} | WHOLE)
        assert check(packed(*lines), model, arithmetic).whole == accepted


@pytest.mark.parametrize("arithmetic", ["exact", "float"])
def test_a_neuron_that_holds_the_goal_back_has_no_upper_line(
    tmp_path: Path, arithmetic: Literal["exact", "float"]
) -> None:
    """Class 0 has relu(x0 + x1), class 1 has 1: at 0 it wins, whatever the most is that the neuron can be."""
    model = fully_connected(tmp_path / "net.onnx", [([[1], [1]], [0]), ([[1, 0]], [0, 1])])
    first = statement(model, [1, 1], 2, box=hexadecimal([-1, 1]))
    close = {"close": True, "shares": [[0, [0], [[0]]]]}
    assert not check(packed(first, ranges(0, [-2], [2]), {"goal": 1}, close), model, arithmetic).accepted


@pytest.mark.parametrize("arithmetic", ["exact", "float"])
def test_units_and_constraints(tmp_path: Path, arithmetic: Literal["exact", "float"]) -> None:
    model = lead(tmp_path / "sum.onnx", 1)
    assert told(model, arithmetic, WHOLE, 0.5, scale=hexadecimal([2, 2]))
    assert not told(model, arithmetic, {}, 0.5, scale=hexadecimal([2, 2]))
    never = [[[0], hexadecimal([1]), hexadecimal(9)]]
    assert told(model, arithmetic, WHOLE | {"rows": [1, 0]}, constraints=never)


@pytest.mark.parametrize("arithmetic", ["exact", "float"])
def test_the_function_of_a_cap_may_have_lines(tmp_path: Path, arithmetic: Literal["exact", "float"]) -> None:
    """φ = 2^-7 with the line: no adversary is left, and any value of any neuron follows."""
    model = lead(tmp_path / "sum.onnx", 1)
    start = (statement(model, [0, 0], 1, box=hexadecimal([-1, 1])), ranges(0, [-2, 1], [2, 3]), {"goal": 1})
    cap = {"cap": [[0, [0], "lower", [3], [1 << 20]]], "exponent": 0}
    for lines, accepted in ((WHOLE, True), ({}, False)):
        assert check(packed(*start, cap | lines, {"empty": [0, 0]}), model, arithmetic).whole == accepted


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ({"bins": [0]}, "bins has 1 entries"),
        ({"bins": [0, -1]}, "bins holds -1"),
        ({"bins": [0, 1], "shares": [[0, [0], [[256]]]]}, "the shares of a neuron has 1 entries"),
        ({"bins": [0, 1], "shares": [[0, [0], [256, 0]]]}, "shares has 2 entries"),
        ({"bins": [0, 1], "shares": [[0, [0], [256]]]}, "the shares of a neuron is no list"),
        ({"shares": [[0, [0, 1], [[1, 1], [1]]]]}, "the shares of a neuron has 1 entries"),
        ({"shares": [[0, [0, 1], [[1], [1, 1]]]]}, "the shares of a neuron has 2 entries"),
        ({"shares": [[0, [0], [[257]]]]}, "a share is outside"),
        ({"shares": [[0, [0], [[-1]]]]}, "a share is outside"),
        ({"shares": [[0, [0], [[256]]]], "share_bits": 7}, "a share is outside"),
        ({"shares": [[0, [0, 0], [[1], [1]]]]}, "lists a neuron twice"),
        ({"shares": [[1, [0], [[1]]]]}, "a layer of shares is 1"),
        ({"shares": [[0, [2], [[1]]]]}, "or one that layer 0 has not"),
    ],
)
def test_what_breaks_the_rule_is_refused(tmp_path: Path, lines: Line, why: str) -> None:
    model = lead(tmp_path / "sum.onnx", 1)
    first = statement(model, [0, 0], 1, box=hexadecimal([-1, 1]))
    proof = (first, ranges(0, [-2, 1], [2, 3]), {"goal": 1}, {"close": True} | lines)
    assert why in check(packed(*proof), model, "exact").why


@pytest.mark.parametrize("norm", ["linf", "l1", "l2"])
def test_any_shares_are_right_and_float_is_never_above_exact(tmp_path: Path, norm: str) -> None:
    """S at random points of the region and of the node is at least what both arithmetics say of it."""
    rng = np.random.default_rng(12)
    (checkers, hidden), closer = sampled_node(tmp_path / "net.onnx", rng, norm), 0
    for _ in range(30):
        theta, bins = [int(one) for one in rng.integers(0, 9, 1)], [int(one) for one in rng.integers(0, 3, 3)]
        shares = {
            k: (neurons, [[int(one) for one in rng.integers(0, 17, max(bins) + 1)] for _ in neurons])
            for k, neurons in ((0, [3, 0, 1, 4]), (1, [2, 0, 3]))
        }
        chosen = Multipliers(theta, -2, bins=bins, shares=shares, share_bits=4)
        exact, rounded = (checker.node.least(chosen) for checker in checkers)
        s = theta[0] / 4 * (hidden[2][:, 0] - hidden[2][:, 1])
        assert float(exact) <= s.min() + 1e-9
        assert Fraction(float(rounded)) <= exact
        assert float(rounded) >= float(exact) - 1e-9
        closer += exact > checkers[0].node.least(Multipliers(theta, -2))
    assert closer  # a random line is better than the chord now and then
