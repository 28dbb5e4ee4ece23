"""Prices of the augmented Lagrangian: its gradient, what it leaves, and that they prove more; never what is wrong."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

from bounds.nodes.node_bounds import NodeBounds
from bounds.semidefinite import all_layers_bound, all_layers_quadratic
from bounds.semidefinite.all_layers_descent import Descent, Found
from bounds.semidefinite.all_layers_lagrangian import AugmentedLagrangian
from bounds.semidefinite.all_layers_quadratic import Program, Quadratic
from bounds.semidefinite.one_layer_descent import vectors_of
from encoders.layer_graph.graph import affine_chain
from tests.bounds.semidefinite.test_all_layers_quadratic import raised, three_neurons
from tests.bounds.semidefinite.test_one_layer_bound import on_ball

RADIUS = 1.7
ASKED = [
    (1.65, 4, True),  # a descent stops short
    (1.65, 60, False),  # it closes the root
    (1.9, 15, False),  # it says that all fail
]


def small_net(seed: int = 0) -> NodeBounds:
    rng = np.random.default_rng(seed)
    sizes = (6, 12, 12, 2)
    weights = [rng.normal(size=(b, a)) / np.sqrt(a) for a, b in pairwise(sizes)]
    return on_ball(affine_chain(weights, [0.3 * rng.normal(size=len(w)) for w in weights]), np.zeros(6), 0.5, 10.0)


def descended(engine: NodeBounds, radius: float, steps: int) -> tuple[Program, Found]:
    program = Program.of(engine, engine.roots(), torch.tensor([radius], dtype=torch.float64))
    return program, Descent(program, vectors_of(torch.zeros_like(program.half))).run(steps)


def least_of(engine: NodeBounds, program: Program, found: Found, radius: float) -> float:
    """The least value on the ball of the line that such prices make."""
    start = torch.cat([found.vectors[..., 0].double(), found.inner], dim=-1)
    line = Quadratic.of(program, found.prices).drawn(
        -torch.ones_like(program.half), torch.ones_like(program.half), start
    )
    return float(line.height[0] - radius * line.normal[0].abs().sum())


@pytest.mark.parametrize("fixed", [0, 3])
def test_its_gradient_is_that_of_its_value(fixed: int) -> None:
    engine = small_net()
    nodes = engine.roots()
    for neuron in range(fixed):
        nodes = nodes.split(torch.tensor([neuron])).take(torch.tensor([neuron % 2]))
    program = Program.of(engine, nodes, torch.tensor([0.5], dtype=torch.float64))
    lagrangian = AugmentedLagrangian(program, Descent(program, vectors_of(torch.zeros_like(program.half))).run(5))
    lagrangian.vectors += 0.1 * torch.randn(lagrangian.vectors.shape, generator=torch.Generator().manual_seed(1))
    _, gradient = lagrangian.value(lagrangian.vectors)
    direction = torch.randn(gradient.shape, generator=torch.Generator().manual_seed(2)) * lagrangian.scale
    direction[lagrangian.inputs :][~lagrangian.is_open] = 0.0  # what is fixed has no output of its own
    hair = 1e-2
    up, down = (lagrangian.value(lagrangian.vectors + side * hair * direction)[0] for side in (1.0, -1.0))
    assert (up - down) / (2.0 * hair) == pytest.approx(float((gradient * direction).sum()), rel=2e-2)


def test_three_neurons_come_near_their_facts() -> None:
    # On the ball of 1.7 the goal is at least 4 - 2 · 1.7 = 0.6; no line is above it.
    engine = on_ball(three_neurons(), np.zeros(2), RADIUS, 10.0)
    program, found = descended(engine, RADIUS, 15)
    lagrangian = AugmentedLagrangian(program, found)
    polished = lagrangian.run(60, 8)
    facts = lagrangian.facts(lagrangian.vectors)[1]
    assert float(facts.pop("square").abs().max()) < 0.1
    assert max(float(fact.max()) for fact in facts.values()) < 0.1
    assert all(bool((price >= 0.0).all()) for name, price in vars(polished.prices).items() if name != "square")
    least = least_of(engine, program, polished, RADIUS)
    assert least_of(engine, program, found, RADIUS) - 0.01 < least <= 0.6 + 1e-6


@pytest.mark.parametrize("seed", [2, 3])
def test_its_prices_prove_more_than_a_descents(seed: int) -> None:
    engine = small_net(seed)
    program, found = descended(engine, 0.5, 60)
    polished = AugmentedLagrangian(program, found).run(75, 2)
    assert least_of(engine, program, polished, 0.5) > least_of(engine, program, found, 0.5)


def test_without_one_matrix_the_other_side_has_no_price(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(all_layers_quadratic, "MOST_TOGETHER", 0)
    engine = small_net()
    program, found = descended(engine, 0.5, 15)
    assert not bool(AugmentedLagrangian(program, found).run(20, 2).prices.other.any())


@pytest.mark.parametrize(("radius", "steps", "asked"), ASKED)
def test_a_node_is_asked_where_its_relaxation_says_that_it_may_close(
    radius: float, steps: int, asked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = on_ball(three_neurons(), np.zeros(2), radius, 10.0)
    ran: list[int] = []
    run = AugmentedLagrangian.run

    def counted(self: AugmentedLagrangian, steps: int, rounds: int) -> Found:
        ran.append(steps)
        return run(self, steps, rounds)

    monkeypatch.setattr(all_layers_bound, "LAGRANGIAN_ROUNDS", ())
    _, before = raised(engine, engine.roots(), radius, steps)
    monkeypatch.setattr(AugmentedLagrangian, "run", counted)
    monkeypatch.setattr(all_layers_bound, "LAGRANGIAN_ROUNDS", (2, 1, 1))
    _, after = raised(engine, engine.roots(), radius, steps)
    assert (1 <= len(ran) <= 3) if asked else not ran
    assert float(before.distance[0]) <= float(after.distance[0]) <= radius


def test_numbers_that_are_none_end_it() -> None:
    engine = small_net()
    program, found = descended(engine, 0.5, 5)
    found.vectors.fill_(torch.nan)
    polished = AugmentedLagrangian(program, found).run(5, 1)
    assert least_of(engine, program, polished, 0.5) == -np.inf or np.isfinite(least_of(engine, program, polished, 0.5))
