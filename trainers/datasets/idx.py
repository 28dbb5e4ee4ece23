"""MNIST and Fashion-MNIST: IDX files, usually gzipped."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from encoders.errors import DataError
from trainers.datasets.base import Dataset, Place, RemoteFile, Source, pixels
from trainers.datasets.download import located

UNSIGNED_BYTES = 8  # IDX's code for the type of the entries
PREFIXES = {"train": "train", "test": "t10k"}


def read_idx(path: Path) -> NDArray[np.uint8]:
    """An IDX array of bytes: 0, 0, type, rank, the sizes as big-endian 32-bit numbers, the entries."""
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        zeros, kind, rank = struct.unpack_from(">HBB", content)
        shape = struct.unpack_from(f">{rank}I", content, 4)
    except (struct.error, gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{path}: not an IDX file ({error})") from None
    if zeros or kind != UNSIGNED_BYTES or len(content) != 4 + 4 * rank + math.prod(shape):
        raise DataError(f"{path}: not an IDX file of bytes, or cut short")
    return np.frombuffer(content, np.uint8, offset=4 + 4 * rank).reshape(shape)


class _Idx(Source):
    input_shape = (1, 28, 28)
    classes = 10
    homes: ClassVar[tuple[str, ...]]
    md5: ClassVar[dict[str, str]]

    def read(self, split: str, place: Place) -> Dataset:
        images, labels = (read_idx(self._file(f"{PREFIXES[split]}-{kind}-ubyte.gz", place)) for kind in KINDS)
        if images.ndim != 3 or labels.ndim != 1:
            raise DataError(f"{self.name}: images of shape {images.shape} and labels of shape {labels.shape}")
        return Dataset(pixels(images)[:, None], labels.astype(np.int64))

    def _file(self, name: str, place: Place) -> Path:
        return located(self.name, RemoteFile(name, tuple(home + name for home in self.homes), self.md5[name]), place)


KINDS = ("images-idx3", "labels-idx1")


class Mnist(_Idx):
    """70,000 handwritten digits of 28x28 pixels (LeCun, Cortes, Burges)."""

    name: ClassVar[str] = "mnist"
    homes = ("http://yann.lecun.com/exdb/mnist/", "https://ossci-datasets.s3.amazonaws.com/mnist/")
    md5: ClassVar[dict[str, str]] = {
        "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
        "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
        "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
    }


class FashionMnist(_Idx):
    """70,000 articles of clothing of 28x28 pixels (Xiao, Rasul, Vollgraf)."""

    name: ClassVar[str] = "fashion-mnist"
    homes = ("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",)
    md5: ClassVar[dict[str, str]] = {
        "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
        "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
        "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
    }
