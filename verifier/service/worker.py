"""A worker: takes samples, answers them, and says every half second how far each is.

What it says is merged into the database; nothing that it holds in memory is needed by anyone. It may be killed at any
moment: its heartbeats stop, and its samples go on elsewhere from their brackets.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import resource
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from encoders.deadline import Clock, Stop
from encoders.errors import PlumblineError, SoundnessError
from verifier.question.model import Model
from verifier.question.problem import Progress, Running
from verifier.question.results import Adversary
from verifier.runs.in_process import InProcess
from verifier.runs.job import Asking, Given, Outcome, SampleProgress
from verifier.runs.processes import CHUNK
from verifier.runs.run import slots_for
from verifier.service.errors import UnavailableError
from verifier.service.files import Files, files_at
from verifier.service.loaded_run import LoadedRun, adversary_file
from verifier.service.settings import YIELDING, Place
from verifier.service.store.database import connected
from verifier.service.store.records import Claimed, Finding, StoredArray, StoredRun, arrays_named
from verifier.service.store.store import Store

T = TypeVar("T")
IDLE = 0.1  # seconds between two looks for samples
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 2.0  # seconds before what the database did not take is offered again
LAST_ANSWERS = 2.0  # seconds that questions have which are asked to stop
LAST_WORDS = 4.0  # seconds that a worker which is to end has for telling what it knows
LAST_LOOK = 0.02
NOTABLE = 0.01  # of what is open: a side that moves by less is told later
TELLING = 0.02  # of a worker's time, for telling how far its samples are: many side by side are told less often
SILENCE = 5.0  # seconds after which a sample's work is told whatever has moved
OVERDUE = 120.0  # seconds beyond its time limit after which a sample's worker ends itself


@dataclass(eq=False)
class Held:
    """A sample that a worker has, and how far it is."""

    claim: Claimed
    asking: LoadedRun | None = None
    patience: float = float("inf")  # seconds after which it is not waited for any longer
    started: float = field(default_factory=time.monotonic)
    stop: Stop = field(default_factory=Stop)
    running: Running | None = None
    saved: tuple[float, str | None] = (float("inf"), None)  # how far its adversary is that is kept, and where
    told: Finding | None = None  # what the database has of it

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started

    def news(self, files: Files) -> Finding | None:
        """How far it is, where that is worth a heartbeat's time; what is not told now is told with the next news."""
        running, told = self.running, self.told
        if running is not None and told is not None and self.seconds - told.seconds < SILENCE:
            open_now = float(running.upper) - float(running.lower)
            notable = NOTABLE * open_now if math.isfinite(open_now) else 0.0
            moved = float(running.lower) > told.lower + notable or float(running.upper) < told.upper - notable
            if not moved and (running.technique or None) == told.technique:
                return None
        return self.finding(files)

    def finding(self, files: Files) -> Finding | None:
        """How far it is, its adversary kept: what goes on from here needs both."""
        running, asking = self.running, self.asking
        if running is None or asking is None:
            return None
        witness = None
        if running.answer is not None:
            witness = next(iter(asking.job.witnesses(running.answer).values()), None)
        if witness is not None and witness.distance < self.saved[0]:
            kept = files.put(adversary_file(asking.samples.x[self.claim.number], witness))
            self.saved = witness.distance, kept
        predicted = None if running.answer is None else running.answer.predicted
        return Finding(
            float(running.lower), float(running.upper), self.seconds, running.nodes, running.open_phases,
            str(running.basis), asking.job.options.engine, running.technique or None, predicted,
            None if witness is None else witness.label, None if witness is None else witness.found_by, self.saved[1],
        )  # fmt: skip


class UnwantedError(PlumblineError):
    """Nobody waits for this sample any more: its run was cancelled, or it was given to another worker."""


