"""What every data set shares: two splits of inputs in [0, 1] with labels, read from files that are found or fetched."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, final

import numpy as np
from numpy.typing import NDArray

from encoders.errors import DataError

SPLITS = ("train", "test")


@dataclass(frozen=True, eq=False)
class Dataset:
    """Inputs [N, ...] and labels [N] of one split, in a fixed order."""

    x: NDArray[np.float32]
    y: NDArray[np.int64]


@dataclass(frozen=True)
class RemoteFile:
    """One file at the data set's home: where, and the MD5 that its publishers give for it."""

    name: str
    urls: tuple[str, ...]
    md5: str


@dataclass(frozen=True)
class Place:
    """Where files are looked for: `data_dir` (the user's own, never downloaded to), or else the cache."""

    data_dir: Path | None = None
    cache: Path | None = None


class Source(ABC):
    """One data set. Images have their channels first."""

    name: ClassVar[str]
    input_shape: tuple[int, ...]
    classes: int

    @abstractmethod
    def read(self, split: str, place: Place) -> Dataset:
        """The split's inputs, already in [0, 1], and labels; files come from `place`."""

    @final
    def load(self, split: str = "test", place: Place | None = None) -> Dataset:
        """One split, checked: as many labels as inputs, inputs in [0, 1] and of the promised size, labels in range."""
        if split not in SPLITS:
            raise DataError(f"no split is called {split!r}; there are: {', '.join(SPLITS)}")
        found = self.read(split, place or Place())
        if len(found.x) != len(found.y) or not len(found.x):
            raise DataError(f"{self.name}: the {split} split holds {len(found.x)} inputs and {len(found.y)} labels")
        if found.x[0].size != np.prod(self.input_shape):
            raise DataError(f"{self.name}: inputs of shape {found.x.shape[1:]}, not {self.input_shape}")
        if found.x.min() < 0 or found.x.max() > 1:
            raise DataError(f"{self.name}: inputs outside [0, 1]")
        if found.y.min() < 0 or found.y.max() >= self.classes:
            raise DataError(f"{self.name}: labels from {found.y.min()} to {found.y.max()}, of {self.classes} classes")
        return found


def pixels(values: NDArray[np.uint8]) -> NDArray[np.float32]:
    """8-bit values as float32 in [0, 1]."""
    return np.asarray(values.astype(np.float32) / np.float32(255))
