"""Small charts as SVG text, for pages that stand alone: lines with bands, points with error bars, histograms.

Every chart is a function from plain numbers to one <svg> element; colours of the text and the axes come from the page
(`currentColor`), so that it reads in light and in dark. Nothing that is not finite is drawn.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

import numpy as np
from numpy.typing import ArrayLike, NDArray

COLOURS = (
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#8c6d00", "#56b4e9", "#7f3c8d", "#b22222", "#4b7f52", "#e69f00",
    "#5d6d7e", "#3b3b98",
)  # fmt: skip
"""Told apart by most eyes; series beyond the last begin again."""
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 26, 40  # margins around the plotted area

Floats = NDArray[np.float64]


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


@dataclass(frozen=True)
class Frame:
    """What a chart is called, what its axes say, and how large it is; a range not given fits the data."""

    title: str
    x_label: str
    y_label: str
    width: int = 460
    height: int = 300
    x_range: tuple[float, float] | None = None
    y_range: tuple[float, float] | None = None
    legend: bool = True


def line_chart(frame: Frame, lines: Sequence[Line], steps: bool = False) -> str:
    """Lines over x; with `steps`, each value holds until the next x."""
    x = _finite([line.x for line in lines])
    y = _finite([line.y for line in lines] + [edge for line in lines if line.band for edge in line.band])
    axes = _Axes(frame, x, y)
    for line in lines:
        if line.band is not None:
            low, high = (axes.corners(line.x, edge, steps) for edge in line.band)
            axes.add(f'<polygon points="{_path(low + high[::-1])}" fill="{line.colour}" fill-opacity="0.18"/>')
    for line in lines:
        dash = ' stroke-dasharray="5 3"' if line.dashed else ""
        points = _path(axes.corners(line.x, line.y, steps))
        axes.add(f'<polyline points="{points}" fill="none" stroke="{line.colour}" stroke-width="1.6"{dash}/>')
    return axes.svg([(line.label, line.colour, line.dashed) for line in lines])


def scatter(frame: Frame, points: Sequence[Point], joined: Sequence[Sequence[int]] = ()) -> str:
    """Points with error bars; `joined` are lists of positions that a thin line leads through."""
    x = _finite([[p.x, *(p.x_error or ())] for p in points])
    y = _finite([[p.y, *(p.y_error or ())] for p in points])
    axes = _Axes(frame, x, y)
    for chain in joined:
        through = [axes.place(points[k].x, points[k].y) for k in chain if _drawable(points[k])]
        if chain:
            axes.add(
                f'<polyline points="{_path(through)}" fill="none" stroke="{points[chain[0]].colour}" opacity="0.6"/>'
            )
    for point in points:
        if not _drawable(point):
            continue
        for low, high, across in _bars(point):
            start, end = (axes.place(v, point.y) if across else axes.place(point.x, v) for v in (low, high))
            axes.add(f'<line {_ends(start, end)} stroke="{point.colour}" stroke-width="1"/>')
        px, py = axes.place(point.x, point.y)
        told = escape(f"{point.label}: {point.x:.4g}, {point.y:.4g}")
        axes.add(f'<circle cx="{px:.1f}" cy="{py:.1f}" r="3.5" fill="{point.colour}"><title>{told}</title></circle>')
    seen = {point.colour: point.label for point in reversed(points)}
    return axes.svg([(label, shade, False) for shade, label in reversed(seen.items())])


def histogram(frame: Frame, series: Sequence[Series], bins: int = 30) -> str:
    """Shares of each series' values by bin, outlines over one another."""
    x = _finite([one.values for one in series])
    low, high = (float(x.min()), float(x.max())) if x.size else (0.0, 1.0)
    edges = np.linspace(low, high if high > low else low + 1.0, bins + 1)
    shares = []
    for one in series:
        values = _finite([one.values])
        shares.append(np.histogram(values, edges)[0] / max(1, values.size))
    axes = _Axes(frame, edges, np.concatenate([[0.0], *shares]))
    for one, share in zip(series, shares, strict=True):
        corners = axes.corners(edges, np.append(share, share[-1]), True)
        ground = [axes.place(edges[-1], 0.0), axes.place(edges[0], 0.0)]
        axes.add(
            f'<polygon points="{_path(corners + ground)}" fill="{one.colour}" fill-opacity="0.25" '
            f'stroke="{one.colour}"/>'
        )
    return axes.svg([(one.label, one.colour, False) for one in series])


Place = tuple[float, float]


