"""A worker: takes samples, answers them, and says every half second how far each is.

What it says is merged into the database; nothing that it holds in memory is needed by anyone. It may be killed at any
moment: its heartbeats stop, and its samples go on elsewhere from their brackets.
"""

from __future__ import annotations

import io
import multiprocessing
import os
import resource
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from encoders.deadline import Clock, Stop
from encoders.errors import PlumblineError, SoundnessError
from verifier.greatest_value import KnownValue
from verifier.margin_answer import KnownLoss
from verifier.question.model import Model
from verifier.question.problem import Known, Progress, Running
from verifier.question.results import Adversary, Basis
from verifier.runs.in_process import InProcess
from verifier.runs.job import Asking, Executor, Given, Outcome
from verifier.runs.journal import EFFORT, attempted
from verifier.runs.processes import CHUNK
from verifier.runs.run import slots_for
from verifier.runs.samples import Samples
from verifier.service.asking import Question, loaded, samples_of
from verifier.service.errors import UnavailableError
from verifier.service.files import Files, files_at, laid_out
from verifier.service.settings import Place
from verifier.service.store.database import connected
from verifier.service.store.records import BUILT_IN, Claimed, Finding, StoredData, StoredModel, StoredRun
from verifier.service.store.store import Store

T = TypeVar("T")
IDLE = 0.1  # seconds between two looks for samples
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 2.0  # seconds before what the database did not take is offered again
LAST_ANSWERS = 2.0  # seconds that questions have which are asked to stop
LAST_WORDS = 4.0  # seconds that a worker which is to end has for telling what it knows
LAST_LOOK = 0.02
YIELDING = 10  # how much of a core workers leave to the server, where both want it: who reads is answered first
OVERDUE = 120.0  # seconds beyond its time limit after which a sample's worker ends itself


@dataclass(eq=False)
class Held:
    """A sample that a worker has, and how far it is."""

    claim: Claimed
    deadline: float
    started: float = field(default_factory=time.monotonic)
    stop: Stop = field(default_factory=Stop)
    running: Running | None = None
    saved: tuple[float, str | None] = (float("inf"), None)  # how far its adversary is that is kept, and where
    asking: _Asking | None = None

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started

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
        self._appetite: dict[str, int] = {}

    def work(self) -> None:
        """Until it is told to stop."""
        self._persistently(lambda: self.store.register(self.name))
        beating = threading.Thread(target=self._beat, daemon=True)
        beating.start()
        while not self.stopping.is_set():
            claimed = self._persistently(lambda: self.store.claim(self.name, self._appetite))
            if not claimed:
                self.stopping.wait(IDLE)
            else:
                self._answer(claimed)
        beating.join()

    def _answer(self, claimed: list[Claimed]) -> None:
        run, model, data = self._persistently(lambda: self.store.run_at_work(claimed[0].run_id))
        limit = min(run.time_limit or float("inf"), self.place.limits.seconds_per_sample)
        with self._lock:
            for one in claimed:
                self._held[one.run_id, one.number] = Held(one, 1.5 * limit + OVERDUE)
        try:
            with scratch(self.place.cache) as folder:
                asking = _Asking.of(run, model, data, self.files, self.place.cache, limit, folder)
                slots = slots_for(asking.model, asking.job.options)
                self._appetite[run.id] = 1 if slots == 1 else CHUNK * slots
                asking.earlier.update(self._earlier(run, claimed))
                given = [asking.given(one, self.files) for one in claimed]
                for held in (self._held[one.run_id, one.number] for one in claimed):
                    held.asking = asking
                self._ask(asking, given, slots)
        except PlumblineError as error:
            self._all_failed(run, error)
        finally:
            self._give_back(lambda held: held.claim.run_id == run.id)

    def _ask(self, asking: _Asking, given: list[Given], slots: int) -> None:
        held = {one.index: self._held[asking.run.id, one.index] for one in given}

        def progress(index: int, running: Running) -> None:
            held[index].running = running

        job = Stoppable(asking.job.options, inner=asking.job, stops={index: one.stop for index, one in held.items()})
        for outcome in self.executor(slots).outcomes(asking.model, job, given, progress):
            self._ended(asking, outcome, held[outcome.index])

    def _earlier(self, run: StoredRun, claimed: list[Claimed]) -> dict[int, Any]:
        """The lines that earlier attempts left of samples."""
        again = [one.number for one in claimed if one.attempt > 1]
        return {number: one.record for number, one in self.store.details(run.id, again).items()} if again else {}

    def executor(self, slots: int) -> Executor:
        """Where the samples are worked on."""
        return InProcess(slots)

    def _ended(self, asking: _Asking, outcome: Outcome[Any], held: Held) -> None:
        """A sample's answer goes to the database before anything else happens."""
        key = asking.run.id, outcome.index
        if outcome.result is not None:
            found = asking.finding(outcome, self.files, self._persistently)
            say = self.store.give_back if held.stop.asked and found.why is not None else self.store.finish
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
        while not self.stopping.wait(self.place.beat):
            with self._lock:
                held = dict(self._held)
            try:
                found = {key: one.finding(self.files) for key, one in held.items()}
                wanted = self.store.beat(self.name, {key: one for key, one in found.items() if one is not None})
            except UnavailableError:
                continue
            for key, one in held.items():
                if key not in wanted:
                    one.stop.ask()
                if one.seconds > one.deadline:
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
    stops: Mapping[int, Stop] = field(kw_only=True)

    async def outcome(self, model: Model, given: Given, progress: Progress, clock: Clock, share: int) -> Outcome[Any]:
        clock.stop = self.stops[given.index]
        if clock.stop.asked:
            raise UnwantedError(f"sample {given.index}: nobody waits for it any more")
        return await self.inner.outcome(model, given, progress, clock, share)

    def record(self, answer: Any, run: Mapping[str, Any]) -> dict[str, Any]:
        return self.inner.record(answer, run)

    def witnesses(self, answer: Any) -> dict[str, Adversary]:
        return self.inner.witnesses(answer)


