"""A data set of the user's: an .npz with `x` and `y`, of which the first part trains and the rest tests."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path
from typing import ClassVar

import numpy as np

from encoders.errors import DataError
from trainers.datasets.base import Dataset, Place, Source, pixels

TRAIN_SHARE = 0.8


class ArrayFile(Source):
    """`train_samples` of the file's samples, from the first on, train (default: four fifths); the rest test.

    Bytes are divided by 255. Images without channels get one; flat inputs of a square size are images.
    """

    name: ClassVar[str] = "npz"

    def __init__(self, path: Path, train_samples: int | None = None) -> None:
        try:
            with np.load(path, allow_pickle=False) as held:
                x, y = held["x"], held["y"]
        except FileNotFoundError:
            raise DataError(f"{path}: no such file") from None
        except (KeyError, TypeError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise DataError(f"{path}: give an .npz with x and y ({error})") from None
        if y.dtype.kind not in "ui" or y.shape != x.shape[:1] or not len(x):
            raise DataError(
                f"{path}: y holds {y.dtype} of shape {y.shape}; give one whole number for each of {len(x)} x"
            )
        count = round(TRAIN_SHARE * len(x)) if train_samples is None else train_samples
        if not 0 < count < len(x):
            raise DataError(f"{path}: {count} training samples of {len(x)}; leave some to test, and some to train")
        shape = x.shape[1:]
        side = math.isqrt(math.prod(shape))
        if len(shape) == 2:
            shape = (1, *shape)
        elif len(shape) == 1 and side * side == shape[0]:
            shape = (1, side, side)
        self.input_shape = tuple(shape)
        values = pixels(x) if x.dtype == np.uint8 else x.astype(np.float32)
        self._data = Dataset(values.reshape(-1, *self.input_shape), y.astype(np.int64))
        self.classes = int(y.max()) + 1
        self._train = count

    def read(self, split: str, place: Place) -> Dataset:
        del place
        part = slice(None, self._train) if split == "train" else slice(self._train, None)
        return Dataset(self._data.x[part], self._data.y[part])
