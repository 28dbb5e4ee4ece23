"""Which runs have a report."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest

from tests.verifier.service.asking import run
from verifier.options import Options
from verifier.service.reportable import KNOWN, USUAL, why_none


def test_what_says_nothing_is_the_options_own_default() -> None:
    usual: dict[str, Any] = {one.name: one.default for one in fields(Options)}
    beyond = {name: value for name, value in usual.items() if name not in (*KNOWN, "device") and value is not None}
    assert beyond == USUAL


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"norm": "l2", "time_limit": 5.0, "box": [0.0, 1.0]}, None),
        ({"margin": 0, "targets": None, "execution": "real"}, None),
        ({"mask": "a1", "targets": [3]}, "mask, targets"),
        ({"margin": 0.1}, "margin"),
        ({"grid": 255}, "grid"),
        ({"perturbation": "brightness"}, "perturbation"),
        ({"norm": "l0"}, "norm l0"),
    ],
)
def test_a_run_that_asks_what_a_report_does_not_know_has_none(options: dict[str, Any], named: str | None) -> None:
    why = why_none(replace(run(), options=options))
    assert why is None if named is None else why is not None and f"knows no {named};" in why


def test_margins_and_comparisons_have_no_report_of_their_own() -> None:
    assert "a margin has no report" in str(why_none(run(question="margin", radius=0.1)))
    assert "/comparisons/c/page" in str(why_none(replace(run(question="compare"), comparison_id="c")))
