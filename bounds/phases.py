"""Distance bounds of search nodes, in batches: a node fixes the phases of some open neurons of a reduced net.

For a goal row g, slopes α and multipliers β ≥ 0 on the fixed signs (and weights θ over the rows of a goal that has
several), one backward pass gives  g ≥ a·(x - c) + k - slack  on the part of the ball that the node stands for, so
every adversary there is at least dist(c, {a·(x - c) + k - slack ≤ 0} ∩ box) away: *the distance itself is bounded*.
Any α in [0, 1] and β ≥ 0 are valid, so the optimiser cannot make a bound wrong, only weak. Its gradient is read off
the point that attains the closed form, propagated forward through the relaxed net (one more matrix product).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self, TypeVar

import torch
from torch import Tensor

from bounds.backward import chords
from bounds.halfspace import nearest_in_halfspace
from bounds.lowered import UNIT_ROUNDOFF, Lowered
from bounds.network import network_bounds
from bounds.reduced import Reduced, reduce
from encoders.question import Goal, Norm, Region

TRUST = 1.0
FIRST_MOMENT, SECOND_MOMENT = 0.8, 0.95
T = TypeVar("T", bound="Nodes | Pass")
N = TypeVar("N", bound="Nodes")


@dataclass(frozen=True, eq=False)
class Nodes:
    """A batch of N nodes: phase +1 active, -1 inactive, 0 open; all [N, P] but goal [N] and row_weights [N, J].

    `lower` and `upper` bound each neuron wherever the node's adversaries of interest can be; phases agree with them.
    An open neuron has no multiplier yet: its place holds the coefficient behind it, to be shared out when it is fixed.
    """

    phase: Tensor
    slope: Tensor
    multiplier: Tensor
    lower: Tensor
    upper: Tensor
    goal: Tensor
    row_weight: Tensor

    def take(self, index: Tensor) -> Self:
        return _take(self, index)

    def put(self, index: Tensor, nodes: Self) -> Self:
        """The batch with the nodes at `index` replaced."""
        return _put(self, index, nodes)

    def split(self, neuron: Tensor) -> Self:
        """The 2·N children: each node with its `neuron` [N] active, then each with it inactive."""
        count = len(self)
        order = torch.arange(count, device=self.goal.device)
        children = self.take(order.repeat(2))
        phase, lower, upper = children.phase.clone(), children.lower.clone(), children.upper.clone()
        phase[order, neuron], phase[count + order, neuron] = 1, -1
        lower[order, neuron] = lower[order, neuron].clamp_min(0.0)
        upper[count + order, neuron] = upper[count + order, neuron].clamp_max(0.0)
        return replace(children.fixed(phase), lower=lower, upper=upper)

    def fixed(self, phase: Tensor) -> Self:
        """The nodes with these phases. What a newly fixed neuron's lower line stood for becomes its multiplier, so
        that the bound starts from where it was: a·h - a·(1 - α)·h where active, a·α·h where not."""
        newly = (self.phase == 0) & (phase != 0)
        share = torch.where(phase > 0, 1.0 - self.slope, self.slope)
        return replace(self, phase=phase, multiplier=torch.where(newly, share * self.multiplier, self.multiplier))

    @property
    def lines(self) -> tuple[Tensor, Tensor]:
        """Chord and offset of every neuron's upper line; of the one line there is where its phase is fixed."""
        chord, offset, _ = chords(self.lower, self.upper)
        is_open = self.phase == 0
        return torch.where(is_open, chord, (self.phase > 0).to(chord.dtype)), torch.where(is_open, offset, 0.0)

    def __len__(self) -> int:
        return int(self.goal.numel())


@dataclass(frozen=True, eq=False)
class Pass:
    """One evaluation of N nodes."""

    distance: Tensor  # [N] proven lower bound on the distance of any adversary in the node
    shift: Tensor  # [N, n] where the bound is attained: x - center
    preactivation: Tensor  # [N, P] of the relaxed net at that point
    behind: Tensor  # [N, P] the coefficient behind each ReLU
    before: Tensor  # [N, P] and before it
    goal_values: Tensor  # [N, J]
    normal: Tensor  # [N, n] φ = normal · d + height, at most 0 at every adversary of the node
    height: Tensor  # [N]
    rate: Tensor  # [N] how much the distance grows per unit of φ

    def take(self, index: Tensor) -> Pass:
        return _take(self, index)

    def put(self, index: Tensor, values: Pass) -> Pass:
        """The batch with the passes at `index` replaced."""
        return _put(self, index, values)


@dataclass(frozen=True, eq=False)
class Lines:
    """The relaxation of every neuron: slope of the lower line, chord and offset of the upper, sign · multiplier."""

    slope: Tensor  # all [N, P]
    chord: Tensor
    offset: Tensor
    signed_multiplier: Tensor


@dataclass(frozen=True, eq=False)
class Relaxed:
    """value + input · d, off by at most `slack`, below the rows it was made from; what lies behind and before ReLUs."""

    input: Tensor
    value: Tensor
    slack: Tensor
    behind: Tensor
    before: Tensor


