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

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from bounds.geometry.halfspace_distance import lowest_point, lowest_value
from bounds.geometry.relu_over_simplex import Above
from bounds.nodes.node_bounds import NodeBounds
from bounds.nodes.records import N, Nodes, Pass
from bounds.propagation.sample_groups import Grouping
from bounds.reduced_net.neurons_as_rows import Pairs, Rows, relaxed_rows
from bounds.reduced_net.stacked_nets import Stack
from bounds.rounding import UNIT_ROUNDOFF, gamma
from encoders.deadline import out_of_time
from encoders.question import Norm

TANGENTS = 4
COVERED = 0.9  # of what relaxing costs a node: the neurons worth bounding again, in a net with one hidden layer
ELEMENTS_AT_ONCE = {"cpu": 200_000, "cuda": 16_000_000}  # of [pairs, inputs]: a core's cache; enough for a device


@torch.no_grad()
def on_the_cap(engine: NodeBounds, nodes: N, seen: Pass, radius: float | Tensor, lines: Above | None = None) -> N:
    """The nodes with the bounds that hold at their adversaries within `radius` (one, or one for each net), and the
    phases that those fix. `seen` holds each node's φ. Where lower and upper cross, the node holds no such adversary.
    `lines` are upper lines that hold within `radius` too.
    """
    lower, upper, phase = nodes.lower.clone(), nodes.upper.clone(), nodes.phase.clone()
    stack = engine.stack
    radii = torch.as_tensor(radius, dtype=lower.dtype, device=lower.device).expand(stack.count)
    member = stack.member[nodes.goal]
    kind = _CubeCap if stack.norm is Norm.LINF else AnyCap
    cap: _CubeCap | AnyCap = kind(stack, member, seen, radii, lines)
    at_once = max(1, ELEMENTS_AT_ONCE[lower.device.type] // stack.x.shape[2])
    single = len(stack.layers) == 1
    for layer in stack.layers:
        chosen = phase[:, layer] == 0
        if single:  # behind several layers, fewer neurons made more nodes than they saved time
            chosen &= costly(nodes, seen)
        node, neuron = torch.nonzero(chosen, as_tuple=True)
        for i, j in _chunks(node, neuron + layer.start, at_once):
            if out_of_time():
                break
            for sign, bounds in ((1.0, lower), (-1.0, upper)):
                found = cap.lowest(Pairs(sign, i, j, layer.start), lower, upper)
                found = torch.where(found.isnan(), -torch.inf, found)  # an overflow says nothing
                bounds[i, j] = sign * torch.maximum(sign * bounds[i, j], found)
        fixed = torch.where(lower[:, layer] >= 0, 1, torch.where(upper[:, layer] <= 0, -1, 0)).to(phase.dtype)
        phase[:, layer] = torch.where(phase[:, layer] != 0, phase[:, layer], fixed)
    return replace(nodes.fixed(phase), lower=lower, upper=upper)


def costly(nodes: Nodes, seen: Pass) -> Tensor:
    """[N, P]: the neurons that together bring about most of what relaxing costs a node's bound."""
    cost = torch.where(nodes.phase == 0, seen.behind.abs() * nodes.lines[1], 0.0)
    ordered, place = cost.sort(-1, descending=True)
    before = ordered.cumsum(-1) - ordered
    kept = before <= COVERED * ordered.sum(-1, keepdim=True)
    return torch.zeros_like(kept).scatter(-1, place, kept & (ordered > 0))


def _chunks(node: Tensor, neuron: Tensor, at_once: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Pairs that fit the cache together; where a node alone nearly fills it, each node for itself."""
    if not len(node):
        return
    counts = torch.unique_consecutive(node, return_counts=True)[1]
    if len(node) > at_once * len(counts) // 2:
        for i, j in zip(torch.split(node, counts.tolist()), torch.split(neuron, counts.tolist()), strict=True):
            yield from zip(torch.split(i, at_once), torch.split(j, at_once), strict=True)
    else:
        yield from zip(torch.split(node, at_once), torch.split(neuron, at_once), strict=True)


class AnyCap:
    """The cap in any norm, by the closed forms of `bounds.geometry.halfspace_distance`."""

    def __init__(self, stack: Stack, member: Tensor, seen: Pass, radius: Tensor, lines: Above | None = None) -> None:
        self.stack, self.member, self.seen, self.radius, self.upper_lines = stack, member, seen, radius, lines
        self.travel = torch.maximum(stack.below, stack.above)
        if stack.norm is not Norm.L0:
            self.travel = torch.minimum(self.travel, radius.unsqueeze(-1))
        self.reach = Grouping(stack.count, member).dot(seen.normal.abs(), self.travel) + seen.height.abs()

    def lowest(self, pairs: Pairs, lower: Tensor, upper: Tensor) -> Tensor:
        """A proven lower bound of each pair on the cap of its node."""
        rows = relaxed_rows(self.stack, self.member, pairs, lower, upper, self.upper_lines)
        return self.priced(pairs, rows, self.price(pairs, rows))

    def price(self, pairs: Pairs, rows: Rows) -> Tensor:
        """What a unit of its node's φ is worth to each pair: nearly the best, any is valid."""
        stack, node = self.stack, pairs.node
        group = Grouping(stack.count, self.member[node])
        normal, height, ball = self.seen.normal[node], self.seen.height[node], self.radius[self.member[node]]
        x, a, k = rows.input.float(), normal.float(), height.float()
        rooms = group.of(stack.below), group.of(stack.above)
        single = rooms[0].float(), rooms[1].float()

        def at(price: Tensor) -> tuple[Tensor, Tensor]:
            shift = lowest_point(x + price.unsqueeze(-1) * a, *single, stack.norm, ball.float())
            rise = k + (a * shift).sum(-1)
            return (x * shift).sum(-1) + price * rise, rise

        return best_price(at, x.abs().sum(-1) / a.abs().sum(-1).clamp_min(1e-30)).double()

    def priced(self, pairs: Pairs, rows: Rows, price: Tensor) -> Tensor:
        """A proven lower bound of each pair on the cap of its node, φ counting at this price."""
        stack, node = self.stack, pairs.node
        group = Grouping(stack.count, self.member[node])
        rooms = group.of(stack.below), group.of(stack.above)
        normal, height, ball = self.seen.normal[node], self.seen.height[node], self.radius[self.member[node]]
        combined = rows.input + price.unsqueeze(-1) * normal
        value = rows.value - rows.slack + price * height
        size = group.dot(rows.input.abs(), self.travel) + rows.value.abs() + rows.slack + price * self.reach[node]
        found = lowest_value(combined, value, *rooms, stack.norm, ball)
        return found - 16.0 * UNIT_ROUNDOFF * size


@dataclass(frozen=True, eq=False)
class _CubeRows:
    """M functions as the cube sees them: sign · x·e + value, |e| ≤ 1, off by what `size` allows for."""

    x: Tensor  # [M, n] without the sign
    single: Tensor  # the same in float32, to look for prices with
    sign: float
    value: Tensor
    size: Tensor


class _CubeCap:
    """The cap in L∞, where ball ∩ box is a box again: center + half · e with |e| ≤ 1.

    min of x·d + v + μ·(a·d + k)  =  v + x·center + μ·(k + a·center) - ‖half·x + μ·half·a‖₁.
    """

    def __init__(self, stack: Stack, member: Tensor, seen: Pass, radius: Tensor, lines: Above | None = None) -> None:
        self.stack, self.member, self.upper_lines = stack, member, lines
        down, up = (torch.minimum(room, radius.unsqueeze(-1)) for room in (stack.below, stack.above))
        self.center, self.half, self.whole = (up - down) / 2, (up + down) / 2, up + down
        group = Grouping(stack.count, member)
        self.normal = seen.normal * group.of(self.half)
        self.height = seen.height + group.dot(seen.normal, self.center)
        self.reach = seen.height.abs() + group.dot(seen.normal.abs(), self.whole)
        self.single = (self.normal.float(), self.height.float())
        self.safety = 4.0 * gamma(stack.x.shape[2])
        # The first layer's rows are the same for every node: scaled once.
        first = stack.x[:, stack.layers[0]] if stack.layers else stack.x[:, :0]
        scaled = first * self.half.unsqueeze(1)
        value, size = (
            (first @ self.center.unsqueeze(-1)).squeeze(-1),
            (first.abs() @ self.whole.unsqueeze(-1)).squeeze(-1),
        )
        self.first = _CubeRows(scaled, scaled.float(), 1.0, value, size)

    def rows(self, pairs: Pairs, lower: Tensor, upper: Tensor) -> _CubeRows:
        """The pairs as functions over the cube."""
        of = self.member[pairs.node]
        if not pairs.start:
            stack, first, sign, neuron = self.stack, self.first, pairs.sign, pairs.neuron
            constant, error = stack.constant[of, neuron], stack.error[of, neuron]
            value = sign * (first.value[of, neuron] + constant) - error
            size = first.size[of, neuron] + constant.abs() + error
            return _CubeRows(first.x[of, neuron], first.single[of, neuron], sign, value, size)
        rows = relaxed_rows(self.stack, self.member, pairs, lower, upper, self.upper_lines)
        group = Grouping(self.stack.count, of)
        x = rows.input * group.of(self.half)
        value = rows.value + group.dot(rows.input, self.center) - rows.slack
        size = rows.value.abs() + rows.slack + group.dot(rows.input.abs(), self.whole)
        return _CubeRows(x, x.float(), 1.0, value, size)

    def lowest(self, pairs: Pairs, lower: Tensor, upper: Tensor) -> Tensor:
        """A proven lower bound of each pair on the cap of its node; -inf where the cap brings nothing."""
        rows, node = self.rows(pairs, lower, upper), pairs.node
        x, single, sign = rows.x, rows.single, rows.sign
        # A large net's chunk holds one node: its normal is then a view that broadcasts, not a copy for each row.
        alone = bool(node[0] == node[-1])
        of = node[:1] if alone else node
        a, k = self.single[0][of], self.single[1][of]
        rises = k > sign * (a * single.sign()).sum(-1)  # φ > 0 at the row's own lowest point
        if pairs.start:  # over what earlier layers have become, a row without a price may gain too
            rises = torch.ones_like(rises)
        gains = torch.nonzero(rises).flatten()
        found = x.new_full((len(x),), -torch.inf)
        if not len(gains):
            return found
        value, size = rows.value, rows.size
        if 2 * len(gains) < len(x):
            x, single, value, size = x[gains], single[gains], value[gains], size[gains]
            if not alone:
                of, a, k = of[gains], a[gains], k[gains]
        else:
            gains = torch.arange(len(x), device=x.device)

        def at(price: Tensor) -> tuple[Tensor, Tensor]:
            total = torch.addcmul(single, (sign * price).unsqueeze(-1), a)
            signs = total.sign()
            rise = k - sign * (a * signs).sum(-1)
            return price * k - total.mul_(signs).sum(-1), rise

        price = best_price(at, single.abs().sum(-1) / a.abs().sum(-1).clamp_min(1e-30)).double()
        drop = torch.addcmul(x, (sign * price).unsqueeze(-1), self.normal[of]).abs_().sum(-1)
        size = size + price * self.reach[of]
        found[gains] = value + price * self.height[of] - drop - self.safety * size
        return found


def best_price(at: Callable[[Tensor], tuple[Tensor, Tensor]], guess: Tensor) -> Tensor:
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
