"""Bootstrap bounds that hold at once: over all radii of a curve, and over all pairs of curves.

Samples are drawn again with replacement, the same draws for every network, so that pairs stay pairs. A bound is the
estimate less `c` standard errors, where `c` is the quantile, over the draws, of the largest deviation in standard
errors *anywhere*: all bounds hold together with the level's probability. Few samples tell little of their own spread,
so that `c` is widened as Student's quantiles are. Where no drawn sample differs, a bootstrap sees no error at all;
`unseen` is what is allowed for there.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from encoders.arrays import FloatArray
from encoders.validation import Level, Natural, Whole, validated

RULE_OF_THREE = 3.0  # an event that n samples do not show has a share of at most 3/n, at 95 %


@dataclass(frozen=True, eq=False)
class Drawn:
    """Means of columns over `samples` [columns], and over the samples as drawn again [resamples, columns].

    A column that holds an infinity is infinite in all of them.
    """

    mean: FloatArray
    again: FloatArray
    samples: int

    def __neg__(self) -> Drawn:
        return replace(self, mean=-self.mean, again=-self.again)

    def __sub__(self, other: Drawn) -> Drawn:
        with np.errstate(invalid="ignore"):
            return replace(self, mean=self.mean - other.mean, again=self.again - other.again)


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
            found.append(Drawn(held.mean(axis=0), again, len(held)))
        return found

    def lower_bounds(self, parts: Iterable[Drawn], unseen: float = 0.0) -> list[FloatArray]:
        """Bounds below the true means of all columns of all parts, that hold together.

        -inf where a mean could be anything, as a difference of two infinite ones, or one of a single sample; the mean
        itself where it is infinite.
        """
        estimates, errors, worst, samples = list[FloatArray](), list[FloatArray](), np.zeros(self.resamples), 1
        for part in parts:
            known = np.isfinite(part.mean)
            deviations = np.where(known, part.again - np.where(known, part.mean, 0.0), 0.0)
            error = deviations.std(axis=0)
            worst = np.maximum(worst, (deviations / np.where(error > 0, error, 1.0)).max(axis=1, initial=0.0))
            estimates.append(np.where(np.isnan(part.mean), -np.inf, part.mean))
            errors.append(error if part.samples > 1 else np.where(known, np.inf, 0.0))
            samples = part.samples
        most = self.widened(float(np.quantile(worst, self.level, method="higher")), samples)
        return [mean - np.maximum(most * error, unseen) for mean, error in zip(estimates, errors, strict=True)]

    def unseen(self, samples: int, bounds: int) -> float:
        """The share of an event that none of the samples shows, at the level for so many bounds at once."""
        return float(np.log(bounds / (1 - self.level)) / samples)

    def widened(self, most: float, samples: int) -> float:
        """`most` standard errors, as many as a normal mean would need, for a spread that so few samples tell of.

        At least the normal quantile: the draws of very few samples are too few to deviate as far as samples do.
        """
        from scipy.special import ndtr, ndtri, stdtrit

        most = max(most, float(ndtri((1 + self.level) / 2)))
        if samples < 2:
            return most
        return float(-stdtrit(samples - 1, ndtr(-most)) * np.sqrt(samples / (samples - 1)))