class PhaseBounds:
    """Evaluates and optimises nodes of one reduced net."""

    def __init__(self, reduced: Reduced) -> None:
        self.net = reduced
        count = reduced.open_phases
        width = max(len(rows) for rows in reduced.goal_rows)
        first = reduced.goal_rows[0]
        # Goals with fewer rows than the widest repeat their first row: a repeated constraint changes nothing.
        padded = [torch.cat([rows, rows[:1].expand(width - len(rows))]) for rows in reduced.goal_rows]
        self.rows = torch.stack(padded) if padded else first[None]
        self.width = width
        self.x_open, self.z_open = reduced.x[:count], reduced.z[:count]
        self.constant_open, self.error_open = reduced.constant[:count], reduced.error[:count]

    def roots(self) -> Nodes:
        """One node per goal, nothing fixed."""
        goals = torch.arange(len(self.rows), device=self.rows.device)
        shape = (len(goals), self.net.open_phases)
        zero = self.net.constant.new_zeros(shape)
        weight = zero.new_full((len(goals), self.width), 1.0 / self.width)
        lower, upper = self.net.lower.expand(shape).clone(), self.net.upper.expand(shape).clone()
        _, _, least = chords(lower, upper)
        phase = torch.zeros(shape, dtype=torch.int8, device=zero.device)
        return Nodes(phase, least, zero, lower, upper, goals, weight)

    def evaluate(self, nodes: Nodes, upper_lines: tuple[Tensor, Tensor] | None = None) -> Pass:
        """One backward and one forward pass. Costs about 2·N·P·(n + P) multiplications."""
        net = self.net
        rows = self.rows[nodes.goal]
        if self.width == 1:
            rows = rows[:, 0]
            weighted_x, weighted_z = net.x[rows], net.z[rows]
            value, slack = net.constant[rows], net.error[rows]
        else:
            share = nodes.row_weight.unsqueeze(-1)
            weighted_x = (share * net.x[rows]).sum(1)
            weighted_z = (share * net.z[rows]).sum(1)
            value = (nodes.row_weight * net.constant[rows]).sum(1)
            slack = (nodes.row_weight * net.error[rows]).sum(1) * (1 + 2 * self.width * UNIT_ROUNDOFF)
        chord, offset = nodes.lines if upper_lines is None else upper_lines
        slope = torch.where(nodes.phase == 0, nodes.slope, chord)
        lines = Lines(slope, chord, offset, nodes.phase.to(value.dtype) * nodes.multiplier)
        below = self.relaxed(weighted_x, weighted_z, value, slack, lines)
        bound = below.value - below.slack
        distance, shift, rate = self.nearest(nodes, below.input, bound)
        preactivation, z = self.forward(shift, below.behind, lines)
        goal_values = value[:, None]
        if self.width > 1:
            shown = net.x[rows] @ shift.unsqueeze(-1) + net.z[rows] @ z.unsqueeze(-1)
            goal_values = shown.squeeze(-1) + net.constant[rows]
        return Pass(distance, shift, preactivation, below.behind, below.before, goal_values, below.input, bound, rate)

    def nearest(self, nodes: Nodes, a: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The distance bound that functions a·d + value [N] give their nodes, where it is attained, and its rate."""
        del nodes
        return nearest_in_halfspace(a, value, self.net.below, self.net.above, self.net.norm)

    def relaxed(self, x: Tensor, z: Tensor, value: Tensor, slack: Tensor, lines: Lines) -> Relaxed:
        """A linear function of the input below the rows x·d + z·relu(h) + value [N], off by `slack`, on the region."""
        net = self.net
        behind = z.clone()
        before = torch.zeros_like(behind)
        for layer in reversed(net.layers):
            a = behind[:, layer]
            before[:, layer] = (
                a.clamp_min(0.0) * lines.slope[:, layer]
                + a.clamp_max(0.0) * lines.chord[:, layer]
                - lines.signed_multiplier[:, layer]
            )
            if layer.start:
                behind[:, : layer.start] += before[:, layer] @ self.z_open[layer, : layer.start]
        value = value + before @ self.constant_open + (behind.clamp_max(0.0) * lines.offset).sum(-1)
        weight = behind.abs() + lines.signed_multiplier.abs()
        slack = (slack + before.abs() @ self.error_open + weight @ net.relu_error) * (1.0 + 1e-6)
        return Relaxed(x + before @ self.x_open, value, slack, behind, before)

    def forward(self, shift: Tensor, behind: Tensor, lines: Lines) -> tuple[Tensor, Tensor]:
        """Pre-activations and ReLU values [N, P] of the relaxed net at `shift`: what the ascent is guided by."""
        net = self.net
        preactivation = shift @ self.x_open.T + self.constant_open
        if len(net.layers) <= 1:
            upper_line = lines.chord * preactivation + lines.offset
            return preactivation, torch.where(behind > 0, lines.slope * preactivation, upper_line)
        z = torch.zeros_like(preactivation)
        for layer in net.layers:
            if layer.start:
                preactivation[:, layer] += z[:, : layer.start] @ self.z_open[layer, : layer.start].T
            h = preactivation[:, layer]
            upper_line = lines.chord[:, layer] * h + lines.offset[:, layer]
            z[:, layer] = torch.where(behind[:, layer] > 0, lines.slope[:, layer] * h, upper_line)
        return preactivation, z

    def optimise(self, nodes: N, steps: int, enough: float, rate: float) -> tuple[N, Pass]:
        """Ascend the distance for `steps` steps; nodes that reach `enough` are left as they are. Returns the best seen.

        Adam on slopes and multipliers, projected to where they are valid.
        """
        best = self.evaluate(nodes)
        best_nodes = nodes
        live = torch.nonzero(best.distance < enough).flatten()
        if steps <= 0 or not len(live) or not self.net.open_phases:
            return best_nodes, best
        current, seen = nodes.take(live), _take(best, live)
        upper_lines = current.lines
        moments = [torch.zeros_like(t) for t in (current.slope, current.slope, current.slope, current.slope)]
        weight_moments = [torch.zeros_like(current.row_weight) for _ in range(2)]
        unit = self.net.z[self.rows[current.goal]].abs().amax((-1, -2))
        unit = unit.clamp_min(1e-12).unsqueeze(-1)
        logits = current.row_weight.clamp_min(1e-9).log()
        for step in range(1, steps + 1):
            if not len(live):
                break
            pace = rate * (1.0 - 0.6 * step / steps)
            h, behind = seen.preactivation, seen.behind
            is_open = current.phase == 0
            slope_gradient = behind.clamp_min(0.0) * h * is_open / unit
            multiplier_gradient = -current.phase.to(h.dtype) * h
            slope = current.slope + pace * adam(slope_gradient, moments[0], moments[1], step)
            ascent = adam(multiplier_gradient, moments[2], moments[3], step)
            multiplier = (current.multiplier + 0.5 * pace * unit * ascent) * ~is_open
            weight = current.row_weight
            if self.width > 1:
                tilt = weight * (seen.goal_values - (weight * seen.goal_values).sum(-1, keepdim=True))
                logits = logits + 3.0 * pace * adam(tilt, weight_moments[0], weight_moments[1], step)
                weight = logits.softmax(-1)
            slope_step = slope.clamp(0.0, 1.0) - current.slope
            multiplier_step = multiplier.clamp_min(0.0) - current.multiplier
            # The distance is concave here: more than the linear model promises it cannot gain, and no more is wanted.
            promised = behind.clamp_min(0.0) * h * is_open * slope_step + multiplier_gradient * multiplier_step
            promised = (seen.rate * promised.sum(-1)).clamp_min(1e-30)
            share = ((TRUST * (enough - seen.distance)) / promised).clamp_max(1.0).unsqueeze(-1)
            current = replace(
                current,
                slope=current.slope + share * slope_step,
                multiplier=current.multiplier + share * multiplier_step,
                row_weight=weight,
            )
            seen = self.evaluate(current, upper_lines)
            better = seen.distance > best.distance[live]
            chosen = live[better]
            best_nodes = _put(best_nodes, chosen, current.take(better))
            best = _put(best, chosen, _take(seen, better))
            going = best.distance[live] < enough
            if not bool(going.all()):
                live, current, seen = live[going], current.take(going), _take(seen, going)
                upper_lines = (upper_lines[0][going], upper_lines[1][going])
                moments = [m[going] for m in moments]
                weight_moments = [m[going] for m in weight_moments]
                unit, logits = unit[going], logits[going]
        handed_on = torch.where(best_nodes.phase == 0, best.behind.clamp_min(0.0), best_nodes.multiplier)
        return replace(best_nodes, multiplier=handed_on), best


def nearest_possible(
    lowered: Lowered, region: Region, norm: Norm, goals: tuple[Goal, ...], radius: float, steps: int = 0
) -> float:
    """A proven lower bound, at most `radius`, on the distance of the nearest adversary of any goal: no search."""
    if not goals:
        return radius
    net = reduce(lowered, network_bounds(lowered, region, norm, radius), goals)
    phases = PhaseBounds(net)
    _, seen = phases.optimise(phases.roots(), steps, radius, 0.3)
    # Bounds that overflowed say nothing; min() would take a NaN for the radius.
    return min(radius, float(seen.distance.nan_to_num(nan=0.0).min()))


def adam(gradient: Tensor, mean: Tensor, square: Tensor, step: int) -> Tensor:
    mean.mul_(FIRST_MOMENT).add_(gradient, alpha=1 - FIRST_MOMENT)
    square.mul_(SECOND_MOMENT).addcmul_(gradient, gradient, value=1 - SECOND_MOMENT)
    correction = (1 - SECOND_MOMENT**step) ** 0.5 / (1 - FIRST_MOMENT**step)
    step_taken: Tensor = correction * mean / (square.sqrt() + 1e-30)
    return step_taken


def _take(record: T, index: Tensor) -> T:
    return type(record)(**{name: value[index] for name, value in vars(record).items()})


def _put(record: T, index: Tensor, values: T) -> T:
    if not len(index):
        return record
    return type(record)(
        **{name: value.index_copy(0, index, getattr(values, name)) for name, value in vars(record).items()}
    )
