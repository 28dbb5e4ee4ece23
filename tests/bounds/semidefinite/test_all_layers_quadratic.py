"""Products of neurons and inputs: no adversary of a node is nearer than its bound, whatever the prices; what they gain.

d1 ─┬─► h1 = d1 + d2 ─► relu ─┐
d2 ─┴─► h2 = d1 - d2 ─► relu ─┴─► h3 = h1⁺ + h2⁺ - 1 ─► relu ─► g = 3 - h3⁺      over L∞ balls around 0.

On the ball of radius r, h1⁺ + h2⁺ is at most 2r, so g is at least 4 - 2r where r ≥ 1/2: the distance is 2.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise, product
from typing import Any

import numpy as np
import pytest
import torch

from bounds.nodes.node_bounds import NodeBounds
from bounds.nodes.records import Nodes, Pass
from bounds.propagation.neuron_bounds import device_graph_for, network_bounds
from bounds.reduced_net.reduced_net import reduce
from bounds.semidefinite.all_layers_bound import left_by_all_layers, likely_by_all_layers, raised_by_all_layers
from bounds.semidefinite.all_layers_descent import Descent, Found, best_response
from bounds.semidefinite.all_layers_quadratic import Prices, Program, Quadratic
from bounds.semidefinite.one_layer_descent import vectors_of
from encoders.arrays import FloatArray
from encoders.deadline import Deadline, in_time
from encoders.layer_graph.graph import Graph, affine_chain
from encoders.question import Norm, Region, goals_for
from tests.bounds.envelopes.test_cube import KINDS, check_against, drawn, split_at_random
from tests.bounds.propagation.test_neuron_bounds import points_in
from tests.bounds.semidefinite.test_one_layer_bound import WILD, on_ball
from tests.draws import draws, thorough

STEPS = 60
FEW = 20  # of a descent whose findings are thrown over


def raised(engine: NodeBounds, nodes: Nodes, radius: float, steps: int = STEPS) -> tuple[Nodes, Pass]:
    nothing = replace(engine.evaluate(nodes), distance=torch.zeros(len(nodes), dtype=torch.float64))
    nodes, seen = raised_by_all_layers(engine, nodes, nothing, steps, radius)
    return nodes, replace(seen, distance=seen.distance.clamp_max(radius))  # nothing is said of larger balls


def three_neurons() -> Graph:
    rows = [np.array([[1.0, 1.0], [1.0, -1.0]]), np.array([[1.0, 1.0]]), np.array([[-1.0], [0.0]])]
    return affine_chain(rows, [np.zeros(2), np.array([-1.0]), np.array([3.0, 0.0])])


@pytest.mark.parametrize("radius", [1.5, 1.9, 2.4])
@pytest.mark.fewer(1)
def test_three_neurons_by_hand(radius: float) -> None:
    engine = on_ball(three_neurons(), np.zeros(2), radius, 10.0)
    assert [layer.stop - layer.start for layer in engine.stack.layers] == [2, 1]
    _, chords = engine.optimise(engine.roots(), 50, radius, 0.1)
    _, seen = raised(engine, engine.roots(), radius)
    assert min(1.5, float(chords.distance[0]) + 0.1) <= float(seen.distance[0]) <= 2.0 + 1e-9
    # All phases known, the goal is 4 - 2·d1 and nothing is relaxed.
    nodes = engine.roots()
    for neuron in range(3):
        nodes = nodes.split(torch.tensor([neuron])).take(torch.tensor([0]))
    _, seen = raised(engine, nodes, radius)
    assert min(radius, 1.98) <= float(seen.distance[0]) <= 2.0 + 1e-9


def test_turned_neurons_are_the_same_net() -> None:
    # relu(h) = h + relu(-h): rows over what programs carry give what the net gives.
    engine = on_ball(three_neurons(), np.zeros(2), 1.5, 10.0)
    program = Program.of(engine, engine.roots(), torch.tensor([1.5], dtype=torch.float64))
    assert program.turned[0].tolist() == [False, False, True]  # -1 to 2 or more: relu(-h) is at most 1
    for shift in np.random.default_rng(0).uniform(-1.5, 1.5, size=(50, 2)):
        e = torch.as_tensor(shift) / 1.5
        y = torch.zeros(3, dtype=torch.float64)
        for layer in program.layers:
            h = program.input[0, layer] @ e + program.inner[0, layer] @ y + program.constant[0, layer]
            y[layer] = h.clamp_min(0.0)
        goal = program.goal_input[0] @ e + program.goal_inner[0] @ y + program.goal_constant[0]
        h1, h2 = max(shift.sum(), 0.0), max(shift[0] - shift[1], 0.0)
        assert float(goal) == pytest.approx(3.0 - max(h1 + h2 - 1.0, 0.0), abs=1e-12)
        assert bool((y <= program.most[0] + 1e-12).all())


@pytest.mark.slow
@pytest.mark.thorough
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(draws(2, 10)))
@pytest.mark.fewer(2)
def test_no_adversary_of_a_node_is_nearer(kind: str, seed: int) -> None:
    rng, radius, engine, graph, region = drawn(kind, seed)
    points = points_in(region, Norm.LINF, radius * (1 - 1e-12), rng, 4000)
    nodes = split_at_random(engine, rng)
    for steps in (3, STEPS):  # the second time from what the first has left in the nodes
        nodes, seen = raised(engine, nodes, radius, steps)
        check_against(points, engine, graph, region, nodes, seen)


@dataclass(frozen=True)
class Drawn:
    """A random net on a ball, and random prices of its facts."""

    rng: np.random.Generator
    graph: Graph
    center: FloatArray
    radius: float
    engine: NodeBounds
    program: Program
    prices: Prices

    @classmethod
    def of(cls, seed: int, widest: int = 5) -> Drawn:
        rng = np.random.default_rng(seed)
        sizes = [int(k) for k in rng.integers(1, widest + 1, size=int(rng.integers(3, 5)))] + [2]
        scale = 10.0 ** rng.uniform(-3, 3, size=len(sizes) - 1)
        weights = [s * rng.normal(size=(b, a)) for s, (a, b) in zip(scale, pairwise(sizes), strict=True)]
        graph = affine_chain(weights, [0.2 * s * rng.normal(size=len(w)) for s, w in zip(scale, weights, strict=True)])
        center, radius = rng.uniform(-1, 1, size=sizes[0]), 10.0 ** rng.uniform(-1, 1)
        engine = on_ball(graph, center, radius, 0.7 * radius if seed % 3 == 0 else 10.0 * radius)
        nodes, size = engine.roots(), engine.stack.open_phases
        program = Program.of(engine, nodes, torch.tensor([radius], dtype=torch.float64))
        shape = {
            name: (1, engine.stack.x.shape[2] if name == "input" else size) for name in Prices.__dataclass_fields__
        }
        prices = Prices(**{name: torch.as_tensor(10.0 ** rng.uniform(-3, 1, size=s)) for name, s in shape.items()})
        return cls(rng, graph, center, radius, engine, program, prices)


def most_above(seed: int, good: bool = False, widest: int = 5) -> float:
    """By how much the line of random prices, or of good ones, is above the goal at most, at random inputs of a net."""
    net = Drawn.of(seed, widest)
    rng, engine, program, prices, radius = net.rng, net.engine, net.program, net.prices, net.radius
    start = torch.as_tensor(rng.normal(size=(1, sum(program.input.shape[1:]))))
    if good:
        found = Descent(program, vectors_of(torch.zeros_like(program.half))).run(STEPS)
        prices, start = found.prices, torch.cat([found.vectors[..., 0].double(), found.inner], dim=-1)
    quadratic = Quadratic.of(program, prices)
    ball = torch.tensor([radius * float(rng.choice([1.0, 0.6]))], dtype=torch.float64)
    down, up = (torch.minimum(side, ball.unsqueeze(-1)) for side in (engine.stack.below, engine.stack.above))
    line = quadratic.drawn(*program.within(down, up), start)
    assert bool(torch.isfinite(line.height).all())
    share = rng.uniform(-1, 1, size=(3000, down.shape[1]))
    share[:1000] = np.sign(share[:1000])
    shifts = torch.where(torch.as_tensor(share) < 0, torch.as_tensor(share) * down, torch.as_tensor(share) * up)
    claimed = shifts @ line.normal[0] + line.height[0]
    scores = net.graph.evaluate(net.center + engine.net.moved(shifts).numpy())
    winner = int(net.graph.evaluate(net.center)[0].argmax())
    return float((claimed.numpy() - scores[:, winner] + scores[:, 1 - winner]).max())


# Widest layer and seed: nets with good prices whose lines are tight, so that faults show.
SHARP = ((5, 11), (5, 12), (5, 16), (5, 20), (14, 0), (14, 20), (14, 25))
# Seeds of nets with random prices; in an ordinary run those that faults were seen on, and a few more.
PLAIN = range(400) if thorough() else (*range(8), 22)
DRAWN = [
    *((False, 5, seed) for seed in PLAIN),
    *((True, *pair) for pair in SHARP),
    *((True, widest, 100 + seed) for widest, seed in product((5, 14), range(draws(2, 40)))),
]


@pytest.mark.thorough
@pytest.mark.parametrize("most", [2500, 0], ids=["one matrix", "inputs eliminated"])
@pytest.mark.parametrize(("good", "widest", "seed"), DRAWN)
def test_any_prices_make_lines_below_the_goal(
    good: bool, widest: int, seed: int, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bounds.semidefinite.all_layers_quadratic.MOST_TOGETHER", most)
    assert most_above(seed, good, widest) <= 0.0


@pytest.mark.parametrize("most", [2500, 0], ids=["one matrix", "inputs eliminated"])
@pytest.mark.parametrize("seed", range(draws(6, 60)))
def test_what_is_paid_leaves_no_negative_eigenvalue(seed: int, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bounds.semidefinite.all_layers_quadratic.MOST_TOGETHER", most)
    net = Drawn.of(seed, 8)
    quadratic = Quadratic.of(net.program, net.prices)
    every = torch.eye(sum(net.program.input.shape[1:]), dtype=torch.float64)
    matrix = torch.stack([quadratic.times(one[None])[0] for one in every])
    paid = torch.cat([quadratic.prices.input, quadratic.prices.square + quadratic.prices.bound], dim=-1)[0]
    root = torch.where(paid > 0, paid, 1.0).rsqrt()
    assert float(torch.linalg.eigvalsh(matrix * root * root.unsqueeze(-1))[0]) >= -1e-12
    assert bool((quadratic.prices.bound >= net.prices.of(net.program).bound).all())


def test_lines_where_a_least_eigenvalue_is_hard_to_find() -> None:
    # Beside eigenvalues of 266 an estimate says that there is none below zero; -0.05 is one.
    assert most_above(217, False, 3) <= 0.0


def deep_net() -> tuple[Graph, np.ndarray]:
    """Two hidden layers over twenty inputs."""
    rng = np.random.default_rng(0)
    sizes = (20, 40, 30, 2)
    rows = [rng.normal(size=(b, a)) / a**0.5 for a, b in pairwise(sizes)]
    return affine_chain(rows, [np.zeros(len(r)) for r in rows]), rng.uniform(0.3, 0.7, size=20)


def test_products_see_farther_than_chords() -> None:
    graph, center = deep_net()
    engine = on_ball(graph, center, 0.2, 1.0)
    _, chords = engine.optimise(engine.roots(), 50, 0.2, 0.1)
    _, seen = raised(engine, engine.roots(), 0.2)
    assert float(seen.distance[0]) > 1.1 * float(chords.distance[0])


@pytest.mark.slow
def test_the_other_side_is_worth_its_price(monkeypatch: pytest.MonkeyPatch) -> None:
    graph, center = deep_net()
    engine = on_ball(graph, center, 0.2, 1.0)
    least = []
    for pace in (3.0, 0.0):
        monkeypatch.setattr("bounds.semidefinite.all_layers_descent.OTHER", pace)
        _, seen = raised(engine, engine.roots(), 0.2)
        least.append(float(seen.height[0] - 0.2 * seen.normal[0].abs().sum()))
    assert least[0] > 0.85 * least[1]  # both are below zero: -0.21 and -0.27
    assert least[1] < 0.0


def test_one_misfit_is_not_paid_by_all() -> None:
    # A price that is far too small for what it shares with its row: its own neuron pays, not every other.
    graph, center = deep_net()
    engine = on_ball(graph, center, 0.2, 1.0)
    program = Program.of(engine, engine.roots(), torch.tensor([0.2], dtype=torch.float64))
    found = Descent(program, vectors_of(torch.zeros_like(program.half))).run(STEPS)
    square, bound = found.prices.square.clone(), found.prices.bound.clone()
    chosen = int(square[0].argmax())
    good = Quadratic.of(program, found.prices)
    square[0, chosen], bound[0, chosen] = 30.0 * square[0, chosen], 0.0
    other = found.prices.other.clone()
    other[0, chosen] = 30.0 * square[0, chosen]
    misfit = Quadratic.of(program, replace(found.prices, square=square, bound=bound, other=other))
    rest = torch.arange(square.shape[1]) != chosen
    paid_more = (misfit.prices.bound - good.prices.bound)[0]
    assert float(paid_more[chosen]) > 0.0
    assert float(paid_more[rest].clamp_min(0.0).sum()) < 3.0 * float(paid_more[chosen])


def test_inputs_eliminated_prove_what_one_matrix_does_without_the_other_side(monkeypatch: pytest.MonkeyPatch) -> None:
    graph, center = deep_net()
    engine = on_ball(graph, center, 0.1, 1.0)
    monkeypatch.setattr("bounds.semidefinite.all_layers_descent.OTHER", 0.0)
    _, together = raised(engine, engine.roots(), 0.1)
    monkeypatch.setattr("bounds.semidefinite.all_layers_quadratic.MOST_TOGETHER", 0)
    _, eliminated = raised(engine, engine.roots(), 0.1)
    least = [float(seen.height[0] - 0.1 * seen.normal[0].abs().sum()) for seen in (together, eliminated)]
    assert least[1] == pytest.approx(least[0], abs=0.01)


def test_what_is_left_comes_with_likely_adversaries() -> None:
    graph, center = deep_net()
    near, far = (on_ball(graph, center, radius, 1.0) for radius in (0.005, 0.3))
    assert left_by_all_layers(near, STEPS, 0.005) is None
    left = left_by_all_layers(far, STEPS, 0.3)
    assert left is not None
    assert left.goal == 0
    values = far.values(far.roots(), left.shifts[None])[0]
    assert bool((values.diff() >= 0).all())
    assert float(values[0]) < 0.5 * float(far.stack.goal_constant[0, 0])
    (likely,) = likely_by_all_layers(far, STEPS, 0.3)
    assert likely.goal == left.goal
    assert likely.value == pytest.approx(left.value, abs=0.5 * abs(left.value))  # by fewer steps
    assert float(far.values(far.roots(), likely.shifts[None])[0, 0]) < 0.8 * float(values[0])  # both are below zero
    assert not list(likely_by_all_layers(near, STEPS, 0.005))

    # Between the two plain passes leave a goal open, and products close it: not without time for them.
    between = on_ball(graph, center, 0.1, 1.0)
    assert left_by_all_layers(between, STEPS, 0.1) is None
    assert not in_time(Deadline.after(0.0), lambda: left_by_all_layers(between, STEPS, 0.1) is None, False)


@pytest.mark.thorough
@pytest.mark.parametrize("seed", range(draws(8, 40)))
def test_a_neuron_answers_as_well_as_it_can(seed: int) -> None:
    # Against random points of the set: two balls and a slab.
    rng = np.random.default_rng(seed)
    axes = 3
    gain, h = (torch.as_tensor(rng.normal(size=(1, 1, axes))) for _ in range(2))
    least, most = -float(rng.uniform(0.1, 2)), float(rng.uniform(0.1, 2))
    h[..., 0] = float(rng.uniform(least, most))
    chord = torch.tensor([[most / (most - least)]], dtype=torch.float64)
    offset, top = -chord * least, torch.tensor([[most]], dtype=torch.float64)
    answer = best_response(gain, h, top, chord, offset, torch.ones(1, 1, dtype=torch.bool))
    y = answer.output[0, 0]
    assert float(y @ y) <= float(y @ h[0, 0]) + 1e-6
    assert float(y @ y) <= most * float(y[0]) * (1.0 + 1e-2) + 1e-6
    assert float(y[0]) >= max(0.0, float(h[0, 0, 0])) - 1e-9
    points = torch.as_tensor(rng.uniform(-2, 2, size=(200_000, axes)))
    one, squares = points[:, 0], points.square().sum(-1)
    inside = (squares <= points @ h[0, 0]) & (squares <= most * one) & (one >= max(0.0, float(h[0, 0, 0])))
    inside &= one <= float(chord * h[0, 0, 0] + offset)
    if bool(inside.any()):
        assert float(gain[0, 0] @ y) <= float((points[inside] @ gain[0, 0]).min()) + 1e-3


genuine = Descent.run


@pytest.mark.slow
@pytest.mark.thorough
@pytest.mark.parametrize("seed", range(draws(4, 40)))
@pytest.mark.fewer(1)
def test_whatever_a_descent_says_no_bound_is_wrong(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(seed)

    def wild(value: Any) -> Any:
        other = torch.as_tensor(rng.choice(WILD, size=value.shape), dtype=value.dtype)
        odd = torch.as_tensor(rng.random(value.shape) < rng.choice([0.0, 0.0, 0.0, 0.1, 0.7]))
        return torch.where(odd, other, value * float(rng.choice([1.0, 1.0, 1.0, -1.0, 100.0])))

    def odd_descent(self: Descent, *arguments: Any) -> Found:
        found = dict(vars(genuine(self, *arguments)))
        found["prices"] = Prices(**{name: wild(value) for name, value in vars(found["prices"]).items()})
        return Found(**{name: value if name == "prices" else wild(value) for name, value in found.items()})

    monkeypatch.setattr(Descent, "run", odd_descent)
    engine = on_ball(three_neurons(), np.zeros(2), 3.0, 10.0)
    children = engine.roots()
    for neuron in range(3):
        children = children.split(torch.tensor([neuron] * len(children)))
    for nodes in (engine.roots(), children.take(torch.tensor([0]))) * 5:
        assert bool((nodes.phase >= 0).all())
        _, seen = raised(engine, nodes, 3.0, FEW)
        assert float(seen.distance[0]) <= 2.0


def test_where_nothing_is_open_nothing_is_left_to_raise() -> None:
    graph = affine_chain([np.eye(2), np.array([[1.0, 1.0], [0.0, 0.0]])], [np.full(2, 5.0), np.zeros(2)])
    engine = on_ball(graph, np.zeros(2), 0.5, 1.0)
    assert not engine.stack.open_phases
    before = replace(engine.evaluate(engine.roots()), distance=torch.zeros(1, dtype=torch.float64))
    nodes, seen = raised_by_all_layers(engine, engine.roots(), before, STEPS, 0.5)
    assert seen is before
    assert left_by_all_layers(engine, STEPS, 0.5) is None
    assert len(nodes) == 1


@pytest.mark.slow
@pytest.mark.parametrize("room", [1e-150, 1e-250])
def test_inputs_with_hardly_any_room_claim_no_more_than_they_have(room: float) -> None:
    # Weights make up for it: h = ±d1 ± d2 as on the unit ball.
    rows = [np.array([[1.0, 1.0], [1.0, -1.0]]) / room, np.array([[1.0, 1.0]]), np.array([[-1.0], [0.0]])]
    graph = affine_chain(rows, [np.zeros(2), np.array([-1.0]), np.array([3.0, 0.0])])
    engine = on_ball(graph, np.zeros(2), room, 10.0 * room)
    _, seen = raised(engine, engine.roots(), room)
    corners = room * np.array([[1.0, 1.0], [1.0, -1.0], [1.0, 0.0]])
    values = graph.evaluate(corners)[:, 0]
    assert (corners @ seen.normal[0].numpy() + float(seen.height[0]) <= values).all()


def test_numbers_beyond_single_precision_prove_nothing_wrong() -> None:
    graph, center = deep_net()
    weights = [node.maps[0].matrix().toarray() for node in graph.nodes if hasattr(node, "maps")]
    huge = affine_chain([weights[0] * 1e45, weights[1], weights[2] * 1e-45], [np.zeros(len(w)) for w in weights])
    region = Region(center, center - 1.0, center + 1.0)
    device_graph = device_graph_for(huge)
    bounds = network_bounds(device_graph, region, Norm.LINF, 0.1)
    engine = NodeBounds(reduce(device_graph, bounds, goals_for(int(huge.evaluate(center)[0].argmax()), 2, None, 0.0)))
    _, seen = raised(engine, engine.roots(), 0.1)
    assert float(seen.distance[0]) >= 0.0
