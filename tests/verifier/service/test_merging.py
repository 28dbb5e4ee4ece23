"""Brackets merge to the same whatever the order, however often, and a proof above an adversary is the alarm."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from encoders.errors import SoundnessError
from tests.verifier.service.asking import run
from verifier.service.merging import Asked, merged, told
from verifier.service.store.records import Finding, StoredSample

EXACT = 0.5  # what all true findings are about
DISTANCE, VERIFY, VALUE = Asked(None, 1e-6), Asked(0.4, 1e-6), Asked(None, 1e-4, value=True)


def sample(asked: Asked = DISTANCE) -> StoredSample:
    lower, upper = asked.nowhere()
    return StoredSample(
        "r", 0, 0, "running", 1, 0, "w", None, None, "", lower, upper, math.inf, None, None, None, None, None, 0, None,
        0.0, None, None, None,
    )  # fmt: skip


def answer(lower: float, upper: float, verdict: str = "unresolved", adversary: str | None = "a") -> Finding:
    record = {"verdict": verdict, "lower": lower, "upper": upper}
    return Finding(lower, upper, basis="rigorous", adversary=adversary, record=record)


def findings() -> st.SearchStrategy[Finding]:
    """What is true of the exact distance: brackets so far, and answers that are open."""
    lower, upper = st.floats(0.0, EXACT), st.floats(EXACT, 2.0) | st.just(math.inf)
    running = st.builds(Finding, lower, upper)
    return running | st.builds(answer, lower, upper)


@pytest.mark.slow
@given(st.lists(findings(), min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_the_order_does_not_count_and_twice_is_once(found: list[Finding], random: object) -> None:
    def bracket(order: list[Finding]) -> tuple[float, float, float]:
        held = sample()
        for one in order:
            held = merged(held, one, DISTANCE)
        return held.lower, held.upper, held.gap

    shuffled = [*found, *found]
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert bracket(found) == bracket(shuffled)


@pytest.mark.parametrize("asked", [DISTANCE, VERIFY, VALUE])
def test_what_contradicts_is_the_alarm(asked: Asked) -> None:
    held = merged(sample(asked), Finding(0.2, 0.3), asked)
    with pytest.raises(SoundnessError, match=r"0\.6 .*above .* 0\.3"):
        merged(held, Finding(0.6, 0.7), asked)
    with pytest.raises(SoundnessError):
        merged(held, Finding(math.nan, 0.7), asked)


def test_two_open_answers_close_a_distance_together() -> None:
    held = merged(sample(), answer(0.1, EXACT), DISTANCE)
    assert held.verdict == "unresolved"
    assert merged(held, answer(EXACT - 1e-7, 0.9, adversary="b"), DISTANCE).verdict == "exact"
    assert merged(held, answer(EXACT - 1e-7, 0.9, adversary="b"), DISTANCE).adversary == "a"


def test_on_a_grid_two_levels_meet_or_they_do_not() -> None:
    """However large the tolerance is: one level between them is an open question."""
    options = {"grid": 255, "tolerance": 0.01}
    asked = Asked.of(replace(run(), options=options, tolerance=0.01))
    held = merged(sample(), answer(12 / 255, 13 / 255), asked)
    assert held.verdict == "unresolved"
    assert merged(held, answer(13 / 255, 14 / 255), asked).verdict == "exact"
    value = Asked.of(replace(run(question="margin"), options=options, tolerance=0.01))
    assert merged(sample(value), answer(12 / 255, 13 / 255), value).verdict == "exact"


def test_a_radius_is_certified_by_a_bound_above_it_and_falsified_by_an_adversary_alone() -> None:
    open_answer = merged(sample(VERIFY), answer(0.1, math.inf, adversary=None), VERIFY)
    assert merged(open_answer, Finding(0.41, math.inf), VERIFY).verdict == "certified"
    assert merged(open_answer, Finding(0.1, 0.3), VERIFY).verdict == "unresolved"
    assert merged(open_answer, Finding(0.1, 0.3, adversary="a"), VERIFY).verdict == "falsified"


def test_what_is_closed_stays_so() -> None:
    held = merged(sample(), answer(0.0, 0.0, "misclassified", None), DISTANCE)
    assert merged(held, answer(0.0, 0.0), DISTANCE).verdict == "misclassified"


def test_the_side_that_moved_brings_its_basis_and_its_witness() -> None:
    held = merged(sample(), replace(answer(0.1, 0.6), target=3), DISTANCE)
    after = merged(held, Finding(0.2, 0.7, basis="solver", target=5, adversary="b"), DISTANCE)
    assert (after.basis, after.target, after.adversary) == ("solver", 3, "a")
    nearer = merged(held, Finding(0.1, 0.55, basis="solver", target=5, adversary="b"), DISTANCE)
    assert (nearer.basis, nearer.target, nearer.adversary) == ("rigorous", 5, "b")


def test_a_record_tells_the_best_that_is_known() -> None:
    record = {"verdict": "unresolved", "lower": 0.1, "upper": "inf", "basis": "rigorous", "index": 0}
    held = merged(merged(sample(), answer(0.1, math.inf, adversary=None), DISTANCE), answer(EXACT, EXACT), DISTANCE)
    assert told(record, held) == {
        "verdict": "exact", "lower": EXACT, "upper": EXACT, "basis": "rigorous", "index": 0, "target": None,
        "found_by": None,
    }  # fmt: skip


def test_a_record_tells_nothing_of_a_side_that_has_moved() -> None:
    besides = {"proven_by": "crown", "execution_error": 1e-6, "after": 0.3, "why_open": "no time", "engine": "highs"}
    record = {"verdict": "unresolved", "lower": 0.1, "upper": 0.9, **besides}
    held = merged(sample(), replace(answer(0.1, 0.9), record=record), DISTANCE)
    assert told(record, held) == record
    proven = told(record, merged(held, Finding(0.2, 0.9, engine="highs"), DISTANCE))
    assert [proven[name] for name in besides] == ["highs", None, 0.3, "no time", "highs"]
    found = told(record, merged(held, Finding(0.1, 0.5), DISTANCE))
    assert [found[name] for name in besides] == ["crown", 1e-6, None, "no time", "highs"]
    closed = told(record, merged(held, Finding(0.5, 0.5, engine="highs"), DISTANCE))
    assert (closed["verdict"], "why_open" in closed) == ("exact", False)
