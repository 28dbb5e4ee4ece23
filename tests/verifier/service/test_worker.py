"""How a worker takes samples, and what it says of them on the way."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import pytest

from tests.verifier.service.asking import asked, ended, run, uploaded
from tests.verifier.service.conftest import serving
from verifier.options import Options
from verifier.question.model import Model
from verifier.question.problem import Running
from verifier.runs.job import Job
from verifier.service import asking, loaded_run
from verifier.service.files import Files, Folder
from verifier.service.loaded_run import LoadedRun
from verifier.service.settings import Settings
from verifier.service.store.records import Claimed, Finding
from verifier.service.store.store import Store
from verifier.service.worker import SILENCE, Held, Worker

QUICK: dict[str, Any] = {"question": "verify", "radius": 0.01}  # one pass proves it


@pytest.mark.slow
def test_a_sample_is_taken_when_there_is_room_for_it(
    settings: Settings, reading_here: None, quick_attacks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = list[int]()
    honest = Store.claim

    def claim(store: Store, worker: str, of: str | None = None) -> Claimed | None:
        found = honest(store, worker, of)
        if found is not None:
            running.append(store.counts([found.run_id])[found.run_id].running)
        return found

    monkeypatch.setattr(Store, "claim", claim)
    monkeypatch.setattr("verifier.service.worker.slots_for", lambda model, options: 2)
    with serving(settings, workers=1) as (client, _):
        run = asked(client, "0:5", "distance")
        assert ended(client, run["id"])["counts"]["exact"] == 5
    assert len(running) == 5
    assert 2 <= max(running) <= 3  # a third has its answer, which is being written down


def test_the_next_sample_does_not_wait_for_the_database(
    settings: Settings, reading_here: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does a run end before all of its answers are there."""
    claims, later, waited = list[int](), threading.Event(), list[bool]()
    claim, finish = Store.claim, Store.finish

    def claimed(store: Store, worker: str, of: str | None = None) -> Claimed | None:
        found = claim(store, worker, of)
        if found is not None:
            claims.append(found.number)
            if len(claims) == 2:
                later.set()
        return found

    def finished(store: Store, worker: str, run: str, number: int, finding: Finding) -> bool:
        waited.append(later.wait(60.0))
        return finish(store, worker, run, number, finding)

    monkeypatch.setattr(Store, "claim", claimed)
    monkeypatch.setattr(Store, "finish", finished)
    monkeypatch.setattr("verifier.service.worker.slots_for", lambda model, options: 1)
    with serving(settings, workers=1) as (client, _):
        run = asked(client, "0:3", **QUICK)
        assert ended(client, run["id"])["counts"]["certified"] == 3
    assert waited == [True] * 3


@pytest.mark.slow
def test_a_model_is_loaded_once_for_all_its_stints(
    settings: Settings, reading_here: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads = list[str]()
    honest = asking.loaded

    def loaded(path: Path, facts: Mapping[str, Any]) -> Model:
        loads.append(path.name)
        return honest(path, facts)

    monkeypatch.setattr(loaded_run, "loaded", loaded)
    monkeypatch.setattr("verifier.service.worker.slots_for", lambda model, options: 1)
    with serving(settings, workers=1) as (client, _):
        model = uploaded(client)
        for _ in range(2):
            run = asked(client, "0:6", model=model, **QUICK)
            assert ended(client, run["id"])["counts"]["certified"] == 6
    assert len(loads) == 1


class Seen(Held):
    """A sample of no model, which is told as it runs."""

    def finding(self, files: Files) -> Finding | None:
        del files
        assert self.running is not None
        return Finding(self.running.lower, self.running.upper, self.seconds, technique=self.running.technique)


@pytest.mark.parametrize(
    ("lower", "upper", "technique", "waited", "told"),
    [
        (0.1, 0.5, "search", 0.0, False),
        (0.1039, 0.4961, "search", 0.0, False),
        (0.105, 0.5, "search", 0.0, True),
        (0.1, 0.495, "search", 0.0, True),
        (0.1, 0.5, "highs", 0.0, True),
        (0.1, 0.5, "search", SILENCE + 0.1, True),
    ],
)
def test_what_has_hardly_moved_is_told_later(
    lower: float, upper: float, technique: str, waited: float, told: bool, no_files: Files
) -> None:
    held = Seen(Claimed("r", 0, 1, 0, 0.0, 1.0, None, None))
    held.running = Running(0.1, 0.5, technique="search")
    held.told = held.news(no_files)
    held.running = Running(lower, upper, technique=technique)
    held.started -= waited
    assert (held.news(no_files) is not None) == told


@pytest.mark.parametrize(("share", "told"), [(1.0, 5), (1e-9, 1)])
def test_telling_takes_a_small_part_of_the_time(
    no_files: Files, settings: Settings, monkeypatch: pytest.MonkeyPatch, share: float, told: int
) -> None:
    """What is told costs something; that a worker lives is said all the same."""
    beats = list[int]()

    class Hearing:
        def beat(self, worker: str, found: Mapping[tuple[str, int], Finding]) -> set[tuple[str, int]]:
            beats.append(len(found))
            if len(beats) == 5:
                worker_here.stopping.set()
            return set(found)

        def give_back(self, *about: object) -> None:
            pass

    monkeypatch.setattr("verifier.service.worker.TELLING", share)
    monkeypatch.setattr("verifier.service.worker.LAST_ANSWERS", 0.0)
    monkeypatch.setattr(Held, "news", lambda self, files: Finding(0.0, 1.0))
    worker_here = Worker("here", cast(Store, Hearing()), no_files, settings.place)
    worker_here._take(Held(Claimed("run", 3, 1, 0, 0.0, 1.0, None, None)))
    worker_here._beat()
    assert len(beats) == 5
    assert sum(beats) == told


def test_a_first_adversary_is_told_at_once(no_files: Files) -> None:
    held = Seen(Claimed("r", 0, 1, 0, 0.0, 1.0, None, None))
    held.running = Running(0.0, float("inf"), technique="search")
    held.told = held.news(no_files)
    assert held.news(no_files) is None
    held.running = Running(0.0, 0.5, technique="search")
    assert held.news(no_files) is not None


@pytest.fixture
def no_files(tmp_path: Path) -> Files:
    """Where nothing is kept."""
    return Folder(tmp_path)


@pytest.mark.parametrize(
    ("record", "lower", "prover"),
    [
        (None, 0.2, "highs"),
        ({"lower": 0.1, "engine": "highs", "proven_by": "crown"}, 0.2, "highs"),
        ({"lower": 0.2, "engine": "highs", "proven_by": "crown"}, 0.2, "crown"),
        ({"lower": 0.2, "engine": "highs"}, 0.2, "highs"),
    ],
)
def test_who_proved_what_is_known_is_told(
    record: dict[str, Any] | None, lower: float, prover: str, tmp_path: Path
) -> None:
    job, model = Job(Options(engine="highs")), cast("Any", None)
    loaded = LoadedRun(run(), model, model, job, tmp_path, {}, 1.0, {0: record})
    known = loaded._known(Claimed("r", 0, 2, 0, lower, 0.9, "solver", None), None)
    assert (known.lower, known.basis, known.proven_by) == (lower, "solver", prover)
