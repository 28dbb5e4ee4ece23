"""The least values of many functions over one linear program, each recomputed from its multipliers.

HiGHS starts each program from the basis that the one before ended in: the rows stay, only the costs change. Nothing
that it says is believed. For any multipliers y of the rows, of either sign,

    f·v ≥ Σ y⁺·row_lower - Σ y⁻·row_upper + min over the column box of (f - Aᵀy)·v,

and that, less its rounding, is what counts; y = 0 where a program failed, or where time was up before it.
"""

from __future__ import annotations

from typing import Any

import highspy
import numpy as np
from scipy import sparse

from encoders.arrays import FloatArray
from encoders.deadline import out_of_time
from encoders.programs.mixed_integer_program import Program
from encoders.solvers.base import Status
from encoders.solvers.highs_native import instance, pass_arrays, status_of

ROUNDING = 4.0 * float(np.finfo(np.float64).eps)  # of each term of a sum, its product and its part of the sum


def least_values(program: Program, functions: sparse.csr_array) -> FloatArray:
    """A lower bound of each row of `functions` over the program's points, whose integers may be any numbers."""
    highs = instance({"solver": "simplex", "simplex_strategy": 1, "presolve": "off"})
    pass_arrays(
        highs, np.zeros(program.columns), program.matrix, program.row_lower, program.row_upper,
        program.column_lower, program.column_upper,
    )  # fmt: skip
    multipliers = np.zeros((functions.shape[0], program.rows))
    for k in range(functions.shape[0]):
        if out_of_time():
            break
        entries = slice(functions.indptr[k], functions.indptr[k + 1])
        multipliers[k] = _row_duals(highs, functions.indices[entries], functions.data[entries], program.rows)
    return lower_bounds(program, functions, multipliers)


def _row_duals(highs: Any, columns: Any, costs: FloatArray, rows: int) -> FloatArray:
    """The duals of the program with these costs, which are taken away again; zeros where it has no optimum."""
    chosen = columns.astype(np.int32)
    highs.changeColsCost(len(chosen), chosen, costs)
    ran = highs.run() != highspy.HighsStatus.kError
    found = ran and status_of(highs) is Status.OPTIMAL
    duals = np.array(highs.getSolution().row_dual, dtype=np.float64) if found else np.zeros(rows)
    highs.changeColsCost(len(chosen), chosen, np.zeros(len(chosen)))
    return duals if np.isfinite(duals).all() else np.zeros(rows)


def lower_bounds(program: Program, functions: sparse.csr_array, multipliers: FloatArray) -> FloatArray:
    """What multipliers [K, rows] of the rows, any at all, prove of each function; rounding is paid for."""
    up = np.where(np.isfinite(program.row_lower), np.maximum(multipliers, 0.0), 0.0)
    down = np.where(np.isfinite(program.row_upper), np.maximum(-multipliers, 0.0), 0.0)
    lower, upper = (np.where(np.isfinite(side), side, 0.0) for side in (program.row_lower, program.row_upper))
    left = functions.toarray() - (up - down) @ program.matrix
    sizes = abs(functions).toarray() + (up + down) @ abs(program.matrix)
    farthest = np.maximum(np.abs(program.column_lower), np.abs(program.column_upper))
    with np.errstate(invalid="ignore", over="ignore"):
        # A column without an end: nothing is proven by multipliers that leave a part of it.
        box = np.where(left > 0, left * program.column_lower, left * program.column_upper)
        box, reach = np.where(left == 0, 0.0, box), np.where(sizes == 0, 0.0, sizes * farthest)
        lost = up @ np.abs(lower) + down @ np.abs(upper) + reach.sum(axis=1)
        found = up @ lower - down @ upper + box.sum(axis=1)
        found = found - (program.rows + program.columns + 8) * ROUNDING * lost
    return np.where(np.isnan(found), -np.inf, found)
