"""Samples worked on in several processes, each of which has its own part of them side by side."""

from __future__ import annotations

import atexit
import gc
import multiprocessing
import os
import pickle
import queue
import threading
import time
from collections.abc import Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any

from encoders.deadline import EVERYTHING
from encoders.errors import SolverError
from encoders.interrupts import interrupts_blocked
from verifier.question.model import Model, Reference, reopened
from verifier.question.problem import Running
from verifier.runs.in_process import InProcess
from verifier.runs.job import A, Asking, Given, Outcome, SampleProgress

PROGRESS_INTERVAL = 0.2  # seconds between two messages about one sample
POLL_INTERVAL = 0.2  # seconds between two looks at the workers' messages
CHUNK = 4  # times as many samples as slots are handed to a process at once
LAST_WORDS = 3.5  # seconds that workers have for their outcomes once they are asked to stop


@dataclass(frozen=True)
class Processes:
    """The executor that starts `jobs` processes, each with up to `slots` samples at a time."""

    jobs: int
    slots: int

    def outcomes(
        self, model: Model, job: Asking[A], samples: Sequence[Given], progress: SampleProgress
    ) -> Generator[Outcome[A], None, None]:
        """The outcomes that the processes send. A process that dies is an error of the whole run.

        Once everything is asked to stop, so are they: what they have begun comes back within seconds, the rest never.
        """
        one_thread_each()
        context = multiprocessing.get_context("spawn")
        messages: Any = context.Queue()
        stop: Any = context.Event()
        before = set(multiprocessing.active_children())
        about = model.reference, job, self.slots, messages, stop
        pool = ProcessPoolExecutor(self.jobs, context, _start_worker, about)
        # Enough samples at a time to keep the slots taken, and few enough to keep the processes busy until the end.
        size = 1 if self.slots == 1 else max(1, min(CHUNK * self.slots, -(-len(samples) // (2 * self.jobs))))
        left = {given.index for given in samples}
        latest: dict[int, Running] = {}

        def seen(index: int, running: Running) -> None:
            latest[index] = running
            progress(index, running)

        try:
            with interrupts_blocked():
                parts = [samples[first : first + size] for first in range(0, len(samples), size)]
                handed: dict[Future[set[int]], Sequence[Given]] = {pool.submit(_work, part): part for part in parts}
            waiting, last_words = set(handed), float("inf")
            while left and time.monotonic() < last_words:
                if EVERYTHING.asked and not stop.is_set():
                    stop.set()
                    last_words = time.monotonic() + LAST_WORDS
                    pool.shutdown(wait=False, cancel_futures=True)
                done, waiting = wait(waiting, timeout=POLL_INTERVAL, return_when=FIRST_COMPLETED)
                called_off = {future for future in waiting if future.cancelled()}  # which `wait` does not tell of
                waiting -= called_off
                for future in done | called_off:
                    try:
                        left -= {given.index for given in handed[future]} - future.result()
                    except CancelledError:
                        left -= {given.index for given in handed[future]}
                    except BrokenProcessPool:
                        raise SolverError(
                            "a worker process died: out of memory (try fewer jobs), or in a script that asks outside "
                            "of `if __name__ == '__main__':`, which each worker runs first"
                        ) from None
                for outcome in _received(messages, seen, patient=not waiting):
                    left.discard(outcome.index)
                    yield outcome
            for index in sorted(left & set(latest)):  # what was told last, where there was no time for more
                if latest[index].answer is not None:
                    yield Outcome(index, latest[index].answer)
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


def _received(messages: Any, progress: SampleProgress, patient: bool) -> list[Outcome[Any]]:
    """The outcomes that workers have sent, the latest progress of each sample passed on; `patient` waits for some."""
    latest: dict[int, Running] = {}
    ended: list[Outcome[Any]] = []
    while True:
        try:
            message = messages.get(timeout=POLL_INTERVAL) if patient and not ended else messages.get_nowait()
        except queue.Empty:
            break
        if isinstance(message, Outcome):
            ended.append(message)
        else:
            index, running = message
            latest[index] = running
    for index, running in latest.items():
        progress(index, running)
    return ended


@dataclass(eq=False)
class _Worker:
    """What a worker process holds for all of its samples; the model is loaded with the first."""

    reference: Reference
    job: Asking[Any]
    slots: int
    messages: Any
    model: Model | None = None

    def loaded(self) -> Model:
        if self.model is None:
            self.model = reopened(self.reference)
        return self.model


_workers: list[_Worker] = []


def _start_worker(reference: Reference, job: Asking[Any], slots: int, messages: Any, stop: Any) -> None:
    """Nothing here can fail: an initialiser's error would reach the user as a process that died."""
    depend_on_parent()
    threading.Thread(target=_stop_with_parent, args=(stop,), daemon=True).start()
    _workers[:] = [_Worker(reference, job, slots, messages)]


def depend_on_parent() -> None:
    """What every worker process begins with: it ends when its parent does, and at once when it has nothing to do."""
    atexit.register(gc.freeze)  # else it ends with a second of collecting what torch holds
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """However the parent ends, nothing goes on computing what nobody will read."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _stop_with_parent(stop: Any) -> None:
    """Signals are for the parent alone; this is how it hands them on."""
    stop.wait()
    EVERYTHING.ask()


def _work(samples: Sequence[Given]) -> set[int]:
    """Everything goes back as messages: what is finished must not wait for the rest of its samples.

    Returns which samples have an outcome: those that a stop left out have none.
    """
    if EVERYTHING.asked:
        return set()
    import torch

    torch.set_num_threads(1)
    worker = _workers[0]
    last: dict[int, float] = {}

    def send(index: int, running: Running) -> None:
        if time.monotonic() >= last.get(index, 0.0) + PROGRESS_INTERVAL:
            last[index] = time.monotonic()
            worker.messages.put((index, running))

    try:
        model = worker.loaded()
    except Exception as error:
        for given in samples:
            worker.messages.put(Outcome(given.index, error=error))
        return {given.index for given in samples}
    ended = set[int]()
    for outcome in InProcess(worker.slots).outcomes(model, worker.job, samples, send):
        worker.messages.put(sendable(outcome))
        ended.add(outcome.index)
    return ended


def sendable(outcome: Outcome[Any]) -> Outcome[Any]:
    """The outcome, its error as plain words where it cannot travel: a message that is lost would be waited for."""
    try:
        pickle.dumps(outcome)
    except Exception:
        return Outcome(outcome.index, error=RuntimeError(f"{type(outcome.error).__name__}: {outcome.error}"))
    return outcome
