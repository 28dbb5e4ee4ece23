"""The reduced net: only what one sample's ball leaves undecided, as a few dense matrices.

On ball ∩ box most ReLUs have a known phase and are linear. Going backward from every *open* neuron h and every goal
row g, through the stable ones exactly, and stopping at open neurons, leaves

    (h, g) = X·(x - center) + Z·relu(h) + c,    each row off by at most `error` on the region,

with Z strictly lower triangular by layer. A conv net with thousands of ReLUs shrinks to a few hundred rows, after
which a bound for one node of a search is two small matrix products, whatever the layers were.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate, pairwise

import torch
from torch import Tensor

from bounds.propagation.backward_pass import chords
from bounds.propagation.device_graph import DeviceGraph
from bounds.propagation.neuron_bounds import NetworkBounds
from bounds.propagation.open_neurons import Rows, open_count, row_error, rows_of
from bounds.propagation.sample_groups import Grouping
from bounds.rounding import gamma
from encoders.question import Goal, Norm


@dataclass(frozen=True, eq=False)
class Reduced:
    """See the module. Rows 0..P-1 are the open neurons, in layer order; the goal rows follow."""

    norm: Norm
    center: Tensor  # [n]
    moving: Tensor  # their positions among all inputs: those that may move and matter
    inputs: int  # of the net
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
    sign: Tensor | None = (
        None  # [n] which way each input moves, where inputs are one-sided (`bounds/reduced_net/one_sided_inputs.py`)
    )

    def moved(self, shift: Tensor) -> Tensor:
        """Points [M, all inputs] of these shifts [M, n] from zero."""
        points = shift.new_zeros(len(shift), self.inputs)
        return points.index_add_(1, self.moving, shift if self.sign is None else shift * self.sign)

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


@torch.no_grad()
def reduce(device_graph: DeviceGraph, bounds: NetworkBounds, goals: tuple[Goal, ...]) -> Reduced:
    """The reduced net of one ball: the rows that its bounds left open, and one backward pass for the goals."""
    ball, layers = bounds.ball, bounds.opened
    goal_matrix = torch.cat([device_graph.tensor(goal.rows) for goal in goals])
    last = goal_rows(
        device_graph, bounds, goal_matrix, Grouping(1, goal_matrix.new_zeros(len(goal_matrix), dtype=torch.int64))
    )
    last = replace(last, value=last.value + torch.cat([device_graph.tensor(goal.offset) for goal in goals]))
    places = slices_of([layer.entries.shape[1] for layer in layers.values()])
    slices, total = dict(zip(layers, places, strict=True)), open_count(layers)
    x = torch.cat([*(layer.x[0] for layer in layers.values()), last.x])
    moving = torch.nonzero((ball.below[0] + ball.above[0] > 0) & (x != 0).any(0)).flatten()
    if not len(moving):
        moving = moving.new_zeros(1)  # nothing matters: one input keeps every shape non-empty
    z = device_graph.zeros(total + len(goal_matrix), total)
    for position, layer in layers.items():
        for i, matrix in layer.z.items():
            z[slices[position], slices[i]] = matrix[0]
    for i, matrix in last.z.items():
        z[total:, slices[i]] = matrix
    error = row_error(last, layers, ball.travel, device_graph.terms)
    none = x.new_zeros(0)
    return Reduced(
        norm=ball.norm,
        center=ball.center[0, moving],
        moving=moving,
        inputs=ball.center.shape[1],
        below=ball.below[0, moving],
        above=ball.above[0, moving],
        x=x[:, moving],
        z=z,
        constant=torch.cat([*(layer.value[0] for layer in layers.values()), last.value]),
        error=torch.cat([*(layer.error[0] for layer in layers.values()), error]),
        lower=torch.cat([*(layer.lower[0] for layer in layers.values()), none]),
        upper=torch.cat([*(layer.upper[0] for layer in layers.values()), none]),
        layers=places,
        goal_rows=tuple(
            torch.arange(total + place.start, total + place.stop, device=device_graph.device)
            for place in slices_of([len(goal.rows) for goal in goals])
        ),
        neurons=tuple((i, layer.entries[0]) for i, layer in layers.items()),
    )


def goal_rows(device_graph: DeviceGraph, bounds: NetworkBounds, matrix: Tensor, group: Grouping) -> Rows:
    """Rows matrix · scores [M, classes] over the open neurons."""
    output = len(device_graph.graph.nodes) - 1
    return rows_of(
        device_graph, output, matrix, group, bounds.ball.center, bounds.magnitudes, bounds.opened, bounds.lower
    )


def slices_of(sizes: list[int]) -> tuple[slice, ...]:
    """Consecutive slices of these sizes."""
    ends = [0, *accumulate(sizes)]
    return tuple(slice(first, last) for first, last in pairwise(ends))
