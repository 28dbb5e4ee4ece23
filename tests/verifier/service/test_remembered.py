"""Answers that are made once: how many are kept, and when they are made anew."""

from __future__ import annotations

import time
from functools import partial

import httpx
import pytest

from tests.verifier.service.asking import asked
from verifier.service.api import parts
from verifier.service.remembered import Remembered


def test_what_was_asked_last_is_kept() -> None:
    made = list[str]()
    held = Remembered(most=20)

    def make(asked: str) -> bytes:
        made.append(asked)
        return b"0123456789"

    for key in ("a", "b", "a", "c", "a", "b"):
        assert held.get(key, partial(make, key)) == b"0123456789"
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
    monkeypatch.setattr(time, "time", lambda: 1000.0 + parts.FRESH)  # nodes may have come without an event
    assert client.get(f"/runs/{run}/samples", headers=known).status_code == 200
    client.post(f"/runs/{run}/cancel")
    ended = client.get(f"/runs/{run}/samples", headers=known)
    assert ended.status_code == 200
    monkeypatch.setattr(time, "time", lambda: 9999.0)
    again = client.get(f"/runs/{run}/samples", headers={"If-None-Match": ended.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
