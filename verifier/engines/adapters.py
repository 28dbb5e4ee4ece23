"""Our own techniques as engines: what each can be asked, and how it is begun."""

from __future__ import annotations

from encoders.deadline import in_time
from encoders.question import Norm
from verifier.engines.base import Capabilities, Engine, Proof
from verifier.engines.on_grid.cpsat_decisions import CpSatOptions, Decisions
from verifier.engines.on_grid.level_question import Count, Levels
from verifier.engines.on_grid.phase_levels import LevelSearch
from verifier.engines.on_grid.pixel_search import Subsets
from verifier.engines.on_grid.step_search import SEARCHED, StepSearch
from verifier.engines.phase_search.adversaries import SEARCH
from verifier.engines.phase_search.search import Search, SearchOptions
from verifier.engines.quantised.by_cpsat import QuantisedOptions, close_quantised
from verifier.question.incumbent import Incumbent
from verifier.question.problem import Problem, Progress
from verifier.question.results import Basis


class SearchEngine(Engine):
    """Branch and bound on ReLU phases (`phase_search/`); on a grid, asked for whole levels."""

    name = SEARCH
    capabilities = Capabilities(frozenset({Norm.LINF, Norm.L1, Norm.L2}), Basis.RIGOROUS, grid=True, values=True)

    def __init__(self, options: SearchOptions | None = None) -> None:
        self.options = options or SearchOptions()

    async def _solve(self, problem: Problem, incumbent: Incumbent, progress: Progress) -> Proof:
        if problem.grid is not None:
            levels = Levels(problem, incumbent, progress)
            await LevelSearch(levels, self.options).solve()
            return levels.proof()
        return await Search(problem, incumbent, progress, self.options).solve()


class StepEngine(Engine):
    """The search over phases for as long as it gets on, then the tree over phases and steps."""

    name = "steps"
    capabilities = Capabilities(frozenset({Norm.L1, Norm.L2}), Basis.RIGOROUS, grid=True, continuous=False)

    def _close(self, problem: Problem, incumbent: Incumbent, progress: Progress) -> Proof:
        levels = Levels(problem, incumbent, progress)
        if not problem.goals:
            levels.prove(problem.most + 1, Basis.RIGOROUS)
        if not levels.stopped:
            LevelSearch(levels).run(SEARCHED)
        if not levels.stopped:
            search = in_time(problem.deadline, lambda: StepSearch(levels), None)
            if search is not None:
                search.run()
        return levels.proof()


class SubsetEngine(Engine):
    """Branch and bound on which inputs or pixels move (`on_grid/pixel_search.py`)."""

    name = "subsets"
    capabilities = Capabilities(frozenset({Norm.L0}), Basis.RIGOROUS, grid=True)

    def _close(self, problem: Problem, incumbent: Incumbent, progress: Progress) -> Proof:
        levels = Count(problem, incumbent, progress) if problem.grid is None else Levels(problem, incumbent, progress)
        Subsets(levels).run(problem.deadline.left)
        return levels.proof()


class CpSatEngine(Engine):
    """Level by level from below; what bounds leave goes to CP-SAT (`on_grid/cpsat_decisions.py`)."""

    name = "cpsat"
    capabilities = Capabilities(frozenset(Norm), Basis.INTEGER, grid=True, continuous=False, quantised=True)

    def __init__(self, options: CpSatOptions | None = None) -> None:
        self.options = options or CpSatOptions()

    def _close(self, problem: Problem, incumbent: Incumbent, progress: Progress) -> Proof:
        levels = Levels(problem, incumbent, progress)
        if problem.quantised is not None:
            return close_quantised(levels, problem.quantised, QuantisedOptions(relaxed=False))
        Decisions(levels, self.options).run()
        return levels.proof()
