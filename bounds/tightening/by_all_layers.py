"""Bounds raised by the all-layers semidefinite relaxation, where several layers have many open neurons."""

from __future__ import annotations

import torch
from torch import Tensor

from bounds.nodes.node_bounds import NodeBounds
from bounds.nodes.records import Nodes, Pass
from bounds.semidefinite.all_layers_bound import raised_by_all_layers
from bounds.tightening.base import Effort, Tightening
from encoders.question import Norm

FEWEST = 150  # open neurons
MOST_ENTRIES = 16_000_000  # of neurons by inputs and neurons: 128 MB each for rows, matrix and factor


class ByAllLayers(Tightening):
    """A descent and a few factorisations for each node."""

    tells_splits = True

    @classmethod
    def possible(cls, engine: NodeBounds) -> bool:
        """In L∞, where rows and the matrix are no larger than memory and a factorisation are good for."""
        stack = engine.stack
        size = stack.open_phases * (stack.open_phases + stack.x.shape[2])
        return stack.norm is Norm.LINF and size <= MOST_ENTRIES

    @classmethod
    def applies(cls, engine: NodeBounds, effort: Effort) -> bool:
        """Where several layers have open neurons, and many."""
        stack = engine.stack
        return (
            effort.all_layers_steps > 0
            and len(stack.layers) > 1
            and stack.open_phases >= FEWEST
            and cls.possible(engine)
        )

    def _raised(self, nodes: Nodes, seen: Pass, calm: float) -> tuple[Nodes, Pass]:
        aim = self.aim
        steps, closing = aim.effort.all_layers_steps, aim.effort.closing
        return raised_by_all_layers(aim.engine, nodes, seen, steps, aim.target, closing)

    def again(self, before: Nodes, after: Nodes) -> Tensor:
        """Never: one turn costs as much as many nodes of the tree."""
        return torch.zeros_like(before.goal, dtype=torch.bool)
