"""Differences with intervals: mean distances against the baseline's, and how often an attack overestimates them.

All intervals of one norm hold at once. An open bracket widens them and can hide a difference, but not make one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from encoders.arrays import FloatArray
from encoders.question import Norm
from verifier.studies.comparison.bands import RULE_OF_THREE, Drawn, Resampling
from verifier.studies.comparison.statistics import Group

FARTHER = 0.05  # relative: an adversary this much farther than the nearest overestimates the distance


@dataclass(frozen=True)
class Difference:
    """How much larger the mean distances of `variant` are than those of `baseline`: its bracket, and its interval.

    The intervals of all variants of a norm hold at once; one that leaves out zero is a difference.
    """

    norm: Norm
    variant: str
    baseline: str
    lower: float
    upper: float
    interval: tuple[float, float]


def differences(groups: Sequence[Group], baseline: Group, how: Resampling) -> list[Difference]:
    """Every other variant against the baseline, paired by sample."""
    others = [group for group in groups if group is not baseline]
    low, base_low = _means([group.lower for group in others], how), _means([baseline.lower], how)[0]
    high, base_high = _means([group.upper for group in others], how), _means([baseline.upper], how)[0]
    bounds = how.lower_bounds([*(one - base_high for one in low), *(base_low - one for one in high)])
    return [
        Difference(
            group.norm, group.variant, baseline.variant,
            _certain((low[k] - base_high).mean[0], -np.inf), _certain((high[k] - base_low).mean[0], np.inf),
            (float(bounds[k][0]), -float(bounds[len(others) + k][0])),
        )
        for k, group in enumerate(others)
    ]  # fmt: skip


def _means(distances: Sequence[FloatArray], how: Resampling) -> list[Drawn]:
    return how.drawn(one.mean(axis=0)[:, None] for one in distances)


def _certain(value: float, otherwise: float) -> float:
    """The value; a difference of two infinities could be anything."""
    return otherwise if np.isnan(value) else float(value)


@dataclass(frozen=True)
class Overestimate:
    """On what share of the samples an attack's adversary is clearly farther than the nearest, and its interval.

    `oftener` and `rarer` say whether it is so more or less often than on the baseline. All of a norm hold at once.
    """

    norm: Norm
    variant: str
    attack: str
    lower: float
    upper: float
    interval: tuple[float, float]
    oftener: bool = False
    rarer: bool = False


def overestimates(
    groups: Sequence[Group], baseline: Group | None, names: tuple[str, str], how: Resampling
) -> list[Overestimate]:
    """Both attacks on every variant. An open sample counts where its attack is farther than the *upper* end."""
    low, high, keys = list[FloatArray](), list[FloatArray](), list[tuple[str, Group]]()
    for name in dict.fromkeys(names):
        for group in groups:
            far = group.typical if name == names[0] else group.strongest
            keys.append((name, group))
            low.append((group.correct & (far > (1 + FARTHER) * group.upper)).mean(0)[:, None])
            high.append((group.correct & (far > (1 + FARTHER) * group.lower)).mean(0)[:, None])
    sure, may = how.drawn(low), how.drawn(high)
    samples = groups[0].lower.shape[1]
    sides = how.lower_bounds([*sure, *(-one for one in may)], how.unseen(samples, len(keys)))
    unseen = RULE_OF_THREE / samples  # of each of two shares
    base = {name: k for k, (name, group) in enumerate(keys) if group is baseline}
    more = how.lower_bounds((sure[k] - may[base[name]] for k, (name, _) in enumerate(keys) if base), 2 * unseen)
    less = how.lower_bounds((sure[base[name]] - may[k] for k, (name, _) in enumerate(keys) if base), 2 * unseen)
    return [
        Overestimate(
            group.norm, group.variant, name, float(sure[k].mean[0]), float(may[k].mean[0]),
            (max(0.0, float(sides[k][0])), min(1.0, -float(sides[len(keys) + k][0]))),
            bool(base) and bool(more[k][0] > 0), bool(base) and bool(less[k][0] > 0),
        )
        for k, (name, group) in enumerate(keys)
    ]  # fmt: skip
