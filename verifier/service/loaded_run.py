"""A run as a worker has it: its model and data loaded, samples as they are handed out, answers as they are kept."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from verifier.greatest_value import KnownValue
from verifier.margin_answer import KnownLoss
from verifier.options import Options
from verifier.question.model import Model
from verifier.question.problem import Known
from verifier.question.results import Adversary, Basis
from verifier.runs.job import Asking, Given, Outcome
from verifier.runs.journal import EFFORT, attempted
from verifier.runs.samples import Samples
from verifier.runs.saved_adversary import arrays_of
from verifier.service.asking import Question, loaded, samples_of
from verifier.service.files import Files, array_file, laid_out, model_folder
from verifier.service.store.records import BUILT_IN, Claimed, Finding, StoredArray, StoredData, StoredModel, StoredRun

KEPT = 4  # models that a worker keeps, for runs that take turns


@dataclass(frozen=True, eq=False)
class LoadedRun:
    """What is asked of the samples of one run, with everything loaded."""

    run: StoredRun
    model: Model
    samples: Samples
    job: Asking[Any]
    folder: Path  # where the job writes files
    effort: dict[str, Any]
    limit: float  # seconds that each sample has
    earlier: dict[int, dict[str, Any] | None] = field(default_factory=dict)

    @classmethod
    def of(
        cls, run: StoredRun, model: StoredModel, data: StoredData | None, arrays: Mapping[str, StoredArray],
        files: Files, cache: Path, limit: float, folder: Path,
    ) -> LoadedRun:  # fmt: skip
        read_here = {name: array_file(files, one, cache) for name, one in arrays.items()}
        question = Question(run.question, run.radius, run.options, run.proofs, read_here)
        held = model_folder(files, model, cache)
        read = _model(held / model.name, model.facts.get("output"), model.facts.get("threshold"))
        job = question.job(read, folder)
        effort = job.options.record(*EFFORT)
        job = replace(job, options=replace(job.options, time_limit=None if limit == float("inf") else limit))
        source = run.data_id
        if data is not None and data.kind != BUILT_IN:
            name = f"data.{data.kind}"
            source = str(laid_out(files, [(name, data.sha256)], cache / "data" / data.sha256) / name)
        return cls(run, read, _samples(source, read, job.options.change is None), job, folder, effort, limit)

    def given(self, claim: Claimed, files: Files) -> Given:
        """A sample with what is known of it."""
        index, adversary = claim.number, None
        if claim.adversary is not None:
            with files.open(claim.adversary) as file, np.load(io.BytesIO(file.read()), allow_pickle=False) as arrays:
                adversary = arrays["variables" if "variables" in arrays else "adversary"].reshape(-1)
        return Given(index, self.samples.x[index], self.samples.label(index), self._known(claim, adversary))

    def _known(self, claim: Claimed, adversary: Any) -> Any:
        if claim.attempt == 1:
            return None
        basis = Basis(claim.basis or Basis.RIGOROUS)
        if self.run.question == "margin":
            inputs = None if adversary is None else adversary[None]
            return KnownLoss(KnownValue(claim.upper, basis, inputs))
        told, prover = self.earlier.get(claim.number), self.job.options.engine
        if told is not None and float(told["lower"]) >= claim.lower:
            prover = told.get("proven_by") or told["engine"]
        return Known(max(0.0, claim.lower), basis, adversary, proven_by=prover)

    def finding(self, outcome: Outcome[Any], files: Files, persistently: Callable[[Callable[[], str]], str]) -> Finding:
        """An answer as the database holds it, its adversary and its proof kept as files."""
        earlier = self.earlier.get(outcome.index)
        record = attempted(self.job.record(outcome.result, self.run.record), self.effort, earlier)
        record |= outcome.beside or {}
        if self.run.question == "compare":  # its adversary is a file here
            record = {name: value for name, value in record.items() if name not in ("adversary", "adversary_type")}
        witness = next(iter(self.job.witnesses(outcome.result).values()), None)
        content: dict[str, bytes] = {}
        if isinstance(record.get("adversary"), str):  # a report's attacks may have come nearer
            content["adversary"] = (self.folder / record["adversary"]).read_bytes()
        elif witness is not None:
            content["adversary"] = adversary_file(self.samples.x[outcome.index], witness)
        told = record.get("proof")
        if told is not None and told["file"] is not None:
            content["proof"] = (self.folder / told["file"]).read_bytes()
        kept = {name: persistently(partial(files.put, one)) for name, one in content.items()}
        return Finding(
            float(record["lower"]), float(record["upper"]), float(record["seconds"]), int(record["nodes"]),
            record.get("open_phases"), record["basis"], record["engine"], None, record["predicted"], record["target"],
            record["found_by"], kept.get("adversary"), kept.get("proof"), why_open(record), record,
        )  # fmt: skip


@lru_cache(maxsize=KEPT)
def _model(path: Path, output: str | None, threshold: float | None) -> Model:
    return loaded(path, {"output": output, "threshold": threshold})


@lru_cache(maxsize=2 * KEPT)
def _samples(source: str, model: Model, classified: bool) -> Samples:
    return samples_of(source, model, Options() if classified else Options(change=1.0))


def adversary_file(original: Any, adversary: Adversary) -> bytes:
    """The arrays of an adversary as `--out` saves them."""
    held = io.BytesIO()
    np.savez_compressed(held, **arrays_of(original, adversary))
    return held.getvalue()


def why_open(record: Mapping[str, Any]) -> str | None:
    """In words, why a sample has no exact answer, and what would bring it nearer."""
    if record["verdict"] != "unresolved":
        return None
    return str(record.get("why_open") or "its time was over; resume with more time, or raise the tolerance")
