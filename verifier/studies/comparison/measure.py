"""Every network on every sample in every norm: the bracket of its distance, two attacks, a lower bound.

Each sample is journalled at once, with the best of all of them as its bracket.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bounds.attacks import ATTACKS
from bounds.lower.cross_lipschitz import LocalCrossLipschitz
from bounds.lower.relaxations import Crown
from encoders.arrays import FloatArray, Inputs
from encoders.deadline import EVERYTHING, Clock
from encoders.errors import SolverError
from encoders.plugins import taking_part
from encoders.question import Norm
from verifier.options import Options
from verifier.question.merging import Proven, merged, strict
from verifier.question.model import Model
from verifier.question.problem import Progress as Told
from verifier.question.results import Result, Verdict, check_order
from verifier.regions import region_for
from verifier.runs.job import Given, Job, Outcome
from verifier.runs.journal import Journal, Record, is_unfinished, number
from verifier.runs.journalled import Attempts, Run, answers, journalled
from verifier.runs.samples import Samples, origin_of
from verifier.studies.comparison.drawn_attacks import STRONGEST, drawn_attack
from verifier.studies.comparison.lower_bounds import cross_lipschitz_lower, crown_lower
from verifier.studies.comparison.options import CompareOptions, Subject
from verifier.studies.comparison.test_data import TestData

Progress = Callable[[Subject, Norm, int], None]
"""Called with the network, the norm and the number of samples done."""


@dataclass(frozen=True, eq=False)
class CompareJob(Job):
    """The distance of every sample, and beside it both attacks and lower bounds: what a line of a journal holds.

    A line of a sample that a stop comes in the middle of holds its bracket alone, and is worked on again.
    """

    attacks: tuple[str, ...] = ()

    async def outcome(self, model: Model, given: Given, progress: Told, clock: Clock, share: int) -> Outcome[Result]:
        found = await Job.outcome(self, model, given, progress, clock, share)
        if found.result is None or EVERYTHING.asked:
            return found
        told, best = beside(model, given.x, self.options, self.attacks, found.result)
        return found if EVERYTHING.asked else replace(found, result=best, beside=told)


@dataclass(frozen=True, eq=False)
class Measured:
    """One network in one norm; all arrays [samples]. A misclassified sample has distance 0 on both sides."""

    subject: Subject
    norm: Norm
    indices: tuple[int, ...]
    accuracy: float  # over the whole test data, not these samples alone
    correct: NDArray[np.bool_]
    lower: FloatArray
    upper: FloatArray
    typical: FloatArray
    strongest: FloatArray
    lipschitz: FloatArray | None
    proven_by: tuple[str, ...]  # whose bound each lower side is
    basis: tuple[str, ...]  # and what it rests on
    open_phases: FloatArray
    seconds: FloatArray
    open: NDArray[np.bool_]
    adversaries: dict[int, Inputs]  # by the sample's index
    attempts: tuple[Sequence[Record], ...] = ()  # of each sample, how its time was spent; of none where unknown

    def of(self, indices: tuple[int, ...]) -> Measured:
        """The same of fewer samples."""
        kept = [self.indices.index(index) for index in indices]
        arrays = ("correct", "lower", "upper", "typical", "strongest", "lipschitz", "open_phases", "seconds", "open")
        cut: dict[str, Any] = {name: None if (held := getattr(self, name)) is None else held[kept] for name in arrays}
        words: dict[str, Any] = {name: tuple(getattr(self, name)[k] for k in kept) for name in ("proven_by", "basis")}
        adversaries = {index: found for index, found in self.adversaries.items() if index in indices}
        attempts = tuple(self.attempts[k] for k in kept) if self.attempts else ()
        return replace(self, indices=indices, adversaries=adversaries, attempts=attempts, **cut, **words)


def measure_one(
    subject: Subject,
    norm: Norm,
    data: TestData,
    indices: tuple[int, ...],
    options: CompareOptions,
    folder: Path,
    progress: Progress,
) -> Measured:
    """One network in one norm, sample by sample; what a stop left undone is not among its indices."""
    model = subject.model()
    samples = data.samples(model)
    question = options.question(norm)
    run = run_of_one(model, samples, question, options.attacks)
    job = CompareJob(question, attacks=options.attacks)
    records: dict[int, Record] = {}
    with ExitStack() as stack:
        journal = stack.enter_context(Journal(folder / f"{subject.stem}-{norm}.jsonl", run.record))
        attempts = Attempts(run, job, journal, beside=True)
        fresh = answers(run, job, options.cluster or 1, lambda index, running: None, attempts=attempts)
        for one in stack.enter_context(closing(journalled(journal, indices, fresh, is_unfinished))):
            if one.record is None and not isinstance(one.error, SolverError):
                raise one.error or RuntimeError(f"{subject.path}: sample {one.index} has no result")
            if EVERYTHING.asked and one.record is not None and "attacks" not in one.record:
                continue  # stopped before the attacks, which are not told as ones that found nothing
            # What a solver failed on is told as open; a line on the way holds its bracket alone. Both are tried again.
            records[one.index] = {**unknown(one.index), **(one.record or {})}
            progress(subject, norm, len(records))
    done = [records[index] for index in indices if index in records]
    return collected(subject, norm, accuracy(model, samples), done, options)


def run_of_one(model: Model, samples: Samples, question: Options, attacks: tuple[str, ...]) -> Run:
    """The run of one network in one norm."""
    effort = question.record("time_limit", "engine", "device", "seed") | taking_part(engines=question.plugins)
    return Run("compare", model, samples, depending_on(samples, question, attacks), effort)


def depending_on(samples: Samples, question: Options, attacks: tuple[str, ...]) -> dict[str, Any]:
    """What of the options a measurement depends on."""
    taking = taking_part(data=origin_of(samples.name), attacks=ATTACKS.origins(list(attacks)))
    asked = question.record("norm", "tolerance") | {"attacks_seed": question.seed}
    return {**asked, "attacks": list(attacks), **taking}


def beside(
    model: Model, x: Inputs, question: Options, attacks: tuple[str, ...], result: Result
) -> tuple[Record, Result]:
    """What a sample's line in the journal holds beside its answer, and the answer with all that was measured."""
    proven_by = result.proven_by or result.engine
    told: Record = {"attacks": {}, "cross_lipschitz": None, **written(None), "proven_by": proven_by}
    if result.verdict is Verdict.MISCLASSIFIED:
        return told, result
    found = {name: drawn_attack(name, model, x, question) for name in attacks}
    check_order(result, {}, {name: one.distance for name, one in found.items()})
    told["attacks"] = {
        name: {"distance": strict(one.distance), "seconds": round(one.seconds, 6)} for name, one in found.items()
    }
    adversaries = [one.adversary for one in found.values() if one.adversary is not None]
    nearest = merged(result, {}, adversaries, question.tolerance).result
    region = region_for(model, x, None, question)
    bounds = {LocalCrossLipschitz.name: cross_lipschitz_lower(model, region, nearest)}
    told["cross_lipschitz"] = bounds[LocalCrossLipschitz.name]
    if nearest.verdict is Verdict.UNRESOLVED:
        bounds[Crown.name] = crown_lower(model, region, nearest)
    check_order(nearest, bounds, {})
    proven = {name: Proven(bound) for name, bound in bounds.items()}
    whole = merged(result, proven, adversaries, question.tolerance)
    adversary = whole.result.adversary
    return told | written(None if adversary is None else adversary.input) | whole.record(), whole.result


