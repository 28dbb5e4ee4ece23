"""A service for each test, on SQLite and on PostgreSQL, with workers in this process."""

from __future__ import annotations

import shutil
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the service's libraries are not installed (extra `service`)")

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of a newer httpx
    from fastapi.testclient import TestClient

from tests.draws import thorough
from tests.verifier.service import postgresql
from verifier.service import inspection
from verifier.service.api.app import create_app
from verifier.service.service import Service
from verifier.service.settings import Settings
from verifier.service.store.database import connected, migrate
from verifier.service.store.store import Store
from verifier.studies.comparison.drawn_attacks import RADII

BEAT = 0.05


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of SQLite that has come through the migrations: they cost more than most tests of what they make."""
    path = tmp_path_factory.mktemp("migrated") / "plumbline.db"
    migrate(f"sqlite:///{path}")
    return path


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database of either kind with empty tables: a copy of one that has come through the migrations."""
    if request.param == "sqlite":
        migrated: Path = request.getfixturevalue("migrated")
        return f"sqlite:///{shutil.copy(migrated, tmp_path / 'plumbline.db')}"
    folder = postgresql.cluster()
    if isinstance(folder, str):
        pytest.skip(folder)
    return postgresql.fresh_database(folder)


@pytest.fixture
def store(database: str) -> Iterator[Store]:
    """An empty store."""
    made = Store(connected(database))
    yield made
    made.close()


@pytest.fixture
def settings(tmp_path: Path, migrated: Path) -> Settings:
    """Settings with SQLite in a folder of the test's own, its tables made."""
    folder = tmp_path / "service"
    folder.mkdir()
    shutil.copy(migrated, folder)
    return Settings(data_dir=folder, workers=0, beat=BEAT, lease=1.0)


@pytest.fixture
def reading_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are read in this process: what a process of its own costs is paid by the tests that are about it."""

    def here(limits: Any, folder: Path, read: Any, *arguments: Any) -> Any:
        del limits
        found = inspection.attempted(folder, read, arguments)
        if isinstance(found, Exception):
            raise found
        return found

    for module in ("models", "arrays", "runs", "exports", "comparisons"):
        monkeypatch.setattr(f"verifier.service.api.{module}.isolated", here)


@contextmanager
def serving(settings: Settings, workers: int = 0) -> Iterator[tuple[TestClient, Service]]:
    """A service that answers, with so many workers in this process."""
    from verifier.service.worker import Worker

    service = Service.of(settings)
    app = create_app(service, with_workers=False)
    made = [Worker(f"here-{k}", service.store, service.files, settings.place) for k in range(workers)]
    threads = [threading.Thread(target=one.work, daemon=True) for one in made]
    with TestClient(app, base_url="http://localhost", raise_server_exceptions=False) as client:
        for thread in threads:
            thread.start()
        try:
            yield client, service
        finally:
            for one in made:
                one.stopping.set()
            for thread in threads:
                thread.join()


@pytest.fixture
def client(settings: Settings, reading_here: None) -> Iterator[TestClient]:
    """A service without workers."""
    with serving(settings) as (made, _):
        yield made


@pytest.fixture
def working(settings: Settings, reading_here: None) -> Iterator[TestClient]:
    """A service with one worker."""
    with serving(settings, workers=1) as (made, _):
        yield made


@contextmanager
def answering(settings: Settings, workers: int = 0) -> Iterator[tuple[str, Service]]:
    """The URL of a service on a real port, with workers in this process."""
    import uvicorn

    from verifier.service.serving import bound_socket
    from verifier.service.worker import Worker

    service = Service.of(settings)
    listening = bound_socket(replace(settings, port=0))
    config = uvicorn.Config(create_app(service, with_workers=False), log_level="warning", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    made = [Worker(f"here-{k}", service.store, service.files, settings.place) for k in range(workers)]
    threads = [threading.Thread(target=one.work, daemon=True) for one in made]
    answers = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    for thread in (answers, *threads):
        thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}", service
    finally:
        for one in made:
            one.stopping.set()
        for thread in threads:
            thread.join()
        server.should_exit = True
        answers.join()


@pytest.fixture
def few_radii(monkeypatch: pytest.MonkeyPatch) -> None:
    """The typical attack at a few radii: the page tells it as well."""
    if not thorough():
        monkeypatch.setattr("verifier.studies.comparison.drawn_attacks.RADII", RADII[::40])
