"""Quantised networks on a grid, closed exactly: bounds narrow what an adversary can be, CP-SAT decides what is left.

A decision asks whether a goal has an adversary of at most some measure. Relaxations narrow the steps of inputs and the
ranges of accumulators (`bounds.quantised_ranges`); what they leave is an integer program whose points are the
adversaries (`encoders.quantised_program`), so that a point of it must replay, and none means that there is none.

A goal is asked at once for everything below the nearest adversary known. Where CP-SAT takes too long over that, for
half of what is still open, and so on: what is proven rises at any time.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from bounds.quantised_ranges import ranges_of
from encoders.errors import SoundnessError
from encoders.quantised import QuantisedNet
from encoders.quantised_program import InputLevels, Wanted, encode
from encoders.question import Goal
from encoders.solvers.base import Status
from encoders.solvers.cpsat import satisfy
from verifier.engines.base import Proof
from verifier.engines.levels import Levels
from verifier.results import Basis

INFINITY = float("inf")


@dataclass(frozen=True)
class QuantisedOptions:
    """What may be tuned; none of it can change an answer, only the time it takes."""

    patience: float = 4.0  # seconds of CP-SAT on one decision before a lower measure is asked first
    parameters: tuple[tuple[str, object], ...] = ()


def close_quantised(levels: Levels, net: QuantisedNet, options: QuantisedOptions | None = None) -> Proof:
    """All goals in turns, until both sides meet or time is over."""
    QuantisedDecisions(levels, net, options or QuantisedOptions()).run()
    return levels.proof()


def input_levels(levels: Levels, net: QuantisedNet) -> InputLevels:
    """What QuantizeLinear makes of every step of every input."""
    grid = levels.grid
    first, last = int(grid.down.min(initial=0)), int(grid.up.max(initial=0))
    steps = np.clip(np.arange(first, last + 1)[:, None], grid.down, grid.up)
    return InputLevels(np.ascontiguousarray(net.layers[0].source.levels(grid.values(steps)).T), first)


def wanted_of(goal: Goal, net: QuantisedNet) -> Wanted:
    """A goal in levels."""
    rivals = tuple(int(j) for j in goal.rows.argmax(axis=1))
    return Wanted(goal.target, rivals, tuple(net.winning(float(goal.offset.max())).tolist()))


class QuantisedDecisions:
    """All goals of a question, each proven up to a measure of its own."""

    def __init__(self, levels: Levels, net: QuantisedNet, options: QuantisedOptions) -> None:
        self.levels, self.net, self.options = levels, net, options
        self.table = input_levels(levels, net)
        self.wanted = [wanted_of(goal, net) for goal in levels.problem.goals]
        self.proven = [0] * len(self.wanted)
        self.patience = [options.patience] * len(self.wanted)
        self.basis = Basis.RIGOROUS  # until CP-SAT had to say something

    def run(self) -> None:
        levels = self.levels
        self.bounded()
        while not levels.stopped:
            goal = min(range(len(self.proven)), key=self.proven.__getitem__)
            self.raised(goal)
            self.told()

    def told(self) -> None:
        least = min(self.proven, default=self.levels.problem.most + 1)
        self.levels.prove(min(least, self.levels.enough), self.basis)

    def bounded(self) -> None:
        """What relaxations alone prove of each goal, by bisection."""
        for goal in range(len(self.proven)):
            low, high = 0, self.levels.enough
            while low < high and not self.levels.stopped:
                middle = high if low == 0 else (low + high + 1) // 2
                if self.ranges(goal, middle - 1) is None:
                    low = middle
                else:
                    high = middle - 1
            self.proven[goal] = low
        self.told()

    def ranges(self, goal: int, measure: int):
        grid = self.levels.grid
        self.levels.nodes += 1
        return ranges_of(self.net, self.table, grid.norm, measure, grid.down, grid.up, self.wanted[goal])

    def raised(self, goal: int) -> None:
        """One goal decided further, at the highest measure that CP-SAT decides in time."""
        measure = self.levels.enough - 1
        while measure >= self.proven[goal] and not self.levels.stopped:
            status = self.decided(goal, measure)
            if status is Status.INFEASIBLE:
                self.proven[goal] = measure + 1
                return
            if status is Status.OPTIMAL:  # a nearer adversary: ask below it
                measure = min(measure, self.levels.enough - 1)
            elif measure == self.proven[goal]:
                self.patience[goal] *= 2.0
                return
            else:
                measure = (measure + self.proven[goal]) // 2
        self.proven[goal] = max(self.proven[goal], self.levels.enough) if measure < self.proven[goal] else self.proven[goal]

    def decided(self, goal: int, measure: int) -> Status:
        """Whether the goal has an adversary of at most `measure`: INFEASIBLE, OPTIMAL (kept), or TIME_LIMIT."""
        ranges = self.ranges(goal, measure)
        grid = self.levels.grid
        written = None
        if ranges is not None:
            written = encode(self.net, self.table, ranges, grid.norm, measure, self.wanted[goal])
        if written is None:
            return Status.INFEASIBLE
        self.basis = Basis.INTEGER
        left = min(self.patience[goal], self.levels.problem.deadline.left)
        t = time.monotonic()
        answer = satisfy(written.program, left, parameters=dict(self.options.parameters))
        import os
        if os.environ.get("I8DEBUG"):
            print("   goal", goal, "measure", measure, answer.status, f"{time.monotonic()-t:.2f}s", "moving", len(written.inputs), "cols", len(written.program.low), "rows", len(written.program.rows), flush=True)
        if answer.point is None:
            return Status.INFEASIBLE if answer.status is Status.INFEASIBLE else Status.TIME_LIMIT
        found = np.zeros(len(grid.home), dtype=np.int64)
        found[written.inputs] = answer.point[: len(written.inputs)]
        if not self.levels.incumbent.offer_steps(found):
            raise SoundnessError("soundness alarm: a point of the exact integer program does not replay as an adversary")
        self.levels.incumbent.walk(self.levels.problem.deadline, self.levels.lower)
        self.levels.tell()
        return Status.OPTIMAL
