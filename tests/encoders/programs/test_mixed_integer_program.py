"""A program of one integer and one real column, by hand."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from scipy import sparse

from encoders.programs.mixed_integer_program import SQUARE_SLACK, Program, root_below

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
ROUND = replace(SMALL, euclidean=True, longest=2.5)  # min 2·√(k² + y²)  within  k² + y² ≤ 2.5²


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


def test_a_euclidean_program_measures_lengths_within_its_ball() -> None:
    assert ROUND.objective(np.array([2.0, 1.5])) == 5.0
    assert ROUND.violation(np.array([2.0, 1.5])) == 0.0
    assert ROUND.below(4.0).longest == 2.0
    assert ROUND.below(4.0).violation(np.array([2.0, 1.5])) == 0.5
    assert ROUND.below(6.0).longest == 2.5


def test_a_bound_on_the_square_proves_its_root_less_the_tolerances() -> None:
    assert ROUND.length_below(4.0) == pytest.approx(4.0 - 2.0 * SQUARE_SLACK, rel=1e-12)
    assert ROUND.length_below(0.25) == pytest.approx(2.0 * np.sqrt(0.25 - SQUARE_SLACK), rel=1e-12)
    assert ROUND.length_below(0.5 * SQUARE_SLACK) == ROUND.length_below(-1.0) == 0.0
    assert ROUND.length_below(np.inf) == np.inf
    assert ROUND.length_below(-np.inf) == -np.inf


def test_a_root_is_rounded_down() -> None:
    rounded = 0
    for square in np.random.default_rng(0).uniform(0.0, 4.0, 100):
        root = root_below(square)
        assert Fraction(root) ** 2 <= Fraction(square)
        assert root == pytest.approx(np.sqrt(square), rel=1e-15)
        rounded += Fraction(float(np.sqrt(square))) ** 2 > Fraction(square)
    assert rounded > 20  # the plain root would have been too large


@pytest.mark.parametrize(
    "change",
    [
        {"longest": 1.0},
        {"euclidean": True, "longest": np.nan},
        {"euclidean": True, "costs": np.array([1.0, -1.0])},
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
    with pytest.raises(ValueError, match=r"shape|NaN|positive|length|negative"):
        replace(SMALL, **change)  # type: ignore[arg-type]
