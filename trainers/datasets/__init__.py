"""The table of data sets, each with a train and a test split: a new one is a class and a line here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from encoders.errors import DataError
from trainers.datasets.base import Dataset as Dataset
from trainers.datasets.base import Place as Place
from trainers.datasets.base import Source as Source
from trainers.datasets.built_in import Digits
from trainers.datasets.built_in import digits as digits
from trainers.datasets.cifar import Cifar10
from trainers.datasets.gtsrb import Gtsrb
from trainers.datasets.idx import FashionMnist, Mnist
from trainers.datasets.local import ArrayFile

SOURCES: Mapping[str, type[Source]] = {kind.name: kind for kind in (Digits, Mnist, FashionMnist, Cifar10, Gtsrb)}
DATASETS = tuple(SOURCES)


def source(name: str, train_samples: int | None = None) -> Source:
    """A data set by name, or an .npz of the user's (of which `train_samples` train)."""
    if name in SOURCES:
        if train_samples is not None:
            raise DataError(f"{name} has a train and a test split of its own; --train-samples is for .npz files")
        return SOURCES[name]()
    if Path(name).suffix.lower() == ".npz":
        return ArrayFile(Path(name), train_samples)
    raise DataError(f"no data set is called {name!r}; there are: {', '.join(SOURCES)}, or an .npz with x and y")


def load(name: str, split: str = "test", place: Place | None = None) -> Dataset:
    """The `train` or `test` split of a data set, by name."""
    return source(name).load(split, place)
