"""Linear functions over boxes, against exact fractions."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import torch

from bounds.geometry.box import cut_to_halfspace, least_over, paid
from tests.draws import draws


def drawn(seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """A function whose terms nearly cancel, and a box: normal, value, lower, upper."""
    random = np.random.default_rng(seed)
    normal = random.normal(size=4) * 10.0 ** random.integers(-3, 4, size=4)
    lower = random.normal(size=4)
    upper = lower + random.random(4) * (random.random(4) < 0.8)
    value = -np.minimum(normal * lower, normal * upper).sum()
    return tuple(torch.tensor(each) for each in (normal, value, lower, upper))  # type: ignore[return-value]


def exact_least(normal: torch.Tensor, value: torch.Tensor, lower: torch.Tensor, upper: torch.Tensor) -> Fraction:
    sides = zip(*(map(Fraction, each.tolist()) for each in (normal, lower, upper)), strict=True)
    return Fraction(float(value)) + sum(min(a * low, a * high) for a, low, high in sides)


def test_a_least_value_pays_for_its_rounding() -> None:
    unpaid = 0
    for seed in range(draws(100, 2000)):
        normal, value, lower, upper = drawn(seed)
        reach, exact = torch.maximum(lower.abs(), upper.abs()), exact_least(normal, value, lower, upper)
        found = Fraction(float(least_over(normal, paid(normal, value, reach), lower, upper)))
        size = float((normal.abs() * reach).sum())
        assert exact - Fraction(1e-12 * size) <= found <= exact, seed
        unpaid += Fraction(float(least_over(normal, value, lower, upper))) > exact
    assert unpaid


def test_a_half_space_cuts_no_point_off() -> None:
    """Each input's farthest value where the function is at most zero, in fractions, is left; little more is."""
    cuts = 0
    for seed in range(draws(100, 2000)):
        normal, value, lower, upper = drawn(seed)
        value = value - 0.3 * float((normal.abs() * (upper - lower)).max())
        reach = torch.maximum(lower.abs(), upper.abs())
        least = least_over(normal, paid(normal, value, reach), lower, upper).clamp_max(0.0)
        low, high = cut_to_halfspace(normal, least, lower, upper)
        room = -exact_least(normal, value, lower, upper)
        for i, slope in enumerate(map(Fraction, normal.tolist())):
            ends = Fraction(float(lower[i])), Fraction(float(upper[i]))
            left = (ends[0], min(ends[1], ends[0] + room / slope))
            if slope < 0:
                left = (max(ends[0], ends[1] + room / slope), ends[1])
            assert Fraction(float(low[i])) <= left[0], seed
            assert left[1] <= Fraction(float(high[i])), seed
            assert float(high[i] - low[i]) <= float(left[1] - left[0]) + 1e-6, seed
            cuts += left != ends
    assert cuts


def test_a_function_that_overflowed_says_nothing() -> None:
    normal = torch.tensor([[torch.nan, 1.0]], dtype=torch.float64)
    lower, upper = -torch.ones(1, 2, dtype=torch.float64), torch.ones(1, 2, dtype=torch.float64)
    least = least_over(normal, torch.zeros(1, dtype=torch.float64), lower, upper)
    assert least.tolist() == [-torch.inf]
    low, high = cut_to_halfspace(normal, least, lower, upper)
    assert torch.equal(low, lower)
    assert torch.equal(high, upper)
