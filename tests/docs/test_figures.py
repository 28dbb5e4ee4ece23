"""The figures of docs/theory are drawn from the code as it is, with their text as text."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

pytest.importorskip("matplotlib")

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.mark.parametrize("name", ["envelopes", "output-constrained"])
def test_a_figure_is_drawn(name: str, tmp_path: Path) -> None:
    drawn = runpy.run_path(str(DOCS / "figures" / "make.py"))["draw"](name, tmp_path)
    assert "</text>" in drawn.read_text(encoding="utf-8")


def test_every_figure_is_kept_and_no_other() -> None:
    figures = runpy.run_path(str(DOCS / "figures" / "make.py"))["FIGURES"]
    kept = {path.stem.removeprefix("theory-") for path in (DOCS / "_static").glob("theory-*.svg")}
    assert kept == set(figures)
