"""Bounds raised by the cut: neurons bounded again where adversaries can be at all, then slopes that ascend again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from bounds.nodes.node_bounds import NodeBounds
from bounds.nodes.output_constrained import on_the_cap
from bounds.nodes.records import Nodes, Pass, either
from bounds.tightening.base import Aim, Effort, Tightening


class ByCut(Tightening):
    """Output-constrained neurons, and what an ascent makes of them; of nodes that the turn has not closed yet."""

    def __init__(self, aim: Aim, earlier: Sequence[Tightening] = ()) -> None:
        super().__init__(aim, earlier)
        self.lines = next((one.lines for one in earlier if one.lines is not None), None)
        self.slopes_alone = not earlier
        self.splits_are_told = any(one.tells_splits for one in earlier)

    @classmethod
    def possible(cls, engine: NodeBounds) -> bool:
        """Wherever a neuron is open."""
        return engine.stack.open_phases > 0

    @classmethod
    def applies(cls, engine: NodeBounds, effort: Effort) -> bool:
        del effort
        return cls.possible(engine)

    def _raised(self, nodes: Nodes, seen: Pass, calm: float) -> tuple[Nodes, Pass]:
        short = torch.nonzero(seen.distance < self.aim.enough(nodes)).flatten()
        if not len(short):
            return nodes, seen
        part, higher = self._cut(nodes.take(short), seen.take(short), calm)
        return nodes.put(short, part), seen.put(short, higher)

    def _cut(self, nodes: Nodes, seen: Pass, calm: float) -> tuple[Nodes, Pass]:
        """Where slopes alone made the function that is there, the new one stands for it, lower or not."""
        aim = self.aim
        nodes = on_the_cap(aim.engine, nodes, seen, aim.target, self.lines)
        empty = (nodes.lower > nodes.upper).any(-1)
        nodes, again = aim.engine.optimise(nodes, aim.steps, aim.target, aim.effort.rate * calm)
        found = again.after(seen) if self.slopes_alone else _higher(seen, again)
        if self.splits_are_told:
            found = replace(found, behind=seen.behind)
        return nodes, replace(found, distance=torch.where(empty, aim.enough(nodes), found.distance))


def _higher(before: Pass, now: Pass) -> Pass:
    """The pass now, with the function of the one before where that says more, and always with its means."""
    of = replace(now, mean_before=before.mean_before, mean_behind=before.mean_behind)
    return either(before.distance > now.distance, before, now, of)
