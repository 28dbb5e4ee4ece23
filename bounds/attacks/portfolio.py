"""The attacks together: the first adversary, and with it the first upper bound, of a question."""

from __future__ import annotations

import time
from collections.abc import Mapping

import numpy as np

from bounds.attacks.base import Attack, AttackOptions, AttackProblem, Candidates, checked
from bounds.attacks.fab import Fab
from bounds.attacks.pgd import Pgd
from bounds.attacks.region_descent import polish
from bounds.lowered import Lowered
from encoders.question import Goal, Norm, Region

ATTACKS: Mapping[str, type[Attack]] = {attack.name: attack for attack in (Fab, Pgd)}
FIELD_SECONDS = 0.6  # at most, for each field: large nets have slow programs, and a first bound is wanted soon
HOPELESS = 1.4  # a candidate this much farther than the radius is not polished into it


def attack(
    lowered: Lowered, region: Region, norm: Norm, goals: tuple[Goal, ...], radius: float, options: AttackOptions
) -> Candidates:
    """Near adversaries of every goal, nearest first, each checked in float64; none is no proof of anything."""
    problem = AttackProblem(lowered, region, norm, goals, radius, options)
    found = Candidates.none(region.center.size)
    for technique in ATTACKS.values():
        if _decided(problem, found):
            return found
        found = Candidates.merged([found, technique().run(problem, found)])
    for candidates, pieces in options.polish:
        if _decided(problem, found):
            return found
        found = Candidates.merged([found, _polished(problem, found, candidates, pieces)])
    return found


def _decided(problem: AttackProblem, found: Candidates) -> bool:
    """Whether more effort is idle: no time is left, or a radius smaller than the box has its witness."""
    if problem.time_left <= 0:
        return True
    asked = problem.radius < problem.region.reach(problem.norm)
    return asked and len(found.distances) > 0 and bool(found.distances[0] < 0.999 * problem.radius)


def _polished(problem: AttackProblem, found: Candidates, candidates: int, pieces: int) -> Candidates:
    """The nearest candidates, each walked down through the linear pieces around it for a few pieces."""
    _, different = np.unique(found.distances.round(12), return_index=True)
    ends = time.monotonic() + min(FIELD_SECONDS, problem.time_left)
    kept = []
    for k in np.sort(different)[:candidates]:
        limit = ends - time.monotonic()
        if limit <= 0 or found.distances[k] > HOPELESS * problem.radius:
            break
        goal = problem.goals[int(found.goal[k])]
        point = polish(problem.lowered, problem.region, problem.norm, goal, found.inputs[k], pieces, limit)
        length = float(problem.norm.length(point - problem.region.center))
        kept.append(Candidates(point[None], np.array([length]), found.goal[k : k + 1]))
    return checked(problem, Candidates.merged(kept), "polish") if kept else Candidates.none(problem.center.numel())
