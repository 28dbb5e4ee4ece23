"""The point nearest in L2 that satisfies linear inequalities: a convex quadratic program with a closed dual.

    min ‖d‖₂  subject to  A d ≥ b      ⇔      min ‖[A b]ᵀ u - e‖₂ over u ≥ 0,  e the last unit vector,

(Lawson & Hanson's least distance programming): with the residual r of the right side, d = -r[:n] / r[n], and u / ‖r‖²
are the multipliers; r = 0 means that there is no such d, and u proves it. scipy solves it by active sets. Nothing here
is believed by whoever proves with it: the multipliers are turned into a bound of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls

from encoders.arrays import FloatArray

EMPTY = 1e-9  # a residual this small, of a target of length one: no point satisfies the rows
BROKEN = 1e-9  # of the scale: how far a point may pass a side of the box unnoticed
MOST_ROUNDS = 60


@dataclass(frozen=True, eq=False)
class NearestPoint:
    """`point` and its `multipliers` where there is one; where there is none, `point` is None and they are the proof."""

    point: FloatArray | None
    multipliers: FloatArray


def nearest_euclidean(rows: FloatArray, least: FloatArray, low: FloatArray, high: FloatArray) -> NearestPoint | None:
    """min ‖d‖₂ with rows · d ≥ least and low ≤ d ≤ high (low ≤ 0 ≤ high); None where scipy gives up.

    Sides of the box become rows when a point breaks them: few ever matter. Multipliers are those of `rows` alone.
    """
    count, size = rows.shape
    if not count:  # nnls corrupts memory where there is nothing to solve for
        return NearestPoint(np.zeros(size), np.zeros(0))
    length = np.linalg.norm(rows, axis=1)
    length = np.where((length > 0) & np.isfinite(length), length, 1.0)
    rows, least = rows / length[:, None], least / length
    unit = max(float(np.abs(least).max(initial=0.0)), 1e-300)
    least, low, high = least / unit, low / unit, high / unit
    sides: list[tuple[int, float]] = []  # (entry, sign): sign · d[entry] ≥ its side
    for _ in range(MOST_ROUNDS):
        matrix, wanted = rows, least
        if sides:
            box = np.zeros((len(sides), size))
            box[np.arange(len(sides)), [entry for entry, _ in sides]] = [sign for _, sign in sides]
            matrix = np.concatenate([rows, box])
            wanted = np.concatenate([least, [low[k] if sign > 0 else -high[k] for k, sign in sides]])
        system = np.concatenate([matrix.T, wanted[None]])
        aim = np.zeros(size + 1)
        aim[size] = 1.0
        try:
            weights, _ = nnls(system, aim, maxiter=10 * system.shape[1] + 100)
        except (RuntimeError, ValueError, np.linalg.LinAlgError):
            return None
        residual = system @ weights - aim
        square = float(residual @ residual)
        if square <= EMPTY**2:
            return NearestPoint(None, weights[:count] / length)
        point = residual[:size] / square
        broken = [(int(k), 1.0) for k in np.flatnonzero(point < low - BROKEN)]
        broken += [(int(k), -1.0) for k in np.flatnonzero(point > high + BROKEN)]
        new = [side for side in broken if side not in sides]
        if not new:
            return NearestPoint(np.clip(point, low, high) * unit, weights[:count] / square / length * unit)
        sides += new
    return None
