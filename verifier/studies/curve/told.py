"""Robustness curves as a table, as CSV, and as a chart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from encoders.arrays import FloatArray
from verifier.pages.chart_style import Frame, mark
from verifier.pages.charts import Line, line_chart
from verifier.pages.csv_text import csv_text
from verifier.pages.drawn_chart import Chart
from verifier.pages.page import Table
from verifier.pages.wording import NAMES, as_given, share
from verifier.studies.comparison.bands import Resampling
from verifier.studies.comparison.drawn_attacks import short_name
from verifier.studies.comparison.robust_accuracy import banded, beyond, radii_for
from verifier.studies.curve.measure import Distances

TOLD = 6  # radii of a table for which none are named, 0 among them


@dataclass(frozen=True, eq=False)
class Curve:
    """Robust accuracy over the radii: proven (low), not falsified (high), its band, and as an attack draws it."""

    of: Distances
    radii: FloatArray
    low: FloatArray
    high: FloatArray
    band: tuple[FloatArray, FloatArray]
    attacked: FloatArray | None


@dataclass(frozen=True, eq=False)
class Curves:
    """The curves of all networks in one norm over the same radii; `told` are those of the table."""

    curves: tuple[Curve, ...]
    told: tuple[float, ...]


def curves(distances: Sequence[Distances], given: Sequence[float], how: Resampling) -> Curves:
    """What the distances say at every radius; the radii of the table are `given`, or round ones along the curves."""
    ends = [one.ends for one in distances]
    along = radii_for(ends)
    told = tuple(dict.fromkeys((0.0, *(given or (float(f"{r:.2g}") for r in np.linspace(0.0, along[-1], TOLD))))))
    radii = np.union1d(along, told)
    drawn = zip(distances, banded(ends, radii, how), strict=True)
    return Curves(
        tuple(
            Curve(
                one, radii, found.proven.mean, found.possible.mean, found.band,
                None if one.attacked is None else beyond(one.attacked[None], radii).mean(0),
            )
            for one, found in drawn
        ),
        told,
    )  # fmt: skip


def table(found: Curves) -> Table:
    """A row for each network: the share at each radius that is told, and its band."""

    def cell(curve: Curve, radius: float) -> str:
        k = int(np.searchsorted(curve.radii, radius))
        low, high = (float(side[k]) for side in curve.band)
        return f"{share(float(curve.low[k]), float(curve.high[k]))} ({share(low, high, decimals=0)})"

    header = ("network", *(f"at {as_given(radius)}" for radius in found.told), "open samples")
    rows = [
        (one.of.name, *(cell(one, radius) for radius in found.told), f"{one.of.open} of {len(one.of.lower)}")
        for one in found.curves
    ]
    return Table(header, rows)


def as_csv(found: Curves) -> str:
    """A line for each network and radius."""
    return csv_text(
        {
            "network": one.of.name, "samples": len(one.of.lower), "radius": float(radius), "low": float(one.low[k]),
            "high": float(one.high[k]), "band_low": float(one.band[0][k]), "band_high": float(one.band[1][k]),
            **({} if one.attacked is None else {"attack": float(one.attacked[k])}),
        }
        for one in found.curves
        for k, radius in enumerate(one.radii)
    )  # fmt: skip


def chart(found: Curves, what: str, data: str, attack: str | None) -> Chart:
    """All curves in one chart; where samples are open, what is proven and what the nearest found leave."""
    lines = []
    for place, one in enumerate(found.curves):
        name, own = one.of.name, mark(place)
        lines.append(
            Line(
                f"{name}, proven" if one.of.open else name, one.radii, one.low, own, band=(one.low, one.high),
                outer=one.band,
            )
        )  # fmt: skip
        if one.of.open:
            lines.append(Line(f"{name}, nearest found", one.radii, one.high, own, "--"))
        if attack is not None and one.attacked is not None:
            lines.append(Line(f"{name}, {short_name(attack)}", one.radii, one.attacked, own, ":"))
    norm = NAMES[found.curves[0].of.norm]
    frame = Frame(f"{what[:1].upper()}{what[1:]}, {data}", f"{norm} radius", what, y_range=(0.0, 1.0))
    return line_chart(frame, lines, steps=True)
