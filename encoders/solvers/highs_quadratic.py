"""A convex quadratic program with squares of single columns, on HiGHS's active set; nothing integer.

A bound is recomputed from the multipliers, as for a linear program, and any multipliers will do. HiGHS's own way to
make a program strictly convex is off: with it, one program in forty failed or went round in circles; without, none.
"""

from __future__ import annotations

import highspy
import numpy as np
from scipy import sparse

from encoders.arrays import FloatArray
from encoders.solvers.base import Status
from encoders.solvers.highs_linear import LinearAnswer, solve_linear
from encoders.solvers.highs_native import instance, pass_arrays, status_of

TRIANGULAR = 1  # HiGHS's number for a lower triangle by columns
STEPS = 20  # of the active set for each row and column, far more than any program took that ended


def solve_quadratic(
    squares: FloatArray,
    matrix: sparse.csr_array,
    row_lower: FloatArray,
    column_lower: FloatArray,
    column_upper: FloatArray,
    *,
    time_limit: float | None = None,
) -> LinearAnswer:
    """Minimise  Σ squares·x² / 2  (squares ≥ 0) over A x ≥ row_lower in the column box.

    The answer reads as that of `solve_linear`: duals where it is OPTIMAL, and a Farkas ray where it is INFEASIBLE.
    """
    rows, columns = matrix.shape
    none, row_upper = np.zeros(columns), np.full(rows, np.inf)
    options: dict[str, object] = {"qp_regularization_value": 0.0, "qp_iteration_limit": STEPS * (rows + columns)}
    if time_limit is not None:
        options["time_limit"] = max(0.0, float(time_limit))
    highs = instance(options)
    pass_arrays(highs, none, matrix, row_lower, row_upper, column_lower, column_upper)
    curved = np.flatnonzero(squares)
    starts = np.searchsorted(curved, np.arange(columns)).astype(np.int32)
    status = highs.passHessian(columns, curved.size, TRIANGULAR, starts, curved.astype(np.int32), squares[curved])
    if status == highspy.HighsStatus.kError or highs.run() == highspy.HighsStatus.kError:
        return LinearAnswer(Status.FAILED)
    ended = status_of(highs)
    if ended is Status.INFEASIBLE:
        return solve_linear(none, matrix, row_lower, row_upper, column_lower, column_upper, time_limit=time_limit)
    if ended is not Status.OPTIMAL:
        return LinearAnswer(ended)
    solution = highs.getSolution()
    point = np.array(solution.col_value, dtype=np.float64)
    duals = np.array(solution.row_dual, dtype=np.float64)
    return LinearAnswer(ended, point, duals, float(squares @ point**2) / 2.0)
