"""Arguments that several commands share."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_box(group: argparse._ActionsContainer) -> None:
    """`--box LO,HI`."""
    group.add_argument(
        "--box", type=_box, default=(0.0, 1.0), metavar="LO,HI", help="what values inputs may take (default: 0,1)"
    )


def add_model(parser: argparse.ArgumentParser) -> None:
    """`MODEL`, and which of its numbers are the class scores."""
    parser.add_argument("model", type=Path, metavar="MODEL", help="an ONNX file whose output is the class scores")
    add_scores(parser)


def add_scores(parser: argparse.ArgumentParser) -> None:
    """`--output NAME` and `--threshold T`."""
    scores = parser.add_argument_group("the class scores")
    scores.add_argument("--output", metavar="NAME", help="which output holds them, where a model has several")
    scores.add_argument(
        "--threshold",
        type=float,
        metavar="T",
        help="make a model with one output two classes: 1 where the output is above T, 0 elsewhere",
    )


def classes(text: str) -> tuple[int, ...]:
    """`3` or `3,5`."""
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no class; write a number such as 3, or several: 3,5") from None


def _box(text: str) -> tuple[float, float]:
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no box; write two numbers such as 0,1") from None
    return low, high
