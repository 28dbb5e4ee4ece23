"""What was asked anew and stays open is no weaker than the line before it, side by side and basis by basis."""

from __future__ import annotations

from typing import Any

import pytest

from verifier.runs.joined_lines import joined

Record = dict[str, Any]


def line(lower: float | str, upper: float | str, verdict: str = "unresolved", **more: Any) -> Record:
    told = {"index": 0, "verdict": verdict, "lower": lower, "upper": upper, "basis": "rigorous", "engine": "search"}
    return {**told, "target": 1, "found_by": "fab", "execution_error": None, "seconds": 2.0, **more}


def test_each_side_is_the_narrower_one_with_what_is_told_of_it() -> None:
    before = line(0.2, 0.9, basis="solver", engine="highs", target=2, found_by="walk", seconds=1.0)
    found = joined(before, line(0.1, 0.5))
    assert (found.record["lower"], found.record["basis"], found.record["proven_by"]) == (0.2, "solver", "highs")
    assert (found.record["upper"], found.record["target"], found.record["found_by"]) == (0.5, 1, "fab")
    assert (found.record["seconds"], found.kept) == (2.0, set())
    found = joined(before, line(0.3, "inf", target=None, found_by=None))
    assert (found.record["lower"], found.record["basis"], "proven_by" in found.record) == (0.3, "rigorous", False)
    assert (found.record["upper"], found.record["target"], found.record["found_by"]) == (0.9, 2, "walk")
    assert found.kept == {"adversary"}
    assert joined({**before, "proven_by": "crown"}, line(0.1, 0.5)).record["proven_by"] == "crown"


def test_what_was_answered_stays_answered() -> None:
    found = joined(line(0.5, 0.5, "exact"), line(0.0, "inf", why_open="no time", target=None)).record
    assert (found["verdict"], found["lower"], found["upper"], found["target"]) == ("exact", 0.5, 0.5, 1)
    assert joined(line(0.7, "inf", "certified"), line(0.0, "inf")).record["verdict"] == "certified"
    assert joined(line(0.0, 0.1, "falsified"), line(0.0, "inf")).record["verdict"] == "falsified"


def test_a_proof_that_is_a_rounding_above_a_witness_ends_at_it() -> None:
    assert joined(line(0.5 + 1e-9, 0.6), line(0.1, 0.5)).record["lower"] == 0.5
    loss = joined(line(0.5, 0.6, against=0), line(0.1, 0.5 - 1e-9, against=0)).record
    assert (loss["lower"], loss["upper"]) == (0.5, 0.5)


def test_of_a_loss_the_upper_side_is_proven() -> None:
    before = line(-0.5, 0.7, against=0, basis="solver", target=2)
    found = joined(before, line(-0.9, 0.9, against=0))
    assert (found.record["lower"], found.record["upper"]) == (-0.5, 0.7)
    assert (found.record["basis"], found.record["target"], found.kept) == ("solver", 2, {"worst"})
    assert "proven_by" not in found.record
    found = joined(before, line(-0.4, 0.6, against=0))
    assert (found.record["basis"], found.record["target"], found.kept) == ("rigorous", 1, set())


def test_targets_by_themselves() -> None:
    before = line(0.0, 1.0, against=0, basis="solver", by_target={"1": [0.0, 1.0], "2": [-1.0, "inf"]})
    now = line(0.0, 0.9, against=0, by_target={"1": ["-inf", 0.9], "2": [-2.0, 0.5]})
    found = joined(before, now).record
    assert found["by_target"] == {"1": [0.0, 0.9], "2": [-1.0, 0.5]}
    assert found["basis"] == "solver"  # of one target of another
    assert joined(before, line(0.0, 0.9, against=0)).record["by_target"] == before["by_target"]


@pytest.mark.parametrize(
    ("least", "greatest", "basis", "kept"),
    [
        ([-9.0, 1.0], [2.0, 9.0], "solver", {"lowest-0", "highest-0"}),
        ([-1.0, -1.0], [3.0, 3.0], "rigorous", set()),
        ([-1.0, 1.0], [2.0, 9.0], "solver", {"lowest-0", "highest-0"}),  # one proven end of each
    ],
)
def test_ranges_end_by_end(least: list[float], greatest: list[float], basis: str, kept: set[str]) -> None:
    def ranges(least: list[float], greatest: list[float], basis: str) -> Record:
        one = {"least": least, "greatest": greatest, "basis": basis, "verdict": "unresolved", "why_open": "no time"}
        return {"index": 0, "verdict": "unresolved", "basis": basis, "ranges": [one]}

    before = ranges([-2.0, 0.0], [2.5, 4.0], "solver")
    found = joined(before, ranges(least, greatest, "rigorous"))
    (one,) = found.record["ranges"]
    assert one["least"] == [max(-2.0, least[0]), min(0.0, least[1])]
    assert one["greatest"] == [max(2.5, greatest[0]), min(4.0, greatest[1])]
    assert (one["basis"], found.record["basis"], found.kept) == (basis, basis, kept)
    before["ranges"][0]["verdict"] = before["verdict"] = "exact"
    closed = joined(before, ranges(least, greatest, "rigorous")).record
    assert (closed["verdict"], closed["ranges"][0]["verdict"]) == ("exact", "exact")
    assert "why_open" not in closed["ranges"][0]