class Worker:
    """Takes samples from a store until it is told to stop."""

    def __init__(self, name: str, store: Store, files: Files, place: Place) -> None:
        self.name, self.store, self.files, self.place = name, store, files, place
        self.stopping = threading.Event()
        self._held: dict[tuple[str, int], Held] = {}
        self._lock = threading.Lock()

    def work(self) -> None:
        """Until it is told to stop."""
        self._persistently(lambda: self.store.register(self.name))
        beating = threading.Thread(target=self._beat, daemon=True)
        beating.start()
        while not self.stopping.is_set():
            claimed = self._persistently(lambda: self.store.claim(self.name))
            if claimed is None:
                self.stopping.wait(IDLE)
            else:
                self._stint(claimed)
        beating.join()

    def _stint(self, first: Claimed) -> None:
        """Samples of one run, side by side, until it is another run's turn."""
        run, model, data = self._persistently(lambda: self.store.run_at_work(first.run_id))
        limit = min(run.time_limit or float("inf"), self.place.limits.seconds_per_sample)
        self._take(Held(first))
        try:
            with scratch(self.place.cache) as folder:
                arrays = {name: self._array(run.owner, key) for name, key in arrays_named(run.options).items()}
                asking = LoadedRun.of(run, model, data, arrays, self.files, self.place.cache, limit, folder)
                slots = slots_for(asking.model, asking.job.options)
                job = Stoppable(asking.job.options, inner=asking.job, stop=partial(self._stop_of, run.id))
                given = self._given(asking, first, slots)
                outcomes = InProcess(slots).outcomes(asking.model, job, given, self._progress(run.id))
                self._write_down(asking, outcomes)
        except PlumblineError as error:
            self._all_failed(run, error)
        finally:
            self._give_back(lambda held: held.claim.run_id == run.id)

    def _array(self, owner: str, key: str) -> StoredArray:
        return self._persistently(lambda: self.store.array(owner, key))

    def _given(self, asking: LoadedRun, first: Claimed, slots: int) -> Iterator[Given]:
        """The sample that was taken first; then, as slots fall free, the next ones of its run, a stint of them."""
        patience = slots * 1.5 * asking.limit + OVERDUE  # samples side by side wait for one another
        claimed: Claimed | None = first
        for left in range(CHUNK * slots if first.lost == 0 else 1, 0, -1):
            if claimed is None:
                return
            held = Held(claimed, asking, patience)
            self._take(held)
            if claimed.attempt > 1:
                asking.earlier[claimed.number] = self._earlier(claimed)
            yield asking.given(claimed, self.files)
            if left == 1 or self.stopping.is_set():
                return
            claimed = self._persistently(lambda: self.store.claim(self.name, asking.run.id))

    def _take(self, held: Held) -> None:
        with self._lock:
            self._held[held.claim.run_id, held.claim.number] = held

    def _stop_of(self, run: str, index: int) -> Stop:
        held = self._held.get((run, index))
        if held is None or held.stop.asked:
            raise UnwantedError(f"sample {index}: nobody waits for it any more")
        return held.stop

    def _progress(self, run: str) -> SampleProgress:
        def progress(index: int, running: Running) -> None:
            held = self._held.get((run, index))
            if held is not None:
                held.running = running

        return progress

    def _earlier(self, claim: Claimed) -> Any:
        """The line that earlier attempts left of a sample."""
        details = self._persistently(lambda: self.store.details(claim.run_id, [claim.number]))
        return details[claim.number].record

    def _write_down(self, asking: LoadedRun, outcomes: Iterable[Outcome[Any]]) -> None:
        """Each answer while the next one is looked for, as disk and database take their time; one at once."""
        with ThreadPoolExecutor(1) as writer:
            written: Future[None] | None = None
            for outcome in outcomes:
                if written is not None:
                    written.result()
                written = writer.submit(self._ended, asking, outcome)
            if written is not None:
                written.result()

    def _ended(self, asking: LoadedRun, outcome: Outcome[Any]) -> None:
        """A sample's answer goes to the database; until it is there, the sample is held."""
        key = asking.run.id, outcome.index
        if outcome.result is not None:
            found = asking.finding(outcome, self.files, self._persistently)
            held = self._held.get(key)
            called_off = held is not None and held.stop.asked and found.why is not None
            say = self.store.give_back if called_off else self.store.finish
            self._persistently(partial(say, self.name, *key, found))
        elif isinstance(outcome.error, UnwantedError):
            return
        else:
            error = outcome.error
            alarm = isinstance(error, SoundnessError)
            why = str(error) if isinstance(error, PlumblineError) else f"{type(error).__name__}: {error}"
            why = f"SOUNDNESS ALARM: sample {key[1]}: {why}; trust nothing of this run" if alarm else why
            self._persistently(lambda: self.store.fail(self.name, *key, " ".join(why.split()), alarm))
        with self._lock:
            self._held.pop(key, None)

    def _all_failed(self, run: StoredRun, error: PlumblineError) -> None:
        """A model that cannot be read here, or a disk that is full: the samples that were taken say so."""
        if isinstance(error, UnavailableError):
            return  # they are given back
        for key in [key for key in self._held if key[0] == run.id]:
            self._persistently(partial(self.store.fail, self.name, *key, str(error)))
            with self._lock:
                self._held.pop(key, None)

    def _give_back(self, which: Callable[[Held], bool]) -> None:
        with self._lock:
            left = {key: held for key, held in self._held.items() if which(held)}
            for key in left:
                del self._held[key]
        for key, held in left.items():
            self._persistently(lambda key=key, held=held: self._given_back(key, held))  # type: ignore[misc]

    def _given_back(self, key: tuple[str, int], held: Held) -> None:
        self.store.give_back(self.name, *key, held.finding(self.files))

    def _beat(self) -> None:
        """Every half second: how far each sample is, and whether anybody still waits for it; then the last words."""
        quiet_until = 0.0
        while not self.stopping.wait(self.place.beat):
            with self._lock:
                held = dict(self._held)
            began = time.monotonic()
            tells = began >= quiet_until
            try:
                news = {key: one.news(self.files) for key, one in held.items()} if tells else {}
                found = {key: one for key, one in news.items() if one is not None}
                wanted = self.store.beat(self.name, found)
            except UnavailableError:
                continue
            if tells:
                quiet_until = began + min((time.monotonic() - began) / TELLING, SILENCE)
            for key, one in held.items():
                one.told = found.get(key, one.told)
                if key not in wanted:
                    one.stop.ask()
                if one.seconds > one.patience:
                    end_group()  # what does not look at the clock is not answered by waiting
        with self._lock:
            for one in self._held.values():
                one.stop.ask()
        until = time.monotonic() + LAST_ANSWERS
        while self._held and time.monotonic() < until:
            time.sleep(LAST_LOOK)
        self._give_back(lambda held: True)

    def _persistently(self, action: Callable[[], T]) -> T:
        """What the database or the disk does not take now is offered again."""
        pause, since = FIRST_PAUSE, time.monotonic()
        while True:
            try:
                return action()
            except UnavailableError:
                if self.stopping.is_set() and time.monotonic() - since > LAST_WORDS:
                    raise
                time.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)


