"""How distances, shares and norms are written, in every report."""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal

from encoders.question import Norm

NAMES = {Norm.LINF: "L∞", Norm.L1: "L1", Norm.L2: "L2"}


def number(value: float) -> str:
    """Four digits."""
    return f"{value:.4g}" if math.isfinite(value) else "∞" if value > 0 else "-∞"


def below(value: float) -> str:
    """Four digits, rounded down: what is proven is shown as no more than that."""
    return _rounded(value, ROUND_FLOOR)


def above(value: float) -> str:
    """Four digits, rounded up: an adversary is shown as no nearer than it is."""
    return _rounded(value, ROUND_CEILING)


def _rounded(value: float, direction: str) -> str:
    return number(float(Context(4, direction).plus(Decimal(repr(float(value))))) if math.isfinite(value) else value)


def as_given(value: float) -> str:
    """A number that somebody chose, such as a radius, to its last digit."""
    short = f"{value:g}"
    return short if float(short) == value else repr(value)


def bracket(lower: float, upper: float) -> str:
    """Both sides where they differ visibly, each rounded to the side that claims less."""
    near = math.isfinite(upper) and upper - lower <= 1e-5 * max(1.0, abs(upper))
    return number(lower) if near or lower == upper else f"{below(lower)} to {above(upper)}"


def share(lower: float, upper: float) -> str:
    """A percentage, or what it lies between."""
    return f"{lower:.1%}" if lower == upper else f"{lower:.1%} to {upper:.1%}"


def nearest(open_samples: int | bool) -> str:
    """What adversaries may be called: the nearest found where a distance is open, exact where none is."""
    return "nearest found" if open_samples else "exact"


def listed(names: Sequence[str], most: int = 8) -> str:
    """Names in a sentence; of many, the first and how many more."""
    shown = [*names[:most], *([f"{len(names) - most} more"] if len(names) > most else [])]
    return " and ".join(part for part in (", ".join(shown[:-1]), *shown[-1:]) if part)


def counted(number: int, one: str, many: str = "") -> str:
    """`1 input`, `2 inputs`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def ranges(numbers: Sequence[int]) -> str:
    """Sorted numbers, runs of three and more by their ends: `0 to 4, 7`; a dash where there are none."""
    runs = list[list[int]]()
    for one in sorted(numbers):
        if runs and one == runs[-1][-1] + 1:
            runs[-1].append(one)
        else:
            runs.append([one])
    parts = [f"{run[0]} to {run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in runs]
    return ", ".join(parts) or "–"
