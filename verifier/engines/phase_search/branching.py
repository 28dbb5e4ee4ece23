"""The branching rules: at which open neuron a node is split.

A rule is a function; the search asks `by_relaxation` of every node that it keeps, and `by_program` of those that had a
linear program, which knows better.
"""

from __future__ import annotations

import torch
from torch import Tensor

from bounds.nodes.records import Nodes, Pass
from encoders.arrays import FloatArray


def by_relaxation(nodes: Nodes, seen: Pass) -> Tensor:
    """The open neuron whose relaxation costs the most at the mean of the points that the ascent passed; [N].

    One such point is a corner of the ball, where most neurons are wherever the corner takes them; the mean comes near
    the optimum of the relaxation itself, and what costs there is what a split removes.
    """
    cost = seen.behind.abs() * (seen.mean_behind - seen.mean_before.clamp_min(0.0)).abs()
    return torch.where(nodes.phase == 0, cost, -1.0).argmax(-1)


def by_program(cost: FloatArray | None) -> int | None:
    """The neuron whose relaxation costs the node's linear program most at its optimum; None where none costs any."""
    return None if cost is None or not cost.any() else int(cost.argmax())
