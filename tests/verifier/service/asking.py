"""What tests ask a service: an upload, a question, the end of it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import httpx

from verifier.service.store.records import RunState, StoredModel, StoredRun

ROOT = Path(__file__).parents[3]
NET = ROOT / "trainers" / "nets" / "digits-64-32-32-10.onnx"
ENDED = ("finished", "cancelled", "failed")


def uploaded(client: httpx.Client, path: Path = NET) -> str:
    """A model's id."""
    answer = client.post("/models", files={"files": (path.name, path.read_bytes())})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def asked(client: httpx.Client, samples: str = "0:3", question: str = "distance", **more: Any) -> dict[str, Any]:
    """A run of the digits, new."""
    body = {"model": more.pop("model", None) or uploaded(client), "data": "digits", "samples": samples}
    answer = client.post("/runs", json=body | {"question": question} | more)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


def ended(client: httpx.Client, run: str, seconds: float = 300.0) -> dict[str, Any]:
    """The run once it has ended."""
    until = time.monotonic() + seconds
    while True:
        found: dict[str, Any] = client.get(f"/runs/{run}").json()
        if found["state"] in ENDED:
            return found
        assert time.monotonic() < until, found
        time.sleep(0.1)


def model(owner: str = "local", key: str = "m") -> StoredModel:
    """A model that is in no file."""
    return StoredModel(key, owner, "net.onnx", "0" * 64, {"net.onnx": "0" * 64}, {}, 1.0)


def run(
    owner: str = "local", key: str = "r", question: str = "distance", radius: float | None = None, total: int = 3,
    created_at: float = 1.0,
) -> StoredRun:  # fmt: skip
    """A run of that model."""
    return StoredRun(
        key, owner, "title", "m", "digits", "", question, radius, {}, False, None, 1e-6, RunState.QUEUED, None, total,
        {}, {}, created_at, None, None,
    )  # fmt: skip