@dataclass(frozen=True, eq=False)
class _Asking:
    """What is asked of the samples of one run, with everything loaded."""

    run: StoredRun
    model: Model
    samples: Samples
    job: Asking[Any]
    folder: Path  # where the job writes files
    effort: dict[str, Any]
    earlier: dict[int, dict[str, Any] | None] = field(default_factory=dict)

    @classmethod
    def of(
        cls, run: StoredRun, model: StoredModel, data: StoredData | None, files: Files, cache: Path, limit: float,
        folder: Path,
    ) -> _Asking:  # fmt: skip
        question = Question(run.question, run.radius, run.options, run.proofs)
        held = laid_out(files, model.files.items(), cache / "models" / model.sha256)
        read = loaded(held / model.name, model.facts)
        job = question.job(read, folder)
        effort = job.options.record(*EFFORT)
        job = replace(job, options=replace(job.options, time_limit=None if limit == float("inf") else limit))
        source = run.data_id
        if data is not None and data.kind != BUILT_IN:
            name = f"data.{data.kind}"
            source = str(laid_out(files, [(name, data.sha256)], cache / "data" / data.sha256) / name)
        return cls(run, read, _samples(source, read, job.options.change is None), job, folder, effort)

    def given(self, claim: Claimed, files: Files) -> Given:
        """A sample with what is known of it."""
        index, adversary = claim.number, None
        if claim.adversary is not None:
            with files.open(claim.adversary) as file, np.load(io.BytesIO(file.read()), allow_pickle=False) as arrays:
                adversary = arrays["adversary"].reshape(-1)
        return Given(index, self.samples.x[index], self.samples.label(index), self._known(claim, adversary))

    def _known(self, claim: Claimed, adversary: Any) -> Any:
        if claim.attempt == 1:
            return None
        basis = Basis(claim.basis or Basis.RIGOROUS)
        if self.run.question == "margin":
            inputs = None if adversary is None else adversary[None]
            return KnownLoss(KnownValue(claim.upper, basis, inputs))
        return Known(max(0.0, claim.lower), basis, adversary)

    def finding(self, outcome: Outcome[Any], files: Files, persistently: Callable[[Callable[[], str]], str]) -> Finding:
        """An answer as the database holds it, its adversary and its proof kept as files."""
        earlier = self.earlier.get(outcome.index)
        record = attempted(self.job.record(outcome.result, self.run.record), self.effort, earlier)
        record |= outcome.beside or {}
        witness = next(iter(self.job.witnesses(outcome.result).values()), None)
        content: dict[str, bytes] = {}
        if isinstance(record.get("adversary"), str):  # a report's attacks may have come nearer
            content["adversary"] = (self.folder / record["adversary"]).read_bytes()
        elif witness is not None:
            content["adversary"] = adversary_file(self.samples.x[outcome.index], witness)
        told = record.get("proof")
        if told is not None and told["file"] is not None:
            content["proof"] = (self.folder / told["file"]).read_bytes()
        kept = {name: persistently(partial(files.put, one)) for name, one in content.items()}
        return Finding(
            float(record["lower"]), float(record["upper"]), float(record["seconds"]), int(record["nodes"]),
            record.get("open_phases"), record["basis"], record["engine"], None, record["predicted"], record["target"],
            record["found_by"], kept.get("adversary"), kept.get("proof"), why_open(record), record,
        )  # fmt: skip


@lru_cache(maxsize=8)
def _samples(source: str, model: Model, classified: bool) -> Samples:
    from verifier.options import Options

    return samples_of(source, model, Options() if classified else Options(change=1.0))


def adversary_file(original: Any, adversary: Adversary) -> bytes:
    """The arrays of an adversary as `--out` saves them."""
    changed = adversary.input.reshape(original.shape)
    held = io.BytesIO()
    np.savez_compressed(
        held, original=original, adversary=changed, difference=changed.astype(np.float64) - original,
        scores=adversary.scores, label=adversary.label, distance=adversary.distance,
    )  # fmt: skip
    return held.getvalue()


def why_open(record: Mapping[str, Any]) -> str | None:
    """In words, why a sample has no exact answer, and what would bring it nearer."""
    if record["verdict"] != "unresolved":
        return None
    return str(record.get("why_open") or "its time was over; resume with more time, or raise the tolerance")


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
