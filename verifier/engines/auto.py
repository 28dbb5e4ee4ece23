"""What `auto` means: the search, and HiGHS in turns for small programs that the search does not close soon.

The rule, measured on the digits nets and the published toy nets: the search closes most questions in well under a
second. While at most `FEW_PHASES` phases are open and it has not closed, the two take turns of growing length: where
relaxations are weak (deep chains of maxima), cuts and presolve win; else the search does, and goes on where it
stopped: where HiGHS proves far less in its turn than the search before it, the search's next is several times as long.
With more open phases HiGHS gets nowhere, and the search keeps the whole time.
Where one input alone moves, as behind a change of brightness, its range is split before anything else.
"""

from __future__ import annotations

from dataclasses import replace

from encoders.errors import SolverError
from encoders.question import Norm
from verifier.engines.base import Capabilities, Engine, Proof
from verifier.engines.mixed_integer import HighsEngine
from verifier.engines.on_grid.level_question import Count, Levels
from verifier.engines.on_grid.pixel_search import Subsets
from verifier.engines.phase_search.search import Search, SearchOptions
from verifier.engines.variable_splitting import SplitsEngine
from verifier.question.incumbent import Incumbent
from verifier.question.problem import Problem, Progress, Running
from verifier.question.results import Basis

FIRST_TURN = 5.0  # seconds of search before HiGHS is asked for as many; then each has twice as many, and so on
FIRST_TURN_IN_LARGE_NETS = 10.0  # whose attacks and first passes alone take some of them
FEW_PHASES = 80
FAR_LESS, LONGER = 0.5, 4.0  # of what the search has proven; as long a turn of the search


class AutoEngine(Engine):
    """See the module. Its basis is `rigorous` unless HiGHS had to raise the bound."""

    name = "auto"
    capabilities = Capabilities(frozenset(Norm), Basis.RIGOROUS, grid=True, quantised=True, values=True)

    async def _solve(self, problem: Problem, incumbent: Incumbent, progress: Progress) -> Proof:
        if problem.quantised is not None:
            from verifier.engines.quantised.by_cpsat import close_quantised

            return close_quantised(Levels(problem, incumbent, progress), problem.quantised)
        if problem.grid is not None:
            from verifier.engines.auto_grid import close_on_grid

            return await close_on_grid(problem, incumbent, progress)
        if problem.norm is Norm.L0:
            return _close_count(problem, incumbent, progress)
        if int((problem.region.lower < problem.region.upper).sum()) == 1:
            proof = SplitsEngine().close(problem, incumbent, progress)
            if _closed(problem, incumbent, proof.lower):
                return proof
        search = Search(problem, incumbent, progress, SearchOptions())
        if problem.norm not in HighsEngine.capabilities.norms:
            return await search.solve()
        turn = FIRST_TURN_IN_LARGE_NETS if search.large else FIRST_TURN
        best = await search.solve(turn)
        while not (search.finished or _closed(problem, incumbent, best.lower)):
            if best.open_phases > FEW_PHASES:
                best = _better(best, await search.solve())
                continue
            try:
                part = replace(problem, deadline=problem.deadline.within(turn))
                found = HighsEngine().close(part, incumbent, _above(best, progress))
            except SolverError:
                # What is proven stands, whatever becomes of the solver.
                return _better(best, await search.solve())
            longer = LONGER if found.lower < FAR_LESS * best.lower else 1.0
            best = _better(best, found)
            if not _closed(problem, incumbent, best.lower):
                turn *= 2.0
                best = _better(best, await search.solve(longer * turn))
        return best


def _close_count(problem: Problem, incumbent: Incumbent, progress: Progress) -> Proof:
    """The search over subsets, and HiGHS in turns while few phases are open or where the search has no more to say."""
    levels = Count(problem, incumbent, progress)
    subsets, turn = Subsets(levels), FIRST_TURN
    while True:
        subsets.run(turn)
        turn *= 2.0
        if levels.stopped:
            return levels.proof()
        if levels.open_phases > FEW_PHASES and not subsets.finished:
            continue
        left = problem.deadline.left if subsets.finished else min(turn, problem.deadline.left)
        part = replace(problem, deadline=problem.deadline.within(left))
        try:
            proof = HighsEngine().close(part, incumbent, _above(levels.proof(), progress))
        except SolverError:
            if subsets.finished:
                return levels.proof()  # what is proven stands, whatever becomes of the solver
            continue
        levels.prove(int(min(proof.lower, levels.enough)), proof.basis)
        if subsets.finished:
            return levels.proof()


def _closed(problem: Problem, incumbent: Incumbent, lower: float) -> bool:
    """Nothing is left to do, or no time to do it in."""
    tolerance = problem.tolerance * max(1.0, min(incumbent.upper, problem.ceiling))
    answered = problem.falsify_at is not None and incumbent.upper <= problem.falsify_at
    enough = min(problem.ceiling, incumbent.upper - tolerance, incumbent.enough)
    return answered or problem.deadline.passed or lower >= enough


def _better(first: Proof, second: Proof) -> Proof:
    """The higher bound with its basis; nodes of both."""
    chosen = second if second.lower > first.lower else first
    nodes = first.nodes + second.nodes if second.basis is Basis.SOLVER else max(first.nodes, second.nodes)
    return replace(chosen, nodes=nodes, open_phases=max(first.open_phases, second.open_phases))


def _above(proof: Proof, progress: Progress) -> Progress:
    """Progress that never falls below what is proven already."""

    def above(running: Running) -> None:
        if proof.lower >= running.lower:
            running = replace(running, lower=proof.lower, basis=proof.basis)
        progress(replace(running, nodes=running.nodes + proof.nodes))

    return above
