"""Samples side by side in one process: their searches take turns, and what they ask for is bounded in one batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from encoders.deadline import Clock
from verifier.batching.request import Ask, Batcher, Turns, hand_back

T = TypeVar("T")
Question = Callable[[Clock], Turns[T]]
"""What is asked of one sample, on a clock of its own."""


@dataclass(eq=False)
class _Seat(Generic[T]):
    """One question in progress: what it asks for, or how it ended."""

    index: int
    question: Question[T]
    clock: Clock = field(default_factory=Clock)
    turns: Turns[T] | None = None
    ask: Ask[Any] | None = None
    ended: T | Exception | None = None

    def go_on(self, answer: Any = None, seconds: float = 0.0) -> None:
        """Up to the next ask; the first time, from the beginning."""
        self.clock.resume(seconds)
        turns = self.turns
        self._until_next(self._begin if turns is None else lambda: hand_back(turns, answer))

    def _begin(self) -> Ask[Any]:
        self.turns = self.question(self.clock)
        return next(self.turns)

    def _until_next(self, step: Callable[[], Ask[Any]]) -> None:
        try:
            self.ask = step()
        except StopIteration as end:
            self.ended = end.value
        except Exception as error:  # this sample's outcome; what it means for the others is the caller's choice
            self.ended = error
        finally:
            self.clock.pause()


@dataclass(eq=False)
class Table(Generic[T]):
    """Up to `seats` questions at a time; a seat that falls free is taken by the next."""

    seats: int
    batches: Batcher = field(default_factory=Batcher)

    def outcomes(self, questions: Iterable[tuple[int, Question[T]]]) -> Iterator[tuple[int, T | Exception]]:
        """Each sample's result, or the error that kept it from having one, as it ends.

        The seconds of a result are its own and its part of the batches that it shared.
        """
        waiting = iter(questions)
        live: list[_Seat[T]] = []
        while True:
            for seat in self._seated(waiting, len(live)):
                if seat.ended is not None:
                    yield seat.index, seat.ended
                else:
                    live.append(seat)
            if not live:
                return
            asks = [seat.ask for seat in live if seat.ask is not None]
            for seat, (answer, seconds) in zip(live, self.batches.answered(asks), strict=True):
                seat.go_on(answer, seconds)
                if seat.ended is not None:
                    yield seat.index, seat.ended
            live = [seat for seat in live if seat.ended is None]

    def _seated(self, waiting: Iterator[tuple[int, Question[T]]], taken: int) -> Iterator[_Seat[T]]:
        """Questions begun one by one while seats are free; one that ends at once leaves its seat to the next."""
        while taken < self.seats:
            found = next(waiting, None)
            if found is None:
                return
            seat = _Seat(*found)
            seat.go_on()
            taken += seat.ended is None
            yield seat
