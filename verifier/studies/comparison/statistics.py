"""What may be said of measured distances: means with intervals, curves with bands, paired tests, crossings.

A misclassified sample counts with distance 0, an open one with both sides of its bracket: nothing is dropped, and
every figure has the lower side from the lower ends and the upper side from the upper ends.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from encoders.arrays import FloatArray
from encoders.errors import DataError
from encoders.question import Norm
from verifier.studies.comparison.measure import Measured

CURVE_POINTS = 121


@dataclass(frozen=True, eq=False)
class Group:
    """One variant in one norm: its networks, one a seed; arrays [seeds, samples]."""

    family: str
    variant: str
    norm: Norm
    members: tuple[Measured, ...]
    accuracy: FloatArray  # [seeds], over the whole test data
    correct: NDArray[np.bool_]
    lower: FloatArray
    upper: FloatArray
    attack: FloatArray

    def robust(self, radius: float) -> tuple[float, float]:
        """Share of samples proven robust at the radius, and share not falsified there."""
        return float((self.lower > radius).mean()), float((self.upper > radius).mean())


def grouped(measured: Sequence[Measured]) -> tuple[Group, ...]:
    """Networks of one variant and norm together, in the order of their first member."""
    keys = dict.fromkeys((one.subject.variant, one.norm) for one in measured)
    groups = []
    for variant, norm in keys:
        members = tuple(one for one in measured if (one.subject.variant, one.norm) == (variant, norm))
        if len({one.indices for one in members}) > 1:
            raise DataError(f"{variant}: its networks were measured on different samples")
        groups.append(
            Group(
                members[0].subject.family,
                variant,
                norm,
                members,
                np.array([one.accuracy for one in members]),
                np.stack([one.correct for one in members]),
                np.stack([one.lower for one in members]),
                np.stack([one.upper for one in members]),
                np.stack([one.attack for one in members]),
            )
        )
    return tuple(groups)


@dataclass(frozen=True)
class Estimate:
    """A figure whose true value on these samples lies in [lower, upper]; `interval` adds seeds and samples."""

    lower: float
    upper: float
    interval: tuple[float, float]


def mean_distance(group: Group, resamples: int, level: float, seed: int) -> Estimate:
    """Mean distance, with a bootstrap interval over seeds and samples (both drawn again, samples alike for all seeds).

    Its low end comes from the lower ends of the brackets, its high end from the upper ones. With few seeds it says
    little about other seeds: three of them have only ten different resamples.
    """
    rng = np.random.default_rng(seed)
    seeds, samples = group.lower.shape
    picked_seeds = rng.integers(0, seeds, (resamples, seeds))
    weights = np.stack([np.bincount(row, minlength=samples) for row in rng.integers(0, samples, (resamples, samples))])
    ends = []
    for values, quantile, method in (
        (group.lower, (1 - level) / 2, "lower"),
        (group.upper, (1 + level) / 2, "higher"),
    ):
        finite = np.where(np.isfinite(values), values, 0.0)
        infinite = (weights @ ~np.isfinite(values).T > 0).astype(float)  # [resamples, seeds]
        means = np.take_along_axis(weights @ finite.T / samples, picked_seeds, 1).mean(1)
        means[np.take_along_axis(infinite, picked_seeds, 1).any(1)] = np.inf
        ends.append(float(np.quantile(means, quantile, method=method)))  # type: ignore[call-overload]
    return Estimate(float(group.lower.mean()), float(group.upper.mean()), (ends[0], ends[1]))


def median_distance(group: Group) -> tuple[float, float]:
    """Median over all seeds and samples, from both sides; the middle one of the sorted (the lower of two)."""
    low, high = (np.quantile(values, 0.5, method="lower") for values in (group.lower, group.upper))
    return float(low), float(high)


@dataclass(frozen=True, eq=False)
class Curve:
    """Robust accuracy over the radius: proven, not falsified, and as the attack draws it."""

    radii: FloatArray
    proven: FloatArray
    possible: FloatArray
    attacked: FloatArray


def curve(group: Group, radii: FloatArray) -> Curve:
    """The share of samples and seeds with a distance beyond each radius."""

    def share(values: FloatArray) -> FloatArray:
        ordered = np.sort(values.reshape(-1))
        return np.asarray(1.0 - np.searchsorted(ordered, radii, side="right") / ordered.size)

    return Curve(radii, share(group.lower), share(group.upper), share(group.attack))


def radii_for(groups: Sequence[Group]) -> FloatArray:
    """Radii from 0 to where almost every curve has come down."""
    finite = np.concatenate([group.lower[np.isfinite(group.lower)] for group in groups])
    most = float(np.quantile(finite, 0.995)) if finite.size else 1.0
    return np.linspace(0.0, most or 1.0, CURVE_POINTS)


@dataclass(frozen=True)
class Crossing:
    """`first` is proven ahead up to `below`, `second` from `above` on: their curves cross in between."""

    norm: Norm
    first: str
    second: str
    below: float
    above: float


def crossings(norm: Norm, curves: Sequence[tuple[str, Curve]], samples: int) -> list[Crossing]:
    """Where one variant's proven curve leads another's possible one, and then the lead has changed hands.

    A lead counts from one standard error of a share at one half on, 0.5/√samples: less is the noise of the steps.
    """
    found, margin = [], 0.5 / samples**0.5
    for (name, one), (other_name, other) in itertools.combinations(curves, 2):
        leads = np.zeros(len(one.radii), dtype=int)
        leads[one.proven >= other.possible + margin] = 1
        leads[other.proven >= one.possible + margin] = -1
        places = np.flatnonzero(leads)
        for before, after in itertools.pairwise(places):
            if leads[before] != leads[after]:
                first, second = (name, other_name) if leads[before] > 0 else (other_name, name)
                found.append(Crossing(norm, first, second, float(one.radii[before]), float(one.radii[after])))
    return found
