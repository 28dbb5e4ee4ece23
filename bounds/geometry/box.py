"""Linear functions over boxes: the least value in a box, and what a half-space leaves of it."""

from __future__ import annotations

import torch
from torch import Tensor

from bounds.rounding import UNDERFLOW, gamma

OUTWARD = 1.0 + 1e-9  # far more than the few roundings of one quotient
DIFFERENCE = 2.0**-51  # relative to what something is taken off: more than one rounding


def paid(normal: Tensor, value: Tensor, reach: Tensor) -> Tensor:
    """`value`, lowered by all that `least_over` can lose where no |x_i| is beyond `reach`: [..., n], [...], [n]."""
    size = normal.abs() @ reach + value.abs()
    return value - 4.0 * gamma(normal.shape[-1]) * size - UNDERFLOW


def least_over(normal: Tensor, value: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    """The least of normal · x + value over lower ≤ x ≤ upper; proven where the value is `paid`. Minus infinity for NaN.

    normal, lower, upper: [..., n]; value: [...].
    """
    found = value + torch.minimum(normal * lower, normal * upper).sum(-1)
    return found.nan_to_num(nan=-torch.inf, posinf=torch.inf, neginf=-torch.inf)


def cut_to_halfspace(normal: Tensor, least: Tensor, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
    """A box around the part of a box where a linear function can be ≤ 0; `least` ≤ 0 is a lower bound of it there.

    Where the others are at their best, an input can leave its own best side by -least / |normal|, and no farther.
    """
    room = ((-least).unsqueeze(-1) / normal.abs() * OUTWARD + UNDERFLOW).nan_to_num(nan=torch.inf, posinf=torch.inf)
    below = upper - (room + upper.abs() * DIFFERENCE)
    above = lower + (room + lower.abs() * DIFFERENCE)
    return (
        torch.where(normal < 0, torch.maximum(lower, below), lower),
        torch.where(normal > 0, torch.minimum(upper, above), upper),
    )
