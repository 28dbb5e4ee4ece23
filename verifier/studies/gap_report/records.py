"""A report's records as arrays, and what is read off them: shares robust at a radius, ratios to the exact distance."""

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
from verifier.studies.wilson import Share

SAME = 1e-4  # relative: a technique this near the exact distance has found it
CURVE_POINTS = 161
TOLD_RADII = 8  # at the most, where none is asked for
FARTHEST_TOLD = 0.9  # of the samples have an adversary nearer than the last of them, or may have


class Kind(StrEnum):
    """On which side of the exact distance a technique stays; an estimate may lie on either."""

    BOUND = "lower bound"
    ATTACK = "attack"
    ESTIMATE = "estimate, no bound"


HELD_UNDER = {Kind.BOUND: "bounds", Kind.ATTACK: "attacks", Kind.ESTIMATE: "estimates"}
"""Where a record holds what techniques of each kind found."""


@dataclass(frozen=True, eq=False)
class Technique:
    """One bound or attack on every sample; arrays [samples], distance 0 where the sample is misclassified.

    Where it did not run it says what it can without running: a bound 0, an attack infinity.
    """

    name: str
    kind: Kind
    distance: FloatArray
    seconds: FloatArray
    ran: NDArray[np.bool_]


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

    @property
    def right(self) -> int:
        """How many inputs are classified right."""
        return int(self.correct.sum())

    @property
    def exact(self) -> Share:
        """Those whose distance is exact, of the inputs that are right."""
        known = int((self.closed & self.correct).sum())
        return Share(known, known, self.right)

    @property
    def exact_seconds(self) -> float:
        """What the search for the exact distance takes of an input that is right, whether it ends there or not."""
        return median(self.seconds[self.correct])

    def sides(self, radius: float) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Which inputs are right with no adversary within the radius: proven, and not refuted.

        At 0 there is nothing to prove: an input that is right is right.
        """
        return (self.lower > radius, self.upper > radius) if radius > 0 else (self.correct, self.correct)

    def robust(self, radius: float) -> Share:
        """How many of all inputs they are."""
        proven, possible = self.sides(radius)
        return Share(int(proven.sum()), int(possible.sum()), len(self.indices))

    def ratios(self, technique: Technique) -> tuple[FloatArray, FloatArray]:
        """Technique / exact from both sides, on the samples that it ran on and whose nearest adversary is known.

        The distance lies in the sample's bracket, so the ratio lies between those to its ends; where the bracket is
        closed the two are one. A bound's ratio is at most 1 even where nothing is proven of the sample.
        """
        usable = technique.ran & self.correct & np.isfinite(self.upper) & (self.upper > 0)
        distance, upper = technique.distance[usable], self.upper[usable]
        lower = np.where(self.closed, self.upper, self.lower)[usable]
        most = 1.0 if technique.kind is Kind.BOUND else np.inf
        with np.errstate(divide="ignore", invalid="ignore"):
            high = np.where(lower > 0, distance / lower, most)
        return np.asarray(distance / upper), np.asarray(np.minimum(high, most))

    def radii(self) -> FloatArray:
        """From 0 to beyond the farthest adversary that most samples have; both ends of their brackets among them."""
        known = self.upper[np.isfinite(self.upper)]
        farthest = 1.1 * float(np.quantile(known, 0.99)) if known.size else 1.0
        farthest = farthest if farthest > 0 else 1.0
        ends = np.concatenate([self.lower, self.upper])
        return np.union1d(np.linspace(0.0, farthest, CURVE_POINTS), ends[ends <= farthest])

    def round_radii(self) -> tuple[float, ...]:
        """A few round radii along the curve, for a reader who named none."""
        ends = np.where(np.isfinite(self.upper), self.upper, self.lower)
        reach = float(np.quantile(ends, FARTHEST_TOLD)) if ends.size else 0.0
        if reach <= 0:
            return ()
        step = _round_step(reach / TOLD_RADII)
        return tuple(float(f"{k * step:.10g}") for k in range(1, max(1, int(reach / step + 1e-9)) + 1))


def _round_step(rough: float) -> float:
    """The least of 1, 2 and 5 times a power of ten that is at least this, so that multiples read well."""
    power = 10.0 ** np.floor(np.log10(rough))
    return float(power * next(factor for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9)))


def within(distances: FloatArray, radii: FloatArray) -> FloatArray:
    """The share of samples with a distance of at most each radius."""
    ordered = np.sort(distances)
    return np.asarray(np.searchsorted(ordered, radii, side="right") / max(1, ordered.size))


def _whole(record: Record) -> Record:
    """A line with all that a report reads: one of a sample that was stopped on its way holds its bracket alone."""
    return {"bounds": {}, "attacks": {}, "estimates": {}, "proven_by": record.get("engine"), **record}


def collected(norm: Norm, records: Sequence[Record]) -> Collected:
    """The lines of one norm's journal."""
    records = [_whole(record) for record in records]
    right = np.array([record["verdict"] != Verdict.MISCLASSIFIED for record in records], dtype=bool)
    techniques = []
    for kind, key in HELD_UNDER.items():
        nothing = {"distance": 0.0 if kind is Kind.BOUND else "inf", "seconds": 0.0}
        for name in dict.fromkeys(name for record in records for name in record[key]):
            held = [record[key].get(name, nothing) for record in records]
            distance = np.where(right, [float(one["distance"]) for one in held], 0.0)
            seconds = np.array([float(one["seconds"]) for one in held])
            ran = np.array([name in record[key] for record in records], dtype=bool)
            techniques.append(Technique(name, kind, distance, seconds, ran))
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
    """How near one technique comes, and what it costs. Ratios are NaN where no sample tells any.

    The two medians differ where distances are open: the true one lies between them.
    """

    median_low: float
    median_high: float
    low: float  # the tenth percentile of technique / exact
    high: float  # the ninetieth
    found: Share  # of the samples that it ran on, those on which it is the exact distance
    seconds: float  # median per sample


