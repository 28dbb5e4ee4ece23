"""Deadlines, and work that ends at one: between its steps, dear work looks at the clock that it was started under.

A question has a clock of its own, and few places know its deadline; what takes the time lies far below them: descents,
neuron bounds, attacks, programs. So a deadline is not handed down from call to call. Work is started `under` one, and
whatever is called from there may ask whether it is `out_of_time`, or have `look` end the work. Two rules keep that from
making anything wrong:

- What holds a valid answer at any moment, as the best bound or the nearest adversary so far, stops where it is and
  returns that. What has none before its end, as a descent's prices or the neuron bounds of a net, is ended by `look`;
  `in_time` then answers with what is true without it.
- Work that `look` may end changes nothing that outlives it but by single steps that are true by themselves. A search
  puts nodes back whose bounds were not finished.

Work without a deadline never looks at a clock, so that its path and its numbers are what they would be without this
module.

A stop is an end that nobody foresaw: Ctrl-C, or a question that is called off. Once it is asked for, every deadline has
passed, endless ones too, so that questions end by the very way of a time limit and keep what is proven and found.
`EVERYTHING` stops all questions of this process; a clock has a stop of its own, which ends its question alone.

By how much a limit can be overshot: the clock is looked at between operations, each a pass over a batch of nodes, a
step of a descent, a part of a layer's rows or of a factorisation. The longest of them is what can come on top, with the
reply: less than a second of a core for nets of up to some thousand inputs and open neurons, more where a core is shared
or a net is larger. Solvers in processes of their own are ended from outside `GRACE` seconds after
(`encoders/solvers/process.py`); one behind Pyomo keeps its limit as well as it does by itself. A deadline is the
question's own: where several share a batch, it ends when nobody has time left, and each is charged its part alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from encoders.errors import PlumblineError

T = TypeVar("T")


class OutOfTimeError(PlumblineError, TimeoutError):
    """A deadline has passed in the middle of a piece of work; never seen beyond `in_time`."""


class Limit(Protocol):
    """What work may be started under."""

    @property
    def passed(self) -> bool:
        """Whether the work is to end."""


class Stop:
    """Whether work is asked to end, whatever time it has left; once asked, until `forget`. Any thread may ask."""

    def __init__(self) -> None:
        self.asked = False

    def ask(self) -> None:
        self.asked = True

    def forget(self) -> None:
        """Work that begins from now on is not meant."""
        self.asked = False


EVERYTHING = Stop()
"""The stop of all questions in this process."""


class Clock:
    """The seconds that a question has had: all that pass, but for those in which others have their turn.

    `stop` ends this question alone.
    """

    def __init__(self, stop: Stop | None = None) -> None:
        self._spent, self._since = 0.0, time.monotonic()
        self._running = True
        self.stop = Stop() if stop is None else stop

    @property
    def stopped(self) -> bool:
        """Whether this question, or all of them, are asked to end."""
        return self.stop.asked or EVERYTHING.asked

    def now(self) -> float:
        """Seconds on this clock."""
        return self._spent + (time.monotonic() - self._since if self._running else 0.0)

    def pause(self) -> None:
        self._spent, self._running = self.now(), False

    def resume(self, charge: float = 0.0) -> None:
        """Go on, with `charge` seconds of work that was done for several at once."""
        self._spent, self._since, self._running = self.now() + charge, time.monotonic(), True


@dataclass(frozen=True)
class Deadline:
    """A moment on a clock; `None` never comes, unless the clock is stopped."""

    moment: float | None
    clock: Clock = field(default_factory=Clock, compare=False)

    @classmethod
    def after(cls, seconds: float | None, clock: Clock | None = None) -> Deadline:
        clock = Clock() if clock is None else clock
        return cls(None if seconds is None or seconds == float("inf") else clock.now() + seconds, clock)

    def within(self, seconds: float) -> Deadline:
        """This deadline, or one so many seconds from now if that is earlier; on the same clock."""
        return Deadline.after(min(seconds, self.left), self.clock)

    @property
    def left(self) -> float:
        """Seconds left, never negative; infinite without a limit, none once the clock is stopped."""
        if self.clock.stopped:
            return 0.0
        return float("inf") if self.moment is None else max(0.0, self.moment - self.clock.now())

    @property
    def passed(self) -> bool:
        return self.left <= 0.0


NEVER = Deadline(None)

_limits: ContextVar[tuple[Limit, ...]] = ContextVar("limits", default=())


@contextmanager
def under(limit: Limit) -> Iterator[None]:
    """Work that ends of its own accord at the limit; limits around it go on to hold. No turn may be yielded inside."""
    before = _limits.set((*_limits.get(), limit))
    try:
        yield
    finally:
        _limits.reset(before)


def in_time(limit: Limit, work: Callable[[], T], otherwise: T) -> T:
    """What the work comes to, or `otherwise` where it was ended first."""
    with under(limit):
        try:
            return work()
        except OutOfTimeError:
            return otherwise


def out_of_time() -> bool:
    """Whether the work that asks is to stop where it is."""
    return any(limit.passed for limit in _limits.get())


def look() -> None:
    """End the work that asks, if its time is up."""
    if out_of_time():
        raise OutOfTimeError("a deadline was looked at outside the work that it ends; report this as a bug")
