"""Upper lines by shares, raised at one node until its goal is above zero on the ball, or for as long as that is tried.

The envelopes of the search (`bounds/envelopes/`) draw tangents anew in every pass, and average what the passes prove.
A proof writes one pass down. So here the shares themselves ascend: where one layer has all open neurons, what a goal is
at least on the ball is concave in them and in the slopes, and a supergradient costs a few passes over [neurons,
inputs]. Inputs share by bins, where they stand on the mean of the points at which the bound was attained.
The ascent is in single precision and proves nothing; `SharedLines` says what its end is worth.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from bounds.adam import Adam
from bounds.envelopes.base import Tangents, UpperLines
from bounds.nodes.node_bounds import Lines, NodeBounds, Touching
from bounds.nodes.records import Nodes, Pass
from bounds.propagation.sample_groups import Grouping
from bounds.rounding import gamma
from encoders.deadline import out_of_time
from encoders.question import Norm

FEW = 100  # open neurons: below, splits cost less
BINS = 64
STEPS, FEWER_STEPS = 80, 40  # of a node, and of one that has its parent's shares
RATE, LEAST_RATE = 0.15, 0.015
REBIN: tuple[int, ...] = (
    10,
    20,
    30,
    40,
)  # steps after which inputs are put in their bins again; the first alone where there were some
FORGET = 0.1  # of a mean, with each step
MOMENTS = (0.8, 0.95)


@dataclass(frozen=True, eq=False)
class Shares:
    """Of one node: the bin of each input, and each neuron's share of each bin."""

    bins: Tensor  # [n] whole numbers
    share: Tensor  # [P, B] in [0, 1]
    point: Tensor  # [n] where the relaxed net is likely to be
    lined: Tensor  # [P] bool: whose lines are lower there than their chords

    def rounded(self, bits: int) -> Shares:
        """Shares of few bits; all are valid still."""
        return replace(self, share=(self.share * 2.0**bits).round() * 2.0**-bits)


class Ball:
    """The open neurons of a net with one layer, h = rows · d + constant, on a ball in L∞."""

    def __init__(self, engine: NodeBounds, radius: float) -> None:
        stack = engine.stack
        self.rows, self.constant = stack.x[0], stack.constant[0]
        self.down, self.up = stack.below[0].clamp_max(radius), stack.above[0].clamp_max(radius)
        self.raising = self.rows > 0
        self.span = self.rows.abs() * (self.down + self.up)  # [P, n] how far an input moves a neuron
        self.low = -torch.where(self.raising, self.rows * self.down, -self.rows * self.up)  # the least of that
        self.most = self.constant + (self.low + self.span).sum(-1)
        size = self.constant.abs() + self.span.sum(-1)
        self.error = stack.error[0] + 8.0 * gamma(sum(self.rows.shape) + 4) * size

    def places(self, bins: Tensor) -> Tensor:
        """[P, n] which of a neuron's shares each input has: those that lower it have the bins the other way."""
        return torch.where(self.raising, bins, BINS - 1 - bins)

    def lines(self, shares: Shares) -> tuple[Tensor, Tensor]:
        """Each neuron's upper line: coefficients [P, n], and the value at zero, above 0 and above the neuron."""
        share = shares.share.gather(1, self.places(shares.bins))
        rest = (self.most - (share * self.span).sum(-1)).clamp_min(0.0)
        return share * self.rows, rest - (share * self.low).sum(-1)

    def bins(self, point: Tensor) -> Tensor:
        """[n] where inputs stand between their ends."""
        part = ((point + self.down) / (self.down + self.up).clamp_min(1e-300)).clamp(0.0, 1.0)
        return (part * BINS).long().clamp_max(BINS - 1)

    def binned(self, share: Tensor, old: Tensor, bins: Tensor) -> Tensor:
        """[P, B] shares of these bins that come near those of the old ones."""
        places, none = self.places(bins), torch.zeros_like(share)
        size = self.span + 1e-12  # where a bin is empty, its share is of no matter
        total = none.scatter_add(1, places, share.gather(1, self.places(old)) * size)
        return total / none.scatter_add(1, places, size).clamp_min(1e-300)


