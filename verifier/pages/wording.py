"""How distances, shares and norms are written, in every report."""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Context, Decimal

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


def share(lower: float, upper: float, decimals: int = 1) -> str:
    """A percentage, or what it lies between."""
    low, high = share_ends(lower, upper, decimals)
    return low if low == high else f"{low} to {high}"


def share_ends(lower: float, upper: float, decimals: int = 1) -> tuple[str, str]:
    """Two percentages between which a share lies, each rounded to the side that claims less.

    Of one number, only a share of all is 100 %, and only one of none is 0 %.
    """
    if lower != upper:
        return _per_cent(lower, decimals, ROUND_FLOOR), _per_cent(upper, decimals, ROUND_CEILING)
    some = 0.0 < lower < 1.0 and round(lower, decimals + 2) in (0.0, 1.0)
    told = _per_cent(lower, decimals, ROUND_HALF_EVEN if not some else ROUND_FLOOR if lower > 0.5 else ROUND_CEILING)
    return told, told


def _per_cent(part: float, decimals: int, direction: str) -> str:
    counted = Decimal(repr(round(float(part), 12)))  # a mean of shares may miss one by rounding
    return f"{counted.quantize(Decimal(1).scaleb(-decimals - 2), direction):.{decimals}%}"


def in_decimals(value: float, decimals: int, direction: str) -> str:
    """A number in so many decimals, rounded by its own digits: down (ROUND_FLOOR) or up (ROUND_CEILING)."""
    if not math.isfinite(value):
        return str(value)
    rounded = Decimal(repr(float(value))).quantize(Decimal(1).scaleb(-decimals), direction, Context(400))
    return f"{rounded if rounded else abs(rounded):f}"


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
