"""Samples side by side: the answers of each alone, and one sample's trouble is its own."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bounds.nodes.node_bounds import NodeBounds
from bounds.nodes.records import Nodes, Pass
from bounds.tightening.raising import bounded
from encoders.deadline import Clock
from encoders.errors import SolverError, SoundnessError
from encoders.question import CONVEX, Norm
from trainers.datasets import digits
from verifier.answer import ask, asked
from verifier.batching.request import BuildCache, Request
from verifier.batching.scheduler import Question, Scheduler
from verifier.options import Options
from verifier.question.model import Model, load
from verifier.question.results import Result, Verdict

NET = Path(__file__).parents[3] / "trainers" / "nets" / "digits-64-32-32-10.onnx"
SAMPLES = range(8)


@pytest.fixture(scope="module")
def model() -> Model:
    return load(NET)


def question(model: Model, index: int, options: Options, radius: float | None = None) -> Question[Result]:
    x = digits("test").x[index]
    return lambda clock: asked(model, x, radius, options, None, index, None, None, clock)


def shared(model: Model, options: Options, seats: int, radius: float | None = None) -> dict[int, Result]:
    found = dict(Scheduler[Result](seats).outcomes((i, question(model, i, options, radius)) for i in SAMPLES))
    assert sorted(found) == list(SAMPLES)
    for ended in found.values():
        assert isinstance(ended, Result), ended
    return found  # type: ignore[return-value]


@pytest.mark.parametrize("radius", [None, 0.06])
@pytest.mark.parametrize("norm", CONVEX)
def test_the_answers_are_those_of_each_alone(model: Model, norm: Norm, radius: float | None) -> None:
    options = Options(norm=norm, time_limit=None if norm is not Norm.L2 else 20.0)
    radius = radius if radius is None or norm is Norm.LINF else 8 * radius
    together = shared(model, options, 5, radius)
    for index in SAMPLES:
        alone = ask(model, digits("test").x[index], radius, options, index=index)
        found = together[index]
        assert max(found.lower, alone.lower) <= min(found.upper, alone.upper) + 2e-6
        if options.time_limit is not None and Verdict.UNRESOLVED in (found.verdict, alone.verdict):
            continue  # which of the two had time to close it is the machine's matter
        assert found.verdict is alone.verdict
        if found.verdict is Verdict.EXACT:
            assert found.upper == pytest.approx(alone.upper, abs=2e-6)
            assert found.lower == pytest.approx(alone.lower, abs=2e-6)


def test_each_sample_has_its_own_seconds(model: Model) -> None:
    started = time.monotonic()
    found = shared(model, Options(), 8)
    passed = time.monotonic() - started
    assert sum(result.seconds for result in found.values()) <= passed * 1.01
    assert all(result.seconds > 0 for result in found.values())


def test_a_clock_counts_only_its_own_turns() -> None:
    clock = Clock()
    clock.pause()
    stood = clock.now()
    time.sleep(0.02)
    assert clock.now() == stood
    before = time.monotonic()
    clock.resume(5.0)
    passed = clock.now() - stood
    assert 5.0 <= passed <= 5.0 + time.monotonic() - before + 1e-6


def test_errors_are_the_outcome_of_their_sample(model: Model) -> None:
    async def failing(clock: Clock) -> Result:
        raise SolverError("at once")

    async def later(clock: Clock) -> Result:
        work = question(model, 1, Options())(clock)
        await work.send(None)
        raise SolverError("on the way")

    honest = question(model, 2, Options())
    found = dict(Scheduler[Result](3).outcomes(iter([(0, failing), (1, later), (2, honest)])))
    assert isinstance(found[0], SolverError)
    assert isinstance(found[1], SolverError)
    assert isinstance(found[2], Result)
    assert found[2].verdict is Verdict.EXACT


def test_a_batch_too_large_for_the_device_is_halved(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    refused: list[int] = []

    def small(engine: NodeBounds, nodes: Nodes, *others: Any) -> tuple[Nodes, Pass]:
        if engine.stack.count > 2:
            refused.append(engine.stack.count)
            raise torch.OutOfMemoryError("none left")
        return bounded(engine, nodes, *others)

    expected = shared(model, Options(), 1)
    monkeypatch.setattr("verifier.batching.node_request.bounded", small)
    found = shared(model, Options(), 8)
    assert max(refused) == 8
    for index in SAMPLES:
        assert found[index].upper == pytest.approx(expected[index].upper, abs=2e-6)


def test_a_bound_made_too_high_in_a_batch_is_an_alarm(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    def confused(engine: NodeBounds, nodes: Nodes, steps: int, target: Any, *others: Any) -> tuple[Nodes, Pass]:
        nodes, seen = bounded(engine, nodes, steps, target, *others)
        if engine.stack.count > 1:  # each net gets its neighbour's distances
            object.__setattr__(seen, "distance", seen.distance.roll(9) * 2.0)
        return nodes, seen

    monkeypatch.setattr("verifier.batching.node_request.bounded", confused)
    found = dict(Scheduler[Result](8).outcomes((i, question(model, i, Options())) for i in SAMPLES))
    wrong = [e for e in found.values() if isinstance(e, Exception)]
    lowers = [np.inf if isinstance(e, Exception) else e.lower for e in found.values()]
    exact = [ask(model, digits("test").x[i], None, Options()).upper for i in SAMPLES]
    assert wrong or any(low > true + 1e-5 for low, true in zip(lowers, exact, strict=True))


class Doubtful(Request[int]):
    """Two of these raise an alarm together, and neither does alone."""

    kind, size, most = (), 1, 8

    def alone(self) -> int:
        return 1

    def together(self, asks: Sequence[Request[int]], kept: BuildCache) -> list[int]:
        raise SoundnessError("only together")


def test_an_alarm_that_only_a_batch_raises_is_not_lost() -> None:
    async def asking(clock: Clock) -> int:
        return await Doubtful()

    assert dict(Scheduler[int](1).outcomes([(0, asking), (1, asking)])) == {0: 1, 1: 1}
    with pytest.raises(SoundnessError, match="only together"):
        dict(Scheduler[int](2).outcomes([(0, asking), (1, asking)]))
