"""Rows and the last line: what is shown is as true as what was proven."""

from __future__ import annotations

import io
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from verifier.cli.display import HEADER, Display, Rows, rounded, row
from verifier.question.problem import Running
from verifier.runs.summary import summary

RECORD: dict[str, Any] = {
    "index": 3, "label": None, "predicted": 7, "verdict": "exact", "lower": 0.12345678, "upper": 0.12345679,
    "target": 2, "seconds": 1.234, "engine": "search", "basis": "rigorous",
}  # fmt: skip


def test_a_row_by_hand() -> None:
    # 0.12345678 is shown rounded down to seven digits, 0.12345679 rounded up.
    expected = ["3", "-", "7", "exact", "0.1234567", "0.1234568", "0.1234568", "2", "1.23", "search", "rigorous"]
    assert row(RECORD).split() == expected
    assert len(HEADER.split()) == len(expected)


def test_only_an_exact_answer_fills_the_exact_column() -> None:
    assert len(row({**RECORD, "verdict": "unresolved", "upper": "inf", "target": None}).split()) == 10
    assert row({**RECORD, "lower": "inf", "upper": "inf", "target": None}).split()[4:7] == ["inf", "inf", "inf"]


@given(st.floats(0, 1e6))
def test_bounds_are_shown_rounded_outward(value: float) -> None:
    assert float(rounded(value, math.floor)) <= value * (1 + 1e-12)
    assert float(rounded(value, math.ceil)) >= value * (1 - 1e-12)
    assert float(rounded(value, math.ceil)) - float(rounded(value, math.floor)) <= 1.001e-7


def test_the_summary_counts_verdicts_and_times() -> None:
    records = [RECORD, {**RECORD, "seconds": 3.0}, {**RECORD, "verdict": "misclassified", "seconds": 0.0}]
    assert summary(records) == ("3 samples: 2 exact, 1 misclassified; seconds a sample: median 1.23, worst 3.00")
    assert summary([]) == "no sample finished"
    proven = [{**RECORD, "proof": {"file": "3.proof"}}, {**RECORD, "index": 4}, {**RECORD, "index": 5}]
    assert summary(proven, proofs=True).endswith("proofs: 1, none for 2: stopped before it")


def test_without_a_terminal_progress_is_a_plain_line_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [100.0]
    monkeypatch.setattr("verifier.cli.display.time.monotonic", lambda: clock[0])
    with Display(2) as display:
        for second in range(100, 225):
            clock[0] = float(second)
            display.running(0, Running(0.25, float("inf")))
        display.finished(0, "the row")
    shown = capsys.readouterr()
    assert shown.err.splitlines() == [
        "sample 0: 0.2500000 to inf after 60 s",
        "sample 0: 0.2500000 to inf after 120 s",
    ]
    assert shown.out == "the row\n"


def shown(display: Display, width: int) -> list[str]:
    text = io.StringIO()
    Console(file=text, width=width).print(display.table(width))
    return text.getvalue().rstrip().splitlines()


@pytest.mark.parametrize("width", [44, 60, 80, 140])
def test_a_live_line_for_each_sample_fits_the_terminal(width: int) -> None:
    display = Display(3)
    display.running(0, Running(0.25, float("inf"), nodes=12_345, technique="search"))
    display.running(12, Running(0.125, 0.5, nodes=1, technique="highs"))
    title, header, first, second = shown(display, width)
    assert title.strip() == "0 of 3 done"
    assert header.split()[0] == "sample"
    assert header.split()[-1] == "seconds"
    assert first.split()[:3] == ["0", "0.2500000", "inf"]
    assert second.split()[:3] == ["12", "0.1250000", "0.5000000"]
    assert ("0.38" in second) == (width >= 58)
    assert ("12,345" in first) == (width >= 68)
    assert ("highs" in second) == (width >= 80)
    assert "…" not in "".join((title, header, first, second))


def test_time_left_is_told_from_samples_that_were_worked_on(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr("verifier.cli.display.time.monotonic", lambda: clock[0])
    display = Display(12)
    display.finished(0, "it was in the journal")
    assert display.overall(130.0) == "1 of 12 done"
    display.running(1, Running(0.0, 1.0))
    display.finished(1, "row")
    assert display.overall(130.0) == "2 of 12 done, about 5 min left at this pace"
    assert display.overall(101.0) == "2 of 12 done, about 10 s left at this pace"


def test_rows_wait_for_those_before_them(capsys: pytest.CaptureFixture[str]) -> None:
    with Rows(Display(3), [5, 2, 7]) as rows:
        rows.finished(2, "two")
        assert capsys.readouterr().out == ""
        rows.finished(5, "five")
        assert capsys.readouterr().out == "five\ntwo\n"
        rows.finished(9, "nine")  # behind one that has no row
    assert capsys.readouterr().out == "nine\n"
