"""Branch and bound on the few inputs that move, for distances: the variables of a perturbation.

The region is cut into boxes. A box that is no nearer than what is known, or that one backward pass proves to hold no
adversary, is done with; the nearest of the others are halved, and the nearest that is left says how far all of them
are. Few variables move many phases at once, and boxes halve them all, where a tree of phases has them one by one.
A box that may hold an adversary however small it is, as one on the border of a class does, ends the search.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from bounds.propagation.device_graph import DeviceGraph
from bounds.propagation.neuron_bounds import device_graph_for
from bounds.tightening.first_pass import distances_together
from encoders.arrays import FloatArray
from encoders.deadline import OutOfTimeError, under
from encoders.question import CONVEX, Goal, Norm, Region
from verifier.engines.base import Capabilities, Engine, Proof
from verifier.question.incumbent import Incumbent
from verifier.question.problem import Problem, Progress, Running
from verifier.question.results import Basis

BOXES = 32  # bounded at a time
FINEST = 1e-3  # of the tolerance: a box as narrow as this is not cut again
BEYOND = 1.0 + 1e-9  # of a box's reach: a ball that holds it
ROUNDING = 2.0**-40  # relative: far more than the sum of a box's few moves loses


class SplitsEngine(Engine):
    """See the module."""

    name = "splits"
    capabilities = Capabilities(frozenset(CONVEX), Basis.RIGOROUS)

    def _close(self, problem: Problem, incumbent: Incumbent, progress: Progress) -> Proof:
        if not problem.goals:
            return Proof(problem.ceiling, Basis.RIGOROUS)
        splits = VariableSplitting.on(problem, incumbent)
        while splits.left and not problem.deadline.passed:
            try:
                with under(problem.deadline):
                    splits.step()
            except OutOfTimeError:
                break
            progress(Running(splits.lower, incumbent.upper, nodes=splits.visited, technique=self.name))
        return Proof(splits.lower, Basis.RIGOROUS, splits.visited, 0)


@dataclass(eq=False)
class VariableSplitting:
    """Boxes that may hold an adversary; together with what is proven they are all of the region below the ceiling."""

    problem: Problem
    incumbent: Incumbent
    device_graph: DeviceGraph
    boxes_lower: FloatArray  # [boxes, n]
    boxes_upper: FloatArray
    visited: int = 0
    narrow: float = np.inf  # the nearest box that was not cut again
    _near: FloatArray = field(default_factory=lambda: np.zeros(0))

    @classmethod
    def on(cls, problem: Problem, incumbent: Incumbent) -> VariableSplitting:
        """The part of the region that the ceiling leaves, as one box: what lies beyond it may win."""
        region, graph = problem.region, device_graph_for(problem.graph, problem.device)
        lower, upper = region.clipped(problem.norm, problem.ceiling)
        found = cls(problem, incumbent, graph, lower[None], upper[None])
        found._sort()
        return found

    @property
    def enough(self) -> float:
        """The distance up to which boxes matter."""
        known = self.incumbent.upper
        slack = 0.5 * self.problem.tolerance * max(1.0, known) if self.problem.falsify_at is None else 0.0
        near = known - slack if known < np.inf else np.inf
        return max(0.0, min(self.problem.ceiling, near))

    @property
    def lower(self) -> float:
        """No adversary is nearer: it would be in a box that is left."""
        nearest = float(self._near[0]) if len(self._near) else np.inf
        return min(self.enough, self.narrow, nearest)

    @property
    def left(self) -> bool:
        """Whether a box is left that matters and can be cut."""
        at = self.problem.falsify_at
        known = at is not None and self.incumbent.upper <= at
        return not known and bool(len(self._near)) and float(self._near[0]) < min(self.enough, self.narrow)

    def step(self) -> None:
        """Bound the nearest boxes, and halve those that stay open."""
        lower, upper = self.boxes_lower[:BOXES], self.boxes_upper[:BOXES]
        still = ~self.closed(lower, upper)
        self.visited += len(lower)
        lower, upper = lower[still], upper[still]
        center = lower + 0.5 * (upper - lower)
        if len(center):
            self.incumbent.offer(np.concatenate([center, self._nearest(lower, upper)]), "splits")
        widths = upper - lower
        split = widths.argmax(axis=1)
        rows = np.arange(len(split))
        finest = FINEST * self.problem.tolerance
        middle = center[rows, split]
        cut = (widths[rows, split] > finest) & (lower[rows, split] < middle) & (middle < upper[rows, split])
        if not cut.all():
            self.narrow = min(self.narrow, float(self._lengths(lower[~cut], upper[~cut]).min()))
        lower, upper, center, split = lower[cut], upper[cut], center[cut], split[cut]
        rows = np.arange(len(split))
        below, above = upper.copy(), lower.copy()
        below[rows, split] = above[rows, split] = center[rows, split]
        self.boxes_lower = np.concatenate([self.boxes_lower[BOXES:], lower, above])
        self.boxes_upper = np.concatenate([self.boxes_upper[BOXES:], below, upper])
        self._sort()

    def closed(self, lower: FloatArray, upper: FloatArray) -> NDArray[np.bool_]:
        """Of which boxes [boxes, n] one backward pass proves that no goal is reached in them."""
        middle = np.clip(lower + 0.5 * (upper - lower), lower, upper)
        regions = [Region(*sides) for sides in zip(middle, lower, upper, strict=True)]
        radii = [np.nextafter(region.reach(Norm.LINF) * BEYOND, np.inf) + 1e-12 for region in regions]
        ways = [(goal, *_rows_alone(goal)) for goal in self.problem.goals]
        asked = tuple(way for each in ways for way in each)
        proven = distances_together(self.device_graph, regions, Norm.LINF, [asked] * len(regions), radii)
        starts = np.cumsum([0, *map(len, ways)])[:-1]
        far = [np.logical_or.reduceat(found >= radius, starts) for found, radius in zip(proven, radii, strict=True)]
        return np.array([bool(each.all()) for each in far])

    def _sort(self) -> None:
        """The nearest first; what lies beyond what matters is dropped, for nothing that matters is there."""
        near = self._lengths(self.boxes_lower, self.boxes_upper)
        order = np.argsort(near, kind="stable")
        order = order[near[order] < self.enough]
        self.boxes_lower, self.boxes_upper, self._near = self.boxes_lower[order], self.boxes_upper[order], near[order]

    def _lengths(self, lower: FloatArray, upper: FloatArray) -> FloatArray:
        """How far the nearest point of each box is, rounded down."""
        lengths = self.problem.norm.length(self._nearest(lower, upper) - self.problem.region.center)
        return np.asarray(lengths * (1.0 - ROUNDING))

    def _nearest(self, lower: FloatArray, upper: FloatArray) -> FloatArray:
        return np.clip(self.problem.region.center, lower, upper)


def _rows_alone(goal: Goal) -> tuple[Goal, ...]:
    """A goal of several rows is not reached where one of them is not."""
    if len(goal.rows) < 2:
        return ()
    return tuple(Goal(goal.target, goal.rows[j : j + 1], goal.offset[j : j + 1]) for j in range(len(goal.rows)))
