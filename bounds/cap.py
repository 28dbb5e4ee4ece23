"""Neuron bounds on the cap: where an adversary of a node can be at all.

A node's evaluation leaves one linear function φ(d) = a·d + k that is at most zero at every adversary of the node, d
being the shift from the center. Adversaries of interest are also no farther than `radius`. On that cap, ball ∩ box ∩
{φ ≤ 0}, every open neuron moves less than on the whole ball, and the more so the nearer the node is to being closed:

    h_j ≥ max over μ ≥ 0 of  min over ball ∩ box of  A_j·d + c_j + μ·φ(d),      h_j ≥ A_j·d + c_j a relaxation of h_j.

The objective is concave in μ and one closed form per value; any μ ≥ 0 is valid, so μ is looked for in float32 and only
the last evaluation counts. Costs a few passes over [open neurons, inputs] a node and side; no program, no ascent.
Layers go in order, each relaxed over what the one before has become.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from bounds.backward import chords
from bounds.halfspace import lowest_point, lowest_value
from bounds.lowered import UNIT_ROUNDOFF, gamma
from bounds.phases import Nodes, Pass, PhaseBounds
from encoders.question import Norm

TANGENTS = 4
ELEMENTS_AT_ONCE = 200_000  # of [pairs, inputs]: what a core's cache holds


@torch.no_grad()
def on_the_cap(engine: PhaseBounds, nodes: Nodes, seen: Pass, radius: float) -> Nodes:
    """The nodes with the bounds that hold at their adversaries within `radius`, and the phases that those fix.

    `seen` holds each node's φ. Where lower and upper cross, the node holds no such adversary.
    """
    lower, upper, phase = nodes.lower.clone(), nodes.upper.clone(), nodes.phase.clone()
    net = engine.net
    cap = _CubeCap(engine, seen, radius) if net.norm is Norm.LINF else _AnyCap(engine, seen, radius)
    at_once = max(1, ELEMENTS_AT_ONCE // net.x.shape[1])
    for layer in net.layers:
        node, neuron = torch.nonzero(phase[:, layer] == 0, as_tuple=True)
        for i, j in zip(torch.split(node, at_once), torch.split(neuron + layer.start, at_once), strict=True):
            for sign, bounds in ((1.0, lower), (-1.0, upper)):
                lines = _relaxed_rows(engine, sign, i, j, layer.start, lower, upper)
                bounds[i, j] = sign * torch.maximum(sign * bounds[i, j], cap.lowest(lines, i))
        fixed = torch.where(lower[:, layer] >= 0, 1, torch.where(upper[:, layer] <= 0, -1, 0)).to(phase.dtype)
        phase[:, layer] = torch.where(phase[:, layer] != 0, phase[:, layer], fixed)
    return replace(nodes.fixed(phase), lower=lower, upper=upper)


@dataclass(frozen=True, eq=False)
class _Rows:
    """M functions input·d + value of pairs (node, neuron), each below its neuron but for `slack`."""

    input: Tensor
    value: Tensor
    slack: Tensor


def _relaxed_rows(
    engine: PhaseBounds, sign: float, node: Tensor, neuron: Tensor, start: int, lower: Tensor, upper: Tensor
) -> _Rows:
    """sign · h of each pair, relaxed over the open neurons of earlier layers as they are bounded in its node."""
    net = engine.net
    x, value, slack = sign * net.x[neuron], sign * net.constant[neuron], net.error[neuron]
    if not start:
        return _Rows(x, value, slack)
    chord, offset, least = chords(lower[node, :start], upper[node, :start])
    behind = sign * net.z[neuron, :start]
    before = torch.zeros_like(behind)
    for layer in reversed([part for part in net.layers if part.start < start]):
        a = behind[:, layer]
        before[:, layer] = a.clamp_min(0.0) * least[:, layer] + a.clamp_max(0.0) * chord[:, layer]
        if layer.start:
            behind[:, : layer.start] += before[:, layer] @ net.z[layer, : layer.start]
    value = value + before @ net.constant[:start] + (behind.clamp_max(0.0) * offset).sum(-1)
    slack = slack + before.abs() @ net.error[:start] + behind.abs() @ net.relu_error[:start]
    return _Rows(x + before @ net.x[:start], value, slack * (1.0 + 1e-6))


class _AnyCap:
    """The cap in any norm, by the closed forms of `bounds.halfspace`."""

    def __init__(self, engine: PhaseBounds, seen: Pass, radius: float) -> None:
        net = engine.net
        self.net, self.seen, self.radius = net, seen, radius
        self.travel = torch.maximum(net.below, net.above).clamp_max(radius)
        self.reach = seen.normal.abs() @ self.travel + seen.height.abs()
        self.room = (net.below.float(), net.above.float())

    def lowest(self, rows: _Rows, node: Tensor) -> Tensor:
        """A proven lower bound of each row on the cap of its node."""
        normal, height = self.seen.normal[node], self.seen.height[node]
        x, a, k = rows.input.float(), normal.float(), height.float()

        def at(price: Tensor) -> tuple[Tensor, Tensor]:
            shift = lowest_point(x + price.unsqueeze(-1) * a, *self.room, self.net.norm, self.radius)
            rise = k + (a * shift).sum(-1)
            return (x * shift).sum(-1) + price * rise, rise

        price = _best_price(at, x.abs().sum(-1) / a.abs().sum(-1).clamp_min(1e-30)).double()
        combined = rows.input + price.unsqueeze(-1) * normal
        value = rows.value - rows.slack + price * height
        size = rows.input.abs() @ self.travel + rows.value.abs() + rows.slack + price * self.reach[node]
        ball = value.new_full(value.shape, self.radius)
        found = lowest_value(combined, value, self.net.below, self.net.above, self.net.norm, ball)
        return found - 16.0 * UNIT_ROUNDOFF * size


class _CubeCap:
    """The cap in L∞, where ball ∩ box is a box again: center + half · e with |e| ≤ 1.

    min of x·d + v + μ·(a·d + k)  =  v + x·center + μ·(k + a·center) - ‖half·x + μ·half·a‖₁.
    """

    def __init__(self, engine: PhaseBounds, seen: Pass, radius: float) -> None:
        net = engine.net
        down, up = net.below.clamp_max(radius), net.above.clamp_max(radius)
        self.center, self.half, self.whole = (up - down) / 2, (up + down) / 2, up + down
        self.normal = seen.normal * self.half
        self.height = seen.height + seen.normal @ self.center
        self.reach = seen.height.abs() + seen.normal.abs() @ self.whole
        self.single = (self.normal.float(), self.height.float())
        self.safety = 4.0 * gamma(net.x.shape[1])

    def lowest(self, rows: _Rows, node: Tensor) -> Tensor:
        """A proven lower bound of each row on the cap of its node; -inf where the cap brings nothing."""
        x = rows.input * self.half
        a, k, single = self.single[0][node], self.single[1][node], x.float()
        gains = torch.nonzero(k > (a * single.sign()).sum(-1)).flatten()  # φ > 0 at the row's own lowest point
        found = x.new_full((len(x),), -torch.inf)
        if not len(gains):
            return found
        x, a, k, single, node = x[gains], a[gains], k[gains], single[gains], node[gains]

        def at(price: Tensor) -> tuple[Tensor, Tensor]:
            total = torch.addcmul(single, price.unsqueeze(-1), a)
            rise = k - (a * total.sign()).sum(-1)
            return price * k - torch.linalg.vector_norm(total, 1, dim=-1), rise

        price = _best_price(at, single.abs().sum(-1) / a.abs().sum(-1).clamp_min(1e-30)).double()
        drop = torch.linalg.vector_norm(torch.addcmul(x, price.unsqueeze(-1), self.normal[node]), 1, dim=-1)
        own = rows.input[gains]
        value = rows.value[gains] + own @ self.center - rows.slack[gains]
        size = rows.value[gains].abs() + rows.slack[gains] + own.abs() @ self.whole + price * self.reach[node]
        found[gains] = value + price * self.height[node] - drop - self.safety * size
        return found


def _best_price(at: Callable[[Tensor], tuple[Tensor, Tensor]], guess: Tensor) -> Tensor:
    """Nearly the μ ≥ 0 with the greatest height, `at` giving height and slope: where two tangents meet, repeatedly."""
    low = torch.zeros_like(guess)
    low_height, low_slope = at(low)
    high = 2.0 * guess
    high_height, high_slope = at(high)
    for _ in range(TANGENTS):
        meet = (high_height - low_height + low_slope * low - high_slope * high) / (low_slope - high_slope)
        price = torch.where(high_slope < 0, torch.minimum(torch.maximum(meet, low), high), 4.0 * high)
        height, slope = at(price.nan_to_num(0.0, 0.0, 0.0))
        rising = slope > 0
        low, low_height, low_slope = (
            torch.where(rising, new, old) for new, old in ((price, low), (height, low_height), (slope, low_slope))
        )
        nearer = ~rising | (high_slope >= 0)
        high, high_height, high_slope = (
            torch.where(nearer, new, old) for new, old in ((price, high), (height, high_height), (slope, high_slope))
        )
    best = torch.where(high_height > low_height, high, low)
    return torch.where(torch.isfinite(best), best, 0.0).clamp_min(0.0)
