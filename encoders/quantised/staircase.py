"""Staircases in integers: the whole numbers just above a line with a rational slope.

Rounding makes such staircases: thresholds of levels, levels of grid steps. Where p, q > 0 and r are found with

    0 ≤ q·y - p·x - r < q        for every x of a range, that is  y = ⌈(p·x + r) / q⌉,

a whole number s has reached y at x exactly if q·s ≥ p·x + r. Small q almost always do.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from encoders.arrays import IntArray

LARGEST_Q = 512


@dataclass(frozen=True)
class Line:
    """y = ⌈(p·x + r) / q⌉."""

    p: int
    q: int
    r: int


def digital_line(y: IntArray, first: int) -> Line | None:
    """The line with the smallest q through y at first, first + 1, …; None where no small one has them all."""
    count = len(y)
    if count == 1:
        return Line(1, 1, int(y[0]) - first)
    x = np.arange(first, first + count)
    rise = (int(y[-1]) - int(y[0])) / (count - 1)
    for q in range(1, LARGEST_Q + 1):
        for p in {max(1, int(np.floor(q * rise)) + k) for k in (-1, 0, 1, 2)}:
            rest = q * y - p * x
            if int(rest.max()) - q < int(rest.min()):
                return Line(p, q, int(rest.min()))
    return None
