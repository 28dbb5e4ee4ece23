"""What every attack shares: the question of one sample, the options, and the check that nothing gets past.

An attack only proposes, for all samples of a batch at once (`batch.py`). `Attack.on` clips its proposals to their
boxes, pulls each along its segment to the center until it lies on the boundary of its goal, and evaluates it again in
float64: what does not hold is dropped.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, final

import numpy as np
import torch
from torch import Tensor

from bounds.attacks.batch import AttackBatch, Runs
from bounds.attacks.problem import AttackOptions, AttackProblem, Candidates
from encoders.deadline import out_of_time
from encoders.errors import SoundnessError
from encoders.question import CONVEX, Norm

__all__ = ["Attack", "AttackBatch", "AttackOptions", "AttackProblem", "Candidates", "Runs", "checked", "to_boundary"]

BOUNDARY_STEPS = 14
BEYOND = 1e-9  # relative; from there a point is pulled back to the boundary
HAIR = 1e-12  # of the goal's value at the center
CLAIM_TOLERANCE = 1e-9  # relative; a norm summed in another order is not a false claim


class Attack(ABC):
    """One technique that looks for near adversaries of every goal of every sample at once.

    `norms` are those that it was made for; it runs in any, and is always measured in the question's. One that takes
    long is `only_named`: `all` leaves it out.
    """

    name: ClassVar[str]
    only_named: ClassVar[bool] = False
    norms: ClassVar[frozenset[Norm]] = frozenset(CONVEX)

    @abstractmethod
    def search(self, batch: AttackBatch, known: Candidates) -> Candidates:
        """Propose inputs with the distances that they are claimed to have; `known` are checked adversaries."""

    @final
    def run(self, problem: AttackProblem, known: Candidates | None = None) -> Candidates:
        """The proposals for one sample that hold, on the boundary, nearest first."""
        return self.together([problem], None if known is None else [known])[0]

    @final
    def together(
        self, problems: Sequence[AttackProblem], known: Sequence[Candidates] | None = None
    ) -> list[Candidates]:
        """The same for each of several samples; those of one kind share a batch."""
        found = [Candidates.none(problem.region.center.size) for problem in problems]
        known = found if known is None else known
        kinds: dict[object, list[int]] = {}
        for k, problem in enumerate(problems):
            kinds.setdefault(problem.kind, []).append(k)
        for members in kinds.values():
            batch = AttackBatch(tuple(problems[k] for k in members))
            parts = batch.parted(self.on(batch, batch.joined([known[k] for k in members])))
            for k, part in zip(members, parts, strict=True):
                found[k] = part
        return found

    @final
    @torch.no_grad()
    def on(self, batch: AttackBatch, known: Candidates) -> Candidates:
        """The same for a batch, its goals counted through."""
        if not len(batch.goals):
            return Candidates.none(batch.center.shape[1])
        return checked(batch, self.search(batch, known), self.name)


@torch.no_grad()
def checked(batch: AttackBatch, proposed: Candidates, name: str) -> Candidates:
    """The proposals, clipped, moved to the boundary, and measured; those that are no adversaries dropped."""
    finite = np.isfinite(proposed.inputs).all(axis=1)
    inputs, goal = proposed.inputs[finite], proposed.goal[finite]
    sample = batch.sample_of(goal)
    center, lower, upper = (side[sample] for side in batch.boxes)
    measured = batch.length(np.clip(inputs, lower, upper) - center)
    if (proposed.distances[finite] < measured * (1.0 - CLAIM_TOLERANCE) - 1e-12).any():
        raise SoundnessError(f"attack {name} claims a distance that its input does not have; report this as a bug")
    runs = batch.runs(torch.as_tensor(goal, device=batch.center.device))
    points = to_boundary(runs, runs.clip(batch.device_graph.tensor(inputs)))
    wins = runs.worst(points) <= 0 if len(goal) else torch.zeros(0, dtype=torch.bool)
    if not wins.all():  # what lay on the boundary may lie a rounding short of it now, in a batch of another size
        beyond = runs.clip(runs.center + (1.0 + BEYOND) * (points - runs.center))
        points = to_boundary(runs, torch.where(wins.unsqueeze(1), points, beyond))
        wins = runs.worst(points) <= 0
    holds = wins.cpu().numpy()
    inputs, goal = points.cpu().numpy()[holds], goal[holds]
    distances = batch.length(inputs - center[holds])
    order = np.argsort(distances, kind="stable")
    return Candidates(inputs[order], distances[order], goal[order], np.full(len(order), name))


@torch.no_grad()
def to_boundary(runs: Runs, points: Tensor) -> Tensor:
    """Each adversary moved towards the center for as long as it stays one; what is none stays where it is.

    Along the segment the net is piecewise linear: a secant step, set a hair on the holding side, is exact as soon as
    one piece is left; bisection in between makes sure that the bracket shrinks. Where it stops the goal holds by a
    hair more than rounding: evaluated again, in a batch of another size, the point is still an adversary.
    """
    if not len(points):
        return points
    direction = points - runs.center
    best, value = points, runs.worst(points)
    holds = value <= 0
    high, high_value = torch.ones_like(value), value
    low, low_value = torch.zeros_like(value), runs.worst(runs.start)
    best = torch.where((holds & (low_value <= 0)).unsqueeze(1), runs.center, best)
    open_rows = holds & (low_value > 0)
    hair = HAIR * low_value.clamp_min(0.0)
    for step in range(BOUNDARY_STEPS):
        if out_of_time():
            break
        share = (low_value + hair) / (low_value - high_value) if step % 2 == 0 else torch.full_like(low, 0.5)
        share = share.nan_to_num(0.5).clamp(0.0, 1.0)
        share = share + 1e-7 * (1.0 - share)
        middle = low + share * (high - low)
        tried = runs.clip(runs.center + middle.unsqueeze(1) * direction)
        value = runs.worst(tried)
        won = open_rows & (value <= -hair)
        best = torch.where(won.unsqueeze(1), tried, best)
        high, high_value = torch.where(won, middle, high), torch.where(won, value, high_value)
        lost = open_rows & ~won
        low, low_value = torch.where(lost, middle, low), torch.where(lost, value, low_value)
    return best
