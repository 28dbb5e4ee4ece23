"""Quantised networks by a mixed-integer solver: the exact integer program of each goal, its measure minimised.

The program is the one that CP-SAT decides, without help from relaxations; solvers over doubles hold it to their
tolerances, so that the basis is `solver` and a point of theirs may fail to replay.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from encoders.arrays import FloatArray
from encoders.deadline import in_time
from encoders.quantised.integer_encoding import Written
from encoders.quantised.mixed_integer_encoding import as_program
from encoders.quantised.semantics import QuantisedNet
from encoders.solvers.base import Solver, SolverOptions, Status
from verifier.engines.base import Proof
from verifier.engines.on_grid.level_question import Levels
from verifier.engines.quantised.level_question import QuantisedGoals
from verifier.question.results import Basis

SLACK = 1e-4  # of a step: more than a solver's tolerances are worth
INFINITY = float("inf")


def close_by_solver(levels: Levels, net: QuantisedNet, solver: Solver) -> Proof:
    """Goals in turns, each with its share of the time left; what stays open is tried again."""
    goals = QuantisedGoals(levels, net, False, "highs", Basis.SOLVER)
    finished, deadline = [False] * len(goals.proven), levels.problem.deadline

    def waiting() -> list[int]:
        return [k for k, done in enumerate(finished) if not done and goals.proven[k] < levels.enough]

    while (left := waiting()) and not levels.stopped:
        for place, goal in enumerate(left):
            if levels.stopped:
                break
            if goal in waiting():
                seconds = deadline.left / (len(left) - place)
                finished[goal] = in_time(deadline, partial(_solve, goals, goal, solver, seconds), False)
    return levels.proof()


def _solve(goals: QuantisedGoals, goal: int, solver: Solver, seconds: float) -> bool:
    """One goal's program below the nearest adversary known; False where only more time would help."""
    levels = goals.levels
    enough = levels.enough
    written = goals.program(goal, enough - 1, minimise=True)
    if written is None:
        goals.prove(goal, enough)
        return True
    program = as_program(written)

    def watch(lower: float, point: FloatArray | None) -> bool:
        goals.prove(goal, _measure(lower, enough))
        _offer(goals, written, point)
        return levels.answered

    solution = solver.solve(program, SolverOptions(seconds if np.isfinite(seconds) else None), watch)
    levels.nodes += solution.nodes
    goals.prove(goal, _measure(solution.lower, enough))
    _offer(goals, written, solution.point)
    return solution.status is not Status.TIME_LIMIT


def _measure(lower: float, enough: int) -> int:
    """A solver's bound as a proven measure."""
    return enough if lower >= enough else max(0, int(np.ceil(max(lower, 0.0) - SLACK)))


def _offer(goals: QuantisedGoals, written: Written, point: FloatArray | None) -> None:
    if point is not None:
        steps = np.rint(point[: len(written.inputs)]).astype(np.int64).tolist()
        goals.keep(written, steps, certain=False)
