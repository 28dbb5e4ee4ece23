"""`plumbline difference`: the greatest difference of two networks' scores around samples, or over the whole box."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from encoders.errors import OptionError
from verifier.cli.several_networks import (
    DIFFERENCE_HEADER,
    Question,
    add_question,
    difference_record,
    difference_row,
    fields_of,
    load_for_all,
    load_together,
    options_of,
    run_record,
)
from verifier.cli.shared_options import add_box, add_scores

if TYPE_CHECKING:
    from verifier.question.problem import Progress
    from verifier.runs.journal import Record

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
    import numpy as np

    from encoders.arrays import digest
    from verifier.options import check_radius
    from verifier.runs.samples import check_box, load_mask, parse_samples
    from verifier.runs.saved_adversary import save_difference
    from verifier.several_networks import check_outputs, difference

    options = options_of(arguments)
    check_radius(arguments.radius)
    if arguments.data is None:
        for name in ("samples", "radius", "mask"):
            if getattr(arguments, name) is not None:
                raise OptionError(f"--{name} is about samples: give --data, or leave it out")
    first, second = models = load_together(arguments, arguments.models)
    check_outputs(*models)
    samples = None if arguments.data is None else load_for_all(arguments.data, models)
    indices = (0,) if samples is None else parse_samples(arguments.samples, samples.count)
    if samples is not None:
        check_box(samples, indices, options.box)
    mask = None if arguments.mask is None else load_mask(arguments.mask, first.input_shape)
    more = {"radius": arguments.radius, "mask": None if mask is None else digest(mask)}

    def answer(index: int, progress: Progress) -> tuple[Record, Callable[[Path], object]]:
        x = None if samples is None else samples.x[index]
        found = difference(
            first, second, x=x, radius=arguments.radius, mask=mask, progress=progress, **fields_of(options)
        )  # fmt: skip
        original = np.full(first.input_shape, sum(options.box) / 2) if x is None else x
        return difference_record(found), partial(save_difference, index, original, found, options.box)

    shown = NAME if samples is None else None
    question = Question(
        run_record("difference", models, samples, options, more), DIFFERENCE_HEADER, answer,
        partial(difference_row, name=shown),
    )  # fmt: skip
    return question.ask(indices, arguments.json, arguments.out)
