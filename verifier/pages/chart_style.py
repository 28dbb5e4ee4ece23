"""How every chart looks: one style for page and print, and colours and markers that the colour-blind can tell apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")  # Okabe and Ito's, without yellow
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
INK = "#222222"  # texts and axes; on a page, the page's own text colour
DOTS_PER_INCH = 100  # a frame's pixels; a PNG has twice as many

STYLE: Mapping[str, Any] = {
    "font.family": "sans-serif", "font.sans-serif": ["DejaVu Sans"], "font.size": 8.0,
    "text.color": INK, "text.parse_math": False, "axes.labelcolor": INK, "axes.edgecolor": INK,
    "xtick.color": INK, "ytick.color": INK, "axes.facecolor": "none", "figure.facecolor": "white",
    "axes.titlesize": 9.0, "axes.titleweight": "bold", "axes.xmargin": 0.02, "axes.formatter.useoffset": False,
    "axes.spines.top": False, "axes.spines.right": False, "axes.linewidth": 0.6, "axes.axisbelow": True,
    "axes.grid": True, "grid.color": INK, "grid.alpha": 0.15, "grid.linewidth": 0.6,
    "lines.linewidth": 1.3, "lines.markersize": 4.0, "legend.frameon": False, "figure.dpi": DOTS_PER_INCH,
    "svg.fonttype": "none", "svg.hashsalt": "plumbline",
}  # fmt: skip


@dataclass(frozen=True)
class Mark:
    """What tells one series from the others, the same in every chart: a colour, and a marker beside it."""

    colour: str
    marker: str = ""


NEUTRAL = Mark("#888888")
"""What the others are held against; mid-grey reads on a light page and on a dark one."""


def mark(position: int) -> Mark:
    """The n-th series' mark: 42 are different, and neighbours differ in both."""
    return Mark(COLOURS[position % len(COLOURS)], MARKERS[position % len(MARKERS)])


@dataclass(frozen=True)
class Frame:
    """What a chart is called, what its axes say, and its pixels without the legend; a range not given fits the data."""

    title: str
    x_label: str
    y_label: str
    width: int = 460
    height: int = 300
    x_range: tuple[float, float] | None = None
    y_range: tuple[float, float] | None = None
    x_log: bool = False
    y_log: bool = False
    percent: bool = False  # heights are shares, written in per cent
