"""Small charts as SVG text, for pages that stand alone: lines with bands, points with error bars, histograms.

Every chart is a function from plain numbers to one <svg> element; colours of the text and the axes come from the page
(`currentColor`), so that it reads in light and in dark. Nothing that is not finite is drawn.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from numpy.typing import ArrayLike

from verifier.pages.chart_axes import Axes, ends, finite, path
from verifier.pages.chart_axes import Frame as Frame
from verifier.pages.chart_axes import ticks as ticks

COLOURS = (
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#8c6d00", "#56b4e9", "#7f3c8d", "#b22222", "#4b7f52", "#e69f00",
    "#5d6d7e", "#3b3b98", "#00a5a5", "#a65628", "#f781bf", "#6b8e23", "#9370db", "#ff6f61", "#2f4f4f", "#b8860b",
)  # fmt: skip
"""The first dozen told apart by most eyes; series beyond the last begin again."""


def colour(position: int) -> str:
    """The colour of the n-th series."""
    return COLOURS[position % len(COLOURS)]


@dataclass(frozen=True, eq=False)
class Line:
    """One series of a line chart; `band` is a lower and an upper edge over the same x, filled lightly."""

    label: str
    x: ArrayLike
    y: ArrayLike
    colour: str
    dashed: bool = False
    band: tuple[ArrayLike, ArrayLike] | None = None


@dataclass(frozen=True)
class Point:
    """One point of a scatter chart, with error bars (lowest, highest) where they are known."""

    label: str
    x: float
    y: float
    colour: str
    x_error: tuple[float, float] | None = None
    y_error: tuple[float, float] | None = None


@dataclass(frozen=True, eq=False)
class Series:
    """The values of one histogram, drawn over the others."""

    label: str
    values: ArrayLike
    colour: str


def line_chart(frame: Frame, lines: Sequence[Line], steps: bool = False) -> str:
    """Lines over x; with `steps`, each value holds until the next x."""
    x = finite([line.x for line in lines])
    y = finite([line.y for line in lines] + [edge for line in lines if line.band for edge in line.band])
    axes = Axes(frame, x, y)
    for line in lines:
        if line.band is not None:
            low, high = (axes.corners(line.x, edge, steps) for edge in line.band)
            if path(low) == path(high):
                continue  # nothing wider than the line itself
            axes.add(f'<polygon points="{path(low + high[::-1])}" fill="{line.colour}" fill-opacity="0.18"/>')
    for line in lines:
        dash = ' stroke-dasharray="5 3"' if line.dashed else ""
        points = path(axes.corners(line.x, line.y, steps))
        axes.add(f'<polyline points="{points}" fill="none" stroke="{line.colour}" stroke-width="1.6"{dash}/>')
    return axes.svg([(line.label, line.colour, line.dashed) for line in lines])


def scatter(frame: Frame, points: Sequence[Point], joined: Sequence[Sequence[int]] = ()) -> str:
    """Points with error bars; `joined` are lists of positions that a thin line leads through."""
    x = finite([[p.x, *(p.x_error or ())] for p in points])
    y = finite([[p.y, *(p.y_error or ())] for p in points])
    axes = Axes(frame, x, y)
    for chain in joined:
        through = [axes.place(points[k].x, points[k].y) for k in chain if _drawable(points[k])]
        if chain:
            axes.add(
                f'<polyline points="{path(through)}" fill="none" stroke="{points[chain[0]].colour}" opacity="0.6"/>'
            )
    for point in points:
        if not _drawable(point):
            continue
        for low, high, across in _bars(point):
            start, end = (axes.place(v, point.y) if across else axes.place(point.x, v) for v in (low, high))
            axes.add(f'<line {ends(start, end)} stroke="{point.colour}" stroke-width="1"/>')
        px, py = axes.place(point.x, point.y)
        told = escape(f"{point.label}: {point.x:.4g}, {point.y:.4g}")
        axes.add(f'<circle cx="{px:.1f}" cy="{py:.1f}" r="3.5" fill="{point.colour}"><title>{told}</title></circle>')
    seen = dict.fromkeys((point.label, point.colour) for point in points)
    return axes.svg([(label, shade, False) for label, shade in seen])


def histogram(frame: Frame, series: Sequence[Series], bins: int = 30) -> str:
    """Shares of each series' values by bin, outlines over one another."""
    x = finite([one.values for one in series])
    low, high = (float(x.min()), float(x.max())) if x.size else (0.0, 1.0)
    edges = np.linspace(low, high if high > low else low + 1.0, bins + 1)
    shares = []
    for one in series:
        values = finite([one.values])
        shares.append(np.histogram(values, edges)[0] / max(1, values.size))
    axes = Axes(frame, edges, np.concatenate([[0.0], *shares]))
    for one, share in zip(series, shares, strict=True):
        corners = axes.corners(edges, np.append(share, share[-1]), True)
        ground = [axes.place(edges[-1], 0.0), axes.place(edges[0], 0.0)]
        axes.add(
            f'<polygon points="{path(corners + ground)}" fill="{one.colour}" fill-opacity="0.25" '
            f'stroke="{one.colour}"/>'
        )
    return axes.svg([(one.label, one.colour, False) for one in series])


def _drawable(point: Point) -> bool:
    return math.isfinite(point.x) and math.isfinite(point.y)


def _bars(point: Point) -> list[tuple[float, float, bool]]:
    known = [(error, across) for error, across in ((point.x_error, True), (point.y_error, False)) if error is not None]
    return [(error[0], error[1], across) for error, across in known if all(map(math.isfinite, error))]
