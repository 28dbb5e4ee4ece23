"""Whether a tree goes on by all layers: by what those and plain turns gained for their time, worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from bounds.nodes.records import Nodes, Pass
from bounds.tightening import by_all_layers
from bounds.tightening.base import Effort
from encoders.deadline import NEVER, Clock
from tests.bounds.semidefinite.test_all_layers_quadratic import three_neurons
from tests.bounds.semidefinite.test_one_layer_bound import on_ball
from verifier.batching.node_request import NodeRequest
from verifier.batching.request import run_alone
from verifier.engines.phase_search.all_layers_choice import TRIALS, AllLayersChoice, Use, mean_gain

TARGET = 2.4  # the distance is 2


def tried(plain: tuple[float, float], dear: tuple[float, float]) -> AllLayersChoice:
    """Eight nodes of each, with the seconds that one took and what it gained; a trial comes after a long time."""
    choice = AllLayersChoice(Clock())
    for measured, (seconds, gain) in ((choice.plain, plain), (choice.all_layers, dear)):
        measured.saw(8, 8 * seconds, gain)
    choice.trials = 100.0
    return choice


def test_both_are_tried_first() -> None:
    choice = AllLayersChoice(Clock())
    assert choice.next() is Use.BOTH
    assert choice.weight(Use.PLAIN) == 1.0, "nothing is known"


@pytest.mark.parametrize(
    ("plain", "dear", "better"),
    [
        ((0.1, 0.5), (1.0, 0.5), Use.PLAIN),  # as much for less
        ((0.1, 0.0), (1.0, 0.5), Use.ALL_LAYERS),  # 2^2 nodes of a second close what plain ones never do
        ((0.1, 0.2), (1.0, 0.25), Use.PLAIN),  # 32 nodes of a tenth, 16 of a second
        ((0.1, 0.125), (1.0, 0.25), Use.ALL_LAYERS),  # 256 nodes of a tenth: 25.6 s, for 16 s
    ],
)
def test_the_tree_that_takes_least_time_goes_on(
    plain: tuple[float, float], dear: tuple[float, float], better: Use
) -> None:
    choice = tried(plain, dear)
    assert choice.next() is better
    assert (choice.weight(Use.PLAIN), choice.weight(Use.ALL_LAYERS)) == pytest.approx((0.1, 1.0))


def test_both_are_tried_again_for_a_part_of_the_time() -> None:
    choice = tried(plain=(0.1, 0.5), dear=(1.0, 0.0))
    choice.trials = 8.0
    while choice.next() is Use.PLAIN:
        choice.plain.saw(8, 0.8, 0.5)
    with_another = 8.0 + 1.0
    assert with_another < TRIALS * (choice.plain.spent + choice.all_layers.spent) < with_another + 0.1
    assert choice.next() is Use.BOTH


def test_what_was_seen_of_late_counts_most() -> None:
    choice = tried(plain=(0.1, 0.5), dear=(1.0, 0.5))
    for _ in range(20):  # the tree has come to where plain turns gain nothing
        choice.plain.saw(8, 0.8, 0.0)
    assert choice.next() is Use.ALL_LAYERS


@pytest.fixture
def request_of_children() -> NodeRequest:
    """Both children of a node: φ = d1 - 1 is known of it, -2 at least on the ball of 1."""
    engine = on_ball(three_neurons(), np.zeros(2), TARGET, 10.0)
    roots = engine.roots()
    normal = torch.zeros_like(roots.normal)
    normal[:, 0] = 1.0
    roots = replace(roots, normal=normal, height=torch.full_like(roots.height, -1.0))
    nodes = roots.split(torch.zeros(len(roots), dtype=torch.int64))
    return NodeRequest(engine, nodes, 4, 1.0, Effort(one_layer_steps=0), NEVER)


def test_a_gain_is_the_share_of_what_was_lacking(request_of_children: NodeRequest) -> None:
    request = request_of_children
    nodes = request.nodes
    seen = request.engine.evaluate(nodes)
    half = replace(seen, normal=0.5 * nodes.normal, height=0.5 * nodes.height, distance=0.0 * seen.distance)
    assert mean_gain(request, half) == pytest.approx(0.5)
    assert mean_gain(request, replace(half, normal=nodes.normal)) == 0.25, "from -2 to -1.5"
    assert mean_gain(request, replace(half, normal=2.0 * nodes.normal)) == 0.0, "worse than what was known"
    assert mean_gain(request, replace(half, distance=half.distance + 1.0)) == 1.0, "closed"
    unknown = replace(request, nodes=replace(nodes, height=nodes.height - torch.inf))
    assert mean_gain(unknown, half) == 0.0


@pytest.mark.parametrize("use", list(Use))
def test_every_use_proves_what_is_true_and_tells_what_it_saw(
    use: Use, request_of_children: NodeRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(by_all_layers, "FEWEST", 1)
    asked: list[Effort] = []

    async def recorded() -> tuple[torch.Tensor, AllLayersChoice]:
        choice = AllLayersChoice(Clock())
        _, seen = await choice.bounded(replace(request_of_children, target=TARGET), use)
        return seen.distance, choice

    genuine = NodeRequest.alone

    def alone(request: NodeRequest) -> tuple[Nodes, Pass]:
        asked.append(request.effort)
        return genuine(request)

    monkeypatch.setattr(NodeRequest, "alone", alone)
    distance, choice = run_alone(recorded())
    assert float(distance.min()) <= 2.0 + 1e-9, "the nearest adversary is in one of the children"
    assert [effort.all_layers_steps > 0 for effort in asked] == {
        Use.PLAIN: [False], Use.ALL_LAYERS: [True], Use.BOTH: [False, True]
    }[use]  # fmt: skip
    assert bool(choice.plain.nodes) is (use is not Use.ALL_LAYERS)
    assert bool(choice.all_layers.nodes) is (use is not Use.PLAIN)
    assert (choice.trials > 0.0) is (use is Use.BOTH)


def test_all_layers_are_asked_about_what_plain_turns_leave_open(
    request_of_children: NodeRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two children the second is left, where all layers prove less than plain turns did: that stands."""
    told = iter(([1.0, 0.5], [0.25]))
    asked: list[list[int]] = []

    def alone(request: NodeRequest) -> tuple[Nodes, Pass]:
        asked.append(request.nodes.phase[:, 0].tolist())
        seen = request.engine.evaluate(request.nodes)
        return request.nodes, replace(seen, distance=torch.tensor(next(told), dtype=torch.float64))

    monkeypatch.setattr(NodeRequest, "alone", alone)

    async def both() -> Pass:
        return (await AllLayersChoice(Clock()).bounded(replace(request_of_children, target=1.0), Use.BOTH))[1]

    assert run_alone(both()).distance.tolist() == [1.0, 0.5]
    assert asked == [[1, -1], [-1]]
