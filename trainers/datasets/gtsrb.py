"""GTSRB, the German traffic signs: zip archives of PPM images with semicolon-separated tables of their classes.

The signs come in many sizes; each whole image is brought to 32x32 pixels (bilinear). The result is kept beside the
archives, since decoding 50,000 images takes a minute.
"""

from __future__ import annotations

import csv
import io
import zipfile
import zlib
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from encoders.errors import DataError
from trainers.datasets.base import Dataset, Place, RemoteFile, Source, pixels
from trainers.datasets.download import located

HOME = "https://sid.erda.dk/public/archives/daaeac0d7ce1152aea9b61d9f1e19370/"
SIDE = 32
FILES = {
    name: RemoteFile(name, (HOME + name,), md5)
    for name, md5 in (
        ("GTSRB_Final_Training_Images.zip", "f33fd80ac59bff73c82d25ab499e03a3"),
        ("GTSRB_Final_Test_Images.zip", "c7e4e6327067d32654124b0fe9e82185"),
        ("GTSRB_Final_Test_GT.zip", "fe31e9c9270bbcd7b84b7f21a9d9d9e5"),
    )
}
ARCHIVES = {
    "train": ("GTSRB_Final_Training_Images.zip", "GTSRB_Final_Training_Images.zip"),
    "test": ("GTSRB_Final_Test_Images.zip", "GTSRB_Final_Test_GT.zip"),
}
"""Split → the archive with its images, the archive with its tables."""


class Gtsrb(Source):
    """51,839 photographs of traffic signs in 43 classes (Stallkamp, Schlipsing, Salmen, Igel)."""

    name: ClassVar[str] = "gtsrb"
    input_shape = (3, SIDE, SIDE)
    classes = 43

    def read(self, split: str, place: Place) -> Dataset:
        images, tables = (located(self.name, FILES[name], place) for name in ARCHIVES[split])
        kept = images.with_name(f"gtsrb-{split}-{SIDE}.npz")
        if place.data_dir is None and kept.is_file() and kept.stat().st_mtime >= images.stat().st_mtime:
            with np.load(kept, allow_pickle=False) as held:
                return Dataset(pixels(held["x"]), held["y"])
        x, y = decoded(images, tables)
        if place.data_dir is None:
            part = kept.with_suffix(".part.npz")
            np.savez_compressed(part, x=x, y=y)
            part.replace(kept)
        return Dataset(pixels(x), y)


def decoded(images: Path, tables: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """All images that the tables name, [N, 3, 32, 32] in bytes, and their classes, in the order of the tables."""
    from PIL import Image, UnidentifiedImageError

    pictures, labels = [], []
    try:
        with zipfile.ZipFile(images) as archive, zipfile.ZipFile(tables) as listing:
            known = {name for name in archive.namelist() if name.endswith(".ppm")}
            by_file = {name.rpartition("/")[2]: name for name in known}
            for table in sorted(name for name in listing.namelist() if name.endswith(".csv")):
                folder = table.rpartition("/")[0]
                rows = csv.DictReader(io.StringIO(listing.read(table).decode("utf-8-sig")), delimiter=";")
                for row in rows:
                    beside = f"{folder}/{row['Filename']}"  # training: beside its table; test: the only one of its name
                    name = beside if beside in known else by_file[row["Filename"]]
                    with Image.open(io.BytesIO(archive.read(name))) as image:
                        small = image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BILINEAR)
                    pictures.append(np.moveaxis(np.asarray(small, np.uint8), 2, 0))
                    labels.append(int(row["ClassId"]))
    except (zipfile.BadZipFile, zlib.error, KeyError, TypeError, ValueError, UnidentifiedImageError) as error:
        raise DataError(
            f"{images}: not GTSRB's archive, or {tables.name} names what it does not hold ({error})"
        ) from None
    if not pictures:
        raise DataError(f"{tables}: holds no table of classes")
    return np.stack(pictures), np.array(labels, np.int64)
