"""Linear constraints on the input: A x ≤ b, row by row, decided without rounding."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoders.arrays import FloatArray, InputType, digest
from encoders.errors import OptionError

UNIT_ROUNDOFF = 2.0**-53
UNDERFLOW = 2.0**-1000  # more than products below the normal numbers can lose together


@dataclass(frozen=True, eq=False)
class InputConstraints:
    """`matrix` · x ≤ `bound`: [m, n] and [m]; the numbers are what they are in float64."""

    matrix: FloatArray
    bound: FloatArray

    def __post_init__(self) -> None:
        matrix, bound = np.asarray(self.matrix, dtype=np.float64), np.asarray(self.bound, dtype=np.float64)
        if matrix.ndim != 2 or bound.ndim != 1 or len(matrix) != len(bound) or not len(bound):
            raise OptionError(
                f"constraints: give a matrix A [m, n] and a bound b [m] of A x ≤ b; these are {np.shape(self.matrix)} "
                f"and {np.shape(self.bound)}"
            )
        if not (np.isfinite(matrix).all() and np.isfinite(bound).all()):
            raise OptionError("constraints: A and b hold NaN or infinite values")
        object.__setattr__(self, "matrix", matrix)
        object.__setattr__(self, "bound", bound)

    @property
    def count(self) -> int:
        return len(self.bound)

    @property
    def digest(self) -> str:
        """What records say of them."""
        return digest(self.matrix, self.bound)

    def values(self, inputs: NDArray[Any]) -> FloatArray:
        """A x - b of inputs [B, n], with the sign that it has without rounding."""
        points = np.asarray(inputs, dtype=np.float64)
        found = points @ self.matrix.T - self.bound
        terms = self.matrix.shape[1] + 2
        error = UNDERFLOW + 2.0 * terms * UNIT_ROUNDOFF * (np.abs(points) @ np.abs(self.matrix).T + np.abs(self.bound))
        for sample, row in np.argwhere(~(np.abs(found) > error)):
            found[sample, row] = self._exactly(points[sample], int(row))
        return np.asarray(found)

    def rounded_by(self, sizes: FloatArray, kind: InputType) -> FloatArray:
        """How far rounding an input of such sizes to `kind` moves each row, as a rule; it proves nothing."""
        each = float(np.finfo(kind).eps) * (sizes + sizes.max(initial=0.0))
        return np.asarray(np.sqrt(np.square(self.matrix * each).sum(axis=1)) + 2.0**-50 * np.abs(self.bound))

    def _exactly(self, point: FloatArray, row: int) -> float:
        used = np.flatnonzero(self.matrix[row])
        terms = [Fraction(float(self.matrix[row, k])) * Fraction(float(point[k])) for k in used]
        value = sum(terms, -Fraction(float(self.bound[row])))
        return 0.0 if value == 0 else float(np.copysign(max(abs(float(value)), 1e-300), 1.0 if value > 0 else -1.0))


def checked_constraints(given: Any) -> InputConstraints:
    """Constraints, or a pair (A, b) as constraints."""
    if isinstance(given, InputConstraints):
        return given
    try:
        matrix, bound = (np.asarray(part, dtype=np.float64) for part in given)
    except (TypeError, ValueError):
        raise OptionError("constraints: give a pair of a matrix A [m, n] and a bound b [m], for A x ≤ b") from None
    return InputConstraints(matrix, bound)


def checked_scale(given: Any) -> FloatArray:
    """A positive number for each input, the unit that its moves are counted in: flat, but for those of an image, whose
    shape says where its channels are."""
    try:
        scale = np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError):
        raise OptionError("scale: give a positive number for each input") from None
    if not scale.size or not (np.isfinite(scale) & (scale > 0)).all():
        raise OptionError("scale: give a positive number for each input; where one may not move, use a mask")
    if scale.max() / scale.min() > 1e12:
        raise OptionError("scale: units that differ by more than 1e12 leave what float64 can tell apart")
    return scale if scale.ndim > 2 else scale.reshape(-1)
