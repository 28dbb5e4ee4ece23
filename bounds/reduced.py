"""The reduced net: only what one sample's ball leaves undecided, as a few dense matrices.

On ball ∩ box most ReLUs have a known phase and are linear. Going backward from every *open* neuron h and every goal
row g, through the stable ones exactly, and stopping at open neurons, leaves

    (h, g) = X·(x - center) + Z·relu(h) + c,    each row off by at most `error` on the region,

with Z strictly lower triangular by layer. A conv net with thousands of ReLUs shrinks to a few hundred rows, after
which a bound for one node of a search is two small matrix products, whatever the layers were.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from bounds.backward import LinearFunction, ReluRule, ReluStep, backward, chords
from bounds.lowered import Lowered, gamma
from bounds.network import NetworkBounds
from encoders.question import Goal, Norm


@dataclass(frozen=True, eq=False)
class Reduced:
    """See the module. Rows 0..P-1 are the open neurons, in layer order; the goal rows follow."""

    norm: Norm
    center: Tensor  # [n] of the inputs that may move
    moving: Tensor  # their positions among all inputs
    below: Tensor  # [n] room down to the box
    above: Tensor
    x: Tensor  # X [P + J, n]
    z: Tensor  # Z [P + J, P]
    constant: Tensor  # c [P + J]
    error: Tensor  # [P + J], the rounding of a row in the passes below included
    lower: Tensor  # [P] bounds of h on the ball
    upper: Tensor
    layers: tuple[slice, ...]
    goal_rows: tuple[Tensor, ...]  # per goal: the positions of its rows
    neurons: tuple[tuple[int, Tensor], ...]  # per layer: ReLU node position and the open entries

    @property
    def open_phases(self) -> int:
        return int(self.lower.numel())

    @cached_property
    def lines(self) -> tuple[Tensor, Tensor, Tensor]:
        """Chord slope, chord offset and default lower slope per open neuron."""
        return chords(self.lower, self.upper)

    @cached_property
    def relu_error(self) -> Tensor:
        """Per unit of |coefficient|, what one relaxation step can lose to rounding."""
        size = torch.maximum(self.lower.abs(), self.upper.abs())
        return 4.0 * gamma(self.open_phases) * (size + self.lines[1])


def _keep_open(bounds: NetworkBounds, leaves: dict[int, Tensor]) -> ReluRule:
    def rule(position: int, a: Tensor) -> ReluStep:
        low, high = bounds.lower[position], bounds.upper[position]
        leaves[position] = a[:, ((low < 0) & (high > 0))[0]]
        return ReluStep(a * (low >= 0), a.new_zeros(a.shape[0]), a.new_zeros(a.shape[0]))

    return rule


@torch.no_grad()
def reduce(lowered: Lowered, bounds: NetworkBounds, goals: tuple[Goal, ...]) -> Reduced:
    """Build the reduced net of one ball: one backward pass per layer of open neurons and one for the goals."""
    ball = bounds.ball
    opened = [
        (i, torch.nonzero((bounds.lower[i] < 0)[0] & (bounds.upper[i] > 0)[0]).flatten()) for i in lowered.graph.relus
    ]
    opened = [(i, entries) for i, entries in opened if len(entries)]
    counts = [len(entries) for _, entries in opened]
    total = sum(counts)
    offsets = {i: sum(counts[:k]) for k, (i, _) in enumerate(opened)}
    functions: list[LinearFunction] = []
    z_rows: list[Tensor] = []
    output = len(lowered.graph.nodes) - 1
    goal_matrix = torch.cat([lowered.tensor(goal.rows) for goal in goals])
    goal_offset = torch.cat([lowered.tensor(goal.offset) for goal in goals])
    for position, entries in [*opened, (output, None)]:
        if entries is None:
            start, rows = output, goal_matrix
        else:
            start = lowered.graph.nodes[position].sources[0]
            rows = goal_matrix.new_zeros(len(entries), lowered.graph.nodes[start].size)
            rows[torch.arange(len(entries)), entries] = 1.0
        leaves: dict[int, Tensor] = {}
        functions.append(backward(lowered, start, rows, ball.center, bounds.magnitudes, _keep_open(bounds, leaves)))
        z = rows.new_zeros(len(rows), total)
        for i, coefficient in leaves.items():
            if i in offsets:
                z[:, offsets[i] : offsets[i] + coefficient.shape[1]] = coefficient
        z_rows.append(z)
    moving = torch.nonzero(ball.below + ball.above > 0).flatten()
    if not len(moving):
        moving = moving.new_zeros(1)  # nothing may move: one input with no room keeps every shape non-empty
    x = torch.cat([f.input for f in functions])[:, moving]
    z = torch.cat(z_rows)
    constant = torch.cat([f.value for f in functions])
    constant[total:] += goal_offset
    lower = torch.cat([bounds.lower[i][0, e] for i, e in opened]) if total else constant[:0]
    upper = torch.cat([bounds.upper[i][0, e] for i, e in opened]) if total else constant[:0]
    travel = torch.minimum(torch.maximum(ball.below, ball.above)[moving], constant.new_tensor(ball.radius))
    size = x.abs() @ travel + z.abs() @ upper + constant.abs()
    rounding = 4.0 * gamma(total + x.shape[1] + len(goals)) * size
    error = (torch.cat([f.slack for f in functions]) + rounding) * (1.0 + 1e-6) + 1e-300
    layers: list[slice] = []
    rows_of: list[Tensor] = []
    for count in counts:
        layers.append(slice(layers[-1].stop if layers else 0, (layers[-1].stop if layers else 0) + count))
    first = total
    for goal in goals:
        rows_of.append(torch.arange(first, first + len(goal.rows), device=lowered.device))
        first += len(goal.rows)
    return Reduced(
        ball.norm, ball.center[moving], moving, ball.below[moving], ball.above[moving], x, z, constant, error,
        lower, upper, tuple(layers), tuple(rows_of), tuple(opened),
    )  # fmt: skip
