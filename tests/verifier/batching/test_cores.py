"""One question on several cores: the answers of one core, and nobody left at work."""

from __future__ import annotations

import threading
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from bounds.nodes.node_bounds import NodeBounds
from bounds.propagation.device_graph import DeviceGraph
from bounds.propagation.neuron_bounds import network_bounds
from bounds.reduced_net.reduced_net import reduce
from bounds.tightening.base import Effort
from encoders.deadline import Deadline, out_of_time, under
from encoders.errors import SolverError
from encoders.question import Norm, Region, goals_for
from tests.encoders.nets import random_chain
from tests.onnx_builder import to_onnx
from verifier.answer import ask
from verifier.batching import node_request
from verifier.batching.cores import each_on_a_core
from verifier.batching.node_request import NodeRequest
from verifier.batching.request import Batcher, Request, run_alone
from verifier.options import Options
from verifier.question.model import load
from verifier.question.results import Verdict

SIZE = 6


def test_tasks_are_done_side_by_side_and_answered_in_their_order() -> None:
    both = threading.Barrier(3, timeout=30.0)

    def task(number: int) -> int:
        both.wait()  # passed only while all three are at work
        return number

    assert each_on_a_core([partial(task, number) for number in range(3)], 3) == [0, 1, 2]
    assert each_on_a_core([], 2) == []


def test_no_more_are_at_work_than_there_are_cores() -> None:
    at_work, most, lock = list[int](), list[int](), threading.Lock()

    def task(number: int) -> int:
        with lock:
            at_work.append(number)
            most.append(len(at_work))
        time.sleep(0.005)
        with lock:
            at_work.remove(number)
        return number

    assert each_on_a_core([partial(task, number) for number in range(7)], 2) == [*range(7)]
    assert max(most) == 2
    most.clear()
    assert each_on_a_core([partial(task, number) for number in range(3)], 1) == [*range(3)]
    assert max(most) == 1


@pytest.mark.parametrize("wrong", [0, 1])
def test_an_error_waits_for_the_others(wrong: int) -> None:
    ended = list[int]()

    def task(number: int) -> None:
        if number == wrong:
            raise SolverError("on the way")
        ended.append(number)

    with pytest.raises(SolverError, match="on the way"):
        each_on_a_core([partial(task, number) for number in range(3)], 3)
    assert sorted(ended) == [number for number in range(3) if number != wrong]


def test_every_core_sees_the_limits_and_computes_alone() -> None:
    past = Deadline.after(0.0)
    with under(past):
        assert each_on_a_core([out_of_time] * 3, 3) == [True] * 3
    assert each_on_a_core([out_of_time] * 3, 3) == [False] * 3
    assert each_on_a_core([torch.get_num_threads] * 3, 3) == [torch.get_num_threads()] * 3


@pytest.fixture
def roots_and_children() -> NodeRequest:
    """The nodes of a small tree, of several goals."""
    graph, _ = random_chain(2, (SIZE, 12, 10, 4))
    device_graph = DeviceGraph(graph, "cpu")
    center = np.random.default_rng(0).uniform(0.2, 0.8, size=SIZE)
    region = Region(center, np.zeros(SIZE), np.ones(SIZE))
    bounds = network_bounds(device_graph, region, Norm.LINF, 0.2)
    engine = NodeBounds(reduce(device_graph, bounds, goals_for(0, 4, None, 0.0)))
    roots = engine.roots()
    nodes = roots.split(torch.arange(len(roots)))
    return NodeRequest(engine, nodes, 4, 0.2, Effort())


@pytest.mark.parametrize("cores", [2, 3, 50])
def test_parts_are_joined_in_the_order_of_the_nodes(
    roots_and_children: NodeRequest, monkeypatch: pytest.MonkeyPatch, cores: int
) -> None:
    whole = roots_and_children
    assert whole.parts(cores) == (whole,)  # too little to hand over
    monkeypatch.setattr(node_request, "WORTH_A_CORE", 1)
    parts = whole.parts(cores)
    assert len(parts) == min(cores, len(whole.nodes))
    assert sorted(len(part.nodes) for part in parts)[0] >= len(whole.nodes) // len(parts)
    nodes, seen = whole.joined([part.alone() for part in parts])
    alone, expected = whole.alone()
    assert torch.equal(nodes.goal, alone.goal)
    assert torch.equal(nodes.phase, alone.phase)
    assert torch.allclose(seen.distance, expected.distance, atol=1e-9)
    assert torch.allclose(nodes.slope, alone.slope, atol=1e-6)


def test_a_request_is_answered_on_as_many_cores(
    roots_and_children: NodeRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node_request, "WORTH_A_CORE", 1)
    asked = list[str]()
    honest = NodeRequest.alone

    def alone(request: NodeRequest) -> node_request.Bounded:
        asked.append(threading.current_thread().name)
        return honest(request)

    monkeypatch.setattr(NodeRequest, "alone", alone)

    async def question() -> node_request.Bounded:
        return await roots_and_children

    requests: list[Request[node_request.Bounded]] = [roots_and_children]
    for cores in (1, 2):
        asked.clear()
        run_alone(question(), cores)
        assert len(set(asked)) == cores
        asked.clear()
        Batcher(cores).answered(requests)
        assert len(set(asked)) == cores


@pytest.mark.slow
@pytest.mark.usefixtures("quick_attacks")
@pytest.mark.parametrize("norm", [Norm.LINF, Norm.L1])
def test_the_answer_is_that_of_one_core(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, norm: Norm) -> None:
    monkeypatch.setattr(node_request, "WORTH_A_CORE", 1)
    graph, _ = random_chain(2, (SIZE, 12, 10, 4))
    model = load(to_onnx(graph, tmp_path / "net.onnx"))
    x = np.random.default_rng(0).uniform(size=SIZE).astype(np.float32)
    one, two = (ask(model, x, None, Options(norm=norm, engine="search"), workers=cores) for cores in (1, 2))
    assert one.verdict is two.verdict is Verdict.EXACT
    assert one.nodes > 3
    assert two.upper == pytest.approx(one.upper, abs=2e-6)
    assert two.lower == pytest.approx(one.lower, abs=2e-6)
