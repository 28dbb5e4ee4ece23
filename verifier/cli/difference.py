"""`plumbline difference`: the greatest difference of two networks' scores around samples, or over the whole box."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from encoders.errors import OptionError
from verifier.cli.several_networks import (
    DIFFERENCE_HEADER,
    add_question,
    asked,
    difference_row,
    load_for_all,
    load_together,
    options_of,
)
from verifier.cli.shared_options import add_box, add_scores

if TYPE_CHECKING:
    pass

NAME = "box"  # the one row without samples


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`plumbline difference A B`."""
    parser.description = (
        "The greatest difference |f_j - g_j| of two networks' scores, over all outputs j and all inputs within a "
        "radius of each sample, or of the whole box: proven from above, and attained by an input that replays."
    )
    parser.add_argument("models", type=Path, nargs=2, metavar="MODEL", help="two ONNX files with as many outputs")
    add_scores(parser)
    data = parser.add_argument_group("data")
    data.add_argument("--data", metavar="D", help="as for distance (default: none, the whole box is asked about)")
    data.add_argument("--samples", metavar="S", help="0:100, 0:100:5 or 3,8,11, counted from 0 (default: all)")
    question = parser.add_argument_group("the question")
    question.add_argument("--radius", type=float, metavar="R", help="how far from a sample (default: no end)")
    question.add_argument("--norm", default="linf", metavar="P", help="linf, l1 or l2 (default: linf)")
    add_box(question)
    add_question(question)
    question.add_argument("--seed", type=int, default=0, metavar="N", help="of random starts (default: 0)")
    question.add_argument("--device", default="auto", metavar="D", help="auto, cpu or cuda (default: auto)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="save where the difference is greatest")


def run(arguments: argparse.Namespace) -> int:
    """Ask around every chosen sample, or once of the box; returns the exit status."""

    from verifier.cli.many_samples import Table
    from verifier.network_difference import check_outputs
    from verifier.options import check_radius
    from verifier.regions import middle_of_box
    from verifier.runs.samples import Samples, check_box, load_mask, parse_samples
    from verifier.runs.several_networks import DifferenceJob

    options = options_of(arguments)
    check_radius(arguments.radius)
    if arguments.data is None:
        for name in ("samples", "radius", "mask"):
            if getattr(arguments, name) is not None:
                raise OptionError(f"--{name} is about samples: give --data, or leave it out")
    first, second = models = load_together(arguments, arguments.models)
    check_outputs(first, second)
    data = None if arguments.data is None else load_for_all(arguments.data, models)
    samples = Samples(NAME, middle_of_box(first, options)[None], None) if data is None else data
    indices = parse_samples(arguments.samples, samples.count)
    check_box(samples, indices, options.box)
    mask = None if arguments.mask is None else load_mask(arguments.mask, first.input_shape)
    job = DifferenceJob(options, arguments.radius, mask, models=(first, second))
    row = partial(difference_row, name=NAME if data is None else None)
    table = Table(DIFFERENCE_HEADER, row, ("replayed lower", "proven upper"))
    return asked("difference", models, samples, job, table, arguments, data).ask(indices, 1, 1)
