"""What `transfer --exact`, `universal --exact` and `difference` share: arguments, the loop over samples, and rows."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from encoders.deadline import EVERYTHING
from encoders.errors import DataError, OptionError, PlumblineError, SoundnessError
from encoders.interrupts import cooperative

if TYPE_CHECKING:
    from verifier.options import Options
    from verifier.question.model import Model
    from verifier.question.problem import Progress
    from verifier.runs.journal import Record
    from verifier.runs.journalled import Fresh
    from verifier.runs.samples import Samples
    from verifier.several_networks import GreatestDifference, JointDistance

ANSWERED, UNRESOLVED = 0, 1
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
        "--json", type=Path, metavar="FILE", help="one JSON object per row; an existing file of the same run is resumed"
    )


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


def fields_of(options: Options) -> dict[str, Any]:
    """The options as keywords."""
    return {field.name: getattr(options, field.name) for field in fields(options)}


def load_together(arguments: argparse.Namespace, paths: Sequence[Path]) -> tuple[Model, ...]:
    """The models, if they can be asked about together."""
    from verifier.question.model import load
    from verifier.several_networks import SideBySide

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


@dataclass(frozen=True, eq=False)
class Question:
    """What is asked of each index: `answer` gives its record, and what saves its files in a folder."""

    run: Record
    header: str
    answer: Callable[[int, Progress], tuple[Record, Callable[[Path], object]]]
    row: Callable[[Record], str]

    def ask(self, indices: Sequence[int], json: Path | None, out: Path | None) -> int:
        """Answer what is not answered yet, showing every row; returns the exit status."""
        from verifier.cli.display import Display
        from verifier.question.results import Verdict
        from verifier.runs.journal import Journal
        from verifier.runs.journalled import Finished, journalled
        from verifier.runs.summary import summary

        records: list[Record] = []
        with ExitStack() as stack:
            journal = None if json is None else stack.enter_context(Journal(json, self.run))
            if out is not None:
                out.mkdir(parents=True, exist_ok=True)
            print(self.header, flush=True)
            display = stack.enter_context(Display(len(indices)))

            def fresh(left: list[int]) -> Fresh:
                for index in left:
                    if EVERYTHING.asked:
                        return
                    with cooperative():
                        record, save = self._answered(index, partial(display.running, index))
                    if EVERYTHING.asked and record["verdict"] == Verdict.UNRESOLVED:
                        # Nobody goes on from an end that came too soon: it is shown, and asked again.
                        records.append({"index": index, **record})
                        display.finished(index, self.row(records[-1]))
                        return
                    if out is not None:
                        save(out)
                    yield Finished(index, {"index": index, **record, "run": self.run})

            for done in stack.enter_context(closing(journalled(journal, indices, fresh))):
                if done.record is not None:
                    records.append(done.record)
                    display.finished(done.index, self.row(done.record))
        print(summary(records))
        return UNRESOLVED if any(record["verdict"] == Verdict.UNRESOLVED for record in records) else ANSWERED

    def _answered(self, index: int, progress: Progress) -> tuple[Record, Callable[[Path], object]]:
        try:
            return self.answer(index, progress)
        except SoundnessError as error:
            raise SoundnessError(f"row {index}: {error}; trust nothing of this run") from error
        except PlumblineError as error:
            raise type(error)(f"row {index}: {error}") from error


def run_record(
    command: str, models: Sequence[Model], data: Samples | None, options: Options, more: Mapping[str, Any]
) -> Record:
    """All that answers depend on but a row's number."""
    from encoders.plugins import taking_part
    from verifier.runs.samples import origin_of

    return {
        "command": command,
        "models": [model.description for model in models],
        "data": None if data is None else data.digest,
        **options.record(),
        **taking_part(data={} if data is None else origin_of(data.name), engines=options.plugins),
        **more,
    }


def joint_record(found: JointDistance) -> Record:
    """One least perturbation as records hold it."""
    from verifier.runs.journal import number

    return {
        "classes": list(found.classes),
        "fooled": None if found.fooled is None else list(found.fooled),
        "norm": str(found.norm),
        "verdict": str(found.verdict),
        "lower": number(found.lower),
        "upper": number(found.upper),
        "seconds": round(found.seconds, 6),
        "engine": found.engine,
        "basis": str(found.basis),
        "nodes": found.nodes,
        "open_phases": found.open_phases,
    }


def joint_row(record: Record, name: str | None = None) -> str:
    """One least perturbation's line: lower rounded down, upper up."""
    lower, exactly, upper = _sides(record, 10)
    label = record.get("label")
    return (
        f"{record['index'] if name is None else name:>6} {'-' if label is None else label:>5} "
        f"{_listed(record['classes']):>9}  {record['verdict']:<10} {lower} {exactly} {upper} "
        f"{_listed(record['fooled']):>9} {record['seconds']:>8.2f}  {record['engine']:<8} {record['basis']}"
    )


def difference_record(found: GreatestDifference) -> Record:
    """One greatest difference as records hold it."""
    from verifier.runs.journal import number

    return {
        "norm": str(found.norm),
        "radius": found.radius,
        "verdict": str(found.verdict),
        "lower": number(found.lower),
        "upper": number(found.upper),
        "output": found.output,
        "seconds": round(found.seconds, 6),
        "basis": str(found.basis),
        "nodes": found.nodes,
    }


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
