"""The table of data sets, each with a train and a test split: a new one is a class and a line here, or a plugin."""

from __future__ import annotations

from pathlib import Path

from encoders.errors import DataError
from encoders.plugins import Table
from trainers.datasets.base import Dataset as Dataset
from trainers.datasets.base import Place as Place
from trainers.datasets.base import Source as Source
from trainers.datasets.built_in import Digits
from trainers.datasets.built_in import digits as digits
from trainers.datasets.cifar import Cifar10
from trainers.datasets.gtsrb import Gtsrb
from trainers.datasets.idx import FashionMnist, Mnist
from trainers.datasets.local import ArrayFile

KINDS: tuple[type[Source], ...] = (Digits, Mnist, FashionMnist, Cifar10, Gtsrb)
SOURCES: Table[type[Source]] = Table("plumbline.datasets", "data", Source, {kind.name: kind for kind in KINDS})
DATASETS = tuple(SOURCES)


def check_source(name: str, train_samples: int | None = None) -> None:
    """Refuse what `source` would refuse, reading nothing."""
    if Path(name).suffix.lower() == ".npz":
        if not Path(name).is_file():
            raise DataError(f"{name}: no such file")
        return
    SOURCES.check(name)
    if train_samples is not None:
        raise DataError(f"{name} has a train and a test split of its own; --train-samples is for .npz files")


def source(name: str, train_samples: int | None = None) -> Source:
    """A data set by name, or an .npz of the user's (of which `train_samples` train)."""
    check_source(name, train_samples)
    return ArrayFile(Path(name), train_samples) if Path(name).suffix.lower() == ".npz" else SOURCES.found(name)()


def load(name: str, split: str = "test", place: Place | None = None) -> Dataset:
    """The `train` or `test` split of a data set, by name."""
    return source(name).load(split, place)
