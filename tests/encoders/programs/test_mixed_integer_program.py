"""A program of one integer and one real column, by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse

from encoders.programs.mixed_integer_program import Program

# min 2·(k + y)   with   k + 2y ≥ 3,   0 ≤ k ≤ 2 integer,   0 ≤ y ≤ 5
SMALL = Program(
    costs=np.array([1.0, 1.0]),
    unit=2.0,
    matrix=sparse.csr_array(np.array([[1.0, 2.0]])),
    row_lower=np.array([3.0]),
    row_upper=np.array([np.inf]),
    column_lower=np.zeros(2),
    column_upper=np.array([2.0, 5.0]),
    integral=np.array([True, False]),
    inputs_base=np.array([10.0]),
    inputs_map=sparse.csr_array(np.array([[0.0, -1.0]])),
    relu_columns={},
    scale=np.ones(2),
)


def test_figures_of_a_point() -> None:
    point = np.array([1.0, 1.0])  # 1 + 2 = 3: on the row
    assert SMALL.violation(point) == 0.0
    assert SMALL.objective(point) == 4.0
    assert SMALL.inputs(point).tolist() == [9.0]
    assert (SMALL.rows, SMALL.columns, SMALL.binaries) == (1, 2, 1)


@pytest.mark.parametrize(
    ("point", "miss"),
    [
        ([0.0, 1.0], 1.0),  # row: 2 instead of 3
        ([2.5, 1.0], 0.5),  # k above its bound and half an integer off
        ([1.25, 2.0], 0.25),  # k no integer
        ([2.0, 5.5], 0.5),  # y above its bound
        ([2.0, -0.5], 2.0),  # y below its bound by 0.5, the row missed by 2
    ],
)
def test_violation_is_the_largest_miss(point: list[float], miss: float) -> None:
    assert SMALL.violation(np.array(point)) == miss


def test_a_cutoff_is_a_row_or_the_bound_of_the_only_costly_column() -> None:
    cut = SMALL.below(3.0)  # 2·(k + y) ≤ 3, in the program's unit 1.5
    assert cut.rows == 2
    assert cut.row_upper[-1] == 1.5
    assert cut.violation(np.array([1.0, 1.0])) == 0.5
    single = replace(SMALL, costs=np.array([0.0, 4.0])).below(4.0)  # 2·4·y ≤ 4
    assert single.rows == 1
    assert single.column_upper.tolist() == [2.0, 0.5]
    assert SMALL.below(np.inf) is SMALL


@pytest.mark.parametrize(
    "change",
    [
        {"costs": np.array([1.0])},
        {"row_upper": np.zeros(2)},
        {"costs": np.array([1.0, np.nan])},
        {"column_upper": np.array([1.0, np.nan])},
        {"row_lower": np.array([np.nan])},
        {"matrix": sparse.csr_array(np.array([[np.inf, 1.0]]))},
        {"unit": 0.0},
    ],
)
def test_what_is_no_program_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"shape|NaN|positive"):
        replace(SMALL, **change)  # type: ignore[arg-type]
