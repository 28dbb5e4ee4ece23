"""Whatever is killed, whenever: every answer is there in the end, once, and it is the one that nothing disturbed."""

from __future__ import annotations

import errno
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.verifier.service.asking import NET, asked, ended
from tests.verifier.service.conftest import serving
from tests.verifier.service.faults import Chaos
from trainers.datasets import digits
from verifier import Result, distances, verdicts
from verifier.service.files import Folder
from verifier.service.service import Service
from verifier.service.settings import Limits, Settings
from verifier.service.store.database import connected
from verifier.service.store.store import Store

FEW, ALL = 40, 300
RADIUS = 0.04  # where a tenth of the digits has an adversary
QUICK: dict[str, Any] = {"question": "verify", "radius": 0.01}  # one pass proves it
ATTEMPTS = Limits(attempts=10_000)


@cache
def undisturbed(count: int, radius: float | None) -> dict[int, Result]:
    """What the library answers by itself."""
    x, y = digits("test").x[:count], digits("test").y[:count]
    answers = distances(NET, x, y) if radius is None else verdicts(NET, x, radius, y)
    return {result.index: result for result in answers}


def survives(settings: Settings, count: int, rounds: int, seed: int, radius: float | None) -> list[str]:
    """A run through faults; returns which there were."""
    with serving(settings) as (client, _):
        question: dict[str, Any] = (
            {"question": "distance"} if radius is None else {"question": "verify", "radius": radius}
        )
        run = str(asked(client, f"0:{count}", **question)["id"])
    store = Store(connected(settings.database_url))
    chaos = Chaos(settings, store, 2, random.Random(seed))
    chaos.until_finished(run, rounds)
    with serving(settings) as (client, _):
        assert client.get(f"/runs/{run}").json()["state"] == "finished"
        items = client.get(f"/runs/{run}/samples", params={"limit": 1000}).json()["items"]
        lines = client.get(f"/runs/{run}/export.jsonl").text.splitlines()
        assert len(lines) == count
        assert all(
            client.get(f"/runs/{run}/samples/{item['index']}/adversary.npz").status_code == 200
            for item in items
            if item["has_adversary"]
        )
    store.close()
    expected = undisturbed(count, radius)
    assert [item["index"] for item in items] == list(range(count))
    for item in items:
        result = expected[item["index"]]
        assert item["verdict"] == result.verdict
        assert float(item["lower"]) <= result.upper + 1e-6
        assert float(item["upper"]) >= result.lower - 1e-6
        assert item["has_adversary"] == (result.adversary is not None)
    return chaos.faults


def disturbed(tmp_path: Path, database: str) -> Settings:
    return Settings(data_dir=tmp_path / "service", database=database, workers=0, beat=0.1, lease=1.0, limits=ATTEMPTS)


@pytest.mark.slow
@pytest.mark.usefixtures("reading_here")
@pytest.mark.fewer(1)
def test_a_dozen_faults(tmp_path: Path, database: str) -> None:
    assert survives(disturbed(tmp_path, database), FEW, 12, 0, RADIUS)


@pytest.mark.exhaustive
@pytest.mark.usefixtures("reading_here")
@pytest.mark.parametrize(
    ("seed", "count", "rounds", "radius"),
    [(1, ALL, 100, RADIUS), (2, ALL, 100, RADIUS), (3, FEW, 100, None), (4, FEW, 60, RADIUS)],
)
def test_hundreds_of_faults(
    tmp_path: Path, database: str, seed: int, count: int, rounds: int, radius: float | None
) -> None:
    survives(disturbed(tmp_path, database), count, rounds, seed, radius)


@pytest.mark.release
def test_a_disk_that_is_full_for_a_while(
    settings: Settings, reading_here: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(settings, workers=1) as (client, _):
        run = asked(client, "0:2", "verify", radius=0.3)
        full = [True] * 5

        def flush(descriptor: int) -> None:
            del descriptor
            if full and full.pop():
                raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr("verifier.service.files.os.fsync", flush)
        assert ended(client, run["id"])["counts"]["falsified"] == 2
        assert not full
        assert client.get(f"/runs/{run['id']}/samples/0/adversary.npz").status_code == 200


def test_a_folder_that_cannot_be_written_is_told(
    client: httpx.Client, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refusing(*_: Any, **__: Any) -> Any:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr("verifier.service.files.os.replace", refusing)
    answer = client.post("/models", files={"files": (NET.name, NET.read_bytes())})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert "Read-only file system" in answer.json()["detail"]
    assert not list((settings.data_dir / "files").rglob("incoming/*"))


@pytest.mark.slow
def test_a_database_that_goes_away_and_comes_back(
    settings: Settings, reading_here: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sqlite3

    from sqlalchemy.exc import OperationalError

    with serving(settings, workers=1) as (client, service):
        run = asked(client, "0:3", **QUICK)
        down = time.monotonic() + 1.0
        honest = service.store.engine.begin

        @contextmanager
        def begin() -> Iterator[Any]:
            if time.monotonic() < down:
                raise OperationalError("", None, sqlite3.OperationalError("disk I/O error"))
            with honest() as connection:
                yield connection

        monkeypatch.setattr(service.store.engine, "begin", begin)
        answer = client.post(f"/runs/{run['id']}/cancel")
        assert answer.status_code == 503
        assert "disk I/O error" in answer.json()["detail"]
        assert ended(client, run["id"])["counts"]["certified"] == 3


@pytest.mark.slow
def test_a_clock_that_jumps_ends_no_lease(
    settings: Settings, reading_here: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    jumps = iter(range(-10_000_000, 10_000_000, 7_919))
    monkeypatch.setattr("verifier.service.store.leases.time.time", lambda: 1e9 + next(jumps) * 1e3)
    with serving(settings, workers=2) as (client, service):
        service.supervisor.start()
        run = asked(client, "0:6", **QUICK)
        assert ended(client, run["id"])["counts"]["certified"] == 6
        items = client.get(f"/runs/{run['id']}/samples").json()["items"]
        assert [item["attempt"] for item in items] == [1] * 6
        service.supervisor.stop()


@pytest.mark.slow
def test_a_file_that_was_changed_where_it_is_kept(settings: Settings, reading_here: None) -> None:
    with serving(settings, workers=1) as (client, service):
        assert isinstance(service.files, Folder)
        uploaded = client.post("/models", files={"files": (NET.name, NET.read_bytes())}).json()
        path = service.files.path(uploaded["sha256"])
        path.write_bytes(path.read_bytes()[:-1] + b"x")
        body = {"model": uploaded["id"], "data": "digits", "samples": "0:1", "question": "distance"}
        answer = client.post("/runs", json=body)
        assert answer.status_code == 422
        assert "was changed where it is kept" in answer.json()["detail"]


def test_half_a_file_is_no_file(settings: Settings) -> None:
    service = Service.of(settings)

    class Broken:
        def read(self, size: int) -> bytes:
            raise OSError(errno.EIO, "Input/output error")

    with pytest.raises(Exception, match="cannot be kept now"):
        service.files.put(Broken())  # type: ignore[arg-type]
    assert not [path for path in (settings.data_dir / "files").rglob("*") if path.is_file()]
    service.store.close()
