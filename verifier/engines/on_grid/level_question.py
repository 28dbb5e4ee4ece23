"""A question of whole levels in progress: the proven one, the witness's, and what closes the gap between them."""

from __future__ import annotations

import numpy as np

from encoders.question import Norm
from verifier.engines.base import Proof
from verifier.question.grid_incumbent import GridIncumbent
from verifier.question.incumbent import Incumbent
from verifier.question.problem import Problem, Progress, Running
from verifier.question.results import Basis, weakest

INFINITY = float("inf")


class Count:
    """How many inputs (or pixels) every adversary must move: `lower`, a whole number that rests on `basis`."""

    def __init__(self, problem: Problem, incumbent: Incumbent, progress: Progress) -> None:
        self.problem, self.incumbent, self.progress = problem, incumbent, progress
        self.lower, self.basis = 0, Basis.RIGOROUS
        self.nodes = self.open_phases = 0
        self.technique = ""  # whose turn it is
        if problem.known.lower > 0.0:
            self.prove(self.measure_of(problem.known.lower), problem.known.basis)

    @property
    def most(self) -> int:
        """The greatest number that matters."""
        reach = self.problem.region.reach(Norm.L0)
        return int(min(reach, reach if self.problem.falsify_at is None else self.problem.falsify_at))

    @property
    def reached(self) -> int:
        """The least number of a known adversary; beyond all that matter without one."""
        return int(min(self.incumbent.upper, self.most + 1))

    @property
    def enough(self) -> int:
        """No level above this needs a proof."""
        return int(min(self.most + 1, self.reached, self.incumbent.enough))

    @property
    def answered(self) -> bool:
        """Whether the two sides meet, or a witness ends a `verify`."""
        falsified = self.problem.falsify_at is not None and self.reached <= self.most
        return falsified or self.lower >= self.enough

    @property
    def stopped(self) -> bool:
        return self.answered or self.problem.deadline.passed

    def prove(self, measure: int, basis: Basis) -> None:
        """Every adversary has at least this measure; what was known at the start is part of any proof since."""
        if measure > self.lower:
            known = self.problem.known
            self.lower, self.basis = measure, weakest((basis, known.basis if known.lower > 0.0 else basis))
            self.tell()

    def tell(self) -> None:
        self.tell_of(self.lower)

    def tell_of(self, measure: int) -> None:
        """Tell of a level that is proven, whoever keeps it."""
        lower, upper = self.proven(measure), self.incumbent.upper
        self.progress(Running(lower, upper, self.basis, self.nodes, self.open_phases, self.technique))

    def measure_of(self, lower: float) -> int:
        """The measure that a known bound proves."""
        return self.enough if lower == INFINITY else int(np.ceil(lower))

    def proven(self, measure: int) -> float:
        """The distance that a measure proves."""
        return float("inf") if measure > self.problem.region.reach(Norm.L0) else float(measure)

    def proof(self) -> Proof:
        return Proof(self.proven(self.lower), self.basis, self.nodes, self.open_phases)


class Levels(Count):
    """`lower` is a measure of the grid: every adversary there has at least that."""

    def __init__(self, problem: Problem, incumbent: Incumbent, progress: Progress) -> None:
        assert problem.grid is not None
        assert isinstance(incumbent, GridIncumbent)
        self.grid, self.witness = problem.grid, incumbent
        super().__init__(problem, incumbent, progress)

    @property
    def most(self) -> int:
        return self.problem.most

    @property
    def reached(self) -> int:
        return self.witness.measure

    @property
    def enough(self) -> int:
        return min(self.most + 1, self.reached)

    def proven(self, measure: int) -> float:
        return self.grid.proven(measure)

    def measure_of(self, lower: float) -> int:
        return min(self.grid.reached(lower), self.most + 1)
