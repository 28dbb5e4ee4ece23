"""Polish an adversary inside its linear piece, then walk to the next: a linear, in L2 a quadratic program per step.

With every ReLU's phase fixed as at a point, the net is linear and the nearest adversary of that piece is the optimum of

    minimise ‖d‖  subject to  goal rows ≤ -push,  phase_j · h_j(center + d) ≥ 0,  d in the box and in the best ball.

Of the phase rows only a few matter, so they are added when a solution breaks them. At the optimum the tight ones are
the walls to the neighbouring pieces; those with the largest duals are crossed, for as long as that brings adversaries
nearer. Nothing is proven here: a point counts when the net itself, in float64, says that it is an adversary.
"""

from __future__ import annotations

import time
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from bounds.attacks.base import Attack, AttackBatch, AttackOptions, AttackProblem, Candidates
from bounds.attacks.deepfool import DeepFool
from bounds.attacks.piece import Phases, Piece, neighbours, phases_at
from bounds.geometry.linear_piece import nearest_in_piece
from bounds.propagation.device_graph import DeviceGraph
from encoders.arrays import FloatArray
from encoders.deadline import OutOfTimeError
from encoders.question import CONVEX, Goal, Norm, Region

MOST_CUTS = 12  # times that broken phase rows are added to one program
CUTS_AT_ONCE = 32
BROKEN = 1e-9  # a phase row broken by less is rounding
LEAST_GAIN = 1e-9  # relative
HAIRS = (1e-12, 1e-10, 1e-8, 1e-7, 1e-6, 1e-5)  # how far beyond its end a step is taken, until the goal holds

GOALS = 4  # the nearest ones, that the attack alone descends from
SECONDS = 5.0  # that it takes at most: large nets have slow programs


class RegionDescent(Attack):
    """From linear piece to linear piece, to the nearest adversary of each, from what is known or where DeepFool is."""

    name: ClassVar[str] = "region-descent"
    norms: ClassVar[frozenset[Norm]] = frozenset(CONVEX)

    def search(self, batch: AttackBatch, known: Candidates) -> Candidates:
        parts = batch.parted(known)
        if not all(len(part.goal) for part in parts):
            arrived = batch.parted(DeepFool().on(batch, known))
            parts = [part if len(part.goal) else other for part, other in zip(parts, arrived, strict=True)]
        found = []
        for k, (problem, part) in enumerate(zip(batch.problems, parts, strict=True)):
            seconds = min(SECONDS, batch.time_left / (len(parts) - k))
            found.append(self.descend(problem, part.nearest(), seconds))
        return batch.joined(found)

    @staticmethod
    def descend(problem: AttackProblem, starts: Candidates, seconds: float) -> Candidates:
        """One sample's descents, one after the other: their programs share nothing."""
        points, goals = [], []
        ends = time.monotonic() + seconds
        for start, goal in list(zip(starts.inputs, starts.goal, strict=True))[:GOALS]:
            limit = ends - time.monotonic()
            if limit <= 0:
                break
            rounds = problem.options.steps
            points.append(
                polish(problem.device_graph, problem.region, problem.norm, problem.goals[goal], start, rounds, limit)
            )
            goals.append(goal)
        if not points:
            return Candidates.none(problem.region.center.size)
        inputs = np.array(points)
        distances = problem.norm.length(inputs - problem.region.center)
        return Candidates(inputs, distances, np.array(goals, dtype=np.int64))


def polish(
    device_graph: DeviceGraph,
    region: Region,
    norm: Norm,
    goal: Goal,
    start: FloatArray,
    rounds: int = 12,
    time_limit: float | None = None,
) -> FloatArray:
    """An adversary of `goal` at most as far from the center as the adversary `start`.

    `rounds` pieces are looked at.
    """
    if not (region.upper > region.lower).any():
        return start
    walk = _Descent(device_graph, region, norm, goal, start, time_limit)
    walk.run(rounds)
    return walk.best


