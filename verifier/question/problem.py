"""The problem that an engine is handed: is there an adversary of any goal nearer than the ceiling?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from encoders.arrays import FloatArray
from encoders.deadline import Deadline
from encoders.grid import Grid
from encoders.layer_graph.graph import Graph
from encoders.quantised.semantics import QuantisedNet
from encoders.question import Goal, Norm, Region

Progress = Callable[[float, float], None]
"""Called with the running (proven lower, replayed upper)."""


@dataclass(frozen=True, eq=False)
class Problem:
    """What an engine must close: is there, for any goal, a point of the region nearer than `ceiling`?

    `ceiling` is a hair above the radius for `verify`, and above the reach of the box for `distance`.
    `falsify_at`: a witness at most this far away ends the question (`verify`); None for `distance`.
    With a `grid`, only its points count: `ceiling` is then the real distance that proves all measures of interest, and
    a proof's lower bound is the length of a measure. With `quantised`, that is the network, and `graph` only nearly it.
    Where the file counts as it is executed, proofs are about `goals` that are eased by what execution can do, and
    adversaries are looked for where the goals as they were `asked` are reached; with constraints, a little inside them.
    """

    graph: Graph
    region: Region
    norm: Norm
    goals: tuple[Goal, ...]
    ceiling: float
    falsify_at: float | None
    tolerance: float
    deadline: Deadline
    device: str = "cpu"
    grid: Grid | None = None
    quantised: QuantisedNet | None = None
    workers: int = 1  # cores to use where a solver can use several; no answer depends on it
    share: int = 1  # questions that this process's memory is for; nor on this
    asked: tuple[Goal, ...] | None = None

    @property
    def aims(self) -> tuple[Goal, ...]:
        """The goals to look for adversaries of, in the order of `goals`."""
        return self.goals if self.asked is None else self.asked

    def eased(self, goal: int) -> FloatArray:
        """By how much each row of a goal was eased."""
        return self.aims[goal].offset - self.goals[goal].offset

    @property
    def most(self) -> int:
        """On a grid: the greatest measure that an adversary of interest can have."""
        if self.grid is None or self.falsify_at is None:
            return -1 if self.grid is None else self.grid.reach
        return self.grid.within(self.falsify_at)
