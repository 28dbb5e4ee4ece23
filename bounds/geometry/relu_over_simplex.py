"""The envelope of a ReLU over an L1 ball: with one-sided inputs the ball is a simplex, and there is one.

With inputs p ≥ 0 and Σ p ≤ r (`bounds/reduced_net/one_sided_inputs.py`), every point is a mean of the corners 0 and
r·e_i with weights p_i / r, and relu is convex. So for h ≤ A·p + k

    relu(h)  ≤  max(0, k)  +  Σ p_i · (max(0, k + r·A_i) - max(0, k)) / r,

and no lower linear function lies above relu(A·p + k) on the simplex: at its corners the two are equal. A chord instead
pays for the largest coefficient whichever way inputs move, and for that at the center, too. The box cuts corners off
the simplex where inputs have less room than r, which this does not know, and the chord does: a node's pass takes the
lower of the two at its point, neuron bounds on the ball the better of both, and bounds on the cap this one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from bounds.rounding import gamma

LEAST_RADIUS = 1e-290  # below it quotients are worth nothing, and steeper lines do


@dataclass(frozen=True, eq=False)
class Above:
    """Linear functions of the input above ReLUs: normal [..., R, n], value at zero and error [..., R]."""

    normal: Tensor
    value: Tensor
    error: Tensor

    @classmethod
    def joined(cls, parts: Sequence[Above]) -> Above:
        """The functions of all parts, one after the other."""
        return cls(*(torch.cat(each) for each in zip(*(vars(part).values() for part in parts), strict=True)))

    def of(self, *index: slice | Tensor) -> Above:
        """Those at this index."""
        return Above(*(value[index] for value in vars(self).values()))


def above_relu(rows: Tensor, value: Tensor, slack: Tensor, radius: Tensor, terms: int) -> Above:
    """The envelopes of relu(rows · p + value) over simplices: rows [..., n], the rest [...] or broadcast to it.

    Sums of at most `terms` of them may be formed.
    """
    reach = radius.unsqueeze(-1)
    least = value.clamp_min(0.0)
    corner = (value.unsqueeze(-1) + reach * rows).clamp_min(0.0)
    slope = (corner - least.unsqueeze(-1)) / reach.clamp_min(LEAST_RADIUS)
    normal = torch.where(reach > LEAST_RADIUS, slope, rows.clamp_min(0.0))
    # What rounding makes of the normal counts at most for the whole radius, as does what products make of it later.
    size = value.abs() + radius * rows.abs().amax(-1)
    return Above(normal, least, slack + 8.0 * gamma(terms + rows.shape[-1]) * size)
