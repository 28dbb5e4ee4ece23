"""`plumbline margin`: samples in; the greatest adversarial loss of each within a radius."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING

from verifier.cli.remote import add_server, ask_server
from verifier.cli.shared_options import (
    VALUE_CLOSED,
    VALUE_TOLERANCE,
    add_box,
    add_effort,
    add_grid,
    add_output,
    add_proofs,
    add_shard,
    add_source,
    add_units_and_constraints,
    check_cheap,
    chosen_samples,
    classes,
    grid_levels,
    jobs_of,
    with_units_and_constraints,
)

if TYPE_CHECKING:
    from verifier.runs.journal import Record

HEADER = (
    f"{'sample':>6} {'label':>5} {'class':>5}  {'verdict':<10} {'lower':>13} {'upper':>13} {'target':>6} "
    f"{'seconds':>8}  {'engine':<8} basis"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`plumbline margin MODEL`."""
    parser.description = (
        "The greatest adversarial loss of each sample: by how much another class can lead within the radius (and "
        "inside the box). Negative where no input of the ball is classified otherwise. Lower is attained by an input "
        "that replays, upper is proven."
    )
    add_shard(add_source(parser))
    question = parser.add_argument_group("the question")
    question.add_argument("--radius", type=float, required=True, metavar="R", help="how far inputs may move, in --norm")
    question.add_argument(
        "--norm", default="linf", metavar="P", help="linf, l1 or l2; of int8 networks also l0 (default: linf)"
    )
    question.add_argument("--target", type=classes, metavar="K", help="only the lead of K (or of one of K,L,…)")
    question.add_argument("--each", action="store_true", help="every target's own greatest loss, too")
    add_box(question)
    add_grid(question)
    question.add_argument("--mask", type=Path, metavar="FILE", help="which inputs (or pixels) may move")
    add_units_and_constraints(question)
    add_effort(parser, VALUE_TOLERANCE, VALUE_CLOSED)
    output = add_output(parser, "each worst input")
    add_proofs(output)
    add_server(output)


def run(arguments: argparse.Namespace) -> int:
    """Ask for the greatest loss of every chosen sample; returns the exit status."""
    from verifier.cli.many_samples import ManySamples, Table
    from verifier.margin_answer import check_askable
    from verifier.options import Options
    from verifier.question.model import load
    from verifier.runs.greatest_values import MarginJob
    from verifier.runs.proven import proof_folder
    from verifier.runs.samples import check_box, load_mask, load_samples

    options = Options(
        norm=arguments.norm, targets=arguments.target, box=arguments.box, time_limit=arguments.time_limit,
        tolerance=arguments.tolerance, engine=arguments.engine, device=arguments.device, seed=arguments.seed,
        grid=grid_levels(arguments.grid),
    )  # fmt: skip
    check_cheap(options, arguments)
    MarginJob(options, arguments.radius)  # refuses a bad radius before anything is loaded
    jobs = jobs_of(arguments)
    table = Table(HEADER, row, ("replayed lower", "proven upper"))
    if arguments.server is not None:
        return ask_server(arguments, "margin", table)
    model = load(arguments.model, arguments.output, arguments.threshold)
    options = with_units_and_constraints(options, arguments, model)
    check_askable(model, options, loss=True)
    samples = load_samples(arguments.data, model.input_shape, model.classes, model.input_type)
    indices = chosen_samples(arguments, samples.count)
    check_box(samples, indices, options.box)
    mask = None if arguments.mask is None else load_mask(arguments.mask, model.input_shape)
    proofs = None if arguments.proof is None else proof_folder(arguments.proof, model, options)
    job = MarginJob(options, arguments.radius, mask, each=arguments.each, proofs=proofs is not None, folder=proofs)
    question = ManySamples.of(
        "margin", model, samples, job, table, arguments, proofs is not None, each=arguments.each
    )  # fmt: skip
    return question.ask(indices, jobs, arguments.batch)


def row(record: Record) -> str:
    """One sample's line, lower rounded down and upper up; below it a line for each target, where asked."""
    from verifier.cli.display import rounded

    def sides(lower: float | str, upper: float | str) -> str:
        return f"{rounded(float(lower), math.floor):>13} {rounded(float(upper), math.ceil):>13}"

    label = "-" if record["label"] is None else record["label"]
    target = "-" if record["target"] is None else record["target"]
    line = (
        f"{record['index']:>6} {label:>5} {record['predicted']:>5}  {record['verdict']:<10} "
        f"{sides(record['lower'], record['upper'])} {target:>6} {record['seconds']:>8.2f}  "
        f"{record['engine']:<8} {record['basis']}"
    )
    each = [f"{'':>30}{sides(*bracket)} {t:>6}" for t, bracket in record.get("by_target", {}).items()]
    return "\n".join([line, *each])
