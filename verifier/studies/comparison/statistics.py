"""What may be said of measured distances: means with intervals, curves with bands, crossings.

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
from verifier.studies.comparison.bands import RULE_OF_THREE, Drawn, Resampling
from verifier.studies.comparison.measure import Measured
from verifier.studies.comparison.robust_accuracy import Ends, banded, beyond, radii_for


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
    typical: FloatArray
    strongest: FloatArray

    @property
    def matched(self) -> bool:
        """Whether its accuracy on the validation split is the baseline's, nearly."""
        return self.members[0].subject.matched

    @property
    def ends(self) -> Ends:
        """Both ends of its distances."""
        return self.lower, self.upper

    @property
    def open(self) -> int:
        """How many of its distances are not exact."""
        return sum(int(one.open.sum()) for one in self.members)

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
                np.stack([one.typical for one in members]),
                np.stack([one.strongest for one in members]),
            )
        )
    return tuple(groups)


@dataclass(frozen=True)
class Estimate:
    """A figure whose true value on these samples lies in [lower, upper]; `interval` adds seeds and samples."""

    lower: float
    upper: float
    interval: tuple[float, float]


def mean_distance(group: Group, how: Resampling) -> Estimate:
    """Mean distance, with a bootstrap interval over seeds and samples (both drawn again, samples alike for all seeds).

    Its low end comes from the lower ends of the brackets, its high end from the upper ones. With few seeds it says
    little about other seeds: three of them have only ten different resamples.
    """
    rng = np.random.default_rng(how.seed)
    seeds, samples = group.lower.shape
    picked_seeds = rng.integers(0, seeds, (how.resamples, seeds))
    rows = rng.integers(0, samples, (how.resamples, samples))
    weights = np.stack([np.bincount(row, minlength=samples) for row in rows])
    ends = []
    for values, quantile, method in (
        (group.lower, (1 - how.level) / 2, "lower"),
        (group.upper, (1 + how.level) / 2, "higher"),
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
    """Robust accuracy over the radius: proven, not falsified, and as two attacks draw it.

    `band` are its two sides over other samples like these, all radii and all curves of the norm at once.
    """

    radii: FloatArray
    proven: FloatArray
    possible: FloatArray
    typical: FloatArray
    strongest: FloatArray
    band: tuple[FloatArray, FloatArray]


@dataclass(frozen=True)
class Crossing:
    """`first` is proven ahead up to `below`, `second` from `above` on: their curves cross in between."""

    norm: Norm
    first: str
    second: str
    below: float
    above: float


def curves(groups: Sequence[Group], how: Resampling) -> tuple[list[Curve], list[Crossing]]:
    """The curves of all variants of one norm over the same radii, and where they cross."""
    distances = [group.ends for group in groups]
    radii = radii_for(distances)
    drawn = banded(distances, radii, how)
    found = [
        Curve(
            radii, one.proven.mean, one.possible.mean, beyond(group.typical, radii).mean(0),
            beyond(group.strongest, radii).mean(0), one.band,
        )
        for group, one in zip(groups, drawn, strict=True)
    ]  # fmt: skip
    names = [group.variant for group in groups]
    proven, possible = [one.proven for one in drawn], [one.possible for one in drawn]
    ahead = leads(proven, possible, how, 2 * RULE_OF_THREE / groups[0].lower.shape[1])
    return found, crossings(groups[0].norm, names, radii, ahead)


Leads = dict[tuple[int, int], NDArray[np.bool_]]
"""Of the curves a and b: at which radii a is ahead of b, beyond the chance of these samples."""


def leads(proven: Sequence[Drawn], possible: Sequence[Drawn], how: Resampling, unseen: float) -> Leads:
    """Where one's proven curve is ahead of another's possible one, by a band over all radii and all pairs at once."""
    pairs = list(itertools.permutations(range(len(proven)), 2))
    bounds = how.lower_bounds((proven[a] - possible[b] for a, b in pairs), unseen)
    return {pair: bound > 0 for pair, bound in zip(pairs, bounds, strict=True)}


def crossings(norm: Norm, names: Sequence[str], radii: FloatArray, ahead: Leads) -> list[Crossing]:
    """Where one variant is ahead of another, and then the lead has changed hands."""
    found = []
    for a, b in itertools.combinations(range(len(names)), 2):
        lead = ahead[a, b].astype(int) - ahead[b, a].astype(int)
        for before, after in itertools.pairwise(np.flatnonzero(lead)):
            if lead[before] != lead[after]:
                first, second = (names[a], names[b]) if lead[before] > 0 else (names[b], names[a])
                found.append(Crossing(norm, first, second, float(radii[before]), float(radii[after])))
    return found
