"""A PostgreSQL of the tests' own: a cluster in a temporary folder, reached by a socket in it, gone afterwards."""

from __future__ import annotations

import atexit
import itertools
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from functools import cache
from pathlib import Path
from typing import Any

from verifier.service.store.database import migrate

PATIENCE = 60.0
SCHEME = "postgresql+psycopg://plumbline@"
_numbers = itertools.count()


def binary(name: str) -> str | None:
    """A program of PostgreSQL, where Debian puts it or on the path."""
    places = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return str(places[-1]) if places else shutil.which(name)


def other_user() -> dict[str, str]:
    """Who runs it: PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return {}
    known = {one.pw_name for one in pwd.getpwall()}
    return {"user": next(name for name in ("postgres", "nobody") if name in known)}


@cache
def cluster() -> Path | str:
    """The folder of the running cluster, or why there is none."""
    initdb, postgres = binary("initdb"), binary("postgres")
    if initdb is None or postgres is None:
        return "PostgreSQL is not installed (Debian's package postgresql)"
    folder = Path(tempfile.mkdtemp(prefix="plumbline-postgresql-"))
    who = other_user()
    if who:
        shutil.chown(folder, who["user"])
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "cwd": folder}
    made = subprocess.run(
        [initdb, "-D", str(folder / "data"), "-U", "plumbline", "--auth=trust", "-E", "UTF8", "--locale=C", "-N"],
        check=False, **quiet, **who,  # type: ignore[call-overload]
    )  # fmt: skip
    if made.returncode:
        shutil.rmtree(folder, ignore_errors=True)
        return f"initdb does not work here: {made.stderr.decode()[-300:]}"
    command = [postgres, "-D", str(folder / "data"), "-k", str(folder), "-c", "listen_addresses=", "-c", "fsync=off"]
    process = subprocess.Popen(command, **quiet, **who)  # type: ignore[call-overload]
    atexit.register(_end, process, folder)
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and process.poll() is None:
        try:
            connect(folder, "postgres").close()
        except OSError:
            time.sleep(0.1)
        else:
            return folder
    return "PostgreSQL does not start here"


def connect(folder: Path, database: str) -> Any:
    """A connection to it; an OSError while it is starting."""
    import psycopg

    try:
        return psycopg.connect(host=str(folder), user="plumbline", dbname=database, autocommit=True)
    except psycopg.OperationalError as error:
        raise OSError(str(error)) from None


def fresh_database(folder: Path) -> str:
    """The URL of a database that nobody has used, its tables made."""
    return _created(folder, _migrated(folder))


@cache
def _migrated(folder: Path) -> str:
    """The name of a database that has come through the migrations, which others are copies of."""
    url = _created(folder, "template1")
    migrate(url)
    return url.removeprefix(f"{SCHEME}/").partition("?")[0]


def _created(folder: Path, template: str) -> str:
    """The URL of a new copy of a database."""
    name = f"plumbline{next(_numbers)}"
    connection = connect(folder, "postgres")
    connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
    connection.close()
    return f"{SCHEME}/{name}?host={folder}"


def _end(process: subprocess.Popen[bytes], folder: Path) -> None:
    process.terminate()
    process.wait()
    shutil.rmtree(folder, ignore_errors=True)
