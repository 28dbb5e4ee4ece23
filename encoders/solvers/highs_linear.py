"""A linear program on HiGHS's dual simplex, with everything that a rigorous bound is recomputed from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import highspy
import numpy as np
from scipy import sparse

from encoders.arrays import FloatArray
from encoders.solvers.base import Status
from encoders.solvers.highs_native import instance, pass_arrays, status_of


@dataclass(frozen=True, eq=False)
class LinearAnswer:
    """min costs·x. `point` and `objective` (inf otherwise) are set when OPTIMAL.

    `row_duals` y, set when OPTIMAL, is HiGHS's: costs = Aᵀy + reduced costs, y ≥ 0 on a row at its lower side, y ≤ 0
    on one at its upper side. For *any* y, weak duality gives the bound  Σ y⁺·row_lower - Σ y⁻·row_upper +
    min over the column box of (costs - Aᵀy)·x:  recompute it, do not read the objective.

    `ray` y, set when INFEASIBLE and found, is a Farkas proof in the same signs: the most that yᵀA x reaches in the
    column box stays below  Σ y⁺·row_lower - Σ y⁻·row_upper.  It has been checked, in plain float64. A program with a
    column that lacks a side may have none: there yᵀA would have to cancel to the last bit.
    """

    status: Status
    point: FloatArray | None = None
    row_duals: FloatArray | None = None
    objective: float = float("inf")
    ray: FloatArray | None = None


def solve_linear(
    costs: FloatArray,
    matrix: sparse.csr_array,
    row_lower: FloatArray,
    row_upper: FloatArray,
    column_lower: FloatArray,
    column_upper: FloatArray,
    *,
    time_limit: float | None = None,
    presolve: bool = False,
) -> LinearAnswer:
    """Minimise costs·x over row_lower ≤ A x ≤ row_upper in the column box; sides may be infinite.

    Presolve is off by default: it can lose the Farkas ray, and has called feasible programs infeasible.
    """
    if (column_lower > column_upper).any() or (row_lower > row_upper).any():
        return LinearAnswer(Status.INFEASIBLE)
    matrix = sparse.csr_array(matrix)
    options: dict[str, object] = {"solver": "simplex", "simplex_strategy": 1, "presolve": "on" if presolve else "off"}
    if time_limit is not None:
        options["time_limit"] = max(0.0, float(time_limit))
    highs = instance(options)
    pass_arrays(highs, costs, matrix, row_lower, row_upper, column_lower, column_upper)
    if highs.run() == highspy.HighsStatus.kError:
        return LinearAnswer(Status.FAILED)
    status = status_of(highs)
    if status is Status.OPTIMAL:
        solution = highs.getSolution()
        point = np.array(solution.col_value, dtype=np.float64)
        duals = np.array(solution.row_dual, dtype=np.float64)
        return LinearAnswer(status, point, duals, float(costs @ point))
    if status is Status.INFEASIBLE:
        sides = (row_lower, row_upper, column_lower, column_upper)
        ray = _checked(_dual_ray(highs), matrix, *sides)
        if ray is None:
            if time_limit is not None:
                options["time_limit"] = max(0.0, float(time_limit) - highs.getRunTime())
            ray = _checked(_phase_one_duals(options, matrix, *sides), matrix, *sides)
        return LinearAnswer(status, ray=ray)
    return LinearAnswer(status)


def _dual_ray(highs: Any) -> FloatArray:
    """HiGHS's dual ray, up to its sign; empty where it keeps none, as for a matrix without entries."""
    _, found, values = highs.getDualRay()
    return np.array(values if found else (), dtype=np.float64)


def _phase_one_duals(
    options: Mapping[str, object],
    matrix: sparse.csr_array,
    row_lower: FloatArray,
    row_upper: FloatArray,
    column_lower: FloatArray,
    column_upper: FloatArray,
) -> FloatArray:
    """The duals of the least total violation of the rows: where that is positive, a Farkas proof.

    A second solve, for the few programs of which the dual ray is missing or spoilt by rounding.
    """
    below, above = np.flatnonzero(np.isfinite(row_lower)), np.flatnonzero(np.isfinite(row_upper))
    violations = len(below) + len(above)
    unit = sparse.eye_array(matrix.shape[0], format="csc")
    highs = instance(options)
    pass_arrays(
        highs,
        np.concatenate([np.zeros(matrix.shape[1]), np.ones(violations)]),
        sparse.hstack([matrix, unit[:, below], -unit[:, above]], format="csr"),
        row_lower,
        row_upper,
        np.concatenate([column_lower, np.zeros(violations)]),
        np.concatenate([column_upper, np.full(violations, np.inf)]),
    )
    highs.run()
    return np.array(highs.getSolution().row_dual, dtype=np.float64)


def _checked(
    ray: FloatArray,
    matrix: sparse.csr_array,
    row_lower: FloatArray,
    row_upper: FloatArray,
    column_lower: FloatArray,
    column_upper: FloatArray,
) -> FloatArray | None:
    """The ray, in the sign that proves infeasibility, or None."""
    if not np.isfinite(ray).all() or not ray.any():
        return None
    ray = ray / np.abs(ray).max()
    # Multipliers on sides that do not exist are rounding noise; without them the ray is still checked in full.
    for candidate in (ray, -ray):
        y = np.where(candidate > 0, np.where(np.isfinite(row_lower), candidate, 0.0), candidate)
        y = np.where(y < 0, np.where(np.isfinite(row_upper), y, 0.0), y)
        if farkas_gap(y, matrix, row_lower, row_upper, column_lower, column_upper) > 0:
            return np.asarray(y)
    return None


def farkas_gap(
    ray: FloatArray,
    matrix: sparse.csr_array,
    row_lower: FloatArray,
    row_upper: FloatArray,
    column_lower: FloatArray,
    column_upper: FloatArray,
) -> float:
    """How far the rows' demand, weighted by the ray, lies above all that the column box can give; > 0 is a proof."""
    reduced = matrix.T @ ray
    reach = _weighted(np.maximum(reduced, 0.0), column_upper) - _weighted(np.maximum(-reduced, 0.0), column_lower)
    need = _weighted(np.maximum(ray, 0.0), row_lower) - _weighted(np.maximum(-ray, 0.0), row_upper)
    gap = need - reach
    return float(gap) if not np.isnan(gap) else -np.inf


def _weighted(weights: FloatArray, sides: FloatArray) -> float:
    """Σ weights·sides where 0·inf counts as 0."""
    used = weights != 0
    return float(weights[used] @ sides[used])
