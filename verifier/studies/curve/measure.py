"""The exact distances that a robustness curve counts, sample by sample, each journalled as it finishes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from bounds.attacks import ATTACKS
from encoders.arrays import FloatArray, Inputs
from encoders.deadline import EVERYTHING, Clock
from encoders.errors import PlumblineError, SolverError
from encoders.interrupts import Interrupted
from encoders.plugins import taking_part
from encoders.question import Norm
from verifier.options import Options
from verifier.question.merging import merged, strict
from verifier.question.model import Model
from verifier.question.problem import Progress
from verifier.question.results import Result, Verdict, check_order
from verifier.runs.job import Given, Job, Outcome
from verifier.runs.journal import EFFORT, Journal, Record, is_unfinished
from verifier.runs.journalled import Attempts, Run, answers, journalled
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


@dataclass(frozen=True, eq=False)
class CurveJob(Job):
    """The distance of every sample, and beside it that of an attack, if one is drawn.

    A line of a sample that a stop comes in the middle of holds its bracket alone, and is worked on again.
    """

    attack: str | None = None

    async def outcome(
        self, model: Model, given: Given, progress: Progress, clock: Clock, share: int
    ) -> Outcome[Result]:
        found = await Job.outcome(self, model, given, progress, clock, share)
        if found.result is None or self.attack is None or EVERYTHING.asked:
            return found
        told, best = beside(model, given.x, self.options, self.attack, found.result)
        return found if EVERYTHING.asked else replace(found, result=best, beside=told)


def run_of(model: Model, samples: Samples, question: Options, attack: str | None) -> Run:
    """What the distances depend on: the resume key of their journal; and what only says how soon they are there."""
    options = question.record()
    effort = {name: options.pop(name) for name in EFFORT} | taking_part(engines=question.plugins)
    drawn = {} if attack is None else {"attacks_seed": question.seed}
    origins = {} if attack is None else ATTACKS.origins([attack])
    taking = taking_part(data=origin_of(samples.name), attacks=origins)
    return Run("curve", model, samples, {**options, "attack": attack, **drawn, **taking}, effort)


def measured(
    run: Run,
    question: Options,
    indices: Sequence[int],
    journal: Path,
    jobs: Jobs,
    batch: int | None,
    progress: Callable[[int], None],
) -> Distances:
    """The distances of one network; what the journal holds as open is gone on with, the rest is not asked again.

    `progress` is told how many are done.
    """
    attack = run.options["attack"]
    job = CurveJob(question, attack=attack)
    records: dict[int, Record] = {}
    with ExitStack() as stack:
        held = stack.enter_context(Journal(journal, run.record))
        attempts = Attempts(run, job, held, beside=attack is not None)
        fresh = answers(run, job, jobs, lambda index, running: None, batch, attempts=attempts)
        for one in stack.enter_context(closing(journalled(held, indices, fresh, is_unfinished))):
            if isinstance(one.error, PlumblineError) and not isinstance(one.error, SolverError):
                raise type(one.error)(f"{run.model.path}: sample {one.index}: {one.error}") from one.error
            if one.record is None and not isinstance(one.error, SolverError):
                raise one.error or RuntimeError(f"{run.model.path}: sample {one.index} has no result")
            if EVERYTHING.asked and attack is not None and one.record is not None and "attack" not in one.record:
                continue  # stopped before the attack, which is not told as one that found nothing
            records[one.index] = one.record or unknown(one.index)  # told as open; tried again next time
            progress(len(records))
    if len(records) < len(indices):
        raise Interrupted
    return collected(run.model.path.stem, question.norm, [records[index] for index in indices], attack)


def beside(model: Model, x: Inputs, question: Options, attack: str, result: Result) -> tuple[Record, Result]:
    """The attack's distance, and the answer where its adversary is the nearest."""
    if result.verdict is Verdict.MISCLASSIFIED:
        return {"attack": 0.0}, result
    found = drawn_attack(attack, model, x, question)
    check_order(result, {}, {attack: found.distance})
    adversaries = [] if found.adversary is None else [found.adversary]
    whole = merged(result, {}, adversaries, question.tolerance)
    return whole.record() | {"attack": strict(found.distance)}, whole.result


def collected(name: str, norm: Norm, records: Sequence[Record], attack: str | None = None) -> Distances:
    """Records as arrays."""

    def column(key: str) -> FloatArray:
        return np.array([float(record.get(key, "inf")) for record in records])

    opened = sum(record["verdict"] == Verdict.UNRESOLVED for record in records)
    return Distances(name, norm, column("lower"), column("upper"), opened, None if attack is None else column("attack"))
