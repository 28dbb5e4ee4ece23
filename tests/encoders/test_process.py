"""A solver's process: one for each thread, for as long as it lives."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from encoders.solvers.process import Worker, running

HIGHS = ("encoders.solvers.highs_worker", "HiGHS", "highspy")


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
