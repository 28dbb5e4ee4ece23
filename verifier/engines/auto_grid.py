"""What `auto` means on a grid: the search proves levels, and CP-SAT decides those that no continuous proof can reach.

The search ends where an adversary between two levels keeps any bound from passing it; on L∞ and L1 its bound rounded
up most often meets a witness already. What is left are a few levels, each a decision on a small ball: CP-SAT's part.
In L0 the search over subsets comes first, and most often closes the question alone.
"""

from __future__ import annotations

from encoders.errors import SolverError
from encoders.question import Norm
from verifier.engines.base import Proof
from verifier.engines.cpsat import CpSatOptions, Decisions
from verifier.engines.levels import Levels, LevelSearch
from verifier.engines.search import SearchEngine
from verifier.engines.subsets import Subsets
from verifier.problem import Incumbent, Problem, Progress

FIRST_TURN = 5.0  # seconds of each while neither is done; each turn is twice as long as the one before


def close_on_grid(problem: Problem, incumbent: Incumbent, progress: Progress) -> Proof:
    """Search and decisions in turns, until both sides meet or neither has anything left to say."""
    levels = Levels(problem, incumbent, progress)
    search: LevelSearch | Subsets | None = Subsets(levels) if problem.norm is Norm.L0 else None
    if problem.norm in SearchEngine.capabilities.norms and problem.goals:
        search = LevelSearch(levels)
    decisions = Decisions(levels, CpSatOptions())
    turn = FIRST_TURN
    while not levels.stopped:
        searched = search is None or search.finished
        if search is not None and not searched:
            search.run(turn)
            searched = search.finished
        try:
            decisions.run(turn)
        except SolverError:
            if searched:
                raise
            decisions.stuck = True  # what is proven stands, whatever becomes of the solver
        if searched and decisions.stuck:
            break
        turn *= 2.0
    return levels.proof()
