"""Bootstrap bounds that hold at once: over all radii of a curve, and over all pairs of curves.

Samples are drawn again with replacement, the same draws for every network, so that pairs stay pairs. A bound is the
estimate less `c` standard errors, where `c` is the quantile, over the draws, of the largest deviation in standard
errors *anywhere*: all bounds hold together with the level's probability. Where no drawn sample differs, a bootstrap
sees no error at all; `unseen` is what is allowed for there.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from encoders.arrays import FloatArray
from encoders.validation import Level, Natural, Whole, validated

RULE_OF_THREE = 3.0  # an event that n samples do not show has a share of at most 3/n, at 95 %


@dataclass(frozen=True, eq=False)
class Drawn:
    """Means of columns over the samples [columns], and over the samples as drawn again [resamples, columns].

    A column that holds an infinity is infinite in all of them.
    """

    mean: FloatArray
    again: FloatArray

    def __neg__(self) -> Drawn:
        return Drawn(-self.mean, -self.again)

    def __sub__(self, other: Drawn) -> Drawn:
        with np.errstate(invalid="ignore"):
            return Drawn(self.mean - other.mean, self.again - other.again)


@validated
class Resampling:
    """How often samples are drawn again, at which level bounds hold, and the seed of the draws."""

    resamples: Natural = 2000
    level: Level = 0.95
    seed: Whole = 0

    def weights(self, samples: int) -> FloatArray:
        """How much each sample counts in each draw: [resamples, samples], rows summing to one."""
        rows = np.random.default_rng(self.seed).integers(0, samples, (self.resamples, samples))
        return np.stack([np.bincount(row, minlength=samples) for row in rows]) / samples

    def drawn(self, values: Iterable[FloatArray]) -> list[Drawn]:
        """Means of arrays [samples, columns], drawn alike for all of them."""
        found, weights = [], None
        for held in values:
            weights = self.weights(len(held)) if weights is None else weights
            finite = np.isfinite(held)
            spoiled = ~finite.all(axis=0)
            again = weights @ np.where(finite, held, 0.0)
            again[:, spoiled] = held.sum(axis=0)[spoiled]
            found.append(Drawn(held.mean(axis=0), again))
        return found

    def lower_bounds(self, parts: Iterable[Drawn], unseen: float = 0.0) -> list[FloatArray]:
        """Bounds below the true means of all columns of all parts, that hold together.

        -inf where a mean could be anything, as a difference of two infinite ones; the mean itself where it is infinite.
        """
        estimates, errors, worst = list[FloatArray](), list[FloatArray](), np.zeros(self.resamples)
        for part in parts:
            known = np.isfinite(part.mean)
            deviations = np.where(known, part.again - np.where(known, part.mean, 0.0), 0.0)
            error = deviations.std(axis=0)
            worst = np.maximum(worst, (deviations / np.where(error > 0, error, 1.0)).max(axis=1, initial=0.0))
            estimates.append(np.where(np.isnan(part.mean), -np.inf, part.mean))
            errors.append(error)
        most = float(np.quantile(worst, self.level, method="higher"))
        return [mean - np.maximum(most * error, unseen) for mean, error in zip(estimates, errors, strict=True)]
