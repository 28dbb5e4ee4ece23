"""`plumbline transfer`: the adversaries of each network shown to every other one."""

from __future__ import annotations

import argparse
import json
import math
import sys
from decimal import ROUND_CEILING
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from encoders.errors import DataError, OptionError
from encoders.files import write_whole
from verifier.cli.several_networks import (
    JOINT_HEADER,
    add_exact,
    asked,
    exact,
    joint_row,
    load_for_all,
    load_together,
    options_of,
)
from verifier.cli.shared_options import add_attacked, add_scores
from verifier.pages.csv_text import csv_text

if TYPE_CHECKING:
    import numpy as np

    from encoders.arrays import FloatArray
    from verifier.options import Options
    from verifier.question.model import Model
    from verifier.runs.samples import Samples
    from verifier.studies.attacks.transfer import Source

ANSWERED = 0
FACTORS = (1.0, 1.5)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`plumbline transfer A B …`."""
    parser.description = (
        "The nearest adversaries that the portfolio finds for each network, shown to every other one: as they are, "
        "and moved further from their sample by each factor. Of samples that both classify right. With --exact: the "
        "least perturbation of each sample that changes the class of every network, proven."
    )
    parser.add_argument("models", type=Path, nargs="+", metavar="MODEL", help="two or more ONNX files")
    add_scores(parser)
    add_attacked(parser)
    parser.add_argument(
        "--factor",
        type=float,
        action="append",
        metavar="F",
        help="how much further, relative to the nearest; may be repeated (default: 1 and 1.5)",
    )
    add_exact(parser)
    parser.add_argument(
        "--out", type=Path, metavar="DIR",
        help="save the tables: transfer.json and transfer.csv; with --exact each perturbation: arrays and a picture",
    )  # fmt: skip


def run(arguments: argparse.Namespace) -> int:
    """One matrix per factor, or exactly, a row per sample; returns the exit status."""
    if exact(arguments, "factor"):
        return _exactly(arguments)
    from verifier.options import Options, check_convex
    from verifier.question.model import load
    from verifier.runs.samples import check_box, load_samples, parse_samples
    from verifier.studies.attacks.transfer import matrix

    options = Options(norm=arguments.norm, box=arguments.box, device=arguments.device, seed=arguments.seed)
    check_convex(options)
    factors = tuple(dict.fromkeys(arguments.factor or FACTORS))
    for factor in factors:
        if not (math.isfinite(factor) and factor > 0):
            raise OptionError(f"factor {factor}: give a positive number")
    if len(arguments.models) < 2:
        raise OptionError("transfer needs two or more models")
    names = _names(arguments.models)
    models = [load(path, arguments.output, arguments.threshold) for path in arguments.models]
    samples = [load_samples(arguments.data, model.input_shape, model.classes) for model in models]
    _check_alike(names, models, samples)
    indices = parse_samples(arguments.samples, samples[0].count)
    check_box(samples[0], indices, options.box)
    flat = [one.x[list(indices)].reshape(len(indices), -1) for one in samples]
    right = _right(models, flat[0], None if samples[0].y is None else samples[0].y[list(indices)])
    sources = [
        _source(name, model, one, indices, which, options)
        for name, model, one, which in zip(names, models, samples, right, strict=True)
    ]
    told: list[dict[str, Any]] = []
    for factor in factors:
        shares, counts = matrix(sources, flat[0], factor, options.box)
        print(f"\n{options.norm}, adversaries at {factor:g} times their distance: share that fools\n")
        print(table(names, shares))
        told.append({"factor": factor, "shares": _listed(shares), "samples": counts.tolist()})
    if arguments.out is not None:
        _save(arguments.out, names, models, samples[0], options, told)
    return ANSWERED


def _exactly(arguments: argparse.Namespace) -> int:
    """The least perturbation of each sample that fools every network."""
    from verifier.cli.many_samples import Table
    from verifier.runs.samples import check_box, load_mask, parse_samples
    from verifier.runs.several_networks import TransferJob

    options = options_of(arguments)
    _names(arguments.models)
    models = load_together(arguments, arguments.models)
    samples = load_for_all(arguments.data, models)
    indices = parse_samples(arguments.samples, samples.count)
    check_box(samples, indices, options.box)
    mask = None if arguments.mask is None else load_mask(arguments.mask, models[0].input_shape)
    job = TransferJob(options, mask=mask, models=models)
    table = Table(JOINT_HEADER, joint_row)
    return asked("transfer", models, samples, job, table, arguments, samples).ask(indices, 1, 1)


def table(names: list[str], shares: FloatArray) -> str:
    """A row per network whose adversaries they are, a column per network that sees them."""
    width = max(8, *(len(name) for name in names))
    lines = [" ".join([f"{'of ↓ on →':>{width}}", *(f"{name:>{width}}" for name in names)])]
    for name, row in zip(names, shares, strict=True):
        lines.append(" ".join([f"{name:>{width}}", *(f"{_percent(share):>{width}}" for share in row)]))
    return "\n".join(lines)


def _percent(share: float) -> str:
    return "-" if math.isnan(share) else f"{100 * share:.1f} %"


def _names(paths: list[Path]) -> list[str]:
    """File names without their ending, or whole paths where those are not unique."""
    stems = [path.stem for path in paths]
    names = stems if len(set(stems)) == len(stems) else [str(path) for path in paths]
    if len(set(names)) < len(names):
        raise OptionError("transfer was given the same model twice")
    return names


def _check_alike(names: list[str], models: list[Model], samples: list[Samples]) -> None:
    import numpy as np

    for name, model, one in zip(names[1:], models[1:], samples[1:], strict=True):
        if model.classes != models[0].classes or one.x.reshape(one.count, -1).shape[1] != samples[0].x[0].size:
            raise DataError(f"{name} and {names[0]} differ in inputs or classes: their adversaries cannot be exchanged")
        if not np.array_equal(one.x.reshape(one.count, -1), samples[0].x.reshape(one.count, -1)):
            raise DataError(f"{name} and {names[0]} read the data in different orders of channels")


def _right(models: list[Model], x: np.ndarray[Any, np.dtype[np.float32]], y: Any) -> list[Any]:
    """Which samples each network classifies right; without labels, as the first one does."""
    found = [model.scores(x).argmax(1) for model in models]
    wanted = found[0] if y is None else y
    return [one == wanted for one in found]


def _source(
    name: str, model: Model, samples: Samples, indices: tuple[int, ...], right: Any, options: Options
) -> Source:
    import numpy as np

    from verifier.pages.wording import in_decimals
    from verifier.studies.attacks.replayed import Attacking, Sample
    from verifier.studies.attacks.transfer import Source

    attacking = Attacking(model, options)
    rows, adversaries, distances = [], [], []
    asked = (Sample(samples.x[indices[row]], None, row) for row in np.flatnonzero(right).tolist())
    for done in chain.from_iterable(attacking.batches(asked)):
        row, best = done.index, done.best
        if best is not None and best.adversary is not None:
            rows.append(row)
            adversaries.append(best.adversary.input.reshape(-1))
            distances.append(best.distance)
        if sys.stderr.isatty():
            print(f"\r{name}: {row + 1} of {len(indices)} ", end="", file=sys.stderr, flush=True)
    if sys.stderr.isatty():
        print(file=sys.stderr)
    middle = "none found"
    if distances:
        middle = f"median distance {in_decimals(float(np.median(distances)), 6, ROUND_CEILING)}"
    print(f"{name}: {int(right.sum())} of {len(indices)} samples right, {len(rows)} adversaries, {middle}")
    size = samples.x[0].size
    return Source(
        model,
        np.asarray(right, dtype=np.bool_),
        np.array(rows, dtype=np.int64),
        np.array(adversaries, dtype=np.float32).reshape(-1, size),
    )


def _listed(shares: FloatArray) -> list[list[float | None]]:
    return [[None if math.isnan(share) else float(share) for share in row] for row in shares]


def _save(
    out: Path, names: list[str], models: list[Model], samples: Samples, options: Options, told: list[dict[str, Any]]
) -> None:
    out.mkdir(parents=True, exist_ok=True)
    record = {
        "models": {name: model.description for name, model in zip(names, models, strict=True)},
        "data": samples.digest, **options.record("norm", "box", "seed"),
        "matrices": told,
    }  # fmt: skip
    write_whole(out / "transfer.json", json.dumps(record, indent=2, allow_nan=False) + "\n")
    rows = [
        {"factor": one["factor"], "of": name, "on": other, "share": share, "samples": count}
        for one in told
        for name, shares, counts in zip(names, one["shares"], one["samples"], strict=True)
        for other, share, count in zip(names, shares, counts, strict=True)
    ]
    write_whole(out / "transfer.csv", csv_text(rows))
