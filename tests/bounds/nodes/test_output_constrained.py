"""Bounds on the cap: a net worked out by hand, and sampled adversaries that never leave them.

d ─► h = d ─► relu ─► y0 = 1 - h⁺, y1 = 0        around x = 0 in [-1, 1]: adversaries are d ≥ 1, outside the ball 0.9;
                                                  with y0 = 1/2 - h⁺ they are d ≥ 1/2: on the ball 0.9, h ∈ [1/2, 0.9]
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bounds.nodes.node_bounds import NodeBounds
from bounds.nodes.output_constrained import on_the_cap
from bounds.propagation.neuron_bounds import device_graph_for, network_bounds
from bounds.reduced_net.reduced_net import reduce
from encoders.layer_graph.graph import Graph, affine_chain
from encoders.question import CONVEX, Norm, Region, goals_for
from tests.bounds.propagation.test_neuron_bounds import points_in, random_graph


def step(bias: float) -> Graph:
    return affine_chain([np.array([[1.0]]), np.array([[-1.0], [0.0]])], [np.zeros(1), np.array([bias, 0.0])])


@pytest.mark.parametrize("norm", CONVEX)
def test_one_neuron_by_hand(norm: Norm) -> None:
    region = Region(np.zeros(1), -np.ones(1), np.ones(1))
    device_graph = device_graph_for(step(0.5))
    engine = NodeBounds(
        reduce(device_graph, network_bounds(device_graph, region, norm, 0.9), goals_for(0, 2, None, 0.0))
    )
    roots = engine.roots()
    # The chord above relu on [-0.9, 0.9] is (d + 0.9)/2, so the goal 1/2 - relu is at least 0.05 - d/2: φ ≤ 0 from
    # d = 0.1 on, which fixes the phase; over the cap [0.1, 0.9] the net is linear, and the next pass finds 1/2.
    seen = engine.evaluate(roots)
    assert float(seen.distance[0]) == pytest.approx(0.1)
    first = on_the_cap(engine, roots, seen, 0.9)
    assert (float(first.lower[0, 0]), float(first.upper[0, 0])) == pytest.approx((0.1, 0.9))
    assert int(first.phase[0, 0]) == 1
    seen = engine.evaluate(first)
    assert float(seen.distance[0]) == pytest.approx(0.5)


def test_an_empty_cap_crosses() -> None:
    region = Region(np.zeros(1), -np.ones(1), np.ones(1))
    device_graph = device_graph_for(step(1.0))
    engine = NodeBounds(
        reduce(device_graph, network_bounds(device_graph, region, Norm.LINF, 0.9), goals_for(0, 2, None, 0.0))
    )
    roots = engine.roots()
    nodes = on_the_cap(engine, roots, engine.evaluate(roots), 0.9)
    assert bool((nodes.lower > nodes.upper).any()) or float(engine.evaluate(nodes).distance[0]) > 0.9


@pytest.mark.parametrize("norm", CONVEX)
@pytest.mark.parametrize("kind", ["dense", "residual", "convolution"])
@pytest.mark.parametrize("seed", range(6))
@pytest.mark.fewer
def test_no_adversary_leaves_the_cap(kind: str, norm: Norm, seed: int) -> None:
    rng = np.random.default_rng(seed)
    graph = random_graph(rng, kind)
    center = rng.integers(0, 2, size=graph.input_size) * 0.5 + rng.uniform(0, 0.5, size=graph.input_size)
    region = Region(center, np.zeros_like(center), np.ones_like(center))
    radius = float(rng.choice([0.3, 0.7, 1.5]))
    device_graph = device_graph_for(graph)
    goals = goals_for(int(graph.evaluate(center)[0].argmax()), 3, None, 0.0)
    engine = NodeBounds(reduce(device_graph, network_bounds(device_graph, region, norm, radius), goals))
    nodes = engine.roots()
    points = points_in(region, norm, radius * (1 - 1e-12), rng, 2000)
    values = graph.trace(points)
    before = [values[graph.nodes[i].sources[0]][:, e.numpy()] for i, e in engine.net.neurons]
    if not before:
        pytest.skip("nothing is open on this ball")
    for _ in range(4):
        nodes, seen = engine.optimise(nodes, 4, float("inf"), 0.3)
        nodes = on_the_cap(engine, nodes, seen, radius)
        for k, goal in enumerate(goals):
            adversaries = ((values[-1] @ goal.rows.T + goal.offset) <= 0).all(axis=1)
            h = np.concatenate(before, axis=1)[adversaries]
            assert (h >= nodes.lower[k].numpy()).all()
            assert (h <= nodes.upper[k].numpy()).all()
            phase = nodes.phase[k].numpy()
            assert not ((h < 0) & (phase > 0)).any()
            assert not ((h > 0) & (phase < 0)).any()
    assert torch.isfinite(nodes.upper).all()
