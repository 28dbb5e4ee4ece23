"""Files by their content: models, data, adversaries, proofs, reports, each under its SHA-256 and written once.

A file is there whole or not at all: it is written under another name, and moved. Names that people give never become
paths here.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from encoders.errors import DataError
from verifier.service.errors import NotThereError, UnavailableError
from verifier.service.store.records import StoredArray, StoredModel

CHUNK = 2**20
DIGEST = re.compile(r"[0-9a-f]{64}")


class Files(Protocol):
    """A store of files by their content."""

    def put(self, content: bytes | BinaryIO) -> str:
        """Keep what is not kept yet; returns its digest."""

    def open(self, digest: str) -> BinaryIO:
        """A file to read from."""

    def delete(self, digest: str) -> None:
        """Forget a file, if it is there."""


def files_at(url: str) -> Files:
    """The files of a folder, or of any URL that fsspec knows."""
    return Remote(url) if "://" in url else Folder(Path(url))


class Folder:
    """Files in a folder of this machine: AB/ABCD…"""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, digest: str) -> Path:
        """Where a file lies, or would."""
        return self.root / checked_digest(digest)[:2] / digest

    def put(self, content: bytes | BinaryIO) -> str:
        incoming = self.root / "incoming"
        part = incoming / uuid.uuid4().hex
        try:
            incoming.mkdir(parents=True, exist_ok=True)
            with open(part, "xb") as out:
                digest = _copied(content, out)
                out.flush()
                os.fsync(out.fileno())
            path = self.path(digest)
            path.parent.mkdir(exist_ok=True)
            os.replace(part, path)
        except OSError as error:
            part.unlink(missing_ok=True)
            raise UnavailableError(f"files cannot be kept now ({error.strerror}); ask again later") from error
        return digest

    def open(self, digest: str) -> BinaryIO:
        try:
            return open(self.path(digest), "rb")
        except FileNotFoundError:
            raise NotThereError(f"file {digest[:12]}… is gone; upload it again") from None

    def delete(self, digest: str) -> None:
        self.path(digest).unlink(missing_ok=True)


class Remote:
    """Files behind a URL of fsspec: object stores, other machines, memory."""

    def __init__(self, url: str) -> None:
        from fsspec.core import url_to_fs

        self._system: Any
        self._system, root = url_to_fs(url)
        self.root = str(root).rstrip("/")

    def put(self, content: bytes | BinaryIO) -> str:
        with tempfile.TemporaryFile() as held:
            digest = _copied(content, held)
            held.seek(0)
            path = self._path(digest)
            if self._system.exists(path):
                return digest
            part = f"{self.root}/incoming/{uuid.uuid4().hex}"
            try:
                self._system.makedirs(f"{self.root}/incoming", exist_ok=True)
                self._system.makedirs(path.rpartition("/")[0], exist_ok=True)
                with self._system.open(part, "wb") as out:
                    shutil.copyfileobj(held, out, CHUNK)
                self._system.mv(part, path)
            except OSError as error:
                raise UnavailableError(f"files cannot be kept now ({error}); ask again later") from error
        return digest

    def open(self, digest: str) -> BinaryIO:
        try:
            found: BinaryIO = self._system.open(self._path(digest), "rb")
        except FileNotFoundError:
            raise NotThereError(f"file {digest[:12]}… is gone; upload it again") from None
        return found

    def delete(self, digest: str) -> None:
        if self._system.exists(self._path(digest)):
            self._system.rm(self._path(digest))

    def _path(self, digest: str) -> str:
        return f"{self.root}/{checked_digest(digest)[:2]}/{digest}"


def checked_digest(digest: str) -> str:
    """A SHA-256 in small hexadecimal digits, and nothing else."""
    if not DIGEST.fullmatch(digest):
        raise NotThereError("no such file")
    return digest


def laid_out(files: Files, named: Iterable[tuple[str, str]], folder: Path) -> Path:
    """A folder with copies of files under plain names, made once and whole: what reads names of files can read these.

    A copy whose content is not what its name in the store says is refused.
    """
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(dir=folder.parent, prefix="incoming-"))
    try:
        for name, digest in named:
            with files.open(digest) as source, open(part / plain_name(name), "xb") as out:
                if _copied(source, out) != digest:
                    raise DataError(f"file {digest[:12]}… was changed where it is kept; upload it again")
        os.replace(part, folder)
    except OSError:
        if not folder.is_dir():  # another process was first
            raise
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return folder


def model_folder(files: Files, model: StoredModel, cache: Path) -> Path:
    """A folder with a model's files; the same content under another name has a folder of its own."""
    return laid_out(files, model.files.items(), cache / "models" / model.name / model.sha256)


def array_file(files: Files, array: StoredArray, cache: Path) -> Path:
    """A copy of an array under the name that it came with, which errors call it."""
    folder = cache / "arrays" / array.name / array.sha256
    return laid_out(files, [(array.name, array.sha256)], folder) / array.name


PLAIN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._ -]{0,199}")


def plain_name(name: str) -> str:
    """A name that means a file of the folder that it is in, whatever the system."""
    if not PLAIN_NAME.fullmatch(name):
        raise DataError(f"file name {name[:80]!r}: give letters, digits, dots, dashes and underscores, and no folder")
    return name


def _copied(content: bytes | BinaryIO, out: BinaryIO | Any) -> str:
    """Everything, piece by piece; returns its digest."""
    if isinstance(content, bytes):
        out.write(content)
        return hashlib.sha256(content).hexdigest()
    sha = hashlib.sha256()
    while piece := content.read(CHUNK):
        sha.update(piece)
        out.write(piece)
    return sha.hexdigest()
