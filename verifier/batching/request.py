"""What a question in progress waits for, and how the requests of several are answered as one batch.

A question is a coroutine that awaits requests; whoever drives it sends back the answers. One by itself is driven by
`run_alone`. The scheduler (`scheduler.py`) drives several side by side and has their requests answered together: small
nets leave a device, and most of a core's time, to overhead, and a batch of many samples costs little more than one of a
few. There is no event loop: nothing happens between two requests that is not written there. Where a question may use
several cores, one request is answered in parts, side by side (`cores.py`).
What can be requested: bounds of nodes (`node_request.py`), first passes, attacks.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Generator, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar, cast

import torch

from encoders.deadline import NEVER, Deadline, under
from encoders.errors import SoundnessError
from verifier.batching.cores import each_on_a_core

A = TypeVar("A")
T = TypeVar("T")
Work = Coroutine["Request[Any]", Any, T]
"""A question in progress: it awaits requests, is sent answers (or thrown errors), and returns its result."""


class Request(ABC, Generic[A]):
    """What can be answered in one batch with others of its kind; A is the answer.

    `deadline` is the question's: an answer that is not finished by then is what is known by then.
    """

    deadline: Deadline = NEVER

    @property
    @abstractmethod
    def kind(self) -> tuple[object, ...]:
        """Requests of one kind fit into one batch."""

    @property
    @abstractmethod
    def size(self) -> int:
        """Its part of a batch: of what batches are limited in, and of the seconds that they take."""

    @property
    @abstractmethod
    def most(self) -> int:
        """The size of the largest batch, unless one request alone is larger."""

    @property
    def order(self) -> int:
        """Requests that are near each other in this order fit together best."""
        return 0

    @abstractmethod
    def alone(self) -> A:
        """The answer to this request by itself."""

    def parts(self, count: int) -> Sequence[Request[A]]:
        """The request in up to so many parts that cost alike, where that pays on as many cores; else it alone."""
        del count
        return (self,)

    def joined(self, answers: Sequence[A]) -> A:
        """The answer that those to its parts make."""
        (answer,) = answers
        return answer

    @abstractmethod
    def together(self, requests: Sequence[Request[A]], kept: BuildCache) -> list[A]:
        """The answers to this request and the others of its kind, `requests` in all."""

    def __await__(self) -> Generator[Request[Any], Any, A]:
        """Hand the request to whoever drives the question, and have the answer."""
        return cast(A, (yield self))


class SampleRequest(Request[A]):
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


def run_alone(work: Work[T], cores: int = 1) -> T:
    """Drive one question to its end, on so many cores where that pays."""
    try:
        request = work.send(None)
        while True:
            request = resumed(work, _one(request, cores))
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]


def resumed(work: Work[T], answer: Any) -> Request[Any]:
    """Let a question go on with its answer, up to its next request; StopIteration where it has none."""
    return work.throw(answer) if isinstance(answer, Exception) else work.send(answer)


def _one(request: Request[Any], cores: int) -> Any:
    try:
        with under(request.deadline):
            parts = request.parts(cores) if cores > 1 else (request,)
            return request.joined(each_on_a_core([part.alone for part in parts], cores))
    except Exception as error:  # for the question to handle, or to end with: it is nobody else's
        return error


@dataclass(frozen=True)
class _Batch:
    """A batch in progress, as what may end it: once nobody's part of the seconds that it takes leaves any time.

    One question's deadline does not cut short what others are still waiting for, so that it is overshot by its own part
    of a batch at the most.
    """

    requests: Sequence[Request[Any]]
    started: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started

    @property
    def each(self) -> float:
        """The seconds of a request of size 1."""
        return self.seconds / sum(request.size for request in self.requests)

    @property
    def passed(self) -> bool:
        each = self.each
        return all(request.deadline.left <= each * request.size for request in self.requests)


class Batcher:
    """Answers many requests at a time; one by itself on so many cores."""

    def __init__(self, cores: int = 1) -> None:
        self._kept, self._cores = BuildCache(), cores

    def answered(self, requests: Sequence[Request[Any]]) -> list[tuple[Any, float]]:
        """The answer of each request, in order, and its part of the seconds that its batch took.

        The answer is an error where a request has none: out of memory even alone, or an alarm.
        """
        found: dict[int, tuple[Any, float]] = {}
        self._kept.next_round()
        for chunk in _chunks(requests):
            batch = _Batch([requests[k] for k in chunk])
            with under(batch):
                answers = self._together(batch.requests)
            each = batch.each
            for k, answer in zip(chunk, answers, strict=True):
                found[k] = answer, each * requests[k].size
        return [found[k] for k in range(len(requests))]

    def _together(self, requests: Sequence[Request[A]]) -> list[A | Exception]:
        if len(requests) == 1:
            return self._each(requests)
        try:
            return [*requests[0].together(requests, self._kept)]
        except torch.OutOfMemoryError:
            self._kept.forget()
            torch.cuda.empty_cache()
            half = len(requests) // 2
            return [*self._together(requests[:half]), *self._together(requests[half:])]
        except Exception as error:  # one question's trouble: by itself it is seen whose
            found = self._each(requests)
            if isinstance(error, SoundnessError) and not any(isinstance(one, SoundnessError) for one in found):
                raise  # an alarm of the batch alone is a fault of batching: nothing of it is to be trusted
            return found

    def _each(self, requests: Sequence[Request[A]]) -> list[A | Exception]:
        return [_one(request, self._cores) for request in requests]


def _chunks(requests: Sequence[Request[Any]]) -> list[list[int]]:
    """Positions of requests that go together: of one kind, near each other in their order, and not too much at once."""
    kinds: dict[tuple[object, ...], list[int]] = {}
    for k, request in enumerate(requests):
        kinds.setdefault((type(request), *request.kind), []).append(k)
    chunks: list[list[int]] = []
    for members in kinds.values():
        members.sort(key=lambda k: requests[k].order)
        chunk, size = list[int](), 0
        for k in members:
            if chunk and size + requests[k].size > min(requests[k].most, requests[chunk[0]].most):
                chunks.append(chunk)
                chunk, size = [], 0
            chunk.append(k)
            size += requests[k].size
        chunks.append(chunk)
    return chunks
