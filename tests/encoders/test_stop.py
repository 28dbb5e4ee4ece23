"""Stops: every deadline has passed once one is asked for, and nothing is otherwise without."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from encoders.deadline import EVERYTHING, NEVER, Clock, Deadline, Stop, in_time, look, out_of_time, under


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    yield
    EVERYTHING.forget()


def endless() -> str:
    while True:
        look()
        EVERYTHING.ask()


def test_every_deadline_has_passed_once_everything_is_to_stop() -> None:
    endless_one, long_one = Deadline(None), Deadline.after(60.0)
    assert not any(one.passed for one in (NEVER, endless_one, long_one, endless_one.within(60.0)))
    EVERYTHING.ask()
    assert all(one.passed for one in (NEVER, endless_one, long_one, endless_one.within(60.0)))
    assert endless_one.left == long_one.left == 0.0
    EVERYTHING.forget()
    assert not any(one.passed for one in (NEVER, endless_one, long_one))


def test_a_clock_stops_its_own_question_alone() -> None:
    stop = Stop()
    ours, other = Deadline(None, Clock(stop)), Deadline(None, Clock())
    stop.ask()
    assert ours.passed
    assert ours.within(5.0).passed
    assert Deadline.after(5.0, ours.clock).passed
    assert not other.passed
    with under(other):
        assert not out_of_time()
        with under(ours):
            assert out_of_time()


def test_endless_work_is_ended_too() -> None:
    assert in_time(NEVER, endless, "stopped") == "stopped"
    look()  # and nothing that was started under no deadline
