"""A quantised network's question on a grid in progress: its goals in levels, and what is proven of each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bounds.discrete.int8_ranges import ranges_of
from encoders.errors import OptionError, SoundnessError
from encoders.quantised.integer_encoding import Ahead, InputLevels, Ranges, Wanted, Written, encode
from encoders.quantised.semantics import TOP, QuantisedNet
from encoders.question import Goal
from verifier.engines.on_grid.level_question import Levels
from verifier.question.results import Basis


class QuantisedGoals:
    """All goals, each proven up to a measure of its own; the least of them is what `levels` proves."""

    def __init__(self, levels: Levels, net: QuantisedNet, relaxed: bool, solver: str, basis: Basis) -> None:
        self.levels, self.net, self.relaxed = levels, net, relaxed
        self.table = input_levels(levels, net)
        self.wanted = [wanted_of(goal, net) for goal in levels.problem.goals]
        self.proven = [0] * len(self.wanted)
        self.solver, self.solver_basis = solver, basis
        self.basis = Basis.RIGOROUS  # until a solver has to say something
        self.tell()

    def ranges(self, goal: int, measure: int) -> Ranges | None:
        """What bounds leave of a goal's adversaries of at most `measure`; None where they leave nothing."""
        grid = self.levels.grid
        self.levels.nodes += 1
        return ranges_of(self.net, self.table, grid.norm, measure, grid.down, grid.up, self.wanted[goal], self.relaxed)

    def program(self, goal: int, measure: int, minimise: bool = False) -> Written | None:
        """The program of what is left; None where nothing is."""
        ranges = self.ranges(goal, measure)
        if ranges is None:
            return None
        norm = self.levels.grid.norm
        written = encode(self.net, self.table, ranges, norm, measure, self.wanted[goal], minimise)
        if written is not None:
            self.basis = self.solver_basis
        return written

    def prove(self, goal: int, measure: int) -> None:
        """The goal has no adversary of a smaller measure."""
        self.proven[goal] = max(self.proven[goal], measure)
        self.tell()

    def tell(self) -> None:
        """All goals together have none below the least of theirs."""
        least = min(self.proven, default=self.levels.enough)
        self.levels.technique = self.solver
        self.levels.prove(min(least, self.levels.enough), self.basis)

    def keep(self, written: Written, steps: Sequence[int], certain: bool) -> None:
        """Replay a point; one of an exact program that is no adversary refutes the program."""
        found = np.zeros(len(self.levels.grid.home), dtype=np.int64)
        found[written.inputs] = steps
        incumbent = self.levels.witness
        nearer = int(self.levels.grid.measure(found)) < incumbent.measure
        if not incumbent.offer_steps(found, self.solver):
            if certain and nearer:
                raise SoundnessError(
                    "soundness alarm: a point of a quantised network's exact program does not replay as an adversary"
                )
            return
        incumbent.walk(self.levels.problem.deadline, self.levels.lower)
        self.tell()
        self.levels.tell()


def input_levels(levels: Levels, net: QuantisedNet) -> InputLevels:
    """What QuantizeLinear makes of every step of every input."""
    grid = levels.grid
    first, last = int(grid.down.min(initial=0)), int(grid.up.max(initial=0))
    steps = np.clip(np.arange(first, last + 1)[:, None], grid.down, grid.up)
    return InputLevels(np.ascontiguousarray(net.layers[0].source.levels(grid.values(steps)).T), first)


def wanted_of(goal: Goal, net: QuantisedNet) -> Wanted | Ahead:
    """A goal in levels: strictly ahead, and by the margin; of a margin below zero, a lead over one class by no less.

    One that asks anything else of scores is refused.
    """
    rivals = tuple(int(j) for j in goal.rows.argmax(axis=1))
    classes = np.eye(goal.rows.shape[1])
    ahead = classes[list(rivals)] - classes[goal.target]
    margin = float(goal.offset.max())
    alone = margin >= 0 or len(rivals) == 1
    if not (np.array_equal(goal.rows, ahead) and alone and (goal.offset == margin).all()):
        raise OptionError(
            "a quantised network is asked whether a class wins, by a margin of zero or more, or leads one other class; "
            "nothing else of its scores"
        )
    if margin >= 0:
        return Wanted(goal.target, rivals, tuple(net.winning(margin).tolist()))
    return Ahead(goal.target, rivals[0], int(np.searchsorted(net.leads[1], margin)) - TOP)
