"""The nearest point of a linear piece of the net or of a relaxation, and its lowest: linear or quadratic programs."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from bounds.geometry.least_distance_program import nearest_euclidean
from encoders.arrays import FloatArray
from encoders.errors import SolverError
from encoders.question import Norm
from encoders.solvers.base import Status
from encoders.solvers.highs_linear import LinearAnswer, solve_linear
from encoders.solvers.highs_quadratic import solve_quadratic

LEVELS, FINE = 24, 1e-7  # halvings of a level, and of what could fall how little is left
NEARLY_FLAT = 1e-9  # of a goal's value: slopes below do not set the unit it is counted in


def nearest_in_piece(
    rows: FloatArray,
    least: FloatArray,
    below: FloatArray,
    above: FloatArray,
    norm: Norm,
    radius: float,
    time_limit: float | None,
    extra: FloatArray | None = None,
) -> tuple[LinearAnswer, FloatArray | None]:
    """min ‖d‖ subject to rows · d ≥ least and -below ≤ d ≤ above, within the ball: the answer, and d if there is one.

    The first duals of the answer are those of `rows`. `extra` are upper sides of further variables in [0, extra],
    which cost nothing: their columns follow those of d in `rows`, and their values end the point.
    """
    size = len(below)
    extra = np.zeros(0) if extra is None else extra
    if norm is Norm.L2:
        low, high = -np.minimum(below, radius), np.minimum(above, radius)
        if len(extra):
            return _nearest_with_others(rows, least, low, high, extra, time_limit)
        return _nearest_euclidean(rows, least, low, high)
    free = len(extra)
    # Rows are scaled to a largest entry of one: nets have weights of any size, solvers like them near one.
    scale = np.abs(rows).max(axis=1, initial=0.0)
    scale = np.where((scale > 0) & np.isfinite(scale), scale, 1.0)
    rows, least = rows / scale[:, None], least / scale
    low, high = -np.minimum(below, radius), np.minimum(above, radius)
    if norm is Norm.LINF:
        matrix = _with_longest(rows, size)
        costs = np.concatenate([np.zeros(size), [1.0], np.zeros(free)])
        row_lower = np.concatenate([least, np.zeros(2 * size)])
        column_lower = np.concatenate([low, [0.0], np.zeros(free)])
        column_upper = np.concatenate([high, [radius], extra])
    else:
        own, further = rows[:, :size], rows[:, size:]
        rises, falls = np.flatnonzero(high > 0), np.flatnonzero(low < 0)
        if not len(rises) + len(falls):
            rises = np.zeros(1, dtype=np.int64)  # nothing moves: a program without columns has no answer
        matrix = sparse.csr_array(np.concatenate([own[:, rises], -own[:, falls], further], axis=1))
        moves = len(rises) + len(falls)
        costs = np.concatenate([np.ones(moves), np.zeros(free)])
        row_lower = least
        column_lower, column_upper = np.zeros(moves + free), np.concatenate([high[rises], -low[falls], extra])
    row_upper = np.full(len(row_lower), np.inf)
    try:
        answer = solve_linear(costs, matrix, row_lower, row_upper, column_lower, column_upper, time_limit=time_limit)
    except SolverError:
        return LinearAnswer(Status.FAILED), None  # a program beyond HiGHS's range: no candidate, and nothing proven
    answer = replace(answer, row_duals=_unscaled(answer.row_duals, scale), ray=_unscaled(answer.ray, scale))
    if answer.point is None:
        return answer, None
    if norm is Norm.LINF:
        return answer, answer.point[:size]
    shift = np.zeros(size)
    shift[rises] += answer.point[: len(rises)]
    shift[falls] -= answer.point[len(rises) : moves]
    return replace(answer, point=np.concatenate([shift, answer.point[moves:]])), shift


def _with_longest(rows: FloatArray, size: int) -> sparse.csr_array:
    """The rows with a column for ‖d‖∞ after the `size` columns of d, and below them ‖d‖∞ ± d_i for each i.

    Written out entry by entry: putting sparse blocks together took longer than solving the program.
    """
    row, column = np.nonzero(rows)
    indices, data = _plus_and_minus(size)
    ends = np.cumsum(np.bincount(row, minlength=len(rows)))
    starts = len(row) + 2 * np.arange(2 * size + 1)
    return sparse.csr_array(
        (
            np.concatenate([rows[row, column], data]),
            np.concatenate([column + (column >= size), indices]),
            np.concatenate([[0], ends[:-1], starts] if len(rows) else [starts]),
        ),
        shape=(len(rows) + 2 * size, rows.shape[1] + 1),
    )


@cache
def _plus_and_minus(size: int) -> tuple[NDArray[np.int64], FloatArray]:
    """Columns and entries of the rows ‖d‖∞ + d_i, then of ‖d‖∞ - d_i, two to a row."""
    columns = np.stack([np.arange(size), np.full(size, size)], axis=1).ravel()
    entries = np.ones((2 * size, 2))
    entries[size:, 0] = -1.0
    return np.tile(columns, 2), entries.ravel()


def _nearest_euclidean(
    rows: FloatArray, least: FloatArray, low: FloatArray, high: FloatArray
) -> tuple[LinearAnswer, FloatArray | None]:
    found = nearest_euclidean(rows, least, low, high)
    if found is None:
        return LinearAnswer(Status.FAILED), None
    if found.point is None:
        return LinearAnswer(Status.INFEASIBLE, ray=found.multipliers), None
    length = float(np.linalg.norm(found.point))
    return LinearAnswer(Status.OPTIMAL, found.point, found.multipliers, length), found.point


def _nearest_with_others(
    rows: FloatArray, least: FloatArray, low: FloatArray, high: FloatArray, extra: FloatArray, time_limit: float | None
) -> tuple[LinearAnswer, FloatArray | None]:
    """The same where further variables have no part in the length: a quadratic program, distances near one."""
    size = len(low)
    scale = np.abs(rows).max(axis=1, initial=0.0)
    scale = np.where((scale > 0) & np.isfinite(scale), scale, 1.0)
    rows, least = rows / scale[:, None], least / scale
    unit = max(float(np.maximum(high, -low).max(initial=0.0)), 1e-300)
    squares = np.concatenate([np.ones(size), np.zeros(len(extra))])
    column_lower = np.concatenate([low, np.zeros(len(extra))]) / unit
    column_upper = np.concatenate([high, extra]) / unit
    try:
        answer = solve_quadratic(
            squares, sparse.csr_array(rows), least / unit, column_lower, column_upper, time_limit=time_limit
        )
    except SolverError:
        return LinearAnswer(Status.FAILED), None
    answer = replace(answer, row_duals=_unscaled(answer.row_duals, scale), ray=_unscaled(answer.ray, scale))
    if answer.point is None:
        return answer, None
    point = answer.point * unit
    length = float(np.linalg.norm(point[:size]))
    return replace(answer, point=point, objective=length), point[:size]


def lowest_in_piece(
    rows: FloatArray,
    least: FloatArray,
    goals: FloatArray,
    goal_values: FloatArray,
    below: FloatArray,
    above: FloatArray,
    radius: float,
    time_limit: float | None,
    extra: FloatArray | None = None,
) -> LinearAnswer:
    """min over the L∞ ball ∩ box of the largest goals · d + goal_values, subject to rows · d ≥ least.

    The point is d and the further variables; duals and ray are those of the rows, then the weights of the goals. With
    the ball as column bounds it has no more rows than these: far smaller than the nearest point's program. `extra` are
    upper sides of further variables in [0, extra], whose columns follow those of d.
    """
    extra = np.zeros(0) if extra is None else extra
    size = len(below) + len(extra)
    scale = np.abs(rows).max(axis=1, initial=0.0)
    scale = np.where((scale > 0) & np.isfinite(scale), scale, 1.0)
    # Goals that are as good as constant count by their values: no unit may make these too large for HiGHS.
    unit = max(float(np.abs(goals).max(initial=0.0)), NEARLY_FLAT * float(np.abs(goal_values).max(initial=0.0))) or 1.0
    matrix = sparse.csr_array(
        np.block([[rows / scale[:, None], np.zeros((len(rows), 1))], [-goals / unit, np.ones((len(goals), 1))]])
    )
    row_lower = np.concatenate([least / scale, goal_values / unit])
    column_lower = np.concatenate([-np.minimum(below, radius), np.zeros(len(extra)), [-np.inf]])
    column_upper = np.concatenate([np.minimum(above, radius), extra, [np.inf]])
    costs = np.append(np.zeros(size), 1.0)
    row_upper = np.full(len(row_lower), np.inf)
    try:
        answer = solve_linear(costs, matrix, row_lower, row_upper, column_lower, column_upper, time_limit=time_limit)
    except SolverError:
        return LinearAnswer(Status.FAILED)  # a program beyond HiGHS's range: nothing is proven
    point = None if answer.point is None else answer.point[:size]
    duals, ray = (_unscaled(weights, scale / unit) for weights in (answer.row_duals, answer.ray))
    return replace(answer, point=point, row_duals=duals, ray=ray)


def lowest_in_ball_of_piece(
    rows: FloatArray,
    least: FloatArray,
    goal: FloatArray,
    below: FloatArray,
    above: FloatArray,
    norm: Norm,
    radius: float,
    time_limit: float | None,
) -> tuple[FloatArray | None, FloatArray | None]:
    """Where goal · d [n] is least in ball ∩ box, subject to rows · d ≥ least: d, and the duals of the rows.

    In L2, where the lowest point of the cube around the ball lies outside it, it is found through the nearest points
    of falling levels, to `FINE` of the fall; nothing is proven by it.
    """
    if norm is not Norm.L1:
        answer = lowest_in_piece(rows, least, goal[None], np.zeros(1), below, above, radius, time_limit)
        if norm is Norm.LINF or answer.point is None or float(np.linalg.norm(answer.point)) <= radius:
            return answer.point, None if answer.row_duals is None else answer.row_duals[: len(rows)]
        return _lowest_euclidean(rows, least, goal, below, above, radius, time_limit)
    size = len(below)
    scale = np.abs(rows).max(axis=1, initial=0.0)
    scale = np.where((scale > 0) & np.isfinite(scale), scale, 1.0)
    unit = max(float(np.abs(goal).max(initial=0.0)), 1e-300)
    both = np.concatenate([rows / scale[:, None], -rows / scale[:, None]], axis=1)
    matrix = sparse.csr_array(np.concatenate([both, -np.ones((1, 2 * size))]))
    low, high = np.zeros(2 * size), np.minimum(np.concatenate([above, below]), radius)
    costs = np.concatenate([goal, -goal]) / unit
    row_lower = np.append(least / scale, -radius)
    try:
        answer = solve_linear(
            costs, matrix, row_lower, np.full(len(row_lower), np.inf), low, high, time_limit=time_limit
        )
    except SolverError:
        return None, None
    if answer.point is None or answer.row_duals is None:
        return None, None
    return answer.point[:size] - answer.point[size:], answer.row_duals[: len(rows)]


def _lowest_euclidean(
    rows: FloatArray, least: FloatArray, goal: FloatArray, below: FloatArray, above: FloatArray, radius: float,
    time_limit: float | None,
) -> tuple[FloatArray | None, FloatArray | None]:  # fmt: skip
    """By halving between a level that the ball reaches and one that nothing in it can."""
    answer, best = nearest_in_piece(rows, least, below, above, Norm.L2, np.inf, time_limit)
    if best is None or float(np.linalg.norm(best)) > radius:
        return None, None
    size = float(np.linalg.norm(goal)) * radius
    reached, beyond, duals = float(goal @ best), -size, answer.row_duals
    with_goal = np.concatenate([rows, -goal[None]])
    for _ in range(LEVELS):
        if reached - beyond <= FINE * size:
            break
        level = 0.5 * (reached + beyond)
        answer, shift = nearest_in_piece(with_goal, np.append(least, -level), below, above, Norm.L2, np.inf, time_limit)
        if shift is None or float(np.linalg.norm(shift)) > radius:
            beyond = level
        else:
            best, reached, duals = shift, float(goal @ shift), answer.row_duals
    return best, None if duals is None else duals[: len(rows)]


def _unscaled(weights: FloatArray | None, scale: FloatArray) -> FloatArray | None:
    """Multipliers of scaled rows as multipliers of the rows themselves."""
    if weights is None:
        return None
    weights = weights.copy()
    weights[: len(scale)] /= scale
    return weights
