"""Nets side by side: every net's nodes are bounded as they are alone, whatever stands beside them.

Two nets by hand: in one sample a neuron is open, in the other none is, so that its place is padding.

d ─► h = d ─► relu ─► y0 = 1/2 - h⁺, y1 = 0: from x = 0 the adversaries are d ≥ 1/2; from x = 1/4, d ≥ 1/4.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bounds.nodes.node_bounds import NodeBounds
from bounds.nodes.output_constrained import on_the_cap
from bounds.nodes.records import Nodes, Pass
from bounds.nodes.regrouping import gathered, parted
from bounds.propagation.neuron_bounds import device_graph_for, network_bounds
from bounds.reduced_net.reduced_net import Reduced, reduce
from bounds.reduced_net.stacked_nets import Stack
from bounds.tightening.base import Effort
from bounds.tightening.raising import bounded
from encoders.layer_graph.graph import Graph, affine_chain
from encoders.question import CONVEX, Norm, Region, goals_for
from tests.bounds.propagation.test_neuron_bounds import random_graph
from tests.draws import draws

STEP = affine_chain([np.array([[1.0]]), np.array([[-1.0], [0.0]])], [np.zeros(1), np.array([0.5, 0.0])])


def net_at(center: np.ndarray, radius: float, norm: Norm, graph: Graph, targets: tuple[int, ...] | None) -> Reduced:
    device_graph = device_graph_for(graph)
    region = Region(center, np.zeros_like(center) - 1.0, np.ones_like(center))
    predicted = int(device_graph.forward(torch.as_tensor(center)[None]).argmax())
    wanted = None if targets is None else tuple(t for t in targets if t != predicted)
    return reduce(
        device_graph, network_bounds(device_graph, region, norm, radius), goals_for(predicted, 3, wanted, 0.0)
    )


def test_by_hand() -> None:
    device_graph, nets = device_graph_for(STEP), []
    for center, radius in ((0.0, 0.9), (0.25, 0.2), (0.25, 0.9)):
        region = Region(np.array([center]), -np.ones(1), np.ones(1))
        nets.append(
            reduce(device_graph, network_bounds(device_graph, region, Norm.LINF, radius), goals_for(0, 2, None, 0.0))
        )
    assert [net.open_phases for net in nets] == [1, 0, 1]
    stack = Stack.of(nets)
    assert stack.padding.tolist() == [[False], [True], [False]]
    engine = NodeBounds(*nets)
    _, seen = bounded(engine, engine.roots(), 20, torch.tensor([0.9, 0.2, 0.9], dtype=torch.float64), Effort())
    # On its ball of 0.2 the second sample's net is linear, and its adversary lies beyond what was asked for.
    assert seen.distance.tolist() == pytest.approx([0.5, 0.2, 0.25])


RADII = (0.05, 0.3, 1.0, 2.0)


def some_nets(kind: str, norm: Norm, seed: int, targets: tuple[int, ...] | None) -> list[Reduced]:
    rng = np.random.default_rng(seed)
    graph = random_graph(rng, kind)
    return [net_at(rng.uniform(0, 1, size=graph.input_size), radius, norm, graph, targets) for radius in RADII]


@pytest.mark.thorough
@pytest.mark.parametrize("targets", [None, (0, 1, 2)])
@pytest.mark.parametrize("norm", CONVEX)
@pytest.mark.parametrize("kind", ["dense", "residual", "convolution"])
@pytest.mark.parametrize("seed", range(draws(1, 4)))
@pytest.mark.fewer
def test_side_by_side_is_as_alone(kind: str, norm: Norm, seed: int, targets: tuple[int, ...] | None) -> None:
    nets = some_nets(kind, norm, seed, targets)
    engine, alone = NodeBounds(*nets), [NodeBounds(net) for net in nets]
    some = [part(one, seed) for one in alone]
    counts = [len(nodes) for nodes in some]
    enough = torch.tensor(RADII, dtype=torch.float64)
    together = gathered(engine.stack, some)
    seen = [one.evaluate(nodes) for one, nodes in zip(alone, some, strict=True)]
    same(parted(engine, together, engine.evaluate(together), counts), list(zip(some, seen, strict=True)))

    apart = [one.optimise(n, 5, r, 0.15) for one, n, r in zip(alone, some, RADII, strict=True)]
    _, view = engine.optimise(together, 5, enough, 0.15)
    for k, distance in enumerate(torch.split(view.distance, counts)):
        # Without open phases a net alone ascends nothing; beside others the weights of its goal's rows may.
        assert (distance >= apart[k][1].distance - 1e-6).all()
        if nets[k].open_phases:
            torch.testing.assert_close(distance, apart[k][1].distance, rtol=1e-5, atol=1e-7)

    nodes = gathered(engine.stack, [found for found, _ in apart])
    capped = on_the_cap(engine, nodes, engine.evaluate(nodes), enough)
    for k, (mine, _) in enumerate(parted(engine, capped, engine.evaluate(nodes), counts)):
        # With one layer alone, only the costly neurons are bounded again; beside a net with two, all are.
        if (len(nets[k].layers) == 1) != (len(engine.stack.layers) == 1):
            continue
        like = on_the_cap(alone[k], apart[k][0], alone[k].evaluate(apart[k][0]), RADII[k])
        for found, bound in ((mine.lower, like.lower), (mine.upper, like.upper)):
            np.testing.assert_allclose(found, bound, rtol=1e-3, atol=1e-3)  # prices are looked for in float32


def part(engine: NodeBounds, seed: int) -> Nodes:
    """Roots, and their children at a neuron chosen at random."""
    roots = engine.roots()
    count = engine.net.open_phases
    if not count:
        return roots
    neuron = torch.as_tensor(np.random.default_rng(seed).integers(0, count, size=len(roots)))
    return roots.split(neuron)


def same(found: list[tuple[Nodes, Pass]], expected: list[tuple[Nodes, Pass]]) -> None:
    for one, other in zip(found, expected, strict=True):
        for record, like in zip(one, other, strict=True):
            for name, value in vars(record).items():
                np.testing.assert_allclose(value, getattr(like, name), rtol=1e-5, atol=1e-7, err_msg=name)
