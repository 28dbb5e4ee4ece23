"""Whether one variant beats another: a paired test for every pair, corrected for all of them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from encoders.arrays import FloatArray
from encoders.question import Norm
from verifier.studies.comparison.statistics import Group

ENUMERATED = 50  # differences other than zero: up to so many, all their signs are counted


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
    low, high = better.lower.mean(0), worse.upper.mean(0)
    with np.errstate(invalid="ignore"):
        difference = np.nan_to_num(low - high, nan=0.0, posinf=1e300, neginf=-1e300)
    if not difference.any():
        return 1.0, 0.0
    return signed_rank(difference), float(low.mean() - high.mean())


def signed_rank(difference: FloatArray) -> float:
    """One-sided p of Wilcoxon's signed-rank test with Pratt's zeros: how likely so many positive ranks are by chance.

    Exact where few differences are not zero, whatever ties there are: four samples that agree among a hundred zeros
    are four coin flips, for which the normal approximation claims less than half the p.
    """
    from scipy.stats import rankdata, wilcoxon

    moved = difference != 0
    if moved.sum() > ENUMERATED:
        return float(wilcoxon(difference, alternative="greater", zero_method="pratt").pvalue)
    ranks = np.rint(2 * rankdata(np.abs(difference))).astype(int)  # doubled: those of ties may be halves
    chance = np.zeros(ranks[moved].sum() + 1)
    chance[0] = 1.0
    for rank in ranks[moved]:
        chance = (chance + np.concatenate([np.zeros(rank), chance[:-rank]])) / 2
    return float(min(1.0, chance[ranks[difference > 0].sum() :].sum()))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction: the k-th smallest of m times m - k + 1, never below the one before, at most 1."""
    order = np.argsort(p_values, kind="stable")
    corrected, so_far = [0.0] * len(p_values), 0.0
    for rank, position in enumerate(order):
        so_far = max(so_far, min(1.0, (len(p_values) - rank) * p_values[position]))
        corrected[position] = so_far
    return corrected
