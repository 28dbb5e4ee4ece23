"""Robust accuracy over the radius from both ends of distances, with bands over other samples like these.

A network's distances come as their lower and their upper ends; the proven curve is of the one, the possible curve of
the other, and no number between the two is ever chosen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from encoders.arrays import FloatArray
from verifier.studies.comparison.bands import Drawn, Resampling

CURVE_POINTS = 121

Ends = tuple[FloatArray, FloatArray]
"""The lower and the upper ends of a network's distances, each [seeds, samples]."""


@dataclass(frozen=True, eq=False)
class Banded:
    """One curve as it is proven and as it is possible, and its band: [radii] each."""

    proven: Drawn
    possible: Drawn
    band: tuple[FloatArray, FloatArray]


def radii_for(distances: Sequence[Ends]) -> FloatArray:
    """Radii from 0 to where almost every curve has come down: what is not falsified, not only what is proven."""
    ends = np.concatenate([np.where(np.isfinite(upper), upper, lower).reshape(-1) for lower, upper in distances])
    ends = ends[np.isfinite(ends)]
    most = float(np.quantile(ends, 0.995)) if ends.size else 1.0
    return np.linspace(0.0, most or 1.0, CURVE_POINTS)


def beyond(distances: FloatArray, radii: FloatArray) -> FloatArray:
    """Of each sample, the share of seeds with a distance beyond each radius: [samples, radii]."""
    return np.asarray((distances[:, :, None] > radii).mean(axis=0))


def banded(distances: Sequence[Ends], radii: FloatArray, how: Resampling) -> list[Banded]:
    """The curve of each network; the bands hold at all radii and for all networks at once."""
    proven = how.drawn(beyond(lower, radii) for lower, _ in distances)
    possible = how.drawn(beyond(upper, radii) for _, upper in distances)
    unseen = how.unseen(distances[0][0].shape[1], 2 * len(distances))
    sides = how.lower_bounds([*proven, *(-one for one in possible)], unseen)
    lows, highs = sides[: len(proven)], sides[len(proven) :]
    return [
        Banded(one, other, (np.clip(low, 0.0, 1.0), np.clip(-high, 0.0, 1.0)))
        for one, other, low, high in zip(proven, possible, lows, highs, strict=True)
    ]
