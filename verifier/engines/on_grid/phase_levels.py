"""The search over ReLU phases asked for whole levels of a grid."""

from __future__ import annotations

from dataclasses import replace

from verifier.batching.request import run_alone
from verifier.engines.on_grid.level_question import Levels
from verifier.engines.phase_search.search import Search, SearchOptions
from verifier.question.problem import NOTHING, Running
from verifier.question.results import Basis

INFINITY = float("inf")


class LevelSearch:
    """The search over phases, asked for levels: it ends where no continuous proof can reach the next one."""

    def __init__(self, levels: Levels, options: SearchOptions | None = None) -> None:
        problem = levels.problem
        self.levels = levels
        # Off the grid, any adversary below the ceiling ends the search for a proof of the whole of a `verify`.
        whole = None if problem.falsify_at is None else problem.ceiling
        inner = replace(problem, falsify_at=whole, grid=None, known=NOTHING)  # which says nothing off the grid
        self.search = Search(inner, levels.witness.shadow, self._progress, options or SearchOptions())

    @property
    def finished(self) -> bool:
        return self.search.finished or self.search.answered

    def run(self, seconds: float = INFINITY) -> None:
        """Search for at most so many seconds; what it proves and finds is the levels'."""
        run_alone(self.solve(seconds))

    async def solve(self, seconds: float = INFINITY) -> None:
        """Search for at most so many seconds; what it proves and finds is the levels'."""
        levels = self.levels
        if self.finished or levels.stopped:
            return
        proof = await self.search.solve(seconds)
        levels.open_phases = max(levels.open_phases, proof.open_phases)
        levels.prove(min(levels.grid.reached(proof.lower), levels.problem.most + 1), Basis.RIGOROUS)
        levels.nodes += proof.nodes
        levels.witness.walk(levels.problem.deadline, levels.lower)
        levels.tell()

    def _progress(self, running: Running) -> None:
        levels = self.levels
        levels.technique = running.technique
        levels.tell_of(max(levels.lower, min(levels.grid.reached(running.lower), levels.problem.most + 1)))
