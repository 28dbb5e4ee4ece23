"""Small charts for pages and print, drawn by matplotlib: lines with bands, points with error bars, histograms.

Every chart is a function from plain numbers to a Chart, which is an <svg> element in a page and a PNG beside it.
Nothing that is not finite is drawn. A chart that can be explored carries its numbers, for the script of its page
(`templates/charts.js`) to show values, to zoom, and to show what is left behind; without the script it is a picture.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from matplotlib import style
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter, PercentFormatter, StrMethodFormatter
from numpy.typing import ArrayLike, NDArray

from encoders.arrays import FloatArray
from verifier.pages.chart_style import DOTS_PER_INCH, INK, NEUTRAL, Frame, Mark
from verifier.pages.drawn_chart import BEHIND, LOOK, Chart

LEGEND_ROW, LEGEND_KEY, LETTER = 17, 55, 6.5  # pixels: a legend's row, a key with the room around it, a letter
ROOM = 0.02  # of a range, so that lines along its ends are drawn whole


Stroke = Literal["-", "--", ":", "-."]


@dataclass(frozen=True, eq=False)
class Line:
    """One series of a line chart; `band` is a lower and an upper edge over the same x, filled lightly.

    `outer` is a wider band, filled more lightly still. A line `behind` is not drawn until a reader asks for it.
    `told` are the words for each height, where its chart is explored; without them they are rounded.
    """

    label: str
    x: ArrayLike
    y: ArrayLike
    mark: Mark
    stroke: Stroke = "-"
    band: tuple[ArrayLike, ArrayLike] | None = None
    outer: tuple[ArrayLike, ArrayLike] | None = None
    width: float = 1.3
    behind: bool = False
    told: Sequence[str] = ()


@dataclass(frozen=True)
class Point:
    """One point of a scatter chart, with error bars (lowest, highest) where they are known.

    `y_high` is the other end of a height that is only known to lie between the two: both are drawn, and a bar between.
    Where there are more points than a legend has room for, `named` says which have their names beside them.
    """

    label: str
    x: float
    y: float
    mark: Mark
    x_error: tuple[float, float] | None = None
    y_error: tuple[float, float] | None = None
    y_high: float | None = None
    named: bool | None = None  # True: written beside the point; False: told by its tooltip alone; None: in the legend


@dataclass(frozen=True)
class Interval:
    """One row of a forest plot: what is known to lie in [low, high], and an interval around it."""

    label: str
    low: float
    high: float
    interval: tuple[float, float]
    mark: Mark


@dataclass(frozen=True, eq=False)
class Series:
    """The values of one histogram, drawn over the others."""

    label: str
    values: ArrayLike
    mark: Mark


def line_chart(frame: Frame, lines: Sequence[Line], steps: bool = False, explorable: bool = False) -> Chart:
    """Lines over x; with `steps`, each value holds until the next x, and so it does where a chart is explored."""
    with style.context(LOOK):
        chart, axes = _empty(frame)
        keys: list[tuple[str, Artist]] = []
        for number, line in enumerate(lines):
            x, y = _finite(line.x), _finite(line.y)
            before = len(chart.told)
            for edges, alpha, word in ((line.outer, 0.1, "outer band"), (line.band, 0.2, "band")):
                if edges is None:
                    continue
                low, high = (_finite(edge) for edge in edges)
                if np.nanmax(high - low, initial=0.0) > 0:  # else nothing is wider than the line itself
                    step = "post" if steps else None
                    area = axes.fill_between(x, low, high, step=step, color=line.mark.colour, alpha=alpha, linewidth=0)  # type: ignore[arg-type]
                    chart.tell(area, f"{line.label}: {word}")
            every = max(1, len(x) // 8)
            (drawn,) = axes.plot(
                x, y, color=line.mark.colour, marker=line.mark.marker, linestyle=line.stroke, linewidth=line.width,
                drawstyle="steps-post" if steps else "default", markevery=(number * 3 % every, every),
                label=BEHIND if line.behind else None,
            )  # fmt: skip
            chart.tell(drawn, line.label)
            if not line.behind:
                keys.append((line.label, drawn))
            if explorable:
                chart.parts.update(dict.fromkeys(list(chart.told)[before:], number))
                chart.series.append(_numbers(line, x, y))
        _finish(chart, axes, frame, keys)
    return chart


def scatter(frame: Frame, points: Sequence[Point], joined: Sequence[Sequence[int]] = ()) -> Chart:
    """Points with error bars; `joined` are lists of positions that a thin line leads through."""
    with style.context(LOOK):
        chart, axes = _empty(frame)
        keys: dict[str, Artist] = {}
        for chain in joined:
            through = [points[k] for k in chain if _drawable(points[k])]
            if len(through) > 1:
                x = [point.x for point in through]
                highs = [point.y if point.y_high is None else point.y_high for point in through]
                lows = [point.y for point in through]
                for y in (lows, highs) if highs != lows else (lows,):
                    axes.plot(x, _finite(y), color=through[0].mark.colour, linewidth=0.8, alpha=0.6)
        for point in filter(_drawable, points):
            colour = point.mark.colour
            if point.x_error is not None and all(map(math.isfinite, point.x_error)):
                axes.hlines(point.y, *point.x_error, color=colour, linewidth=0.8)
            if point.y_error is not None and all(map(math.isfinite, point.y_error)):
                axes.vlines(point.x, *point.y_error, color=colour, linewidth=0.8)
            (drawn,) = axes.plot([point.x], [point.y], color=colour, marker=point.mark.marker or "o", linestyle="")
            chart.tell(drawn, f"{point.label}: {point.x:.4g}, {point.y:.4g}")
            if point.y_high is not None and point.y_high > point.y:
                high = point.y_high if math.isfinite(point.y_high) else point.y
                axes.vlines(point.x, point.y, high, color=colour, linewidth=3.0, alpha=0.35)
                (other,) = axes.plot(
                    [point.x], [high], color=colour, marker=point.mark.marker or "o", linestyle="", fillstyle="none"
                )
                chart.tell(other, f"{point.label}: {point.x:.4g}, {_number(point.y_high)}")
            if point.named is None:
                keys.setdefault(point.label, drawn)
            elif point.named:
                side = -1 if _far_right(point, points, frame.x_log) else 1  # so that no name leaves the axes
                axes.annotate(
                    point.label, (point.x, point.y), (3 * side, -3), textcoords="offset points", va="top", fontsize=7,
                    ha="left" if side > 0 else "right", rotation=-30 * side, rotation_mode="anchor",
                )  # fmt: skip
            else:
                drawn.set_alpha(0.45)
        _finish(chart, axes, frame, list(keys.items()))
    return chart


def histogram(frame: Frame, series: Sequence[Series], bins: int = 30) -> Chart:
    """Shares of each series' values by bin, outlines over one another, marked where a bin holds any."""
    with style.context(LOOK):
        chart, axes = _empty(frame)
        values = [found[np.isfinite(found)] for one in series for found in [_finite(one.values)]]
        held = np.concatenate([np.zeros(0), *values])
        low, high = (float(held.min()), float(held.max())) if held.size else (0.0, 1.0)
        edges = np.linspace(low, high if high > low else low + 1.0, bins + 1)
        keys: list[tuple[str, Artist]] = []
        for one, found in zip(series, values, strict=True):
            share = np.histogram(found, edges)[0] / max(1, found.size)
            axes.stairs(share, edges, fill=True, color=one.mark.colour, alpha=0.2)
            outline = axes.stairs(share, edges, color=one.mark.colour, linewidth=1.0)
            chart.tell(outline, one.label)
            middles = (edges[:-1] + edges[1:]) / 2
            axes.plot(middles[share > 0], share[share > 0], color=one.mark.colour, marker=one.mark.marker, linestyle="")
            keys.append((one.label, Line2D([], [], color=one.mark.colour, marker=one.mark.marker)))
        _finish(chart, axes, frame, keys)
        if frame.y_range is None:
            axes.set_ylim(bottom=0.0)
    return chart


