"""Parabolas above ReLUs, and inputs that pay for their curvature: what a semidefinite relaxation proves, made a line.

For any s > 0, relu(h) ≤ (h + s)² / 4s, which touches at h = -s and h = s. Alone it is no use, for a concave function of
the inputs has its least value in some corner; but d lies in the box, (d + down)·(d - up) ≤ 0 input by input, and these
may be added at any price p ≥ 0. With weights -q ≤ 0 on ReLUs of h = A·d + k, and D = q / 4s,

    -Σ q·relu(h)  ≥  -Σ q·(h + s)² / 4s + Σ p·(d + down)·(d - up)  =  a linear function + (d - c)ᵀ S (d - c),

where S = diag(p) - Aᵀ D A and c is any point: so where S has no negative eigenvalue, the linear function holds on the
box. It knows how far *all* neurons can go at once; envelopes and chords know it of one. That S ⪰ 0 is what the
semidefinite program of Raghunathan et al. (2018) demands; good s and p come from
`bounds/semidefinite/one_layer_descent.py`; any are valid.

S ⪰ 0 iff no eigenvalue of G = D^½ A diag(1/p) Aᵀ D^½ exceeds 1. Prices are scaled until a Cholesky factor L of c·I - G
exists, and the factor is not believed: what L·Lᵀ misses, and all rounding, is added to c. Trusted are the rows, and
that adversaries of interest lie in the box. Costs P²·n + P³ multiplications a node, P neurons with a weight.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from bounds.envelopes.base import Tangents, UpperLines
from bounds.geometry.eigenvalue_bounds import LEAST, about_greatest, no_eigenvalue_above
from bounds.propagation.sample_groups import Grouping
from bounds.reduced_net.stacked_nets import Stack
from bounds.rounding import gamma
from encoders.deadline import look

CURVATURE = 1e-9  # relative, of prices: pays for points that are not quite where the parabolas are expanded
ELEMENTS_AT_ONCE = {"cpu": 4_000_000, "cuda": 400_000_000}  # of [nodes, neurons, inputs]


@dataclass(frozen=True, eq=False)
class Touch(Tangents):
    """What each of N nodes has above its R neurons: `share` of a parabola, and the rest of the chord."""

    share: Tensor  # [N, R] in [0, 1]
    spread: Tensor  # [N, R] where the parabola touches: at ± this
    chord: Tensor  # [N, R]
    offset: Tensor  # [N, R]
    price: Tensor  # [N, n] of the inputs' curvature
    point: Tensor  # [N, n] where the function is drawn
    most: Tensor  # [N, R] the weights that the prices pay for
    down: Tensor  # [N, n] how far inputs can go: each node may have a ball of its own
    up: Tensor

    def drawn_at(self, point: Tensor) -> Touch:
        return replace(self, point=point)


@dataclass(frozen=True, eq=False)
class Parabolas(UpperLines):
    """Of the first layer's open neurons, on the part of each net's L∞ ball in the box."""

    below: Tensor  # [S, n] room down to the box
    above: Tensor
    rows: Tensor  # [S, R, n]
    constant: Tensor  # [S, R]
    error: Tensor  # [S, R] of the rows
    reach: Tensor  # [S, R] no row's value is larger, and no sum on the way to it

    @classmethod
    @torch.no_grad()
    def of(cls, stack: Stack, radius: Tensor) -> Parabolas:
        """On L∞ balls of at most `radius` [S]."""
        first = stack.layers[0]
        rows, constant = stack.x[:, first], stack.constant[:, first]
        far = torch.minimum(torch.maximum(stack.below, stack.above), radius.unsqueeze(-1))
        reach = (rows.abs() @ far.unsqueeze(-1)).squeeze(-1) + constant.abs()
        neurons = torch.arange(first.start, first.stop, device=rows.device)
        return cls(neurons, stack.below, stack.above, rows, constant, stack.error[:, first], reach)

    def room(self, group: Grouping, radius: Tensor) -> tuple[Tensor, Tensor]:
        """How far down and up inputs can go [N, n] on balls of `radius` [N]."""
        reach = radius.unsqueeze(-1)
        return torch.minimum(group.of(self.below), reach), torch.minimum(group.of(self.above), reach)

    @torch.no_grad()
    def priced(self, group: Grouping, touch: Touch) -> Touch:
        """With prices scaled until they pay for the weights `touch.most`; infinite where none were found.

        Whatever the descent left is made valid first: shares within [0, 1], and parabolas that open upward.
        """
        share, spread = touch.share.clamp(0.0, 1.0), touch.spread.clamp_min(LEAST)
        touch = replace(touch, share=share, spread=spread, price=touch.price.clamp_min(0.0))
        count, size = len(touch.most), self.rows.shape[2]
        curvature = (touch.most * touch.share / (4.0 * touch.spread)).sqrt()
        busy = curvature > 0
        width = int(busy.sum(-1).max()) if count else 0
        if not width:
            return touch
        thin = torch.where(touch.down + touch.up > 0, touch.price.rsqrt(), 0.0)
        at_once = max(1, ELEMENTS_AT_ONCE[thin.device.type] // (width * size))
        place = curvature.topk(width, dim=-1).indices
        factors = []
        for chosen in torch.split(torch.arange(count, device=thin.device), at_once):
            look()
            of = group.member[chosen].unsqueeze(-1)
            rows = self.rows[of, place[chosen]] * curvature[chosen].gather(1, place[chosen]).unsqueeze(-1)
            factors.append(_greatest(rows.mul_(thin[chosen].unsqueeze(1))))
        return replace(touch, price=touch.price * (torch.cat(factors) * (1.0 + CURVATURE)).unsqueeze(-1))

    def lines(self, group: Grouping, tangents: Touch, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        share, spread, down, up = tangents.share, tangents.spread, tangents.down, tangents.up
        point = torch.minimum(torch.maximum(tangents.point, -down), up)
        price = torch.where(down + up > 0, tangents.price, 0.0)
        h = group.times(point, self.rows.transpose(1, 2)) + group.of(self.constant)
        slope = share * (h + spread) / (2.0 * spread) + (1.0 - share) * tangents.chord
        offset = share * (spread - h) * (spread + h) / (4.0 * spread) + (1.0 - share) * tangents.offset
        before = weight * slope
        normal = group.times(before, self.rows) + price * (2.0 * point + down - up)
        paid = price * (point * point + down * up)
        value = group.dot(before, self.constant) + (weight * offset).sum(-1) - paid.sum(-1)
        size = group.dot(weight.abs(), self.reach) + (
            weight.abs() * (spread + h * h / spread + tangents.offset.abs())
        ).sum(-1)
        size = size + (group.of(self.reach) * weight.abs() * h.abs() / spread).sum(-1)  # of slopes, over the whole ball
        size = size + 4.0 * (price * torch.maximum(down, up).square()).sum(-1)
        terms = gamma(2 * sum(self.rows.shape[1:]))
        # Where a parabola is expanded at h, and the row is off from that by no more than this:
        astray = (weight.abs() / spread * (terms * group.of(self.reach)).square()).sum(-1) * (4.0 / CURVATURE)
        error = group.dot(weight.abs(), self.error) * (1.0 + 1e-6) + 8.0 * terms * size + astray
        paid_for = ((weight <= 0) & (-weight <= tangents.most)).all(-1) & torch.isfinite(price).all(-1)
        return normal, value, torch.where(paid_for, error, torch.inf)


def _greatest(rows: Tensor) -> Tensor:
    """[N] a number that no eigenvalue of rows · rowsᵀ [N, R, n] exceeds; inf where none was found."""
    gram = rows @ rows.transpose(1, 2)
    trace = gram.diagonal(dim1=1, dim2=2).sum(-1)
    near = about_greatest(gram).clamp_min(LEAST)
    return no_eigenvalue_above(gram, near, near, 4.0 * gamma(sum(rows.shape[1:])) * trace)
