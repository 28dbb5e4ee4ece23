"""Ranges at a goal's adversaries: by hand, by brute force over all inputs of tiny nets, and fewer open phases.

d ─► h = d ─► relu ─► y0 = b - h⁺, y1 = 0        around x = 0 in [-1, 1]: adversaries are d ≥ b
"""

from __future__ import annotations

import numpy as np
import pytest

from bounds.propagation.neuron_bounds import device_graph_for, network_bounds
from encoders.arrays import FloatArray
from encoders.deadline import Deadline
from encoders.layer_graph.graph import Graph, affine_chain
from encoders.programs.mixed_integer_encoding import Encoder
from encoders.question import CONVEX, NeuronBounds, Norm, Region, goals_for
from encoders.solvers.highs import HighsSolver
from tests.bounds.nodes.test_output_constrained import step
from tests.draws import draws
from tests.encoders.nets import interval_bounds, random_chain, unit_box
from verifier.engines import adversary_ranges
from verifier.engines.adversary_ranges import by_passes, by_programs

SIZES = (2, 6, 5, 3)
SIDE = 161  # points of the brute force along each of two inputs


@pytest.fixture(autouse=True)
def _tiny_nets_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adversary_ranges, "FEW_OPEN", 0)


def inputs_of(region: Region, norm: Norm, radius: float) -> FloatArray:
    """All of a grid's points in the ball, its ends among them."""
    low, high = region.clipped(norm, radius)
    axes = [np.linspace(a, b, SIDE) for a, b in zip(low, high, strict=True)]
    points = np.stack(np.meshgrid(*axes), axis=-1).reshape(-1, len(axes))
    return points[norm.length(points - region.center) <= radius]


def values_before(graph: Graph, points: FloatArray) -> dict[int, FloatArray]:
    values = graph.trace(points)
    return {i: values[graph.nodes[i].sources[0]] for i in graph.relus}


def assert_held(graph: Graph, neurons: NeuronBounds, adversaries: FloatArray) -> None:
    for position, h in values_before(graph, adversaries).items():
        assert (h >= neurons.lower[position] - 1e-12).all()
        assert (h <= neurons.upper[position] + 1e-12).all()


@pytest.mark.parametrize("norm", CONVEX)
def test_one_neuron_by_hand(norm: Norm) -> None:
    graph, region = step(0.5), Region(np.zeros(1), -np.ones(1), np.ones(1))
    device_graph, goals = device_graph_for(graph), goals_for(0, 2, None, 0.0)
    bounds = network_bounds(device_graph, region, norm, 0.9)
    (neurons,), distance = by_passes(device_graph, bounds, goals, 0.9)
    assert neurons.lower[2][0] == pytest.approx(0.1, abs=1e-6)  # φ ≤ 0 from there on: the net is linear
    assert neurons.upper[2][0] == pytest.approx(0.9)
    assert distance[0] == pytest.approx(0.5)
    # The triangle over [-0.9, 0.9] lies below (d + 0.9)/2, which reaches 1/2 at d = 0.1: linear from there on.
    found = by_programs(Encoder(graph), region, norm, goals[0], bounds.neurons(), 0.9)
    assert found is not None
    assert found.lower[2][0] == pytest.approx(0.1, abs=1e-6)


def test_each_goal_has_ranges_of_its_own() -> None:
    # y0 = 1/2, y1 = relu(d), y2 = relu(-d): one class leads from 1/2 on, the other from -1/2 down.
    weights = [np.array([[1.0], [-1.0]]), np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])]
    graph = affine_chain(weights, [np.zeros(2), np.array([0.5, 0.0, 0.0])])
    region, device_graph = Region(np.zeros(1), -np.ones(1), np.ones(1)), device_graph_for(graph)
    bounds = network_bounds(device_graph, region, Norm.LINF, 0.9)
    (up, down), _ = by_passes(device_graph, bounds, goals_for(0, 3, None, 0.0), 0.9)
    assert up.lower[2] == pytest.approx([0.1, -0.9])
    assert down.lower[2] == pytest.approx([-0.9, 0.1])


@pytest.mark.parametrize("norm", CONVEX)
def test_a_ball_without_adversaries(norm: Norm) -> None:
    graph, region = step(1.0), Region(np.zeros(1), -np.ones(1), np.ones(1))
    device_graph, goals = device_graph_for(graph), goals_for(0, 2, None, 0.0)
    bounds = network_bounds(device_graph, region, norm, 0.9)
    (neurons,), distance = by_passes(device_graph, bounds, goals, 0.9)
    assert distance[0] == 0.9
    assert neurons.lower[2][0] == pytest.approx(-0.9)  # the ball's own: those of no adversary would cross
    assert by_programs(Encoder(graph), region, norm, goals[0], bounds.neurons(), 0.9) is None


@pytest.mark.parametrize("norm", CONVEX)
@pytest.mark.parametrize("seed", range(draws(6, 30)))
def test_no_adversary_leaves_its_ranges(seed: int, norm: Norm) -> None:
    graph, center = random_chain(seed, SIZES)
    region, radius = unit_box(center), (0.2, 0.4, 0.8)[seed % 3]
    device_graph, encoder = device_graph_for(graph), Encoder(graph)
    goals = goals_for(int(np.argmax(graph.evaluate(center)[0])), graph.classes, None, 0.0)
    bounds = network_bounds(device_graph, region, norm, radius)
    ranges, distances = by_passes(device_graph, bounds, goals, radius)
    points = inputs_of(region, norm, radius)
    scores = graph.evaluate(points)
    for goal, neurons, distance in zip(goals, ranges, distances, strict=True):
        adversaries = points[(scores @ goal.rows.T + goal.offset <= 0).all(axis=1)]
        assert distance <= norm.length(adversaries - center).min(initial=radius)
        assert_held(graph, neurons, adversaries)
        # From intervals, whose programs have most to say, and from what passes left.
        for start in (interval_bounds(graph, region, norm, radius), neurons):
            found = by_programs(encoder, region, norm, goal, start, radius)
            if found is None:
                assert not len(adversaries)
            else:
                assert_held(graph, found, adversaries)


def test_programs_leave_fewer_phases_open_and_keep_the_nearest_adversary() -> None:
    graph, center = random_chain(3, (6, 16, 12, 3))
    region, encoder = unit_box(center), Encoder(graph)
    (goal, *_) = goals_for(int(np.argmax(graph.evaluate(center)[0])), graph.classes, None, 0.0)
    wide = interval_bounds(graph, region)
    nearest = HighsSolver().solve(encoder.body(region, Norm.LINF, wide, np.inf).program(goal)).lower
    radius = nearest + 1e-7
    start = interval_bounds(graph, region, Norm.LINF, radius)
    found = by_programs(encoder, region, Norm.LINF, goal, start, radius)
    assert found is not None
    assert found.open_phases < start.open_phases
    again = HighsSolver().solve(encoder.body(region, Norm.LINF, found, radius).program(goal))
    assert again.lower == pytest.approx(nearest, abs=1e-8)


def test_what_there_is_no_time_for_stays_as_it_is() -> None:
    graph, center = random_chain(3, SIZES)
    region = unit_box(center)
    start = interval_bounds(graph, region, Norm.LINF, 0.5)
    goal = goals_for(0, graph.classes, None, 0.0)[0]
    assert by_programs(Encoder(graph), region, Norm.LINF, goal, start, 0.5, Deadline.after(0.0)) is start
