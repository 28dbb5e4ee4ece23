"""What every lower bound shares: the question, the record, and the check that nothing overstates itself.

A technique bounds the distances of many samples' targets, each sample on one ball: `_on_balls` returns, per target, a
distance that every adversary *within the ball* keeps. An adversary outside is farther than the radius, so
min(radius, distance) holds in the whole box, for any radius: a few are tried, and every target keeps its best.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar, final

import numpy as np

from bounds.propagation.device_graph import DeviceGraph
from encoders.arrays import FloatArray
from encoders.deadline import NEVER, OutOfTimeError, in_time, out_of_time
from encoders.errors import DataError, OptionError, SoundnessError
from encoders.layer_graph.graph import Graph, Relu
from encoders.question import CONVEX, Goal, Norm, Region, goals_for
from encoders.validation import Natural, NaturalWithZero, validated

AUDIT = 1.1  # of the nearest adversary's distance: the ball on which a technique is held against it
FEW_NEURONS, TOGETHER = 600, 32
ALARM = 1e-9  # relative: an adversary this much nearer than a proven bound is a contradiction


@validated
class LowerBoundOptions:
    """How hard to try: balls per sample, and steps of an ascent. None of it can make a bound wrong."""

    balls: Natural = 8
    steps: NaturalWithZero = 60


@dataclass(frozen=True, eq=False)
class LowerBoundProblem:
    """Samples of one net: of each its region, its predicted class and the largest ball of interest."""

    device_graph: DeviceGraph
    regions: tuple[Region, ...]
    predicted: tuple[int, ...]
    norm: Norm
    radii: tuple[float, ...]
    options: LowerBoundOptions = field(default_factory=LowerBoundOptions)
    together: int = 0  # samples in one batch; 0 for as many as pay

    def __post_init__(self) -> None:
        if not self.together:
            object.__setattr__(self, "together", samples_together(self.device_graph))
        if not len(self.regions) == len(self.predicted) == len(self.radii):
            raise DataError("every sample needs a region, a predicted class and a radius")


def samples_together(device_graph: DeviceGraph) -> int:
    """How many samples one batch should hold: of a large net, a core's cache is filled by one."""
    neurons = sum(node.size for node in device_graph.graph.nodes if isinstance(node, Relu))
    return TOGETHER if device_graph.device.type != "cpu" or neurons <= FEW_NEURONS else 1


@dataclass(frozen=True, eq=False)
class Sample:
    """One sample of a problem, with its goals: one per class but the predicted, in order."""

    device_graph: DeviceGraph
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


class Bisection:
    """The balls that one sample tries, and the best bound of each goal so far."""

    def __init__(self, goals: int, radius: float) -> None:
        self.best = np.zeros(goals)
        self.radius = self.ball = self._high = radius
        self._low = 0.0
        self.finished = not goals or not radius > 0

    def take(self, found: FloatArray) -> None:
        """What the ball gave; then the next ball, if there is one."""
        self.best = np.maximum(self.best, found)
        if found.min() >= self.ball:
            self._low = self.ball
            self.finished = self.ball >= self.radius
        else:
            self._high = self.ball
        self._low = max(self._low, float(self.best.min()))
        self.ball = 0.5 * (self._low + self._high)


class LowerBound(ABC):
    """One technique. `run` is final: it chooses balls, clips, and checks against adversaries."""

    name: ClassVar[str]
    norms: ClassVar[frozenset[Norm]] = frozenset(CONVEX)
    rests_on_solver: ClassVar[bool] = False

    @abstractmethod
    def _on_balls(self, samples: Sequence[Sample], radii: Sequence[float]) -> list[FloatArray]:
        """Per sample and goal: no adversary within the sample's radius is nearer than this. inf is welcome.

        All samples have goals; what can be computed as one batch should be.
        """

    def unsupported(self, graph: Graph) -> str | None:
        """Why the technique cannot bound this net; None if it can."""
        del graph
        return None

    @final
    def run(self, problem: LowerBoundProblem, adversaries: FloatArray | None = None) -> LowerBounds:
        """The bounds of all samples; `adversaries` [samples, classes]: distances of replayed ones, inf if unknown."""
        if problem.norm not in self.norms:
            can = ", ".join(sorted(self.norms))
            raise OptionError(f"{self.name} has no bound in {problem.norm}; it has in: {can}")
        reason = self.unsupported(problem.device_graph.graph)
        if reason is not None:
            raise OptionError(f"{self.name} cannot bound this net: {reason}")
        started = time.monotonic()
        classes = problem.device_graph.graph.classes
        samples = [
            Sample(
                problem.device_graph, region, problem.norm, goals_for(predicted, classes, None, 0.0), problem.options
            )
            for region, predicted in zip(problem.regions, problem.predicted, strict=True)
        ]
        best = list[FloatArray]()
        for first in range(0, len(samples), problem.together):
            part = slice(first, first + problem.together)
            best += self._best(samples[part], problem.radii[part])
        seconds = time.monotonic() - started
        distances = np.full((len(samples), classes), np.inf)
        claimed = distances.copy()  # what is checked; more than what is reported
        for row, predicted in enumerate(problem.predicted):
            others = [k for k in range(classes) if k != predicted]
            distances[row, others] = claimed[row, others] = best[row]
            if adversaries is not None and 0.0 < adversaries[row, others].min(initial=np.inf) < np.inf:
                nothing = np.zeros(len(others))
                beyond = in_time(NEVER, partial(self._beyond, samples[row], adversaries[row, others].min()), nothing)
                claimed[row, others] = np.maximum(claimed[row, others], beyond)
        self._check(claimed, adversaries)
        return LowerBounds(self.name, distances, seconds)

    @final
    def _beyond(self, sample: Sample, nearest: float) -> FloatArray:
        """The bounds from a ball that holds the nearest adversary: elsewhere the ball itself hides what overstates."""
        return self._clipped([sample], [AUDIT * nearest])[0]

    @final
    def _clipped(self, samples: Sequence[Sample], radii: Sequence[float]) -> list[FloatArray]:
        found = self._on_balls(samples, radii)
        return [
            np.minimum(np.nan_to_num(one, nan=0.0, posinf=np.inf), ball) for one, ball in zip(found, radii, strict=True)
        ]

    def _best(self, samples: Sequence[Sample], radii: Sequence[float]) -> list[FloatArray]:
        """The best of a few balls for each goal: bisection for the least of them, which is the answer most ask for.

        Every sample has its own bisection; the balls of a round are bounded together.
        """
        walks = [Bisection(len(sample.goals), radius) for sample, radius in zip(samples, radii, strict=True)]
        for _ in range(samples[0].options.balls if samples else 0):
            live = [k for k, walk in enumerate(walks) if not walk.finished]
            if not live or out_of_time():
                break
            try:
                found = self._clipped([samples[k] for k in live], [walks[k].ball for k in live])
            except OutOfTimeError:  # what balls before have proven holds
                break
            for k, one in zip(live, found, strict=True):
                walks[k].take(one)
        return [np.clip(walk.best, 0.0, walk.radius) for walk in walks]

    @final
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
