"""Adversaries beside a journal: what is kept is of its last line, and what cannot be read is nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from verifier.question.results import Adversary
from verifier.runs.kept_adversaries import KeptAdversaries

FOUND = Adversary(np.linspace(0, 1, 64, dtype=np.float32), 0.5, 1, np.array([0.0, 1.0]), "search")


@pytest.fixture
def kept(tmp_path: Path) -> KeptAdversaries:
    folder = KeptAdversaries.beside(tmp_path / "results.jsonl")
    folder.write(3, {"adversary": FOUND})
    return folder


def test_what_is_written_is_read(kept: KeptAdversaries) -> None:
    found = kept.read(3, 64)["adversary"]
    assert np.array_equal(found.input, FOUND.input)
    assert (found.distance, found.label, found.found_by) == (0.5, 1, "search")
    assert kept.read(4, 64) == {}


def test_a_line_without_an_adversary_keeps_none_of_before(kept: KeptAdversaries) -> None:
    kept.write(3, {})
    assert kept.read(3, 64) == {}


def test_one_of_another_number_of_inputs_is_none(kept: KeptAdversaries) -> None:
    assert kept.read(3, 63) == {}


def changed(**arrays: Any) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        held = dict(np.load(path))
        np.savez(path, **{**held, **arrays})

    return write


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[60:-200:97] = bytes(one ^ 0xFF for one in content[60:-200:97])
    path.write_bytes(bytes(content))


BROKEN: dict[str, Callable[[Path], Any]] = {
    "cut": lambda path: path.write_bytes(path.read_bytes()[:200]),
    "empty": lambda path: path.write_bytes(b""),
    "flipped": flipped,
    "text": lambda path: path.write_text("no arrays"),
    "words": changed(**{"adversary/input": np.array(["x"] * 64)}),
    "several labels": changed(**{"adversary/label": np.array([1, 2])}),
}


@pytest.mark.parametrize("how", BROKEN)
def test_what_cannot_be_read_is_nothing(how: str, kept: KeptAdversaries) -> None:
    BROKEN[how](kept.folder / "3.npz")
    assert kept.read(3, 64) == {}
