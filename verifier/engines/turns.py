"""Searches that take turns on a device: what each asks for next, and the asks of several answered as one batch.

A search is a generator of asks; whoever drives it sends back the answers. One alone is driven by `alone`. Several side
by side (`verifier/sharing.py`) have their asks `answered` together: small nets leave a device, and most of a core's
time, to overhead, and a batch of many samples costs little more than one of a few.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch

from bounds.ascent import Effort, bounded
from bounds.carrying import gathered, parted
from bounds.phases import Nodes, Pass, PhaseBounds

MOST_NODES = 1024  # in one batch, unless one ask alone has more
SMALL = {"cpu": 20_000, "cuda": 4_000_000}  # entries of a net's rows: below, several nets side by side pay


@dataclass(frozen=True, eq=False)
class Ask:
    """Nodes of one net whose bounds are to be raised to `target`."""

    engine: PhaseBounds
    nodes: Nodes
    steps: int
    target: float
    effort: Effort

    @property
    def kind(self) -> tuple[object, ...]:
        """Asks of one kind fit into one batch."""
        stack = self.engine.stack
        return stack.norm, stack.x.device, self.engine.width, self.effort

    @property
    def large(self) -> bool:
        """Whether the ask fills the device by itself."""
        stack = self.engine.stack
        return stack.x.numel() > SMALL[stack.x.device.type]


Answer = tuple[Nodes, Pass]
T = TypeVar("T")
Turns = Generator[Ask, Answer, T]
"""A search in progress: it yields asks, is sent answers (or thrown an OutOfMemoryError), and returns its result."""


def alone(turns: Turns[T]) -> T:
    """Drive one search to its end."""
    try:
        ask = next(turns)
        while True:
            ask = hand_back(turns, _one(ask))
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]


def hand_back(turns: Turns[T], answer: Answer | Exception) -> Ask:
    """Let a search go on with its answer, up to its next ask; StopIteration where it has none."""
    return turns.throw(answer) if isinstance(answer, Exception) else turns.send(answer)


def _one(ask: Ask) -> Answer | Exception:
    try:
        return bounded(ask.engine, ask.nodes, ask.steps, ask.target, ask.effort)
    except torch.OutOfMemoryError as error:
        return error


class Batches:
    """Answers many asks at a time; keeps the nets that stood side by side last, for as long as they are the same."""

    def __init__(self) -> None:
        self._kept: dict[tuple[PhaseBounds, ...], PhaseBounds] = {}

    def answered(self, asks: Sequence[Ask]) -> list[tuple[Answer | Exception, float]]:
        """The answer of each ask, in order, and its part of the seconds that its batch took.

        The answer is an error where a device had not enough memory for an ask alone.
        """
        found: dict[int, tuple[Answer | Exception, float]] = {}
        kept, self._kept = self._kept, {}
        for chunk in _chunks(asks):
            started = time.monotonic()
            answers = self._together([asks[k] for k in chunk], kept)
            each = (time.monotonic() - started) / sum(len(asks[k].nodes) for k in chunk)
            for k, answer in zip(chunk, answers, strict=True):
                found[k] = answer, each * len(asks[k].nodes)
        return [found[k] for k in range(len(asks))]

    def _together(
        self, asks: Sequence[Ask], kept: dict[tuple[PhaseBounds, ...], PhaseBounds]
    ) -> list[Answer | Exception]:
        if len(asks) == 1:
            return [_one(asks[0])]
        key = tuple(ask.engine for ask in asks)
        try:
            engine = kept.get(key) or PhaseBounds(*(ask.engine.net for ask in asks))
            nodes = gathered(engine.stack, [ask.nodes for ask in asks])
            target = torch.tensor([ask.target for ask in asks], dtype=nodes.slope.dtype, device=nodes.slope.device)
            nodes, seen = bounded(engine, nodes, max(ask.steps for ask in asks), target, asks[0].effort)
        except torch.OutOfMemoryError:
            torch.cuda.empty_cache()
            half = len(asks) // 2
            return [*self._together(asks[:half], kept), *self._together(asks[half:], kept)]
        self._kept[key] = engine
        return list(parted(engine, nodes, seen, [len(ask.nodes) for ask in asks]))


def _chunks(asks: Sequence[Ask]) -> list[list[int]]:
    """Positions of asks that go together: of one kind, of similar size, and not too many nodes."""
    kinds: dict[tuple[object, ...], list[int]] = {}
    chunks: list[list[int]] = []
    for k, ask in enumerate(asks):
        if ask.large:
            chunks.append([k])
        else:
            kinds.setdefault(ask.kind, []).append(k)
    for members in kinds.values():
        members.sort(key=lambda k: asks[k].engine.stack.open_phases)
        chunk, size = list[int](), 0
        for k in members:
            if chunk and size + len(asks[k].nodes) > MOST_NODES:
                chunks.append(chunk)
                chunk, size = [], 0
            chunk.append(k)
            size += len(asks[k].nodes)
        chunks.append(chunk)
    return chunks
