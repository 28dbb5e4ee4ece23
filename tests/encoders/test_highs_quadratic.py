"""Convex quadratic programs: the optimum and its duals worked out by hand, and a ray where there is no point."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from encoders.solvers.base import Status
from encoders.solvers.highs_linear import farkas_gap
from encoders.solvers.highs_quadratic import solve_quadratic

SUM = sparse.csr_array(np.array([[1.0, 1.0]]))


def test_the_nearest_point_of_a_line_by_hand() -> None:
    # min (x² + y²)/2 with x + y ≥ 2: (1, 1), where one more unit on the right costs 1.
    answer = solve_quadratic(np.ones(2), SUM, np.array([2.0]), np.zeros(2), np.full(2, 9.0))
    assert answer.status is Status.OPTIMAL
    assert answer.point == pytest.approx([1.0, 1.0])
    assert answer.row_duals == pytest.approx([1.0])
    assert answer.objective == pytest.approx(1.0)


def test_a_column_without_a_square_costs_nothing() -> None:
    # y may do up to 3/2 of x + y ≥ 2, and does: x = 1/2.
    answer = solve_quadratic(np.array([1.0, 0.0]), SUM, np.array([2.0]), np.zeros(2), np.array([9.0, 1.5]))
    assert answer.point == pytest.approx([0.5, 1.5])
    assert answer.objective == pytest.approx(0.125)


def test_a_ray_proves_that_there_is_no_point() -> None:
    low, high, least = np.zeros(2), np.ones(2), np.array([3.0])
    answer = solve_quadratic(np.ones(2), SUM, least, low, high)
    assert answer.status is Status.INFEASIBLE
    assert answer.ray is not None
    assert farkas_gap(answer.ray, SUM, least, np.array([np.inf]), low, high) > 0
