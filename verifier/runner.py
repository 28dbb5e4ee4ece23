"""One question asked of many samples: in this process, or in several at once."""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
import threading
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoders.errors import ModelError, OptionError, SolverError
from verifier.data import Samples
from verifier.model import Model, load
from verifier.query import Options, ask
from verifier.results import Result

SampleProgress = Callable[[int, float, float], None]
"""Called with (index, running proven lower, running replayed upper)."""
Beside = Callable[[Model, "Job", NDArray[np.float32], Result], dict[str, Any]]
"""What else is measured of a sample, once its result is there and where it was computed; must pickle."""
PROGRESS_INTERVAL = 0.1  # seconds between two messages of one worker
POLL_INTERVAL = 0.2  # seconds between two looks at the workers' messages


@dataclass(frozen=True, eq=False)
class Job:
    """What is asked of every sample: its distance (radius None), or whether the radius is free of adversaries."""

    options: Options
    radius: float | None = None
    mask: NDArray[np.bool_] | None = None
    beside: Beside | None = None
    workers: int = 1  # cores for each sample, where a solver can use several

    def __post_init__(self) -> None:
        if self.radius is not None and not (np.isfinite(self.radius) and self.radius >= 0):
            raise OptionError(f"radius {self.radius}: give a finite number, zero or more")


@dataclass(frozen=True, eq=False)
class Outcome:
    """How one sample ended: with its result, or with the error that kept it from having one."""

    index: int
    result: Result | None = None
    error: Exception | None = None
    beside: dict[str, Any] | None = None


def outcomes(
    model: Model, job: Job, samples: Samples, indices: Sequence[int], jobs: int, progress: SampleProgress
) -> Generator[Outcome, None, None]:
    """Each sample's outcome as it finishes. Closing the iterator early stops whatever still runs.

    Jobs that outnumber the samples are shared out among these.
    """
    if jobs < 1:
        raise OptionError(f"jobs {jobs}: give one or more")
    at_once = max(1, min(jobs, len(indices)))
    job, jobs = replace(job, workers=jobs // at_once), at_once
    if jobs > 1:
        yield from _parallel(model, job, samples, indices, jobs, progress)
        return
    for index in indices:
        yield _answer(model, job, index, samples.x[index], samples.label(index), progress)


def _answer(
    model: Model, job: Job, index: int, x: NDArray[np.float32], label: int | None, progress: SampleProgress
) -> Outcome:
    def running(lower: float, upper: float) -> None:
        progress(index, lower, upper)

    try:
        result = ask(model, x, job.radius, job.options, label, index, job.mask, running, job.workers)
        return Outcome(index, result, beside=None if job.beside is None else job.beside(model, job, x, result))
    except Exception as error:  # an error is this sample's outcome; what it means for the rest is the caller's choice
        return Outcome(index, error=error)


def _parallel(
    model: Model, job: Job, samples: Samples, indices: Sequence[int], jobs: int, progress: SampleProgress
) -> Generator[Outcome, None, None]:
    one_thread_each()
    context = multiprocessing.get_context("spawn")
    messages: Any = context.Queue()
    before = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(jobs, context, _start_worker, (str(model.path), model.sha256, job, messages))
    finished = False
    try:
        waiting: set[Future[Outcome]] = {
            pool.submit(_work, index, samples.x[index], samples.label(index)) for index in indices
        }
        while waiting:
            done, waiting = wait(waiting, timeout=POLL_INTERVAL, return_when=FIRST_COMPLETED)
            _pass_on(messages, progress)
            for future in done:
                try:
                    outcome = future.result()
                except BrokenProcessPool:
                    raise SolverError("a worker process died (out of memory?); try fewer --jobs") from None
                yield outcome
        finished = True
    finally:
        ours = set(multiprocessing.active_children()) - before
        pool.shutdown(wait=finished, cancel_futures=True)
        if not finished:
            for process in ours:
                process.kill()
        messages.close()


def one_thread_each() -> None:
    """Workers started from now on inherit it."""
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(variable, "1")


def _pass_on(messages: Any, progress: SampleProgress) -> None:
    latest: dict[int, tuple[float, float]] = {}
    while True:
        try:
            index, lower, upper = messages.get_nowait()
        except queue.Empty:
            break
        latest[index] = (lower, upper)
    for index, (lower, upper) in latest.items():
        progress(index, lower, upper)


@dataclass(eq=False)
class _Worker:
    """What a worker process holds for all of its samples; the model is loaded with the first."""

    path: Path
    sha256: str
    job: Job
    messages: Any
    model: Model | None = None

    def loaded(self) -> Model:
        if self.model is None:
            model = load(self.path)
            if model.sha256 != self.sha256:
                raise ModelError(f"{self.path}: the file changed while it was being used; run again")
            self.model = model
        return self.model


_workers: list[_Worker] = []


def _start_worker(path: str, sha256: str, job: Job, messages: Any) -> None:
    """Nothing here can fail: an initialiser's error would reach the user as a process that died."""
    depend_on_parent()
    _workers[:] = [_Worker(Path(path), sha256, job, messages)]


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


def _work(index: int, x: NDArray[np.float32], label: int | None) -> Outcome:
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
        return Outcome(index, error=error)
    return _answer(model, worker.job, index, x, label, send)
