"""Tangents of concave envelopes: one neuron by hand, the envelope itself by a program over all corners, then samples.

d1 ─┐
    ├─► h = d1 + d2 ─► relu     on [-1, 1]²: the chord is (h + 2)/2 everywhere, which is 1 at the corner (1, -1), where
d2 ─┘                           h = 0. There the tangent takes d2 alone: relu(h) ≤ d2 + 1, which is 0, and exact.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.optimize import linprog

from bounds.envelopes.cube import BINS, CubeEnvelope
from bounds.nodes.node_bounds import NodeBounds
from bounds.nodes.records import Nodes, Pass
from bounds.propagation.neuron_bounds import device_graph_for, network_bounds
from bounds.propagation.sample_groups import Grouping
from bounds.reduced_net.reduced_net import reduce
from bounds.reduced_net.stacked_nets import Stack
from bounds.tightening.by_envelopes import enveloped
from encoders.arrays import FloatArray
from encoders.layer_graph.graph import Graph, affine_chain
from encoders.question import Norm, Region, goals_for
from tests.bounds.propagation.test_neuron_bounds import points_in, random_graph

KINDS = ["dense", "residual", "convolution"]


def one_neuron(weights: FloatArray, bias: float) -> NodeBounds:
    graph = affine_chain([weights[None], np.array([[-1.0], [0.0]])], [np.array([bias]), np.array([0.5, 0.0])])
    region = Region(np.zeros(len(weights)), -np.ones(len(weights)), np.ones(len(weights)))
    device_graph = device_graph_for(graph)
    return NodeBounds(
        reduce(device_graph, network_bounds(device_graph, region, Norm.LINF, 1.0), goals_for(0, 2, None, 0.0))
    )


def line_at(engine: NodeBounds, point: FloatArray, radius: float = 1.0) -> tuple[FloatArray, float, float]:
    """Normal, value at zero and error of the one neuron's tangent at a point."""
    group, shift = Grouping.one(torch.zeros(1)), torch.as_tensor(point)[None]
    envelope = CubeEnvelope.of(engine.stack, shift.new_tensor([radius]))
    tangents = envelope.at(group, shift)
    normal, height, error = envelope.lines(group, tangents, shift.new_ones(1, 1))
    assert float(tangents.value[0, 0]) == pytest.approx(float((normal * shift).sum() + height))
    return normal[0].numpy(), float(height[0]), float(error[0])


def test_a_corner_by_hand() -> None:
    engine = one_neuron(np.array([1.0, 1.0]), 0.0)
    normal, height, error = line_at(engine, np.array([1.0, -1.0]))
    assert normal.tolist() == pytest.approx([0.0, 1.0])
    assert height == pytest.approx(1.0)
    assert 0.0 <= error < 1e-12
    # In the middle both inputs are alike, and share what there is to share: the chord.
    normal, height, _ = line_at(engine, np.zeros(2))
    assert normal.tolist() == pytest.approx([0.5, 0.5])
    assert height == pytest.approx(1.0)


def test_a_smaller_ball_has_a_lower_line() -> None:
    # On [-1/2, 1/2]² the tangent at (1/2, -1/2) is d2 + 1/2.
    normal, height, _ = line_at(one_neuron(np.array([1.0, 1.0]), 0.0), np.array([0.5, -0.5]), radius=0.5)
    assert normal.tolist() == pytest.approx([0.0, 1.0])
    assert height == pytest.approx(0.5)


def envelope_at(weights: FloatArray, bias: float, point: FloatArray) -> float:
    """The concave envelope of relu(weights · d + bias) over [-1, 1]^n: the best mix of corners that is the point."""
    n = len(weights)
    corners = np.array(np.meshgrid(*[[-1.0, 1.0]] * n)).reshape(n, -1)
    values = np.maximum(weights @ corners + bias, 0.0)
    mix = linprog(-values, A_eq=np.vstack([corners, np.ones(corners.shape[1])]), b_eq=np.append(point, 1.0))
    return float(-mix.fun)


