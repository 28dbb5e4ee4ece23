"""Brackets of samples in progress, written down each minute, so that whatever ends a run costs a minute at most.

A thread of its own does it: what works on a sample may be silent for long. Where everything was asked to stop and a
sample does not end, as in the middle of a solver that nobody can interrupt, it also writes the last that was told.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

from encoders.deadline import EVERYTHING
from verifier.question.problem import Running

EVERY = 60.0  # seconds between two lines about one sample
LAST_WORDS = 4.5  # seconds after a stop in which a sample may end by itself
BETWEEN_LOOKS = 0.25


class RunningBrackets:
    """What samples in progress told last. `write` writes the answer of one so far; `at_last` is called with those of
    all that did not end when they should have, after they were written."""

    def __init__(
        self, write: Callable[[int, Any], Any], at_last: Callable[[Sequence[Any]], None] | None = None
    ) -> None:
        self._write, self._at_last = write, at_last
        self._told: dict[int, Running] = {}
        self._written: dict[int, tuple[float, Any]] = {}  # when, and what
        self._failure: Exception | None = None  # a full disk, or an alarm; raised where the samples are worked on
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> RunningBrackets:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        if kind is None and self._failure is not None:
            raise self._failure

    def see(self, index: int, running: Running) -> None:
        """A bracket moved, or may have."""
        if self._failure is not None:
            raise self._failure
        with self._lock:
            self._told[index] = running
            self._written.setdefault(index, (time.monotonic(), None))

    def ended(self, index: int) -> None:
        """From now on its own line says more."""
        with self._lock:
            self._told.pop(index, None)
            self._written.pop(index, None)

    def write_due(self, now: float) -> None:
        """Write what has moved since its last line, where that was a minute ago."""
        with self._lock:
            for index, running in self._told.items():
                when, before = self._written[index]
                sides = running.lower, running.upper, running.basis
                if now >= when + EVERY and running.answer is not None:
                    self._written[index] = now, sides
                    if sides != before:
                        self._write(index, running.answer)

    def write_last(self) -> None:
        """Write what was told last of all that are still in progress."""
        with self._lock:
            answers = {index: one.answer for index, one in self._told.items() if one.answer is not None}
            if answers and self._at_last is not None:
                self._at_last([self._write(index, answer) for index, answer in answers.items()])

    def _look(self) -> None:
        try:
            self._look_until_over()
        except Exception as error:
            self._failure = error

    def _look_until_over(self) -> None:
        stopped: float | None = None
        while not self._over.wait(BETWEEN_LOOKS):
            now = time.monotonic()
            self.write_due(now)
            if EVERYTHING.asked:
                stopped = now if stopped is None else stopped
                if now >= stopped + LAST_WORDS:
                    self.write_last()
                    return
