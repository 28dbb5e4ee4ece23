"""Brackets on the way: a line a minute where something moved, none once a sample has ended, and the last of a stop."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from encoders.deadline import EVERYTHING
from verifier.question.problem import Running
from verifier.runs import running_brackets
from verifier.runs.running_brackets import EVERY, RunningBrackets


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    yield
    EVERYTHING.forget()


def told(lower: float) -> Running:
    return Running(lower, 1.0, answer=f"answer at {lower}")


def test_a_line_a_minute_where_something_moved() -> None:
    lines: list[Any] = []
    running = RunningBrackets(lambda index, answer: lines.append((index, answer)))
    running.see(3, told(0.1))
    now = time.monotonic()
    running.write_due(now + 0.5 * EVERY)
    assert lines == []
    running.write_due(now + 1.1 * EVERY)
    running.write_due(now + 1.2 * EVERY)
    running.see(3, told(0.1))
    running.write_due(now + 2.3 * EVERY)
    assert lines == [(3, "answer at 0.1")]
    running.see(3, told(0.2))
    running.write_due(now + 2.4 * EVERY)
    running.write_due(now + 3.5 * EVERY)
    assert lines == [(3, "answer at 0.1"), (3, "answer at 0.2")]
    running.see(3, told(0.3))
    running.ended(3)
    running.write_due(now + 9.9 * EVERY)
    running.write_last()
    assert len(lines) == 2


def test_a_stop_that_a_sample_does_not_heed_has_its_last_bracket_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running_brackets, "LAST_WORDS", 0.0)
    monkeypatch.setattr(running_brackets, "BETWEEN_LOOKS", 0.01)
    last: list[Any] = []
    with RunningBrackets(lambda index, answer: (index, answer), last.extend) as running:
        running.see(1, told(0.1))
        running.see(2, Running(0.0, 1.0))  # nothing to write down yet
        running.see(3, told(0.3))
        running.ended(3)
        EVERYTHING.ask()
        patience = time.monotonic() + 60.0
        while not last and time.monotonic() < patience:
            time.sleep(0.01)
    assert last == [(1, "answer at 0.1")]


def test_what_a_minute_cannot_write_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running_brackets, "EVERY", 0.0)
    monkeypatch.setattr(running_brackets, "BETWEEN_LOOKS", 0.01)

    def full(index: int, answer: Any) -> None:
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space"), RunningBrackets(full) as running:  # noqa: PT012
        running.see(1, told(0.1))
        patience = time.monotonic() + 60.0
        while time.monotonic() < patience:
            running.see(1, told(0.1))
            time.sleep(0.01)
