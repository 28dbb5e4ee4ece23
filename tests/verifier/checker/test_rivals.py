"""Proofs in which only some classes count as others: what they say, by hand, and what is no such list."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from tests.verifier.checker.small_proofs import Line, fully_connected, hexadecimal, packed, ranges, statement
from verifier.checker import Verdict, check

CLOSE: Line = {"close": True}
HAIR = 2.0**-20


@pytest.fixture(params=["exact", "float"])
def arithmetic(request: pytest.FixtureRequest) -> Literal["exact", "float"]:
    found: Literal["exact", "float"] = request.param
    return found


@pytest.fixture
def three(tmp_path: Path) -> Path:
    """Three classes with the scores 1, relu(x) and -2."""
    return fully_connected(tmp_path / "three.onnx", [([[1]], [0]), ([[0, 1, 0]], [1, 0, -2])])


@pytest.fixture
def beaten(tmp_path: Path) -> Path:
    """Class 2 leads class 0 by 1 everywhere, and class 1 leads both: the scores are 0, 5 + relu(x) and 1."""
    return fully_connected(tmp_path / "beaten.onnx", [([[1]], [0]), ([[0, 1, 0]], [0, 5, 1])])


def of_goals(model: Path, arithmetic: Literal["exact", "float"], goals: dict[int, Line], **changed: Any) -> Verdict:
    """A proof within 3/2 of 0, of these goals, each closed by one line."""
    changed["margin"] = hexadecimal(changed.get("margin", 0.0))
    lines = [line for goal, close in goals.items() for line in ({"goal": goal}, close)]
    first = statement(model, [0], 1.5, **changed)
    return check(packed(first, ranges(0, [-1.5], [1.5], hair=arithmetic == "float"), *lines), model, arithmetic)


@pytest.mark.parametrize(("rival", "lead"), [(1, 0.5), (2, -3.0)])
def test_only_a_rival_counts(three: Path, arithmetic: Literal["exact", "float"], rival: int, lead: float) -> None:
    """Within 3/2, class 1 leads by 1/2 at most, and class 2 by -3: neither is less than that."""
    more = lead + HAIR if arithmetic == "float" else float(np.nextafter(lead, 9.0))
    verdict = of_goals(three, arithmetic, {rival: CLOSE}, rivals=[rival], margin=more)
    assert verdict.whole, verdict.told()
    assert verdict.proven == f"no rival (class {rival}) leads class 0 by {more!r} or more within linf 1.5"
    assert verdict.about.endswith(f" of class 0 against class {rival} as the only rival")
    assert not of_goals(three, arithmetic, {rival: CLOSE}, rivals=[rival], margin=lead).accepted
    assert not of_goals(three, arithmetic, {rival: CLOSE}, margin=more).accepted  # of the other class nothing is shown


def test_every_rival_has_a_tree_in_the_order_of_the_list(three: Path, arithmetic: Literal["exact", "float"]) -> None:
    two: dict[int, Line] = {2: CLOSE, 1: CLOSE}
    verdict = of_goals(three, arithmetic, two, rivals=[2, 1], margin=0.75)
    assert verdict.proven == "no rival (class 2, 1) leads class 0 by 0.75 or more within linf 1.5"
    assert verdict.about.endswith("against class 2, 1 as the only rivals")
    assert not of_goals(three, arithmetic, two, rivals=[1, 2], margin=0.75).accepted
    for left in two:
        assert not of_goals(three, arithmetic, {left: CLOSE}, rivals=[2, 1], margin=0.75).accepted
    assert not of_goals(three, arithmetic, two, rivals=[2], margin=0.75).accepted  # a tree too many


def test_a_rival_need_not_lead_all_classes_as_a_target_does(
    beaten: Path, arithmetic: Literal["exact", "float"]
) -> None:
    """No input is classified as 2, which class 1 leads by 4; yet it leads class 0 by 1, and by no more."""
    by_class_1 = CLOSE | {"rows": [0, 1]}
    verdict = of_goals(beaten, arithmetic, {2: by_class_1}, targets=[2])
    assert verdict.proven == "no adversary of class 2 within linf 1.5"
    assert verdict.about.endswith(" of class 0 against class 2")
    for rows in ({}, {"rows": [1]}, {"rows": [0]}, {"rows": [0, 1]}):
        assert not of_goals(beaten, arithmetic, {2: CLOSE | rows}, rivals=[2]).accepted
        assert not of_goals(beaten, arithmetic, {2: CLOSE | rows}, rivals=[2], margin=1).accepted
    assert of_goals(beaten, arithmetic, {2: CLOSE}, rivals=[2], margin=1 + HAIR).whole


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"rivals": []}, "rivals is empty, or names a class twice"),
        ({"rivals": [1, 1]}, "rivals is empty, or names a class twice"),
        ({"rivals": [0]}, "rivals names class 0, the one that they are to lead"),
        ({"rivals": [1, 0]}, "rivals names class 0"),
        ({"rivals": [3]}, "a class that the model has not"),
        ({"rivals": [-1]}, "a rival is -1"),
        ({"rivals": [True]}, "a rival is no whole number"),
        ({"rivals": ["1"]}, "a rival is no whole number"),
        ({"rivals": None}, "rivals is no list"),
        ({"rivals": 1}, "rivals is no list"),
        ({"rivals": [1], "targets": [1]}, "rivals and targets are both lists"),
        ({"rivals": [1], "targets": []}, "targets is empty"),
        ({"rival": [1]}, "'rival' is not known"),
    ],
)
@pytest.mark.parametrize("goals", [(), (1,), (0, 1), (1, 2)])
def test_lists_that_are_refused(three: Path, changed: Line, why: str, goals: tuple[int, ...]) -> None:
    verdict = of_goals(three, "exact", dict.fromkeys(goals, CLOSE), margin=0.75, **changed)
    assert not verdict.accepted
    assert why in verdict.why


def test_a_witness_is_of_a_rival(three: Path) -> None:
    """At 2, class 1 leads class 0 by 1; class 2 leads nowhere."""

    def verdict(rivals: list[int], lead: float = 0.0) -> Verdict:
        witness = {"input": hexadecimal([2]), "distance": hexadecimal(2)}
        first = statement(three, [0], None, rivals=rivals, witness=witness, margin=hexadecimal(lead))
        return check(packed(first), three, "exact")

    assert verdict([2, 1], 1.0).proven == "one rival (class 2, 1) leads class 0 by 1 or more within linf 2"
    assert verdict([1], -1.0).whole
    for rivals, lead in (([1], float(np.nextafter(1.0, 2.0))), ([2], 0.0), ([2], -4.0)):  # a witness leads by something
        assert "the witness is no adversary" in verdict(rivals, lead).why


def test_a_bracket_of_rivals_in_words(three: Path, arithmetic: Literal["exact", "float"]) -> None:
    witness = {"input": hexadecimal([2.5]), "distance": hexadecimal(2.5)}
    verdict = of_goals(three, arithmetic, {1: CLOSE}, rivals=[1], margin=0.75, witness=witness)
    said = "no rival (class 1) leads class 0 by 0.75 or more within linf 1.5; one does at 2.5"
    assert verdict.told() == f"accepted: {said} ({arithmetic} arithmetic)"


def test_a_lead_that_no_float_is_said_to_the_side_that_claims_less(three: Path) -> None:
    """3/4 + 2^-59 is no float: a proof says that a lead is below a little more, a witness has a little less."""
    margin = [(3 << 59) // 4 + 1, -59]
    first = statement(three, [0], 1.5, rivals=[1], margin=margin)
    rest = (ranges(0, [-1.5], [1.5]), {"goal": 1}, CLOSE)
    assert "by 0.750001 or more" in check(packed(first, *rest), three, "exact").proven
    witness = {"input": hexadecimal([2.5]), "distance": hexadecimal(2.5)}
    alone = check(packed(first | {"radius": None, "witness": witness}), three, "exact")
    assert "leads class 0 by 0.750000 or more within" in alone.proven
    both = check(packed(first | {"witness": witness}, *rest), three, "exact")
    assert both.proven.endswith("; one does by 0.750000 or more at 2.5")
