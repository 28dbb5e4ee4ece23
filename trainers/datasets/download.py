"""Files of data sets: found in the user's folder, or in the cache, or fetched into it and checked.

pooch fetches under another name and renames once the checksum holds, so that the cache never holds half a file.
MD5 is what the publishers of these files give; it guards against broken downloads, not against an attacker.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from types import SimpleNamespace

from encoders.errors import DataError
from trainers.datasets.base import Place, RemoteFile

TIMEOUT = 30.0  # seconds without a byte
PIECE = 1 << 16


def cache_folder(place: Place) -> Path:
    """The cache asked for, or plumbline's in the user's cache folder."""
    import pooch

    return place.cache or Path(pooch.os_cache("plumbline"))


def located(dataset: str, file: RemoteFile, place: Place) -> Path:
    """A file of a data set on this machine, fetched if need be; a folder of the user's is only ever read."""
    if place.data_dir is not None:
        return _in_folder(dataset, file, place.data_dir)
    folder = cache_folder(place) / dataset
    reasons = []
    for url in file.urls:
        try:
            return _fetched(url, folder, file)
        except (OSError, ValueError) as error:  # no answer, or not the file that it should be
            reasons.append(f"{url}: {' '.join(str(error).split())}")
    raise DataError(
        f"{dataset}: {file.name} is not in {folder} and cannot be fetched ({'; '.join(reasons)}); "
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


def _fetched(url: str, folder: Path, file: RemoteFile) -> Path:
    """The file in the cache; fetched where it is not there, or broken on the disk."""
    import pooch

    pooch.get_logger().setLevel("WARNING")  # the bar says it
    return Path(
        pooch.retrieve(url, f"md5:{file.md5}", file.name, folder, downloader=partial(_download, name=file.name))
    )


def _download(url: str, out: str, pooch: None, name: str) -> None:
    """Fetch to a file, under a bar; as its home holds it, not as HTTP could pack and unpack it."""
    from pooch import HTTPDownloader
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(name, total=None)
        bar = SimpleNamespace(total=0, reset=partial(progress.reset, task), close=progress.stop)  # as pooch calls it
        bar.update = lambda size: progress.update(task, advance=size, total=bar.total or None)
        HTTPDownloader(bar, PIECE, timeout=TIMEOUT, headers={"Accept-Encoding": "identity"})(url, out, pooch)
