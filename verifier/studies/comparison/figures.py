"""The charts of the comparison. Whatever is open is drawn with both its ends, and called so."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from encoders.question import Norm
from verifier.pages.chart_style import NEUTRAL, Frame, mark
from verifier.pages.charts import Interval, Line, Point, forest, heat_map, line_chart, scatter
from verifier.pages.drawn_chart import Chart
from verifier.pages.wording import NAMES
from verifier.studies.comparison.drawn_attacks import STRONGEST, short_name
from verifier.studies.comparison.findings import Findings
from verifier.studies.comparison.statistics import Curve, Group, mean_distance
from verifier.studies.comparison.transfer import Transfer

ROW, LETTER = 19, 6.2  # pixels: a row of a forest plot, a letter of its names
CELL = 34  # pixels: a cell of a heat map


def distance_word(groups: Sequence[Group]) -> str:
    """What a mean distance is called where these are drawn together."""
    return "mean exact distance" if not any(group.open for group in groups) else "mean distance, proven to found"


def _exact_lines(group: Group, curve: Curve) -> list[Line]:
    """One line where all is exact, else what is proven and what is left by the nearest found."""
    if not group.open:
        return [Line("exact", curve.radii, curve.proven, mark(0), outer=curve.band)]
    opened = (curve.proven, curve.possible)
    return [
        Line("proven", curve.radii, curve.proven, mark(0), band=opened, outer=curve.band),
        Line("nearest found", curve.radii, curve.possible, mark(2)),
    ]


def curve_of(found: Findings, group: Group, baseline: Group | None) -> Chart:
    """One variant: its curve with bands, as two attacks draw it, and the baseline's curve behind."""
    curve, lines = found.curves[group.variant, group.norm], []
    if baseline is not None and baseline is not group:
        plain = found.curves[baseline.variant, baseline.norm]
        lines.append(Line(baseline.variant, plain.radii, plain.proven, NEUTRAL, band=(plain.proven, plain.possible)))
    lines += _exact_lines(group, curve)
    lines.append(Line(short_name(found.options.attack), curve.radii, curve.typical, mark(1), "--"))
    if found.options.attack != STRONGEST:
        lines.append(Line(short_name(STRONGEST), curve.radii, curve.strongest, mark(3), ":"))
    norm = NAMES[group.norm]
    frame = Frame(group.variant, f"{norm} radius", "robust accuracy", 330, 220, y_range=(0.0, 1.0))
    return line_chart(frame, lines, steps=True)


def differences_chart(found: Findings, norm: Norm) -> Chart:
    """Every variant's mean distance less the baseline's, with an interval; those that leave out zero are coloured."""
    rows = []
    for one in (one for one in found.differences if one.norm is norm):
        clear = one.interval[0] > 0 or one.interval[1] < 0
        colour = NEUTRAL if not clear else mark(0 if one.interval[0] > 0 else 1)
        rows.append(Interval(one.variant, one.lower, one.upper, one.interval, colour))
    title = f"Mean distance less that of {found.options.baseline}, {NAMES[norm]}"
    return forest(_rows_frame(title, f"{NAMES[norm]} distance", [row.label for row in rows]), rows)


def overestimates_chart(found: Findings, norm: Norm) -> Chart:
    """How often each attack overestimates the distance of each variant."""
    rows = [
        Interval(
            f"{one.variant}, {short_name(one.attack)}", one.lower, one.upper, one.interval,
            mark(1 if one.attack == found.options.attack else 3),
        )
        for one in found.overestimates
        if one.norm is norm
    ]  # fmt: skip
    title = f"Adversaries more than 5 % farther than the nearest, {NAMES[norm]}"
    return forest(_rows_frame(title, "share of samples", [row.label for row in rows]), rows)


def _rows_frame(title: str, x_label: str, names: Sequence[str]) -> Frame:
    width = 420 + int(LETTER * max(map(len, names), default=0))
    return Frame(title, x_label, "", width, 80 + ROW * len(names))


def trade_off(found: Findings, norm: Norm) -> Chart:
    """Accuracy against mean distance: one point a variant, both ends of it, lines through those of one family."""
    groups = found.of(norm)
    families = list(dict.fromkeys(group.family for group in groups))
    points = []
    chains = [[k for k, group in enumerate(groups) if group.family == family] for family in families]
    for group in groups:
        mean = mean_distance(group, found.options.resampling)
        by_seed = group.accuracy
        points.append(
            Point(
                group.family,
                float(group.accuracy.mean()),
                mean.lower,
                mark(families.index(group.family)),
                (float(by_seed.min()), float(by_seed.max())) if len(by_seed) > 1 else None,
                mean.interval,
                mean.upper if group.open else None,
            )
        )
    height = f"{distance_word(groups)}, {NAMES[norm]}"
    frame = Frame(f"Accuracy and robustness, {NAMES[norm]}", "test accuracy", height, 560, 380)
    return scatter(frame, points, chains)


def over_strength(found: Findings, norm: Norm) -> list[Chart]:
    """For each family with several variants: mean distance, both ends, and accuracy along the sweep."""
    charts = []
    groups = found.of(norm)
    for family in dict.fromkeys(group.family for group in groups):
        members = [group for group in groups if group.family == family]
        if len(members) < 2:
            continue
        place = np.arange(len(members), dtype=float)
        means = [mean_distance(group, found.options.resampling) for group in members]
        low, high = [m.interval[0] for m in means], [m.interval[1] for m in means]
        best = max((m.upper for m in means if np.isfinite(m.upper)), default=1.0)
        swept = ", ".join(g.variant.removeprefix(family).strip() or g.variant for g in members)
        proven, upper = [m.lower for m in means], [m.upper for m in means]
        opened = any(group.open for group in members)
        lines = [
            Line("proven" if opened else "mean exact distance", place, proven, mark(0), band=(proven, upper),
                 outer=(low, high)),
            *([Line("nearest found", place, upper, mark(2))] if opened else []),
            Line(
                f"accuracy, times {best:.3g}", place, [best * float(g.accuracy.mean()) for g in members], mark(1), "--"
            ),
        ]  # fmt: skip
        frame = Frame(f"{family}, {NAMES[norm]}", f"along the sweep: {swept}", NAMES[norm], 360, 230)
        charts.append(line_chart(frame, lines))
    return charts


def transfer_chart(one: Transfer) -> Chart:
    """Whose adversaries (rows) fool whom (columns)."""
    where = "as found" if one.radius is None else f"at {one.radius:g}"
    room = 60 + int(LETTER * max(map(len, one.names), default=0))
    side = CELL * len(one.names)
    frame = Frame(f"{NAMES[one.norm]}, {where}", "shown to", "found on", side + room, side + 40 + room)
    return heat_map(frame, one.names, one.names, one.shares)
