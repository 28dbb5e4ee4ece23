"""How much a linear function of input levels can rise within a measure, and which steps an adversary can take.

Input i after t steps has a level u_i(t) from a table; `w·(u(t) - u(0))` is the rise. In L1 and L2 steps compete for
the measure: each side of an input is bounded by the line through its steepest step, so that a knapsack of equal
steps, whose fractional optimum bounds every whole one, bounds them all together. Upper bounds throughout.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt

import numpy as np

from bounds.rounding import gamma
from encoders.arrays import FloatArray, IntArray
from encoders.question import Norm


@dataclass(frozen=True, eq=False)
class LevelBall:
    """Steps down ≤ t ≤ up of all inputs, together of at most `measure`. rises[i, t - first] is u_i(t) - u_i(0)."""

    norm: Norm
    measure: int
    rises: IntArray
    first: int
    down: IntArray
    up: IntArray

    def __post_init__(self) -> None:
        if self.norm is not Norm.L0:
            most = isqrt(self.measure) if self.norm is Norm.L2 else self.measure
            object.__setattr__(self, "down", np.maximum(self.down, -most))
            object.__setattr__(self, "up", np.minimum(self.up, most))

    @property
    def empty(self) -> bool:
        return bool((self.down > self.up).any())

    def most(self, w: FloatArray) -> FloatArray:
        """At least max w·(u(t) - u(0)) over the ball, for each row of w [R, inputs]; rounded up."""
        high, low = self._ends()
        size = np.abs(w) @ np.maximum(np.abs(high), np.abs(low))
        box = np.maximum(w, 0.0) @ high + np.minimum(w, 0.0) @ low
        best = box
        if self.norm is not Norm.LINF:
            best = np.minimum(box, np.array([self._together(row, self.measure)[-1] for row in w]))
        return np.asarray(best + 4.0 * gamma(w.shape[1]) * size)

    def narrowed(self, w: FloatArray, needed: float) -> tuple[IntArray, IntArray]:
        """The steps of points where one row w rises by at least `needed`; down > up somewhere where there are none."""
        high, low = self._ends()
        size = float(np.abs(w) @ np.maximum(np.abs(high), np.abs(low)))
        needed -= 4.0 * gamma(len(w)) * (size + abs(needed))
        steps = np.arange(int(self.down.min(initial=0)), int(self.up.max(initial=0)) + 1)
        gains = w[:, None] * self.rises[:, steps - self.first]
        best = np.maximum(w, 0.0) * high + np.minimum(w, 0.0) * low
        others = np.full(gains.shape, float(best.sum())) - best[:, None]
        if self.norm is Norm.L0:
            left = self._together(w, self.measure)
            others = np.minimum(others, np.where(steps == 0, left[-1], left[max(0, len(left) - 2)])[None])
        elif self.norm is not Norm.LINF:
            left = self._together(w, self.measure)
            cost = steps * steps if self.norm is Norm.L2 else np.abs(steps)
            others = np.minimum(others, left[np.clip(self.measure - cost, 0, len(left) - 1)][None])
        kept = (steps >= self.down[:, None]) & (steps <= self.up[:, None]) & (gains + others >= needed)
        any_, first, last = kept.any(axis=1), kept.argmax(axis=1), kept.shape[1] - 1 - kept[:, ::-1].argmax(axis=1)
        return np.where(any_, steps[first], 1), np.where(any_, steps[last], 0)

    def _ends(self) -> tuple[FloatArray, FloatArray]:
        every = np.arange(len(self.rises))
        high = self.rises[every, self.up - self.first].astype(np.float64)
        return high, self.rises[every, self.down - self.first].astype(np.float64)

    def _together(self, w: FloatArray, measure: int) -> FloatArray:
        """The most that inputs bring with 0, 1, …, `measure` to spend; inputs may stay, whatever their steps."""
        if self.norm is Norm.L0:
            high, low = self._ends()
            gain = np.sort(np.maximum(0.0, np.maximum(w * high, w * low)))[::-1][:measure]
            return _sums(gain)
        steepest, far = self._slopes(w > 0)
        worth, spent = np.abs(w) * steepest, np.arange(measure + 1)
        if self.norm is Norm.L1:
            order = np.argsort(-worth, kind="stable")
            return np.interp(spent, np.concatenate([[0], np.cumsum(far[order])]), _sums((worth * far)[order]))
        input_, step = np.nonzero(np.arange(max(1, int(far.max(initial=0)))) < far[:, None])
        gain, price = worth[input_], 2 * step + 1
        order = np.argsort(-gain / price, kind="stable")
        return np.interp(spent, np.concatenate([[0], np.cumsum(price[order])]), _sums(gain[order]))

    def _slopes(self, rising: np.ndarray) -> tuple[FloatArray, IntArray]:
        """The steepest rise a step on the side that helps, and how many steps there are."""
        far = np.where(rising, np.maximum(self.up, 0), np.maximum(-self.down, 0))
        steps = np.arange(1, max(1, int(far.max(initial=0))) + 1)
        places = np.where(rising[:, None], steps, -steps) - self.first
        places = np.clip(places, 0, self.rises.shape[1] - 1)
        rise = np.abs(np.take_along_axis(self.rises, places, axis=1)) / steps
        return np.where(steps <= far[:, None], rise, 0.0).max(axis=1), far


def _sums(values: FloatArray) -> FloatArray:
    """Running sums of numbers ≥ 0, from 0 on, raised by more than rounding can have lost."""
    return np.concatenate([[0.0], np.cumsum(values) * (1.0 + 4.0 * gamma(len(values)))])
