"""How a reader checks a report: commands and lines of Python, an example of each, with paths as the report was given.

Nothing of ours is needed to replay an adversary; a proof's checker imports nothing of what wrote it.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoders.question import Norm
from verifier.options import Options
from verifier.pages.wording import NAMES, as_given, ranges
from verifier.proofs.proof import unprovable
from verifier.studies.gap_report import told
from verifier.studies.gap_report.conditions import Conditions
from verifier.studies.gap_report.records import Collected

LENGTHS = {
    Norm.LINF: "numpy.abs(moved).max()",
    Norm.L1: "numpy.abs(moved).sum()",
    Norm.L2: "numpy.sqrt((moved**2).sum())",
}


@dataclass(frozen=True)
class Check:
    """What is checked, and the lines that check it."""

    what: str
    how: str


def checks(conditions: Conditions, norms: Sequence[Collected]) -> list[Check]:
    """How the first input that has each kind of file is checked: an example for all the others."""
    found = _asked_again(conditions, norms)
    for what, file_of, how in (
        ("Replay the adversary", told.adversary_file, replay),
        ("Check the proof", told.proof_file, proof),
    ):
        held = ((one, record, file_of(record)) for one in norms for record in one.records)
        first = next(((one.norm, record["index"], file) for one, record, file in held if file is not None), None)
        if first is not None:
            norm, index, file = first
            found.append(Check(f"{what} of input {index} in {NAMES[norm]}", how(conditions, norm, index, file)))
    return [*found, *_unwritten(conditions, norms), Check("Compute the digest of the data again", digest(conditions))]


def _asked_again(conditions: Conditions, norms: Sequence[Collected]) -> list[Check]:
    """The first input that is right, under the limit that it had, and without one."""
    right = ((one.norm, one.indices[k]) for one in norms for k in np.flatnonzero(one.correct).tolist())
    first = next(right, None)
    if first is None:
        return []
    norm, index = first
    what, how, limit = f"Ask for input {index} in {NAMES[norm]} again", distance(conditions, norm, index), []
    if conditions.question.time_limit is not None:
        limit = ["--time-limit", as_given(conditions.question.time_limit)]
        return [
            Check(f"{what}, with the limit of this report", shlex.join([*how, *limit])),
            Check("The same without a limit, to settle it", shlex.join(how)),
        ]
    return [Check(what, shlex.join(how))]


def _unwritten(conditions: Conditions, norms: Sequence[Collected]) -> list[Check]:
    """How a proof is written of an input that has none; nothing where all have one, or none can have any."""
    if unprovable(conditions.model, conditions.question) is not None:
        return []
    lacking = {
        one.norm: [k for k in np.flatnonzero(one.correct).tolist() if told.proof_file(one.records[k]) is None]
        for one in norms
    }
    for one in norms:
        if lacking[one.norm]:
            indices = [one.indices[k] for k in lacking[one.norm]]
            folder = str(conditions.out / "proofs" / str(one.norm))
            how = shlex.join([*distance(conditions, one.norm, indices[0]), "--proof", folder])
            others = "; ".join(
                f"{ranges([other.indices[k] for k in lacking[other.norm]])} in {NAMES[other.norm]}"
                for other in norms
                if lacking[other.norm]
            )
            what = f"Write a proof that is missing, here of input {indices[0]} in {NAMES[one.norm]} (missing: {others})"
            return [Check(what, how)]
    return []


def distance(conditions: Conditions, norm: Norm, index: int) -> list[str]:
    """The command that asks for the distance of one sample anew, as the report did, without a limit."""
    asked, usual = conditions.question, Options()
    parts = ["plumbline", "distance", conditions.path, "--data", conditions.samples.name, "--samples", str(index)]
    parts += ["--norm", str(norm)]
    if asked.box != usual.box:
        parts.append(f"--box={as_given(asked.box[0])},{as_given(asked.box[1])}")
    if conditions.model.output is not None:
        parts += ["--output", conditions.model.output]
    if conditions.model.threshold is not None:
        parts += ["--threshold", as_given(conditions.model.threshold)]
    for flag, given, default in (
        ("--tolerance", asked.tolerance, usual.tolerance), ("--engine", asked.engine, usual.engine),
        ("--seed", asked.seed, usual.seed),
    ):  # fmt: skip
        if given != default:
            parts += [flag, str(given)]
    return parts


def proof(conditions: Conditions, norm: Norm, index: int, file: str) -> str:
    """The command that checks the proof in a file, and that it is about the data's row, believing nothing else."""
    del norm
    parts = ["plumbline", "check", str(conditions.out / file), "--model", conditions.path]
    return shlex.join([*parts, "--data", conditions.samples.name, "--sample", str(index)])


