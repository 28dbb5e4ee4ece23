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

from encoders.errors import DataError
from encoders.linear_maps import FloatArray
from encoders.question import Norm
from verifier.compare.measure import Measured

CURVE_POINTS = 121


@dataclass(frozen=True, eq=False)
class Group:
    """One variant in one norm: its networks, one a seed; arrays [seeds, samples]."""

    family: str
    variant: str
    norm: Norm
    members: tuple[Measured, ...]
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


@dataclass(frozen=True)
class Comparison:
    """Whether `better` has larger distances than `worse`: a paired test over samples, corrected for all tests made."""

    norm: Norm
    better: str
    worse: str
    difference: float  # of the mean distances, the smallest that the brackets allow
    p_value: float
    corrected: float
    seeds_agreeing: int
    seeds: int

    def beats(self, level: float) -> bool:
        return self.corrected < 1.0 - level and self.difference > 0


def paired_tests(groups: Sequence[Group]) -> list[Comparison]:
    """Wilcoxon's signed-rank test for every pair of variants of a norm, then Holm's correction over all of them.

    A pair of figures belongs to one sample: the mean over the seeds of its distances under each variant. Where
    brackets are open, the better variant's lower end is held against the worse one's upper end, so that openness can
    hide a difference but not make one. The test speaks of these networks and of samples like these; whether it holds
    for other seeds is told by how many of them agree.
    """
    raw = []
    for one, other in itertools.combinations(groups, 2):
        if one.norm is not other.norm:
            continue
        ahead, behind = _one_sided(one, other), _one_sided(other, one)
        better, worse = (one, other) if ahead[0] <= behind[0] else (other, one)
        p_value, difference = min(ahead, behind)[0], (ahead if ahead[0] <= behind[0] else behind)[1]
        pairs = min(len(better.lower), len(worse.lower))
        agreeing = int((better.lower.mean(1)[:pairs] > worse.upper.mean(1)[:pairs]).sum())
        raw.append((one.norm, better.variant, worse.variant, difference, min(1.0, 2 * p_value), agreeing, pairs))
    corrected = holm([row[4] for row in raw])
    return [Comparison(*row[:5], adjusted, *row[5:]) for row, adjusted in zip(raw, corrected, strict=True)]


def _one_sided(better: Group, worse: Group) -> tuple[float, float]:
    """p of `better` being no better, and the smallest difference of the means."""
    from scipy.stats import wilcoxon

    low, high = better.lower.mean(0), worse.upper.mean(0)
    with np.errstate(invalid="ignore"):
        difference = np.nan_to_num(low - high, nan=0.0, posinf=1e300, neginf=-1e300)
    if not difference.any():
        return 1.0, 0.0
    p_value = wilcoxon(difference, alternative="greater", zero_method="pratt").pvalue
    return float(p_value), float(low.mean() - high.mean())


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction: the k-th smallest of m times m - k + 1, never below the one before, at most 1."""
    order = np.argsort(p_values, kind="stable")
    corrected, so_far = [0.0] * len(p_values), 0.0
    for rank, position in enumerate(order):
        so_far = max(so_far, min(1.0, (len(p_values) - rank) * p_values[position]))
        corrected[position] = so_far
    return corrected
