"""What is asked of a network, as arrays: where the input may move, and what counts as an adversary."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from encoders.arrays import FloatArray, IntArray
from encoders.errors import DataError, OptionError


class Norm(StrEnum):
    """The norms a distance is measured in."""

    LINF = "linf"
    L1 = "l1"
    L2 = "l2"
    L0 = "l0"  # how many inputs differ: no norm, but asked the same way

    def length(self, difference: FloatArray) -> FloatArray:
        """Norm of each row of [..., n], in float64."""
        difference = np.abs(np.asarray(difference, dtype=np.float64))
        if self is Norm.LINF:
            return np.asarray(difference.max(axis=-1, initial=0.0))
        if self is Norm.L1:
            return np.asarray(difference.sum(axis=-1))
        if self is Norm.L0:
            return changed(difference > 0, None).astype(np.float64)
        return np.asarray(np.sqrt(np.square(difference).sum(axis=-1)))


def changed(moved: NDArray[np.bool_], pixels: IntArray | None) -> IntArray:
    """How many inputs of each row [..., n] moved; with `pixels`, the pixel of each input, how many of those."""
    if pixels is None:
        return np.asarray(moved.sum(axis=-1))
    order = np.argsort(pixels, kind="stable")
    starts = np.flatnonzero(np.diff(pixels[order], prepend=-1))
    return np.asarray(np.logical_or.reduceat(moved[..., order], starts, axis=-1).sum(axis=-1))


CONVEX = (Norm.LINF, Norm.L1, Norm.L2)
"""Those with balls: what bounds, attacks and regularisers know. L0 only counts."""


def convex_norm(name: str) -> Norm:
    """The norm of that name, one of CONVEX."""
    if name not in CONVEX:
        raise OptionError(f"norm {name!r}: choose from {', '.join(CONVEX)}")
    return Norm(name)


@dataclass(frozen=True, eq=False)
class Region:
    """The valid box around one sample; an input that may not move has lower = upper = center. Flat arrays.

    `pixels` says which pixel (0, 1, …) each input belongs to, where L0 counts pixels; None where it counts inputs.
    """

    center: FloatArray
    lower: FloatArray
    upper: FloatArray
    pixels: IntArray | None = None

    def __post_init__(self) -> None:
        if not (np.isfinite(self.center).all() and np.isfinite(self.lower).all() and np.isfinite(self.upper).all()):
            raise DataError("the sample or the box holds NaN or infinite values")
        if (self.center < self.lower).any() or (self.center > self.upper).any():
            raise DataError("the sample lies outside the box; give a wider box")

    def reach(self, norm: Norm) -> float:
        """The largest distance from the center to a point of the box."""
        return float(self.length(norm, np.maximum(self.upper - self.center, self.center - self.lower)))

    def length(self, norm: Norm, difference: FloatArray) -> FloatArray:
        """The norm of each row of [..., n]; in L0 the pixels that differ, where those are what counts."""
        if norm is Norm.L0 and self.pixels is not None:
            return changed(np.asarray(difference) != 0, self.pixels).astype(np.float64)
        return norm.length(difference)

    def clipped(self, norm: Norm, radius: float) -> tuple[FloatArray, FloatArray]:
        """The smallest box that holds ball(center, radius) ∩ box, rounded outward.

        An L1 or L2 ball lies inside the L∞ ball of its radius, so that one box serves every norm.
        """
        if norm is Norm.L0 or not np.isfinite(radius):
            return self.lower, self.upper
        low = np.nextafter(self.center - radius, -np.inf)
        high = np.nextafter(self.center + radius, np.inf)
        return np.maximum(self.lower, low), np.minimum(self.upper, high)


@dataclass(frozen=True, eq=False)
class Goal:
    """An input is an adversary of this goal iff  rows · scores(x) + offset ≤ 0  in every row. rows: [J, classes]."""

    target: int
    rows: FloatArray
    offset: FloatArray

    def eased(self, error: FloatArray) -> Goal:
        """The same goal for scores that may be off: a row counts as reached where it is `error` [J] or less above."""
        return Goal(self.target, self.rows, np.nextafter(self.offset - error, -np.inf))


def goals_for(predicted: int, classes: int, targets: tuple[int, ...] | None, margin: float) -> tuple[Goal, ...]:
    """The goals whose union is the question.

    Untargeted: one goal per other class t, with the single row  f_predicted - f_t + margin ≤ 0 (their union is the
    set where some class reaches the predicted one). Targeted: per target t, a row  f_j - f_t + margin ≤ 0  for
    every j ≠ t (t wins).
    """
    identity = np.eye(classes)
    if targets is None:
        others = [t for t in range(classes) if t != predicted]
        return tuple(Goal(t, (identity[predicted] - identity[t])[None], np.array([margin])) for t in others)
    goals = []
    for t in targets:
        rows = np.delete(identity, t, axis=0) - identity[t]
        goals.append(Goal(t, rows, np.full(classes - 1, margin)))
    return tuple(goals)


@dataclass(frozen=True, eq=False)
class NeuronBounds:
    """Sound pre-activation bounds of each ReLU node over the region they were made for: node position → array."""

    lower: dict[int, FloatArray]
    upper: dict[int, FloatArray]

    @property
    def open_phases(self) -> int:
        """How many ReLUs may still be on either side of zero."""
        return sum(int(((self.lower[i] < 0) & (self.upper[i] > 0)).sum()) for i in self.lower)
