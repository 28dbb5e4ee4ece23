"""The charts of a bound-gap report."""

from __future__ import annotations

import numpy as np

from verifier.pages.chart_style import NEUTRAL, Frame, Mark, mark
from verifier.pages.charts import Chart, Line, Point, Series, histogram, line_chart, scatter
from verifier.pages.wording import NAMES
from verifier.studies.gap_report.records import Collected, Kind, Technique, tightness, within


def _mark(found: Collected, technique: Technique) -> Mark:
    """Each technique's mark, the same in every chart."""
    return mark(found.techniques.index(technique))


def robustness_curve(found: Collected) -> Chart:
    """Share of inputs with an adversary within each radius: exact, or both ends, and as each technique draws it."""
    radii = found.radii()
    lines = [
        Line(
            technique.name,
            radii,
            within(technique.distance, radii),
            _mark(found, technique),
            stroke="--" if technique.kind is Kind.BOUND else "-",
        )
        for technique in found.techniques
        if technique.kind is not Kind.ESTIMATE
    ]
    witnessed, possible = within(found.upper, radii), within(found.lower, radii)
    if found.open:
        lines.append(Line("nearest found", radii, witnessed, NEUTRAL, band=(witnessed, possible)))
        lines.append(Line("not excluded by any proof", radii, possible, NEUTRAL, ":"))
    else:
        lines.append(Line("exact", radii, witnessed, NEUTRAL))
    norm = NAMES[found.norm]
    frame = Frame(
        f"Inputs with an adversary within a radius, {norm}", f"{norm} radius", "share of inputs", 760, 420,
        y_range=(0.0, 1.0),
    )  # fmt: skip
    return line_chart(frame, lines, steps=True)


def accuracy_curve(found: Collected) -> Chart:
    """Clean, attacked and certified accuracy over the radius."""
    radii = found.radii()
    clean = np.full(len(radii), float(found.correct.mean()) if found.correct.size else 0.0)
    attacked, certified = 1.0 - within(found.upper, radii), 1.0 - within(found.lower, radii)
    lines = [
        Line("clean", radii, clean, mark(4)),
        Line("no adversary found", radii, attacked, mark(1), "--"),
        Line("certified", radii, certified, mark(0), band=(certified, attacked)),
    ]
    norm = NAMES[found.norm]
    frame = Frame(f"Accuracy under attack, {norm}", f"{norm} radius", "accuracy", y_range=(0.0, 1.0))
    return line_chart(frame, lines, steps=True)


def gaps(found: Collected, kind: Kind) -> Chart:
    """How the ratios to the exact distance are distributed."""
    series = []
    for technique in found.techniques:
        ratios = found.ratios(technique)
        if technique.kind is kind and np.isfinite(ratios).any():
            series.append(Series(technique.name, np.clip(ratios, 0.0, 2.0), _mark(found, technique)))
    what = "bound / exact" if kind is Kind.BOUND else "attack / exact (2: at least twice as far)"
    title = f"How near each {kind} comes, {NAMES[found.norm]}"
    return histogram(Frame(title, what, "share of samples"), series)


def cost(found: Collected) -> Chart:
    """Tightness against seconds: one point a technique."""
    points = []
    for technique in found.techniques:
        told = tightness(found, technique)
        near = min(told.median, 1.0 / told.median) if told.median else np.nan
        points.append(Point(technique.name, max(told.seconds, 1e-4), float(near), _mark(found, technique)))
    exact = found.seconds[found.correct & found.closed]
    if exact.size:
        points.append(Point("exact", max(float(np.median(exact)), 1e-4), 1.0, NEUTRAL))
    frame = Frame(
        f"What tightness costs, {NAMES[found.norm]}", "median seconds a sample",
        "nearness (1: exact)", y_range=(0.0, 1.05), x_log=True,
    )  # fmt: skip
    return scatter(frame, points)


def charts(found: Collected) -> dict[str, Chart]:
    """All charts of one norm by file name."""
    return {
        "robustness": robustness_curve(found),
        "accuracy": accuracy_curve(found),
        "bounds": gaps(found, Kind.BOUND),
        "attacks": gaps(found, Kind.ATTACK),
        "cost": cost(found),
    }
