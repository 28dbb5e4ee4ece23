"""What `auto` does where the search does not close soon: whose turn it is, for how long, and what stands at the end.

Search and HiGHS are stood in for, and the clock stands still; each turn says for how long it was asked.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from encoders.deadline import Clock, Deadline
from encoders.errors import SolverError
from encoders.question import Norm
from tests.test_trust import random_problem
from verifier.engines import auto
from verifier.engines.auto import FEW_PHASES, AutoEngine
from verifier.engines.base import Proof
from verifier.engines.mixed_integer import HighsEngine
from verifier.question.incumbent import Incumbent
from verifier.question.problem import Problem, Progress
from verifier.question.results import Basis

INFINITY = float("inf")


class Turns:
    """Stand-ins for the search and for HiGHS, and a list of whose turns there were."""

    def __init__(self, open_phases: int, highs: list[float | SolverError], large: bool = False) -> None:
        self.open_phases, self.highs, self.large = open_phases, highs, large
        self.taken: list[tuple[str, float]] = []

    def search(self, *_: object) -> Turns:
        self.finished = False
        return self

    async def solve(self, patience: float = INFINITY) -> Proof:
        """The search's turn: it ends when it is given all the time there is."""
        self.taken.append(("search", patience))
        self.finished = patience == INFINITY
        return Proof(0.125, Basis.RIGOROUS, len(self.taken), self.open_phases)

    def close(self, engine: object, problem: Problem, incumbent: Incumbent, progress: Progress) -> Proof:
        """HiGHS's turn."""
        self.taken.append(("highs", problem.deadline.left))
        found = self.highs.pop(0)
        if isinstance(found, SolverError):
            raise found
        return Proof(found, Basis.SOLVER, 7, self.open_phases)


def closed(turns: Turns, monkeypatch: pytest.MonkeyPatch) -> tuple[Proof, list[tuple[str, float]]]:
    """The proof of a question that no attack answers, and the turns."""
    problem, incumbent, _ = random_problem(np.random.default_rng(700), Norm.LINF)
    clock = Clock()
    clock.pause()
    problem = replace(problem, deadline=Deadline.after(60.0, clock))
    monkeypatch.setattr(auto, "Search", turns.search)
    monkeypatch.setattr(HighsEngine, "close", lambda *arguments: turns.close(*arguments))
    proof = AutoEngine().close(problem, incumbent, lambda running: None)
    return proof, turns.taken


def test_turns_are_of_one_length_and_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    # HiGHS proves most of what the search does in its first two turns, and more than anybody asks for in its third.
    proof, taken = closed(Turns(FEW_PHASES, [0.1, 0.1, INFINITY]), monkeypatch)
    assert taken == [("search", 5), ("highs", 5), ("search", 10), ("highs", 10), ("search", 20), ("highs", 20)]
    assert proof.basis is Basis.SOLVER


def test_where_highs_proves_far_less_the_search_has_longer_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    # 0.03 is less than half of the search's 0.125, and 0.07 is not.
    _, taken = closed(Turns(FEW_PHASES, [0.03, 0.07, INFINITY]), monkeypatch)
    assert taken == [("search", 5), ("highs", 5), ("search", 40), ("highs", 10), ("search", 20), ("highs", 20)]


def test_in_large_nets_the_first_turn_is_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    _, taken = closed(Turns(FEW_PHASES, [INFINITY], large=True), monkeypatch)
    assert taken == [("search", 10), ("highs", 10)]


def test_many_phases_are_the_search_s_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    proof, taken = closed(Turns(FEW_PHASES + 1, []), monkeypatch)
    assert taken == [("search", 5), ("search", INFINITY)]
    assert (proof.basis, proof.lower) == (Basis.RIGOROUS, 0.125)


def test_what_is_proven_stands_where_the_solver_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    proof, taken = closed(Turns(FEW_PHASES, [SolverError("out of memory")]), monkeypatch)
    assert taken == [("search", 5), ("highs", 5), ("search", INFINITY)]
    assert (proof.basis, proof.lower) == (Basis.RIGOROUS, 0.125)


def test_the_higher_bound_counts_with_its_basis(monkeypatch: pytest.MonkeyPatch) -> None:
    # 0.0625 by HiGHS is less than the search's 0.125, which stays rigorous.
    proof, _ = closed(Turns(FEW_PHASES, [0.0625, SolverError("out of memory")]), monkeypatch)
    assert (proof.basis, proof.lower) == (Basis.RIGOROUS, 0.125)
