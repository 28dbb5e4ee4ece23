"""A mixed-integer program as plain arrays: what an encoder writes and every solver reads."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from encoders.arrays import FloatArray, IntArray

# Solvers hold a quadratic row, and close their gap, to 1e-9 of a square of about one: what they say of it is lowered by
# this much, relative to max(1, square).
SQUARE_SLACK = 1e-8


@dataclass(frozen=True, eq=False)
class Program:
    """min unit·costs·v  with  row_lower ≤ matrix·v ≤ row_upper,  column_lower ≤ v ≤ column_upper,  and integers.

    The network's input is  inputs_base + inputs_map·v : an encoder may split an input over columns, or give one that
    cannot move no column at all. `relu_columns` maps a ReLU node's position to the column of each of its neurons
    (-1 where it has none), whose true activation is the column's value times `scale`.

    A `euclidean` program minimises  unit·√(costs·v²)  within the ball  costs·v² ≤ longest² : convex and quadratic, for
    solvers that take such programs with integers.
    """

    costs: FloatArray
    unit: float
    matrix: sparse.csr_array
    row_lower: FloatArray
    row_upper: FloatArray
    column_lower: FloatArray
    column_upper: FloatArray
    integral: NDArray[np.bool_]
    inputs_base: FloatArray
    inputs_map: sparse.csr_array
    relu_columns: dict[int, IntArray]
    scale: FloatArray
    euclidean: bool = False
    longest: float = math.inf

    def __post_init__(self) -> None:
        rows, columns = self.matrix.shape
        sizes = dict.fromkeys(("costs", "column_lower", "column_upper", "integral", "scale"), columns)
        for name, size in (sizes | dict.fromkeys(("row_lower", "row_upper"), rows)).items():
            if getattr(self, name).shape != (size,):
                raise ValueError(f"{name} has shape {getattr(self, name).shape}, the matrix asks for ({size},)")
        if not 0 < self.unit < np.inf:
            raise ValueError(f"the unit {self.unit} is not a positive number")
        if not self.longest >= 0 or (self.longest < math.inf and not self.euclidean):
            raise ValueError(f"the ball's radius {self.longest} is no length, or the program has no ball")
        if self.euclidean and (self.costs < 0).any():
            raise ValueError("the costs of squares must not be negative")
        for name in ("costs", "scale", "inputs_base"):
            if not np.isfinite(getattr(self, name)).all():
                raise ValueError(f"{name} holds NaN or infinite values")
        if not np.isfinite(self.matrix.data).all() or np.isnan(self.row_lower).any() or np.isnan(self.row_upper).any():
            raise ValueError("the rows hold NaN or infinite coefficients")
        if np.isnan(self.column_lower).any() or np.isnan(self.column_upper).any():
            raise ValueError("the column bounds hold NaN")

    @property
    def rows(self) -> int:
        return int(self.matrix.shape[0])

    @property
    def columns(self) -> int:
        return int(self.matrix.shape[1])

    @property
    def binaries(self) -> int:
        return int(self.integral.sum())

    def inputs(self, point: FloatArray) -> FloatArray:
        """The network input that a point of the program stands for."""
        return np.asarray(self.inputs_base + self.inputs_map @ point)

    def objective(self, point: FloatArray) -> float:
        return float(self.unit * (math.sqrt(self.costs @ point**2) if self.euclidean else self.costs @ point))

    def length_below(self, square: float) -> float:
        """What a solver's lower bound on costs·v² proves of the objective: less its tolerances, rounded down."""
        if not math.isfinite(square):
            return square
        return max(0.0, float(np.nextafter(self.unit * root_below(square - SQUARE_SLACK * max(1.0, square)), 0.0)))

    def below(self, cutoff: float) -> Program:
        """The same program, restricted to objectives of at most `cutoff`."""
        if not np.isfinite(cutoff):
            return self
        most = cutoff / self.unit
        if self.euclidean:
            return replace(self, longest=max(0.0, min(self.longest, most)))
        costly = np.flatnonzero(self.costs)
        if costly.size == 1 and self.costs[costly[0]] > 0:  # a column's own bound is stronger than a row
            upper = self.column_upper.copy()
            upper[costly] = np.minimum(upper[costly], most / self.costs[costly])
            return replace(self, column_upper=upper)
        return replace(
            self,
            matrix=sparse.csr_array(sparse.vstack([self.matrix, sparse.csr_array(self.costs[None])], format="csr")),
            row_lower=np.append(self.row_lower, -np.inf),
            row_upper=np.append(self.row_upper, most),
        )

    def violation(self, point: FloatArray) -> float:
        """The most by which a point misses a row, a column bound or an integer."""
        values = self.matrix @ point
        misses = (
            self.row_lower - values,
            values - self.row_upper,
            self.column_lower - point,
            point - self.column_upper,
            np.abs(point - np.round(point))[self.integral],
            np.array([self.objective(point) / self.unit - self.longest]) if self.euclidean else np.zeros(0),
        )
        return max(0.0, *(float(m.max(initial=0.0)) for m in misses))


def root_below(square: float) -> float:
    """The root of a number, rounded down: its square is never above the number. 0 for what is negative."""
    return float(np.nextafter(math.sqrt(square), 0.0)) if square > 0 else 0.0
