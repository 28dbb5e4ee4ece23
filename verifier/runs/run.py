"""One question asked of many samples: who works on them, and how many at once."""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any

from bounds.device import pick_device
from encoders.errors import OptionError, SoundnessError
from encoders.layer_graph.graph import Relu
from encoders.validation import Natural, checked
from verifier.options import Options
from verifier.question.model import Model
from verifier.runs.cluster import Cluster
from verifier.runs.cluster_connection import check_cluster
from verifier.runs.in_process import InProcess
from verifier.runs.job import A, Asking, Executor, Given, Outcome, SampleProgress
from verifier.runs.journal import contradiction
from verifier.runs.processes import Processes
from verifier.runs.samples import Samples
from verifier.sample_question import FEW_NEURONS

JOBS_A_CORE = 16  # at most; more only wait for each other
SLOTS = 16  # samples side by side in one process, where that pays

Jobs = int | str
"""How many processes of this machine work at once, or the address of a cluster."""


def outcomes(
    model: Model,
    job: Asking[A],
    samples: Samples,
    indices: Sequence[int],
    jobs: Jobs,
    progress: SampleProgress,
    batch: int | None = None,
    known: Mapping[int, Any] | None = None,
) -> Generator[Outcome[A], None, None]:
    """Each sample's outcome as it finishes. Closing the iterator early stops whatever still runs.

    Nothing that an executor hands over is believed further than it holds together: it comes from other processes.
    `jobs` processes, or those of a cluster, with up to `batch` samples side by side in each; by default as many as pay
    (`slots_for`). Jobs that outnumber the samples are shared out among these. `known` is what each sample's attempt
    goes on from.
    """
    check_jobs(jobs, batch)
    slots = slots_for(model, job.options, isinstance(jobs, str)) if batch is None else batch
    given = [Given(index, samples.x[index], samples.label(index), (known or {}).get(index)) for index in indices]
    if not isinstance(jobs, str):
        at_once = max(1, min(jobs, len(indices)))
        job, jobs = replace(job, workers=jobs // at_once), at_once
    left = set(indices)
    with closing(executor_for(jobs, slots).outcomes(model, job, given, progress)) as stream:
        for outcome in stream:
            if outcome.index not in left:
                raise SoundnessError(
                    f"soundness alarm: an answer came of sample {outcome.index}, which waits for none; trust nothing "
                    "of this run"
                )
            left.remove(outcome.index)
            yield _held_together(job, outcome)


def _held_together(job: Asking[A], outcome: Outcome[A]) -> Outcome[A]:
    """The outcome, or the alarm in its place where its own parts contradict each other."""
    result = outcome.result
    if result is None:
        return outcome
    if result.index != outcome.index:
        wrong: str | None = f"what came for sample {outcome.index} is about sample {result.index}"
    else:
        wrong = contradiction(job.record(result, job.options.record("tolerance")))
    return outcome if wrong is None else Outcome(outcome.index, error=SoundnessError(f"soundness alarm: {wrong}"))


def executor_for(jobs: Jobs, slots: int) -> Executor:
    """This process for one job, processes for several, or a cluster."""
    if isinstance(jobs, str):
        return Cluster(jobs, slots)
    return InProcess(slots) if jobs == 1 else Processes(jobs, slots)


def check_jobs(jobs: Jobs, batch: int | None) -> None:
    """Refuse numbers and addresses that mean nothing, before anything is loaded."""
    checked("batch", Natural | None, batch)
    if isinstance(jobs, str):
        check_cluster(jobs)
        return
    checked("jobs", Natural, jobs)
    cores = os.cpu_count() or 1
    if jobs > JOBS_A_CORE * cores:
        raise OptionError(f"jobs {jobs}: this machine has {cores} core{'s' * (cores > 1)}; give as many jobs, or fewer")


def slots_for(model: Model, options: Options, elsewhere: bool = False) -> int:
    """How many samples one process works on at a time: several where one alone leaves the time to overhead.

    `elsewhere`: this machine's devices say nothing of theirs, so that `auto` counts as a CPU.
    """
    if options.engine not in ("auto", "search"):
        return 1
    small = sum(node.size for node in model.guide.nodes if isinstance(node, Relu)) <= FEW_NEURONS
    device = options.device if elsewhere else pick_device(options.device)
    return SLOTS if small or device not in ("cpu", "auto") else 1