@pytest.mark.parametrize("seed", range(20))
def test_the_tangent_touches_the_envelope(seed: int) -> None:
    rng = np.random.default_rng(seed)
    weights, bias = rng.normal(size=4), 0.3 * float(rng.normal())
    engine = one_neuron(weights, bias)
    # Inputs that stand apart from one another, counted from the end that lowers the neuron, have bins of their own.
    part = (rng.permutation(BINS)[:4] + 0.5) / BINS
    point = np.where(weights > 0, 2 * part - 1, 1 - 2 * part)
    normal, height, _ = line_at(engine, point)
    assert normal @ point + height == pytest.approx(envelope_at(weights, bias, point), abs=1e-9)


def problem(kind: str, seed: int, radius: float) -> tuple[NodeBounds, Graph, Region]:
    rng = np.random.default_rng(seed)
    graph = random_graph(rng, kind)
    center = rng.integers(0, 2, size=graph.input_size) * 0.5 + rng.uniform(0, 0.5, size=graph.input_size)
    region = Region(center, np.zeros_like(center), np.ones_like(center))
    device_graph = device_graph_for(graph)
    goals = goals_for(int(graph.evaluate(center)[0].argmax()), 3, None, 0.0)
    return (
        NodeBounds(reduce(device_graph, network_bounds(device_graph, region, Norm.LINF, radius), goals)),
        graph,
        region,
    )


def drawn(kind: str, seed: int) -> tuple[np.random.Generator, float, NodeBounds, Graph, Region]:
    """A problem on a ball of random size, on which something is open."""
    while True:
        rng = np.random.default_rng(seed)
        radius = float(rng.choice([0.3, 0.7, 1.5]))
        engine, graph, region = problem(kind, seed, radius)
        if engine.net.open_phases:
            return rng, radius, engine, graph, region
        seed += 1000


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(6))
def test_no_relu_is_above_its_line(kind: str, seed: int) -> None:
    rng, radius, engine, graph, region = drawn(kind, seed)
    points = points_in(region, Norm.LINF, radius * (1 - 1e-12), rng, 2000)
    shifts = torch.as_tensor(points - region.center)[:, engine.net.moving]
    relu = np.concatenate([graph.trace(points)[i][:, e.numpy()] for i, e in engine.net.neurons], axis=1)
    envelope = CubeEnvelope.of(engine.stack, shifts.new_tensor([radius]))
    group = Grouping.one(shifts[:20])
    tangents = envelope.at(group, shifts[:20])
    for j in range(engine.net.open_phases):
        weight = torch.zeros(20, engine.net.open_phases, dtype=torch.float64)
        weight[:, j] = -1.0
        normal, height, error = envelope.lines(group, tangents, weight)
        below = (normal @ shifts.T + height[:, None] - error[:, None]).numpy()
        assert (below <= -np.maximum(relu[:, j], 0.0)).all()


def split_at_random(engine: NodeBounds, rng: np.random.Generator) -> Nodes:
    nodes = engine.roots()
    for _ in range(2):
        open_ones = (nodes.phase == 0).double()
        if not bool(open_ones.any(-1).all()):
            break
        choice = [rng.choice(np.flatnonzero(row)) for row in open_ones.numpy()]
        nodes = nodes.split(torch.as_tensor(np.array(choice)))
    return nodes


def check_against(
    points: FloatArray, engine: NodeBounds, graph: Graph, region: Region, nodes: Nodes, seen: Pass
) -> None:
    """No adversary among the points is nearer than its node's bound, or above zero in what is known of it."""
    values = graph.trace(points)
    h = np.concatenate([values[graph.nodes[i].sources[0]][:, e.numpy()] for i, e in engine.net.neurons], axis=1)
    shifts, scores = (points - region.center)[:, engine.net.moving.numpy()], values[-1]
    winner = int(graph.evaluate(region.center)[0].argmax())
    for k, goal in enumerate(goals_for(winner, 3, None, 0.0)):
        wins = ((scores @ goal.rows.T + goal.offset) <= 0).all(axis=1)
        for node in np.flatnonzero(nodes.goal.numpy() == k):
            phase = nodes.phase[node].numpy()
            inside = wins & ((phase * h >= 0) | (phase == 0)).all(axis=1)
            if not inside.any():
                continue
            nearest = np.abs(points[inside] - region.center).max(axis=1).min()
            assert float(seen.distance[node]) <= nearest
            for of in (nodes, seen):
                assert (shifts[inside] @ of.normal[node].numpy() + float(of.height[node]) <= 0.0).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(8))
