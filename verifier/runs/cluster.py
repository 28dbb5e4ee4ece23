"""Samples worked on by a cluster of Dask: the same answers as in this process, whoever dies meanwhile.

Dask is asked for little: to hand tasks to free workers, and to say which have ended. What it cannot be asked for is
done here. A task that was called off runs on until it sees so itself (`cluster_worker.py`). A scheduler that dies
takes all its records along: what is open is handed to the next one. Its count of failures blames tasks that a dead
worker had not begun: tasks say themselves that they begin, and only those are counted. A task that begins twice had a
worker that died: it is called off, and its samples go on one by one from the last bracket that they told. A task that
runs twice for any other reason tells its outcomes twice, of which the second is left out.
"""

from __future__ import annotations

import pickle
import queue
import time
import warnings
from asyncio import CancelledError
from collections import Counter, deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import CancelledError as FutureCancelled
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any, Generic
from uuid import uuid4

from encoders.deadline import EVERYTHING
from encoders.errors import ClusterError, PlumblineError, SolverError
from encoders.files import replacing
from verifier.question.model import Model
from verifier.question.problem import Running
from verifier.runs.cluster_connection import HOW_TO_START, connected
from verifier.runs.cluster_process import Code, check_worker, code_here
from verifier.runs.cluster_task import as_it_is, run_task
from verifier.runs.cluster_worker import Delivered, Message, Shipment, Stage
from verifier.runs.job import A, Asking, Given, Outcome, SampleProgress
from verifier.runs.processes import CHUNK, LAST_WORDS, POLL_INTERVAL

FIRST_WAIT, LATER_WAIT = 10.0, 60.0  # seconds for a scheduler, at first and when it was lost
WAIT_FOR_WORKERS = 60.0  # seconds without any worker
TASKS_A_WORKER = 2  # one that runs, and one that waits there
LOOK_AT_WORKERS = 2.0  # seconds between two counts of them
TOLD_EACH_SECOND = 100  # brackets, by all workers together
SETTLED = 0.5  # seconds after which a task that was about to begin when everything was stopped has said so
RESULT = 5.0  # seconds for a result to come; a worker that dies meanwhile makes it again
DEATHS = 5  # of workers, after which a sample is given up
GPU = "GPU"  # the resource of workers that have one


class _SchedulerLostError(Exception):
    """Its records are gone: what is open is to be handed to the next one."""


@dataclass(frozen=True)
class Cluster:
    """The executor that is a cluster, with up to `slots` samples at a time in each of its processes."""

    address: str
    slots: int

    def outcomes(
        self, model: Model, job: Asking[A], samples: Sequence[Given], progress: SampleProgress
    ) -> Generator[Outcome[A], None, None]:
        """The outcomes that workers send. Workers may come and go; a scheduler that stays away is an error.

        Once everything is asked to stop, so are they: what they have begun comes back within seconds, the rest never.
        """
        left = {given.index: given for given in samples}
        wait = FIRST_WAIT
        while left and not EVERYTHING.asked:
            with connected(self.address, wait) as client:
                session = _Session(client, self.address, model, job, self.slots, progress, left)
                try:
                    yield from session.outcomes()
                except _SchedulerLostError:
                    session.keep_brackets()
            wait = LATER_WAIT


@dataclass(eq=False)
class _Task:
    """Samples that were handed to the cluster, and how often a worker began them."""

    part: Sequence[Given]
    future: Any
    begun: int = 0


