"""What `transfer --exact`, `universal --exact` and `difference` share: arguments, the run, and rows."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from encoders.errors import DataError, OptionError

if TYPE_CHECKING:
    from verifier.cli.many_samples import ManySamples, Table
    from verifier.options import Options
    from verifier.question.model import Model
    from verifier.runs.job import Asking
    from verifier.runs.journal import Record
    from verifier.runs.samples import Samples

EXACT_ONLY = ("time_limit", "tolerance", "engine", "margin", "mask", "json")
JOINT_HEADER = (
    f"{'sample':>6} {'label':>5} {'classes':>9}  {'verdict':<10} {'lower':>10} {'exact':>10} {'upper':>10} "
    f"{'fooled':>9} {'seconds':>8}  {'engine':<8} basis"
)
DIFFERENCE_HEADER = (
    f"{'sample':>6}  {'verdict':<10} {'lower':>12} {'exact':>12} {'upper':>12} {'output':>6} {'seconds':>8}  basis"
)


def add_exact(parser: argparse.ArgumentParser) -> None:
    """`--exact`, and how that question is asked."""
    group = parser.add_argument_group("exactly")
    group.add_argument(
        "--exact", action="store_true", help="prove the least perturbation that fools all, in place of attacks alone"
    )
    add_question(group)
    group.add_argument("--margin", type=float, metavar="A", help="each must be fooled by at least A (default: 0)")


def add_question(group: argparse._ActionsContainer) -> None:
    """How a proof is asked for, and where its answers go."""
    group.add_argument("--time-limit", type=float, metavar="SECONDS", help="for each row (default: none)")
    group.add_argument(
        "--tolerance", type=float, metavar="T", help="exact once the two sides are this close (default: 1e-6)"
    )
    group.add_argument("--engine", metavar="E", help="auto, search, highs, pyomo:NAME, or module:Name (default: auto)")
    group.add_argument(
        "--mask", type=Path, metavar="FILE", help=".npy, .npz or .png: which inputs (or pixels) may move"
    )
    group.add_argument(
        "--json", type=Path, metavar="FILE",
        help="one JSON object per row; an existing file of the same question is gone on with where rows are open",
    )  # fmt: skip


def exact(arguments: argparse.Namespace, *of_attacks: str) -> bool:
    """Whether the exact question is asked; what belongs to the other one is refused, by name."""
    for name in of_attacks if arguments.exact else EXACT_ONLY:
        if getattr(arguments, name) is not None:
            flag = f"--{name.replace('_', '-')}"
            raise OptionError(
                f"{flag} is about attacks: leave it out, or --exact"
                if arguments.exact
                else f"{flag} is about proofs: leave it out, or give --exact"
            )
    return bool(arguments.exact)


def options_of(arguments: argparse.Namespace) -> Options:
    """The options of the flags that were given."""
    from verifier.options import Options, check_convex

    names = ("norm", "box", "device", "seed", "time_limit", "tolerance", "engine", "margin")
    given = {name: getattr(arguments, name, None) for name in names}
    options = Options(**{name: value for name, value in given.items() if value is not None})
    check_convex(options)
    return options


def load_together(arguments: argparse.Namespace, paths: Sequence[Path]) -> tuple[Model, ...]:
    """The models, if they can be asked about together."""
    from verifier.question.model import load
    from verifier.question.side_by_side import SideBySide

    models = tuple(load(path, arguments.output, arguments.threshold) for path in paths)
    _ = SideBySide(models).graph  # refuses what does not belong together
    return models


def load_for_all(source: str, models: Sequence[Model]) -> Samples:
    """The samples of `--data`, if all models read them in one order."""
    import numpy as np

    from verifier.runs.samples import load_samples

    read = [load_samples(source, model.input_shape, model.classes, model.input_type) for model in models]
    for model, samples in zip(models[1:], read[1:], strict=True):
        if not np.array_equal(samples.x.reshape(samples.count, -1), read[0].x.reshape(samples.count, -1)):
            raise DataError(f"{model.path} and {models[0].path} read the data in different orders of channels")
    return read[0]


def asked(
    command: str,
    models: tuple[Model, ...],
    samples: Samples,
    job: Asking[Any],
    table: Table,
    arguments: argparse.Namespace,
    data: Samples | None,
) -> ManySamples[Any]:
    """The rows of a command as a run; `samples` has a row for each, made of `data` where any was read."""
    from verifier.cli.many_samples import ManySamples
    from verifier.runs.several_networks import run_of_several

    run = run_of_several(command, models, samples, job, data)
    return ManySamples(job, run, table, arguments.json, arguments.out)


def joint_row(record: Record, name: str | None = None) -> str:
    """One least perturbation's line: lower rounded down, upper up."""
    lower, exactly, upper = _sides(record, 10)
    label = record.get("label")
    return (
        f"{record['index'] if name is None else name:>6} {'-' if label is None else label:>5} "
        f"{_listed(record['classes']):>9}  {record['verdict']:<10} {lower} {exactly} {upper} "
        f"{_listed(record['fooled']):>9} {record['seconds']:>8.2f}  {record['engine']:<8} {record['basis']}"
    )


def difference_row(record: Record, name: str | None = None) -> str:
    """One greatest difference's line."""
    lower, exactly, upper = _sides(record, 12)
    output = "-" if record["output"] is None else record["output"]
    return (
        f"{record['index'] if name is None else name:>6}  {record['verdict']:<10} {lower} {exactly} {upper} "
        f"{output:>6} {record['seconds']:>8.2f}  {record['basis']}"
    )


def _sides(record: Record, width: int) -> tuple[str, str, str]:
    from verifier.cli.display import DIGITS, rounded

    lower, upper = float(record["lower"]), float(record["upper"])
    exactly = f"{upper:.{DIGITS}f}" if record["verdict"] == "exact" else ""
    return (
        f"{rounded(lower, math.floor):>{width}}", f"{exactly:>{width}}", f"{rounded(upper, math.ceil):>{width}}"
    )  # fmt: skip


def _listed(classes: Sequence[int] | None) -> str:
    return "-" if classes is None else ",".join(map(str, classes))
