"""Files that are there as a whole or not at all, however their writing ends, and folders with one writer at a time."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from encoders.errors import OptionError


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """Write to a file beside `path` that takes its name at the end; what fails names `path` and leaves it as it was."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            yield file
        part.replace(path)
    except BaseException as error:
        part.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno is not None and error.filename is None:  # as of a full disk
            raise OSError(error.errno, os.strerror(error.errno), str(path)) from error
        raise


def write_whole(path: Path, content: str | bytes) -> None:
    """The whole file, or none: an older one of its name stays until then."""
    with replacing(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def locked(file: Any) -> bool:
    """Whether this process has an open file or folder to itself, until it is closed or the process ends, however.

    A file system without locks gives it to everybody.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


@contextmanager
def one_writer(folder: Path) -> Iterator[None]:
    """A folder that nobody else writes to inside, made if it is not there; refused while somebody does."""
    folder.mkdir(parents=True, exist_ok=True)
    held = os.open(folder, os.O_RDONLY)
    try:
        if not locked(held):
            raise OptionError(f"{folder}: another run is writing there; wait for its end, or name another folder")
        yield
    finally:
        os.close(held)
