"""Questions that are asked to stop at one look or another: they end there, and all that is said is true.

The truth is brute force's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from encoders.deadline import Clock, Deadline, Stop
from encoders.question import Norm
from tests.draws import draws
from tests.exact_distances import exact_distance
from tests.onnx_builder import to_onnx
from tests.test_trust import random_problem
from tests.test_trust_grid import question, wrong
from verifier.answer import asked
from verifier.batching.request import run_alone
from verifier.batching.scheduler import Question, Scheduler
from verifier.engines.registry import engine_for
from verifier.options import Options
from verifier.question.model import load
from verifier.question.results import Result

pytestmark = [pytest.mark.thorough, pytest.mark.usefixtures("quick_attacks")]

SEED = 764
MOST = draws(3, 12)  # looks of one question that are tried; spread over all, where there are more
NEVER_TO_COME = 10**9


class AtLook(Stop):
    """Asked for from one look on."""

    def __init__(self, last: int) -> None:
        self.last, self.looks = last, 0

    @property
    def asked(self) -> bool:  # type: ignore[override]
        self.looks += 1
        return self.looks > self.last


def looks(first: AtLook) -> Iterator[int]:
    """The looks to stop at, of all that `first` has seen."""
    yield from np.unique(np.linspace(0, first.looks, MOST, endpoint=False).astype(int)).tolist()


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["search", "auto", "splits", "highs"])
@pytest.mark.fewer(2)
def test_an_engine_without_a_limit(engine: str) -> None:
    def stopped(last: int) -> AtLook:
        stop = AtLook(last)
        problem, incumbent, _ = random_problem(np.random.default_rng(SEED), Norm.LINF)
        problem = replace(problem, deadline=Deadline(None, Clock(stop)))
        exact = exact_distance(problem.graph, problem.region, Norm.LINF, problem.goals)
        proof = engine_for(engine).close(problem, incumbent, lambda running: None)
        assert proof.lower <= min(exact, problem.ceiling) * (1 + 1e-6)
        assert incumbent.upper >= exact * (1 - 1e-6)
        return stop

    for last in looks(stopped(NEVER_TO_COME)):
        stopped(last)


@pytest.mark.parametrize(("engine", "norm"), [("auto", Norm.LINF), ("steps", Norm.L2), ("subsets", Norm.L0)])
@pytest.mark.fewer(1)
def test_on_a_grid_without_a_limit(engine: str, norm: Norm, tmp_path: Path) -> None:
    found = next(found for seed in range(1100, 1200) if (found := question(seed, norm, tmp_path)) is not None)
    options = Options(norm=norm, targets=found.targets, margin=found.margin, engine=engine, grid=found.levels)

    def answered(stop: AtLook, closes: bool = False) -> AtLook:
        turns = asked(found.model, found.x, None, options, None, 0, found.mask, None, Clock(stop))
        assert wrong(found, run_alone(turns), closes) is None
        return stop

    for last in looks(answered(AtLook(NEVER_TO_COME), closes=True)):
        answered(AtLook(last))


@pytest.mark.release
def test_one_of_several_side_by_side(tmp_path: Path) -> None:
    """The others are closed, whenever that one is called off."""
    problem, _, _ = random_problem(np.random.default_rng(702), Norm.LINF)
    model = load(to_onnx(problem.graph, tmp_path / "net.onnx"))
    samples = np.random.default_rng(0).uniform(size=(2, problem.graph.input_size)).astype(np.float32)

    async def one(k: int, clock: Clock) -> Result:
        return await asked(model, samples[k], None, Options(), None, k, None, None, clock)

    exact, first = [run_alone(one(k, Clock())) for k in range(2)], AtLook(NEVER_TO_COME)
    run_alone(one(0, Clock(first)))
    for last in list(looks(first))[1:]:

        async def called_off(clock: Clock, last: int = last) -> Result:
            clock.stop = AtLook(last)
            return await one(0, clock)

        questions: list[tuple[int, Question[Result]]] = [(0, called_off), (1, lambda clock: one(1, clock))]
        found = dict(Scheduler[Result](2).outcomes(questions))
        ended, other = found[0], found[1]
        assert isinstance(ended, Result), ended
        assert isinstance(other, Result), other
        assert ended.lower <= exact[0].upper * (1 + 1e-6)
        assert exact[0].lower <= ended.upper * (1 + 1e-6)
        assert other.verdict is exact[1].verdict
