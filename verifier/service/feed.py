"""What happens, to all who listen: the database is read once for all of them, and whoever comes back misses nothing.

A sample and a run are told as they are when they are told, so that late is never wrong.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from verifier.service.errors import UnavailableError
from verifier.service.store.records import Event, RunState
from verifier.service.store.store import Store

LOOK = 0.5  # seconds between two looks at what is new; what happens between two is told as it is then
TELLING = 0.05  # of the time, for these looks: where much happens at once they are fewer
LONGEST = 5.0  # seconds between two looks, however slow the database is
AT_ONCE = 500  # events that are read together
WAITING = 500  # looks that one listener may be behind; one that is further behind comes back by itself
QUIET = 15.0  # seconds after which a comment says that the line is alive
ENDED = (RunState.FINISHED, RunState.CANCELLED, RunState.FAILED)

Render = Callable[[str, Sequence[Event]], list[tuple[Event, str]]]
"""The events of one run with their JSON texts; what is gone is left out."""


@dataclass(frozen=True)
class Heard:
    """Events of one run as they go over the line, written once for all who listen; and whether none comes after."""

    lines: bytes
    last: bool


Line = asyncio.Queue[Heard | None]


class Feed:
    """The one reader of what is new, and the lines of those who listen."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.render: Render | None = None
        self._lines: dict[str, list[Line]] = {}
        self._begun: dict[str, tuple[int, Heard]] = {}  # how a run was told to the last who came, after which event
        self._position = 0
        self._lock: asyncio.Lock | None = None
        self.closing = False

    @property
    def listeners(self) -> int:
        return sum(map(len, self._lines.values()))

    async def run(self) -> None:
        """Tell everyone what is new, until this is cancelled."""
        took = 0.0
        while not self.closing:
            await asyncio.sleep(pause_after(took))
            began = time.monotonic()
            if self._lines:
                with suppress(UnavailableError):
                    await self._look()
            took = time.monotonic() - began

    def close(self) -> None:
        """Every line ends."""
        self.closing = True
        for line in [line for lines in self._lines.values() for line in lines]:
            _put(line, None)

    async def listen(self, run: str, after: int | None) -> AsyncIterator[bytes]:
        """The events of a run from one on, or first how everything is; then as they happen, until the run ends."""
        line: Line = asyncio.Queue(WAITING)
        position = await self._join(run, line)
        try:
            begun = await asyncio.to_thread(self._before, run, after, position)
            yield begun.lines
            if begun.last:
                return
            while not self.closing:
                try:
                    one = await asyncio.wait_for(line.get(), QUIET)
                except TimeoutError:
                    yield b": nothing new\n\n"
                    continue
                if one is None:
                    return
                yield one.lines
                if one.last:
                    return
        finally:
            self._leave(run, line)

    def _before(self, run: str, after: int | None, position: int) -> Heard:
        """What a listener has missed; one who was never there is told how all that moves is now."""
        if after is None:
            known = self._begun.get(run)
            if known is not None and known[0] == position:
                return known[1]  # what has happened since is still to be told to everyone
            numbers = [sample.number for sample in self.store.samples(run, 1000, state="running").items]
            events = [Event(position, run, "sample", number, None) for number in numbers]
            told = self._rendered(run, [*events, Event(position, run, "run", None, None)])
            self._begun[run] = position, told
            return told
        missed: list[Event] = []
        while True:
            some = self.store.events(after, AT_ONCE, run)
            missed += [event for event in some if event.id <= position]
            if len(some) < AT_ONCE or some[-1].id > position:
                break
            after = some[-1].id
        return self._rendered(run, missed)

    async def _join(self, run: str, line: Line) -> int:
        self._lock = self._lock or asyncio.Lock()
        async with self._lock:
            if not self._lines:
                self._position = await asyncio.to_thread(self.store.last_event)
            self._lines.setdefault(run, []).append(line)
            return self._position

    def _leave(self, run: str, line: Line) -> None:
        lines = self._lines.get(run, [])
        if line in lines:
            lines.remove(line)
        if not lines:
            self._lines.pop(run, None)
            self._begun.pop(run, None)

    async def _look(self) -> None:
        self._lock = self._lock or asyncio.Lock()
        async with self._lock:
            events = await asyncio.to_thread(self.store.events, self._position, AT_ONCE)
            if not events:
                return
            by_run: dict[str, list[Event]] = {}
            for event in events:
                if event.run_id in self._lines:
                    by_run.setdefault(event.run_id, []).append(event)
            heard = await asyncio.to_thread(lambda: {run: self._rendered(run, some) for run, some in by_run.items()})
            self._position = events[-1].id
            for run, told in heard.items():
                for line in [*self._lines.get(run, [])] if told.lines else []:
                    if not _put(line, told):
                        self._leave(run, line)

    def _rendered(self, run: str, events: Sequence[Event]) -> Heard:
        """The latest of each kind of each sample and of the run, in their order: what is told is how it is now."""
        latest = {(event.kind, event.number): event for event in events}
        chosen = sorted(latest.values(), key=lambda event: event.id)
        told = self.render(run, chosen) if self.render is not None else []
        lines = "".join(f"id: {event.id}\nevent: {event.kind}\ndata: {text}\n\n" for event, text in told)
        last = any(event.kind == "run" and json.loads(text)["state"] in ENDED for event, text in told)
        return Heard(lines.encode(), last)


def pause_after(took: float) -> float:
    """Seconds until the next look, after one that took so many."""
    return min(max(LOOK, took / TELLING), LONGEST)


def _put(line: Line, one: Heard | None) -> bool:
    """Whether the line took it; one that is full ends, and its listener comes back for the rest."""
    try:
        line.put_nowait(one)
    except asyncio.QueueFull:
        line.get_nowait()
        line.put_nowait(None)
        return False
    return True
