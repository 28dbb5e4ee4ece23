"""SIGINT and SIGTERM: what they ask of running work, and that they do not reach processes that are being started.

The first signal asks everything to stop (`encoders.deadline.EVERYTHING`): questions end as at a time limit, what they
know is written down, and the command ends with 128 and the signal's number, 130 or 143. Work that does not look at
deadlines is interrupted where it is, as Python does by itself: only inside `cooperative` can it be waited for. A second
signal ends the process at once; what a terminal, a batch system or `timeout` sends twice in one breath is one signal.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from encoders.deadline import EVERYTHING

SIGNALS = (signal.SIGINT, signal.SIGTERM)
ONE_BREATH = 0.5  # seconds
SHOW_CURSOR = "\x1b[?25h"
STOPPING = "plumbline: stopping, and writing down what is known; once more to end at once\n"


class Interrupted(KeyboardInterrupt):
    """A signal came where work cannot be asked to end."""


class _Interrupts:
    """The signal that came first, when, and how many sections of work would end by themselves."""

    def __init__(self) -> None:
        self.number: int | None = None
        self.moment = 0.0
        self.sections = 0

    def handle(self, number: int, frame: FrameType | None) -> None:
        """What a signal does."""
        del frame
        if self.number is not None:
            if time.monotonic() >= self.moment + ONE_BREATH:
                signal.signal(number, signal.SIG_DFL)
                signal.raise_signal(number)
            return
        self.number, self.moment = number, time.monotonic()
        EVERYTHING.ask()
        if not self.sections:
            raise Interrupted
        # A handler may run in the middle of a print, and must not print itself.
        os.write(2, ((SHOW_CURSOR if sys.stderr.isatty() else "") + STOPPING).encode())


_interrupts = _Interrupts()


@contextmanager
def interrupts_stop() -> Iterator[None]:
    """For the length of a command, signals ask its work to stop. A signal that is ignored stays so."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _interrupts.number = None
    before = {number: signal.getsignal(number) for number in SIGNALS}
    ours = [number for number, handler in before.items() if handler is not signal.SIG_IGN]
    for number in ours:
        signal.signal(number, _interrupts.handle)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, before[number])
        if _interrupts.number is not None:
            EVERYTHING.forget()


@contextmanager
def cooperative() -> Iterator[None]:
    """Work that ends by itself, and soon, once everything is asked to stop."""
    _interrupts.sections += 1
    try:
        yield
    finally:
        _interrupts.sections -= 1


def interrupted() -> int | None:
    """The exit status of a command that a signal stopped; None where none came."""
    return None if _interrupts.number is None else 128 + _interrupts.number


@contextmanager
def interrupts_blocked() -> Iterator[None]:
    """Both signals are blocked in this thread, and so in every process that it starts, from its first instruction.

    A terminal sends Ctrl-C to all processes of a command, and a batch system SIGTERM. One that is still importing has
    not yet said that it leaves them to its parent, and would die of it with a traceback. Here a signal that came
    meanwhile is delivered at the end.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
