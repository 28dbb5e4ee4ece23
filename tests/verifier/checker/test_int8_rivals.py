"""Proofs of int8 nets that classes lead by less than some margin: by hand on one input, and what is no such list."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.verifier.checker.small_proofs import Line, hexadecimal, packed
from tests.verifier.checker.test_int8_rules import FLAT, PROOF, STEP, first_line, two_scores
from verifier.checker import Verdict, check, load_int8, read_grid_statement


def leads(model: Path, below: int, margin: float, **changed: Any) -> Verdict:
    """A proof that class 1 leads class 0 by less than a margin at all steps from 18 below a measure."""
    first = first_line(model, 18, below, margin=hexadecimal(margin), **({"rivals": [1]} | changed))
    return check(packed(first, *PROOF), model)


# Class 0 has the level 10. Class 1 has 9 at 18; 10 at 19 (9.5, even) to 21 (10.5, even); 11 at 22. A level is 1/64.
@pytest.mark.parametrize(("below", "lead"), [(1, -1), (2, 0), (4, 0), (5, 1)])
@pytest.mark.parametrize("norm", ["linf", "l1"])
def test_a_greatest_lead_by_hand(below: int, lead: int, norm: str, tmp_path: Path) -> None:
    model, reached = two_scores(tmp_path), lead * STEP
    more = float(np.nextafter(reached, 9.0))
    found = leads(model, below, more, norm=norm)
    assert found.whole, found.told()
    assert found.proven == (
        f"no rival (class 1) leads class 0 by {more!r} or more nearer than {norm} {below}/64 on the grid of 64"
    )
    assert found.about.endswith(" of class 0 against class 1 as the only rival")
    assert "something is left" in leads(model, below, reached, norm=norm).why
    assert "something is left" in leads(model, below, reached - STEP, norm=norm).why


def test_squares_and_counts_of_steps_by_hand(tmp_path: Path) -> None:
    """In L2 a measure below 16 is three steps, where the lead is 0 at most; in L0 one input moves to 64: 32 levels."""
    model = two_scores(tmp_path)
    for norm, below, lead in (("l2", 16, 0.0), ("l2", 17, STEP), ("l0", 1, -STEP), ("l0", 2, 22 * STEP)):
        assert leads(model, below, float(np.nextafter(lead, 9.0)), norm=norm).whole
        assert not leads(model, below, lead, norm=norm).accepted


def test_without_rivals_a_margin_below_zero_is_a_win_all_the_same(tmp_path: Path) -> None:
    """What files said before there were rivals: ties at 19 to 21 are no wins."""
    model = two_scores(tmp_path)
    first = first_line(model, 18, 4, margin=hexadecimal(-5))
    assert check(packed(first, *PROOF), model).whole
    assert not check(packed(first | {"rivals": [1]}, *PROOF), model).accepted
    tie = {"steps": [3], "measure": 3}
    alone = first_line(model, 18, None, tie, margin=hexadecimal(-5))
    assert "is no adversary" in check(packed(alone), model).why
    assert check(packed(alone | {"rivals": [1]}), model).whole


def test_a_lead_is_a_witness_at_its_margin_and_no_higher(tmp_path: Path) -> None:
    model, at_home = two_scores(tmp_path), {"steps": [0], "measure": 0}
    first = first_line(model, 18, None, at_home, margin=hexadecimal(-STEP), rivals=[1])
    found = check(packed(first), model)
    assert found.proven == "one rival (class 1) leads class 0 by -0.015625 or more at linf 0/64 on the grid of 64"
    higher = hexadecimal(float(np.nextafter(-STEP, 9.0)))
    assert "is no adversary" in check(packed(first | {"margin": higher}), model).why


def test_both_sides_in_words(tmp_path: Path) -> None:
    model, tie = two_scores(tmp_path), {"steps": [1], "measure": 1}
    first = first_line(model, 18, 1, tie, margin=hexadecimal(0), rivals=[1])
    assert check(packed(first, *PROOF), model).proven == (
        "no rival (class 1) leads class 0 by 0 or more nearer than linf 1/64; one does at 1/64 on the grid of 64"
    )


def test_a_lead_that_none_has_and_one_that_all_have(tmp_path: Path) -> None:
    """Levels are 0 to 255: a lead of 256 levels has no points, and one of -255 has them all."""
    model = two_scores(tmp_path)
    never = first_line(model, 18, 60, margin=hexadecimal(256 * STEP), rivals=[1])
    assert check(packed(never, {"goal": 1}, {"close": True}), model).proven.startswith(
        "no rival (class 1) leads class 0 by 4 or more anywhere"
    )
    for lead, least in ((255, 255), (1.5, 2), (0, 0), (-0.5, 0), (-1, -1), (-255, -255), (-999, -255)):
        claim = read_grid_statement(first_line(model, 18, 1, margin=hexadecimal(lead * STEP)))
        assert load_int8(model, claim).lead(claim.margin, wins=False) == least
        assert load_int8(model, claim).lead(claim.margin, wins=True) == max(1, least)


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"rivals": []}, "rivals is empty, or names a class twice"),
        ({"rivals": [1, 1]}, "rivals is empty, or names a class twice"),
        ({"rivals": [0]}, "rivals names class 0, the one that they are to lead"),
        ({"rivals": [2]}, "a class that the model has not"),
        ({"rivals": None}, "rivals is no list"),
        ({"rivals": [1], "targets": [1]}, "rivals and targets are both lists"),
        ({"rivals": [0], "against": 1}, "goal 1 is not the next one"),
        ({"rival": [1]}, "'rival' is not known"),
    ],
)
def test_lists_that_are_refused(changed: Line, why: str, tmp_path: Path) -> None:
    model = two_scores(tmp_path)
    found = check(packed(first_line(model, 18, 1, **changed), *PROOF), model)
    assert not found.accepted
    assert why in found.why


def test_every_rival_has_a_tree(tmp_path: Path) -> None:
    """Of class 1, whose level is 9 at 18, class 0 is the only rival, and leads by one level."""
    model = two_scores(tmp_path)
    lines: tuple[Line, ...] = (FLAT, {"goal": 0}, {"narrow": [1]}, {"close": True})
    for lead, whole in ((2, True), (1, False)):
        first = first_line(model, 18, 1, margin=hexadecimal(lead * STEP), rivals=[0], against=1)
        assert check(packed(first, *lines), model).whole == whole
        assert not check(packed(first, FLAT), model).accepted
