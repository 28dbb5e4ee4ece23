"""Samples side by side: the answers of each alone, and one sample's trouble is its own."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import cache
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
from tests.encoders.nets import random_chain
from tests.onnx_builder import to_onnx
from verifier.answer import ask, asked
from verifier.batching.request import BuildCache, Request
from verifier.batching.scheduler import Question, Scheduler
from verifier.options import Options
from verifier.question.model import Model, load
from verifier.question.results import Result, Verdict

pytestmark = pytest.mark.usefixtures("quick_attacks")

SIZE = 8
SAMPLES = range(6)
INPUTS = np.random.default_rng(0).uniform(size=(len(SAMPLES), SIZE)).astype(np.float32)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """A net small enough for every sample to be asked often, whose questions take a search."""
    graph, _ = random_chain(2, (SIZE, 12, 10, 4))
    return load(to_onnx(graph, tmp_path_factory.mktemp("net") / "net.onnx"))


def question(model: Model, index: int, options: Options, radius: float | None = None) -> Question[Result]:
    return lambda clock: asked(model, INPUTS[index], radius, options, None, index, None, None, clock)


@cache
def alone(model: Model, index: int, norm: Norm, radius: float | None) -> Result:
    """What a sample's question is answered by itself."""
    return ask(model, INPUTS[index], radius, Options(norm=norm), index=index)


def shared(model: Model, options: Options, seats: int, radius: float | None = None) -> dict[int, Result]:
    found = dict(Scheduler[Result](seats).outcomes((i, question(model, i, options, radius)) for i in SAMPLES))
    assert sorted(found) == list(SAMPLES)
    for ended in found.values():
        assert isinstance(ended, Result), ended
    return found  # type: ignore[return-value]


@pytest.mark.parametrize("radius", [None, 0.06])
@pytest.mark.parametrize("norm", CONVEX)
@pytest.mark.fewer(1)
def test_the_answers_are_those_of_each_alone(model: Model, norm: Norm, radius: float | None) -> None:
    radius = radius if radius is None or norm is Norm.LINF else 2 * radius
    together = shared(model, Options(norm=norm), 4, radius)
    for index in SAMPLES:
        expected, found = alone(model, index, norm, radius), together[index]
        assert max(found.lower, expected.lower) <= min(found.upper, expected.upper) + 2e-6
        assert found.verdict is expected.verdict
        if found.verdict is Verdict.EXACT:
            assert found.upper == pytest.approx(expected.upper, abs=2e-6)
            assert found.lower == pytest.approx(expected.lower, abs=2e-6)
    assert sum(found.nodes for found in together.values()) > 3 * len(SAMPLES) or radius is not None


def test_each_sample_has_its_own_seconds(model: Model) -> None:
    started = time.monotonic()
    found = shared(model, Options(), len(SAMPLES))
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

    expected = [alone(model, index, Norm.LINF, None) for index in SAMPLES]
    monkeypatch.setattr("verifier.batching.node_request.bounded", small)
    found = shared(model, Options(), len(SAMPLES))
    assert max(refused) == len(SAMPLES)
    for index in SAMPLES:
        assert found[index].upper == pytest.approx(expected[index].upper, abs=2e-6)


def test_a_bound_made_too_high_in_a_batch_is_an_alarm(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    def confused(engine: NodeBounds, nodes: Nodes, steps: int, target: Any, *others: Any) -> tuple[Nodes, Pass]:
        nodes, seen = bounded(engine, nodes, steps, target, *others)
        if engine.stack.count > 1:  # each net gets its neighbour's distances
            object.__setattr__(seen, "distance", seen.distance.roll(9) * 2.0)
        return nodes, seen

    exact = [alone(model, index, Norm.LINF, None).upper for index in SAMPLES]
    monkeypatch.setattr("verifier.batching.node_request.bounded", confused)
    found = dict(Scheduler[Result](len(SAMPLES)).outcomes((i, question(model, i, Options())) for i in SAMPLES))
    wrong = [e for e in found.values() if isinstance(e, Exception)]
    lowers = [np.inf if isinstance(e, Exception) else e.lower for e in found.values()]
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
