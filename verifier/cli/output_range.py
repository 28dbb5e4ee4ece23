"""`plumbline range`: the least and the greatest value of outputs, over the whole box or around samples."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING

from encoders.errors import DataError, OptionError
from verifier.cli.shared_options import (
    VALUE_CLOSED,
    VALUE_TOLERANCE,
    add_box,
    add_effort,
    add_grid,
    add_model,
    add_output,
    add_samples,
    add_shard,
    add_units_and_constraints,
    check_cheap,
    chosen_samples,
    grid_levels,
    jobs_of,
    with_units_and_constraints,
)

if TYPE_CHECKING:
    from verifier.runs.journal import Record

WHOLE_BOX = "the whole box"
HEADER = (
    f"{'sample':>6}  {'output':<12} {'verdict':<10} {'least: proven':>14} {'attained':>13} "
    f"{'greatest: attained':>18} {'proven':>13} {'seconds':>8}  basis"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`plumbline range MODEL`."""
    parser.description = (
        "The least and the greatest value that outputs, or a combination of them, can take: over the whole box, or "
        "within a radius of samples. The inner ends are attained by inputs that replay, the outer ends are proven."
    )
    add_model(parser)
    add_shard(add_samples(parser, required=False))
    question = parser.add_argument_group("the question")
    question.add_argument(
        "--output-row", type=numbers, action="append", metavar="A,B,…",
        help="the combination A·y0 + B·y1 + …, a number for each output; may be given again (default: each output)",
    )  # fmt: skip
    question.add_argument("--radius", type=float, metavar="R", help="how far inputs may move (default: the whole box)")
    question.add_argument("--norm", default="linf", metavar="P", help="linf, l1 or l2 (default: linf)")
    add_box(question)
    add_grid(question)
    question.add_argument("--mask", type=Path, metavar="FILE", help="which inputs (or pixels) may move")
    add_units_and_constraints(question)
    add_effort(parser, VALUE_TOLERANCE, VALUE_CLOSED, per="sample and output")
    add_output(parser, "the inputs where outputs are least and greatest")


def numbers(text: str) -> tuple[float, ...]:
    """`1,-1,0`."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no combination; write numbers such as 1,-1,0") from None


def run(arguments: argparse.Namespace) -> int:
    """Ask for the ranges around every chosen sample, or over the whole box; returns the exit status."""
    from verifier.cli.many_samples import ManySamples, Table
    from verifier.margin_answer import check_askable
    from verifier.options import Options
    from verifier.question.model import load
    from verifier.regions import middle_of_box
    from verifier.runs.greatest_values import RangeJob
    from verifier.runs.samples import Samples, check_box, load_mask, load_samples

    if arguments.data is None and (arguments.radius is not None or arguments.samples is not None):
        raise OptionError("--radius and --samples are about samples: name data with --data, or leave them out")
    options = Options(
        norm=arguments.norm, box=arguments.box, time_limit=arguments.time_limit, tolerance=arguments.tolerance,
        engine=arguments.engine, device=arguments.device, seed=arguments.seed,
        grid=grid_levels(arguments.grid),
    )  # fmt: skip
    check_cheap(options, arguments)
    RangeJob(options, arguments.radius, combinations=())  # refuses a bad radius before anything is loaded
    jobs = jobs_of(arguments)
    model = load(arguments.model, arguments.output, arguments.threshold, classifier=False)
    options = with_units_and_constraints(options, arguments, model)
    check_askable(model, options)
    unit = [tuple(float(k == j) for j in range(model.classes)) for k in range(model.classes)]
    combinations = unit if arguments.output_row is None else arguments.output_row
    for row in combinations:
        if len(row) != model.classes or not all(map(math.isfinite, row)):
            raise DataError(f"--output-row: give one finite number for each of the {model.classes} outputs")
    classes = model.classes if model.classes > 1 else None
    if arguments.data is None:
        samples = Samples(WHOLE_BOX, middle_of_box(model, options)[None], None)
    else:
        samples = load_samples(arguments.data, model.input_shape, classes, model.input_type)
    indices = chosen_samples(arguments, samples.count)
    check_box(samples, indices, options.box)
    mask = None if arguments.mask is None else load_mask(arguments.mask, model.input_shape)
    job = RangeJob(options, arguments.radius, mask, combinations=combinations)
    table = Table(HEADER, rows, ("lower", "upper"))
    question = ManySamples.of(
        "range", model, samples, job, table, arguments, combinations=combinations
    )  # fmt: skip
    return question.ask(indices, jobs, arguments.batch)


def rows(record: Record) -> str:
    """A line for each combination of one sample; proven ends are rounded outward, attained ones inward."""
    from verifier.cli.display import rounded

    lines = []
    for one in record["ranges"]:
        least, greatest = one["least"], one["greatest"]
        lines.append(
            f"{record['index']:>6}  {named(one['combination']):<12} {one['verdict']:<10} "
            f"{rounded(float(least[0]), math.floor):>14} {rounded(float(least[1]), math.ceil):>13} "
            f"{rounded(float(greatest[0]), math.floor):>18} {rounded(float(greatest[1]), math.ceil):>13} "
            f"{one['seconds']:>8.2f}  {one['basis']}"
        )
    return "\n".join(lines)


def named(combination: list[float]) -> str:
    """`y3` for one output alone, else its numbers."""
    used = [k for k, factor in enumerate(combination) if factor]
    if len(used) == 1 and combination[used[0]] == 1:
        return f"y{used[0]}"
    return ",".join(f"{factor:g}" for factor in combination)
