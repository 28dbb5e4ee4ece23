"""How long a report may take: seconds for all of it, kept by giving each sample its share of what is left."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from encoders.errors import OptionError, PlumblineError

OF_THE_QUESTION = 0.5  # of a sample's share: what its exact distance may take, before bounds and attacks
LEAST = 0.05  # seconds: with less no sample is begun
BEFORE_AND_AFTER = 4.0  # seconds that reading the model and writing the files take, and for each norm:
EACH_NORM = 3.0


class OutOfBudgetError(PlumblineError):
    """A sample that is not begun, because the report's time is spent."""


@dataclass(frozen=True)
class Budget:
    """What the samples of one norm may take together, until `ends` (of `time.time`, which processes have in common).

    `places` is the order in which samples are begun, in `jobs` processes.
    """

    ends: float
    places: Mapping[int, int]
    jobs: int = 1

    def share(self, index: int, beside: int) -> float:
        """Seconds for a sample that begins now, `beside` of them side by side in each process.

        Those that run already are counted as if they had just begun, so that all shares together stay within the time.
        """
        left = max(0.0, self.ends - time.time())
        place = self.places[index]
        unfinished = len(self.places) - place + min(place, self.jobs * beside - 1)
        share = left * self.jobs / unfinished
        if share < LEAST:
            raise OutOfBudgetError(f"sample {index} is not begun: the report's time is spent; give more --budget")
        return share


def measuring_time(budget: float, norms: int) -> float:
    """What of the whole is left for measuring; refused where that is nothing."""
    aside = BEFORE_AND_AFTER + EACH_NORM * norms
    if budget <= aside:
        raise OptionError(f"budget {budget:g}: reading the model and writing the page take {aside:g} s; give more")
    return budget - aside
