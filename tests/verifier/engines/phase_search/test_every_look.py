"""Time that is up at one look at the clock or another: wherever that is, all that is said is true.

The truth is brute force's, of the question and of each of its goals.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import Tensor

import verifier.engines.phase_search.search
from bounds.nodes.records import Nodes
from bounds.tightening.base import Effort
from encoders.arrays import FloatArray
from encoders.deadline import Clock, Deadline
from encoders.question import Norm
from tests.draws import draws
from tests.exact_distances import exact_distance
from tests.onnx_builder import to_onnx
from tests.test_trust import random_problem
from tests.test_trust_grid import question, wrong
from verifier.answer import asked
from verifier.batching.request import run_alone
from verifier.batching.scheduler import Question, Scheduler
from verifier.engines.mixed_integer import HighsEngine
from verifier.engines.phase_search.search import Search, SearchOptions
from verifier.engines.phase_search.stage import Stage
from verifier.options import Options
from verifier.question.incumbent import Incumbent
from verifier.question.model import load
from verifier.question.problem import Problem
from verifier.question.results import Result

pytestmark = [pytest.mark.thorough, pytest.mark.usefixtures("quick_attacks")]

SEED = 764
MOST = draws(3, 12)  # looks of one question that are tried; spread over all, where there are more
NEVER_TO_COME = 10**9


class Tripping(Clock):
    """No time passes up to a look; behind it none is left."""

    def __init__(self, last: int) -> None:
        super().__init__()
        self.last, self.looks = last, 0

    def now(self) -> float:
        self.looks += 1
        return 0.0 if self.looks <= self.last else 1e6

    def pause(self) -> None:
        """It never runs."""

    def resume(self, charge: float = 0.0) -> None:
        """Nor does it go on."""


def looks(first: Tripping) -> Iterator[int]:
    """The looks to end a question at, of all that `first` has seen."""
    yield from np.unique(np.linspace(0, first.looks, MOST, endpoint=False).astype(int)).tolist()


def begun(seed: int, norm: Norm, clock: Clock) -> tuple[Problem, Incumbent]:
    problem, incumbent, _ = random_problem(np.random.default_rng(seed), norm)
    return replace(problem, deadline=Deadline(1.0, clock)), incumbent


@cache
def truth(seed: int, norm: Norm) -> FloatArray:
    """The distance of each goal."""
    problem, _ = begun(seed, norm, Clock())
    return np.array([exact_distance(problem.graph, problem.region, norm, (goal,)) for goal in problem.goals])


def searched(seed: int, norm: Norm, options: SearchOptions, last: int) -> tuple[Search, Tripping]:
    """A search that is ended, all that it says held against the truth.

    The whole box is asked about, and no adversary ever replays: what no node holds any more shows in the bound.
    """
    goals, clock = truth(seed, norm), Tripping(last)
    problem, incumbent = begun(seed, norm, clock)
    if verifier.engines.phase_search.search.LARGE_NET:  # else it looks ahead, as only a distance does
        problem = replace(problem, falsify_at=problem.ceiling)
        incumbent.wins = lambda scores: np.zeros(len(scores), dtype=np.bool_)
    exact, slack = min(float(goals.min()), problem.ceiling), 1e-6 * max(1.0, problem.ceiling)
    told: list[float] = []
    search = Search(problem, incumbent, lambda running: told.append(running.lower), options)
    proof = search.run()
    assert max([proof.lower, *told]) <= exact + slack
    assert (search.cleared <= goals + slack).all()
    if search.stage is not None:  # a goal with an adversary within the target has a node that holds it
        held = np.isin(np.arange(len(goals)), search.stage.frontier.goals) | (search.stage.floor <= goals + slack)
        assert (held | (goals >= search.stage.target - slack)).all()
    return search, clock


WEAK = Effort(rounds=0, fine_steps=0)
TIGHTENING = "bounds.tightening"
BARE = SearchOptions(effort=WEAK, steps=0, shallow_steps=0, root_steps=0, program_share=0.0)
WAYS = {
    "as it is": ({}, SearchOptions(chords_first=0, splits_first=0)),
    "a tree": ({}, replace(BARE, patience=1, batch=2)),
    "programs": ({}, replace(BARE, program_worth=0.0)),
    "little memory": ({}, replace(BARE, memory=1, batch=4)),
    "moments": (
        {f"{TIGHTENING}.by_one_layer.FEW": 1},
        SearchOptions(chords_first=0, effort=Effort(envelope_steps=2, one_layer_steps=6)),
    ),
    "products": (
        {f"{TIGHTENING}.by_all_layers.FEWEST": 1},
        SearchOptions(effort=Effort(envelope_steps=0, one_layer_steps=0, all_layers_steps=8)),
    ),
    "ahead": (
        {"verifier.engines.phase_search.search.LARGE_NET": 0, f"{TIGHTENING}.by_all_layers.FEWEST": 1},
        SearchOptions(effort=Effort(envelope_steps=0, one_layer_steps=0, all_layers_steps=8)),
    ),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.fewer(3)
def test_a_search(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    device_graph, options = WAYS[way]
    for place, value in device_graph.items():
        monkeypatch.setattr(place, value)
    _, first = searched(SEED, Norm.LINF, options, NEVER_TO_COME)
    for last in looks(first):
        searched(SEED, Norm.LINF, options, last)


@pytest.mark.parametrize("again", [False, True], ids=["roots", "carried over"])
def test_nodes_that_there_is_no_time_for_stay_open(again: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Time is up when a ball's net has just been made, the first or the one after a nearer adversary."""
    monkeypatch.setattr(f"{TIGHTENING}.by_all_layers.FEWEST", 1)
    clock = Tripping(NEVER_TO_COME)
    problem, incumbent = begun(SEED, Norm.LINF, clock)
    exact = float(truth(SEED, Norm.LINF).min())
    region, size = problem.region, problem.graph.input_size
    points = np.random.default_rng(0).uniform(region.lower, region.upper, (4000, size))
    points = points[incumbent.wins(incumbent.real(points))]
    points = points[np.argsort(Norm.LINF.length(points - region.center))]
    offer, opened, rebuilt, keep = incumbent.offer, Stage.opened, Stage.rebuilt, Stage.keep
    assert offer(points[-1:], "chance")
    monkeypatch.setattr(incumbent, "offer", lambda candidates, by: False)
    kept: list[int] = []

    def first(*given: Any) -> Stage | None:
        stage = opened(*given)
        if again:
            assert offer(points[len(points) // 2, None], "chance")
        else:
            clock.last = clock.looks
        return stage

    def another(self: Stage) -> tuple[Nodes, Tensor] | None:
        carried = rebuilt(self)
        clock.last = clock.looks
        return carried

    def counted(self: Stage, nodes: Nodes, bound: Tensor, branch: Tensor | None = None) -> None:
        kept.append(len(nodes) if branch is None else 0)
        keep(self, nodes, bound, branch)

    monkeypatch.setattr(Stage, "opened", first)
    monkeypatch.setattr(Stage, "rebuilt", another)
    monkeypatch.setattr(Stage, "keep", counted)
    options = replace(BARE, effort=replace(WEAK, all_layers_steps=0 if again else 8))
    proof = Search(replace(problem, falsify_at=0.0), incumbent, lambda running: None, options).run()
    assert sum(kept) > 0
    assert proof.lower <= exact < incumbent.upper * 0.99


@pytest.mark.slow
@pytest.mark.parametrize("norm", [Norm.L1, Norm.L2])
@pytest.mark.fewer
def test_a_search_in_other_norms(norm: Norm) -> None:
    _, first = searched(SEED, norm, BARE, NEVER_TO_COME)
    for last in looks(first):
        searched(SEED, norm, BARE, last)


@pytest.mark.release
def test_a_solver() -> None:
    exact = float(truth(SEED, Norm.LINF).min())

    def solved(clock: Tripping) -> Tripping:
        problem, incumbent = begun(SEED, Norm.LINF, clock)
        proof = HighsEngine().close(problem, incumbent, lambda running: None)
        assert proof.lower <= min(exact, problem.ceiling) * (1 + 1e-6)
        return clock

    for last in looks(solved(Tripping(NEVER_TO_COME))):
        solved(Tripping(last))


@pytest.mark.parametrize(("engine", "norm"), [("auto", Norm.LINF), ("steps", Norm.L2), ("subsets", Norm.L0)])
@pytest.mark.fewer(1)
def test_on_a_grid(engine: str, norm: Norm, tmp_path: Path) -> None:
    found = next(found for seed in range(1100, 1200) if (found := question(seed, norm, tmp_path)) is not None)
    options = Options(norm=norm, targets=found.targets, margin=found.margin, engine=engine, grid=found.levels,
                      time_limit=1.0)  # fmt: skip

    def answered(clock: Tripping, closes: bool = False) -> Tripping:
        turns = asked(found.model, found.x, None, options, None, 0, found.mask, None, clock)
        assert wrong(found, run_alone(turns), closes) is None
        return clock

    for last in looks(answered(Tripping(NEVER_TO_COME), closes=True)):
        answered(Tripping(last))


@pytest.mark.release
def test_side_by_side_each_ends_by_itself(tmp_path: Path) -> None:
    """Of three questions one has no limit: it is closed, wherever the others are ended."""
    problem, _ = begun(702, Norm.LINF, Clock())
    model = load(to_onnx(problem.graph, tmp_path / "net.onnx"))
    rng = np.random.default_rng(0)
    samples = rng.uniform(size=(3, problem.graph.input_size)).astype(np.float32)

    async def one(k: int, clock: Clock, limit: float | None = 1.0) -> Result:
        return await asked(model, samples[k], None, Options(time_limit=limit), None, k, None, None, clock)

    async def ended_at(k: int, last: int, clock: Clock) -> Result:
        del clock
        return await one(k, Tripping(last))

    exact, first = [run_alone(one(k, Clock(), None)) for k in range(3)], Tripping(NEVER_TO_COME)
    run_alone(one(0, first))
    for last in list(looks(first))[1:]:
        questions: list[tuple[int, Question[Result]]] = [
            (0, partial(ended_at, 0, last)),
            (1, partial(ended_at, 1, last + 5)),
            (2, lambda clock: one(2, clock, None)),
        ]
        found = dict(Scheduler[Result](3).outcomes(questions))
        for k, whole in enumerate(exact):
            ended = found[k]
            assert isinstance(ended, Result), ended
            assert ended.lower <= whole.upper * (1 + 1e-6)
            assert whole.lower <= ended.upper * (1 + 1e-6)
            assert k < 2 or ended.verdict is whole.verdict
