"""A report's records as arrays, and what is read off them: shares within a radius, ratios to the exact distance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from encoders.arrays import FloatArray
from encoders.question import Norm
from verifier.question.results import Verdict
from verifier.runs.journal import Record

SAME = 1e-4  # relative: a technique this near the exact distance has found it
CURVE_POINTS = 161


class Kind(StrEnum):
    """On which side of the exact distance a technique stays; an estimate may lie on either."""

    BOUND = "lower bound"
    ATTACK = "attack"
    ESTIMATE = "estimate, no bound"


@dataclass(frozen=True, eq=False)
class Technique:
    """One bound or attack on every sample; arrays [samples], 0 where the sample is misclassified."""

    name: str
    kind: Kind
    distance: FloatArray
    seconds: FloatArray


@dataclass(frozen=True, eq=False)
class Collected:
    """All samples in one norm. A misclassified sample has distance 0 on both sides."""

    norm: Norm
    indices: tuple[int, ...]
    records: tuple[Record, ...]
    correct: NDArray[np.bool_]
    lower: FloatArray
    upper: FloatArray
    seconds: FloatArray
    closed: NDArray[np.bool_]
    techniques: tuple[Technique, ...]

    @property
    def open(self) -> int:
        """How many inputs have a distance that is not exact."""
        return int((~self.closed).sum())

    def ratios(self, technique: Technique) -> FloatArray:
        """Technique / exact, on the samples that are closed with a finite distance above zero."""
        usable = self.closed & self.correct & np.isfinite(self.upper) & (self.upper > 0)
        return np.asarray(technique.distance[usable] / self.upper[usable])

    def radii(self) -> FloatArray:
        """From 0 to beyond the farthest adversary that most samples have."""
        known = self.upper[np.isfinite(self.upper)]
        most = float(np.quantile(known, 0.99)) if known.size else 1.0
        return np.linspace(0.0, 1.3 * most if most > 0 else 1.0, CURVE_POINTS)


def within(distances: FloatArray, radii: FloatArray) -> FloatArray:
    """The share of samples with a distance of at most each radius."""
    ordered = np.sort(distances)
    return np.asarray(np.searchsorted(ordered, radii, side="right") / max(1, ordered.size))


def collected(norm: Norm, records: Sequence[Record]) -> Collected:
    """The lines of one norm's journal."""
    right = np.array([record["verdict"] != Verdict.MISCLASSIFIED for record in records], dtype=bool)
    techniques = []
    for kind, key in ((Kind.BOUND, "bounds"), (Kind.ATTACK, "attacks"), (Kind.ESTIMATE, "estimates")):
        for name in dict.fromkeys(name for record in records for name in record[key]):
            held = [record[key].get(name, {"distance": 0.0, "seconds": 0.0}) for record in records]
            distance = np.array([float(one["distance"]) for one in held])
            techniques.append(Technique(name, kind, distance, np.array([float(one["seconds"]) for one in held])))
    return Collected(
        norm,
        tuple(int(record["index"]) for record in records),
        tuple(records),
        right,
        _column(records, "lower"),
        _column(records, "upper"),
        _column(records, "seconds"),
        np.array([record["verdict"] != Verdict.UNRESOLVED for record in records], dtype=bool),
        tuple(techniques),
    )


@dataclass(frozen=True)
class Tightness:
    """How near one technique comes, and what it costs. Ratios are NaN where no sample is closed."""

    median: float
    low: float  # the tenth percentile of technique / exact
    high: float  # the ninetieth
    found: float  # share of samples on which it is the exact distance
    seconds: float  # median per sample


def tightness(found: Collected, technique: Technique) -> Tightness:
    """Over the samples whose exact distance is known; an attack that found nothing counts as infinitely far."""
    ratios = found.ratios(technique)
    spent = technique.seconds[found.correct]
    seconds = float(np.median(spent)) if spent.size else 0.0
    if not ratios.size:
        return Tightness(np.nan, np.nan, np.nan, np.nan, seconds)
    low, median, high = (float(np.quantile(ratios, q, method="nearest")) for q in (0.1, 0.5, 0.9))
    return Tightness(median, low, high, float((np.abs(ratios - 1.0) <= SAME).mean()), seconds)


def _column(records: Sequence[Record], name: str) -> FloatArray:
    return np.array([float(record[name]) for record in records])
