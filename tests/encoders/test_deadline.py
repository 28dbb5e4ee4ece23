"""Deadlines: what ends when, and that work without one never looks."""

from __future__ import annotations

import pytest

from encoders.deadline import NEVER, Clock, Deadline, OutOfTimeError, in_time, look, out_of_time, under


class Ticking(Clock):
    """A second passes whenever somebody looks."""

    def __init__(self) -> None:
        super().__init__()
        self.looks = 0

    def now(self) -> float:
        self.looks += 1
        return float(self.looks)


def endless() -> str:
    while True:
        look()


def test_work_comes_to_its_result_or_to_what_is_true_without_it() -> None:
    assert in_time(NEVER, lambda: "done", "late") == "done"
    assert in_time(Deadline.after(60.0), lambda: "done", "late") == "done"
    assert in_time(Deadline(20.0, Ticking()), endless, "late") == "late"


def test_a_deadline_ends_the_work_below_it_and_nothing_else() -> None:
    past = Deadline.after(0.0)
    assert not out_of_time()
    with under(past):
        assert out_of_time()
        with under(NEVER):  # what is around goes on to hold
            assert out_of_time()
            with pytest.raises(OutOfTimeError):
                look()
    assert not out_of_time()
    look()
    assert in_time(Deadline.after(60.0), lambda: in_time(past, endless, "late"), "never") == "late"
    assert in_time(past, lambda: in_time(Deadline.after(60.0), endless, "inner"), "outer") == "inner"
    assert not out_of_time()


def test_other_errors_are_not_for_the_deadline() -> None:
    def failing() -> str:
        raise ValueError("trouble")

    with pytest.raises(ValueError, match="trouble"):
        in_time(Deadline.after(0.0), failing, "late")
    assert not out_of_time()


def test_work_without_a_deadline_never_looks() -> None:
    def looks(moment: float | None) -> int:
        clock = Ticking()
        with under(Deadline(moment, clock)):
            look()
            assert not out_of_time()
        return clock.looks

    assert looks(1000.0) == 2
    assert looks(None) == 0
