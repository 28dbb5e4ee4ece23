"""The record of what was measured is well-formed, and the pages show what it holds."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import record
from benchmarks.record import FOLDER, PAGE, RECORD, Figure, RecordError, add, check_ids, chosen, read, renewed, table

FIGURE = Figure(
    "a-run.1", "2026-11-28", "abc1234", "2 cores", "nothing", "a net", "a command", "median", "0.5", "s", ""
)


def test_the_record_is_well_formed() -> None:
    figures = read()
    assert len({figure.id for figure in figures}) == len(figures) > 600


def test_the_tables_of_the_page_are_what_the_record_makes_of_them() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert record.TABLE.search(page)
    assert renewed(page, read()) == page, "run: python -m benchmarks.record render"


def test_every_id_that_a_page_names_is_in_the_record() -> None:
    figures = read()
    tried = re.findall(r"\[`([^`]+)`\]\(runs\.csv\)", (FOLDER / "tried.md").read_text(encoding="utf-8"))
    assert len(tried) > 100
    words = re.findall(r"`([a-z0-9-]+\.[1-9][0-9]*)`", PAGE.read_text(encoding="utf-8"))
    assert chosen(figures, [*tried, *(word for word in words if word != "digits-linf.3")])


def test_one_line_for_each_thing_tried() -> None:
    lines = [line for line in (FOLDER / "tried.md").read_text(encoding="utf-8").splitlines() if line.startswith("- ")]
    for line in lines:
        assert line.endswith("](runs.csv)"), line
        assert all(part in line for part in ("*Expected:*", "*Found:*", "*Kept:*")), line


@pytest.mark.parametrize(
    ("column", "cell", "words"),
    [
        ("id", "A run", "does not read as"),
        ("date", "yesterday", "does not read as"),
        ("commit", "main", "does not read as"),
        ("values", "fast", "no numbers"),
        ("values", "", "neither values nor a note"),
        ("subject", "", "is empty"),
        ("note", "x" * 161, "longer than 160"),
        ("note", "two\nlines", "longer than"),
    ],
)
def test_a_row_that_is_not_as_it_must_be(column: str, cell: str, words: str) -> None:
    assert words in (replace(FIGURE, **{column: cell}).problem() or "")


@pytest.mark.parametrize("second", ["a-run.1", "a-run.3"])
def test_ids_stand_once_and_in_order(second: str) -> None:
    with pytest.raises(RecordError, match="numbered 1, 2, 3"):
        check_ids([FIGURE, replace(FIGURE, id=second)])


def test_figures_of_a_run_share_its_conditions() -> None:
    with pytest.raises(RecordError, match="an id of its own"):
        check_ids([FIGURE, replace(FIGURE, id="a-run.2", machine="16 cores")])


def test_a_run_is_added_once(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    path.write_bytes(RECORD.read_bytes())
    second = replace(FIGURE, id="a-run.2", figure="worst", values="0.7; 0.8", unit="s; s")
    add([FIGURE, second], path)
    assert read(path)[-2:] == (FIGURE, second)
    assert second.numbers == (0.7, 0.8)
    assert "| worst | 0.7 s; 0.8 s |" in table(read(path), ["a-run"])
    before = path.read_bytes()
    with pytest.raises(RecordError):
        add([FIGURE], path)
    assert path.read_bytes() == before


def test_an_unknown_id_is_named() -> None:
    with pytest.raises(RecordError, match="no run or figure 'nowhere'"):
        table([FIGURE], ["nowhere"])


def test_the_command_line_shows_rows_and_says_what_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    assert record.main(["table", "digits-linf.2"]) == 0
    assert "0.109 s an image" in capsys.readouterr().out
    assert record.main(["table", "nowhere"]) == 2
    assert "see its first column" in capsys.readouterr().err


@pytest.mark.slow
def test_charts_are_drawn_with_their_text_as_text(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    record.draw(read(), tmp_path)
    text = (tmp_path / "benchmarks-lower-bounds.svg").read_text(encoding="utf-8")
    assert "crown-envelopes</text>" in text
    assert (tmp_path / "benchmarks-growth.svg").exists()
