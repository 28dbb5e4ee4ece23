"""The charts of the comparison."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from encoders.question import Norm
from verifier.pages.chart_style import NEUTRAL, Frame, mark
from verifier.pages.charts import Chart, Line, Point, Series, histogram, line_chart, scatter
from verifier.pages.wording import NAMES
from verifier.studies.comparison.findings import Findings
from verifier.studies.comparison.nearest import Scale
from verifier.studies.comparison.statistics import Group, curve, mean_distance, radii_for


def overview(groups: Sequence[Group]) -> Chart:
    """Every variant's exact curve in one chart."""
    radii = radii_for(groups)
    lines = []
    for number, group in enumerate(groups):
        found = curve(group, radii)
        lines.append(Line(group.variant, radii, found.proven, mark(number), band=(found.proven, found.possible)))
    norm = NAMES[groups[0].norm]
    frame = Frame(
        f"Robust accuracy, {norm}, all networks", f"{norm} radius", "robust accuracy", 760, 420, y_range=(0, 1)
    )
    return line_chart(frame, lines, steps=True)


def curve_of(group: Group, baseline: Group | None, groups: Sequence[Group]) -> Chart:
    """One variant: exact with its band, as the attack draws it, and the baseline's exact curve behind."""
    radii = radii_for(groups)
    found, lines = curve(group, radii), []
    if baseline is not None and baseline is not group:
        plain = curve(baseline, radii)
        lines.append(Line(baseline.variant, radii, plain.proven, NEUTRAL, band=(plain.proven, plain.possible)))
    lines.append(Line("exact", radii, found.proven, mark(0), band=(found.proven, found.possible)))
    lines.append(Line("attack", radii, found.attacked, mark(1), True))
    norm = NAMES[group.norm]
    frame = Frame(group.variant, f"{norm} radius", "robust accuracy", 330, 220, y_range=(0.0, 1.0))
    return line_chart(frame, lines, steps=True)


def trade_off(found: Findings, norm: Norm) -> Chart:
    """Accuracy against mean exact distance: one point a variant, a line through those of one family."""
    groups = found.of(norm)
    families = list(dict.fromkeys(group.family for group in groups))
    points = []
    chains = [[k for k, group in enumerate(groups) if group.family == family] for family in families]
    for group in groups:
        mean = mean_distance(group, found.options.resamples, found.options.level, found.options.seed)
        by_seed = group.accuracy
        points.append(
            Point(
                group.family,
                float(group.accuracy.mean()),
                mean.lower,
                mark(families.index(group.family)),
                (float(by_seed.min()), float(by_seed.max())) if len(by_seed) > 1 else None,
                mean.interval,
            )
        )
    frame = Frame(
        f"Accuracy and robustness, {NAMES[norm]}", "test accuracy", f"mean exact {NAMES[norm]} distance", 560, 380
    )
    return scatter(frame, points, chains)


def over_strength(found: Findings, norm: Norm) -> list[Chart]:
    """For each family with several variants: mean exact distance and accuracy along the sweep."""
    charts = []
    groups = found.of(norm)
    for family in dict.fromkeys(group.family for group in groups):
        members = [group for group in groups if group.family == family]
        if len(members) < 2:
            continue
        place = np.arange(len(members), dtype=float)
        means = [mean_distance(g, found.options.resamples, found.options.level, found.options.seed) for g in members]
        low, high = [m.interval[0] for m in means], [m.interval[1] for m in means]
        best = max(m.upper for m in means if np.isfinite(m.upper)) if any(np.isfinite(m.upper) for m in means) else 1.0
        swept = ", ".join(g.variant.removeprefix(family).strip() or g.variant for g in members)
        lines = [
            Line("mean exact distance", place, [m.lower for m in means], mark(0), band=(low, high)),
            Line(
                f"accuracy, times {best:.3g}",
                place,
                [best * float(g.accuracy.mean()) for g in members],
                mark(1),
                True,
            ),
        ]
        frame = Frame(f"{family}, {NAMES[norm]}", f"along the sweep: {swept}", NAMES[norm], 360, 230)
        charts.append(line_chart(frame, lines))
    return charts


def quantiles(found: Scale) -> tuple[float, ...]:
    """Median distance to the same class; least and median distance to another; half of the least."""
    least = float(found.other.min())
    return float(np.median(found.same)), least, float(np.median(found.other)), least / 2


def scale_chart(found: Scale) -> Chart:
    """How far the nearest sample of the same class and of another class is."""
    series = [Series("same class", found.same, mark(0)), Series("another class", found.other, mark(1))]
    norm = NAMES[found.norm]
    return histogram(Frame(f"Nearest neighbours, {norm}", f"{norm} distance", "share of samples", 360, 240), series)
