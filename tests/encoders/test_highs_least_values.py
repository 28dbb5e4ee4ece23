"""Least values of functions over one program: by hand, against programs solved one by one, and of any multipliers."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from encoders.arrays import FloatArray
from encoders.deadline import Deadline, under
from encoders.programs.mixed_integer_program import Program
from encoders.solvers.base import Status
from encoders.solvers.highs_least_values import least_values, lower_bounds
from encoders.solvers.highs_linear import solve_linear


def program(
    matrix: FloatArray, row_lower: FloatArray, row_upper: FloatArray, low: FloatArray, high: FloatArray
) -> Program:
    size = matrix.shape[1]
    return Program(
        costs=np.ones(size), unit=1.0, matrix=sparse.csr_array(matrix), row_lower=row_lower, row_upper=row_upper,
        column_lower=low, column_upper=high, integral=np.ones(size, dtype=np.bool_), inputs_base=np.zeros(0),
        inputs_map=sparse.csr_array((0, size)), relu_columns={}, scale=np.ones(size),
    )  # fmt: skip


def test_a_triangle_by_hand() -> None:
    # x + y ≥ 1 in the unit square: x and y come down to 0, their sum to 1, x + 2y to 1 (at x = 1), -x - y to -2.
    # The costs are no part of it, nor are integers: x - y/2 is least in a corner, 2x + 2y nowhere below 2.
    triangle = program(np.array([[1.0, 1.0]]), np.ones(1), np.array([np.inf]), np.zeros(2), np.ones(2))
    functions = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [1.0, 2.0], [-1.0, -1.0], [1.0, -0.5], [2.0, 2.0]])
    found = least_values(triangle, sparse.csr_array(functions))
    assert found == pytest.approx([0.0, 0.0, 1.0, 1.0, -2.0, -0.5, 2.0])
    assert (found <= [0.0, 0.0, 1.0, 1.0, -2.0, -0.5, 2.0]).all()


@pytest.mark.parametrize("seed", range(8))
def test_each_is_what_its_own_program_says(seed: int) -> None:
    random = np.random.default_rng(seed)
    inside, matrix = random.normal(size=6), random.normal(size=(5, 6))
    sides = (
        matrix @ inside - random.random(5),
        np.where(random.random(5) < 0.5, np.inf, matrix @ inside + random.random(5)),
        inside - 2.0 * random.random(6),
        inside + 2.0 * random.random(6),
    )
    functions = sparse.csr_array(random.normal(size=(7, 6)) * (random.random((7, 6)) < 0.6))
    asked = program(matrix, *sides)
    found = least_values(asked, functions)
    for costs, value in zip(functions.toarray(), found, strict=True):
        answer = solve_linear(costs, asked.matrix, *sides)
        assert answer.status is Status.OPTIMAL
        assert answer.objective - 1e-7 <= value <= answer.objective + 1e-12
    # Whatever the multipliers: a bound, if a poor one.
    for _ in range(20):
        any_bounds = lower_bounds(asked, functions, 3.0 * random.normal(size=(7, 5)))
        assert (any_bounds <= functions @ inside).all()


def test_a_side_that_a_row_has_not_proves_nothing() -> None:
    # -x - y comes down to -2; were x + y ≤ 0, as a multiplier of -1 has it, it would stay at 0.
    triangle = program(np.array([[1.0, 1.0]]), np.ones(1), np.array([np.inf]), np.zeros(2), np.ones(2))
    found = lower_bounds(triangle, sparse.csr_array(-np.ones((1, 2))), -np.ones((1, 1)))
    assert found == pytest.approx([-2.0])


def test_a_column_without_an_end_proves_nothing() -> None:
    half = program(np.array([[1.0, 1.0]]), np.ones(1), np.array([np.inf]), np.zeros(2), np.array([1.0, np.inf]))
    found = lower_bounds(half, sparse.csr_array(np.array([[0.0, -1.0]])), np.zeros((1, 1)))
    assert found.tolist() == [-np.inf]


def test_without_time_the_box_alone_counts() -> None:
    triangle = program(np.array([[1.0, 1.0]]), np.ones(1), np.array([np.inf]), np.zeros(2), np.ones(2))
    with under(Deadline.after(0.0)):
        found = least_values(triangle, sparse.csr_array(np.array([[1.0, 1.0]])))
    assert found == pytest.approx([0.0])
