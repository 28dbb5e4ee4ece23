"""The balls of a search, by hand: an adversary at 1, something proven below."""

from __future__ import annotations

import pytest

from verifier.engines.phase_search.ball_schedule import BallSchedule


def test_balls_grow_until_the_adversary() -> None:
    balls = BallSchedule(0.5, 50.0)
    balls.after_closed(0.5, 1.0)
    assert balls.radius == pytest.approx(0.8)
    balls.after_closed(0.8, 1.0)
    assert balls.radius == 1.0


def test_what_lies_before_a_ball_that_failed_is_halved_and_the_ball_tried_again() -> None:
    balls = BallSchedule(1.0, 50.0)
    balls.after_failed(0.2, 1.0)  # the whole ball
    assert balls.radius == pytest.approx(0.6)
    balls.after_failed(0.2, 1.0)
    assert (balls.radius, balls.failed, balls.patience) == pytest.approx((0.4, 0.6, 72.0))
    balls.after_closed(0.4, 1.0)
    assert balls.radius == pytest.approx(0.5)
    balls.after_closed(0.5, 1.0)  # 0.1 is left of 0.5: more than an eighth
    assert balls.radius == pytest.approx(0.55)
    balls.after_closed(0.55, 1.0)  # 0.05 of 0.45: less
    assert (balls.radius, balls.patience) == pytest.approx((0.6, 144.0))
    assert balls.failed == float("inf")


def test_the_whole_ball_is_tried_again_as_soon_as_a_smaller_one_is_closed() -> None:
    balls = BallSchedule(1.0, 50.0)
    balls.after_failed(0.2, 1.0)
    balls.after_closed(0.6, 1.0)
    assert balls.radius == 1.0


def test_a_ball_that_is_nearly_the_whole_one_is_the_whole_one() -> None:
    balls = BallSchedule(0.57, 50.0)  # and next 0.912
    balls.after_closed(0.57, 1.0)
    assert balls.radius == 1.0
    balls = BallSchedule(0.55, 50.0)
    balls.after_closed(0.55, 1.0)
    assert balls.radius == pytest.approx(0.88)


def test_a_closed_ball_is_behind_even_where_less_is_proven() -> None:
    balls = BallSchedule(0.4, 50.0, failed=0.8)
    balls.after_closed(0.1, 1.0)
    assert balls.radius == pytest.approx(0.6)


def test_a_small_first_ball_that_is_proven_already_is_passed() -> None:
    balls = BallSchedule(0.01, 50.0)
    balls.start_beyond(0.5, 0.7)
    assert balls.radius == pytest.approx(0.7)
    balls.start_beyond(0.25, 0.7)
    assert balls.radius == pytest.approx(0.4)


def test_careful_strides_end_at_the_whole_ball() -> None:
    balls = BallSchedule(1.0, 50.0)
    balls.go_carefully(0.6, failed=0.8, patience=10.0)
    assert (balls.radius, balls.patience) == pytest.approx((0.7, 10.0))
    balls.after_closed(0.7, reach=1.0)  # halfway to the ball that failed,
    assert balls.radius == pytest.approx(0.75)
    balls.after_closed(0.75, reach=1.0)
    balls.after_closed(0.775, reach=1.0)  # then that ball again with twice the patience,
    assert (balls.radius, balls.patience) == pytest.approx((0.8, 20.0))
    balls.after_closed(0.8, reach=1.0)  # and beyond it a quarter of what is left,
    assert balls.radius == pytest.approx(0.85)
    tried = []
    while balls.radius < 1.0:
        tried.append(balls.radius)
        balls.after_closed(balls.radius, reach=1.0)
    assert max(tried) < 1.0  # until little is left
    assert len(tried) < 15


@pytest.mark.parametrize("reach", [0.1 + 0.2, 1.0 / 3.0, 0.7])
def test_other_strides_reach_the_whole_ball_to_the_last_bit(reach: float) -> None:
    balls = BallSchedule(0.5 * reach, 50.0)
    for _ in range(3):
        balls.after_closed(balls.radius, reach)
    assert balls.radius == reach
