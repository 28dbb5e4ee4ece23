"""Questions that take turns on a device: what each asks for next, and the asks of several answered as one batch.

A question is a generator of asks; whoever drives it sends back the answers. One alone is driven by `alone`. Several
side by side (`verifier/batching/scheduler.py`) have their asks `answered` together: small nets leave a device, and most
of a core's time, to overhead, and a batch of many samples costs little more than one of a few. What can be asked for:
bounds of nodes (`node_ask.py`), attacks (`attack_ask.py`).
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar, cast

import torch

from encoders.deadline import NEVER, Deadline, under
from encoders.errors import SoundnessError

A = TypeVar("A")
T = TypeVar("T")
Turns = Generator["Ask[Any]", Any, T]
"""A question in progress: it yields asks, is sent answers (or thrown errors), and returns its result."""


class Ask(ABC, Generic[A]):
    """What can be answered in one batch with others of its kind; A is the answer.

    `deadline` is the question's: an answer that is not finished by then is what is known by then.
    """

    deadline: Deadline = NEVER

    @property
    @abstractmethod
    def kind(self) -> tuple[object, ...]:
        """Asks of one kind fit into one batch."""

    @property
    @abstractmethod
    def size(self) -> int:
        """Its part of a batch: of what batches are limited in, and of the seconds that they take."""

    @property
    @abstractmethod
    def most(self) -> int:
        """The size of the largest batch, unless one ask alone is larger."""

    @property
    def order(self) -> int:
        """Asks that are near each other in this order fit together best."""
        return 0

    @abstractmethod
    @abstractmethod
    def alone(self) -> A:
        """The answer to this ask by itself."""

    @abstractmethod
    def together(self, asks: Sequence[Ask[A]], kept: BuildCache) -> list[A]:
        """The answers to this ask and the others of its kind, `asks` in all."""

    def answer(self) -> Generator[Ask[Any], Any, A]:
        """Ask, and have the answer: `yield from ask.answer()`."""
        return cast(A, (yield self))


class SampleRequest(Ask[A]):
    """One sample's part of a batch of samples; alone it is a batch of one."""

    @property
    def size(self) -> int:
        return 1

    def alone(self) -> A:
        return self.together([self], BuildCache())[0]


class BuildCache:
    """What batches were built from last, for as long as the same is asked for again."""

    def __init__(self) -> None:
        self._before: dict[object, Any] = {}
        self._now: dict[object, Any] = {}

    def next_round(self) -> None:
        self._before, self._now = self._now, {}

    def get(self, key: object, build: Callable[[], T]) -> T:
        """What was built for this key in the last round or this one; else it is built."""
        found = self._before[key] if key in self._before else self._now[key] if key in self._now else build()
        self._now[key] = found
        return cast(T, found)

    def forget(self) -> None:
        """Where there is no memory to keep anything."""
        self._before, self._now = {}, {}


def alone(turns: Turns[T]) -> T:
    """Drive one question to its end."""
    try:
        ask = next(turns)
        while True:
            ask = hand_back(turns, _one(ask))
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]


def hand_back(turns: Turns[T], answer: Any) -> Ask[Any]:
    """Let a question go on with its answer, up to its next ask; StopIteration where it has none."""
    return turns.throw(answer) if isinstance(answer, Exception) else turns.send(answer)


def _one(ask: Ask[Any]) -> Any:
    try:
        with under(ask.deadline):
            return ask.alone()
    except Exception as error:  # for the question to handle, or to end with: it is nobody else's
        return error


def _each(asks: Sequence[Ask[A]]) -> list[A | Exception]:
    return [_one(ask) for ask in asks]


@dataclass(frozen=True)
class _Batch:
    """A batch in progress, as what may end it: once nobody's part of the seconds that it takes leaves any time.

    One question's deadline does not cut short what others are still waiting for, so that it is overshot by its own part
    of a batch at the most.
    """

    asks: Sequence[Ask[Any]]
    started: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started

    @property
    def each(self) -> float:
        """The seconds of an ask of size 1."""
        return self.seconds / sum(ask.size for ask in self.asks)

    @property
    def passed(self) -> bool:
        each = self.each
        return all(ask.deadline.left <= each * ask.size for ask in self.asks)


class Batcher:
    """Answers many asks at a time."""

    def __init__(self) -> None:
        self._kept = BuildCache()

    def answered(self, asks: Sequence[Ask[Any]]) -> list[tuple[Any, float]]:
        """The answer of each ask, in order, and its part of the seconds that its batch took.

        The answer is an error where an ask has none: out of memory even alone, or an alarm.
        """
        found: dict[int, tuple[Any, float]] = {}
        self._kept.next_round()
        for chunk in _chunks(asks):
            batch = _Batch([asks[k] for k in chunk])
            with under(batch):
                answers = self._together(batch.asks)
            each = batch.each
            for k, answer in zip(chunk, answers, strict=True):
                found[k] = answer, each * asks[k].size
        return [found[k] for k in range(len(asks))]

    def _together(self, asks: Sequence[Ask[A]]) -> list[A | Exception]:
        if len(asks) == 1:
            return _each(asks)
        try:
            return [*asks[0].together(asks, self._kept)]
        except torch.OutOfMemoryError:
            self._kept.forget()
            torch.cuda.empty_cache()
            half = len(asks) // 2
            return [*self._together(asks[:half]), *self._together(asks[half:])]
        except Exception as error:  # one question's trouble: by itself it is seen whose
            found = _each(asks)
            if isinstance(error, SoundnessError) and not any(isinstance(one, SoundnessError) for one in found):
                raise  # an alarm of the batch alone is a fault of sharing: nothing of it is to be trusted
            return found


def _chunks(asks: Sequence[Ask[Any]]) -> list[list[int]]:
    """Positions of asks that go together: of one kind, near each other in their order, and not too much at once."""
    kinds: dict[tuple[object, ...], list[int]] = {}
    for k, ask in enumerate(asks):
        kinds.setdefault((type(ask), *ask.kind), []).append(k)
    chunks: list[list[int]] = []
    for members in kinds.values():
        members.sort(key=lambda k: asks[k].order)
        chunk, size = list[int](), 0
        for k in members:
            if chunk and size + asks[k].size > min(asks[k].most, asks[chunk[0]].most):
                chunks.append(chunk)
                chunk, size = [], 0
            chunk.append(k)
            size += asks[k].size
        chunks.append(chunk)
    return chunks
