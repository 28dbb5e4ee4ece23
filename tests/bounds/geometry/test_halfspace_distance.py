"""Closed forms for one linear function over ball and box, against hand-worked numbers and linear programs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from scipy.optimize import linprog, minimize

from bounds.geometry import halfspace_distance
from bounds.geometry.halfspace_distance import distance_to_halfspace, lowest_value, nearest_in_halfspace
from encoders.question import CONVEX, Norm
from tests.draws import examples


def tensor(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


# One function 2 - 3x - 4y around (0, 0), box [-1, 1]²: to bring 2 down to 0
#   L∞: r·(3 + 4) = 2, r = 2/7.    L1: move y alone, 4r = 2, r = 1/2.    L2: 2 / ‖(3, 4)‖ = 2/5.
@pytest.mark.parametrize(("norm", "expected"), [(Norm.LINF, 2 / 7), (Norm.L1, 1 / 2), (Norm.L2, 2 / 5)])
def test_distance_worked_by_hand(norm: Norm, expected: float) -> None:
    a, one = tensor(-3.0, -4.0), tensor(1.0, 1.0)
    found = float(distance_to_halfspace(a, torch.tensor(2.0, dtype=torch.float64), one, one, norm))
    assert found <= expected
    assert found == pytest.approx(expected, rel=1e-9)


# The same with y held to 0.25 upward: y gives at most 1, x must give the other 1 (x = 1/3).
#   L∞: x = 1/3 is the longer leg.   L1: 1/4 + 1/3.   L2: sqrt(1/16 + 1/9) = 5/12.
@pytest.mark.parametrize(("norm", "expected"), [(Norm.LINF, 1 / 3), (Norm.L1, 7 / 12), (Norm.L2, 5 / 12)])
def test_distance_with_a_wall(norm: Norm, expected: float) -> None:
    a, below, above = tensor(-3.0, -4.0), tensor(1.0, 1.0), tensor(1.0, 0.25)
    found = float(distance_to_halfspace(a, torch.tensor(2.0, dtype=torch.float64), below, above, norm))
    assert found <= expected
    assert found == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("norm", CONVEX)
def test_out_of_reach_is_infinite_and_reached_is_zero(norm: Norm) -> None:
    a, one = tensor(-3.0, -4.0), tensor(1.0, 1.0)
    value = torch.tensor([7.5, 0.0, -1.0, float("nan")], dtype=torch.float64)
    found = distance_to_halfspace(a.expand(4, 2), value, one, one, norm)
    assert found.tolist() == [float("inf"), 0.0, 0.0, 0.0]


@pytest.mark.parametrize("norm", CONVEX)
def test_zero_gradient(norm: Norm) -> None:
    zero, one = tensor(0.0, 0.0), tensor(1.0, 1.0)
    value = torch.tensor(1.0, dtype=torch.float64)
    assert float(distance_to_halfspace(zero, value, one, one, norm)) == float("inf")
    assert float(lowest_value(zero, value, one, one, norm, value)) == pytest.approx(1.0)


entries = st.floats(-4, 4).map(lambda v: round(v, 2))
widths = st.floats(0, 2).map(lambda v: round(v, 2))


@st.composite
def problems(draw: st.DrawFn) -> tuple[np.ndarray, float, np.ndarray, np.ndarray, float]:
    n = draw(st.integers(1, 5))
    a = np.array(draw(st.lists(entries, min_size=n, max_size=n)))
    below = np.array(draw(st.lists(widths, min_size=n, max_size=n)))
    above = np.array(draw(st.lists(widths, min_size=n, max_size=n)))
    return a, draw(st.floats(0.01, 6)), below, above, draw(st.floats(0.01, 3))


def linear_program(
    a: np.ndarray, value: float, below: np.ndarray, above: np.ndarray, norm: Norm, radius: float | None
) -> float:
    """The least distance (radius None) or the least value within the radius, by scipy; d = p - q, p, q ≥ 0."""
    n = len(a)
    sides = [(0.0, high) for high in above] + [(0.0, low) for low in below] + [(0.0, radius)]
    signed = np.concatenate([a, -a, [0.0]])
    if norm is Norm.LINF:
        length = np.hstack([np.eye(n), np.eye(n), -np.ones((n, 1))])
    else:
        length = np.concatenate([np.ones(2 * n), [-1.0]])[None]
    if radius is None:
        matrix, right = np.vstack([length, signed]), np.append(np.zeros(len(length)), -value)
        answer = linprog(np.append(np.zeros(2 * n), 1.0), matrix, right, bounds=sides)
        return float(answer.fun) if answer.status == 0 else float("inf")
    answer = linprog(signed, length, np.zeros(len(length)), bounds=sides)
    return value + float(answer.fun)


def at_the_edge(a: np.ndarray, value: float, below: np.ndarray, above: np.ndarray) -> bool:
    """Whether the half-space touches the box in its last corner: rounding decides on which side, and 0 is a bound."""
    return abs(float(np.abs(a) @ np.where(a > 0, below, above)) - value) <= 1e-7


@examples(150)
@given(problems(), st.sampled_from([Norm.LINF, Norm.L1]))
def test_agrees_with_linear_programs(
    problem: tuple[np.ndarray, float, np.ndarray, np.ndarray, float], norm: Norm
) -> None:
    a, value, below, above, radius = problem
    parts = tensor(*a), torch.tensor(value, dtype=torch.float64), tensor(*below), tensor(*above)
    found = float(distance_to_halfspace(*parts, norm))
    expected = linear_program(a, value, below, above, norm, None)
    if not at_the_edge(a, value, below, above):
        assert found <= expected + 1e-8
        assert found == pytest.approx(expected, abs=1e-7)
    least = float(lowest_value(*parts, norm, torch.tensor(radius, dtype=torch.float64)))
    assert least == pytest.approx(linear_program(a, value, below, above, norm, radius), abs=1e-7)


@examples(150)
@given(problems(), st.sampled_from(CONVEX))
@example((np.ones(1), 1.0, np.ones(1), np.zeros(1), 1.0), Norm.LINF)
def test_the_minimiser_attains_the_distance(
    problem: tuple[np.ndarray, float, np.ndarray, np.ndarray, float], norm: Norm
) -> None:
    a, value, below, above, _ = problem
    parts = tensor(*a), torch.tensor(value, dtype=torch.float64), tensor(*below), tensor(*above)
    bound = float(distance_to_halfspace(*parts, norm))
    shift = nearest_in_halfspace(*parts, norm)[1].numpy()
    assert (shift <= above + 1e-12).all()
    assert (shift >= -below - 1e-12).all()
    if np.isfinite(bound):
        assert value + a @ shift == pytest.approx(0.0, abs=1e-6)
        assert bound <= float(norm.length(shift)) + 1e-12
        if not at_the_edge(a, value, below, above):
            assert float(norm.length(shift)) == pytest.approx(bound, abs=1e-6)


# Every entry can bring 1, and each is full at half the multiplier of the one before it.
SIZES = 2.0 ** (np.arange(16) / 2.0)
WIDTHS, SIGNS = 1.0 / SIZES, np.where(np.arange(16) % 3, 1.0, -1.0)


def staggered(share: float) -> tuple[torch.Tensor, ...]:
    """The half-space that `share` of the box's fall reaches."""
    sides = torch.from_numpy(WIDTHS)
    return torch.from_numpy(SIGNS * SIZES), torch.tensor(share * 16, dtype=torch.float64), sides, sides


