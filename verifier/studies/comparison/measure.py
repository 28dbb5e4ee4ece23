"""Every network on every sample in every norm: exact bracket, attack, lower bound; each journalled at once."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bounds.attacks import ATTACKS
from encoders.arrays import FloatArray, Inputs
from encoders.errors import SolverError
from encoders.plugins import taking_part
from encoders.question import Norm
from verifier.answer import region_for
from verifier.options import Options
from verifier.question.model import Model
from verifier.question.results import Result, Verdict, check_order
from verifier.runs.job import Job
from verifier.runs.journal import Journal, Record
from verifier.runs.journalled import Run, answers, journalled
from verifier.runs.samples import Samples, origin_of
from verifier.studies.comparison.attack_distance import attack_distance
from verifier.studies.comparison.lower_bounds import cross_lipschitz_lower
from verifier.studies.comparison.options import CompareOptions, Subject
from verifier.studies.comparison.test_data import TestData

Progress = Callable[[Subject, Norm, int], None]
"""Called with the network, the norm and the number of samples done."""


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
    attack: FloatArray
    lipschitz: FloatArray | None
    open_phases: FloatArray
    seconds: FloatArray
    open: NDArray[np.bool_]
    adversaries: dict[int, Inputs]  # by the sample's index


def measure_one(
    subject: Subject,
    norm: Norm,
    data: TestData,
    indices: tuple[int, ...],
    options: CompareOptions,
    folder: Path,
    progress: Progress,
) -> Measured:
    """One network in one norm, sample by sample."""
    model = subject.model()
    samples = data.samples(model)
    question = options.question(norm)
    run = Run("compare", model, samples, depending_on(samples, question, options.attack))
    more = partial(beside, model, samples, question, attack=options.attack)
    fresh = answers(run, Job(question), 1, lambda index, lower, upper: None, more=more)
    records: dict[int, Record] = {}
    with ExitStack() as stack:
        journal = stack.enter_context(Journal(folder / f"{subject.stem}-{norm}.jsonl", run.record))
        for one in stack.enter_context(closing(journalled(journal, indices, fresh))):
            if one.record is None and not isinstance(one.error, SolverError):
                raise one.error or RuntimeError(f"{subject.path}: sample {one.index} has no result")
            records[one.index] = one.record or unknown(one.index)  # told as open; tried again next time
            progress(subject, norm, len(records))
    return collected(subject, norm, accuracy(model, samples), [records[index] for index in indices])


def depending_on(samples: Samples, question: Options, attack: str) -> dict[str, Any]:
    """What of the options a measurement depends on."""
    return {
        **question.record("norm", "time_limit", "tolerance", "engine", "device", "seed"), "attack": attack,
        **taking_part(data=origin_of(samples.name), engines=question.plugins, attacks=ATTACKS.origins([attack])),
    }  # fmt: skip


def beside(model: Model, samples: Samples, question: Options, result: Result, attack: str) -> Record:
    """What the journal holds of a sample besides its exact bracket: an attack, a lower bound, the adversary."""
    told: Record = {"attack": 0.0, "attack_seconds": 0.0, "cross_lipschitz": None, "adversary": None}
    if result.verdict is Verdict.MISCLASSIFIED:
        return told
    region = region_for(model, samples.x[result.index], None, question)
    started = time.monotonic()
    nearest = attack_distance(attack, model, region, question, result)
    told["attack_seconds"] = round(time.monotonic() - started, 6)
    told["attack"] = nearest if np.isfinite(nearest) else "inf"
    bound = cross_lipschitz_lower(model, region, result)
    told["cross_lipschitz"] = bound
    check_order(result, {"local-cross-lipschitz": bound}, {attack: nearest})
    if result.adversary is not None:
        told["adversary"] = base64.b64encode(result.adversary.input.astype("<f4").tobytes()).decode()
    return told


def unknown(index: int) -> Record:
    """A sample that a solver failed on: correct as far as is known, its distance anywhere."""
    return {
        "index": index, "label": None, "predicted": None, "verdict": "unresolved", "lower": 0.0, "upper": "inf",
        "attack": "inf", "cross_lipschitz": None, "open_phases": 0, "seconds": 0.0, "adversary": None,
    }  # fmt: skip


def accuracy(model: Model, samples: Samples) -> float:
    """The share of all samples that the file classifies right, by onnxruntime; NaN where no labels are known."""
    if samples.y is None:
        return float("nan")
    parts = [model.scores(part).argmax(1) for part in np.array_split(samples.x, 1 + samples.count // 1000)]
    return float((np.concatenate(parts) == samples.y).mean())


def collected(subject: Subject, norm: Norm, accuracy: float, records: list[Record]) -> Measured:
    """Records as arrays."""

    def column(name: str) -> FloatArray:
        return np.array([float(record[name]) for record in records])

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
        column("attack"),
        np.array([float(bound or 0.0) for bound in bounds]) if known else None,
        column("open_phases"),
        column("seconds"),
        np.array([record["verdict"] == Verdict.UNRESOLVED for record in records]),
        {
            int(record["index"]): np.frombuffer(base64.b64decode(record["adversary"]), "<f4")
            for record in records
            if record["adversary"] is not None
        },
    )
