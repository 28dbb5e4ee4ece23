"""Inputs that are integers: the levels k/n that each input of one sample may take, and the distances between them.

Everything is counted in *steps* away from the sample, so that a distance on the grid is an integer measure:

    L∞: the most steps of any input      L1: all steps together      L2: the sum of their squares      L0: inputs moved

whose length is measure/n, measure/n, √measure/n, measure. Two proven facts about a measure either leave a gap of a
whole level or meet exactly: no tolerance is involved.

A level's value is what an image reader makes of it: the float32 number nearest to k/n, and for the sample's own level
the sample itself, to the bit. `error` bounds what that differs from whole steps.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from encoders.errors import DataError, OptionError
from encoders.linear_maps import FloatArray, IntArray
from encoders.question import Norm, Region

FINEST = 65536  # levels per unit
HALF_ULP = 2.0**-24  # float32, relative
OFF_GRID = 2.0**-22  # how far a sample's entry may be from its level, relative to max(1, |entry|)
SLACK = 1e-12  # relative; more than the float64 rounding of any formula here


def check_levels(n: int) -> None:
    """Refuse a number of levels that means nothing."""
    if isinstance(n, bool) or not isinstance(n, int | np.integer) or not 1 <= n <= FINEST:
        raise OptionError(f"grid {n}: give a whole number of levels per unit, 1 to {FINEST} (255 for 8-bit images)")


@dataclass(frozen=True, eq=False)
class Grid:
    """The grid around one sample: input i may move by down[i] ≤ t ≤ up[i] whole steps of 1/n. Flat arrays."""

    norm: Norm
    n: int
    center: FloatArray
    home: IntArray
    down: IntArray
    up: IntArray
    error: FloatArray  # |value(t) - center - t/n| is at most this; 0 for an input that may not move

    @classmethod
    def of(cls, region: Region, norm: Norm, n: int) -> Grid:
        """The levels inside the region; refuses a sample that lies between two of them."""
        check_levels(n)
        free = region.upper > region.lower
        center = region.center
        home = np.rint(center * n)
        size = np.maximum(1.0, np.maximum(np.abs(region.lower), np.abs(region.upper)))
        if (np.abs(home) >= 2.0**31).any() or (size[free] * OFF_GRID * n > 0.25).any():
            raise OptionError(f"grid {n}: its levels are finer than float32 inputs of this size; give a smaller number")
        off = np.flatnonzero(free & (np.abs(center - home / n) > OFF_GRID * np.maximum(1.0, np.abs(center))))
        if off.size:
            worst = int(off[0])
            raise DataError(
                f"the sample is not on the grid: its entry {worst} is {center[worst]:.9g}, which is no multiple of "
                f"1/{n} ({off.size} such entries); choose the --grid that its values come from, or mask them"
            )
        # Rounded inward; then levels whose float32 value is still outside are given up.
        low, high = np.ceil(region.lower * n - 0.5), np.floor(region.upper * n + 0.5)
        low = np.where(_rounded(low / n) < region.lower, low + 1, low)
        high = np.where(_rounded(high / n) > region.upper, high - 1, high)
        down = np.where(free, np.minimum(low - home, 0), 0).astype(np.int64)
        up = np.where(free, np.maximum(high - home, 0), 0).astype(np.int64)
        most = np.maximum(np.abs(home + down), np.abs(home + up)) / n
        exact = n & (n - 1) == 0 and bool((most * n < 2.0**24).all())
        spread = np.abs(center - home / n) + (0.0 if exact else 1.0) * (HALF_ULP * most + 2.0**-140)
        error = np.where(free, spread * (1.0 + 1e-9) + (0.0 if exact else 2.0**-50 * most), 0.0)
        return cls(norm, int(n), center, home.astype(np.int64), down, up, error)

    def values(self, steps: IntArray) -> NDArray[np.float32]:
        """The inputs [..., inputs] that lie so many steps from the sample."""
        moved = _rounded((self.home + steps) / self.n)
        return np.where(steps == 0, self.center, moved).astype(np.float32)

    def corner(self, steps: IntArray) -> FloatArray:
        """The same in float64."""
        return self.values(steps).astype(np.float64)

    def proven(self, measure: int) -> float:
        """The lower bound to report once every adversary is known to have at least this measure."""
        return float("inf") if measure > self.reach else self.length(measure)

    def nearest(self, points: FloatArray) -> IntArray:
        """The steps of the levels nearest to points [..., inputs], inside the box."""
        steps = np.rint(np.asarray(points) * self.n) - self.home
        return np.clip(steps, self.down, self.up).astype(np.int64)

    def measure(self, steps: IntArray) -> IntArray:
        """The integer measure of steps [..., inputs]."""
        size = np.abs(steps)
        if self.norm is Norm.LINF:
            return np.asarray(size.max(axis=-1, initial=0))
        if self.norm is Norm.L1:
            return np.asarray(size.sum(axis=-1))
        if self.norm is Norm.L0:
            return np.asarray((size > 0).sum(axis=-1))
        return np.asarray((size * size).sum(axis=-1))

    @property
    def reach(self) -> int:
        """The largest measure of any point of the grid."""
        return int(self.measure(np.maximum(self.up, -self.down)))

    def length(self, measure: int) -> float:
        """The distance that a measure stands for: equal measures give equal numbers, greater ones greater."""
        if self.norm is Norm.L0:
            return float(measure)
        if self.norm is Norm.L2:
            return float(np.sqrt(float(measure))) / self.n
        return measure / self.n

    def within(self, radius: float) -> int:
        """The greatest measure whose length is at most `radius`; -1 if not even 0 is."""
        radius = min(radius, self.length(self.reach))
        guess = {Norm.L2: (radius * self.n) ** 2, Norm.L0: radius}.get(self.norm, radius * self.n)
        measure = min(int(guess) + 2, self.reach)
        while measure >= 0 and self.length(measure) > radius:
            measure -= 1
        return measure

    def reached(self, lower: float) -> int:
        """The least measure that a point of the grid can have whose real distance is at least `lower`.

        Its real distance is at most length(measure) + drift, so n·(lower - drift) steps must be there; measures are
        whole, so what is not whole is rounded up, after a relative slack larger than the rounding of this formula.
        """
        if lower <= 0.0:
            return 0
        if not np.isfinite(lower):
            return self.reach + 1
        steps = lower - self.drift if self.norm is Norm.L0 else self.n * (lower - self.drift)
        if self.norm is Norm.L2:
            steps = max(0.0, steps - SLACK * (1.0 + abs(steps))) ** 2
        least = int(np.ceil(steps - SLACK * (1.0 + abs(steps))))
        return min(max(least, 0), self.reach + 1)

    def beyond(self, measure: int) -> float:
        """A real distance that proves `measure` when reached: nothing of a smaller measure is so far away."""
        if measure <= 0:
            return 0.0
        length = self.length(measure - 1)
        if self.norm is Norm.L2:  # a little more of the square, since that is what is rounded up
            length = float(np.sqrt((measure - 1) + 1e-7 * measure)) / self.n
        return length + self.drift + 1e-9 * max(1.0, length)

    @property
    def drift(self) -> float:
        """The most by which a point's real distance can differ from the length of its measure."""
        if self.norm is Norm.L0:
            return 0.0
        return float(self.norm.length(self.error)) * (1.0 + 1e-9)


def _rounded(values: FloatArray) -> FloatArray:
    return np.asarray(values, dtype=np.float32).astype(np.float64)