def replay(conditions: Conditions, norm: Norm, index: int, adversary: str) -> str:
    """Lines of Python that replay an adversary, with nothing but numpy and onnxruntime."""
    model, (low, high) = conditions.model, conditions.question.box
    outputs = None if model.output is None else [model.output]
    read = "scores.argmax()" if model.threshold is None else f"int(scores[0] > {as_given(model.threshold)})"
    return "\n".join([
        "import numpy, onnxruntime",
        f"held = numpy.load({str(conditions.out / adversary)!r})",
        f"session = onnxruntime.InferenceSession({conditions.path!r})",
        "name = session.get_inputs()[0].name",
        'for which in ("original", "adversary"):',
        f"    scores = session.run({outputs!r}, {{name: held[which][None]}})[0].reshape(-1)",
        f'    print(which, "is read as", {read}, scores)',
        'moved = held["adversary"].astype(float) - held["original"]',
        f'print("distance:", {LENGTHS[norm]})',
        'least, greatest = held["adversary"].min(), held["adversary"].max()',
        f'print("in the box:", least >= {as_given(low)} and greatest <= {as_given(high)})',
        *_row(conditions, index),
        'print("original is the row of the data:", numpy.array_equal(held["original"].reshape(-1), row.reshape(-1)))',
    ])  # fmt: skip


def _row(conditions: Conditions, index: int) -> list[str]:
    """Lines that give a row of the data: numpy alone where a file holds it as the model takes it."""
    name, x = conditions.samples.name, conditions.samples.x[index]
    kind, suffix = f"numpy.{x.dtype.name}", Path(name).suffix.lower()
    if suffix in (".npz", ".npy"):
        held = f"numpy.load({name!r})" + ('["x"]' if suffix == ".npz" else "") + f"[{index}].astype({kind})"
        raw = _raw(Path(name), index)
        for way, divisor in (("", 1), (f" / {kind}(255)", 255)):
            if raw is None or np.array_equal((raw.astype(x.dtype) / x.dtype.type(divisor)).reshape(-1), x.reshape(-1)):
                return [f"row = {held}{way}"]
    shape = tuple(conditions.model.input_shape)
    return [
        "from verifier.runs.samples import load_samples",
        f"row = load_samples({name!r}, {shape}, None, {kind}).x[{index}]",
    ]


def _raw(path: Path, index: int) -> NDArray[Any] | None:
    """The row as the file holds it; None where there is no such file here."""
    try:
        held = np.load(path, allow_pickle=False)
        row: NDArray[Any] = (held["x"] if path.suffix.lower() == ".npz" else held)[index]
    except (OSError, ValueError, KeyError, IndexError):
        return None
    return row


def digest(conditions: Conditions) -> str:
    """The line that computes the data's digest from the data."""
    x, model = conditions.samples.x, conditions.model
    classes = model.classes if conditions.samples.y is not None else None
    arguments = f"{json.dumps(conditions.samples.name)}, {tuple(model.input_shape)}, {classes}, numpy.{x.dtype.name}"
    lines = "import numpy; from verifier.runs.samples import load_samples; print(load_samples({}).digest)"
    return shlex.join(["python", "-c", lines.format(arguments)])
