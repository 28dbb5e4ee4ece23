"""What bounds are computed: against the truth at random inputs, exact against float, and float's rounding paid for."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.verifier.checker.sampled_node import sampled_node
from tests.verifier.checker.small_proofs import (
    Writer,
    fully_connected,
    hexadecimal,
    packed,
    random_layers,
    ranges,
    statement,
)
from verifier.checker import Checker, Exact, Float, Multipliers, check, load, read_statement
from verifier.checker.arithmetic import Arithmetic
from verifier.checker.region import Region

ARITHMETICS: list[type[Arithmetic]] = [Exact, Float]


def region(arithmetic: Arithmetic, norm: str, lower: Any, upper: Any, radius: float, **more: Any) -> Region:
    """A region around 0, without a model."""
    box = [hexadecimal(lower), hexadecimal(upper)]
    line = statement(Path(__file__), [0.0] * len(lower), radius, norm=norm, box=box, **more)
    claim = read_statement(line)
    assert claim.radius is not None
    return Region(arithmetic, claim, claim.radius)


@pytest.mark.parametrize("kind", ARITHMETICS)
@pytest.mark.parametrize("norm", ["linf", "l1", "l2"])
def test_least_values_on_a_region(norm: str, kind: type[Arithmetic]) -> None:
    """Never above the least of many points, among them the one where it is attained, and not far below that."""
    rng = np.random.default_rng(5)
    for _ in range(30):
        size, arithmetic = int(rng.integers(1, 6)), kind()
        lower, upper = -rng.choice([0, 0.25, 0.5, 4], size), rng.choice([0, 0.25, 0.5, 4], size)
        g, v, radius = rng.normal(size=size) * (rng.random(size) < 0.8), rng.normal(), float(rng.choice([0, 0.5, 1, 3]))
        here = region(arithmetic, norm, list(lower), list(upper), radius)
        found = here.least(arithmetic.constants(g[None]), arithmetic.constants(np.array([v])))[0]
        truth = least_by_steps(g, v, norm, lower, upper, radius)
        assert float(found) <= truth + 1e-12
        assert float(found) >= truth - 1e-3


@pytest.mark.parametrize("kind", ARITHMETICS)
@pytest.mark.parametrize("norm", ["linf", "l1", "l2"])
def test_least_values_where_moves_are_counted_in_units(norm: str, kind: type[Arithmetic]) -> None:
    """The same as of the function and the box in units."""
    rng = np.random.default_rng(6)
    for _ in range(30):
        size, arithmetic = int(rng.integers(1, 6)), kind()
        units = rng.choice([1 / 3, 1, 2.5, 17], size)
        lower, upper = -rng.choice([0, 0.25, 0.5, 4], size), rng.choice([0, 0.25, 0.5, 4], size)
        g, v, radius = rng.normal(size=size), rng.normal(), float(rng.choice([0, 0.01, 0.5, 3]))
        here = region(arithmetic, norm, list(lower), list(upper), radius, scale=hexadecimal(list(units)))
        found = here.least(arithmetic.constants(g[None]), arithmetic.constants(np.array([v])))[0]
        truth = least_by_steps(g * units, v, norm, lower / units, upper / units, radius)
        assert float(found) <= truth + 1e-12
        assert float(found) >= truth - 1e-3


@pytest.mark.parametrize("kind", ARITHMETICS)
@pytest.mark.parametrize("norm", ["linf", "l1", "l2"])
def test_a_constant_loses_nothing(norm: str, kind: type[Arithmetic]) -> None:
    arithmetic = kind()
    for more in ({}, {"scale": hexadecimal([0.3, 3])}):
        here = region(arithmetic, norm, [-1, -1], [1, 1], 8, **more)
        for tiny in (0.0, 2.0**-600):
            rows = arithmetic.constants(np.full((1, 2), tiny))
            found = here.least(rows, arithmetic.constants(np.array([2.0**-30])))[0]
            assert 2.0**-31 < found <= 2.0**-30


def least_by_steps(g: Any, v: float, norm: str, lower: Any, upper: Any, radius: float) -> float:
    """The value at the least point: entries moved to their ends in turn, or along the gradient cut to the box."""
    rooms = np.where(g > 0, -lower, upper)
    if norm == "linf":
        moves = np.minimum(rooms, radius)
    elif norm == "l1":
        moves, left = np.zeros(len(g)), radius
        for at in np.argsort(-np.abs(g)):
            moves[at] = min(rooms[at], left)
            left -= moves[at]
    else:
        low, high = 0.0, 1e9  # how far along the gradient
        for _ in range(200):
            middle = (low + high) / 2
            inside = np.linalg.norm(np.minimum(rooms, middle * np.abs(g))) <= radius
            low, high = (middle, high) if inside else (low, middle)
        moves = np.minimum(rooms, low * np.abs(g))
    return float(v - np.abs(g) @ moves)


@pytest.mark.parametrize("norm", ["linf", "l1", "l2"])
def test_any_multipliers_are_right_and_float_is_never_above_exact(tmp_path: Path, norm: str) -> None:
    """S at random points of the region and of the node is at least what both arithmetics say of it."""
    rng = np.random.default_rng(11)
    checkers, hidden = sampled_node(tmp_path / "net.onnx", rng, norm)
    for _ in range(20):
        theta, beta = [int(rng.integers(0, 9))], [int(one) for one in rng.integers(-4, 5, 9)]
        slopes = [int(one) for one in rng.integers(0, 257, 9)]
        signs = {0: ([0, 1, 2, 3, 4], beta[:5]), 1: ([3, 2, 1, 0], beta[5:])}
        chosen = Multipliers(theta, -2, {0: ([4, 2], slopes[:2]), 1: ([0, 1, 2], slopes[2:5])}, 8, signs, -3)
        exact, rounded = (checker.node.least(chosen) for checker in checkers)
        s = theta[0] / 4 * (hidden[2][:, 0] - hidden[2][:, 1])
        for k, (neurons, mantissas) in signs.items():
            for j, m in zip(neurons, mantissas, strict=True):
                end = float(checkers[0].node.bound(k, j, "lower" if m > 0 else "upper"))
                s = s - m / 8 * (hidden[k][:, j] - end)
        assert float(exact) <= s.min() + 1e-9
        assert Fraction(float(rounded)) <= exact
        assert float(rounded) >= float(exact) - 1e-9
        caps = []
        for checker in checkers:
            phi, weights = checker.node.function(chosen), checker.arithmetic.scaled([1, 0, 5, 2], -2)
            caps.append(checker.node.least_of_neurons(1, range(4), "upper", phi, weights))
        for j in range(4):
            assert float(caps[0][j]) <= (-hidden[1][:, j] + [0.25, 0, 1.25, 0.5][j] * s).min() + 1e-9
            assert Fraction(float(caps[1][j])) <= caps[0][j]


def test_what_float_rounds_is_paid_for(tmp_path: Path) -> None:
    """Weights that cancel: 2^60 + 1 - 2^60 is 1, and 0 in float64, where relu(x) for x up to 5/2 would cost nothing."""
    layers = [([[1, 1, 1]], [0, 0, 0]), ([[0, 2.0**60], [0, 1], [0, -(2.0**60)]], [0, 0])]
    model = fully_connected(tmp_path / "net.onnx", layers, double=True)
    first = read_statement(statement(model, [2], 0.5, margin=hexadecimal(3)))
    found = []
    for kind in ARITHMETICS:
        checker = Checker(first, load(model, first), kind())
        checker.take(ranges(0, [1.5] * 3, [2.5] * 3))
        checker.take({"goal": 1})
        found.append(float(checker.node.least(Multipliers([1]))))
    assert found[0] == 0.5
    assert found[1] <= 0.5


@pytest.mark.parametrize(("seed", "sizes", "radius"), [(2, (3, 4, 4, 3), 1.0), (11, (3, 4, 4, 3), 0.5)])
def test_proofs_by_brute_force_and_mutations(tmp_path: Path, seed: int, sizes: tuple[int, ...], radius: float) -> None:
    """Whole proofs are accepted by both, and none is when the radius reaches an adversary, whatever is changed."""
    rng = np.random.default_rng(seed)
    layers = random_layers(rng, sizes)
    model = fully_connected(tmp_path / "net.onnx", layers)
    x = rng.normal(size=sizes[0]).astype(np.float32).astype(float)
    winner = int(forward(layers, x[None])[0].argmax())
    lines = Writer(model, layers, statement(model, list(x), radius, against=winner)).written()
    assert any("signs" in line for line in lines)
    for arithmetic in ("exact", "float"):
        assert check(packed(*lines), model, arithmetic).whole, arithmetic
    for _ in range(12):
        changed = [*lines]
        at = int(rng.integers(1, len(lines)))
        match int(rng.integers(4)):
            case 0:
                del changed[at]
            case 1:
                changed.insert(at, lines[int(rng.integers(1, len(lines)))])
            case 2:
                other = int(rng.integers(1, len(lines)))
                changed[at], changed[other] = changed[other], changed[at]
            case _:
                changed[0] = changed[0] | {"margin": hexadecimal(-float(rng.uniform(3, 9)))}
        if changed != lines:
            verdicts = {check(packed(*changed), model, arithmetic).accepted for arithmetic in ("exact", "float")}
            assert len(verdicts) == 1
            if verdicts == {True}:  # then a close stands where another would do, and all is there
                assert [next(iter(a)) for a in changed] == [next(iter(a)) for a in lines]


def forward(layers: Any, x: Any) -> Any:
    for k, (weights, bias) in enumerate(layers):
        x = x @ np.asarray(weights, np.float64) + bias
        x = np.maximum(x, 0) if k < len(layers) - 1 else x
    return x


def test_a_sum_is_below_what_its_rounding_added() -> None:
    """Each small term rounds the sum up by a quarter of its last place: one step down afterwards is too little."""
    small = 1.5 * 2.0**-53
    terms = np.array([[1.0] + [small] * 6])
    assert terms.sum() > 1 + 6 * Fraction(small)
    assert Fraction(float(Float().total(terms)[0])) <= 1 + 6 * Fraction(small)