def tightness(found: Collected, technique: Technique) -> Tightness:
    """Over the samples that it ran on; an attack that found nothing counts as infinitely far."""
    lows, highs = found.ratios(technique)
    spent = technique.seconds[found.correct & technique.ran]
    seconds = median(spent) if spent.size else 0.0
    if not lows.size:
        return Tightness(np.nan, np.nan, np.nan, np.nan, Share(0, 0, 0), seconds)
    surely = (np.abs(lows - 1.0) <= SAME) & (np.abs(highs - 1.0) <= SAME)
    possibly = (lows <= 1.0 + SAME) & (highs >= 1.0 - SAME)
    return Tightness(
        median(lows), median(highs), _quantile(lows, 0.1), _quantile(highs, 0.9),
        Share(int(surely.sum()), int(possibly.sum()), lows.size), seconds,
    )  # fmt: skip


def best(found: Collected, kind: Kind) -> Technique | None:
    """The technique whose median comes nearest to the exact distance; of equals the one that it is on more samples."""

    def nearness(technique: Technique) -> tuple[float, int, float]:
        told = tightness(found, technique)
        near = told.median_low if kind is Kind.BOUND else -told.median_low
        return near, told.found.low, -told.seconds

    able = [one for one in found.techniques if one.kind is kind and found.ratios(one)[0].size]
    return max(able, key=nearness, default=None)


def median(values: FloatArray) -> float:
    """The middle one; of an even number the mean of the middle two, which may be infinite."""
    return float(np.median(values))


def _quantile(values: FloatArray, q: float) -> float:
    """The nearest of the values, so that infinite ones do no harm."""
    return float(np.quantile(values, q, method="nearest"))


def _column(records: Sequence[Record], name: str) -> FloatArray:
    return np.array([float(record[name]) for record in records])
