"""Work of one question on several cores, in threads: where torch and HiGHS compute, they hold no lock of Python."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextvars import copy_context
from typing import TypeVar

T = TypeVar("T")


def each_on_a_core(tasks: Sequence[Callable[[], T]]) -> list[T]:
    """What each of some tasks returns, one of them done by this thread; the first error of theirs, once all have ended.

    Each ends at the limits that its caller is under (`encoders/deadline.py`).
    """
    if len(tasks) < 2:
        return [task() for task in tasks]
    own, *others = tasks
    with ThreadPoolExecutor(len(others)) as pool:
        started = [pool.submit(copy_context().run, task) for task in others]
        try:
            first = own()
        finally:
            wait(started)
    return [first, *(one.result() for one in started)]