class _Descent:
    """The walk: the best adversary so far, and the neurons whose phases mattered."""

    def __init__(
        self,
        device_graph: DeviceGraph,
        region: Region,
        norm: Norm,
        goal: Goal,
        start: FloatArray,
        time_limit: float | None,
    ) -> None:
        options = AttackOptions(time_limit=time_limit)
        self.batch = AttackBatch((AttackProblem(device_graph, region, norm, (goal,), float("inf"), options),))
        self.goal = self.batch.every_goal()
        self.device_graph, self.region, self.norm = device_graph, region, norm
        self.moving = np.flatnonzero(region.upper > region.lower)
        self.best = start
        self.distance = float(norm.length(start - region.center))
        self.matters: NDArray[np.int64] = np.zeros(0, dtype=np.int64)

    def run(self, rounds: int) -> None:
        """Pieces one after the other, until no wall leads to anything nearer."""
        waiting, seen = [phases_at(self.device_graph, self.best)], set[bytes]()
        while waiting and rounds > 0 and self.batch.time_left > 0:
            active = waiting.pop(0)
            if active.tobytes() in seen:
                continue
            seen.add(active.tobytes())
            rounds -= 1
            before = self.distance
            try:
                onward = self._descend(active)
            except OutOfTimeError:
                return
            # A nearer adversary makes the neighbours of the old one stale.
            waiting = onward if self.distance < before * (1.0 - LEAST_GAIN) else waiting + onward

    def _descend(self, active: Phases) -> list[Phases]:
        """Solve one piece, adding the phase rows that its solutions break; the pieces to look at next."""
        region, device_graph = self.region, self.device_graph
        piece, center = Piece(device_graph, active), self.goal.center[0]
        sign = np.where(active, 1.0, -1.0)
        hidden, scores = piece.values(center[None])
        constant = hidden[0].cpu().numpy()
        goal_rows = -piece.goal_rows(self.goal.rows[0], center)
        goal_least = (self.goal.rows[0] @ scores[0] + self.goal.offset[0]).cpu().numpy()
        below = (region.center - region.lower)[self.moving]
        above = (region.upper - region.center)[self.moving]
        neurons = self.matters
        rows = sign[neurons, None] * piece.rows(neurons, center)
        for _ in range(MOST_CUTS):
            matrix = np.concatenate([goal_rows, rows])[:, self.moving]
            least = np.concatenate([goal_least, -sign[neurons] * constant[neurons]])
            scale = np.maximum(np.abs(matrix).max(axis=1, initial=0.0), 1e-100)
            limit = None if self.batch.time_left == float("inf") else self.batch.time_left
            answer, shift = nearest_in_piece(
                matrix / scale[:, None], least / scale, below, above, self.norm, self.distance, limit
            )
            if shift is None or answer.row_duals is None:
                return []
            step = np.zeros_like(self.best)
            step[self.moving] = shift
            improved = self._offer(step)
            reached = piece.values(center[None] + device_graph.tensor(step))[0][0].cpu().numpy()
            short = -sign * reached
            short[neurons] = 0.0
            broken = np.flatnonzero(short > BROKEN * (1.0 + np.abs(constant)))
            if not len(broken):
                duals = answer.row_duals[len(goal_rows) :][: len(neurons)]
                tight = neurons[np.argsort(-duals)][: int((duals > 0).sum())]
                self.matters = tight
                return neighbours(active, tight)
            if improved:  # in another piece than this one: go on there
                return [phases_at(self.device_graph, self.best)]
            new = broken[np.argsort(-short[broken])][:CUTS_AT_ONCE]
            neurons = np.concatenate([neurons, new])
            rows = np.concatenate([rows, sign[new, None] * piece.rows(new, center)])
        return []

    @torch.no_grad()
    def _offer(self, step: FloatArray) -> bool:
        """Take the nearest adversary at the end of a step, or a hair beyond, if it is nearer than the best."""
        region = self.region
        points = np.clip(region.center + step * (1.0 + np.array(HAIRS))[:, None], region.lower, region.upper)
        tried = np.unique(points, axis=0)
        distances = self.norm.length(tried - region.center)
        holds = self.goal.worst(self.device_graph.tensor(tried).unsqueeze(1)).squeeze(1) <= 0
        good = np.flatnonzero(holds.cpu().numpy() & (distances < self.distance))
        if not len(good):
            return False
        pick = good[np.argmin(distances[good])]
        gained = distances[pick] < self.distance * (1.0 - LEAST_GAIN)
        self.best, self.distance = tried[pick], float(distances[pick])
        return bool(gained)
