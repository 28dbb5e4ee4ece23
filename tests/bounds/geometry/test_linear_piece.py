"""The nearest point of a linear piece, by hand: also where nothing can move."""

from __future__ import annotations

import numpy as np
import pytest

from bounds.geometry.linear_piece import lowest_in_ball_of_piece, lowest_in_piece, nearest_in_piece
from encoders.question import Norm
from encoders.solvers.base import Status

ROWS = np.array([[1.0, 2.0, 3.0]])


@pytest.mark.parametrize(("norm", "length"), [(Norm.L1, 1 / 3), (Norm.LINF, 1 / 6), (Norm.L2, 1 / np.sqrt(14.0))])
def test_the_nearest_point_by_hand(norm: Norm, length: float) -> None:
    answer, shift = nearest_in_piece(ROWS, np.array([1.0]), np.ones(3), np.ones(3), norm, 1.0, None)
    assert answer.status is Status.OPTIMAL
    assert answer.objective == pytest.approx(length, abs=1e-7)
    assert shift is not None
    assert float(ROWS[0] @ shift) == pytest.approx(1.0, abs=1e-6)


def test_in_l1_inputs_move_the_way_they_have_room() -> None:
    # The third input may only fall, the second not at all: the first must do it. A further variable ends the point.
    rows = np.array([[1.0, 2.0, 3.0, 0.0]])
    below, above = np.array([0.0, 0.0, 1.0]), np.array([1.0, 0.0, 0.0])
    answer, shift = nearest_in_piece(rows, np.array([0.5]), below, above, Norm.L1, 1.0, None, extra=np.ones(1))
    assert shift is not None
    assert shift.tolist() == pytest.approx([0.5, 0.0, 0.0])
    assert answer.point is not None
    assert len(answer.point) == 4


def test_in_l2_further_variables_do_not_lengthen_the_way() -> None:
    # z ≤ 4 carries 1/4 of it: 3 d1 + 4 d2 ≥ 10 - 4/4·5 = 5 is at distance 1, at (3/5, 4/5). The third input stays.
    rows, least = np.array([[3.0, 4.0, 0.0, 1.25]]), np.array([10.0])
    answer, shift = nearest_in_piece(rows, least, np.ones(3), np.ones(3), Norm.L2, 2.0, None, extra=np.array([4.0]))
    assert answer.objective == pytest.approx(1.0)
    assert shift == pytest.approx([0.6, 0.8, 0.0])
    assert answer.point == pytest.approx([0.6, 0.8, 0.0, 4.0])
    nothing, _ = nearest_in_piece(rows, 3.0 * least, np.ones(3), np.ones(3), Norm.L2, 2.0, None, extra=np.array([4.0]))
    assert nothing.status is Status.INFEASIBLE
    assert nothing.ray is not None


@pytest.mark.parametrize(("least", "status"), [(-1.0, Status.OPTIMAL), (1.0, Status.INFEASIBLE)])
def test_where_nothing_moves_there_is_one_point(least: float, status: Status) -> None:
    answer, shift = nearest_in_piece(ROWS, np.array([least]), np.zeros(3), np.zeros(3), Norm.L1, 1.0, None)
    assert answer.status is status
    if status is Status.OPTIMAL:
        assert shift is not None
        assert not shift.any()


# From the center of a box of ±1 in two inputs, the goal falls by 3 along the first and by 4 along the second.
@pytest.mark.parametrize(
    ("norm", "wall", "value"),
    [
        (Norm.LINF, None, -0.5 * 7),
        (Norm.L1, None, -0.5 * 4),
        (Norm.L2, None, -0.5 * 5),
        (Norm.LINF, 0.2, -(0.5 * 3 + 0.2 * 4)),
        (Norm.L1, 0.2, -(0.3 * 3 + 0.2 * 4)),
        (Norm.L2, 0.2, -(0.21**0.5 * 3 + 0.2 * 4)),
    ],
)
def test_the_lowest_point_of_a_ball_by_hand(norm: Norm, wall: float | None, value: float) -> None:
    # A wall keeps the second input at 0.2 or below: -d_2 ≥ -0.2.
    rows, least = np.zeros((0, 2)), np.zeros(0)
    if wall is not None:
        rows, least = np.array([[0.0, -1.0]]), np.array([-wall])
    goal, room = np.array([-3.0, -4.0]), np.ones(2)
    point, duals = lowest_in_ball_of_piece(rows, least, goal, room, room, norm, 0.5, None)
    assert point is not None
    assert duals is not None
    assert float(goal @ point) == pytest.approx(value, abs=1e-5)
    assert norm.length(point) <= 0.5 + 1e-6
    assert (rows @ point >= least - 1e-6).all()
    assert len(duals) == len(rows)
    assert (duals > 1e-6).all()  # the wall holds the point, and its price says so


@pytest.mark.parametrize("norm", [Norm.LINF, Norm.L1, Norm.L2])
def test_the_box_is_kept_inside_a_ball(norm: Norm) -> None:
    # The first input may rise by 0.1, the second not at all.
    above = np.array([0.1, 0.0])
    none = np.zeros((0, 2)), np.zeros(0)
    point, _ = lowest_in_ball_of_piece(*none, np.array([-3.0, -4.0]), np.ones(2), above, norm, 0.5, None)
    assert point is not None
    assert point.tolist() == pytest.approx([0.1, 0.0], abs=1e-6)


@pytest.mark.parametrize("norm", [Norm.LINF, Norm.L1, Norm.L2])
def test_a_piece_beyond_the_ball_has_no_lowest_point(norm: Norm) -> None:
    rows, least, one = np.array([[1.0, 0.0]]), np.array([0.9]), np.ones(2)
    point, _ = lowest_in_ball_of_piece(rows, least, one, one, one, norm, 0.5, None)
    assert point is None


@pytest.mark.parametrize("slope", [0.0, 1e-25])
def test_a_goal_that_is_constant_is_as_low_anywhere(slope: float) -> None:
    """One that no other row holds up: all of it counts, and nothing else."""
    one = np.ones(1)
    rows, least, goals = np.array([[-1.0]]), np.zeros(1), np.array([[slope]])
    answer = lowest_in_piece(rows, least, goals, 0.125 * one, 0.0 * one, one, 0.5, None)
    assert answer.status is Status.OPTIMAL
    assert answer.point == pytest.approx([0.0])
    assert answer.row_duals is not None
    assert answer.row_duals[1] == pytest.approx(1.0)
    assert answer.row_duals[0] == pytest.approx(0.0, abs=1e-12)
