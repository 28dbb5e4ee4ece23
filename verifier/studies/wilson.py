"""Wilson's interval of a share: what so few samples tell of all that they were drawn from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from encoders.arrays import FloatArray
from verifier.pages.wording import share

LEVEL = 0.95
WITHIN = 1.959963984540054  # standard deviations of a normal that hold the level's part of it


def wilson(share: FloatArray | float, samples: int) -> tuple[FloatArray, FloatArray]:
    """The shares of the whole that such a share of the samples does not speak against; 0 to 1 where there are none.

    Unlike the normal approximation it keeps to [0, 1], and says something where none or all of the samples count.
    """
    held = np.asarray(share, np.float64)
    if not samples:
        return np.zeros_like(held), np.ones_like(held)
    spread = WITHIN**2 / samples
    middle = (held + spread / 2) / (1 + spread)
    half = WITHIN / (1 + spread) * np.sqrt(held * (1 - held) / samples + spread / (4 * samples))
    low = np.where(held == 0.0, 0.0, np.clip(middle - half, 0.0, 1.0))
    return low, np.where(held == 1.0, 1.0, np.clip(middle + half, 0.0, 1.0))


@dataclass(frozen=True)
class Share:
    """How many of the samples count: at least `low`, at most `high`, which differ where some are undecided."""

    low: int
    high: int
    samples: int

    @property
    def interval(self) -> tuple[float, float]:
        """Of the whole that the samples were drawn from: below from the low side, above from the high one."""
        if not self.samples:
            return 0.0, 1.0
        return (
            float(wilson(self.low / self.samples, self.samples)[0]),
            float(wilson(self.high / self.samples, self.samples)[1]),
        )

    def told(self) -> str:
        """In per cent: `62.5%`, or `50.0% to 75.0%`."""
        if not self.samples:
            return "–"
        return share(self.low / self.samples, self.high / self.samples)

    def interval_told(self) -> str:
        """The interval in per cent."""
        return share(*self.interval) if self.samples else "–"
