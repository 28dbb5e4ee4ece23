"""How distances, shares and norms are written, in every report."""

from __future__ import annotations

import math
from collections.abc import Sequence

from encoders.question import Norm

NAMES = {Norm.LINF: "L∞", Norm.L1: "L1", Norm.L2: "L2"}


def number(value: float) -> str:
    """Four digits."""
    return f"{value:.4g}" if math.isfinite(value) else "∞" if value > 0 else "-∞"


def bracket(lower: float, upper: float) -> str:
    """Both sides where they differ visibly."""
    low, high = number(lower), number(upper)
    near = math.isfinite(upper) and upper - lower <= 1e-5 * max(1.0, abs(upper))
    return low if low == high or near else f"{low} to {high}"


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
