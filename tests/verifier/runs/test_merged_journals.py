"""Journals joined: what counts of a sample in several, what is missing, and what other programs are given."""

from __future__ import annotations

import csv
import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from encoders.errors import DataError, OptionError, SoundnessError
from verifier.runs.merged_journals import Merged, merged_journals

RUN = {"command": "distance", "norm": "linf"}


def line(index: int, lower: float | str, upper: float | str, **more: Any) -> dict[str, Any]:
    verdict = "exact" if lower == upper else "unresolved"
    return {"index": index, "verdict": verdict, "lower": lower, "upper": upper, **more, "run": RUN}


def written(path: Path, *records: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def test_of_a_sample_in_several_the_narrowest_bracket_counts(tmp_path: Path) -> None:
    first = written(tmp_path / "a", line(0, 0.1, 0.9), line(0, 0.2, 0.8), line(1, 0.5, 0.5), line(4, 0.0, "inf"))
    second = written(tmp_path / "b", line(0, 0.1, 0.3), line(1, 0.4, 0.6))
    found = merged_journals([first, second])
    assert [(one["index"], one["lower"], one["upper"]) for one in found.records] == [
        (0, 0.1, 0.3), (1, 0.5, 0.5), (4, 0.0, "inf"),
    ]  # fmt: skip
    assert found.open == [0, 4]
    assert found.missing() == [2, 3]
    assert found.missing(range(1, 6)) == [2, 3, 5]


def test_brackets_that_do_not_meet_are_an_alarm(tmp_path: Path) -> None:
    files = [written(tmp_path / "a", line(0, 0.5, 0.9)), written(tmp_path / "b", line(0, 0.1, 0.4))]
    with pytest.raises(SoundnessError, match=r"sample 0: one attempt says 0.5 to 0.9, and another 0.1 to 0.4"):
        merged_journals(files)


def test_engines_may_differ_and_questions_may_not(tmp_path: Path) -> None:
    other = {**line(1, 0.5, 0.5), "run": {**RUN, "engine": "highs", "time_limit": 3}}
    assert len(merged_journals([written(tmp_path / "a", line(0, 0.5, 0.5), other)]).records) == 2
    with pytest.raises(OptionError, match="norm was"):
        merged_journals([tmp_path / "a", written(tmp_path / "b", {**line(2, 0.5, 0.5), "run": {**RUN, "norm": "l1"}})])
    with pytest.raises(DataError, match="no result"):
        merged_journals([written(tmp_path / "c")])


def test_the_curve_is_proven_and_possible() -> None:
    found = Merged(RUN, (line(0, 0.1, 0.1), line(1, 0.2, 0.4), line(2, 0.3, "inf"), line(3, 0.0, 0.0)))
    assert found.curve([0.15, 0.35]) == [(0.15, 0.5, 0.5), (0.35, 0.0, 0.5)]
    assert all(0.0 < radius <= 0.4 for radius in found.radii())
    assert Merged(RUN, (line(0, 0.0, "inf"),)).radii() == []


def test_csv_reads_back(tmp_path: Path) -> None:
    ranges = [{"combination": [1.0, -1.0], "least": [0.0, 0.1], "greatest": [0.7, "inf"], "verdict": "unresolved"}]
    found = Merged(RUN, (line(0, 0.1, "inf", why_open='3, or "so"'), {"index": 1, "ranges": ranges, "run": RUN}))
    found.write_csv(tmp_path / "a.csv")
    with (tmp_path / "a.csv").open(newline="") as file:
        first, second = csv.DictReader(file)
    assert (first["lower"], first["upper"], first["why_open"]) == ("0.1", "inf", '3, or "so"')
    assert (second["combination"], second["least_upper"], second["greatest_upper"]) == ("1 -1", "0.1", "inf")


def test_parquet_says_what_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = Merged(RUN, (line(0, 0.1, "inf"),))
    monkeypatch.setattr("verifier.runs.merged_journals.find_spec", lambda name: None)
    with pytest.raises(OptionError, match="pip install pandas"):
        found.write_parquet(tmp_path / "a.parquet")
    monkeypatch.undo()
    if importlib.util.find_spec("pyarrow") is not None:
        import pandas as pd

        found.write_parquet(tmp_path / "a.parquet")
        assert pd.read_parquet(tmp_path / "a.parquet")["upper"].tolist() == [float("inf")]


def test_a_proof_of_a_radius_and_an_adversary_at_it_are_an_alarm(tmp_path: Path) -> None:
    proof = {**line(0, 0.1 + 1e-10, "inf"), "verdict": "certified"}
    witness = {**line(0, 0.0, 0.1), "verdict": "falsified"}
    files = [written(tmp_path / "a", proof), written(tmp_path / "b", witness)]
    with pytest.raises(SoundnessError, match=r"sample 0: one attempt certifies, and another falsifies"):
        merged_journals(files)


def test_of_two_without_an_end_the_one_that_begins_higher_counts(tmp_path: Path) -> None:
    files = [written(tmp_path / "a", line(0, 0.1, "inf")), written(tmp_path / "b", line(0, 0.4, "inf"))]
    for order in (files, files[::-1]):
        assert merged_journals(order).records[0]["lower"] == 0.4


def test_two_lines_of_one_file_that_contradict_each_other_are_an_alarm(tmp_path: Path) -> None:
    with pytest.raises(SoundnessError, match="sample 0: one attempt says"):
        merged_journals([written(tmp_path / "a", line(0, 0.5, 0.9), line(0, 0.1, 0.4))])


def test_a_line_without_a_bracket_is_none(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="line 1 is not a result"):
        merged_journals([written(tmp_path / "a", {"index": 0, "run": RUN})])