def forest(frame: Frame, rows: Sequence[Interval], zero: float = 0.0, around: str = "interval") -> Chart:
    """Intervals below one another, in their order from the top, and a line at what they are held against.

    `around` is what the intervals are called.
    """
    with style.context(LOOK):
        chart, axes = _empty(frame)
        ends = [end for row in rows for end in (row.low, row.high, *row.interval, zero) if math.isfinite(end)]
        left, right = (min(ends), max(ends)) if ends else (0.0, 1.0)
        room = 0.05 * (right - left or 1.0)
        axes.set_xlim(left - room, right + room)
        axes.axvline(zero, color=NEUTRAL.colour, linewidth=1.0)
        for place, row in enumerate(rows):
            shown = np.clip([*row.interval, row.low, row.high], left - 2 * room, right + 2 * room)  # infinite: cut off
            drawn = axes.hlines(place, shown[0], shown[1], color=row.mark.colour, linewidth=1.2)
            ends_told = [_number(end) for end in (row.low, row.high, *row.interval)]
            told = ends_told[0] if row.low == row.high else " to ".join(ends_told[:2])
            chart.tell(drawn, f"{row.label}: {told}, {around} {' to '.join(ends_told[2:])}")
            axes.hlines(place, shown[2], shown[3], color=row.mark.colour, linewidth=5.0)
            ends_marked = [end for end in (row.low, row.high) if math.isfinite(end)]
            axes.plot(
                ends_marked, [place] * len(ends_marked), color=row.mark.colour, marker=row.mark.marker or "o",
                linestyle="",
            )  # fmt: skip
        axes.set_yticks(range(len(rows)), [row.label for row in rows])
        axes.set_ylim(len(rows) - 0.4, -0.6)
        _finish(chart, axes, frame, [])
    return chart


