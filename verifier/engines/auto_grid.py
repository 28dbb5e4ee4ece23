"""What `auto` means on a grid: techniques in turns of growing length, until both sides of a question meet.

First the search over phases, asked for whole levels. It ends where an adversary between two levels keeps any bound on
real distances from passing it; on L∞ and L1 its bound rounded up most often meets a witness already. What is left are
the last levels: in L2 and L1 for the search over phases and steps, whose bounds are whole. In L0 the search over
subsets stands for both. CP-SAT comes last, for what none of them closes in its first turn.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Protocol

from encoders.deadline import in_time
from encoders.errors import SolverError
from encoders.question import Norm
from verifier.engines.base import Proof
from verifier.engines.on_grid.cpsat_decisions import CpSatOptions, Decisions
from verifier.engines.on_grid.level_question import Levels
from verifier.engines.on_grid.phase_levels import LevelSearch
from verifier.engines.on_grid.pixel_search import Subsets
from verifier.engines.on_grid.step_search import StepSearch
from verifier.question.incumbent import Incumbent
from verifier.question.problem import Problem, Progress
from verifier.question.results import Basis

FIRST_TURN = 5.0  # seconds of each; each turn is twice as long as the one before


class Technique(Protocol):
    """What raises the levels of a question, and can be asked to go on."""

    @property
    def finished(self) -> bool:
        """Whether it has nothing left to say."""

    def run(self, seconds: float) -> None:
        """Go on for at most so long."""


TECHNIQUES: dict[Norm, tuple[Callable[[Levels], Technique], ...]] = {
    Norm.LINF: (LevelSearch,),
    Norm.L1: (LevelSearch, StepSearch),
    Norm.L2: (LevelSearch, StepSearch),
    Norm.L0: (Subsets,),
}


async def close_on_grid(problem: Problem, incumbent: Incumbent, progress: Progress) -> Proof:
    """All techniques for the norm in turns, until both sides meet or none has anything left to say."""
    levels = Levels(problem, incumbent, progress)
    if not problem.goals:
        levels.prove(problem.most + 1, Basis.RIGOROUS)
    begun: dict[int, Technique] = {}
    decisions: Decisions | None = None
    turn = FIRST_TURN
    while not levels.stopped:
        for place, begin in enumerate(TECHNIQUES[problem.norm]):
            if levels.stopped:
                break
            if place not in begun:  # begun late, it starts from what is proven and found by then
                found = in_time(problem.deadline, partial(begin, levels), None)
                if found is None:
                    break
                begun[place] = found
            technique = begun[place]
            if isinstance(technique, LevelSearch):
                await technique.solve(turn)
            elif not technique.finished:
                technique.run(turn)
        if levels.stopped:
            break
        searched = all(technique.finished for technique in begun.values())
        decisions = decisions or Decisions(levels, CpSatOptions())
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
