"""The attacks together: the first adversary, and with it the first upper bound, of a question."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import numpy as np

from bounds.attacks.base import Attack, AttackBatch, AttackOptions, AttackProblem, Candidates, checked
from bounds.attacks.fab import Fab
from bounds.attacks.region_descent import polish
from bounds.attacks.shrinking_pgd import ShrinkingPgd
from bounds.propagation.device_graph import DeviceGraph
from encoders.question import Goal, Norm, Region

ATTACKS: Mapping[str, type[Attack]] = {attack.name: attack for attack in (Fab, ShrinkingPgd)}
POLISH = "polish"
FIELD_SECONDS = 0.6  # at most, for each field: large nets have slow programs, and a first bound is wanted soon
HOPELESS = 1.4  # a candidate this much farther than the radius is not polished into it


def attack(
    device_graph: DeviceGraph,
    region: Region,
    norm: Norm,
    goals: tuple[Goal, ...],
    radius: float,
    options: AttackOptions,
) -> Candidates:
    """Near adversaries of every goal, nearest first, each checked in float64; none is no proof of anything."""
    return attack_together([AttackProblem(device_graph, region, norm, goals, radius, options)])[0]


def attack_together(problems: Sequence[AttackProblem]) -> list[Candidates]:
    """The same for several samples: the walks as one batch, the linear programs one sample after the other."""
    started = time.monotonic()
    found = walked(problems)
    each = (time.monotonic() - started) / max(1, len(problems))
    return [polished(problem.after(each), one) for problem, one in zip(problems, found, strict=True)]


def walked(problems: Sequence[AttackProblem]) -> list[Candidates]:
    """What the attacks of the table find of each sample, each attack knowing what came before."""
    problems = list(problems)
    found = [Candidates.none(problem.region.center.size) for problem in problems]
    for technique in ATTACKS.values():
        left = [k for k, problem in enumerate(problems) if not _decided(problem, found[k])]
        started = time.monotonic()
        more = technique().together([problems[k] for k in left], [found[k] for k in left])
        each = (time.monotonic() - started) / max(1, len(left))
        for k, part in zip(left, more, strict=True):
            found[k], problems[k] = Candidates.merged([found[k], part]), problems[k].after(each)
    return found


def polished(problem: AttackProblem, found: Candidates) -> Candidates:
    """What was found, and its nearest walked down through the linear pieces around them, field after field."""
    for candidates, pieces in problem.options.polish:
        if _decided(problem, found):
            return found
        started = time.monotonic()
        found = Candidates.merged([found, _descended(problem, found, candidates, pieces)])
        problem = problem.after(time.monotonic() - started)
    return found


def _decided(problem: AttackProblem, found: Candidates) -> bool:
    """Whether more effort is idle: no time is left, or a radius smaller than the box has its witness."""
    if problem.limit <= 0:
        return True
    asked = problem.radius < problem.region.reach(problem.norm)
    return asked and len(found.distances) > 0 and bool(found.distances[0] < 0.999 * problem.radius)


def _descended(problem: AttackProblem, found: Candidates, candidates: int, pieces: int) -> Candidates:
    """The nearest candidates, each walked down through the linear pieces around it for a few pieces."""
    _, different = np.unique(found.distances.round(12), return_index=True)
    ends = time.monotonic() + min(FIELD_SECONDS, problem.limit)
    kept = []
    for k in np.sort(different)[:candidates]:
        limit = ends - time.monotonic()
        if limit <= 0 or found.distances[k] > HOPELESS * problem.radius:
            break
        goal = problem.goals[int(found.goal[k])]
        point = polish(problem.device_graph, problem.region, problem.norm, goal, found.inputs[k], pieces, limit)
        length = float(problem.norm.length(point - problem.region.center))
        kept.append(Candidates(point[None], np.array([length]), found.goal[k : k + 1]))
    if not kept:
        return Candidates.none(problem.region.center.size)
    return checked(AttackBatch((problem,)), Candidates.merged(kept), POLISH)
