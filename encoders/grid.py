"""Inputs that are integers: the levels that each input of one sample may take, and the distances between them.

Input i takes the multiples of 1/N_i and moves in *steps* of that size. With n the least number that all N_i divide, a
step is worth stride_i = n/N_i units of 1/n, so that a distance on the grid is an integer measure, counted in units:

    L∞: the most of any input      L1: all together      L2: the sum of their squares      L0: inputs (or pixels) moved

whose length is measure/n, measure/n, √measure/n, measure. Two proven facts about a measure either leave a gap of a
whole level or meet exactly: no tolerance is involved. Where strides differ, not every number is the measure of a point:
bounds are rounded up to the next that can be.

A level's value is what an image reader makes of it: the float32 number nearest to k/n, and for the sample's own level
the sample itself, to the bit. `error` bounds what that differs from whole steps.
"""

from __future__ import annotations

import reprlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from encoders.arrays import FloatArray, IntArray
from encoders.errors import DataError, OptionError
from encoders.question import Norm, Region, changed

FINEST = 65536  # levels per unit, of all inputs together
TABLED = 65536  # measures up to this are known to be taken by a point or not; beyond, all are thought to be
HALF_ULP = 2.0**-24  # float32, relative
OFF_GRID = 2.0**-22  # how far a sample's entry may be from its level, relative to max(1, |entry|)
SLACK = 1e-12  # relative; more than the float64 rounding of any formula here


def check_levels(n: int) -> None:
    """Refuse a number of levels that means nothing."""
    if isinstance(n, bool) or not isinstance(n, int | np.integer) or not 1 <= n <= FINEST:
        raise OptionError(f"grid {n}: give a whole number of levels per unit, 1 to {FINEST} (255 for 8-bit images)")


def checked_grid(levels: int | ArrayLike | None) -> int | IntArray | None:
    """Levels per unit as asked for, one number or an array of them, or refused; 0 in an array: none."""
    if levels is None or isinstance(levels, int | np.integer):
        if levels is not None:
            check_levels(int(levels) if not isinstance(levels, bool) else levels)
        return levels if levels is None else int(levels)
    array = np.asarray(levels)
    if array.dtype.kind not in "ui" or not array.size or (array < 0).any() or (array > FINEST).any():
        given = " ".join(reprlib.repr(levels).split())
        raise OptionError(
            f"grid {given}: give whole numbers of levels per unit, 1 to {FINEST}, or 0 where nothing may move"
        )
    return array.astype(np.int64)


def common_levels(levels: IntArray) -> int:
    """The least number that all of these (at least 1 each) divide; refuses one beyond the finest grid."""
    common = int(np.lcm.reduce(np.unique(levels).astype(object), initial=1))
    if common > FINEST:
        few = ", ".join([*map(str, np.unique(levels)[:5]), *["…"] * (np.unique(levels).size > 5)])
        raise OptionError(
            f"grid: the levels of all inputs must divide one number up to {FINEST}; {few} "
            f"first meet in {common}; give numbers with more factors in common"
        )
    return common