@dataclass(eq=False)
class _Axes:
    """The plotted area: from values to places on the page, and the elements drawn so far."""

    frame: Frame
    x_data: Floats
    y_data: Floats
    drawn: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.x = self.frame.x_range or _range(self.x_data)
        self.y = self.frame.y_range or _range(self.y_data)

    def place(self, x: float, y: float) -> Place:
        wide = self.frame.width - LEFT - RIGHT
        high = self.frame.height - TOP - BOTTOM
        right = LEFT + wide * (x - self.x[0]) / (self.x[1] - self.x[0])
        return right, TOP + high * (self.y[1] - y) / (self.y[1] - self.y[0])

    def corners(self, x: ArrayLike, y: ArrayLike, steps: bool) -> list[Place]:
        found: list[Place] = []
        for across, up in zip(np.asarray(x, float), np.asarray(y, float), strict=True):
            if not (math.isfinite(across) and math.isfinite(up)):
                continue
            place = self.place(float(across), float(up))
            if steps and found and found[-1][1] != place[1]:
                found.append((place[0], found[-1][1]))
            elif len(found) > 1 and found[-1][1] == found[-2][1] == place[1]:
                found.pop()  # a level stretch needs its two ends only
            found.append(place)
        return found

    def add(self, element: str) -> None:
        self.drawn.append(element)

    def svg(self, legend: list[tuple[str, str, bool]]) -> str:
        frame = self.frame
        rows = legend if frame.legend else []
        below = 16 * ((len(rows) + 1) // 2)
        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {frame.width} {frame.height + below}" '
            f'width="{frame.width}" role="img" font-family="sans-serif" font-size="11" fill="currentColor">',
            f"<title>{escape(frame.title)}</title>",
            _text(frame.width / 2, 15, frame.title, "middle", ' font-weight="bold" font-size="12"'),
            *self._grid(self.x, True),
            *self._grid(self.y, False),
            *self.drawn,
            _text((LEFT + frame.width - RIGHT) / 2, frame.height - 6, frame.x_label, "middle"),
            _text(
                0,
                0,
                frame.y_label,
                "middle",
                f' transform="translate(12 {(TOP + frame.height - BOTTOM) / 2}) rotate(-90)"',
            ),
        ]
        for number, (label, shade, dashed) in enumerate(rows):
            x, y = LEFT + (number % 2) * (frame.width - LEFT) / 2, frame.height + 10 + 16 * (number // 2)
            dash = ' stroke-dasharray="5 3"' if dashed else ""
            parts.append(
                f'<line x1="{x}" y1="{y - 4}" x2="{x + 18}" y2="{y - 4}" stroke="{shade}" stroke-width="3"{dash}/>'
            )
            parts.append(_text(x + 24, y, label, "start"))
        return "".join([*parts, "</svg>"])

    def _grid(self, span: tuple[float, float], across: bool) -> list[str]:
        parts = []
        for value in ticks(*span):
            start = self.place(value, self.y[0]) if across else self.place(self.x[0], value)
            end = self.place(value, self.y[1]) if across else self.place(self.x[1], value)
            parts.append(f'<line {_ends(start, end)} stroke="currentColor" stroke-opacity="0.15"/>')
            down, anchor = (start[1] + 14, "middle") if across else (start[1] + 4, "end")
            parts.append(_text(start[0] - (0 if across else 5), down, f"{value:.4g}", anchor))
        return parts


def ticks(low: float, high: float, most: int = 7) -> list[float]:
    """Round numbers from low to high: steps of 1, 2 or 5 times a power of ten."""
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    return [round(k * step, 12) for k in range(first, math.floor(high / step + 1e-9) + 1)]


def _range(values: Floats) -> tuple[float, float]:
    if not values.size:
        return 0.0, 1.0
    low, high = float(values.min()), float(values.max())
    if high <= low:
        return low - 0.5, low + 0.5
    room = 0.03 * (high - low)
    return low - room * (low != 0), high + room


def _finite(parts: Sequence[ArrayLike]) -> Floats:
    values = (
        np.concatenate([np.asarray(part, dtype=np.float64).reshape(-1) for part in parts]) if parts else np.zeros(0)
    )
    return np.asarray(values[np.isfinite(values)])


def _drawable(point: Point) -> bool:
    return math.isfinite(point.x) and math.isfinite(point.y)


def _bars(point: Point) -> list[tuple[float, float, bool]]:
    known = [(error, across) for error, across in ((point.x_error, True), (point.y_error, False)) if error is not None]
    return [(error[0], error[1], across) for error, across in known if all(map(math.isfinite, error))]


def _path(places: Sequence[Place]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in places)


def _ends(start: Place, end: Place) -> str:
    return f'x1="{start[0]:.1f}" y1="{start[1]:.1f}" x2="{end[0]:.1f}" y2="{end[1]:.1f}"'


def _text(x: float, y: float, text: str, anchor: str, more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{more}>{escape(text)}</text>'
