"""One question asked of many samples: who works on them, and how many at once."""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from bounds.device import pick_device
from encoders.errors import OptionError
from encoders.layer_graph.graph import Relu
from encoders.validation import Natural, checked
from verifier.answer import FEW_NEURONS
from verifier.options import Options
from verifier.question.model import Model
from verifier.runs.in_process import InProcess
from verifier.runs.job import A, Asking, Executor, Given, Outcome, SampleProgress
from verifier.runs.processes import Processes
from verifier.runs.samples import Samples

JOBS_A_CORE = 16  # at most; more only wait for each other
SLOTS = 16  # samples side by side in one process, where that pays


def outcomes(
    model: Model,
    job: Asking[A],
    samples: Samples,
    indices: Sequence[int],
    jobs: int,
    progress: SampleProgress,
    batch: int | None = None,
    known: Mapping[int, Any] | None = None,
) -> Generator[Outcome[A], None, None]:
    """Each sample's outcome as it finishes. Closing the iterator early stops whatever still runs.

    `jobs` processes with up to `batch` samples side by side in each; by default as many as pay (`slots_for`).
    Jobs that outnumber the samples are shared out among these. `known` is what each sample's attempt goes on from.
    """
    check_jobs(jobs, batch)
    slots = slots_for(model, job.options) if batch is None else batch
    at_once = max(1, min(jobs, len(indices)))
    given = [Given(index, samples.x[index], samples.label(index), (known or {}).get(index)) for index in indices]
    yield from executor_for(at_once, slots).outcomes(model, replace(job, workers=jobs // at_once), given, progress)


def executor_for(jobs: int, slots: int) -> Executor:
    """This process for one job, processes for several."""
    return InProcess(slots) if jobs == 1 else Processes(jobs, slots)


def check_jobs(jobs: int, batch: int | None) -> None:
    """Refuse numbers that mean nothing, before anything is loaded."""
    for name, number in (("jobs", jobs), ("batch", batch)):
        checked(name, Natural | None, number)
    cores = os.cpu_count() or 1
    if jobs > JOBS_A_CORE * cores:
        raise OptionError(f"jobs {jobs}: this machine has {cores} core{'s' * (cores > 1)}; give as many jobs, or fewer")


def slots_for(model: Model, options: Options) -> int:
    """How many samples one process works on at a time: several where one alone leaves the time to overhead."""
    if options.engine not in ("auto", "search"):
        return 1
    small = sum(node.size for node in model.guide.nodes if isinstance(node, Relu)) <= FEW_NEURONS
    return SLOTS if small or pick_device(options.device) != "cpu" else 1
