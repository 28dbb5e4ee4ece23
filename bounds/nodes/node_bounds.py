"""Distance bounds of search nodes, in batches: a node fixes the phases of some open neurons of a reduced net.

For a goal row g, slopes α and multipliers β ≥ 0 on the fixed signs (and weights θ over the rows of a goal that has
several), one backward pass gives  g ≥ a·(x - c) + k - slack  on the part of the ball that the node stands for, so
every adversary there is at least dist(c, {a·(x - c) + k - slack ≤ 0} ∩ box) away: *the distance itself is bounded*.
Any α in [0, 1] and β ≥ 0 are valid, so the optimiser cannot make a bound wrong, only weak. Its gradient is read off
the point that attains the closed form, propagated forward through the relaxed net (one more matrix product).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from bounds.envelopes.base import Envelope, Tangents, UpperLines
from bounds.geometry.halfspace_distance import lowest_value, nearest_in_halfspace
from bounds.nodes.records import N, Nodes, Pass, handing_on
from bounds.nodes.slope_ascent import SlopeAscent
from bounds.nodes.starts import NONE, Starts
from bounds.propagation.backward_pass import chords
from bounds.propagation.sample_groups import Grouping
from bounds.reduced_net.reduced_net import Reduced
from bounds.reduced_net.stacked_nets import Stack
from bounds.rounding import UNIT_ROUNDOFF
from encoders.deadline import out_of_time
from encoders.question import Norm

LARGEST = 1e300


@dataclass(frozen=True, eq=False)
class Lines:
    """The relaxation of every neuron: slope of the lower line, chord and offset of the upper, sign · multiplier."""

    slope: Tensor  # all [N, P]
    chord: Tensor
    offset: Tensor
    signed_multiplier: Tensor


@dataclass(frozen=True, eq=False)
class Touching:
    """Tangents in place of upper lines, for the neurons where they are lower."""

    envelope: UpperLines
    tangents: Tangents
    lower: Tensor  # [N, P] bool
    preactivation: Tensor  # [N, P] of the relaxed net at the point
    relu: Tensor  # [N, P] and its ReLUs' values there


@dataclass(frozen=True, eq=False)
class Relaxed:
    """value + input · d, off by at most `slack`, below the rows it was made from; what lies behind and before ReLUs."""

    input: Tensor
    value: Tensor
    slack: Tensor
    behind: Tensor
    before: Tensor


class NodeBounds:
    """Evaluates and optimises nodes of one reduced net, or of several side by side, or of a stack without such."""

    def __init__(self, *nets: Reduced, stack: Stack | None = None) -> None:
        self.nets = nets
        self.stack = stack or Stack.of(nets)
        self.rows = self.stack.rows
        self.width = int(self.rows.shape[1])
        self.starts = Starts()

    @property
    def net(self) -> Reduced:
        """The net, where there is one."""
        (net,) = self.nets
        return net

    def roots(self) -> Nodes:
        """One node per goal, nothing fixed."""
        stack = self.stack
        lower, upper = stack.lower[stack.member], stack.upper[stack.member]
        _, _, least = chords(lower, upper)
        zero = torch.zeros_like(lower)
        weight = zero.new_full((len(lower), self.width), 1.0 / self.width)
        phase = -stack.padding[stack.member].to(torch.int8)
        goals = torch.arange(len(lower), device=zero.device)
        nowhere = zero.new_zeros(len(lower), stack.x.shape[2] if stack.norm is Norm.LINF or stack.one_sided else 0)
        nothing = zero.new_full((len(lower),), -torch.inf)
        start = torch.full_like(goals, NONE)
        whole = torch.ones_like(nothing)
        return Nodes(phase, least, zero, lower, upper, goals, weight, nowhere, nowhere, nothing, start, nothing, whole)

    def evaluate(
        self, nodes: Nodes, upper_lines: tuple[Tensor, Tensor] | None = None, touching: Touching | None = None
    ) -> Pass:
        """One backward and one forward pass. Costs about 2·N·P·(n + P) multiplications, and what tangents cost."""
        stack, group = self.stack, self.stack.grouped(nodes.goal)
        weighted_x, weighted_z, value, slack = self.goal_of(nodes)
        chord, offset = nodes.lines if upper_lines is None else upper_lines
        slope = torch.where(nodes.phase == 0, nodes.slope, chord)
        lines = Lines(slope, chord, offset, nodes.phase.to(value.dtype) * nodes.multiplier)
        below = self.relaxed(group, weighted_x, weighted_z, value, slack, lines, touching)
        bound = below.value - below.slack
        bound = torch.where(torch.isfinite(bound), bound, -torch.inf)  # an overflow says nothing
        distance, shift, rate = self.nearest(nodes, below.input, bound)
        preactivation, relu = self.forward(group, shift, below.behind, lines)
        goal_values = value[:, None]
        if self.width > 1:
            shown = stack.goal_x[nodes.goal] @ shift.unsqueeze(-1) + stack.goal_z[nodes.goal] @ relu.unsqueeze(-1)
            goal_values = shown.squeeze(-1) + stack.goal_constant[nodes.goal]
        return Pass(
            distance, shift, preactivation, preactivation, relu, below.behind, below.before, goal_values, below.input,
            bound, rate,
        )  # fmt: skip

    def goal_of(self, nodes: Nodes) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The goals' rows by their weights: of inputs [N, n], of ReLUs [N, P], a constant [N], what it is off by."""
        stack = self.stack
        x, z = stack.goal_x[nodes.goal], stack.goal_z[nodes.goal]
        constant, error = stack.goal_constant[nodes.goal], stack.goal_error[nodes.goal]
        if self.width == 1:
            return x[:, 0], z[:, 0], constant[:, 0], error[:, 0]
        share = nodes.row_weight.unsqueeze(-1)
        slack = (nodes.row_weight * error).sum(1) * (1 + 2 * self.width * UNIT_ROUNDOFF)
        return (share * x).sum(1), (share * z).sum(1), (nodes.row_weight * constant).sum(1), slack

    def nearest(self, nodes: Nodes, a: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The distance bound that functions a·d + value [N] give their nodes, where it is attained, and its rate."""
        stack, group = self.stack, self.stack.grouped(nodes.goal)
        return nearest_in_halfspace(a, value, group.of(stack.below), group.of(stack.above), stack.norm)

    def first_row(self, nodes: Nodes, seen: Pass, radius: float) -> Tensor:
        """[N] what the first row of each goal is at least, at adversaries of the node in this ball.

        It is at least φ; of a goal with several rows, which a pass weighs anew, Σ θ·row ≥ φ with θ ≥ 0, where all rows
        are at most 0: the first is at least min φ / θ.
        """
        seen, group = seen if self.width == 1 else self.evaluate(nodes), self.stack.grouped(nodes.goal)
        far = torch.full_like(seen.height, radius)
        below, above = group.of(self.stack.below), group.of(self.stack.above)
        found = lowest_value(seen.normal, seen.height, below, above, self.stack.norm, far).clamp_max(0.0)
        if self.width > 1:
            found = found / nodes.row_weight[:, 0] * (1.0 + 4.0 * UNIT_ROUNDOFF)
        return found.nan_to_num(nan=-torch.inf, neginf=-torch.inf)

    def through(self, nodes: Nodes, like: Pass, normal: Tensor, height: Tensor) -> Pass:
        """The pass as if it had ended in normal · d + height."""
        distance, shift, rate = self.nearest(nodes, normal, height.clamp_min(-LARGEST))
        return replace(like, normal=normal, height=height, distance=distance, shift=shift, rate=rate)

    def relaxed(
        self,
        group: Grouping,
        x: Tensor,
        z: Tensor,
        value: Tensor,
        slack: Tensor,
        lines: Lines,
        touching: Touching | None = None,
    ) -> Relaxed:
        """A linear function of the input below the rows x·d + z·relu(h) + value [N], off by `slack`, on the region."""
        stack = self.stack
        behind = z.clone()
        before, touched = torch.zeros_like(behind), torch.zeros_like(behind)
        for layer in reversed(stack.layers):
            a = behind[:, layer]
            above = a.clamp_max(0.0)
            if touching is not None:
                touched[:, layer] = torch.where(touching.lower[:, layer], above, 0.0)
                above = above - touched[:, layer]
            before[:, layer] = (
                a.clamp_min(0.0) * lines.slope[:, layer]
                + above * lines.chord[:, layer]
                - lines.signed_multiplier[:, layer]
            )
            if layer.start:
                behind[:, : layer.start] += group.times(before[:, layer], stack.z[:, layer, : layer.start])
        above = behind.clamp_max(0.0) - touched
        value = value + group.dot(before, stack.constant) + (above * lines.offset).sum(-1)
        weight = behind.abs() + lines.signed_multiplier.abs()
        slack = (slack + group.dot(before.abs(), stack.error) + group.dot(weight, stack.relu_error)) * (1.0 + 1e-6)
        x = x + group.times(before, stack.x)
        if touching is not None:
            weight = touched[:, touching.envelope.neurons]
            normal, height, error = touching.envelope.lines(group, touching.tangents, weight)
            x, value, slack = x + normal, value + height, (slack + error) * (1.0 + 1e-6)
        return Relaxed(x, value, slack, behind, before)

    def forward(self, group: Grouping, shift: Tensor, behind: Tensor, lines: Lines) -> tuple[Tensor, Tensor]:
        """Pre-activations and ReLU values [N, P] of the relaxed net at `shift`: what the ascent is guided by."""
        stack = self.stack
        preactivation = group.times(shift, stack.x.transpose(1, 2)) + group.of(stack.constant)
        if len(stack.layers) <= 1:
            upper_line = lines.chord * preactivation + lines.offset
            return preactivation, torch.where(behind > 0, lines.slope * preactivation, upper_line)
        z = torch.zeros_like(preactivation)
        for layer in stack.layers:
            if layer.start:
                inner = stack.z[:, layer, : layer.start].transpose(1, 2)
                preactivation[:, layer] += group.times(z[:, : layer.start], inner)
            h = preactivation[:, layer]
            upper_line = lines.chord[:, layer] * h + lines.offset[:, layer]
            z[:, layer] = torch.where(behind[:, layer] > 0, lines.slope[:, layer] * h, upper_line)
        return preactivation, z

    def values(self, nodes: Nodes, shifts: Tensor) -> Tensor:
        """[N, D] what of each node's goal is most, at shifts [N, D, n]: negative at adversaries of the net as it is."""
        stack = self.stack
        goal = nodes.goal.repeat_interleave(shifts.shape[1])
        group, shift = stack.grouped(goal), shifts.flatten(0, 1)
        relu = group.times(shift, stack.x.transpose(1, 2)) + group.of(stack.constant)
        for layer in stack.layers:
            if layer.start:
                inner = stack.z[:, layer, : layer.start].transpose(1, 2)
                relu[:, layer] += group.times(relu[:, : layer.start], inner)
            relu[:, layer] = relu[:, layer].clamp_min(0.0)
        shape = shifts.shape[:2]
        found = shifts @ stack.goal_x[nodes.goal].transpose(1, 2)
        found = found + relu.view(*shape, -1) @ stack.goal_z[nodes.goal].transpose(1, 2)
        return (found + stack.goal_constant[nodes.goal].unsqueeze(1)).amax(-1)

    def likeliest(self, nodes: Nodes, shifts: Tensor) -> Tensor:
        """[N, n] of shifts [N, D, n] those with the least values: the likeliest adversaries."""
        least = self.values(nodes, shifts).argmin(-1)
        return shifts[torch.arange(len(shifts), device=least.device), least]

    def touching(self, nodes: Nodes, envelope: Envelope, behind: Tensor, lines: tuple[Tensor, Tensor]) -> Touching:
        """Tangents at the nodes' points where they are lower than `lines`, the relaxed net as it is there."""
        stack, group, (chord, offset) = self.stack, self.stack.grouped(nodes.goal), lines
        tangents = envelope.at(group, nodes.point)
        value = torch.full_like(chord, torch.inf).index_copy(1, envelope.neurons, tangents.value)
        preactivation = group.times(nodes.point, stack.x.transpose(1, 2)) + group.of(stack.constant)
        relu = torch.zeros_like(preactivation)
        lower, is_open = torch.zeros_like(nodes.phase, dtype=torch.bool), nodes.phase == 0
        for layer in stack.layers:
            if layer.start:
                inner = stack.z[:, layer, : layer.start].transpose(1, 2)
                preactivation[:, layer] += group.times(relu[:, : layer.start], inner)
            h, tangent = preactivation[:, layer], value[:, layer]
            above = chord[:, layer] * h + offset[:, layer]
            lower[:, layer] = is_open[:, layer] & (tangent < above)
            above = torch.where(lower[:, layer], tangent, above)
            below = torch.where(is_open[:, layer], h.clamp_min(0.0), above)
            relu[:, layer] = torch.where(behind[:, layer] > 0, below, above)
        return Touching(envelope, tangents, lower, preactivation, relu)

    def enough(self, nodes: Nodes, of_net: float | Tensor) -> Tensor:
        """One number, or one for each net [S], as one for each node."""
        each = torch.as_tensor(of_net, dtype=nodes.slope.dtype, device=nodes.slope.device)
        return each.expand(self.stack.count)[self.stack.member[nodes.goal]]

    def optimise(self, nodes: N, steps: int, enough: float | Tensor, rate: float) -> tuple[N, Pass]:
        """Ascend the distance for `steps` steps; nodes that reach `enough` are left as they are. Returns the best seen.

        `enough` is one distance, or one for each net. Adam on slopes and multipliers, projected to what is valid.
        """
        best = self.evaluate(nodes)
        best_nodes = nodes
        enough = self.enough(nodes, enough)
        live = torch.nonzero(best.distance < enough).flatten()
        if steps <= 0 or not len(live) or not self.stack.open_phases:
            return best_nodes, best
        enough = enough[live]
        current, seen = nodes.take(live), best.take(live)
        upper_lines = current.lines
        climb = SlopeAscent.start(self.stack, current)
        mean_before, mean_behind = seen.mean_before.clone(), seen.mean_behind.clone()
        for step in range(1, steps + 1):
            if not len(live) or out_of_time():
                break
            current = climb.step(current, seen, enough, rate * (1.0 - 0.6 * step / steps))
            seen = self.evaluate(current, upper_lines)
            mean_before.lerp_(seen.mean_before, 1.0 / (step + 1))
            mean_behind.lerp_(seen.mean_behind, 1.0 / (step + 1))
            # Positions: a mask would be counted anew for every field, and each count waits for the device.
            better = torch.nonzero(seen.distance > best.distance[live]).flatten()
            chosen = live[better]
            best_nodes = best_nodes.put(chosen, current.take(better))
            best = best.put(chosen, seen.take(better))
            going = torch.nonzero(best.distance[live] < enough).flatten()
            if len(going) < len(live):
                live, current, seen = live[going], current.take(going), seen.take(going)
                enough, climb = enough[going], climb.take(going)
                upper_lines = (upper_lines[0][going], upper_lines[1][going])
                mean_before, mean_behind = mean_before[going], mean_behind[going]
        if len(live):  # nodes that reached `enough` are done with
            means = (mean_before, mean_behind)
            best = best.put(live, replace(best.take(live), mean_before=means[0], mean_behind=means[1]))
        return handing_on(best_nodes, best), best
