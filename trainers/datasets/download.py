"""Files of data sets: found in the user's folder, or in the cache, or fetched into it and checked.

A file is written under another name and renamed once its checksum holds, so that the cache never holds half a file.
MD5 is what the publishers of these files give; it guards against broken downloads, not against an attacker.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import urllib.error
import urllib.request
from pathlib import Path

from encoders.errors import DataError
from trainers.datasets.base import Place, RemoteFile

TIMEOUT = 30.0  # seconds without a byte
PIECE = 1 << 16


def cache_folder(place: Place) -> Path:
    """The cache asked for, or plumbline's in the user's cache folder."""
    if place.cache is not None:
        return place.cache
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "plumbline"


def located(dataset: str, file: RemoteFile, place: Place) -> Path:
    """A file of a data set on this machine, fetched if need be; a folder of the user's is only ever read."""
    if place.data_dir is not None:
        return _in_folder(dataset, file, place.data_dir)
    path = cache_folder(place) / dataset / file.name
    if path.is_file():
        if _md5(path) == file.md5:
            return path
        path.unlink()  # broken on the disk: fetched again
    path.parent.mkdir(parents=True, exist_ok=True)
    reasons = []
    for url in file.urls:
        try:
            _fetch(url, path, file)
            return path
        except (urllib.error.URLError, OSError, http.client.HTTPException, DataError) as error:
            reasons.append(f"{url}: {' '.join(str(getattr(error, 'reason', error)).split())}")
    raise DataError(
        f"{dataset}: {file.name} is not in {path.parent} and cannot be fetched ({'; '.join(reasons)}); "
        f"go online, or put the file there (`plumbline train` reads any folder of yours: --data-dir)"
    )


def _in_folder(dataset: str, file: RemoteFile, folder: Path) -> Path:
    names = [file.name, file.name.removesuffix(".gz")]
    for name in names:
        for base in (folder, folder / dataset):
            if (base / name).is_file():
                return base / name
    raise DataError(
        f"{dataset}: {folder} holds no {' or '.join(dict.fromkeys(names))}; leave --data-dir out to fetch it"
    )


def _fetch(url: str, path: Path, file: RemoteFile) -> None:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    digest = hashlib.md5(usedforsecurity=False)
    try:
        with (
            urllib.request.urlopen(url, timeout=TIMEOUT) as answer,
            part.open("wb") as out,
            Progress(*columns, console=Console(stderr=True), transient=True) as progress,
        ):
            size = answer.headers.get("Content-Length")
            task = progress.add_task(file.name, total=int(size) if size else None)
            while piece := answer.read(PIECE):
                out.write(piece)
                digest.update(piece)
                progress.advance(task, len(piece))
        if digest.hexdigest() != file.md5:
            raise DataError(f"its MD5 is {digest.hexdigest()}, not {file.md5}")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _md5(path: Path) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()
