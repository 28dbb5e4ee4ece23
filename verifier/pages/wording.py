"""How distances, shares and norms are written, in every report."""

from __future__ import annotations

import math

from encoders.question import Norm

NAMES = {Norm.LINF: "L∞", Norm.L1: "L1", Norm.L2: "L2"}


def number(value: float) -> str:
    """Four digits."""
    return f"{value:.4g}" if math.isfinite(value) else "∞"


def bracket(lower: float, upper: float) -> str:
    """Both sides where they differ visibly."""
    low, high = number(lower), number(upper)
    return low if low == high or upper - lower <= 1e-5 * max(1.0, abs(upper)) else f"{low} to {high}"


def share(lower: float, upper: float) -> str:
    """A percentage, or what it lies between."""
    return f"{lower:.1%}" if lower == upper else f"{lower:.1%} to {upper:.1%}"
