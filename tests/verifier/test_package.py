"""Importing the package: what it sets for torch, and only where nobody has."""

from __future__ import annotations

import importlib
import os

import pytest

import verifier


@pytest.mark.parametrize(("before", "after"), [(None, "passive"), ("active", "active")])
def test_waiting_threads_sleep_unless_someone_has_said_otherwise(
    monkeypatch: pytest.MonkeyPatch, before: str | None, after: str
) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", before or "")
    if before is None:
        monkeypatch.delenv("OMP_WAIT_POLICY")
    importlib.reload(verifier)
    assert os.environ["OMP_WAIT_POLICY"] == after