@dataclass(frozen=True, eq=False)
class SharedLines(UpperLines):
    """The lines of one node's shares, for `NodeBounds.evaluate`."""

    ball: Ball
    shares: Shares

    def lines(self, group: Grouping, tangents: Any, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        del group, tangents
        rows, value = self.ball.lines(self.shares)
        return weight @ rows, weight @ value, weight.abs() @ self.ball.error * (1.0 + 1e-6)


@dataclass(frozen=True, eq=False)
class _Guide:
    """A node's goal as the ascent sees it, in single precision."""

    x: Tensor  # [J, n] of the goal's rows
    z: Tensor  # [J, P]
    value: Tensor  # [J]
    unit: float  # the size of their coefficients
    chord: Tensor  # all [P]
    offset: Tensor
    is_open: Tensor
    sign: Tensor

    @classmethod
    def of(cls, engine: NodeBounds, node: Nodes) -> _Guide:
        stack, goal, (chord, offset) = engine.stack, node.goal[0], (line[0].float() for line in node.lines)
        z = stack.goal_z[goal].float()
        unit = float(z.abs().amax().clamp_min(1e-12))
        rows = stack.goal_x[goal].float(), z, stack.goal_constant[goal].float(), unit
        return cls(*rows, chord, offset, node.phase[0] == 0, node.phase[0].float())


@dataclass(frozen=True, eq=False)
class _Binned:
    """The terms of some neurons as bins of inputs have them, in single precision."""

    neurons: Tensor  # [M]
    lined: Tensor  # [M]
    places: Tensor  # [M, n] which share each input has
    rows: Tensor  # [M, n]
    span: Tensor  # [M, B]
    low: Tensor  # [M, B]
    most: Tensor  # [M]

    @classmethod
    def of(cls, ball: Ball, neurons: Tensor, shares: Shares) -> _Binned:
        places = ball.places(shares.bins)[neurons]
        none = ball.rows.new_zeros(len(neurons), BINS)
        span, low = (none.scatter_add(1, places, part[neurons]).float() for part in (ball.span, ball.low))
        return cls(
            neurons, shares.lined[neurons], places, ball.rows[neurons].float(), span, low, ball.most[neurons].float()
        )

    def lines(self, share: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        """The normal and the value at zero of Σ weight · line."""
        heights = (self.most - (share * self.span).sum(-1)).clamp_min(0.0) - (share * self.low).sum(-1)
        return weight @ (share.gather(1, self.places) * self.rows), weight @ heights


class ShareAscent:
    """Adam on the shares, slopes and multipliers of a node, and their means, which prove more than each alone."""

    def __init__(self, engine: NodeBounds, radius: float) -> None:
        self.engine, self.ball = engine, Ball(engine, radius)
        self.x, self.constant = self.ball.rows.float(), self.ball.constant.float()
        self.down, self.up = self.ball.down.float(), self.ball.up.float()

    @classmethod
    def possible(cls, engine: NodeBounds) -> bool:
        """In L∞, where one layer has all open neurons, and more than splits would see to."""
        stack = engine.stack
        return stack.norm is Norm.LINF and len(stack.layers) == 1 and stack.open_phases >= FEW

    def raised(self, node: Nodes, known: Shares | None) -> tuple[Nodes, Shares]:
        """One node with the slopes and multipliers that go with its shares; `known` are its parent's shares."""
        guide, ball = _Guide.of(self.engine, node), self.ball
        steps, rebin = (STEPS, REBIN) if known is None else (FEWER_STEPS, REBIN[:1])
        shares = self._chosen(node, self._equal(node) if known is None else known)
        neurons = torch.nonzero(guide.is_open & (guide.z < 0).any(0)).flatten()
        binned, point = _Binned.of(ball, neurons, shares), shares.point.float()
        start = (node.slope[0], node.multiplier[0] / guide.unit, node.row_weight[0], shares.share[neurons])
        parts = [part.float().clone().requires_grad_(True) for part in start]
        means = [part.detach().clone() for part in parts]
        descent = Adam(parts, MOMENTS)
        for step in range(steps):
            if out_of_time():
                break
            least, normal = self._least(guide, parts, binned)
            (-least / guide.unit).backward()  # type: ignore[no-untyped-call]
            descent.step(RATE + (LEAST_RATE - RATE) * step / steps)
            weight = max(FORGET, 2.0 / (step + 3.0))
            with torch.no_grad():
                point.lerp_(torch.where(normal > 0, -self.down, self.up), weight / 2)
                for part, mean, most in zip(parts, means, (1.0, torch.inf, torch.inf, 1.0), strict=True):
                    mean.lerp_(part.clamp_(0.0, most), weight)
                if step in rebin:
                    shares = self._rebinned(node, _with(shares, neurons, means[3], point))
                    binned = _Binned.of(ball, neurons, shares)
                    parts[3].copy_(shares.share[neurons])
                    means[3].copy_(shares.share[neurons])
        slope, multiplier, row_weight = (mean.double()[None] for mean in means[:3])
        after = replace(node, slope=slope, multiplier=multiplier * guide.unit, row_weight=row_weight)
        return after, _with(shares, neurons, means[3], point)

    def touching(self, shares: Shares) -> Touching:
        """The lines as an evaluation takes them."""
        every = torch.arange(len(shares.lined), device=shares.lined.device)
        nothing = shares.point.new_zeros(1, len(every))
        lines = SharedLines(every, self.ball, shares)
        return Touching(lines, Tangents(nothing), shares.lined[None], nothing, nothing)

    def seen_at(self, node: Nodes, shares: Shares, seen: Pass) -> Pass:
        """The pass with the relaxed net at the point of the shares, by which a neuron is chosen to be split."""
        group, (chord, offset) = self.engine.stack.grouped(node.goal), node.lines
        slope = torch.where(node.phase == 0, node.slope, chord)
        lines = Lines(slope, chord, offset, torch.zeros_like(slope))
        before, behind = self.engine.forward(group, shares.point[None], seen.behind, lines)
        rows, value = self.ball.lines(shares)
        by_lines = shares.lined & (seen.behind < 0)
        return replace(seen, mean_before=before, mean_behind=torch.where(by_lines, rows @ shares.point + value, behind))

    def _equal(self, node: Nodes) -> Shares:
        """Equal shares of all inputs, which are chords, at the middle of the ball."""
        middle, chord = (self.ball.up - self.ball.down) / 2, node.lines[0][0]
        return Shares(self.ball.bins(middle), chord[:, None].expand(-1, BINS), middle, node.phase[0] == 0)

    def _rebinned(self, node: Nodes, shares: Shares) -> Shares:
        bins = self.ball.bins(shares.point)
        share = self.ball.binned(shares.share, shares.bins, bins)
        return self._chosen(node, replace(shares, bins=bins, share=share))

    def _chosen(self, node: Nodes, shares: Shares) -> Shares:
        """The shares with a say in which neurons have lines: the open ones, but for those whose range is tighter than
        on the ball, and with that their chord lower at the point."""
        ball, stack, (chord, offset) = self.ball, self.engine.stack, (line[0] for line in node.lines)
        rows, value = ball.lines(shares)
        above = chord * (ball.rows @ shares.point + ball.constant) + offset
        tighter = (node.lower[0] > stack.lower[0]) | (node.upper[0] < stack.upper[0])
        return replace(shares, lined=(node.phase[0] == 0) & (~tighter | (rows @ shares.point + value < above)))

    def _least(self, guide: _Guide, parts: list[Tensor], binned: _Binned) -> tuple[Tensor, Tensor]:
        """What the goal is at least on the ball, by one pass, and the coefficients of the input that it ends in."""
        slope, multiplier, row_weight, share = parts
        weight = row_weight / row_weight.sum().clamp_min(1e-12)
        z = weight @ guide.z
        falling = z.clamp_max(0.0)
        by_lines = torch.where(binned.lined, falling[binned.neurons], 0.0)
        falling = falling.index_add(0, binned.neurons, -by_lines)
        lower = torch.where(guide.is_open, slope, guide.chord)
        before = z.clamp_min(0.0) * lower + falling * guide.chord - guide.sign * multiplier * guide.unit
        shared, height = binned.lines(share, by_lines)
        normal = weight @ guide.x + before @ self.x + shared
        value = weight @ guide.value + before @ self.constant + falling @ guide.offset + height
        rooms = torch.where(normal > 0, self.down, self.up)
        return value - (normal.abs() * rooms).sum(), normal.detach()


def _with(shares: Shares, neurons: Tensor, share: Tensor, point: Tensor) -> Shares:
    """The shares with others of some neurons, and at another point."""
    return replace(shares, share=shares.share.index_copy(0, neurons, share.double()), point=point.double())
