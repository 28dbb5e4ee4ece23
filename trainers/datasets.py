"""The data sets that need no download: inputs as float32 in [0, 1], labels as integers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from encoders.errors import DataError

DATASETS = ("digits",)
TRAIN_SAMPLES = 1400


@dataclass(frozen=True, eq=False)
class Dataset:
    """Inputs [N, ...] and labels [N] of one split, in a fixed order."""

    x: NDArray[np.float32]
    y: NDArray[np.int64]


def load(name: str, split: str = "test") -> Dataset:
    """The `train` or `test` split of a built-in data set, by name."""
    if name not in DATASETS:
        raise DataError(f"no built-in data set is called {name!r}; there is: {', '.join(DATASETS)}")
    if split not in ("train", "test"):
        raise DataError(f"no split is called {split!r}; there are: train, test")
    return digits(split)


def digits(split: str = "test") -> Dataset:
    """scikit-learn's 8x8 digits, flat, pixels / 16: the first 1400 train, the last 397 test, in their own order."""
    from sklearn.datasets import load_digits  # kept out of the import path: it takes a second

    bunch = load_digits()
    part = slice(None, TRAIN_SAMPLES) if split == "train" else slice(TRAIN_SAMPLES, None)
    x = (np.asarray(bunch.data, dtype=np.float32) / np.float32(16))[part]
    return Dataset(x, np.asarray(bunch.target, dtype=np.int64)[part])