def written(adversary: Inputs | None) -> Record:
    """An adversary as a line of the journal holds it."""
    if adversary is None:
        return {"adversary": None}
    kind = adversary.dtype.newbyteorder("<")
    content = base64.b64encode(adversary.astype(kind).tobytes()).decode()
    return {"adversary": content, "adversary_type": kind.str}


def unknown(
    index: int, lower: float = 0.0, upper: float = math.inf, basis: str | None = None, prover: str | None = None
) -> Record:
    """A sample that failed: correct as far as is known, its distance anywhere in what was proven and found before."""
    return {
        "index": index, "label": None, "predicted": None, "verdict": "unresolved", "lower": lower,
        "upper": number(upper), "attacks": {}, "cross_lipschitz": None, "open_phases": 0, "seconds": 0.0,
        "adversary": None, "basis": basis or "", "proven_by": prover or "",
    }  # fmt: skip


def accuracy(model: Model, samples: Samples) -> float:
    """The share of all samples that the file classifies right, by onnxruntime; NaN where no labels are known."""
    if samples.y is None:
        return float("nan")
    parts = [model.scores(part).argmax(1) for part in np.array_split(samples.x, 1 + samples.count // 1000)]
    return float((np.concatenate(parts) == samples.y).mean())


def collected(
    subject: Subject, norm: Norm, accuracy: float, records: list[Record], options: CompareOptions
) -> Measured:
    """Records as arrays."""

    def column(name: str) -> FloatArray:
        return np.array([float(record[name]) for record in records])

    def attacked(name: str) -> FloatArray:
        """Distances of an attack; misclassified samples have 0, those that it found nothing for infinity.

        Of a sample that it was not asked about, as one that failed, nothing worse is told than of all else.
        """
        return np.array([
            0.0 if record["verdict"] == Verdict.MISCLASSIFIED
            else float(record["attacks"].get(name, {"distance": record["upper"]})["distance"])
            for record in records
        ])  # fmt: skip

    bounds = [record["cross_lipschitz"] for record in records]
    known = any(bound is not None for bound in bounds)
    return Measured(
        subject,
        norm,
        tuple(int(record["index"]) for record in records),
        accuracy,
        np.array([record["verdict"] != Verdict.MISCLASSIFIED for record in records]),
        column("lower"),
        column("upper"),
        attacked(options.attack),
        attacked(STRONGEST),
        np.array([float(bound or 0.0) for bound in bounds]) if known else None,
        tuple(record["proven_by"] for record in records),
        tuple(record["basis"] for record in records),
        column("open_phases"),
        column("seconds"),
        np.array([record["verdict"] == Verdict.UNRESOLVED for record in records]),
        {
            int(record["index"]): np.frombuffer(base64.b64decode(record["adversary"]), record["adversary_type"])
            for record in records
            if record["adversary"] is not None
        },
        tuple(record.get("attempts", ()) for record in records),
    )
