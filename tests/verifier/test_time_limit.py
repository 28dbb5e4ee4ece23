"""A question whose time is up in the middle of anything has still proven what it says, and found what it shows.

Time passes by looks at the clock, so that every place that looks is one where some deadline falls.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from bounds.nodes.records import Nodes, Pass
from bounds.semidefinite.all_layers_bound import raised_by_all_layers
from bounds.semidefinite.one_layer_bound import raised_by_one_layer
from bounds.semidefinite.parabolas import Parabolas
from bounds.tightening.base import Effort
from bounds.tightening.by_all_layers import ByAllLayers
from bounds.tightening.raising import bounded
from encoders.deadline import Clock, Deadline, out_of_time, under
from encoders.question import CONVEX, Norm
from tests.bounds.semidefinite.test_all_layers_quadratic import three_neurons
from tests.bounds.semidefinite.test_one_layer_bound import on_ball
from tests.encoders.test_deadline import Ticking
from tests.exact_distances import exact_distance
from tests.test_trust import random_problem
from verifier.batching.request import Batcher, BuildCache, Request
from verifier.engines.adapters import SearchEngine
from verifier.engines.base import Engine
from verifier.engines.mixed_integer import HighsEngine
from verifier.engines.phase_search.search import SearchOptions
from verifier.question.incumbent import Incumbent
from verifier.question.problem import Problem

pytestmark = pytest.mark.usefixtures("quick_attacks")

LOOKS = (1, 2, 4, 7, 11, 16, 24, 40, 70, 130, 300)


class Still(Clock):
    """No time passes, so that no answer hangs on how fast it is computed."""

    def now(self) -> float:
        return 0.0


def begun(seed: int, norm: Norm, deadline: Deadline) -> tuple[Problem, Incumbent]:
    """A random question on its way, a few adversaries known."""
    rng = np.random.default_rng(seed)
    problem, incumbent, _ = random_problem(rng, norm)
    region = problem.region
    incumbent.offer(rng.uniform(region.lower, region.upper, size=(20, region.center.size)), "chance")
    return replace(problem, deadline=deadline), incumbent


def check_ended_early(engine: Engine, seed: int, norm: Norm) -> int:
    """Both sides are true wherever the deadline falls; how many of them it left open."""
    problem, _ = begun(seed, norm, Deadline(None))
    exact = exact_distance(problem.graph, problem.region, norm, problem.goals)
    left_open = 0
    for looks in LOOKS:
        problem, incumbent = begun(seed, norm, Deadline(float(looks), Ticking()))
        proof = engine.close(problem, incumbent, lambda running: None)
        assert proof.lower <= min(exact, problem.ceiling) * (1 + 1e-6) + 1e-9
        assert incumbent.upper >= exact * (1 - 1e-6)
        left_open += proof.lower < min(exact, problem.ceiling) * (1 - 1e-3)
    return left_open


@pytest.mark.slow
@pytest.mark.parametrize("norm", CONVEX)
@pytest.mark.fewer(1)
def test_a_search_that_is_ended_has_proven_what_it_says(norm: Norm) -> None:
    assert sum(check_ended_early(SearchEngine(), seed, norm) for seed in range(700, 703)) > 3


def test_so_has_one_that_looks_ahead_by_products(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("verifier.engines.phase_search.search.LARGE_NET", 0)
    monkeypatch.setattr(ByAllLayers, "applies", lambda engine, effort: engine.stack.open_phases > 0)
    engine = SearchEngine(SearchOptions(effort=Effort(all_layers_steps=12, envelope_steps=0, one_layer_steps=0)))
    assert sum(check_ended_early(engine, seed, Norm.LINF) for seed in range(700, 703)) > 3


def test_so_has_a_solver() -> None:
    assert sum(check_ended_early(HighsEngine(), seed, Norm.LINF) for seed in range(700, 702)) > 2


@pytest.mark.parametrize("norm", CONVEX)
@pytest.mark.fewer(1)
def test_a_limit_that_never_comes_changes_nothing(norm: Norm) -> None:
    for seed in range(700, 704):
        found = []
        for moment in (None, 1.0):
            problem, incumbent = begun(seed, norm, Deadline(moment, Still()))
            proof = SearchEngine().close(problem, incumbent, lambda running: None)
            best = b"" if incumbent.best is None else incumbent.best.input.tobytes()
            found.append((proof, incumbent.upper, best))
        assert found[0] == found[1]


@pytest.mark.slow
@pytest.mark.parametrize("looks", LOOKS)
@pytest.mark.fewer(9)
def test_a_bound_that_was_cut_short_is_a_bound(looks: int) -> None:
    engine = on_ball(three_neurons(), np.zeros(2), 2.4, 10.0)  # the distance is 2
    plain = engine.evaluate(engine.roots())
    parabolas = Parabolas.of(engine.stack, torch.tensor([2.4], dtype=torch.float64))
    effort = Effort(all_layers_steps=0, one_layer_steps=0)
    ways: tuple[Callable[[], tuple[Nodes, Pass]], ...] = (
        lambda: bounded(engine, engine.roots(), 20, 2.4, effort),
        lambda: raised_by_all_layers(engine, engine.roots(), plain, 20, 2.4),
        lambda: raised_by_one_layer(engine, parabolas, engine.roots(), plain, 20, 2.4),
    )
    for raised in ways:
        with under(Deadline(float(looks), Ticking())):
            _, seen = raised()
        assert float(plain.distance[0]) <= float(seen.distance[0]) <= 2.0 + 1e-9


class Timed(Request[bool]):
    """Says whether it was out of time."""

    kind, size, most = (), 1, 8

    def __init__(self, deadline: Deadline) -> None:
        self.deadline = deadline

    def alone(self) -> bool:
        return out_of_time()

    def together(self, asks: Sequence[Request[bool]], kept: BuildCache) -> list[bool]:
        return [out_of_time()] * len(asks)


@pytest.mark.parametrize(
    ("moments", "late"), [((0.0, 0.0), True), ((0.0, None), False), ((0.0, 60.0), False), ((None, None), False)]
)
def test_a_batch_ends_once_nobody_in_it_has_time_left(moments: tuple[Any, ...], late: bool) -> None:
    answers = Batcher().answered([Timed(Deadline(moment, Still())) for moment in moments])
    assert [answer for answer, _ in answers] == [late] * len(moments)
