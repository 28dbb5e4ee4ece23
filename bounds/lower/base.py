"""What every lower bound shares: the question, the record, and the check that nothing overstates itself.

A technique bounds the distance of a target from one ball: `_on_ball(ball)` returns, per target, a distance that every
adversary *within the ball* keeps. An adversary outside is farther than the radius, so min(radius, distance) holds in
the whole box, for any radius: a few are tried, and every target keeps its best.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from bounds.lowered import Lowered
from encoders.errors import DataError, OptionError, SoundnessError
from encoders.graph import Graph
from encoders.linear_maps import FloatArray
from encoders.question import CONVEX, Goal, Norm, Region, goals_for

AUDIT = 1.1  # of the nearest adversary's distance: the ball on which a technique is held against it
ALARM = 1e-9  # relative: an adversary this much nearer than a proven bound is a contradiction


@dataclass(frozen=True)
class LowerBoundOptions:
    """How hard to try: balls per sample, and steps of an ascent. None of it can make a bound wrong."""

    balls: int = 8
    steps: int = 60

    def __post_init__(self) -> None:
        if self.balls < 1 or self.steps < 0:
            raise OptionError(f"{self.balls} balls, {self.steps} steps: give at least one ball and no negative steps")


@dataclass(frozen=True, eq=False)
class LowerBoundProblem:
    """Samples of one net: of each its region, its predicted class and the largest ball of interest."""

    lowered: Lowered
    regions: tuple[Region, ...]
    predicted: tuple[int, ...]
    norm: Norm
    radii: tuple[float, ...]
    options: LowerBoundOptions = field(default_factory=LowerBoundOptions)

    def __post_init__(self) -> None:
        if not len(self.regions) == len(self.predicted) == len(self.radii):
            raise DataError("every sample needs a region, a predicted class and a radius")


@dataclass(frozen=True, eq=False)
class Sample:
    """One sample of a problem, with its goals: one per class but the predicted, in order."""

    lowered: Lowered
    region: Region
    norm: Norm
    goals: tuple[Goal, ...]
    options: LowerBoundOptions


@dataclass(frozen=True, eq=False)
class LowerBounds:
    """Proven lower bounds [samples, classes] on the distance at which a class reaches the predicted one.

    inf at the predicted class itself; never more than the sample's radius elsewhere.
    """

    name: str
    distances: FloatArray
    seconds: float

    @property
    def nearest(self) -> FloatArray:
        """The bound over all targets [samples]."""
        return np.asarray(self.distances.min(axis=1))


class LowerBound(ABC):
    """One technique. `run` is final: it chooses balls, clips, and checks against adversaries."""

    name: ClassVar[str]
    norms: ClassVar[frozenset[Norm]] = frozenset(CONVEX)
    rests_on_solver: ClassVar[bool] = False

    @abstractmethod
    def _on_ball(self, sample: Sample, radius: float) -> FloatArray:
        """Per goal: no adversary of it within `radius` is nearer than this. inf and anything beyond is welcome."""

    def unsupported(self, graph: Graph) -> str | None:
        """Why the technique cannot bound this net; None if it can."""
        del graph
        return None

    def run(self, problem: LowerBoundProblem, adversaries: FloatArray | None = None) -> LowerBounds:
        """The bounds of all samples; `adversaries` [samples, classes]: distances of replayed ones, inf if unknown."""
        if problem.norm not in self.norms:
            can = ", ".join(sorted(self.norms))
            raise OptionError(f"{self.name} has no bound in {problem.norm}; it has in: {can}")
        reason = self.unsupported(problem.lowered.graph)
        if reason is not None:
            raise OptionError(f"{self.name} cannot bound this net: {reason}")
        seconds = 0.0
        classes = problem.lowered.graph.classes
        distances = np.full((len(problem.regions), classes), np.inf)
        claimed = distances.copy()  # what is checked; more than what is reported
        for row, (region, predicted, radius) in enumerate(
            zip(problem.regions, problem.predicted, problem.radii, strict=True)
        ):
            started = time.monotonic()
            goals = goals_for(predicted, classes, None, 0.0)
            sample = Sample(problem.lowered, region, problem.norm, goals, problem.options)
            others = [k for k in range(classes) if k != predicted]
            distances[row, others] = self._best(sample, radius)
            seconds += time.monotonic() - started
            claimed[row, others] = distances[row, others]
            if adversaries is not None and 0.0 < adversaries[row, others].min(initial=np.inf) < np.inf:
                beyond = self._beyond(sample, adversaries[row, others].min())
                claimed[row, others] = np.maximum(claimed[row, others], beyond)
        self._check(claimed, adversaries)
        return LowerBounds(self.name, distances, seconds)

    def _beyond(self, sample: Sample, nearest: float) -> FloatArray:
        """The bounds from a ball that holds the nearest adversary: elsewhere the ball itself hides what overstates."""
        ball = AUDIT * nearest
        return np.minimum(np.nan_to_num(self._on_ball(sample, ball), nan=0.0, posinf=np.inf), ball)

    def _best(self, sample: Sample, radius: float) -> FloatArray:
        """The best of a few balls for each goal: bisection for the least of them, which is the answer most ask for."""
        best = np.zeros(len(sample.goals))
        if not len(best) or not radius > 0:
            return best
        low, high = 0.0, radius
        ball = radius
        for _ in range(sample.options.balls):
            found = np.minimum(np.nan_to_num(self._on_ball(sample, ball), nan=0.0, posinf=np.inf), ball)
            best = np.maximum(best, found)
            if found.min() >= ball:
                low = ball
                if ball >= radius:
                    break
            else:
                high = ball
            low = max(low, float(best.min()))
            ball = 0.5 * (low + high)
        return np.asarray(np.clip(best, 0.0, radius))

    def _check(self, distances: FloatArray, adversaries: FloatArray | None) -> None:
        if np.isnan(distances).any() or (distances < 0).any():
            raise SoundnessError(f"{self.name} returned a bound that is no distance")
        if adversaries is None:
            return
        wrong = np.argwhere(distances > adversaries * (1.0 + ALARM) + 1e-12)
        if len(wrong):
            k, target = (int(i) for i in wrong[0])
            raise SoundnessError(
                f"soundness alarm: {self.name} claims {float(distances[k, target])!r} for sample {k} and target "
                f"{target}, but an adversary at {float(adversaries[k, target])!r} replays"
            )
