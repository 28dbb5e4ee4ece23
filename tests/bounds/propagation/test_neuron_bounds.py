"""Pre-activation bounds, the reduced net and node bounds: by hand, then against samples."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch

from bounds.nodes.node_bounds import NodeBounds
from bounds.propagation.neuron_bounds import device_graph_for, network_bounds
from bounds.reduced_net.reduced_net import reduce
from encoders.layer_graph.graph import Affine, Graph, Input, Relu, affine_chain
from encoders.layer_graph.linear_maps import Convolution, Dense, Gather, Scale
from encoders.question import CONVEX, Norm, Region, goals_for
from tests.draws import draws

# x --(1, -1)--> h1 = x1 - x2        y0 = 2 - z1 - z2,   y1 = 0
#   --(1,  1)--> h2 = x1 + x2 - 1    around (0, 0) in [0, 1]²: the adversary must bring z1 + z2 up to 2.
HAND = affine_chain([np.array([[1.0, -1.0], [1.0, 1.0]]), np.array([[-1.0, -1.0], [0.0, 0.0]])],
                    [np.array([0.0, -1.0]), np.array([2.0, 0.0])])  # fmt: skip
CORNER = Region(np.zeros(2), np.zeros(2), np.ones(2))


def test_intervals_by_hand() -> None:
    bounds = network_bounds(device_graph_for(HAND), CORNER, Norm.LINF, 0.75)
    assert bounds.lower[2][0].tolist() == pytest.approx([-0.75, -1.0])
    assert bounds.upper[2][0].tolist() == pytest.approx([0.75, 0.5])
    assert (bounds.upper[2][0] >= torch.tensor([0.75, 0.5], dtype=torch.float64)).all()


def test_rounding_is_in_an_interval() -> None:
    # 3·0.1 - 0.3 is 2.8e-17 of these numbers; added up in float64, 5.6e-17 in one order of the two terms.
    center = np.array([0.1, 0.3, 0.1])
    rows = np.array([[3.0, -1.0, 0.0], [0.0, -1.0, 3.0]])
    graph = affine_chain([rows, np.ones((2, 2))], [np.zeros(2), np.zeros(2)])
    bounds = network_bounds(device_graph_for(graph), Region(center, center, center), Norm.LINF, 0.0, crown=False)
    exact = 3 * Fraction(0.1) - Fraction(0.3)
    for low, high in zip(bounds.lower[2][0].tolist(), bounds.upper[2][0].tolist(), strict=True):
        assert Fraction(low) <= exact <= Fraction(high)


def test_the_l1_ball_is_tighter_than_its_box() -> None:
    bounds = network_bounds(device_graph_for(HAND), CORNER, Norm.L1, 0.75)
    assert bounds.upper[2][0].tolist() == pytest.approx([0.75, -0.25])


def test_a_fixed_node_by_hand() -> None:
    # Both neurons active: y0 - y1 = 2 - (x1 - x2) - (x1 + x2 - 1) = 3 - 2·x1, out of reach of the box: no adversary.
    # h1 active, h2 not: 2 - x1 + x2 out of reach too; so is every node, and the root's bound may be infinite or not.
    device_graph = device_graph_for(HAND)
    bounds = network_bounds(device_graph, CORNER, Norm.LINF, 1.0)
    phases = NodeBounds(reduce(device_graph, bounds, goals_for(0, 2, None, 0.0)))
    root = phases.roots()
    both = replace(root, phase=torch.ones_like(root.phase))
    assert float(phases.evaluate(both).distance[0]) == float("inf")


def random_graph(rng: np.random.Generator, kind: str) -> Graph:
    def draw(*shape: int) -> np.ndarray:
        return rng.normal(size=shape).astype(np.float32).astype(np.float64)

    if kind == "dense":
        return affine_chain([draw(6, 4), draw(5, 6), draw(3, 5)], [draw(6), draw(5), draw(3)])
    if kind == "residual":
        return Graph(
            (Input(4), Affine((0,), (Dense(draw(5, 4)),), draw(5)), Relu(1, 5),
             Affine((2, 1), (Dense(draw(5, 5)), Scale(draw(5))), draw(5)), Relu(3, 5),
             Affine((4,), (Dense(draw(3, 5)),), draw(3))), (4,))  # fmt: skip
    convolution = Convolution(draw(2, 1, 3, 3), (1, 4, 4), (2, 2), (1, 1, 1, 1))
    shuffle = Gather(np.array([7, -1, 0, 3, 3, 2]), 8)
    return Graph(
        (Input(16), Affine((0,), (convolution,), draw(8)), Relu(1, 8), Affine((2,), (shuffle,), draw(6)), Relu(3, 6),
         Affine((4,), (Dense(draw(3, 6)),), draw(3))), (1, 4, 4))  # fmt: skip


def points_in(region: Region, norm: Norm, radius: float, rng: np.random.Generator, count: int) -> np.ndarray:
    shift = rng.uniform(-1, 1, size=(count, region.center.size))
    shift[: count // 2] = np.sign(shift[: count // 2])
    shift *= radius / norm.length(shift)[:, None]
    return np.asarray(np.clip(region.center + shift, region.lower, region.upper))


@pytest.mark.thorough
@pytest.mark.parametrize("norm", CONVEX)
@pytest.mark.parametrize("kind", ["dense", "residual", "convolution"])
@pytest.mark.parametrize("seed", range(draws(4, 6)))
def test_nothing_leaves_the_bounds(kind: str, norm: Norm, seed: int) -> None:
    rng = np.random.default_rng(seed)
    graph = random_graph(rng, kind)
    center = rng.integers(0, 2, size=graph.input_size) * 0.5 + rng.uniform(0, 0.5, size=graph.input_size)
    region = Region(center, np.zeros_like(center), np.ones_like(center))
    radius = float(rng.choice([1e-3, 0.1, 0.7]))
    device_graph = device_graph_for(graph)
    bounds = network_bounds(device_graph, region, norm, radius)
    points = points_in(region, norm, radius * (1 - 1e-12), rng, 400)
    values = graph.trace(points)
    for position in graph.relus:
        h = values[graph.nodes[position].sources[0]]
        assert (h >= bounds.lower[position].numpy()).all()
        assert (h <= bounds.upper[position].numpy()).all()
    scores = values[-1]
    predicted = int(graph.evaluate(center)[0].argmax())
    goals = goals_for(predicted, 3, None, 0.0)
    net = reduce(device_graph, bounds, goals)
    phases = NodeBounds(net)
    roots, seen = phases.optimise(phases.roots(), 10, float("inf"), 0.3)
    # Every sampled adversary is at least as far as the bound of its goal's root, and of the node of its own phases.
    for goal_position, goal in enumerate(goals):
        adversaries = ((scores @ goal.rows.T + goal.offset) <= 0).all(axis=1)
        lengths = norm.length(points - center)
        assert (lengths[adversaries] >= float(seen.distance[goal_position])).all()
        for k in np.flatnonzero(adversaries)[:20]:
            signs = [
                torch.as_tensor(np.where(values[graph.nodes[i].sources[0]][k] >= 0, 1, -1), dtype=torch.int8)[entries]
                for i, entries in net.neurons
            ]
            node = roots.take(torch.tensor([goal_position]))
            if signs:
                node = replace(node, phase=torch.cat(signs)[None])
            _, exact = phases.optimise(node, 20, float("inf"), 0.3)
            assert float(exact.distance[0]) <= lengths[k]


def test_the_reduced_net_is_the_net() -> None:
    rng = np.random.default_rng(3)
    graph = random_graph(rng, "residual")
    region = Region(np.full(4, 0.5), np.zeros(4), np.ones(4))
    device_graph = device_graph_for(graph)
    bounds = network_bounds(device_graph, region, Norm.LINF, 0.3)
    net = reduce(device_graph, bounds, goals_for(0, 3, None, 0.25))
    point = rng.uniform(0.2, 0.8, size=4)
    values = graph.trace(point)
    h = torch.cat([torch.as_tensor(values[graph.nodes[i].sources[0]][0])[entries] for i, entries in net.neurons])
    rows = net.x @ torch.as_tensor(point - 0.5) + net.z @ h.clamp_min(0.0) + net.constant
    scores = values[-1][0]
    expected = torch.cat([h, torch.as_tensor([scores[0] - scores[1] + 0.25, scores[0] - scores[2] + 0.25])])
    assert ((rows - expected).abs() <= net.error).all()
    assert float(net.error.max()) < 1e-10


def test_one_moved_input_by_hand() -> None:
    """x1 + x2 - 1 passes 0 only where both move."""
    one, two = (network_bounds(device_graph_for(HAND), CORNER, Norm.L0, count) for count in (1.0, 2.0))
    assert one.upper[2][0].tolist() == pytest.approx([1.0, 0.0], abs=1e-9)
    assert one.lower[2][0].tolist() == pytest.approx([-1.0, -1.0])
    assert two.upper[2][0].tolist() == pytest.approx([1.0, 1.0])


@pytest.mark.parametrize("kind", ["dense", "residual", "convolution"])
def test_nothing_leaves_the_bounds_of_few_moved_inputs(kind: str) -> None:
    rng = np.random.default_rng(7)
    graph = random_graph(rng, kind)
    center = rng.uniform(0, 1, size=graph.input_size)
    region = Region(center, np.zeros_like(center), np.ones_like(center))
    for count in (1, 2):
        bounds = network_bounds(device_graph_for(graph), region, Norm.L0, count + 1e-9)
        points = np.repeat(center[None], 300, axis=0)
        for point in points:
            moved = rng.permutation(center.size)[:count]
            point[moved] = rng.integers(0, 2, count)
        values = graph.trace(points)
        for position in graph.relus:
            h = values[graph.nodes[position].sources[0]]
            assert (h >= bounds.lower[position].numpy()).all()
            assert (h <= bounds.upper[position].numpy()).all()


@pytest.mark.parametrize("norm", [Norm.L1, Norm.L2])
@pytest.mark.parametrize("radius", [1e31, np.inf])
def test_no_ball_is_cut_however_large(norm: Norm, radius: float) -> None:
    # h = 1e-30·x - 5 reaches 5 at x = 1e31.
    graph = affine_chain([np.array([[1e-30]]), np.array([[0.0], [1.0]])], [np.array([-5.0]), np.array([1.0, 0.0])])
    region = Region(np.zeros(1), np.array([-1e31]), np.array([1e31]))
    bounds = network_bounds(device_graph_for(graph), region, norm, radius)
    assert float(bounds.upper[2][0, 0]) >= 5.0
    assert float(bounds.lower[2][0, 0]) <= -15.0
