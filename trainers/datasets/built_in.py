"""The data set that needs no file: scikit-learn's digits."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from trainers.datasets.base import Dataset, Place, Source

TRAIN_SAMPLES = 1400


class Digits(Source):
    """1,797 handwritten digits of 8x8 pixels."""

    name: ClassVar[str] = "digits"
    input_shape = (1, 8, 8)
    classes = 10

    def read(self, split: str, place: Place) -> Dataset:
        del place
        return digits(split)


def digits(split: str = "test") -> Dataset:
    """scikit-learn's 8x8 digits, flat, pixels / 16: the first 1400 train, the last 397 test, in their own order."""
    from sklearn.datasets import load_digits  # kept out of the import path: it takes a second

    bunch = load_digits()
    part = slice(None, TRAIN_SAMPLES) if split == "train" else slice(TRAIN_SAMPLES, None)
    x = (np.asarray(bunch.data, dtype=np.float32) / np.float32(16))[part]
    return Dataset(x, np.asarray(bunch.target, dtype=np.int64)[part])
