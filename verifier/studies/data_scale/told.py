"""The scale of a data set as a table, as CSV, and as charts."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

import numpy as np

from verifier.pages.chart_style import Frame, mark
from verifier.pages.charts import Series, histogram
from verifier.pages.drawn_chart import Chart
from verifier.pages.page import Table
from verifier.pages.wording import NAMES, number
from verifier.studies.data_scale.distances import Scale

HEADER = (
    "norm", "same class, least", "same class, median", "another class, least", "another class, median",
    "half of the least",
)  # fmt: skip


def quantiles(found: Scale) -> tuple[float, ...]:
    """Least and median distance to the same class, the same to another one, and half of that one's least."""
    least = float(found.other.min(initial=np.inf))
    same, other = (float(np.median(one)) if len(one) else np.inf for one in (found.same, found.other))
    return float(found.same.min(initial=np.inf)), same, least, other, least / 2


def scale_table(scales: Sequence[Scale]) -> Table:
    """A row for each norm."""
    return Table(HEADER, [(NAMES[one.norm], *map(number, quantiles(one))) for one in scales])


def as_csv(scales: Sequence[Scale]) -> str:
    """A line for each norm and pair of classes: the least distance between two samples, and the median of the nearest.

    A class is paired with itself, too; the median is over the samples of `class`.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["norm", "class", "other_class", "samples", "least", "median_of_nearest"])
    for one in scales:
        for a, own in enumerate(one.classes):
            held = one.nearest[one.own == a]
            for b, other in enumerate(one.classes):
                told = float(held[:, b].min()), float(np.median(held[:, b]))
                writer.writerow([str(one.norm), own, other, len(held), *told])
    return out.getvalue()


def scale_chart(found: Scale) -> Chart:
    """How far the nearest sample of the same class and of another class is."""
    series = [Series("same class", found.same, mark(0)), Series("another class", found.other, mark(1))]
    norm = NAMES[found.norm]
    return histogram(Frame(f"Nearest neighbours, {norm}", f"{norm} distance", "share of samples", 360, 240), series)
