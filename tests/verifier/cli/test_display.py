"""Rows and the last line: what is shown is as true as what was proven."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifier.cli.display import HEADER, Display, rounded, row
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


def test_without_a_terminal_progress_is_a_plain_line_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [100.0]
    monkeypatch.setattr("verifier.cli.display.time.monotonic", lambda: clock[0])
    with Display(2) as display:
        for second in range(100, 125):
            clock[0] = float(second)
            display.running(0, Running(0.25, float("inf")))
        display.finished(0, "the row")
    shown = capsys.readouterr()
    assert shown.err.splitlines() == [
        "sample 0: 0.2500000 to inf after 10 s",
        "sample 0: 0.2500000 to inf after 20 s",
    ]
    assert shown.out == "the row\n"
