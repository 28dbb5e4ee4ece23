"""Bounds by moments: no adversary of a node is nearer than its bound, on its own ball or a smaller one; what they gain.

d1 ─┬─► d1 + d2 ─► relu ─┐
d2 ─┴─► d1 - d2 ─► relu ─┴─► g = 3 - relu(d1 + d2) - relu(d1 - d2)      over L∞ balls around 0. The least value on the
                                         ball of radius r is 3 - 2r: the distance is 3/2. Chords prove 3 - 2r - d1, so a
                                         distance of 3 - 2r. Parabolas 3 - (1 + √2)·r: 1.2426, from any larger ball.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import is_dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch

from bounds.envelopes.cube import CubeEnvelope
from bounds.nodes.node_bounds import NodeBounds
from bounds.nodes.records import Nodes, Pass
from bounds.propagation.neuron_bounds import device_graph_for, network_bounds
from bounds.reduced_net.reduced_net import reduce
from bounds.semidefinite.one_layer_bound import raised_by_one_layer
from bounds.semidefinite.one_layer_descent import Found, descent
from bounds.semidefinite.parabolas import Parabolas
from bounds.tightening.by_envelopes import enveloped
from encoders.layer_graph.graph import Graph, affine_chain
from encoders.question import Norm, Region, goals_for
from tests.bounds.envelopes.test_cube import KINDS, check_against, drawn, split_at_random
from tests.bounds.propagation.test_neuron_bounds import points_in
from tests.draws import draws

STEPS = 24


def raised(engine: NodeBounds, nodes: Nodes, radius: float, steps: int = STEPS) -> tuple[Nodes, Pass]:
    parabolas = Parabolas.of(engine.stack, torch.tensor([radius], dtype=torch.float64))
    nothing = replace(engine.evaluate(nodes), distance=torch.zeros(len(nodes), dtype=torch.float64))
    return raised_by_one_layer(engine, parabolas, nodes, nothing, steps, radius)


def on_ball(graph: Graph, center: np.ndarray, radius: float, side: float) -> NodeBounds:
    region, device_graph = Region(center, center - side, center + side), device_graph_for(graph)
    goals = goals_for(int(graph.evaluate(center)[0].argmax()), 2, None, 0.0)
    return NodeBounds(reduce(device_graph, network_bounds(device_graph, region, Norm.LINF, radius), goals))


@pytest.mark.parametrize("radius", [1.25, 1.4, 1.8])
def test_two_neurons_by_hand(radius: float) -> None:
    rows, last = np.array([[1.0, 1.0], [1.0, -1.0]]), np.array([[-1.0, -1.0], [0.0, 0.0]])
    graph = affine_chain([rows, last], [np.zeros(2), np.array([3.0, 0.0])])
    engine = on_ball(graph, np.zeros(2), radius, 10.0)
    _, chords = engine.optimise(engine.roots(), 50, radius, 0.1)
    assert float(chords.distance[0]) == pytest.approx(max(0.0, 3.0 - 2.0 * radius), abs=1e-9)
    _, seen = raised(engine, engine.roots(), radius)
    assert 1.2 < float(seen.distance[0]) <= 3.0 / (1.0 + 2**0.5) + 1e-9
    # What is likeliest lies where the goal is least: d1 = r, wherever d2 is.
    assert float(seen.shift[0, 0]) == pytest.approx(radius)
    # Both phases known, the goal is 3 - 2·d1 and nothing is relaxed.
    active = engine.roots().split(torch.tensor([0])).take(torch.tensor([0])).split(torch.tensor([1]))
    _, seen = raised(engine, active.take(torch.tensor([0])), radius)
    assert min(radius, 1.49) <= float(seen.distance[0])


@pytest.mark.thorough
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(draws(3, 10)))
@pytest.mark.fewer
def test_no_adversary_of_a_node_is_nearer(kind: str, seed: int) -> None:
    rng, radius, engine, graph, region = drawn(kind, seed)
    points = points_in(region, Norm.LINF, radius * (1 - 1e-12), rng, 4000)
    nodes = split_at_random(engine, rng)
    for steps in (3, STEPS):  # the second time from what the first has left in the nodes
        nodes, seen = raised(engine, nodes, radius, steps)
        check_against(points, engine, graph, region, nodes, seen)


def wide_net() -> tuple[Graph, np.ndarray]:
    """One hidden layer of many neurons over twenty inputs."""
    rng = np.random.default_rng(0)
    graph = affine_chain([rng.normal(size=(60, 20)), rng.normal(size=(2, 60))], [np.zeros(60), np.zeros(2)])
    return graph, rng.uniform(0.3, 0.7, size=20)


def test_moments_see_farther_than_tangents() -> None:
    graph, center = wide_net()
    engine = on_ball(graph, center, 0.3, 1.0)
    nodes, chords = engine.optimise(engine.roots(), 20, 0.3, 0.1)
    envelope = CubeEnvelope.of(engine.stack, torch.tensor([0.3], dtype=torch.float64))
    _, tangents = enveloped(engine, envelope, nodes, chords, 10, 0.3, 0.3)
    _, moments = raised(engine, engine.roots(), 0.3)
    assert float(moments.distance[0]) > 1.5 * float(tangents.distance[0])


def test_a_large_ball_says_nearly_what_a_small_one_does() -> None:
    graph, center = wide_net()
    near = on_ball(graph, center, 0.05, 1.0)
    _, seen = raised(near, near.roots(), 0.05)
    small = min(0.05, float(seen.distance[0]))
    far = on_ball(graph, center, 0.1, 1.0)
    _, seen = raised(far, far.roots(), 0.1)
    assert 0.9 * small < float(seen.distance[0])


def test_side_by_side_is_as_alone() -> None:
    rng, radii = np.random.default_rng(3), torch.tensor([0.1, 0.05, 0.2], dtype=torch.float64)
    graph, _ = wide_net()
    engines = [on_ball(graph, rng.uniform(0.3, 0.7, size=20), float(radius), 1.0) for radius in radii]
    together = NodeBounds(*(engine.net for engine in engines))
    assert len({engine.stack.open_phases for engine in engines}) > 1  # some are padded
    roots = together.roots()
    nothing = replace(together.evaluate(roots), distance=torch.zeros(len(roots), dtype=torch.float64))
    _, seen = raised_by_one_layer(together, Parabolas.of(together.stack, radii), roots, nothing, STEPS, radii)
    for k, engine in enumerate(engines):
        _, alone = raised(engine, engine.roots(), float(radii[k]))
        expected = float(alone.distance[0].clamp_max(radii[k]))
        assert float(seen.distance[k].clamp_max(radii[k])) == pytest.approx(expected, rel=0.02)


def remembered(genuine: Callable[..., Any]) -> Callable[..., Any]:
    """The same descent, run once for each question: a test that spoils its answer many ways need not run it again."""
    found: dict[bytes, Any] = {}

    def ask(*arguments: Any) -> Any:
        question = b" ".join(numbers_in(arguments))
        if question not in found:
            found[question] = genuine(*arguments)
        return found[question]

    return ask


def numbers_in(value: Any) -> Iterator[bytes]:
    """All numbers of a record, or of several."""
    if isinstance(value, torch.Tensor):
        yield value.numpy().tobytes()
    elif is_dataclass(value):
        yield from numbers_in(tuple(vars(value).values()))
    elif isinstance(value, tuple):
        for part in value:
            yield from numbers_in(part)
    else:
        yield repr(value).encode()


WILD = (-1e30, -1.0, -0.4, -1e-30, 0.0, 1e-30, 0.5, 1.0, 1e30, float("inf"), -float("inf"), float("nan"))


once = remembered(descent)


@pytest.mark.thorough
@pytest.mark.parametrize("seed", range(draws(6, 40)))
@pytest.mark.fewer(2)
def test_whatever_a_descent_says_no_bound_is_wrong(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(seed)

    def wild(*arguments: Any) -> Found:
        found = {}
        for name, value in vars(once(*arguments)).items():
            other = torch.as_tensor(rng.choice(WILD, size=value.shape), dtype=value.dtype)
            odd = torch.as_tensor(rng.random(value.shape) < rng.choice([0.0, 0.0, 0.0, 0.1, 0.7]))
            found[name] = torch.where(odd, other, value * float(rng.choice([1.0, 1.0, 1.0, -1.0, 100.0])))
        if seed % 2:
            found["multiplier"] = torch.full_like(found["multiplier"], -float(rng.uniform()))
        return Found(**found)

    # Both neurons active, the goal is 1 - 2·d1 and its distance 1/2.
    rows, last = np.array([[1.0, 1.0], [1.0, -1.0]]), np.array([[-1.0, -1.0], [0.0, 0.0]])
    engine = on_ball(affine_chain([rows, last], [np.zeros(2), np.array([1.0, 0.0])]), np.zeros(2), 1.0, 10.0)
    children = engine.roots().split(torch.tensor([0])).split(torch.tensor([1, 1]))
    monkeypatch.setattr("bounds.semidefinite.one_layer_bound.descent", wild)
    for nodes in (engine.roots(), children.take(torch.tensor([0]))) * 5:
        assert bool((nodes.phase >= 0).all())
        _, seen = raised(engine, nodes, 1.0)
        assert float(seen.distance[0]) <= 0.5


def test_numbers_beyond_single_precision_prove_nothing_wrong() -> None:
    graph, center = wide_net()
    first, last = (graph.nodes[k] for k in (1, 3))
    weights = [node.maps[0].matrix().toarray() for node in (first, last)]  # type: ignore[union-attr]
    huge = affine_chain([weights[0] * 1e45, weights[1] * 1e-45], [np.zeros(60), np.zeros(2)])
    engine = on_ball(huge, center, 0.1, 1.0)
    nodes, seen = raised(engine, engine.roots(), 0.1)
    assert bool(torch.isfinite(nodes.slope).all() and torch.isfinite(nodes.multiplier).all())
    assert float(seen.distance[0]) >= 0.0
