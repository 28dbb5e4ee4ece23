"""`plumbline distance` and `plumbline verify`: samples in; rows, journal and pictures out."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from verifier.cli.remote import add_server, ask_server
from verifier.cli.shared_options import (
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
    from verifier.question.results import Result
    from verifier.runs.job import Asking
    from verifier.runs.perturbed import Chosen


def add_distance(parser: argparse.ArgumentParser) -> None:
    """`plumbline distance MODEL`."""
    parser.description = "The distance from each sample to the nearest input that is classified differently."
    _add_common(parser)


def add_verify(parser: argparse.ArgumentParser) -> None:
    """`plumbline verify MODEL`."""
    parser.description = "Is every input within the radius of a sample (and inside the box) classified like it?"
    parser.add_argument("--radius", type=float, required=True, metavar="R", help="how far inputs may move, in --norm")
    _add_common(parser)


def _add_common(parser: argparse.ArgumentParser) -> None:
    add_shard(add_source(parser))
    question = parser.add_argument_group("the question")
    question.add_argument("--norm", default="linf", metavar="P", help="linf, l1, l2 or l0 (default: linf)")
    question.add_argument(
        "--target", type=classes, metavar="K", help="only adversaries classified as K (or as one of K,L,…)"
    )
    question.add_argument(
        "--change", type=float, metavar="D",
        help="an adversary moves an output by more than D, whatever its class: for a model of one output, a regression",
    )  # fmt: skip
    question.add_argument(
        "--direction", default="either", metavar="W", help="of a change: up, down or either (default: either)"
    )
    question.add_argument(
        "--output-index", type=int, metavar="K", help="of a change: which of several outputs, counted from 0"
    )
    question.add_argument(
        "--margin", type=float, default=0.0, metavar="A", help="the adversary must win by at least A (default: 0)"
    )
    add_box(question)
    add_grid(question)
    question.add_argument(
        "--count", default="inputs", metavar="W", help="what l0 counts: inputs, or pixels whatever their channels do"
    )
    question.add_argument(
        "--mask", type=Path, metavar="FILE", help=".npy, .npz or .png: which inputs (or pixels) may move"
    )
    add_units_and_constraints(question)
    question.add_argument(
        "--perturbation", metavar="P",
        help="move few variables in place of inputs: brightness, contrast, haze, patch:TOP:LEFT:HEIGHT:WIDTH or "
        "bias-field:DEGREE; distances are lengths of the variables",
    )  # fmt: skip
    question.add_argument(
        "--execution", default="real", metavar="A",
        help="real: the network of the file's numbers in real arithmetic; float32 (or float64, for a file of doubles): "
        "the file as any runtime may execute it, whatever it rounds (default: real)",
    )  # fmt: skip

    add_effort(parser)

    output = add_output(parser, "each adversary")
    add_proofs(output)
    add_server(output)


def run(arguments: argparse.Namespace) -> int:
    """Ask the question of every chosen sample; returns the exit status."""
    from verifier.cli.display import CHANGE_HEADER, HEADER, change_row, row
    from verifier.cli.many_samples import ManySamples, Table
    from verifier.options import Options, check_model
    from verifier.question.model import load
    from verifier.regions import check_classes
    from verifier.runs.job import Job
    from verifier.runs.perturbed import PerturbedJob
    from verifier.runs.proven import proof_beside, proof_folder
    from verifier.runs.samples import check_box, load_mask, load_samples

    options = Options(
        norm=arguments.norm,
        targets=arguments.target,
        margin=arguments.margin,
        box=arguments.box,
        time_limit=arguments.time_limit,
        tolerance=arguments.tolerance,
        engine=arguments.engine,
        device=arguments.device,
        seed=arguments.seed,
        grid=grid_levels(arguments.grid),
        count=arguments.count,
        execution=arguments.execution,
        change=arguments.change,
        direction=arguments.direction,
        output_index=arguments.output_index,
    )
    check_cheap(options, arguments)
    radius = getattr(arguments, "radius", None)
    Job(options, radius)  # refuses a bad radius before anything is loaded
    chosen = _perturbation(arguments)
    table = Table(HEADER, row) if options.change is None else Table(CHANGE_HEADER, change_row)
    if arguments.server is not None:
        return ask_server(arguments, "distance" if radius is None else "verify", table)
    jobs = jobs_of(arguments)
    model = load(arguments.model, arguments.output, arguments.threshold, classifier=False)
    check_model(model, options)
    check_classes(model, None, options.targets)
    options = with_units_and_constraints(options, arguments, model)
    classes = model.classes if options.change is None else None
    samples = load_samples(arguments.data, model.input_shape, classes, model.input_type)
    indices = chosen_samples(arguments, samples.count)
    check_box(samples, indices, options.box)
    mask = None if arguments.mask is None else load_mask(arguments.mask, model.input_shape)
    proofs = None if arguments.proof is None else proof_folder(arguments.proof, model, options)
    beside = None if proofs is None else proof_beside
    job: Asking[Result] = Job(options, radius, mask, beside, folder=proofs)
    if chosen is not None:
        job = PerturbedJob.of(chosen, model, samples, indices, options, radius)
    command = "distance" if radius is None else "verify"
    question = ManySamples.of(command, model, samples, job, table, arguments, beside is not None)
    return question.ask(indices, jobs, arguments.batch)


def _perturbation(arguments: argparse.Namespace) -> Chosen | None:
    """The perturbation that is asked for; what is about inputs is refused beside it, by name."""
    from verifier.runs.perturbed import Chosen, check_beside

    if arguments.perturbation is None:
        return None
    check_beside(vars(arguments), "--")
    return Chosen.parse(arguments.perturbation)
