"""JSON lines: what is written, what is resumed, what is refused."""

from __future__ import annotations

import io
import json
import resource
from pathlib import Path
from typing import Any

import pytest

from encoders.errors import DataError, OptionError, SoundnessError
from encoders.question import Norm
from verifier.question.results import Basis, Result, Verdict
from verifier.runs.journal import Journal, is_unfinished, record_of

RUN: dict[str, Any] = {"model": "abc", "norm": "linf", "time_limit": None, "box": (0.0, 1.0)}


def result(index: int, lower: float = 0.25, upper: float = 0.25) -> Result:
    return Result(index, 3, 3, Norm.LINF, None, Verdict.EXACT, lower, upper, Basis.RIGOROUS, "search", 1.5)


def write(path: Path, *indices: int, run: dict[str, Any] = RUN) -> None:
    with Journal(path, run) as journal:
        for index in indices:
            journal.write(record_of(result(index), run))


def test_one_object_per_line_with_every_promised_key(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    write(path, 4, 2)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["index"] for line in lines] == [4, 2]
    first = lines[0]
    assert first.pop("run") == {**RUN, "box": [0.0, 1.0]}
    assert first == {
        "index": 4, "label": 3, "predicted": 3, "norm": "linf", "radius": None, "verdict": "exact",
        "lower": 0.25, "upper": 0.25, "target": None, "found_by": None, "seconds": 1.5, "engine": "search",
        "basis": "rigorous",
        "nodes": 0, "open_phases": 0, "execution_error": None,
    }  # fmt: skip


