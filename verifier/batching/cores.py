"""Work of one question on several cores, in threads: where torch and HiGHS compute, they hold no lock of Python."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextvars import copy_context
from typing import TypeVar

T = TypeVar("T")


def each_on_a_core(tasks: Sequence[Callable[[], T]], cores: int) -> list[T]:
    """What each of some tasks returns, as many at once as there are cores, one of them in this thread.

    An error is raised once all that were begun have ended. Each ends at the limits that its caller is under
    (`encoders/deadline.py`).
    """
    found: list[T] = []
    for first in range(0, len(tasks), cores):
        found += _side_by_side(tasks[first : first + cores])
    return found


def _side_by_side(tasks: Sequence[Callable[[], T]]) -> list[T]:
    own, *others = tasks
    if not others:
        return [own()]
    with ThreadPoolExecutor(len(others)) as pool:
        started = [pool.submit(copy_context().run, task) for task in others]
        try:
            first = own()
        finally:
            wait(started)
    return [first, *(one.result() for one in started)]
