"""Arguments that several commands share."""

from __future__ import annotations

import argparse


def add_box(group: argparse._ActionsContainer) -> None:
    """`--box LO,HI`."""
    group.add_argument(
        "--box", type=_box, default=(0.0, 1.0), metavar="LO,HI", help="what values inputs may take (default: 0,1)"
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
