"""A solver's process: one for each thread, for as long as it lives."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import Pipe

import pytest

from encoders.deadline import Deadline, in_time, under
from encoders.solvers.process import Worker, running, serve_requests

HIGHS = ("encoders.solvers.highs_worker", "HiGHS", "highspy")


@pytest.mark.slow
def test_a_thread_keeps_its_worker_and_shares_it_with_no_other() -> None:
    mine = running(*HIGHS)
    assert running(*HIGHS) is mine

    def other() -> tuple[Worker, bool]:
        found = running(*HIGHS)
        return found, running(*HIGHS) is found

    with ThreadPoolExecutor(1) as pool:
        theirs, kept = pool.submit(other).result()
    assert kept
    assert theirs is not mine
    theirs.end()
    mine.end()
    assert not mine.alive
    again = running(*HIGHS)
    assert again is not mine
    assert again.alive


def test_a_worker_is_not_waited_for_beyond_the_deadline_of_who_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    class Silent:
        polls = 0

        def poll(self, seconds: float) -> bool:
            self.polls += 1
            assert self.polls < 5, "nobody asked how late it is"
            return False

    monkeypatch.setattr("encoders.solvers.process.GRACE", 0.0)
    worker = object.__new__(Worker)
    worker.connection = Silent()  # type: ignore[assignment]
    with under(Deadline.after(0.0)):
        assert not worker.answers_within(float("inf"))
    assert not worker.answers_within(0.0)


@pytest.mark.slow
def test_a_worker_that_starts_too_late_is_there_for_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    running(*HIGHS).end()
    monkeypatch.setattr("encoders.solvers.process.GRACE", 0.0)
    late = in_time(Deadline.after(0.0), lambda: running(*HIGHS), None)
    assert late is None
    found = running(*HIGHS)
    assert found.alive
    assert running(*HIGHS) is found


def test_a_worker_whose_asker_is_gone_before_it_is_up_ends_without_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("encoders.solvers.process._end_with_parent", lambda parent: None)
    asker, worker = Pipe()
    asker.close()
    with worker:
        serve_requests(os.dup(worker.fileno()), lambda request, connection: None, lambda error: None)


def test_ctrl_c_does_not_end_a_worker_that_is_still_starting() -> None:
    worker = Worker(*HIGHS)
    os.kill(worker._process.pid, signal.SIGINT)
    worker.wait_until_up()
    assert worker.alive
    worker.end()
