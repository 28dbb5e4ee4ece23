"""The proof of each result, written where it was computed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from encoders.arrays import Inputs
from encoders.deadline import Clock, Deadline
from encoders.errors import OptionError
from verifier.margin_answer import GreatestLoss
from verifier.options import Options
from verifier.proofs.proof import ProofFile, unprovable, written, written_loss
from verifier.proofs.why_none import OUT_OF_TIME
from verifier.question.model import Model
from verifier.question.results import Result, Verdict
from verifier.runs.job import Asking, Job
from verifier.runs.journal import Record


def proof_folder(folder: Path, model: Model, options: Options) -> Path:
    """The folder, made; refused where no result of the question has a proof."""
    why = unprovable(model, options)
    if why is not None:
        raise OptionError(f"no proofs: {why}")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def lacks_proof(record: Record, folder: Path | None) -> bool:
    """Whether a proof that may be found is not there: none was asked for, its time ran out, or its file is gone."""
    told = record.get("proof")
    if record["verdict"] == Verdict.MISCLASSIFIED:
        return False
    if told is None or told["file"] is None:
        return told is None or told["why"] == OUT_OF_TIME
    return folder is not None and not (folder / told["file"]).exists()


async def proof_beside(model: Model, job: Job, x: Inputs, result: Result) -> dict[str, Any]:
    """What a record says of its proof, which has as much time as the question had."""
    clock = Clock()
    path = _place(job, result.index)
    found = written(path, model, x, result, job.options, job.mask, Deadline(job.options.time_limit, clock))
    return _told(found, clock)


def loss_proof(model: Model, job: Asking[GreatestLoss], x: Inputs, loss: GreatestLoss) -> dict[str, Any]:
    """The same of a greatest loss."""
    clock = Clock()
    path = _place(job, loss.index)
    found = written_loss(path, model, x, loss, job.options, job.mask, Deadline(job.options.time_limit, clock))
    return _told(found, clock)


def _place(job: Asking[Any], index: int) -> Path:
    folder = job.folder or Path()
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{index}.proof"


def _told(found: ProofFile, clock: Clock) -> dict[str, Any]:
    told: Record = {"file": None, "why": found.why}
    if found.path is not None:
        told = {"file": found.path.name, "radius": found.radius}
        told |= {"claims": found.claims} if found.claims else {}
    return {"proof": told | {"seconds": round(clock.now(), 6)}}
