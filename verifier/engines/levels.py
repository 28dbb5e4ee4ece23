"""A question on the grid in progress: the proven level, the witness's level, and what closes the gap between them."""

from __future__ import annotations

from dataclasses import replace

from verifier.engines.base import Proof
from verifier.engines.search import Search, SearchOptions
from verifier.engines.turns import Turns
from verifier.grid_witness import GridIncumbent
from verifier.problem import Incumbent, Problem, Progress
from verifier.results import Basis

INFINITY = float("inf")


class Levels:
    """`lower` is a measure: every adversary on the grid has at least that. It rests on `basis`."""

    def __init__(self, problem: Problem, incumbent: Incumbent, progress: Progress) -> None:
        assert problem.grid is not None
        assert isinstance(incumbent, GridIncumbent)
        self.problem, self.grid, self.incumbent, self.progress = problem, problem.grid, incumbent, progress
        self.lower, self.basis = 0, Basis.RIGOROUS
        self.nodes = self.open_phases = 0

    @property
    def enough(self) -> int:
        """No level above this needs a proof."""
        return min(self.problem.most + 1, self.incumbent.measure)

    @property
    def answered(self) -> bool:
        """Whether the two sides meet, or a witness ends a `verify`."""
        falsified = self.problem.falsify_at is not None and self.incumbent.measure <= self.problem.most
        return falsified or self.lower >= self.enough

    @property
    def stopped(self) -> bool:
        return self.answered or self.problem.deadline.passed

    def prove(self, measure: int, basis: Basis) -> None:
        """Every adversary has at least this measure."""
        if measure > self.lower:
            self.lower, self.basis = measure, basis
            self.tell()

    def tell(self) -> None:
        self.progress(self.grid.proven(self.lower), self.incumbent.upper)

    def proof(self) -> Proof:
        return Proof(self.grid.proven(self.lower), self.basis, self.nodes, self.open_phases)


class LevelSearch:
    """The search over phases, asked for levels: it ends where no continuous proof can reach the next one."""

    def __init__(self, levels: Levels, options: SearchOptions | None = None) -> None:
        problem = levels.problem
        self.levels = levels
        # Off the grid, any adversary below the ceiling ends the search for a proof of the whole of a `verify`.
        whole = None if problem.falsify_at is None else problem.ceiling
        inner = replace(problem, falsify_at=whole, grid=None)
        self.search = Search(inner, levels.incumbent.shadow, self._progress, options or SearchOptions())

    @property
    def finished(self) -> bool:
        return self.search.finished or self.search.answered

    def turns(self, patience: float = INFINITY) -> Turns[None]:
        """Search for at most so many seconds; what it proves and finds is the levels'."""
        levels = self.levels
        if self.finished or levels.stopped:
            return
        proof = yield from self.search.turns(patience)
        levels.open_phases = max(levels.open_phases, proof.open_phases)
        levels.prove(min(levels.grid.reached(proof.lower), levels.problem.most + 1), Basis.RIGOROUS)
        levels.nodes += proof.nodes
        levels.incumbent.walk(levels.problem.deadline, levels.lower)
        levels.tell()

    def _progress(self, lower: float, upper: float) -> None:
        del upper
        levels = self.levels
        measure = max(levels.lower, min(levels.grid.reached(lower), levels.problem.most + 1))
        levels.progress(levels.grid.proven(measure), levels.incumbent.upper)
