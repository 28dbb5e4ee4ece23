"""Branch and bound on inputs, for nets of few inputs and questions about whole boxes.

A box is closed where one backward pass proves that no goal is reached in it; else it is halved along the input that
its goals depend on most, as the gradient at its center times the box's width says. Children share the face between
them, so that they cover their parent. Many boxes are bounded in one batch. Everything is float64 with its rounding
accounted for: the basis is `rigorous`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from bounds.attacks.batch import AttackBatch
from bounds.attacks.problem import AttackOptions, AttackProblem
from bounds.propagation.device_graph import DeviceGraph
from bounds.tightening.first_pass import distances_together
from encoders.arrays import FloatArray
from encoders.deadline import Deadline, OutOfTimeError, under
from encoders.question import Goal, Norm, Region
from verifier.question.incumbent import Incumbent

BOXES = 32  # bounded at a time: more leave a core's cache, and take half as long again
LEAST_SLOPE = 1e-6  # of the largest: where nothing depends on an input, its width counts
MOST_WHOLE = 64  # boxes that cannot be halved: from there on no witness is waited for
BEYOND = 1.0 + 1e-9  # of a box's reach: a ball that holds it


@dataclass(eq=False)
class InputSplitting:
    """Boxes that are not closed yet."""

    device_graph: DeviceGraph
    goals: tuple[Goal, ...]
    incumbent: Incumbent
    lower: FloatArray  # [boxes, n]
    upper: FloatArray
    visited: int = 0
    whole: int = 0  # boxes that floats cannot halve, and one pass does not close: they stay open for good

    @classmethod
    def on(
        cls, device_graph: DeviceGraph, goals: tuple[Goal, ...], region: Region, incumbent: Incumbent
    ) -> InputSplitting:
        """The whole box."""
        return cls(device_graph, goals, incumbent, region.lower[None], region.upper[None])

    @property
    def closed(self) -> bool:
        """Whether every box is closed: then no input of the whole box reaches a goal."""
        return not len(self.lower) and not self.whole

    def run(self, deadline: Deadline) -> bool:
        """Go on until every box is closed, a witness is known, or time is up; says whether every box is closed."""
        while len(self.lower) and self.whole < MOST_WHOLE and self.incumbent.best is None and not deadline.passed:
            lower, upper = self.lower[-BOXES:], self.upper[-BOXES:]
            try:
                with under(deadline):
                    children = self._expanded(lower, upper)
            except OutOfTimeError:
                break
            self.visited += len(lower)
            self.lower, self.upper = (
                np.concatenate([before[: -len(lower)], more])
                for before, more in zip((self.lower, self.upper), children, strict=True)
            )
        return self.closed

    def _expanded(self, lower: FloatArray, upper: FloatArray) -> tuple[FloatArray, FloatArray]:
        """The halves of those boxes that one pass does not close; those that have none are counted."""
        left = ~self.closed_boxes(lower, upper)
        if not left.any():
            return lower[:0], upper[:0]
        lower, upper = lower[left], upper[left]
        regions = _regions(lower, upper)
        center = np.stack([region.center for region in regions])
        gradient, corner = self._steepest(regions)
        self.incumbent.offer(np.concatenate([center, corner]), "input-splits")
        inside = (lower < center) & (center < upper)
        halved = inside.any(1)
        self.whole += int((~halved).sum())
        lower, upper, center, gradient = (part[halved] for part in (lower, upper, center, gradient))
        slope = np.abs(gradient)
        slope += LEAST_SLOPE * np.maximum(slope.max(1, keepdims=True, initial=0.0), 1.0)
        split = np.argmax(np.where(inside[halved], slope * (upper - lower), -1.0), axis=1)
        rows = np.arange(len(split))
        below, above = upper.copy(), lower.copy()
        below[rows, split] = above[rows, split] = center[rows, split]
        return np.concatenate([lower, above]), np.concatenate([below, upper])

    def closed_boxes(self, lower: FloatArray, upper: FloatArray) -> NDArray[np.bool_]:
        """Of which boxes [boxes, n] one backward pass proves that no goal is reached in them."""
        regions = _regions(lower, upper)
        radii = [np.nextafter(region.reach(Norm.LINF) * BEYOND, np.inf) + 1e-12 for region in regions]
        proven = distances_together(self.device_graph, regions, Norm.LINF, [self.ways] * len(regions), radii)
        return np.array([self._closed(found >= radius) for found, radius in zip(proven, radii, strict=True)])

    @cached_property
    def ways(self) -> tuple[Goal, ...]:
        """Each goal, and behind it each of its rows alone: a goal is not reached where one row is not."""
        return tuple(way for goal in self.goals for way in (goal, *_rows_alone(goal)))

    def _closed(self, proven: NDArray[np.bool_]) -> bool:
        """Whether no goal is reached, of what is proven in each way."""
        counts = [1 + len(_rows_alone(goal)) for goal in self.goals]
        return all(bool(part.any()) for part in np.split(proven, np.cumsum(counts)[:-1]))

    def _steepest(self, regions: list[Region]) -> tuple[FloatArray, FloatArray]:
        """For each box the gradient of the nearest goal at its center, and the corner that it points to."""
        problems = tuple(
            AttackProblem(self.device_graph, region, Norm.LINF, self.goals, np.inf, AttackOptions())
            for region in regions
        )
        batch = AttackBatch(problems)
        runs = batch.every_goal()
        value, gradient = runs.linearised(runs.start)
        value, gradient = value.view(len(regions), -1), gradient.view(len(regions), len(self.goals), -1)
        nearest = value.argmin(1)
        chosen = gradient[torch.arange(len(regions)), nearest].cpu().numpy()
        lower, upper = (np.stack([getattr(region, side) for region in regions]) for side in ("lower", "upper"))
        return chosen, np.where(chosen > 0, lower, upper)


def _regions(lower: FloatArray, upper: FloatArray) -> list[Region]:
    """Each box around its middle."""
    center = np.clip(lower + 0.5 * (upper - lower), lower, upper)
    return [Region(*sides) for sides in zip(center, lower, upper, strict=True)]


def _rows_alone(goal: Goal) -> tuple[Goal, ...]:
    if len(goal.rows) < 2:
        return ()
    return tuple(Goal(goal.target, goal.rows[j : j + 1], goal.offset[j : j + 1]) for j in range(len(goal.rows)))
