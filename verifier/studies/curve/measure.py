"""The exact distances that a robustness curve counts, sample by sample, each journalled as it finishes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from bounds.attacks import ATTACKS
from encoders.arrays import FloatArray
from encoders.errors import PlumblineError, SolverError
from encoders.interrupts import Interrupted
from encoders.plugins import taking_part
from encoders.question import Norm
from verifier.options import Options
from verifier.question.merging import merged, strict
from verifier.question.model import Model
from verifier.question.results import Result, Verdict, check_order
from verifier.runs.job import Job
from verifier.runs.journal import Journal, Record
from verifier.runs.journalled import Run, answers, journalled
from verifier.runs.run import Jobs
from verifier.runs.samples import Samples, origin_of
from verifier.studies.comparison.drawn_attacks import drawn_attack
from verifier.studies.comparison.measure import unknown
from verifier.studies.comparison.robust_accuracy import Ends


@dataclass(frozen=True, eq=False)
class Distances:
    """One network's distances in one norm, arrays [samples]. A misclassified sample is at distance 0 from both sides.

    `attacked` are the distances of an attack's adversaries, where one is drawn beside; `open` counts what is not exact.
    """

    name: str
    norm: Norm
    lower: FloatArray
    upper: FloatArray
    open: int
    attacked: FloatArray | None = None

    @property
    def ends(self) -> Ends:
        """Both ends, as of one seed."""
        return self.lower[None], self.upper[None]


def run_of(model: Model, samples: Samples, question: Options, attack: str | None) -> Run:
    """What the distances depend on: the resume key of their journal."""
    origins = {} if attack is None else ATTACKS.origins([attack])
    taking = taking_part(data=origin_of(samples.name), engines=question.plugins, attacks=origins)
    return Run("curve", model, samples, {**question.record(), "attack": attack, **taking})


def measured(
    run: Run,
    question: Options,
    indices: Sequence[int],
    journal: Path,
    jobs: Jobs,
    batch: int | None,
    progress: Callable[[int], None],
) -> Distances:
    """The distances of one network; what the journal holds is not asked again. `progress` is told how many are done."""
    attack = run.options["attack"]
    fresh = answers(
        run, Job(question), jobs, lambda index, running: None, batch, partial(beside, run, question, attack)
    )
    records: dict[int, Record] = {}
    with ExitStack() as stack:
        held = stack.enter_context(Journal(journal, run.record))
        for one in stack.enter_context(closing(journalled(held, indices, fresh))):
            if isinstance(one.error, PlumblineError) and not isinstance(one.error, SolverError):
                raise type(one.error)(f"{run.model.path}: sample {one.index}: {one.error}") from one.error
            if one.record is None and not isinstance(one.error, SolverError):
                raise one.error or RuntimeError(f"{run.model.path}: sample {one.index} has no result")
            records[one.index] = one.record or unknown(one.index)  # told as open; tried again next time
            progress(len(records))
    if len(records) < len(indices):
        raise Interrupted
    return collected(run.model.path.stem, question.norm, [records[index] for index in indices], attack)


def beside(run: Run, question: Options, attack: str | None, result: Result) -> Record:
    """The attack's distance, if one is drawn, and the bracket where its adversary is the nearest."""
    if attack is None:
        return {}
    if result.verdict is Verdict.MISCLASSIFIED:
        return {"attack": 0.0}
    found = drawn_attack(attack, run.model, run.samples.x[result.index], question)
    check_order(result, {}, {attack: found.distance})
    adversaries = [] if found.adversary is None else [found.adversary]
    return merged(result, {}, adversaries, question.tolerance).record() | {"attack": strict(found.distance)}


def collected(name: str, norm: Norm, records: Sequence[Record], attack: str | None = None) -> Distances:
    """Records as arrays."""

    def column(key: str) -> FloatArray:
        return np.array([float(record.get(key, "inf")) for record in records])

    opened = sum(record["verdict"] == Verdict.UNRESOLVED for record in records)
    return Distances(name, norm, column("lower"), column("upper"), opened, None if attack is None else column("attack"))
