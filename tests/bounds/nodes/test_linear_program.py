"""Linear programs of nodes: a net worked out by hand, the program's own optimum, and adversaries that are never passed.

d ─► h = d ─► relu ─► y0 = 1/2 - h⁺, y1 = 0        around x = 0 in [-1, 1], ball 0.9: adversaries are d ≥ 1/2

With h open, z ≤ (d + 0.9)/2 and 1/2 - z ≤ 0 need d ≥ 0.1. Active, z = d needs d ≥ 1/2. Inactive, z = 0 never wins.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bounds.nodes.linear_program import NodeProgram
from bounds.nodes.node_bounds import NodeBounds
from bounds.nodes.records import Nodes
from bounds.propagation.neuron_bounds import device_graph_for, network_bounds
from bounds.reduced_net.reduced_net import reduce
from encoders.question import Norm, Region, goals_for
from tests.bounds.nodes.test_output_constrained import step
from tests.bounds.propagation.test_neuron_bounds import points_in, random_graph
from tests.draws import draws

PROGRAMS = (Norm.LINF, Norm.L1, Norm.L2)


@pytest.mark.parametrize("norm", PROGRAMS)
@pytest.mark.parametrize(("phase", "proven"), [(0, 0.1), (1, 0.5)])
def test_one_neuron_by_hand(norm: Norm, phase: int, proven: float) -> None:
    program = NodeProgram(*one_neuron(norm, phase))
    assert program.proven(program.solve(0.9, 0.0, None)).distance == pytest.approx(proven)
    raised = program.raised(0.9, None)
    assert raised.distance == pytest.approx(proven)
    assert raised.shift is not None
    assert raised.cost is not None
    # The nearest point lies on the chord, 1/2 above relu(0.1) = 0.1; the lowest goal is at the ball's end, where the
    # chord meets the relu.
    missed = 0.4 if phase == 0 and norm is not Norm.LINF else 0.0
    assert raised.cost.tolist() == pytest.approx([missed])
    assert raised.shift.tolist() == pytest.approx([0.9 if norm is Norm.LINF else proven])


@pytest.mark.parametrize("norm", PROGRAMS)
def test_a_node_without_adversaries_is_closed(norm: Norm) -> None:
    program = NodeProgram(*one_neuron(norm, -1))
    assert program.raised(0.9, None).distance >= 0.9


def one_neuron(norm: Norm, phase: int) -> tuple[NodeBounds, Nodes]:
    region = Region(np.zeros(1), -np.ones(1), np.ones(1))
    device_graph = device_graph_for(step(0.5))
    engine = NodeBounds(
        reduce(device_graph, network_bounds(device_graph, region, norm, 0.9), goals_for(0, 2, None, 0.0))
    )
    roots = engine.roots()
    return engine, roots.fixed(torch.full_like(roots.phase, phase))


def random_node(kind: str, norm: Norm, seed: int) -> tuple[NodeBounds, Nodes, np.ndarray, np.ndarray]:
    """A node with about half of its phases fixed as at some point; its adversaries among many points, and all points'
    distances."""
    rng = np.random.default_rng(seed)
    graph = random_graph(rng, kind)
    center = rng.integers(0, 2, size=graph.input_size) * 0.5 + rng.uniform(0, 0.5, size=graph.input_size)
    region = Region(center, np.zeros_like(center), np.ones_like(center))
    radius = region.reach(norm)
    device_graph = device_graph_for(graph)
    predicted = int(graph.evaluate(center)[0].argmax())
    targets = None if seed % 2 else tuple(k for k in range(3) if k != predicted)
    goals = goals_for(predicted, 3, targets, 0.0)
    engine = NodeBounds(reduce(device_graph, network_bounds(device_graph, region, norm, radius), goals))
    points = points_in(region, norm, radius, rng, 4000)
    points = np.concatenate([points, region.center + rng.random((4000, 1)) * (points[rng.permutation(4000)] - center)])
    values = graph.trace(points)
    h = np.concatenate([values[graph.nodes[i].sources[0]][:, e.numpy()] for i, e in engine.net.neurons], axis=1)
    wins = ((values[-1] @ goals[0].rows.T + goals[0].offset) <= 0).all(axis=1)
    at = rng.choice(np.flatnonzero(wins)) if wins.any() else 0
    phase = np.where(rng.random(h.shape[1]) < 0.5, 0, np.where(h[at] > 0, 1, -1))
    inside = wins & (h * phase >= 0).all(axis=1)
    nodes = engine.roots().take(torch.tensor([0]))
    nodes = nodes.fixed(torch.as_tensor(phase, dtype=nodes.phase.dtype)[None])
    return engine, nodes, np.asarray(inside), norm.length(points - center)


@pytest.mark.thorough
@pytest.mark.parametrize("norm", PROGRAMS)
@pytest.mark.parametrize("kind", ["dense", "residual", "convolution"])
@pytest.mark.parametrize("seed", range(draws(6, 24)))
@pytest.mark.fewer
def test_the_bound_is_the_program_s_optimum_and_no_adversary_s(kind: str, norm: Norm, seed: int) -> None:
    engine, nodes, inside, distances = random_node(kind, norm, seed)
    program = NodeProgram(engine, nodes)
    answer = program.solve(1e3, 0.0, None)
    proven = program.proven(answer)
    if answer.point is not None:
        # What HiGHS calls the optimum comes out of its multipliers again, but for rounding.
        optimum = answer.objective
        assert proven.distance == pytest.approx(optimum, rel=1e-4, abs=1e-6)
        # A little nearer than that, the smaller program proves that there is nothing.
        closing = program.raised(0.999 * optimum, None)
        assert closing.distance >= 0.99 * optimum
    nearest = distances[inside].min(initial=np.inf)
    assert proven.distance <= nearest
    for share in (0.5, 1.0, 2.0):
        assert program.raised(share * max(proven.distance, 1e-3), None).distance <= nearest


@pytest.mark.slow
@pytest.mark.parametrize("norm", PROGRAMS)
def test_wrong_multipliers_make_it_weak_and_never_wrong(norm: Norm, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    checked = 0
    for seed in range(12):
        engine, nodes, inside, distances = random_node("residual", norm, seed)
        program = NodeProgram(engine, nodes)
        for _ in range(5):
            multipliers = rng.exponential(size=len(program.least)) * 10.0 ** rng.uniform(-3, 3)
            share = rng.dirichlet(np.ones(len(program.goal)))
            _, seen = program._with(multipliers, share)
            assert float(seen.distance[0]) <= distances[inside].min(initial=np.inf)
            checked += bool(inside.any())
    assert checked > 20
