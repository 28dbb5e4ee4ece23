"""The best of all that was computed of a sample is its bracket, and says who proved and who found it."""

from __future__ import annotations

import numpy as np
import pytest

from encoders.question import Norm
from verifier.question.merging import Proven, merged
from verifier.question.results import Adversary, Basis, Result, Verdict


def adversary(distance: float, by: str) -> Adversary:
    return Adversary(np.zeros(1, np.float32), distance, 1, np.zeros(2), by)


def answer(lower: float, upper: float, verdict: Verdict = Verdict.UNRESOLVED) -> Result:
    found = adversary(upper, "search") if 0 < upper < np.inf else None
    return Result(0, 0, 0, Norm.LINF, None, verdict, lower, upper, Basis.RIGOROUS, "search", 0.0, found)


def test_the_highest_bound_and_the_nearest_adversary_are_the_two_sides() -> None:
    bounds = {"crown": Proven(0.05), "cross": Proven(0.3), "program": Proven(0.2, Basis.SOLVER)}
    found = merged(answer(0.1, 0.9), bounds, [adversary(0.5, "fab"), adversary(0.7, "pgd")], 1e-6)
    assert (found.result.lower, found.result.upper) == (0.3, 0.5)
    assert (found.proven_by, found.result.found_by, found.result.basis) == ("cross", "fab", Basis.RIGOROUS)
    assert found.result.verdict is Verdict.UNRESOLVED
    assert found.record()["proven_by"] == "cross"


def test_a_bound_that_rests_on_a_solver_says_so() -> None:
    found = merged(answer(0.1, 0.9), {"program": Proven(0.2, Basis.SOLVER)}, [], 1e-6)
    assert (found.result.lower, found.result.basis) == (0.2, Basis.SOLVER)
    assert merged(answer(0.4, 0.9), {"program": Proven(0.2, Basis.SOLVER)}, [], 1e-6).result.basis is Basis.RIGOROUS
    # A hair above what is proven without a solver is no reason to rest on one.
    level = merged(answer(0.4, 0.9), {"program": Proven(0.4 + 1e-12, Basis.SOLVER)}, [], 1e-6)
    assert (level.result.lower, level.result.basis, level.proven_by) == (0.4, Basis.RIGOROUS, "search")


@pytest.mark.parametrize(("bound", "closed"), [(0.5, True), (0.5 - 1e-7, True), (0.5 - 1e-5, False)])
def test_sides_that_meet_within_the_tolerance_are_exact(bound: float, closed: bool) -> None:
    found = merged(answer(0.1, 0.9), {"cross": Proven(bound)}, [adversary(0.5, "fab")], 1e-6).result
    assert (found.verdict is Verdict.EXACT) == closed


def test_a_bound_that_is_a_rounding_above_the_adversary_ends_at_it() -> None:
    assert merged(answer(0.1, 0.5), {"cross": Proven(0.5 + 1e-12)}, [], 1e-6).result.lower == 0.5


def test_an_answer_that_nothing_improves_stays_as_it_is() -> None:
    found = merged(answer(0.5, 0.5, Verdict.EXACT), {"cross": Proven(0.2)}, [adversary(0.6, "fab")], 1e-6)
    assert (found.result.lower, found.result.upper, found.proven_by) == (0.5, 0.5, "search")
    wrong = answer(0.0, 0.0, Verdict.MISCLASSIFIED)
    assert merged(wrong, {}, [adversary(0.6, "fab")], 1e-6).result is wrong
    endless = merged(answer(np.inf, np.inf, Verdict.EXACT), {"cross": Proven(0.9)}, [], 1e-6)
    assert endless.record()["lower"] == endless.record()["upper"] == "inf"