@pytest.mark.fewer
def test_no_adversary_of_a_node_is_above_its_function(kind: str, seed: int) -> None:
    rng, radius, engine, graph, region = drawn(kind, seed)
    points = points_in(region, Norm.LINF, radius * (1 - 1e-12), rng, 4000)
    nodes = split_at_random(engine, rng)
    envelope = CubeEnvelope.of(engine.stack, torch.tensor([radius], dtype=torch.float64))
    for _ in range(2):  # the second time from what the first has left in the nodes
        nodes, seen = engine.optimise(nodes, 1, radius, 0.3)
        nodes, seen = enveloped(engine, envelope, nodes, seen, 6, radius, 0.3)
        check_against(points, engine, graph, region, nodes, seen)


def test_tangents_raise_a_bound() -> None:
    # One hidden layer of many neurons over twenty inputs: the chord loses most of the distance, however it ascends.
    rng = np.random.default_rng(0)
    graph = affine_chain([rng.normal(size=(30, 20)), rng.normal(size=(2, 30))], [np.zeros(30), np.array([0.0, 0.0])])
    center = rng.uniform(0.3, 0.7, size=20)
    region, device_graph = Region(center, np.zeros(20), np.ones(20)), device_graph_for(graph)
    goals = goals_for(int(graph.evaluate(center)[0].argmax()), 2, None, 0.0)
    engine = NodeBounds(reduce(device_graph, network_bounds(device_graph, region, Norm.LINF, 0.1), goals))
    nodes, chords = engine.optimise(engine.roots(), 100, 0.1, 0.1)
    envelope = CubeEnvelope.of(engine.stack, torch.tensor([0.1], dtype=torch.float64))
    _, tangents = enveloped(engine, envelope, nodes, chords, 10, 0.1, 0.3)
    assert float(tangents.distance[0]) > 1.1 * float(chords.distance[0])


def test_a_child_starts_from_what_its_parent_has_proven() -> None:
    engine, _, _ = problem("dense", 3, 0.7)
    envelope = CubeEnvelope.of(engine.stack, torch.tensor([0.7], dtype=torch.float64))
    nodes, seen = enveloped(engine, envelope, engine.roots(), engine.evaluate(engine.roots()), 8, 0.7, 0.3)
    children = nodes.split(torch.zeros(len(nodes), dtype=torch.int64))
    poor = replace(engine.evaluate(children), distance=torch.zeros(len(children), dtype=torch.float64))
    _, again = enveloped(engine, envelope, children, poor, 1, 0.7, 0.3)
    assert (again.distance >= seen.distance.repeat(2) - 1e-12).all()


def test_side_by_side_is_as_alone() -> None:
    engines = [problem("dense", seed, radius)[0] for seed, radius in ((0, 0.7), (1, 0.3), (2, 0.5))]
    radii = torch.tensor([0.7, 0.3, 0.5], dtype=torch.float64)
    stack = Stack.of([engine.net for engine in engines])
    together = CubeEnvelope.of(stack, radii)
    rng = np.random.default_rng(0)
    member = torch.tensor([2, 0, 1, 0])
    size, count = stack.x.shape[2], stack.open_phases
    group = Grouping(3, member)
    point = torch.as_tensor(rng.uniform(-1, 1, size=(4, size))) * radii[member, None]
    weight = -torch.as_tensor(rng.uniform(size=(4, count))) * ~stack.padding[member]
    normal, height, _ = together.lines(group, together.at(group, point), weight)
    for row, k in enumerate(member.tolist()):
        own, width = stack.columns[k], engines[k].net.x.shape[1]
        alone = CubeEnvelope.of(engines[k].stack, radii[k : k + 1])
        one = Grouping.one(point[row : row + 1])
        tangents = alone.at(one, point[row : row + 1, :width])
        expected, value, _ = alone.lines(one, tangents, weight[row : row + 1, own])
        assert torch.allclose(normal[row, :width], expected[0], atol=1e-12)
        assert float(height[row]) == pytest.approx(float(value[0]))
