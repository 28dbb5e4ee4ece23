"""`plumbline check PROOF… --model FILE`: as `python -m verifier.checker` does, and held against the data if asked."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from encoders.errors import OptionError
from verifier.checker import command

if TYPE_CHECKING:
    from encoders.arrays import Inputs
    from verifier.checker.command import Checked

DATA_OF = "the data's row that the proof is to be about"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`check PROOF… --model FILE`, and the data's row that a proof is to be about."""
    command.add_arguments(parser)
    data = parser.add_argument_group(DATA_OF)
    data.add_argument("--data", metavar="D", help="refuse a proof whose sample is not the row of this data set or file")
    data.add_argument(
        "--sample", type=int, metavar="K", help="which row, counted from 0 (default: the number that a proof is named)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Check all, say of each what was found, and return the exit status."""
    if arguments.data is None:
        if arguments.sample is not None:
            raise OptionError(f"--sample {arguments.sample}: of which data? Add --data")
        return command.run(arguments)
    held_against = _rows(arguments)
    outcomes = command.checked_files(arguments.proofs, arguments.model, arguments.arithmetic, arguments.jobs)
    return command.said_of_all(map(held_against, outcomes), arguments.json)


def _rows(arguments: argparse.Namespace) -> Callable[[Checked], Checked]:
    """What refuses an accepted proof that is about another input than the data's row."""
    from verifier.question.model import load
    from verifier.runs.samples import load_samples

    model = load(arguments.model, classifier=False)
    samples = load_samples(arguments.data, model.input_shape, None, model.input_type)

    def held_against(checked: Checked) -> Checked:
        if checked.verdict is None or not checked.verdict.accepted:
            return checked
        row = _row_of(checked.proof) if arguments.sample is None else arguments.sample
        if not 0 <= row < samples.count:
            raise OptionError(f"--sample {row}: {arguments.data} holds {samples.count} samples, from 0 on")
        differing = _differing(checked.proof, samples.x[row])
        if not differing:
            return replace(checked, verdict=replace(checked.verdict, about=f"{checked.verdict.about}, row {row}"))
        why = f"its sample is not row {row} of {arguments.data}: {differing}"
        return replace(checked, verdict=replace(checked.verdict, accepted=False, line=1, why=why))

    return held_against


def _row_of(proof: Path) -> int:
    """The number that a proof file is called by."""
    try:
        return int(proof.stem)
    except ValueError:
        raise OptionError(f"{proof}: its name is no number; say with --sample which row it is about") from None


def _differing(proof: Path, row: Inputs) -> str:
    """In what a proof's sample and the row differ, as the exact numbers that they are; empty where they do not."""
    from verifier.checker.lines import read_lines
    from verifier.checker.statement import read_question

    sample, values = read_question(next(iter(read_lines(proof)))).sample, row.reshape(-1)
    if len(sample) != values.size:
        return f"it has {len(sample)} values, the row {values.size}"
    others = sum(one != Fraction(float(value)) for one, value in zip(sample, values, strict=True))
    return f"{others} of {len(sample)} values differ" if others else ""
