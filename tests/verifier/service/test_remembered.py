"""Answers that are made once: how many are kept, and when they are made anew."""

from __future__ import annotations

import time

import httpx
import pytest

from tests.verifier.service.asking import asked
from tests.verifier.service.conftest import serving
from verifier.service.api import parts
from verifier.service.remembered import Remembered
from verifier.service.settings import Settings


def test_what_was_asked_last_is_kept() -> None:
    made = list[str]()
    held = Remembered(most=20)
    for key in ("a", "b", "a", "c", "a", "b"):
        if held.get(key) is None:
            made.append(key)
            assert held.put(key, b"0123456789") == b"0123456789"
    assert made == ["a", "b", "c", "b"]


def test_a_list_is_made_anew_where_something_has_happened(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = asked(client, "0:2")["id"]
    monkeypatch.setattr(time, "time", lambda: 1000.0)
    first = client.get(f"/runs/{run}/samples")
    known = {"If-None-Match": first.headers["etag"]}
    assert client.get(f"/runs/{run}/samples", headers=known).status_code == 304
    assert client.get(f"/runs/{run}/samples?limit=1").json()["items"] == first.json()["items"][:1]
    monkeypatch.setattr(time, "time", lambda: 1000.0 + parts.FRESH)
    assert client.get(f"/runs/{run}/samples", headers=known).status_code == 304  # nobody is at work on it
    client.post(f"/runs/{run}/cancel")
    ended = client.get(f"/runs/{run}/samples", headers=known)
    assert ended.status_code == 200
    monkeypatch.setattr(time, "time", lambda: 9999.0)
    again = client.get(f"/runs/{run}/samples", headers={"If-None-Match": ended.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_while_a_run_is_at_work_it_is_made_anew_by_and_by(
    settings: Settings, reading_here: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(settings) as (client, service):
        run = asked(client, "0:2")["id"]
        service.store.register("worker")
        assert service.store.claim("worker") is not None
        monkeypatch.setattr(time, "time", lambda: 1000.0)
        known = {"If-None-Match": client.get(f"/runs/{run}/samples").headers["etag"]}
        assert client.get(f"/runs/{run}/samples", headers=known).status_code == 304
        monkeypatch.setattr(time, "time", lambda: 1000.0 + parts.FRESH)  # nodes may have come without an event
        assert client.get(f"/runs/{run}/samples", headers=known).status_code == 200


def test_what_was_answered_before_is_looked_for_before_any_route(
    settings: Settings, reading_here: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(settings) as (client, _):
        run = asked(client, "0:2")["id"]
        paths = [f"/runs/{run}", f"/runs/{run}/samples?limit=1", f"/runs/{run}/curve"]
        first = [client.get(path) for path in paths]
        monkeypatch.setattr("verifier.service.api.parts.tag_of", None)  # which every route asks for
        again = [client.get(path) for path in paths]
        assert [one.content for one in again] == [one.content for one in first]
        for name in ("etag", "content-type", "cache-control", "content-security-policy"):
            assert [one.headers[name] for one in again] == [one.headers[name] for one in first]
        assert client.get(f"/runs/{run}/samples?limit=2").status_code == 500
        assert client.get("/runs/0000000000000000").status_code == 500
