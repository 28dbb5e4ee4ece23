"""The attacks together: the first adversary, and with it the first upper bound, of a question."""

from __future__ import annotations

from collections.abc import Mapping

from bounds.attacks.base import Attack, AttackOptions, AttackProblem, Candidates
from bounds.attacks.fab import Fab
from bounds.lowered import Lowered
from encoders.question import Goal, Norm, Region

ATTACKS: Mapping[str, type[Attack]] = {attack.name: attack for attack in (Fab,)}


def attack(
    lowered: Lowered, region: Region, norm: Norm, goals: tuple[Goal, ...], radius: float, options: AttackOptions
) -> Candidates:
    """Near adversaries of every goal, nearest first, each checked in float64; none is no proof of anything."""
    problem = AttackProblem(lowered, region, norm, goals, radius, options)
    found = Candidates.none(region.center.size)
    for technique in ATTACKS.values():
        found = Candidates.merged([found, technique().run(problem, found)])
    return found
