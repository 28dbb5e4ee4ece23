"""Ctrl-C while a process is started: it waits, and does not reach the new process."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def interrupts_blocked() -> Iterator[None]:
    """SIGINT is blocked in this thread, and so in every process that it starts, from that process's first instruction.

    A terminal sends Ctrl-C to all processes of a command. One that is still importing has not yet said that it leaves
    it to its parent, and would die of it with a traceback. Here a signal that came meanwhile is delivered at the end.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
