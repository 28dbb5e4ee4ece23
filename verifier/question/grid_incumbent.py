"""Witnesses on the grid: whatever is offered is rounded onto it, replayed there, and walked nearer to the sample.

A level's value is a float32 number, whatever type the file takes (`encoders/grid.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from encoders.arrays import FloatArray, IntArray
from encoders.deadline import Deadline, in_time, look
from encoders.grid import Grid
from verifier.question.grid_local_search import nearer as nearer_on_grid
from verifier.question.incumbent import By, Incumbent
from verifier.question.results import Adversary

Value = Callable[[FloatArray], FloatArray]

AT_ONCE = 2048  # points whose values are asked for together


class OffGridIncumbent(Incumbent):
    """The nearest adversary off the grid: what a continuous search needs to know while it works for a grid.

    No continuous proof reaches beyond it, and levels between two measures need no proof: both make `enough`.
    """

    owner: GridIncumbent

    @property
    def enough(self) -> float:
        grid = self.owner.grid
        provable = self.owner.measure if self.best is None else min(self.owner.measure, grid.reached(self.upper))
        return min(self.upper, grid.beyond(max(1, provable)))

    def offer(self, candidates: FloatArray, by: By) -> bool:
        improved = super().offer(candidates, by)
        self.owner.round(candidates, by)
        return improved


@dataclass(eq=False)
class GridIncumbent(Incumbent):
    """The best replayed adversary on the grid. `measure` is its integer measure; beyond all measures without one.

    `value(scores)` says by how much each row of scores misses being an adversary: negative where it is one.
    """

    grid: Grid = field(kw_only=True)
    value: Value = field(kw_only=True)
    steps: IntArray | None = None

    def __post_init__(self) -> None:
        self.shadow = OffGridIncumbent(self.region, self.norm, self.replay, self.real, self.wins, shown=self.shown)
        self.shadow.owner = self

    @property
    def measure(self) -> int:
        return self.grid.reach + 1 if self.steps is None else int(self.grid.measure(self.steps))

    def offer(self, candidates: FloatArray, by: By) -> bool:
        """Offer candidates [B, n] off the grid: each is rounded onto it in several ways. True if that improved."""
        before = self.measure
        self.shadow.offer(candidates, by)
        return self.measure < before

    def round(self, candidates: FloatArray, by: By) -> bool:
        """Round to the nearest level, away from the sample, and toward it no farther than half a step."""
        points = np.atleast_2d(np.asarray(candidates, dtype=np.float64))
        finite = np.isfinite(points).all(axis=1)
        points, names = points[finite], np.broadcast_to(by, len(points))[finite]
        grid = self.grid
        moved = points * grid.levels - grid.home
        away = np.sign(moved) * np.ceil(np.abs(moved) - 1e-3)
        most = np.sign(moved) * np.ceil(np.abs(moved) - 0.25)
        ways = np.concatenate([np.rint(moved), away, most])
        return self.offer_steps(np.clip(ways, grid.down, grid.up).astype(np.int64), np.tile(names, 3))

    def offer_steps(self, steps: IntArray, by: By) -> bool:
        """Replay points of the grid [B, n], and keep the one with the least measure. True if that improved."""
        steps, first = np.unique(np.atleast_2d(steps), axis=0, return_index=True)
        nearer = self.grid.measure(steps) < self.measure
        steps, first = steps[nearer], first[nearer]
        if not len(steps):
            return False
        inputs, measures = self.grid.values(steps), self.grid.measure(steps)
        found = self.nearest(inputs, measures.astype(np.float64))
        if found is None:
            return False
        pick, scores = found
        self.steps = steps[pick]
        length = self.grid.length(int(measures[pick]))
        name = by if isinstance(by, str) else str(by[first[pick]])
        self.best = Adversary(inputs[pick], length, int(np.argmax(scores)), scores, name)
        return True

    def walk(self, deadline: Deadline, least: int = 0) -> None:
        """Walk from the best witness to nearer ones, for as long as a local search finds any above `least`."""
        while self.steps is not None and self.measure > max(least, 1) and not deadline.passed:
            found = in_time(deadline, partial(nearer_on_grid, self.grid, self.steps, self._value_of, deadline), None)
            if found is None or not self.offer_steps(found, "walk"):
                return

    def _value_of(self, steps: IntArray) -> FloatArray:
        """Some at a time: neighbours can be many, and the clock is looked at in between."""
        found = []
        for first in range(0, max(1, len(steps)), AT_ONCE):
            look()
            part = self.grid.values(steps[first : first + AT_ONCE])
            found.append(self.value(self.real(part.astype(np.float64))))
        return np.concatenate(found)