def test_infinity_is_the_string_inf_and_the_line_is_strict_json(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    with Journal(path, RUN) as journal:
        journal.write(record_of(result(0, float("inf"), float("inf")), RUN))

    def refuse(constant: str) -> float:
        raise AssertionError(constant)

    line = json.loads(path.read_text(), parse_constant=refuse)
    assert (line["lower"], line["upper"]) == ("inf", "inf")
    assert float(line["upper"]) == float("inf")


def test_each_line_is_in_the_file_before_the_next_sample_begins(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    with Journal(path, RUN) as journal:
        for count, index in enumerate((7, 8), start=1):
            journal.write(record_of(result(index), RUN))
            assert path.read_text().count("\n") == count


def test_a_second_run_knows_what_is_done_and_appends(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    write(path, 0, 1)
    with Journal(path, RUN) as journal:
        assert sorted(journal.done) == [0, 1]
        assert journal.done[1]["lower"] == 0.25
        journal.write(record_of(result(2), RUN))
    assert [json.loads(line)["index"] for line in path.read_text().splitlines()] == [0, 1, 2]


@pytest.mark.parametrize("cut", [1, 5, 40])
def test_a_line_that_a_crash_cut_short_is_dropped_and_done_again(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "results.jsonl"
    write(path, 0, 1)
    content = path.read_bytes()
    path.write_bytes(content[:-cut])
    with Journal(path, RUN) as journal:
        assert sorted(journal.done) == [0]
        journal.write(record_of(result(1), RUN))
    assert path.read_bytes() == content


def test_a_line_cut_to_its_first_bytes(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    write(path, 0)
    with path.open("ab") as file:
        file.write(b'{"in')
    with Journal(path, RUN) as journal:
        assert sorted(journal.done) == [0]


def test_other_options_are_refused_by_name_and_the_file_stays(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    write(path, 0)
    content = path.read_bytes()
    with pytest.raises(OptionError, match=r'norm was "linf", now "l1"; time_limit was null, now 9') as caught:
        Journal(path, {**RUN, "norm": "l1", "time_limit": 9})
    assert "model" not in str(caught.value)
    assert "box" not in str(caught.value)
    assert path.read_bytes() == content


def test_what_cannot_change_a_bracket_is_no_other_question(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    before = {**RUN, "engine": "module:E", "seed": 3, "device": "cpu", "plugins": {"engines": {"module:E": "a"}}}
    write(path, 0, run=before)  # as files were written while it was part of the question
    now = {name: value for name, value in RUN.items() if name != "time_limit"}
    with Journal(path, now) as journal:
        assert sorted(journal.done) == [0]
        with pytest.raises(OptionError, match="another run is writing it; wait for its end"):
            Journal(path, now)
    with pytest.raises(OptionError, match="norm was"):
        Journal(path, {**now, "norm": "l1"})
    with Journal(path, now) as journal:  # a refusal leaves no lock
        assert sorted(journal.done) == [0]


def test_the_last_line_of_a_sample_counts(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    with Journal(path, RUN) as journal:
        for lower in (0.125, 0.25):
            journal.write(record_of(result(0, lower), RUN))
    with Journal(path, RUN) as journal:
        assert journal.done[0]["lower"] == 0.25


def test_standard_output_has_no_past(
    capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(open(1, "wb", closefd=False)))  # noqa: SIM115
    for _ in range(2):
        with Journal(Path("-"), RUN) as journal:
            assert not journal.done
            journal.write(record_of(result(0), RUN))
    written = capfdbinary.readouterr().out.splitlines()
    assert [json.loads(line)["index"] for line in written] == [0, 0]
    assert not Path("-").exists()


@pytest.mark.parametrize("content", ["notes to myself", "notes\n", '{"a": 1}\n', "[1]\n", "\n", '{"index": 1}\n'])
def test_a_file_that_is_no_journal_is_left_alone(tmp_path: Path, content: str) -> None:
    path = tmp_path / "notes.txt"
    path.write_text(content)
    with pytest.raises(DataError, match="line 1 is not a result"):
        Journal(path, RUN)
    assert path.read_text() == content


def test_a_disk_that_is_full_is_told_by_the_name_of_the_file(tmp_path: Path) -> None:
    path, (soft, hard) = tmp_path / "results.jsonl", resource.getrlimit(resource.RLIMIT_FSIZE)
    write(path, 0)
    room = path.stat().st_size + 100
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
    try:
        with pytest.raises(OSError, match="File too large") as caught:
            write(path, 1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.filename == str(path)
    assert path.stat().st_size == room  # the line is cut short
    write(path, 2)
    assert [json.loads(line)["index"] for line in path.read_text().splitlines()] == [0, 2]


def test_a_missing_folder_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="missing"):
        Journal(tmp_path / "missing" / "results.jsonl", RUN)


@pytest.mark.parametrize(
    "change",
    [
        {"lower": "abc"}, {"lower": float("nan")}, {"upper": None}, {"basis": "great"}, {"index": True},
        {"attempts": [{}]}, {"attempts": 3}, {"ranges": [{"least": [0.0, 1.0]}]},
    ],
)  # fmt: skip
def test_a_line_that_somebody_changed_is_refused_by_its_number(change: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    write(path, 0)
    path.write_text(path.read_text() + json.dumps({**json.loads(path.read_text()), **change}) + "\n")
    with pytest.raises(DataError, match="line 2 is not a result"):
        Journal(path, RUN)


def test_a_line_whose_sides_contradict_each_other_is_an_alarm(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    write(path, 0)
    path.write_text(json.dumps({**json.loads(path.read_text()), "lower": 0.5}) + "\n")
    with pytest.raises(SoundnessError, match=r"line 1: sample 0 has 0.5 for its lower side and 0.25"):
        Journal(path, RUN)


def test_a_sample_is_worked_on_until_an_attempt_ends_by_itself() -> None:
    assert is_unfinished({"verdict": "unresolved", "attempts": [{"ended": "ended"}]})
    assert is_unfinished({"verdict": "exact", "attempts": [{"ended": "ended"}, {"ended": "stopped"}]})
    assert is_unfinished({"verdict": "exact", "attempts": [{"ended": "running"}]})
    assert not is_unfinished({"verdict": "exact", "attempts": [{"ended": "stopped"}, {"ended": "ended"}]})
    assert not is_unfinished({"verdict": "falsified"})  # of attack, whose lines tell of no attempts


def test_a_closed_loss_goes_on_while_a_target_of_it_is_open() -> None:
    loss = {"verdict": "exact", "run": {"each": True, "tolerance": 1e-4}}
    assert is_unfinished(loss)
    assert is_unfinished({**loss, "by_target": {"1": [0.5, 0.50009], "2": [-0.1, 0.5]}})
    assert is_unfinished({**loss, "by_target": {"1": ["-inf", 0.5]}})
    assert not is_unfinished({**loss, "by_target": {"1": [0.5, 0.50009], "2": [9.0, 9.0008], "3": ["-inf", "-inf"]}})
    assert not is_unfinished({**loss, "run": {"each": False}})


ASKED: dict[str, Any] = {**RUN, "tolerance": 1e-6}


def edited(path: Path, run: dict[str, Any] = ASKED, **changed: Any) -> Path:
    """A journal of one line that somebody has changed."""
    with Journal(path, run) as journal:
        journal.write({**record_of(result(0), run), **changed})
    return path


@pytest.mark.parametrize(
    "changed",
    [
        {"lower": 0.1},
        {"lower": 0.0, "upper": "inf"},
        {"verdict": "certified", "radius": 0.25, "upper": "inf"},
        {"verdict": "falsified", "radius": 0.2},
    ],
)
def test_a_verdict_that_its_bracket_does_not_give_is_an_alarm(tmp_path: Path, changed: dict[str, Any]) -> None:
    path = edited(tmp_path / "results.jsonl", **changed)
    told = f"line 1: sample 0 is called {changed.get('verdict', 'exact')}"
    with pytest.raises(SoundnessError, match=told):
        Journal(path, ASKED)


@pytest.mark.parametrize(
    "changed", [{"lower": 0.25 - 1e-6}, {"lower": "inf", "upper": "inf"}, {"verdict": "unresolved", "lower": 0.0}]
)
def test_a_verdict_that_its_bracket_gives_is_taken(tmp_path: Path, changed: dict[str, Any]) -> None:
    with Journal(edited(tmp_path / "results.jsonl", **changed), ASKED) as journal:
        assert sorted(journal.done) == [0]


@pytest.mark.parametrize("changed", [{"verdict": "proven"}, {"index": -1}, {"index": 10**12}, {"lower": 10**400}])
def test_a_line_that_no_run_writes_is_refused_by_its_number(tmp_path: Path, changed: dict[str, Any]) -> None:
    with pytest.raises(DataError, match="line 1 is not a result"):
        Journal(edited(tmp_path / "results.jsonl", **changed), ASKED)


def test_two_lines_of_one_sample_that_contradict_each_other_are_an_alarm(tmp_path: Path) -> None:
    """As where somebody has put two files behind each other."""
    path = tmp_path / "results.jsonl"
    with Journal(path, RUN) as journal:
        for lower in (0.5, 0.25):
            journal.write(record_of(result(0, lower, lower), RUN))
    with pytest.raises(SoundnessError, match=r"one attempt says 0\.5 to 0\.5, and another 0\.25 to 0\.25"):
        Journal(path, RUN)