@dataclass(eq=False)
class _Session(Generic[A]):
    """What one scheduler is asked; `left` are the samples without an outcome, by their index."""

    client: Any
    address: str
    model: Model
    job: Asking[A]
    slots: int
    progress: SampleProgress
    left: dict[int, Given]
    heard: queue.SimpleQueue[Any] = field(default_factory=queue.SimpleQueue)
    tasks: dict[int, _Task] = field(default_factory=dict)
    waiting: deque[Sequence[Given]] = field(default_factory=deque)
    latest: dict[int, Running] = field(default_factory=dict)
    deaths: Counter[int] = field(default_factory=Counter)
    numbers: Iterator[int] = field(default_factory=count)
    name: str = field(default_factory=lambda: f"plumbline-{uuid4().hex[:12]}")
    held: Any = None  # what every worker is to have
    stopped: float | None = None

    def outcomes(self) -> Generator[Outcome[A], None, None]:
        """An outcome for each sample that is left, as it comes; after a stop for those that were begun."""
        workers = self._fit_workers()
        self._cut(workers)
        # The topic that Dask forgets with the client.
        self.client.subscribe_topic(self.client.id, self._hear)
        looked = seen = time.monotonic()
        try:
            while self.left and not self._over():
                now = time.monotonic()
                if now >= looked + LOOK_AT_WORKERS:
                    workers, looked = self._count(), now
                    seen = now if workers else seen
                    if now >= seen + WAIT_FOR_WORKERS:
                        raise ClusterError(f"cluster {self.address}: it has lost all workers; start some again")
                while self.waiting and len(self.tasks) < TASKS_A_WORKER * max(1, workers):
                    self._submit(workers)
                for number, message in self._messages():
                    yield from self._taken(number, message)
            for index in sorted(self.left):  # what was told last, where there was no time for more
                if index in self.latest and self.latest[index].answer is not None:
                    del self.left[index]
                    yield Outcome(index, self.latest[index].answer)
        finally:
            self._call_off()
            if self.client.status == "running":
                self.client.unsubscribe_topic(self.client.id)

    def keep_brackets(self) -> None:
        """What is known of the samples that are left is what the next attempt goes on from."""
        for index, given in self.left.items():
            self.left[index] = self._on_from_here(given)

    def _fit_workers(self) -> int:
        """How many workers there are; they are refused where they are not what they must be."""
        end = time.monotonic() + WAIT_FOR_WORKERS
        while not self._count():
            if time.monotonic() >= end or EVERYTHING.asked:
                raise ClusterError(f"cluster {self.address}: it has no workers; start some: {HOW_TO_START}")
            time.sleep(POLL_INTERVAL)
        with _scheduler_there():
            told = self.client.scheduler_info(n_workers=-1)["workers"]
            codes: dict[str, Code | Exception] = self.client.run(code_here, on_error="return")
        for address, one in told.items():
            code = codes.get(address)
            if isinstance(code, Exception):
                raise ClusterError(
                    f"worker {address} cannot say which Plumbline it has ({type(code).__name__}: {code}); install the "
                    "same as here beside its Dask"
                )
            if code is not None:
                check_worker(address, int(one["nthreads"]), code, code_here())
        if self._resources and not any(GPU in one.get("resources", {}) for one in told.values()):
            raise ClusterError(
                f"cluster {self.address}: device cuda is for workers that say they have a GPU, and none does; start "
                "them with --resources GPU=1"
            )
        return len(told)

    def _count(self) -> int:
        with _scheduler_there():
            return len(self.client.nthreads())

    @property
    def _resources(self) -> dict[str, float]:
        """What a worker must have to be handed a task."""
        return {GPU: 1.0} if self.job.options.device.startswith("cuda") else {}

    def _cut(self, workers: int) -> None:
        """Enough samples at a time to keep the slots taken, and few enough to keep the workers busy until the end."""
        samples = list(self.left.values())
        size = 1 if self.slots == 1 else max(1, min(CHUNK * self.slots, -(-len(samples) // (2 * workers))))
        self.waiting.extend(samples[first : first + size] for first in range(0, len(samples), size))

    def _submit(self, workers: int) -> None:
        part, number = self.waiting.popleft(), next(self.numbers)
        with _scheduler_there(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the size of what is sent once
            if self.held is None or self.held.status in ("error", "lost"):
                interval = max(1.0, workers / TOLD_EACH_SECOND)
                shipment = Shipment.of(self.client.id, self.model, self.job, self.slots, interval)
                self.held = self.client.submit(as_it_is, pickle.dumps(shipment), key=f"{self.name}-held-{number}")
            key, resources = f"{self.name}-{number}", self._resources or None
            content = pickle.dumps(list(part))
            future = self.client.submit(run_task, self.held, number, content, key=key, resources=resources)
        self.tasks[number] = _Task(part, future)
        self._await(number, future)

    def _await(self, number: int, future: Any) -> None:
        future.add_done_callback(lambda _: self.heard.put((number, None)))

    def _hear(self, event: tuple[float, Any]) -> None:
        _, content = event
        if isinstance(content, bytes):  # Dask's own are about clients that come and go
            self.heard.put(pickle.loads(content))

    def _messages(self) -> Iterator[tuple[int, Message | None]]:
        """What has come, of each sample's brackets the latest alone, after all else; None says that a task is done."""
        try:
            came = [self.heard.get(timeout=POLL_INTERVAL)]
        except queue.Empty:
            return
        while not self.heard.empty():
            came.append(self.heard.get())
        brackets = {one[1][0]: one for one in came if isinstance(one[1], tuple)}
        yield from (one for one in came if not isinstance(one[1], tuple))
        yield from brackets.values()

    def _taken(self, number: int, message: Message | None) -> Iterator[Outcome[A]]:
        """What a message makes of the samples; one of a task that was called off says nothing any more."""
        task = self.tasks.get(number)
        if task is None:
            return
        if message is None:
            yield from self._done(number, task)
        elif message is Stage.BEGUN:
            task.begun += 1
            if task.begun > 1:
                with _scheduler_there():
                    self.client.cancel([task.future])
                yield from self._lost(number, task)
        elif isinstance(message, Delivered):
            yield from self._delivered(message)
        elif isinstance(message, tuple):
            self._told(*message)
        elif self.stopped is not None:  # it has ended, and no result will say so
            del self.tasks[number]

    def _told(self, index: int, running: Running) -> None:
        if index in self.left:
            self.latest[index] = running
            self.progress(index, running)

    def _delivered(self, delivered: Delivered) -> Iterator[Outcome[A]]:
        outcome = delivered.outcome
        if outcome.index not in self.left:
            return
        if delivered.stopped and self.stopped is None and outcome.result is not None:
            return  # its worker ends, we do not: the sample goes on elsewhere
        for name, content in delivered.files.items():  # those of the row that counts, and no others
            path = (self.job.folder or Path()) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as file:
                file.write(content)
        del self.left[outcome.index]
        yield outcome

    def _done(self, number: int, task: _Task) -> Iterator[Outcome[A]]:
        """A task that has ended: well, by an error, with its worker, or with the scheduler."""
        future = task.future
        if future.status == "cancelled":
            if self.stopped is None:
                raise _SchedulerLostError
            return
        with _scheduler_there():
            try:
                error = future.exception(timeout=RESULT)
                large = [] if error is not None else future.result(timeout=RESULT)
            except TimeoutError:  # its worker died since: it is made again
                self._await(number, future)
                return
        if isinstance(error, PlumblineError):
            raise error
        if error is not None and type(error).__name__ != "KilledWorker":
            raise ClusterError(
                f"cluster {self.address}: a task failed: {type(error).__name__}: {error}; is the same Plumbline "
                "installed where its scheduler and workers run?"
            )
        for content in large:
            yield from self._delivered(pickle.loads(content)[1])
        yield from self._lost(number, task)

    def _lost(self, number: int, task: _Task) -> Iterator[Outcome[A]]:
        """The samples of an ended task that have no outcome are handed out again, one by one."""
        del self.tasks[number]
        for given in task.part:
            if given.index not in self.left:
                continue
            self.deaths[given.index] += task.begun > 0
            if self.deaths[given.index] > DEATHS:
                del self.left[given.index]
                why = f"{DEATHS + 1} workers died that worked on it: out of memory (give workers more), or a crash"
                yield Outcome(given.index, error=SolverError(why))
            else:
                self.waiting.appendleft([self._on_from_here(given)])

    def _on_from_here(self, given: Given) -> Given:
        """The sample with the last bracket that was told of it, where its question can go on from one."""
        running = self.latest.get(given.index)
        if running is None or running.answer is None:
            return given
        known = self.job.known(self.job.record(running.answer, {}), self.job.witnesses(running.answer))
        return given if known is None else replace(given, known=known)

    def _over(self) -> bool:
        """Whether everything was asked to stop, and what was begun has ended or had the time for it."""
        if not EVERYTHING.asked:
            return False
        now = time.monotonic()
        if self.stopped is None:
            self.stopped = now
            self.waiting.clear()
            self._call_off()
        begun = any(task.begun for task in self.tasks.values())
        return now >= self.stopped + (LAST_WORDS if begun else SETTLED)

    def _call_off(self) -> None:
        futures = [task.future for task in self.tasks.values()]
        if futures and self.client.status == "running":
            with suppress(_SchedulerLostError), _scheduler_there():
                self.client.cancel(futures)


@contextmanager
def _scheduler_there() -> Iterator[None]:
    """Dask has many errors for a scheduler that is gone."""
    try:
        yield
    except (OSError, CancelledError, FutureCancelled) as error:
        raise _SchedulerLostError from error
