"""One question asked of many samples: in this process, or in several at once."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import queue
import signal
import threading
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bounds.device import pick_device
from encoders.arrays import Inputs
from encoders.deadline import Clock
from encoders.errors import SolverError
from encoders.layer_graph.graph import Relu
from encoders.validation import Natural, checked
from verifier.answer import FEW_NEURONS, asked
from verifier.batching.request import Work
from verifier.batching.scheduler import Question, Scheduler
from verifier.options import Options, check_radius
from verifier.question.model import Model, Reference, reopened
from verifier.question.results import Result
from verifier.runs.samples import Samples

SampleProgress = Callable[[int, float, float], None]
"""Called with (index, running proven lower, running replayed upper)."""
Beside = Callable[[Model, "Job", Inputs, Result], Work[dict[str, Any]]]
"""What else is measured of a sample, in turns, once its result is there and where it was computed; must pickle."""
PROGRESS_INTERVAL = 0.1  # seconds between two messages of one worker
POLL_INTERVAL = 0.2  # seconds between two looks at the workers' messages
SLOTS = 16  # samples side by side in one process, where that pays
CHUNK = 4  # times as many are handed to a process at once


@dataclass(frozen=True, eq=False)
class Job:
    """What is asked of every sample: its distance (radius None), or whether the radius is free of adversaries."""

    options: Options
    radius: float | None = None
    mask: NDArray[np.bool_] | None = None
    beside: Beside | None = None
    workers: int = 1  # cores for each sample, where a solver can use several

    def __post_init__(self) -> None:
        check_radius(self.radius)


@dataclass(frozen=True, eq=False)
class Outcome:
    """How one sample ended: with its result, or with the error that kept it from having one."""

    index: int
    result: Result | None = None
    error: Exception | None = None
    beside: dict[str, Any] | None = None


def outcomes(
    model: Model,
    job: Job,
    samples: Samples,
    indices: Sequence[int],
    jobs: int,
    progress: SampleProgress,
    batch: int | None = None,
) -> Generator[Outcome, None, None]:
    """Each sample's outcome as it finishes. Closing the iterator early stops whatever still runs.

    `jobs` processes with up to `batch` samples side by side in each; by default as many as pay (`slots_for`).
    Jobs that outnumber the samples are shared out among these.
    """
    check_jobs(jobs, batch)
    slots = slots_for(model, job.options) if batch is None else batch
    at_once = max(1, min(jobs, len(indices)))
    job, jobs = replace(job, workers=jobs // at_once), at_once
    given = [Given(index, samples.x[index], samples.label(index)) for index in indices]
    if jobs > 1:
        yield from _parallel(model, job, given, jobs, slots, progress)
        return
    yield from _answered(model, job, given, slots, progress)


def check_jobs(jobs: int, batch: int | None) -> None:
    """Refuse numbers that mean nothing, before anything is loaded."""
    for name, number in (("jobs", jobs), ("batch", batch)):
        checked(name, Natural | None, number)


def slots_for(model: Model, options: Options) -> int:
    """How many samples one process works on at a time: several where one alone leaves the time to overhead."""
    if options.engine not in ("auto", "search"):
        return 1
    small = sum(node.size for node in model.guide.nodes if isinstance(node, Relu)) <= FEW_NEURONS
    return SLOTS if small or pick_device(options.device) != "cpu" else 1


@dataclass(frozen=True, eq=False)
class Given:
    """One sample as it is handed to a worker."""

    index: int
    x: Inputs
    label: int | None


def _answered(
    model: Model, job: Job, samples: Sequence[Given], slots: int, progress: SampleProgress
) -> Generator[Outcome, None, None]:
    """The outcomes of samples that share this process."""

    def question(given: Given) -> Question[Outcome]:
        def running(lower: float, upper: float) -> None:
            progress(given.index, lower, upper)

        async def answering(clock: Clock) -> Outcome:
            about = (given.x, job.radius, job.options, given.label, given.index, job.mask)
            result = await asked(model, *about, running, clock, job.workers, min(slots, len(samples)))
            beside = None if job.beside is None else await job.beside(model, job, given.x, result)
            return Outcome(given.index, result, beside=beside)

        return answering

    for index, ended in Scheduler[Outcome](slots).outcomes((given.index, question(given)) for given in samples):
        yield Outcome(index, error=ended) if isinstance(ended, Exception) else ended


def _parallel(
    model: Model, job: Job, samples: Sequence[Given], jobs: int, slots: int, progress: SampleProgress
) -> Generator[Outcome, None, None]:
    one_thread_each()
    context = multiprocessing.get_context("spawn")
    messages: Any = context.Queue()
    before = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(jobs, context, _start_worker, (model.reference, job, slots, messages))
    # Enough samples at a time to keep the slots taken, and few enough to keep the processes busy until the end.
    size = 1 if slots == 1 else max(1, min(CHUNK * slots, -(-len(samples) // (2 * jobs))))
    left = {given.index for given in samples}
    try:
        waiting: set[Future[None]] = {
            pool.submit(_work, samples[first : first + size]) for first in range(0, len(samples), size)
        }
        while left:
            done, waiting = wait(waiting, timeout=POLL_INTERVAL, return_when=FIRST_COMPLETED)
            for future in done:
                try:
                    future.result()
                except BrokenProcessPool:
                    raise SolverError("a worker process died (out of memory?); try fewer --jobs") from None
            for outcome in _received(messages, progress, patient=not waiting):
                left.discard(outcome.index)
                yield outcome
    finally:
        ours = set(multiprocessing.active_children()) - before
        pool.shutdown(wait=not left, cancel_futures=True)
        if left:
            for process in ours:
                process.kill()
        messages.close()


def one_thread_each() -> None:
    """Workers started from now on inherit it."""
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(variable, "1")


def _received(messages: Any, progress: SampleProgress, patient: bool) -> list[Outcome]:
    """The outcomes that workers have sent, the latest progress of each sample passed on; `patient` waits for some."""
    latest: dict[int, tuple[float, float]] = {}
    ended: list[Outcome] = []
    while True:
        try:
            message = messages.get(timeout=POLL_INTERVAL) if patient and not ended else messages.get_nowait()
        except queue.Empty:
            break
        if isinstance(message, Outcome):
            ended.append(message)
        else:
            index, lower, upper = message
            latest[index] = (lower, upper)
    for index, (lower, upper) in latest.items():
        progress(index, lower, upper)
    return ended


@dataclass(eq=False)
class _Worker:
    """What a worker process holds for all of its samples; the model is loaded with the first."""

    reference: Reference
    job: Job
    slots: int
    messages: Any
    model: Model | None = None

    def loaded(self) -> Model:
        if self.model is None:
            self.model = reopened(self.reference)
        return self.model


_workers: list[_Worker] = []


def _start_worker(reference: Reference, job: Job, slots: int, messages: Any) -> None:
    """Nothing here can fail: an initialiser's error would reach the user as a process that died."""
    depend_on_parent()
    _workers[:] = [_Worker(reference, job, slots, messages)]


def depend_on_parent() -> None:
    """What every worker process begins with: Ctrl-C is the parent's to handle, and its end is theirs."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """However the parent ends, nothing goes on computing what nobody will read."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _work(samples: Sequence[Given]) -> None:
    """Everything goes back as messages: what is finished must not wait for the rest of its samples."""
    import torch

    torch.set_num_threads(1)
    worker = _workers[0]
    last = 0.0

    def send(index: int, lower: float, upper: float) -> None:
        nonlocal last
        if time.monotonic() >= last + PROGRESS_INTERVAL:
            last = time.monotonic()
            worker.messages.put((index, lower, upper))

    try:
        model = worker.loaded()
    except Exception as error:
        for given in samples:
            worker.messages.put(Outcome(given.index, error=error))
        return
    for outcome in _answered(model, worker.job, samples, worker.slots, send):
        worker.messages.put(_sendable(outcome))


def _sendable(outcome: Outcome) -> Outcome:
    """The outcome, its error as plain words where it cannot travel: a message that is lost would be waited for."""
    try:
        pickle.dumps(outcome)
    except Exception:
        return Outcome(outcome.index, error=RuntimeError(f"{type(outcome.error).__name__}: {outcome.error}"))
    return outcome
