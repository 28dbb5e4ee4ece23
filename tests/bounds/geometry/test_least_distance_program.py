"""The L2-nearest point of a polytope: by hand, at the box, and where there is none.

d1 + d2 ≥ 2          nearest to 0: (1, 1), multiplier 1 (gradient of ‖d‖²/2 is (1, 1) = 1 · (1, 1))
d1 ≤ 1/2 as well     (1/2, 3/2): the row's multiplier is 3/2, the side takes the rest
"""

from __future__ import annotations

import numpy as np
import pytest

from bounds.geometry.least_distance_program import nearest_euclidean

ROW, LEAST = np.array([[1.0, 1.0]]), np.array([2.0])
WIDE = np.full(2, 10.0)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_one_row_by_hand(scale: float) -> None:
    found = nearest_euclidean(scale * ROW, scale * LEAST, -WIDE, WIDE)
    assert found is not None
    assert found.point is not None
    assert found.point == pytest.approx([1.0, 1.0])
    assert found.multipliers == pytest.approx([1.0 / scale])


def test_a_side_of_the_box_by_hand() -> None:
    found = nearest_euclidean(ROW, LEAST, -WIDE, np.array([0.5, 10.0]))
    assert found is not None
    assert found.point is not None
    assert found.point == pytest.approx([0.5, 1.5])
    assert found.multipliers == pytest.approx([1.5])


def test_the_center_itself() -> None:
    found = nearest_euclidean(ROW, -LEAST, -WIDE, WIDE)
    assert found is not None
    assert found.point is not None
    assert np.abs(found.point).max() == 0.0
    assert found.multipliers == pytest.approx([0.0])


def test_no_point_leaves_a_proof() -> None:
    rows, least = np.array([[1.0, 0.0], [-1.0, 0.0]]), np.array([1.0, 0.0])  # d1 ≥ 1 and d1 ≤ 0
    found = nearest_euclidean(rows, least, -WIDE, WIDE)
    assert found is not None
    assert found.point is None
    assert (found.multipliers >= 0).all()
    assert found.multipliers @ least > 0
    assert np.abs(found.multipliers @ rows).max() <= 1e-9 * found.multipliers.max()
