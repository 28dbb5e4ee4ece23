"""The charts of a bound-gap report: one colour and marker for each technique, in every chart and every norm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate

import numpy as np

from bounds.attacks import ATTACKS, PORTFOLIO
from bounds.lower import LOWER_BOUNDS
from encoders.arrays import FloatArray
from encoders.question import Norm
from verifier.pages.chart_style import COLOURS, INK, MARKERS, Frame, Mark
from verifier.pages.charts import Interval, Line, Point, Stroke, forest, line_chart, scatter
from verifier.pages.drawn_chart import Chart
from verifier.pages.wording import MEASURED, NAMES, share_ends
from verifier.studies.gap_report.records import Collected, Kind, best, tightness, within
from verifier.studies.wilson import wilson

EXACT = Mark(INK)
COOL = (
    COLOURS[0], COLOURS[2], COLOURS[4], "#7570b3", "#1b9e9e", "#3949ab", "#6a9a1f", "#9575cd", "#00695c", "#4fc3f7",
    "#546e7a", "#33691e",
)  # fmt: skip
WARM = (
    COLOURS[1], COLOURS[3], COLOURS[5], "#b2506b", "#a6761d", "#c62828", "#f06292", "#8d6e63", "#ff8a65", "#ad1457",
    "#c0a000", "#e57373", "#6d4c41", "#d81b60", "#ef6c00", "#880e4f", "#b71c1c", "#e0876a",
)  # fmt: skip
"""The colours of lower bounds, and of attacks: a reader tells by the colour on which side a line has to lie."""
ROW, LETTER = 19, 6.2  # pixels: a row of a forest plot, a letter of its names
FARTHEST = 3.0  # times the exact distance: where the rows of attacks end
LEAST_SECONDS = 1e-4

Marks = Mapping[str, Mark]


def marks_of(norms: Sequence[Collected]) -> Marks:
    """Each technique's mark: by its place in the table of its kind, so that it is the same in every report."""
    used = [technique for found in norms for technique in found.techniques]
    marks = {}
    for kinds, table, colours in (
        ((Kind.BOUND, Kind.ESTIMATE), list(LOWER_BOUNDS), COOL),
        ((Kind.ATTACK,), [*ATTACKS, PORTFOLIO], WARM),
    ):
        others = sorted({technique.name for technique in used if technique.kind in kinds} - set(table))
        for place, name in enumerate([*table, *others]):
            marks[name] = Mark(colours[place % len(colours)], MARKERS[place % len(MARKERS)])
    return marks


def axis_of(norm: Norm, box: tuple[float, float]) -> str:
    """What the axis of a norm's distances says: how they are measured, and in which units."""
    return f"{NAMES[norm]} radius: {MEASURED[norm]}, where inputs range from {box[0]:g} to {box[1]:g}"


def robustness(found: Collected, marks: Marks, box: tuple[float, float]) -> Chart:
    """Robust accuracy over the radius: exact, or both its ends; as the best bound and attack draw it; the rest behind.

    The pale band is the interval of the share at each radius by itself.
    """
    radii, samples = found.radii(), len(found.indices)
    proven, possible = 1.0 - within(found.lower, radii), 1.0 - within(found.upper, radii)
    outer = wilson(proven, samples)[0], wilson(possible, samples)[1]
    ends = [share_ends(low, high) for low, high in zip(proven.tolist(), possible.tolist(), strict=True)]
    low, high = ([one[side] for one in ends] for side in (0, 1))
    kept = "proven" if found.open else "exact"
    lines = [Line(kept, radii, proven, EXACT, band=(proven, possible), outer=outer, width=2.4, told=low)]
    if found.open:
        lines.append(Line("not refuted", radii, possible, EXACT, ":", width=2.4, told=high))
    shown = [technique for technique in (best(found, Kind.BOUND), best(found, Kind.ATTACK)) if technique is not None]
    behind = [one for one in found.techniques if one not in shown and one.kind is not Kind.ESTIMATE]
    for technique in (*shown, *behind):
        of_bound = technique.kind is Kind.BOUND
        name = f"best {'bound' if of_bound else 'attack'}: {technique.name}" if technique in shown else technique.name
        share = 1.0 - within(technique.distance, radii)
        stroke: Stroke = "--" if of_bound else "-."
        words = [share_ends(one, 1.0)[0] if of_bound else share_ends(0.0, one)[1] for one in share.tolist()]
        mark = marks[technique.name]
        lines.append(Line(name, radii, share, mark, stroke, behind=technique in behind, told=words))
    title = f"Share of inputs that stay right, {NAMES[found.norm]}"
    frame = Frame(
        title, axis_of(found.norm, box), "inputs right with no adversary within", 760, 400, y_range=(0.0, 1.0),
        percent=True,
    )  # fmt: skip
    return line_chart(frame, lines, steps=True, explorable=True)


