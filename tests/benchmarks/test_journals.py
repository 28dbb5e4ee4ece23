"""Two journals beside each other, by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.journals import compare, main


def record(index: int, lower: float | str, upper: float | str, verdict: str = "exact", seconds: float = 1.0) -> dict:  # type: ignore[type-arg]
    return {"index": index, "verdict": verdict, "lower": lower, "upper": upper, "seconds": seconds}


BEFORE = [record(0, 1.0, 1.0), record(1, 0.5, 2.0, "bracket"), record(2, "inf", "inf"), record(3, 1.0, 1.5, "bracket")]
AFTER = [
    record(0, 1.1, 1.1),  # cannot be, with the one before
    record(1, 1.5, 1.5, seconds=3.0),  # closed meanwhile
    record(2, "inf", "inf", seconds=2.0),
    record(3, 1.2, 1.5, "bracket", seconds=2.0),
    record(4, 1.0, 1.0),  # not in both
]


def test_what_contradicts_what_changed_and_what_moved() -> None:
    found = compare({r["index"]: r for r in BEFORE}, {r["index"]: r for r in AFTER})
    assert (found.samples, found.seconds, found.ratio) == (4, (4.0, 8.0), 2.0)
    lines = (found.contradictions, found.changed, found.moved)
    assert [[line.split(":")[0] for line in group] for group in lines] == [["sample 0"], ["sample 1"], ["sample 3"]]


def test_its_status_says_whether_an_answer_changed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before, after = tmp_path / "before.jsonl", tmp_path / "after.jsonl"
    before.write_text("".join(json.dumps(r) + "\n" for r in BEFORE))
    after.write_text("".join(json.dumps(r) + "\n" for r in AFTER))
    assert main([str(before), str(before)]) == 0
    assert main([str(before), str(after)]) == 1
    assert "contradictions: sample 0: exact [1, 1] before, exact [1.1, 1.1] after" in capsys.readouterr().out
    after.write_text("no journal\n")
    with pytest.raises(SystemExit, match="no journal of plumbline"):
        main([str(before), str(after)])
