"""Distance bounds of search nodes, in batches: a node fixes the phases of some open neurons of a reduced net.

For a goal row g, slopes α and multipliers β ≥ 0 on the fixed signs (and weights θ over the rows of a goal that has
several), one backward pass gives  g ≥ a·(x - c) + k - slack  on the part of the ball that the node stands for, so
every adversary there is at least dist(c, {a·(x - c) + k - slack ≤ 0} ∩ box) away: *the distance itself is bounded*.
Any α in [0, 1] and β ≥ 0 are valid, so the optimiser cannot make a bound wrong, only weak. Its gradient is read off
the point that attains the closed form, propagated forward through the relaxed net (one more matrix product).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeVar

import torch
from torch import Tensor

from bounds.halfspace import distance_to_halfspace, minimiser_shift
from bounds.lowered import UNIT_ROUNDOFF, Lowered
from bounds.network import network_bounds
from bounds.reduced import Reduced, reduce
from encoders.question import Goal, Norm, Region

FIRST_MOMENT, SECOND_MOMENT = 0.8, 0.95
T = TypeVar("T", "Nodes", "Pass")


@dataclass(frozen=True, eq=False)
class Nodes:
    """A batch of N nodes: phase +1 active, -1 inactive, 0 open; all [N, P] but goal [N] and row_weights [N, J]."""

    phase: Tensor
    slope: Tensor
    multiplier: Tensor
    goal: Tensor
    row_weight: Tensor

    def take(self, index: Tensor) -> Nodes:
        return Nodes(
            self.phase[index], self.slope[index], self.multiplier[index], self.goal[index], self.row_weight[index]
        )

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
    scale: Tensor  # [N] how much the distance moves per unit of the bound's value


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
        self.chord, self.offset, self.least = reduced.lines

    def roots(self) -> Nodes:
        """One node per goal, nothing fixed."""
        goals = torch.arange(len(self.rows), device=self.rows.device)
        shape = (len(goals), self.net.open_phases)
        zero = self.net.constant.new_zeros(shape)
        weight = zero.new_full((len(goals), self.width), 1.0 / self.width)
        return Nodes(torch.zeros(shape, dtype=torch.int8, device=zero.device), self.least.expand(shape).clone(), zero,
                     goals, weight)  # fmt: skip

    def evaluate(self, nodes: Nodes) -> Pass:
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
        active, inactive = nodes.phase > 0, nodes.phase < 0
        fixed = active | inactive
        chord = torch.where(fixed, active.to(value.dtype), self.chord)
        offset = torch.where(fixed, 0.0, self.offset)
        slope = torch.where(fixed, active.to(value.dtype), nodes.slope)
        sign = nodes.phase.to(value.dtype)
        behind = weighted_z.clone()
        before = torch.zeros_like(behind)
        for layer in reversed(net.layers):
            a = behind[:, layer]
            before[:, layer] = (
                a.clamp_min(0.0) * slope[:, layer]
                + a.clamp_max(0.0) * chord[:, layer]
                - sign[:, layer] * nodes.multiplier[:, layer]
            )
            if layer.start:
                behind[:, : layer.start] += before[:, layer] @ self.z_open[layer, : layer.start]
        value = value + before @ self.constant_open + (behind.clamp_max(0.0) * offset).sum(-1)
        weight = behind.abs() + nodes.multiplier
        slack = (slack + before.abs() @ self.error_open + weight @ net.relu_error) * (1.0 + 1e-6)
        a = weighted_x + before @ self.x_open
        bound = value - slack
        distance = distance_to_halfspace(a, bound, net.below, net.above, net.norm)
        shift, scale = minimiser_shift(a, bound, net.below, net.above, net.norm)
        preactivation = shift @ self.x_open.T + self.constant_open
        if len(net.layers) > 1:
            z = torch.zeros_like(preactivation)
            for layer in net.layers:
                if layer.start:
                    preactivation[:, layer] += z[:, : layer.start] @ self.z_open[layer, : layer.start].T
                h = preactivation[:, layer]
                lower_line = slope[:, layer] * h
                upper_line = chord[:, layer] * h + offset[:, layer]
                z[:, layer] = torch.where(behind[:, layer] > 0, lower_line, upper_line)
        else:
            z = torch.where(behind > 0, slope * preactivation, chord * preactivation + offset)
        goal_values = value[:, None]
        if self.width > 1:
            shown = net.x[rows] @ shift.unsqueeze(-1) + net.z[rows] @ z.unsqueeze(-1)
            goal_values = shown.squeeze(-1) + net.constant[rows]
        return Pass(distance, shift, preactivation, behind, before, goal_values, scale)

    def optimise(self, nodes: Nodes, steps: int, enough: float, rate: float) -> tuple[Nodes, Pass]:
        """Ascend the distance for `steps` steps; nodes that reach `enough` are left as they are. Returns the best seen.

        Adam on slopes and multipliers, projected to where they are valid.
        """
        best = self.evaluate(nodes)
        best_nodes = nodes
        live = torch.nonzero(best.distance < enough).flatten()
        if steps <= 0 or not len(live) or not self.net.open_phases:
            return best_nodes, best
        current, seen = nodes.take(live), _take(best, live)
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
            slope = current.slope + pace * _adam(slope_gradient, moments[0], moments[1], step)
            ascent = _adam(multiplier_gradient, moments[2], moments[3], step)
            multiplier = (current.multiplier + 0.5 * pace * unit * ascent) * ~is_open
            weight = current.row_weight
            if self.width > 1:
                tilt = weight * (seen.goal_values - (weight * seen.goal_values).sum(-1, keepdim=True))
                logits = logits + 3.0 * pace * _adam(tilt, weight_moments[0], weight_moments[1], step)
                weight = logits.softmax(-1)
            current = replace(
                current, slope=slope.clamp(0.0, 1.0), multiplier=multiplier.clamp_min(0.0), row_weight=weight
            )
            seen = self.evaluate(current)
            better = seen.distance > best.distance[live]
            chosen = live[better]
            best_nodes = _put(best_nodes, chosen, current.take(better))
            best = _put(best, chosen, _take(seen, better))
            going = best.distance[live] < enough
            if not bool(going.all()):
                live, current, seen = live[going], current.take(going), _take(seen, going)
                moments = [m[going] for m in moments]
                weight_moments = [m[going] for m in weight_moments]
                unit, logits = unit[going], logits[going]
        return best_nodes, best


def nearest_possible(
    lowered: Lowered, region: Region, norm: Norm, goals: tuple[Goal, ...], radius: float, steps: int = 0
) -> float:
    """A proven lower bound, at most `radius`, on the distance of the nearest adversary of any goal: no search."""
    if not goals:
        return radius
    net = reduce(lowered, network_bounds(lowered, region, norm, radius), goals)
    phases = PhaseBounds(net)
    _, seen = phases.optimise(phases.roots(), steps, radius, 0.3)
    return min(radius, float(seen.distance.min()))


def _adam(gradient: Tensor, mean: Tensor, square: Tensor, step: int) -> Tensor:
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