def nearness(found: Collected, marks: Marks, kind: Kind) -> Chart | None:
    """How far each technique's median stays from the exact distance, and most of its samples; None where none ran."""
    rows = []
    for technique in found.techniques:
        told = tightness(found, technique)
        if technique.kind is kind and np.isfinite(told.median_low):
            ends = told.median_low, told.median_high, told.low, told.high
            low, high, least, most = (min(end, FARTHEST) for end in ends)
            rows.append(Interval(technique.name, low, high, (least, most), marks[technique.name]))
    if not rows:
        return None
    rows.sort(key=lambda row: row.low, reverse=kind is Kind.BOUND)
    width = 300 + int(LETTER * max(len(row.label) for row in rows))
    label = (
        "bound / exact" if kind is Kind.BOUND else f"attack / exact ({FARTHEST:g}: at least {FARTHEST:g} times as far)"
    )
    title = f"{'Lower bounds' if kind is Kind.BOUND else 'Attacks'} / exact, {NAMES[found.norm]}"
    return forest(Frame(title, label, "", width, 80 + ROW * len(rows)), rows, 1.0, "tenth to ninetieth percentile")


def cost(found: Collected, marks: Marks) -> Chart | None:
    """Tightness against seconds: one point a technique, named where no other of its kind is both nearer and quicker."""
    points, chains = list[Point](), list[list[int]]()
    for kind in (Kind.BOUND, Kind.ATTACK):
        own = []
        for technique in found.techniques:
            told = tightness(found, technique)
            if technique.kind is kind and np.isfinite(told.median_low) and told.median_low > 0:
                near = min(told.median_low, 1.0 / told.median_low)
                own.append((max(told.seconds, LEAST_SECONDS), float(near), technique.name))
        own.sort(key=lambda one: (one[0], -one[1]))
        best_before = [-np.inf, *accumulate((near for _, near, _ in own), max)]
        ahead = [near > before for (_, near, _), before in zip(own, best_before, strict=False)]
        first = len(points)
        for (seconds, near, name), front in zip(own, ahead, strict=True):
            points.append(Point(name, seconds, near, marks[name], named=front))
        chains.append([first + k for k, front in enumerate(ahead) if front])
    if not points:
        return None
    if found.exact.low:
        name = "exact" + (f", {found.exact.low} of {found.right} closed" if found.open else "")
        points.append(Point(name, max(found.exact_seconds, LEAST_SECONDS), 1.0, EXACT, named=True))
    frame = Frame(
        f"What nearness costs, {NAMES[found.norm]}", "median seconds an input, logarithmic", "nearness (1: exact)",
        560, 340, y_range=(0.0, 1.05), x_log=True,
    )  # fmt: skip
    return scatter(frame, points, chains)


def charts(found: Collected, marks: Marks, box: tuple[float, float]) -> dict[str, Chart]:
    """All charts of one norm that have something to show, by file name."""
    drawn = {
        "robustness": robustness(found, marks, box),
        "bounds": nearness(found, marks, Kind.BOUND),
        "attacks": nearness(found, marks, Kind.ATTACK),
        "cost": cost(found, marks),
    }
    return {name: chart for name, chart in drawn.items() if chart is not None}


def curve_rows(found: Collected) -> list[dict[str, object]]:
    """The robustness curve in numbers: a row for each radius, as the bracket has it and as each technique draws it."""
    radii, samples = found.radii(), len(found.indices)
    proven, possible = 1.0 - within(found.lower, radii), 1.0 - within(found.upper, radii)
    low, high = wilson(proven, samples)[0], wilson(possible, samples)[1]
    drawn: dict[str, FloatArray] = {
        one.name: 1.0 - within(one.distance, radii) for one in found.techniques if one.kind is not Kind.ESTIMATE
    }
    return [
        {
            "norm": str(found.norm), "radius": float(radius), "samples": samples, "proven": float(proven[k]),
            "not_refuted": float(possible[k]), "interval_low": float(low[k]), "interval_high": float(high[k]),
            **{name: float(shares[k]) for name, shares in drawn.items()},
        }
        for k, radius in enumerate(radii)
    ]  # fmt: skip