@dataclass(frozen=True, eq=False)
class Stoppable(Asking[Any]):
    """What is asked of samples each of which can be called off; it then ends as at a time limit."""

    inner: Asking[Any] = field(kw_only=True)
    stop: Callable[[int], Stop] = field(kw_only=True)

    async def outcome(self, model: Model, given: Given, progress: Progress, clock: Clock, share: int) -> Outcome[Any]:
        clock.stop = self.stop(given.index)
        return await self.inner.outcome(model, given, progress, clock, share)

    def record(self, answer: Any, run: Mapping[str, Any]) -> dict[str, Any]:
        return self.inner.record(answer, run)

    def witnesses(self, answer: Any) -> dict[str, Adversary]:
        return self.inner.witnesses(answer)


@contextmanager
def scratch(cache: Path) -> Iterator[Path]:
    """A folder for what a job writes, gone afterwards: what counts is kept by then."""
    cache.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=cache, prefix="written-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def work(name: str, place: Place) -> None:
    """What a worker's process runs."""
    import torch

    os.setpgid(0, 0)  # its solvers' processes end with it
    os.nice(YIELDING)
    threading.Thread(target=_end_with_parent, daemon=True).start()

    torch.set_num_threads(1)
    _limit_memory(place.limits.memory_per_worker)
    worker = Worker(name, Store(connected(place.database, pool=2)), files_at(place.files), place)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=_end, args=(worker,)).start())
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})  # whatever the process that it was forked from blocks
    worker.work()


def _end(worker: Worker) -> None:
    """Journal what is known, then end, whatever the solvers are at."""
    worker.stopping.set()
    until = time.monotonic() + LAST_WORDS
    while worker._held and time.monotonic() < until:
        time.sleep(0.02)
    end_group()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        end_group()


def end_group() -> None:
    """End this process and all that it started."""
    os.killpg(os.getpgid(0), signal.SIGKILL)


def _limit_memory(room: int) -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0]) if Path("/proc/self/statm").exists() else 0
    most = pages * resource.getpagesize() + room
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
