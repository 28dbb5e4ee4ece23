"""A change of one output: an adversary moves it by more than some D away from what the file gives for the sample."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from encoders.arrays import FloatArray
from encoders.question import Goal

EITHER, UP, DOWN = "either", "up", "down"
DIRECTIONS = (EITHER, UP, DOWN)


@dataclass(frozen=True)
class OutputChange:
    """An input is an adversary where `output` is above `most` or below `least`; a side not asked about is infinite.

    The limits are before + D and before - D rounded to float64, where `before` is the number that the file replays at
    the sample. Both sides of an answer pay for that rounding. No number lies between a limit and its rounding, so that
    a replayed output strictly beyond the one is beyond the other; proofs are about limits that are one number nearer.
    """

    output: int
    before: float
    least: float
    most: float

    @classmethod
    def around(cls, output: int, before: float, size: float, direction: str = EITHER) -> OutputChange:
        """More than `size` away from `before`, in one direction or in either."""
        least = before - size if direction != UP else -float("inf")
        most = before + size if direction != DOWN else float("inf")
        return cls(output, before, least, most)

    def goals(self, classes: int) -> tuple[Goal, ...]:
        """A goal for each direction: the output reaches its limit."""
        row = np.eye(classes)[self.output, None]
        up = Goal(self.output, -row, np.nextafter([self.most], -np.inf))
        down = Goal(self.output, row, -np.nextafter([self.least], np.inf))
        return tuple(goal for goal, limit in ((up, self.most), (down, self.least)) if np.isfinite(limit))

    def beyond(self, scores: FloatArray) -> NDArray[np.bool_]:
        """Which rows of scores [B, classes] are an adversary's."""
        value = scores[:, self.output]
        return np.asarray((value > self.most) | (value < self.least))