@dataclass(frozen=True, eq=False)
class Grid:
    """The grid around one sample: input i may move by down[i] ≤ t ≤ up[i] of its own steps. Flat arrays."""

    norm: Norm
    n: int
    stride: IntArray  # a step of input i is stride[i]/n
    center: FloatArray
    home: IntArray
    down: IntArray
    up: IntArray
    error: FloatArray  # |value(t) - center - t · stride/n| is at most this; 0 for an input that may not move
    pixels: IntArray | None = None

    @classmethod
    def of(cls, region: Region, norm: Norm, levels: int | IntArray) -> Grid:
        """The levels inside the region; refuses a sample that lies between two of them.

        `levels` per unit: of all inputs, or an array with the number of each. Inputs that may not move need none.
        """
        free = region.upper > region.lower
        center = region.center
        if not isinstance(levels, np.ndarray):
            check_levels(levels)
            levels = np.full(center.size, levels)
        if levels.size != center.size:
            raise OptionError(f"grid: {levels.size} numbers of levels do not fit the model's {center.size} inputs")
        without = np.flatnonzero(free & (levels.reshape(-1) < 1))
        if without.size:
            raise OptionError(
                f"grid: input {int(without[0])} may move and has no levels ({without.size} such inputs); mask them, or "
                f"give each a number from 1 to {FINEST}"
            )
        number = np.where(free, levels.reshape(-1), 1).astype(np.int64)
        common = common_levels(number)
        home = np.rint(center * number)
        size = np.maximum(1.0, np.maximum(np.abs(region.lower), np.abs(region.upper)))
        if (np.abs(home) * (common // number) >= 2.0**31).any() or (size[free] * OFF_GRID * number[free] > 0.25).any():
            raise OptionError(
                f"grid {common}: its levels are finer than float32 inputs of this size; give a smaller number"
            )
        off = np.flatnonzero(free & (np.abs(center - home / number) > OFF_GRID * np.maximum(1.0, np.abs(center))))
        if off.size:
            worst = int(off[0])
            raise DataError(
                f"the sample is not on the grid: its entry {worst} is {center[worst]:.9g}, which is no multiple of "
                f"1/{int(number[worst])} ({off.size} such entries); choose the grid that its values come from, or "
                f"mask them"
            )
        # Rounded inward; then levels whose float32 value is still outside are given up.
        low, high = np.ceil(region.lower * number - 0.5), np.floor(region.upper * number + 0.5)
        low = np.where(_rounded(low / number) < region.lower, low + 1, low)
        high = np.where(_rounded(high / number) > region.upper, high - 1, high)
        down = np.where(free, np.minimum(low - home, 0), 0).astype(np.int64)
        up = np.where(free, np.maximum(high - home, 0), 0).astype(np.int64)
        farthest = np.maximum(np.abs(home + down), np.abs(home + up))
        most = farthest / number
        _check_reach(norm, np.maximum(up, -down), common // number)
        exact = (number & (number - 1) == 0) & (farthest < 2.0**24)
        spread = np.abs(center - home / number) + np.where(exact, 0.0, HALF_ULP * most + 2.0**-140)
        error = np.where(free, spread * (1.0 + 1e-9) + np.where(exact, 0.0, 2.0**-50 * most), 0.0)
        return cls(norm, common, common // number, center, home.astype(np.int64), down, up, error, region.pixels)

    @cached_property
    def levels(self) -> IntArray:
        """The number of levels per unit of each input."""
        return self.n // self.stride

    def values(self, steps: IntArray) -> NDArray[np.float32]:
        """The inputs [..., inputs] that lie so many steps from the sample."""
        moved = _rounded((self.home + steps) / self.levels)
        return np.where(steps == 0, self.center, moved).astype(np.float32)

    def corner(self, steps: IntArray) -> FloatArray:
        """The same in float64."""
        return self.values(steps).astype(np.float64)

    def proven(self, measure: int) -> float:
        """The lower bound to report once every adversary is known to have at least this measure."""
        return float("inf") if measure > self.reach else self.length(self.taken(measure))

    def nearest(self, points: FloatArray) -> IntArray:
        """The steps of the levels nearest to points [..., inputs], inside the box."""
        steps = np.rint(np.asarray(points) * self.levels) - self.home
        return np.clip(steps, self.down, self.up).astype(np.int64)

    def measure(self, steps: IntArray) -> IntArray:
        """The integer measure of steps [..., inputs]."""
        if self.norm is Norm.L0:
            return changed(np.asarray(steps) != 0, self.pixels)
        size = np.abs(steps) * self.stride
        if self.norm is Norm.LINF:
            return np.asarray(size.max(axis=-1, initial=0))
        if self.norm is Norm.L1:
            return np.asarray(size.sum(axis=-1))
        return np.asarray((size * size).sum(axis=-1))

    def taken(self, measure: int) -> int:
        """The least number, at least this, that can be the measure of a point."""
        place = int(np.searchsorted(self._measures, measure))
        return int(self._measures[place]) if place < len(self._measures) else measure

    def taken_before(self, measure: int) -> int:
        """The greatest number below this (which is above 0) that can be the measure of a point."""
        place = int(np.searchsorted(self._measures, measure))
        return int(self._measures[place - 1]) if place < len(self._measures) else measure - 1

    @cached_property
    def _measures(self) -> IntArray:
        """All numbers up to TABLED that sums of whole steps can make, in order; empty where that is all of them."""
        strides = np.unique(self.stride[self.up > self.down]).tolist()
        if self.norm is Norm.L0 or not strides or strides[0] == 1:
            return np.zeros(0, dtype=np.int64)
        if self.norm is Norm.LINF:
            marks: IntArray = np.unique(np.concatenate([np.arange(0, TABLED + 1, s) for s in strides]))
            return marks
        power = 2 if self.norm is Norm.L2 else 1
        bits, kept = 1, (1 << (TABLED + 1)) - 1
        for worth in sorted({(s * t) ** power for s in strides for t in _counts(s, power)}):
            shift = worth
            while shift <= TABLED:  # once, twice, four times more, …: any number of times
                bits |= (bits << shift) & kept
                shift *= 2
        flags = np.unpackbits(np.frombuffer(bits.to_bytes(TABLED // 8 + 1, "little"), np.uint8), bitorder="little")
        return np.flatnonzero(flags)

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
        steps = lower if self.norm is Norm.L0 else self.n * (lower - self.drift)
        if self.norm is Norm.L2:
            steps = max(0.0, steps - SLACK * (1.0 + abs(steps))) ** 2
        least = max(0, int(np.ceil(steps - SLACK * (1.0 + abs(steps)))))
        return min(self.taken(least), self.reach + 1)

    def beyond(self, measure: int) -> float:
        """A real distance that proves `measure` when reached: nothing of a smaller measure is so far away."""
        if measure <= 0:
            return 0.0
        before = self.taken_before(measure)
        length = self.length(before)
        if self.norm is Norm.L2:  # a little more of the square, since that is what is rounded up
            length = float(np.sqrt(before + 1e-7 * (before + 1))) / self.n
        return length + self.drift + 1e-9 * max(1.0, length)

    @property
    def drift(self) -> float:
        """The most by which a point's real distance can differ from the length of its measure."""
        if self.norm is Norm.L0:
            return 0.0
        return float(self.norm.length(self.error)) * (1.0 + 1e-9)


def _counts(stride: int, power: int) -> Sequence[int]:
    """How many steps of an input matter for the table: in L1 one more step is one more stride."""
    return range(1, 2 if power == 1 else int(TABLED**0.5) // stride + 1)


def _rounded(values: FloatArray) -> FloatArray:
    return np.asarray(values, dtype=np.float32).astype(np.float64)


def _check_reach(norm: Norm, steps: IntArray, stride: IntArray) -> None:
    """Measures are kept in 64 bits, and as float64 numbers that tell them apart."""
    units = [int(t) * int(s) for t, s in zip(steps.tolist(), stride.tolist(), strict=True)]
    reach = sum(u * u for u in units) if norm is Norm.L2 else sum(units)
    if reach >= 2**53:
        raise OptionError(
            f"grid: its farthest point is {reach} units away in {norm}, past 2^53; give fewer levels or a smaller box"
        )