def quadratic_program(share: float) -> float:
    """The L2 distance by SciPy: which share of its width each entry moves."""
    answer = minimize(
        lambda u: (WIDTHS * u) @ (WIDTHS * u), np.full(16, share), jac=lambda u: 2.0 * WIDTHS**2 * u, method="SLSQP",
        tol=1e-12, bounds=[(0.0, 1.0)] * 16,
        constraints={"type": "ineq", "fun": lambda u: u.sum() - share * 16, "jac": np.ones_like},
    )  # fmt: skip
    assert answer.success
    return float(np.sqrt(answer.fun))


def program(share: float, norm: Norm) -> float:
    """The exact distance by SciPy."""
    if norm is Norm.L2:
        return quadratic_program(share)
    return linear_program(SIGNS * SIZES, share * 16, WIDTHS, WIDTHS, norm, None)


@pytest.mark.parametrize("norm", CONVEX)
@pytest.mark.parametrize("share", [0.5, 0.9, 0.99, 0.9999])
def test_near_the_last_corner_of_the_box_the_point_is_still_on_the_half_space(share: float, norm: Norm) -> None:
    a, value, below, above = staggered(share)
    bound, point, _ = nearest_in_halfspace(a, value, below, above, norm)
    assert float(value + a @ point) == pytest.approx(0.0, abs=1e-12)
    assert float(norm.length(point.numpy())) == pytest.approx(float(bound), rel=1e-9)
    assert float(bound) == pytest.approx(program(share, norm), rel=1e-7)


@pytest.mark.parametrize("factor", [0.0, 0.5, 0.99, 1.01, 3.0, 1e9])
@pytest.mark.parametrize("share", [0.5, 0.99, 0.9999])
def test_the_bound_holds_for_any_multiplier(share: float, factor: float, monkeypatch: pytest.MonkeyPatch) -> None:
    # What is proven is a dual value: how near to the best its multiplier comes makes it higher, never too high.
    genuine = halfspace_distance._newton
    monkeypatch.setattr(halfspace_distance, "_newton", lambda *parts: factor * genuine(*parts))
    a, value, below, above = staggered(share)
    for norm in (Norm.L2, Norm.LINF):
        found = float(distance_to_halfspace(a, value, below, above, norm))
        assert found <= program(share, norm) * (1 + 1e-9)
