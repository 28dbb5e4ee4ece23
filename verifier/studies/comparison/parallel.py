"""All networks in all norms, one after the other or several at once."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from encoders.errors import SolverError
from encoders.interrupts import interrupts_blocked
from encoders.question import Norm
from verifier.runs.processes import depend_on_parent, one_thread_each
from verifier.studies.comparison.measure import Measured, Progress, measure_one
from verifier.studies.comparison.options import CompareOptions, Subject
from verifier.studies.comparison.test_data import TestData

Task = tuple[Subject, Norm, TestData, tuple[int, ...], CompareOptions, Path]


def measure(
    subjects: tuple[Subject, ...],
    options: CompareOptions,
    data: TestData,
    indices: tuple[int, ...],
    folder: Path,
    progress: Progress,
) -> Iterator[Measured]:
    """All networks in all norms, in order; what the journals in `folder` hold is not computed again."""
    folder.mkdir(parents=True, exist_ok=True)
    tasks = [(subject, norm, data, indices, options, folder) for subject in subjects for norm in options.norms]
    if options.jobs == 1:
        for task in tasks:
            yield measure_one(*task, progress)
    else:
        yield from in_parallel(tasks, options.jobs, progress)


def in_parallel(tasks: list[Task], jobs: int, progress: Progress) -> Iterator[Measured]:
    """Networks side by side, one process each: starting a process costs as much as several samples of a small net."""
    one_thread_each()
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(min(jobs, len(tasks)), context, depend_on_parent)
    before = set(multiprocessing.active_children())
    with interrupts_blocked():
        futures = [pool.submit(_alone, task) for task in tasks]
    finished = False
    try:
        for task, future in zip(tasks, futures, strict=True):
            try:
                found = future.result()
            except BrokenProcessPool:
                raise SolverError("a worker process died (out of memory?); try fewer --jobs") from None
            progress(task[0], task[1], len(task[3]))
            yield found
        finished = True
    finally:
        ours = set(multiprocessing.active_children()) - before
        pool.shutdown(wait=finished, cancel_futures=True)
        if not finished:
            for process in ours:
                process.kill()


def _alone(task: Task) -> Measured:
    import torch

    torch.set_num_threads(1)
    return measure_one(*task, lambda subject, norm, done: None)
