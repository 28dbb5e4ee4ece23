"""CIFAR-10, in its binary version (fetched) or its Python version (from a folder of the user's)."""

from __future__ import annotations

import io
import pickle
import tarfile
import zlib
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from encoders.errors import DataError
from trainers.datasets.base import Dataset, Place, RemoteFile, Source, pixels
from trainers.datasets.download import located

PIXELS = 3 * 32 * 32
BATCHES = {"train": tuple(f"data_batch_{k}" for k in range(1, 6)), "test": ("test_batch",)}
BINARY = RemoteFile(
    "cifar-10-binary.tar.gz",
    ("https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",),
    "c32a1d4ab5d03f1284b67883e8d87530",
)
PYTHON = "cifar-10-python.tar.gz"

Arrays = tuple[NDArray[np.uint8], NDArray[np.int64]]


class Cifar10(Source):
    """60,000 colour images of 32x32 pixels in ten classes (Krizhevsky)."""

    name: ClassVar[str] = "cifar10"
    input_shape = (3, 32, 32)
    classes = 10

    def read(self, split: str, place: Place) -> Dataset:
        found = [path for base in _folders(place) if (path := base / PYTHON).is_file()]
        path = found[0] if found else located(self.name, BINARY, place)
        suffix, decode = ("", from_pickle) if found else (".bin", from_binary)
        parts = [decode(path, member(path, name + suffix)) for name in BATCHES[split]]
        images, labels = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        return Dataset(pixels(images).reshape(-1, *self.input_shape), labels)


def _folders(place: Place) -> tuple[Path, ...]:
    return () if place.data_dir is None else (place.data_dir, place.data_dir / Cifar10.name)


def member(path: Path, name: str) -> bytes:
    """One file of a tar archive, by the last part of its name; nothing is unpacked to the disk."""
    try:
        with tarfile.open(path) as archive:
            for entry in archive:
                if entry.isfile() and Path(entry.name).name == name:
                    file = archive.extractfile(entry)
                    return b"" if file is None else file.read()
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise DataError(f"{path}: not a readable tar archive ({error})") from None
    raise DataError(f"{path}: holds no {name}")


def from_binary(path: Path, content: bytes) -> Arrays:
    """Rows of one label byte and 3,072 pixel bytes, channel by channel."""
    if not content or len(content) % (1 + PIXELS):
        raise DataError(f"{path}: a batch of {len(content)} bytes is not made of rows of {1 + PIXELS}")
    rows = np.frombuffer(content, np.uint8).reshape(-1, 1 + PIXELS)
    return rows[:, 1:], rows[:, 0].astype(np.int64)


class _NumpyOnly(pickle.Unpickler):
    """Unpickles numpy arrays and plain containers; a pickle that names anything else is refused, not run."""

    ALLOWED: ClassVar[dict[tuple[str, str], Any]] = {
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
        ("_codecs", "encode"): lambda text, codec: text.encode(codec),
    }

    def find_class(self, module: str, name: str) -> Any:
        if name == "_reconstruct" and module in ("numpy.core.multiarray", "numpy._core.multiarray"):
            return np.zeros(0).__reduce__()[0]
        if (module, name) not in self.ALLOWED:
            raise pickle.UnpicklingError(f"it names {module}.{name}")
        return self.ALLOWED[module, name]


def from_pickle(path: Path, content: bytes) -> Arrays:
    """A dictionary with `data` [N, 3072] and `labels`, as the Python version holds it."""
    try:
        held = _NumpyOnly(io.BytesIO(content), encoding="bytes").load()
        images, labels = np.asarray(held[b"data"], np.uint8), np.asarray(held[b"labels"], np.int64)
    except (pickle.UnpicklingError, KeyError, TypeError, ValueError, EOFError, AttributeError, IndexError) as error:
        raise DataError(f"{path}: not a batch of CIFAR-10's Python version ({error})") from None
    if images.ndim != 2 or images.shape[1] != PIXELS:
        raise DataError(f"{path}: a batch of shape {images.shape}, not [N, {PIXELS}]")
    return images, labels
