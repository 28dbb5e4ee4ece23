"""What a report says: no figure above what is proven, both ends of what is undecided, a line for each technique."""

from __future__ import annotations

from typing import Any

import pytest

from bounds.attacks import ATTACKS
from bounds.lower import LOWER_BOUNDS
from encoders.question import Norm
from verifier.studies.gap_report.records import Kind, collected
from verifier.studies.gap_report.told import answer, by_technique, samples, techniques, undecided
from verifier.studies.gap_report.words import line_of


def a_record(index: int, lower: float, upper: float, verdict: str = "unresolved", **more: Any) -> dict[str, Any]:
    return {
        "index": index, "label": 0, "predicted": 0, "verdict": verdict, "lower": lower, "upper": upper, "target": 1,
        "found_by": "fgsm", "basis": "rigorous", "proven_by": "crown", "seconds": 1.0, "estimates": {},
        "bounds": {"crown": {"distance": 0.123456, "seconds": 0.1}},
        "attacks": {"fgsm": {"distance": 0.234561, "seconds": 0.1}},
    } | more  # fmt: skip


def test_tables_show_no_bound_above_and_no_adversary_below_what_is_known() -> None:
    found = collected(Norm.LINF, [a_record(0, 0.12345678, 0.23456712)])
    (row,) = samples(found).rows
    assert tuple(row[3:6]) == ("undecided", "0.123456", "0.234568")
    assert by_technique(found, Kind.BOUND).rows == [("0", "0.12345")]
    assert by_technique(found, Kind.ATTACK).rows == [("0", "0.23457")]


def test_what_is_undecided_says_why_and_is_counted_with_both_ends() -> None:
    records = [
        a_record(0, 0.1, 0.3, why_open="3 phases are open", seconds=5.0),
        a_record(1, 0.2, 0.2, "exact"),
        a_record(2, 0.0, 0.0, "misclassified", bounds={}, attacks={}),
    ]
    found = collected(Norm.LINF, records)
    assert undecided(found).rows == [("0", "3 phases are open")]
    words = answer(found, "data", [0.15], 1e-6)
    assert "known exactly, to within 1e-06, for 1 of them and undecided for 1." in words
    assert "Of the 2 classified right the nearest adversary found is 0.2 away" in words
    assert "the median distance is 0.15 to 0.25." in words
    assert "1 of 3 within 0.15 (33.3% to 66.7%;" in words
    table = techniques(found, balls=8)
    name, kind, median, *_, ran, seconds = table.rows[-1]
    assert (name, kind, median, ran, seconds) == ("exact", "search", "1", "2 of 2", "3.000")  # of all that are right
    assert "closed 1 of 2; its seconds are over all 2" in table.caption
    assert "up to 1/128" in table.caption


@pytest.mark.parametrize("name", [*LOWER_BOUNDS, *ATTACKS])
def test_every_technique_has_a_line_for_the_page(name: str) -> None:
    assert len(line_of(name)) > 20
    assert "`" not in line_of(name)
