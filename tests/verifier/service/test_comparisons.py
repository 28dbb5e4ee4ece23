"""Several models compared: over HTTP, from Python, and what becomes of their runs."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.verifier.service.asking import ENDED, NET, model, run, uploaded
from tests.verifier.service.conftest import answering, serving
from tests.verifier.service.test_api import refused
from verifier.cli.main import main
from verifier.service.client import connect
from verifier.service.errors import ConflictError, NotThereError
from verifier.service.settings import Limits, Settings
from verifier.service.store.records import StoredComparison
from verifier.service.store.store import Store

pytestmark = pytest.mark.usefixtures("quick_attacks", "few_radii")
QUICK: dict[str, Any] = {"radii": [0.05], "pictures": 0}


@pytest.fixture
def networks(tmp_path: Path) -> tuple[Path, Path]:
    """Two files of the same network under names of their own: nobody beats anybody."""
    paths = tmp_path / "plain.onnx", tmp_path / "again.onnx"
    for path in paths:
        path.write_bytes(NET.read_bytes())
    return paths


def compared(client: httpx.Client, paths: tuple[Path, ...], samples: str = "0:2", **options: Any) -> dict[str, Any]:
    """A new comparison."""
    body = {"models": [uploaded(client, path) for path in paths], "data": "digits", "samples": samples}
    answer = client.post("/comparisons", json=body | {"options": QUICK | options})
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


def ended(client: httpx.Client, key: str, seconds: float = 300.0) -> dict[str, Any]:
    """The comparison once it has ended."""
    until = time.monotonic() + seconds
    while True:
        found: dict[str, Any] = client.get(f"/comparisons/{key}").json()
        if found["state"] in ENDED:
            return found
        assert time.monotonic() < until, found
        time.sleep(0.1)


def timeless(page: str) -> list[str]:
    """The words and figures of a page without how long anything took."""
    text = re.sub(r"<svg.*?</svg>|<style.*?</style>|<script.*?</script>", "", page, flags=re.DOTALL)
    return [word for word in re.sub(r"<[^>]*>", " ", text).split() if not re.fullmatch(r"\d+\.\d\d", word)]


@pytest.mark.release
def test_the_page_is_the_command_lines(
    working: httpx.Client, networks: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = compared(working, networks, baseline="plain")
    assert [one["model"]["name"] for one in found["runs"]] == ["plain.onnx", "again.onnx"]
    assert {one["comparison"] for one in found["runs"]} == {found["id"]}
    assert ended(working, found["id"])["state"] == "finished"
    page = working.get(f"/comparisons/{found['id']}/page")
    assert page.status_code == 200, page.text
    assert "sandbox" in page.headers["content-security-policy"]
    flags = ["--samples", "0:2", "--norm", "linf", "--radius", "0.05", "--pictures", "0", "--baseline", "plain"]
    assert main(["compare", *map(str, networks), "--data", "digits", "--out", str(tmp_path / "out"), *flags]) == 0
    assert timeless(page.text) == timeless((tmp_path / "out" / "index.html").read_text())
    assert str(tmp_path) not in page.text


REFUSED: list[tuple[dict[str, Any], int, str]] = [
    ({"models": ["first"]}, 422, "models: a comparison takes two networks or more, at most 100; name as many"),
    ({"models": ["first"] * 101}, 422, "at most 100; name as many, in place of 101"),
    ({"models": ["first", "first"]}, 422, "two files are called plain; rename one"),
    ({"models": ["first", "nothing"]}, 404, "model 'nothing': there is none"),
    ({"data": "nothing"}, 404, "there is none"),
    ({"samples": "0:1000"}, 422, "the data holds 397 samples"),
    ({"options": {"norm": "l0"}}, 422, "l0"),
    ({"options": {"targets": [3]}}, 422, "targets"),
    ({"options": {"baseline": "other"}}, 422, "baseline 'other': choose from plain, again"),
    ({"options": {"attack": "os:system"}}, 422, "a service takes Plumbline's own by name"),
    ({"options": {"radii": [-1.0]}}, 422, "radii"),
    ({"question": "compare"}, 422, "question"),
]


def test_what_cannot_be_compared(client: httpx.Client, networks: tuple[Path, Path]) -> None:
    keys = dict(zip(("first", "second"), (uploaded(client, path) for path in networks), strict=True))
    for more, status, sentence in REFUSED:
        body = {"models": ["first", "second"], "data": "digits", "samples": "0:2", **more}
        body["models"] = [keys.get(one, one) for one in body["models"]]
        assert sentence in refused(client.post("/comparisons", json=body), status)
        assert client.get("/runs").json()["total"] == client.get("/comparisons").json()["total"] == 0


def test_a_quantised_network_is_not_compared(client: httpx.Client, networks: tuple[Path, Path]) -> None:
    models = [uploaded(client, path) for path in (networks[0], NET.with_name("digits-int8.onnx"))]
    body = {"models": models, "data": "digits", "samples": "0:2"}
    assert "digits-int8.onnx: compare knows no quantised" in refused(client.post("/comparisons", json=body), 422)


def test_the_same_key_compares_once(client: httpx.Client, networks: tuple[Path, Path]) -> None:
    body = {"models": [uploaded(client, path) for path in networks], "data": "digits", "samples": "0:2"}
    first, second = (client.post("/comparisons", json=body, headers={"Idempotency-Key": "k"}).json() for _ in range(2))
    assert first["id"] == second["id"]
    assert client.get("/runs").json()["total"] == 2
    other = client.post("/comparisons", json={**body, "samples": "0:3"}, headers={"Idempotency-Key": "k"})
    assert "another question" in refused(other, 409)


@pytest.mark.slow
def test_lists_know_what_belongs_together(client: httpx.Client, networks: tuple[Path, Path]) -> None:
    keys = [compared(client, networks)["id"] for _ in range(3)]
    first = client.get("/comparisons", params={"limit": 2}).json()
    rest = client.get("/comparisons", params={"limit": 2, "cursor": first["next"]}).json()
    assert [one["id"] for one in (*first["items"], *rest["items"])] == keys[::-1]
    assert client.get("/runs", params={"question": "compare"}).json()["total"] == 6


@pytest.mark.slow
def test_runs_go_with_their_comparison(client: httpx.Client, networks: tuple[Path, Path]) -> None:
    found = compared(client, networks)
    first, second = (one["id"] for one in found["runs"])
    at = f"/comparisons/{found['id']}"
    assert "no sample has" not in client.get(f"/runs/{first}/curve").text
    assert f"its page is that of all: {at}/page" in refused(client.get(f"/runs/{first}/report"), 404)
    assert "nothing to compare yet" in refused(client.get(f"{at}/page"), 404)
    assert f"part of comparison {found['id']}" in refused(client.delete(f"/runs/{first}"), 409)
    assert "at work" in refused(client.delete(at), 409)
    client.post(f"/runs/{first}/cancel")
    assert client.get(at).json()["state"] == "running"  # the other one waits for its turn
    assert client.post(f"{at}/cancel").json()["state"] == "cancelled"
    assert "not at work" in refused(client.post(f"{at}/cancel"), 409)
    resumed = client.post(f"{at}/resume", json={"time_limit": 5}).json()
    assert [(one["state"], one["options"]["time_limit"]) for one in resumed["runs"]] == [("queued", 5.0)] * 2
    client.post(f"{at}/cancel")
    assert client.delete(at).status_code == 204
    refused(client.get(at), 404)
    refused(client.get(f"/runs/{second}"), 404)
    for one in found["runs"]:
        assert client.delete(f"/models/{one['model']['id']}").status_code == 204


@pytest.mark.release
def test_more_time_narrows_the_page(working: httpx.Client, networks: tuple[Path, Path]) -> None:
    found = compared(working, networks, "0:1", time_limit=1e-4, engine="search")
    first = ended(working, found["id"])
    assert [one["counts"]["unresolved"] for one in first["runs"]] == [1, 1]
    assert "2 of 2 distances stayed open" in working.get(f"/comparisons/{found['id']}/page").text
    working.post(f"/comparisons/{found['id']}/resume", json={"time_limit": None})
    ended(working, found["id"])
    page = working.get(f"/comparisons/{found['id']}/page").text
    assert "All 2 distances are exact" in page
    assert "no time limit" in page


@pytest.mark.release
def test_what_failed_is_told_as_open_and_what_is_missing_as_missing(
    settings: Settings, reading_here: None, networks: tuple[Path, Path]
) -> None:
    with serving(settings, workers=1) as (client, service):
        found = compared(client, networks, "0:3")
        ended(client, found["id"])
        first, second = (one["id"] for one in found["runs"])
        with service.store._writing() as connection:
            service.store._set(
                connection, first, 1, state="failed", verdict="", lower=0.01, basis="solver", engine="highs"
            )
            service.store._set(connection, second, 2, state="waiting")
        page = client.get(f"/comparisons/{found['id']}/page").text
        assert "1 of 4 distances stayed open" in page
        assert "highs (solver) 1" in page
        assert "1 sample that not every network has: 2. Wait until its runs have finished, or resume it." in page
        with service.store._writing() as connection:
            service.store._stop(connection, second, "SOUNDNESS ALARM: sample 0: out of order")
        assert "stopped by an alarm" in refused(client.get(f"/comparisons/{found['id']}/page"), 409)
        assert client.get(f"/comparisons/{found['id']}").json()["state"] == "failed"


@pytest.mark.slow
def test_limits_count_all_its_runs(settings: Settings, reading_here: None, networks: tuple[Path, Path]) -> None:
    for limits, sentence in (
        (Limits(open_runs=1), "0 runs are open"),
        (Limits(open_samples=3), "4 samples beside 0 that are open"),
    ):
        with serving(replace(settings, limits=limits)) as (client, _):
            body = {"models": [uploaded(client, path) for path in networks], "data": "digits", "samples": "0:2"}
            assert sentence in refused(client.post("/comparisons", json=body), 429)


def test_a_page_that_is_asked_for_while_its_comparison_is_deleted(
    client: httpx.Client, networks: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    at = f"/comparisons/{compared(client, networks)['id']}"
    client.post(f"{at}/cancel")
    honest = Store.comparison

    def then_deleted(store: Store, owner: str, key: str) -> StoredComparison:
        found = honest(store, owner, key)
        monkeypatch.setattr(Store, "comparison", honest)
        store.drop_comparison(owner, key)
        return found

    monkeypatch.setattr(Store, "comparison", then_deleted)
    assert "there is none" in refused(client.get(f"{at}/page"), 404)


@pytest.fixture
def url(settings: Settings, reading_here: None) -> Iterator[str]:
    """A server with a worker, on a port of its own."""
    with answering(settings, workers=1) as (found, _):
        yield found


@pytest.mark.release
def test_from_python(url: str, networks: tuple[Path, Path]) -> None:
    comparison = connect(url).compare(networks, "digits", samples="0:1", norm="linf", title="both", **QUICK)
    comparison.wait()
    assert connect(url).comparison(comparison.key).state()["title"] == "both"
    assert [run.state()["title"] for run in comparison.runs()] == ["plain.onnx", "again.onnx"]
    assert "All 2 distances are exact" in comparison.page()


def with_comparison(store: Store, owner: str = "local", request: str = "q", key: str | None = "k") -> str:
    """A comparison of two runs of one sample each."""
    runs = [replace(run(owner, f"{owner}-{k}", "compare", total=1), comparison_id=f"{owner}-c") for k in range(2)]
    held = StoredComparison(f"{owner}-c", owner, "title", [one.id for one in runs], 1.0)
    return store.add_comparison(held, runs, key, request, [(0, 1)])


@pytest.mark.slow
def test_the_store_keeps_all_or_nothing(store: Store) -> None:
    with pytest.raises(ConflictError, match="one of its models is gone"):
        with_comparison(store, key=None)
    assert store.comparisons("local", 10).total == store.runs("local", 10).total == 0
    store.add_model(model())
    assert with_comparison(store) == with_comparison(store) == "local-c"
    with pytest.raises(ConflictError, match="another question"):
        with_comparison(store, request="other")
    held = store.comparison("local", "local-c")
    assert [[one.id for one in runs] for runs in store.compared([held])] == [["local-0", "local-1"]]
    for run_id in held.runs:
        store.cancel("local", run_id)
    assert store.drop_comparison("local", "local-c") == []
    assert store.runs("local", 10).total == 0
    assert store.compared([held]) == [[]]


@pytest.mark.slow
def test_one_owners_comparison_is_invisible_to_another(store: Store) -> None:
    store.add_model(model())
    with_comparison(store)
    with_comparison(store, "other")
    assert [one.id for one in store.comparisons("other", 10).items] == ["other-c"]
    for action in (store.comparison, store.drop_comparison):
        with pytest.raises(NotThereError, match="comparison 'local-c': there is none"):
            action("other", "local-c")
