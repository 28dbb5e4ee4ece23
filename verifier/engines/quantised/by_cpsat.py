"""Quantised networks by CP-SAT: is there an adversary of this goal with at most this measure?

The integer program is the network itself (`encoders.quantised.integer_encoding`): a point of it must replay, and none
means that there is no adversary. A goal is asked at once for everything below the nearest adversary known; where CP-SAT
takes too long over that, for half of what is still open, and so on, so that what is proven rises at any time.

`auto` lets relaxations (`bounds.discrete.int8_ranges`) prove what they can first, and narrow each program; `cpsat` does
not: there everything rests on the program.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from encoders.deadline import in_time
from encoders.quantised.semantics import QuantisedNet
from encoders.solvers.base import Status
from encoders.solvers.cpsat import satisfy
from verifier.engines.base import Proof
from verifier.engines.on_grid.level_question import Levels
from verifier.engines.quantised.level_question import QuantisedGoals
from verifier.question.results import Basis


@dataclass(frozen=True)
class QuantisedOptions:
    """What may be tuned; none of it can change an answer, only the time it takes."""

    relaxed: bool = True
    patience: float = 4.0  # seconds of CP-SAT on one decision before a lower measure is asked first
    parameters: tuple[tuple[str, object], ...] = ()


def close_quantised(levels: Levels, net: QuantisedNet, options: QuantisedOptions | None = None) -> Proof:
    """The goal that is proven least, again and again, until both sides meet or time is over."""
    options = options or QuantisedOptions()
    goals, deadline = QuantisedGoals(levels, net, options.relaxed, "cpsat", Basis.INTEGER), levels.problem.deadline
    if options.relaxed:
        for goal in range(len(goals.proven)):
            in_time(deadline, partial(_relax, goals, goal), None)
    patience = [options.patience] * len(goals.proven)
    while not levels.stopped:
        goal = min(range(len(goals.proven)), key=goals.proven.__getitem__)
        in_time(deadline, partial(_raise, goals, goal, patience, options), None)
    return levels.proof()


def _relax(goals: QuantisedGoals, goal: int) -> None:
    """What relaxations alone prove: all that matters, or by bisection."""
    low, high = 0, goals.levels.enough
    middle = high
    while low < high and not goals.levels.stopped:
        if goals.ranges(goal, middle - 1) is None:
            low = middle
            goals.prove(goal, low)
        else:
            high = middle - 1
        middle = (low + high + 1) // 2
    goals.prove(goal, low)


def _raise(goals: QuantisedGoals, goal: int, patience: list[float], options: QuantisedOptions) -> None:
    """Prove more of one goal, as much as CP-SAT decides in time; or find a nearer adversary."""
    levels = goals.levels
    measure = levels.enough - 1
    while not levels.stopped and measure >= goals.proven[goal]:
        status = _decide(goals, goal, measure, patience[goal], options)
        if status is Status.INFEASIBLE:
            goals.prove(goal, measure + 1)
            return
        if status is Status.OPTIMAL:
            measure = min(measure, levels.enough - 1)
        elif measure == goals.proven[goal]:
            patience[goal] *= 2.0
            return
        else:
            measure = (measure + goals.proven[goal]) // 2


def _decide(goals: QuantisedGoals, goal: int, measure: int, patience: float, options: QuantisedOptions) -> Status:
    """INFEASIBLE: the goal has no adversary of at most `measure`. OPTIMAL: it has, and it is kept."""
    written = goals.program(goal, measure)
    if written is None:
        return Status.INFEASIBLE
    left = min(patience, goals.levels.problem.deadline.left)
    workers = goals.levels.problem.workers
    answer = satisfy(written.program, left, workers, parameters=dict(options.parameters))
    if answer.point is not None:
        goals.keep(written, answer.point[: len(written.inputs)], certain=True)
        return Status.OPTIMAL
    return Status.INFEASIBLE if answer.status is Status.INFEASIBLE else Status.TIME_LIMIT
