"""Envelopes over the L1 ball: one neuron by hand, then samples, then what they are worth.

p1, q1 ─┐  d = p - q
        ├─► h = d1 + d2/2 - 1/2 ─► relu     on |d1| + |d2| ≤ 1: at d1 = 1 it is 1/2, at the other corners and in the
p2, q2 ─┘                                   middle 0, so relu(h) ≤ p1 / 2. The chord over [-3/2, 1/2] is 1/4 · h + 3/8:
                                            1/4 in the middle, where the envelope is 0.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bounds.envelopes.simplex import SimplexEnvelope
from bounds.geometry.relu_over_simplex import Above, above_relu
from bounds.nodes.node_bounds import NodeBounds
from bounds.propagation.neuron_bounds import device_graph_for, network_bounds
from bounds.propagation.sample_groups import Grouping
from bounds.reduced_net.one_sided_inputs import one_sided, one_sided_stack
from bounds.reduced_net.reduced_net import reduce
from bounds.reduced_net.stacked_nets import Stack
from bounds.tightening.base import Aim, Effort
from bounds.tightening.by_envelopes import ByEnvelopes, enveloped
from bounds.tightening.raising import bounded
from encoders.arrays import FloatArray
from encoders.layer_graph.graph import Graph, affine_chain
from encoders.question import Norm, Region, goals_for
from tests.bounds.envelopes.test_cube import KINDS, split_at_random
from tests.bounds.propagation.test_neuron_bounds import points_in, random_graph


def tensor(*values: object) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_one_neuron_by_hand() -> None:
    rows = tensor([1.0, 0.5, -1.0, -0.5])  # over p1, p2, q1, q2
    found = above_relu(rows, tensor(-0.5), tensor(0.0), tensor(1.0), 4)
    assert found.normal.tolist() == [[0.5, 0.0, 0.0, 0.0]]
    assert found.value.tolist() == [0.0]
    assert 0.0 < float(found.error) < 1e-12
    # On a ball of 1/2 the neuron is never active; with another sign it is 1/2 in the middle and falls on one side only.
    assert above_relu(rows, tensor(-0.5), tensor(0.0), tensor(0.5), 4).normal.tolist() == [[0.0] * 4]
    found = above_relu(rows, tensor(0.5), tensor(0.0), tensor(1.0), 4)
    assert found.normal.tolist() == [[1.0, 0.5, -0.5, -0.5]]
    assert found.value.tolist() == [0.5]


@pytest.mark.parametrize("radius", [0.0, 1e-310])
def test_a_ball_without_radius_has_the_steepest_lines(radius: float) -> None:
    found = above_relu(tensor([3.0, -1.0]), tensor(2.0), tensor(0.0), tensor(radius), 1)
    assert found.normal.tolist() == [[3.0, 0.0]]
    assert found.value.tolist() == [2.0]


def problem(kind: str, seed: int, radius: float) -> tuple[NodeBounds, Graph, Region]:
    rng = np.random.default_rng(seed)
    graph = random_graph(rng, kind)
    center = rng.choice([0.0, 0.3, 0.8, 1.0], size=graph.input_size)
    region = Region(center, np.zeros_like(center), np.ones_like(center))
    device_graph = device_graph_for(graph)
    goals = goals_for(int(graph.evaluate(center)[0].argmax()), 3, None, 0.0)
    net = one_sided(reduce(device_graph, network_bounds(device_graph, region, Norm.L1, radius), goals))
    return NodeBounds(net), graph, region


def drawn(kind: str, seed: int) -> tuple[np.random.Generator, float, NodeBounds, Graph, Region]:
    """A problem on a ball of random size, on which something is open."""
    while True:
        rng = np.random.default_rng(seed)
        for radius in (float(rng.choice([0.4, 1.0, 2.5])), 1.0, 2.5, 6.0):
            engine, graph, region = problem(kind, seed, radius)
            if engine.net.open_phases:
                return rng, radius, engine, graph, region
        seed += 1000


def l1_points(region: Region, radius: float, rng: np.random.Generator, count: int) -> FloatArray:
    """Points of the ball: spread out, and on few inputs, where envelopes are sharp."""
    spread = points_in(region, Norm.L1, radius * (1 - 1e-12), rng, count)
    direction = rng.normal(size=(count, len(region.center))) * (rng.random((count, len(region.center))) < 0.3)
    length = np.abs(direction).sum(axis=1, keepdims=True)
    few = region.center + direction / np.where(length > 0, length, 1.0) * radius * (1 - 1e-9)
    return np.concatenate([spread, np.clip(few, region.lower, region.upper)])


def shifts_of(engine: NodeBounds, region: Region, points: FloatArray) -> torch.Tensor:
    """p and q of the points, as the net has them."""
    sign = engine.net.sign
    assert sign is not None
    return (torch.as_tensor(points - region.center)[:, engine.net.moving] * sign).clamp_min(0.0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(6))
def test_inputs_come_back_as_they_were(kind: str, seed: int) -> None:
    rng, radius, engine, _, region = drawn(kind, seed)
    points = l1_points(region, radius, rng, 50)
    shifts = shifts_of(engine, region, points)
    moved = engine.net.moved(shifts).numpy()
    known = np.unique(engine.net.moving.numpy())  # what matters to no open neuron is left out
    assert np.allclose((region.center + moved)[:, known], points[:, known], atol=1e-15)
    assert (shifts.sum(-1).numpy() <= np.abs(points - region.center).sum(axis=1) + 1e-12).all()
    assert (shifts <= engine.net.above + 1e-15).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(6))
def test_no_relu_is_above_its_line(kind: str, seed: int) -> None:
    rng, radius, engine, graph, region = drawn(kind, seed)
    points = l1_points(region, radius, rng, 2000)
    shifts = shifts_of(engine, region, points)
    relu = np.concatenate([graph.trace(points)[i][:, e.numpy()] for i, e in engine.net.neurons], axis=1)
    envelope = ByEnvelopes(Aim(engine, radius, Effort())).envelope
    assert isinstance(envelope, SimplexEnvelope)
    above = Above(*(value[0] for value in vars(envelope.above).values()))
    assert (relu <= (shifts @ above.normal.T + above.value + above.error).numpy()).all()
    # The same by way of weights, as the passes use them.
    group, tangents = Grouping.one(shifts[:5]), envelope.at(Grouping.one(shifts[:5]), shifts[:5])
    weight = -torch.as_tensor(rng.uniform(size=(5, engine.net.open_phases)))
    normal, height, error = envelope.lines(group, tangents, weight)
    least = (normal @ shifts.T + height[:, None] - error[:, None]).numpy()
    assert (least <= (weight.numpy() @ np.maximum(relu, 0.0).T)).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(6))
def test_neuron_bounds_hold_on_the_ball(kind: str, seed: int) -> None:
    rng, radius, _, graph, region = drawn(kind, seed)
    bounds = network_bounds(device_graph_for(graph), region, Norm.L1, radius)
    values = graph.trace(l1_points(region, radius, rng, 4000))
    for i in graph.relus:
        h = values[graph.nodes[i].sources[0]]
        assert (bounds.lower[i][0].numpy() <= h).all()
        assert (h <= bounds.upper[i][0].numpy()).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(8))
def test_no_adversary_of_a_node_is_nearer_than_its_bound(kind: str, seed: int) -> None:
    rng, radius, engine, graph, region = drawn(kind, seed)
    points = l1_points(region, radius, rng, 4000)
    values = graph.trace(points)
    h = np.concatenate([values[graph.nodes[i].sources[0]][:, e.numpy()] for i, e in engine.net.neurons], axis=1)
    shifts, distances = shifts_of(engine, region, points).numpy(), np.abs(points - region.center).sum(axis=1)
    nodes, scores = split_at_random(engine, rng), values[-1]
    winner = int(graph.evaluate(region.center)[0].argmax())
    nodes, seen = bounded(engine, nodes, 2, radius, Effort())
    for k, goal in enumerate(goals_for(winner, 3, None, 0.0)):
        wins = ((scores @ goal.rows.T + goal.offset) <= 0).all(axis=1)
        for node in np.flatnonzero(nodes.goal.numpy() == k):
            phase = nodes.phase[node].numpy()
            inside = wins & ((phase * h >= 0) | (phase == 0)).all(axis=1)
            if inside.any():
                assert float(seen.distance[node]) <= distances[inside].min()
                assert (shifts[inside] @ seen.normal[node].numpy() + float(seen.height[node]) <= 0.0).all()


def test_envelopes_raise_a_bound() -> None:
    # One hidden layer of many neurons over twenty inputs: chords prove little of the ball, however they ascend.
    rng = np.random.default_rng(0)
    graph = affine_chain([rng.normal(size=(30, 20)), rng.normal(size=(2, 30))], [np.zeros(30), np.array([0.0, 0.0])])
    center = rng.uniform(0.3, 0.7, size=20)
    region, device_graph = Region(center, np.zeros(20), np.ones(20)), device_graph_for(graph)
    goals = goals_for(int(graph.evaluate(center)[0].argmax()), 2, None, 0.0)
    engine = NodeBounds(one_sided(reduce(device_graph, network_bounds(device_graph, region, Norm.L1, 1.0), goals)))
    nodes, chords = engine.optimise(engine.roots(), 100, 1.0, 0.1)
    envelope = ByEnvelopes(Aim(engine, 1.0, Effort())).envelope
    assert envelope is not None
    _, better = enveloped(engine, envelope, nodes, chords, 10, 1.0, 0.3)
    assert float(better.distance[0]) > 1.5 * float(chords.distance[0])


def test_an_envelope_needs_one_sided_inputs() -> None:
    engine = problem("dense", 0, 1.0)[0]
    plain = Stack(**{**vars(engine.stack), "one_sided": False})
    with pytest.raises(ValueError, match="one-sided"):
        SimplexEnvelope.of(plain, tensor(1.0))
    assert not ByEnvelopes.possible(NodeBounds(stack=plain))


def test_side_by_side_is_as_alone() -> None:
    radii = [2.5, 1.0, 2.0]
    engines = [problem("dense", seed, radius)[0] for seed, radius in zip((0, 1, 2), radii, strict=True)]
    together = NodeBounds(*(engine.net for engine in engines))
    envelope = ByEnvelopes(Aim(together, tensor(*radii), Effort())).envelope
    assert isinstance(envelope, SimplexEnvelope)
    for k, engine in enumerate(engines):
        own, width = together.stack.columns[k], engine.net.x.shape[1]
        alone = ByEnvelopes(Aim(engine, radii[k], Effort())).envelope
        assert isinstance(alone, SimplexEnvelope)
        assert torch.allclose(envelope.above.normal[k][own][:, :width], alone.above.normal[0], atol=1e-12)
        assert torch.allclose(envelope.above.value[k][own], alone.above.value[0], atol=1e-12)


def test_a_stack_becomes_one_sided_too() -> None:
    rng = np.random.default_rng(3)
    graph = random_graph(rng, "dense")
    center = rng.uniform(size=graph.input_size)
    region, device_graph = Region(center, np.zeros_like(center), np.ones_like(center)), device_graph_for(graph)
    goals = goals_for(int(graph.evaluate(center)[0].argmax()), 3, None, 0.0)
    bounds = network_bounds(device_graph, region, Norm.L1, 1.0)
    stack = Stack.on(device_graph, bounds, [goals])
    wide, net = NodeBounds(stack=one_sided_stack(stack)), NodeBounds(one_sided(reduce(device_graph, bounds, goals)))
    plain = NodeBounds(stack=stack)
    for engine in (wide, net):  # with chords alone, nothing is lost or won
        found, expected = engine.evaluate(engine.roots()), plain.evaluate(plain.roots())
        assert torch.allclose(found.distance, expected.distance, atol=1e-9)