def heat_map(frame: Frame, rows: Sequence[str], columns: Sequence[str], shares: FloatArray) -> Chart:
    """Shares in a grid, as colours and as per cent; NaN stays empty."""
    with style.context(LOOK):
        chart, axes = _empty(frame)
        axes.grid(visible=False)
        axes.pcolormesh(np.ma.masked_invalid(shares), cmap="Blues", vmin=0.0, vmax=1.0, edgecolor="none")
        for a, b in np.argwhere(np.isfinite(shares)):
            ink = "#ffffff" if shares[a, b] > 0.6 else "#111111"
            told = axes.text(b + 0.5, a + 0.5, f"{shares[a, b]:.0%}", ha="center", va="center", color=ink)
            chart.tell(told, f"{rows[a]}, {columns[b]}: {shares[a, b]:.1%}")
        axes.set_xticks(np.arange(len(columns)) + 0.5, columns, rotation=40, ha="right")
        axes.set_yticks(np.arange(len(rows)) + 0.5, rows)
        axes.set_ylim(max(1, len(rows)), 0)
        _finish(chart, axes, frame, [])
    return chart


def _empty(frame: Frame) -> tuple[Chart, Axes]:
    figure = Figure(figsize=(frame.width / DOTS_PER_INCH, frame.height / DOTS_PER_INCH))
    return Chart(frame.title, figure), figure.add_subplot()


def _finish(chart: Chart, axes: Axes, frame: Frame, keys: Sequence[tuple[str, Artist]]) -> None:
    """Title, axes, and a legend below that makes the figure so much higher."""
    axes.set_title(frame.title, wrap=True)
    axes.set_xlabel(frame.x_label)
    axes.set_ylabel(frame.y_label)
    if frame.x_range is not None:
        axes.set_xlim(frame.x_range)
    if frame.y_range is not None:
        low, high = frame.y_range
        axes.set_ylim(low - ROOM * (high - low), high + ROOM * (high - low))
    if frame.percent:
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
    for chosen, axis, scale in ((frame.x_log, axes.xaxis, axes.set_xscale), (frame.y_log, axes.yaxis, axes.set_yscale)):
        if chosen:
            scale("log")
            axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
            axis.set_major_formatter(StrMethodFormatter("{x:g}"))
            axis.set_minor_formatter(NullFormatter())
    if keys:
        labels, artists = [label for label, _ in keys], [artist for _, artist in keys]
        columns = max(1, int(frame.width / (LEGEND_KEY + LETTER * max(map(len, labels)))))
        chart.figure.set_figheight((frame.height + LEGEND_ROW * math.ceil(len(keys) / columns)) / DOTS_PER_INCH)
        chart.figure.legend(artists, labels, loc="outside lower center", ncols=columns)
    ConstrainedLayoutEngine().execute(chart.figure)  # once, for SVG and PNG alike


def _finite(values: ArrayLike) -> NDArray[np.float64]:
    """As floats, with gaps where a value is not finite."""
    found = np.asarray(values, dtype=np.float64)
    return np.where(np.isfinite(found), found, np.nan)


def _numbers(line: Line, x: FloatArray, y: FloatArray) -> dict[str, Any]:
    """A line as the page's script has it: where it moves, as it is, and the words that hold from there on."""
    words = line.told or [f"{one:.1%}" for one in y.tolist()]
    drawn = np.flatnonzero(np.isfinite(x) & np.isfinite(y)).tolist()
    moves = [k for before, k in zip([None, *drawn], drawn, strict=False) if before is None or words[k] != words[before]]
    colour = "currentColor" if line.mark.colour == INK else line.mark.colour
    return {
        "label": line.label, "colour": colour, "marker": line.mark.marker, "dash": line.stroke, "behind": line.behind,
        "x": x[moves].tolist(), "told": [words[k] for k in moves],
    }  # fmt: skip


def _number(value: float) -> str:
    return f"{value:.4g}" if math.isfinite(value) else "∞" if value > 0 else "-∞"


def _far_right(point: Point, points: Sequence[Point], log: bool) -> bool:
    """Whether a name to the right of the point would have less room than one to its left."""
    places = [math.log(one.x) if log else one.x for one in (point, *filter(_drawable, points))]
    return places[0] > 0.5 * (min(places) + max(places))


def _drawable(point: Point) -> bool:
    return math.isfinite(point.x) and math.isfinite(point.y)
