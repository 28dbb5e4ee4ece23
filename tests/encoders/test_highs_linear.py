"""Linear programs: optimum, duals and Farkas rays worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy import sparse

from encoders.solvers.base import Status
from encoders.solvers.highs_linear import farkas_gap, solve_linear
from tests.draws import examples

INF = np.inf
SUM = sparse.csr_array(np.array([[1.0, 1.0]]))


def test_duals_by_hand() -> None:
    # min x + 2y with x + y ≥ 3, x ≤ 2: x = 2, y = 1, 4 in all; one more unit on the right costs a y: dual 2.
    answer = solve_linear(
        np.array([1.0, 2.0]), SUM, np.array([3.0]), np.array([INF]), np.zeros(2), np.array([2.0, 9.0])
    )
    assert answer.status is Status.OPTIMAL
    assert answer.point is not None
    assert answer.row_duals is not None
    assert answer.point.tolist() == [2.0, 1.0]
    assert answer.objective == 4.0
    assert answer.row_duals.tolist() == [2.0]


def test_a_row_at_its_upper_side_has_a_negative_dual() -> None:
    # min -x - 2y with x + y ≤ 3: all in y; one more unit on the right earns 2.
    answer = solve_linear(np.array([-1.0, -2.0]), SUM, np.array([-INF]), np.array([3.0]), np.zeros(2), np.full(2, 9.0))
    assert answer.row_duals is not None
    assert answer.row_duals.tolist() == [-2.0]


def test_a_farkas_ray_proves_infeasibility() -> None:
    # x + y ≤ 1 and x + 2y ≥ 3 with 0 ≤ x, 0 ≤ y ≤ 1: y = 1 leaves x ≥ 1 and x ≤ 0.
    matrix = sparse.csr_array(np.array([[1.0, 1.0], [1.0, 2.0]]))
    sides = (np.array([-INF, 3.0]), np.array([1.0, INF]), np.zeros(2), np.array([INF, 1.0]))
    answer = solve_linear(np.zeros(2), matrix, *sides)
    assert answer.status is Status.INFEASIBLE
    assert answer.ray is not None
    assert answer.ray[0] < 0 < answer.ray[1]
    assert farkas_gap(answer.ray, matrix, *sides) > 0


def test_a_matrix_without_entries_has_a_ray() -> None:
    # 0·x ≥ 1: HiGHS runs no simplex on it, and keeps no dual ray.
    nothing, sides = sparse.csr_array((1, 1)), (np.ones(1), np.array([INF]), np.zeros(1), np.ones(1))
    answer = solve_linear(np.zeros(1), nothing, *sides)
    assert answer.status is Status.INFEASIBLE
    assert answer.ray is not None
    assert farkas_gap(answer.ray, nothing, *sides) == 1.0


@pytest.mark.parametrize("seed", [2, 13, 18])
def test_rounding_in_a_free_column_costs_no_ray(seed: int) -> None:
    # Two goals below a free t, as in the lowest point of a piece: multipliers of 1e-17 on them spoil HiGHS's dual ray.
    random = np.random.default_rng(seed)
    rows, goals = np.round(random.normal(size=(20, 16)), 1), random.normal(size=(2, 16))
    matrix = sparse.csr_array(np.block([[rows, np.zeros((20, 1))], [goals, np.ones((2, 1))]]))
    lower = np.append(np.round(random.normal(size=20) * 2.0, 1), np.zeros(2))
    sides = (lower, np.full(22, INF), np.append(np.zeros(16), -INF), np.append(np.ones(16), INF))
    answer = solve_linear(np.append(np.zeros(16), 1.0), matrix, *sides)
    assert answer.status is Status.INFEASIBLE
    assert answer.ray is not None
    assert farkas_gap(answer.ray, matrix, *sides) > 0


@pytest.mark.parametrize("presolve", [False, True])
def test_crossed_sides_unbounded_and_empty(presolve: bool) -> None:
    none = sparse.csr_array((0, 2))
    costs, empty = np.array([-1.0, 0.0]), np.zeros(0)
    crossed = solve_linear(costs, none, empty, empty, np.ones(2), np.zeros(2), presolve=presolve)
    assert crossed.status is Status.INFEASIBLE
    free = solve_linear(costs, none, empty, empty, np.zeros(2), np.full(2, INF), presolve=presolve)
    assert not free.status.is_proof
    boxed = solve_linear(costs, none, empty, empty, np.zeros(2), np.ones(2), presolve=presolve)
    assert boxed.objective == -1.0


def test_no_time_is_no_answer() -> None:
    answer = solve_linear(
        np.array([1.0, 2.0]), SUM, np.array([3.0]), np.array([INF]), np.zeros(2), np.full(2, 9.0), time_limit=0.0
    )
    assert answer.status is Status.TIME_LIMIT
    assert answer.point is None


@examples(60)
@given(st.integers(0, 10**6))
@example(2857)
@example(4080)
@example(4099)
@example(4228)
@example(89290)
def test_duals_prove_the_objective_and_rays_the_emptiness(seed: int) -> None:
    random = np.random.default_rng(seed)
    rows, columns = random.integers(1, 6, 2)
    matrix = sparse.csr_array(np.round(random.normal(size=(rows, columns)), 1))
    middle = random.normal(size=rows) * 2.0
    low, high = middle - random.random(rows), middle + random.random(rows)
    low[random.random(rows) < 0.4] = -INF
    left, right, costs = -random.random(columns), random.random(columns), random.normal(size=columns)
    answer = solve_linear(costs, matrix, low, high, left, right)
    assert answer.status.is_proof
    if answer.status is Status.INFEASIBLE:
        assert answer.ray is not None
        assert farkas_gap(answer.ray, matrix, low, high, left, right) > 0
        return
    assert answer.point is not None
    assert answer.row_duals is not None
    values = matrix @ answer.point
    assert (values >= low - 1e-8).all()
    assert (values <= high + 1e-8).all()
    y = answer.row_duals
    reduced = costs - matrix.T @ y
    bound = np.minimum(reduced * left, reduced * right).sum()
    bound += sum(y[i] * (low[i] if y[i] > 0 else high[i]) for i in np.flatnonzero(np.abs(y) > 1e-12))
    assert bound == pytest.approx(answer.objective, abs=1e-7)
