"""Bounds raised by the one-layer semidefinite relaxation, where one layer has all open neurons."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from bounds.nodes.node_bounds import NodeBounds
from bounds.nodes.records import Nodes, Pass
from bounds.semidefinite.one_layer_bound import raised_by_one_layer
from bounds.semidefinite.parabolas import Parabolas
from bounds.tightening.base import Aim, Effort, Tightening
from encoders.question import Norm

FEW = 40  # open neurons: below, a few splits cost less


class ByOneLayer(Tightening):
    """A descent, and parabolas on balls of the target."""

    def __init__(self, aim: Aim, earlier: Sequence[Tightening] = ()) -> None:
        super().__init__(aim, earlier)
        self.parabolas = Parabolas.of(aim.engine.stack, aim.radii)

    @classmethod
    def possible(cls, engine: NodeBounds) -> bool:
        """Where inputs can pay for the curvature of the first layer's parabolas: in L∞."""
        return engine.stack.norm is Norm.LINF and engine.stack.open_phases > 0

    @classmethod
    def applies(cls, engine: NodeBounds, effort: Effort) -> bool:
        """Where one layer has all open neurons, and not too few: else envelopes do more."""
        stack = engine.stack
        return (
            effort.one_layer_steps > 0 and cls.possible(engine) and len(stack.layers) == 1 and stack.open_phases >= FEW
        )

    def _raised(self, nodes: Nodes, seen: Pass, calm: float) -> tuple[Nodes, Pass]:
        aim = self.aim
        return raised_by_one_layer(aim.engine, self.parabolas, nodes, seen, aim.effort.one_layer_steps, aim.target)

    def again(self, before: Nodes, after: Nodes) -> Tensor:
        """It gains all that it can at once, but where phases were fixed."""
        return (after.phase != before.phase).any(-1)
