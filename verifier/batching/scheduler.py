"""Samples side by side in one process: what their questions request is computed in one batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from encoders.deadline import EVERYTHING, Clock
from verifier.batching.request import Batcher, Request, Work, resumed

T = TypeVar("T")
Question = Callable[[Clock], Work[T]]
"""What is asked of one sample, on a clock of its own."""


@dataclass(eq=False)
class _Slot(Generic[T]):
    """One question in progress: what it waits for, or how it ended."""

    index: int
    question: Question[T]
    clock: Clock = field(default_factory=Clock)
    work: Work[T] | None = None
    request: Request[Any] | None = None
    ended: T | Exception | None = None

    def go_on(self, answer: Any = None, seconds: float = 0.0) -> None:
        """Up to the next request; the first time, from the beginning."""
        self.clock.resume(seconds)
        try:
            if self.work is None:
                self.work = self.question(self.clock)
            self.request = resumed(self.work, answer)
        except StopIteration as end:
            self.ended = end.value
        except Exception as error:  # this sample's outcome; what it means for the others is the caller's choice
            self.ended = error
        finally:
            self.clock.pause()


@dataclass(eq=False)
class Scheduler(Generic[T]):
    """Up to `slots` questions at a time; a slot that falls free is taken by the next."""

    slots: int
    batcher: Batcher = field(default_factory=Batcher)

    def outcomes(self, questions: Iterable[tuple[int, Question[T]]]) -> Iterator[tuple[int, T | Exception]]:
        """Each sample's result, or the error that kept it from having one, as it ends.

        The seconds of a result are its own and its part of the batches that it was in. Once everything is asked to stop
        no question is begun any more, and those in progress end as at a time limit.
        """
        waiting = iter(questions)
        live: list[_Slot[T]] = []
        while True:
            for slot in self._started(waiting, len(live)):
                if slot.ended is not None:
                    yield slot.index, slot.ended
                else:
                    live.append(slot)
            if not live:
                return
            requests = [slot.request for slot in live if slot.request is not None]
            for slot, (answer, seconds) in zip(live, self.batcher.answered(requests), strict=True):
                slot.go_on(answer, seconds)
                if slot.ended is not None:
                    yield slot.index, slot.ended
            live = [slot for slot in live if slot.ended is None]

    def _started(self, waiting: Iterator[tuple[int, Question[T]]], taken: int) -> Iterator[_Slot[T]]:
        """Questions begun one by one while slots are free; one that ends at once leaves its slot to the next."""
        while taken < self.slots and not EVERYTHING.asked:
            found = next(waiting, None)
            if found is None:
                return
            slot = _Slot(*found)
            slot.go_on()
            taken += slot.ended is None
            yield slot
