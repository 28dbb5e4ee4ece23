"""Training samples set aside for choosing: what a strength is chosen by must be neither trained on nor the test split.

The split is drawn by a seed of its own, so that every network of a study, whatever its seed, is judged by the same
samples.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
from annotated_types import Gt, Lt
from pydantic import Strict

from encoders.errors import DataError
from encoders.validation import PLAIN, NaturalWithZero, validated
from trainers.datasets import Dataset


@validated
class Validation:
    """`share` of the training samples, drawn by `seed`."""

    share: Annotated[float, Strict(), Gt(0), Lt(1), PLAIN]
    seed: NaturalWithZero = 0

    def split(self, data: Dataset) -> tuple[Dataset, Dataset]:
        """What is left to train on, and what is set aside; each in the order of the data."""
        count = round(self.share * len(data.y))
        if not 0 < count < len(data.y):
            raise DataError(f"validation share {self.share:g}: {count} of {len(data.y)} samples; leave some to either")
        aside = np.zeros(len(data.y), dtype=bool)
        aside[np.random.default_rng(self.seed).permutation(len(data.y))[:count]] = True
        return Dataset(data.x[~aside], data.y[~aside]), Dataset(data.x[aside], data.y[aside])
