"""The grid around a sample: the steps of each input, the levels that they give, and what linear functions reach there.

("The grid" and "The most of a linear function" of docs/reference/proof-format-int8.md.)
"""

from __future__ import annotations

from bisect import bisect_left
from fractions import Fraction
from functools import cache
from math import isqrt

import numpy as np

from verifier.checker.errors import RefusedError, UncheckableError
from verifier.checker.int8_network import LARGEST_SUM, TOP, Int8Network, fitting, float32, largest_sum
from verifier.checker.int8_statement import GREATEST, GridStatement
from verifier.checker.network import Array

ENTRIES = 1 << 24  # of the table of all steps' levels


class Grid:
    """The points of a statement's grid, as steps from its sample."""

    def __init__(self, statement: GridStatement, network: Int8Network) -> None:
        if len(statement.sample) != network.inputs:
            raise RefusedError(f"the sample has {len(statement.sample)} entries, the model {network.inputs} inputs")
        self.statement, self.scale = statement, network.source
        self.reading = cache(lambda level: float32(Fraction(level, statement.grid)))
        self.quantised = cache(self.scale.level)
        self.homes = [self._home(i) for i in range(network.inputs)]

    def _home(self, i: int) -> int | None:
        """The sample's level; None of an input that may not move."""
        at = self.statement.sample[i]
        if float32(at) != at:
            raise RefusedError(f"entry {i} of the sample is no float32 number")
        if self.statement.lower[i] == self.statement.upper[i]:
            return None
        farthest = max(abs(self.statement.lower[i]), abs(self.statement.upper[i]))
        if farthest * self.statement.grid >= LARGEST_SUM:
            raise UncheckableError(f"the box reaches the level 2^24 of the grid, at input {i}")
        home = round(at * self.statement.grid)
        if abs(at * self.statement.grid - home) > Fraction(1, 4):
            raise RefusedError(f"entry {i} of the sample is on no level of the grid")
        return home

    def value(self, i: int, step: int) -> Fraction | None:
        """The value of an input so many steps from the sample; None where there is none in the box."""
        if step == 0:
            return self.statement.sample[i]
        home = self.homes[i]
        if home is None:
            return None
        found = self.reading(home + step)
        return found if self.statement.lower[i] <= found <= self.statement.upper[i] else None

    def level(self, i: int, step: int) -> int:
        """The level of an input so many steps from the sample, which lies in the box."""
        value = self.value(i, step)
        assert value is not None
        return self.quantised(value)

    def ends(self, i: int, most: int) -> tuple[int, int]:
        """How far an input may move down and up at a cost of at most that: values rise with steps."""
        farthest = {"l2": isqrt(most), "l0": 2 * LARGEST_SUM if most else 0}.get(self.statement.norm, most)
        sides = (range(-1, -farthest - 1, -1), range(1, farthest + 1))
        down, up = (bisect_left(side, True, key=lambda step: self.value(i, step) is None) for side in sides)
        return -down, up

    def cost(self, step: int) -> int:
        """What a step adds to a measure, or is one of in L∞."""
        return {"linf": abs(step), "l1": abs(step), "l2": step * step, "l0": int(step != 0)}[self.statement.norm]

    def measure(self, steps: tuple[int, ...]) -> int:
        """The measure of a point."""
        costs = map(self.cost, steps)
        return max(costs) if self.statement.norm == "linf" else sum(costs)

    @property
    def reach(self) -> int:
        """The greatest measure of all points."""
        ends = (self.ends(i, GREATEST) for i in range(len(self.homes)))
        return self.measure(tuple(max(-down, up) for down, up in ends))


class Table:
    """The levels (less their zero) of all steps that points of at most a measure take, and what each step costs."""

    def __init__(self, grid: Grid, most: int) -> None:
        ends = [grid.ends(i, most) for i in range(len(grid.homes))]
        self.down, self.up = np.array(ends).T
        self.steps = np.arange(self.down.min(), self.up.max() + 1)
        if len(ends) * len(self.steps) > ENTRIES:
            raise UncheckableError(f"more than {ENTRIES} steps are in reach")
        self.levels = np.array([[grid.level(i, min(max(int(t), down), up)) for t in self.steps]
                                for i, (down, up) in enumerate(ends)]) - grid.scale.zero  # fmt: skip
        together = grid.statement.norm != "linf"  # there steps do not compete: each alone is held to the measure
        self.budget = most if together else 0
        self.cost = np.array([grid.cost(int(step)) if together else 0 for step in self.steps])

    def gains(self, rows: Array, prices: Array, down: Array, up: Array) -> Array:
        """gains[r, i, t]: what step t of input i adds to function r, less its price; outside down … up, the least."""
        kind = fitting(int(largest_sum(rows)) * TOP + int(max(prices)) * max(int(self.cost.max()), 1))
        found = rows.astype(kind)[:, :, None] * self.levels - prices.astype(kind)[:, None, None] * self.cost
        allowed = (self.steps >= down[:, None]) & (self.steps <= up[:, None])
        return np.asarray(np.where(allowed, found, found.min()))
