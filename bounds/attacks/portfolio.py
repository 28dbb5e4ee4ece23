"""The attacks together: the first adversary, and with it the first upper bound, of a question."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from bounds.attacks.base import Attack, AttackOptions, AttackProblem, Candidates, checked
from bounds.attacks.fab import Fab
from bounds.attacks.region_descent import polish
from bounds.lowered import Lowered
from encoders.question import Goal, Norm, Region

ATTACKS: Mapping[str, type[Attack]] = {attack.name: attack for attack in (Fab,)}
POLISHED = 3  # goals
POLISH_ROUNDS = 12


def attack(
    lowered: Lowered, region: Region, norm: Norm, goals: tuple[Goal, ...], radius: float, options: AttackOptions
) -> Candidates:
    """Near adversaries of every goal, nearest first, each checked in float64; none is no proof of anything."""
    problem = AttackProblem(lowered, region, norm, goals, radius, options)
    found = Candidates.none(region.center.size)
    for technique in ATTACKS.values():
        found = Candidates.merged([found, technique().run(problem, found)])
    return Candidates.merged([found, _polished(problem, found)])


def _polished(problem: AttackProblem, found: Candidates) -> Candidates:
    """The nearest candidates of the best few goals, each walked down in the linear pieces around it."""
    best = found.nearest()
    kept = []
    for k in range(min(POLISHED, len(best.goal))):
        if problem.time_left <= 0:
            break
        goal = problem.goals[int(best.goal[k])]
        limit = None if problem.time_left == float("inf") else problem.time_left
        point = polish(problem.lowered, problem.region, problem.norm, goal, best.inputs[k], POLISH_ROUNDS, limit)
        length = float(problem.norm.length(point - problem.region.center))
        kept.append(Candidates(point[None], np.array([length]), best.goal[k : k + 1]))
    return checked(problem, Candidates.merged(kept), "polish") if kept else Candidates.none(problem.center.numel())
