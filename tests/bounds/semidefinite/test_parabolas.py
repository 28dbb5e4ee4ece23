"""Parabolas above ReLUs, and what inputs pay for them: by hand, then samples, then prices that pay for nothing.

d1 ─┬─► h1 = d1 + d2 ─► relu      on [-1, 1]². Two chords prove -relu(h1) - relu(h2) ≥ -(h1 + h2 + 4)/2 = -d1 - 2, which
d2 ─┴─► h2 = d1 - d2 ─► relu      is -3 at most distant. Parabolas that touch at ±s add up to (d1² + d2²)/2s + d1 + s/2;
inputs pay 1/2s each, and -d1 - s/2 - 1/s is left: -d1 - √2 for s = √2, which is -2.41. The least value is -2.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from bounds.nodes.node_bounds import NodeBounds
from bounds.propagation.neuron_bounds import device_graph_for, network_bounds
from bounds.propagation.sample_groups import Grouping
from bounds.reduced_net.reduced_net import reduce
from bounds.semidefinite.parabolas import Parabolas, Touch, _greatest
from encoders.arrays import FloatArray
from encoders.layer_graph.graph import affine_chain
from encoders.question import Norm, Region, goals_for

ONE = Grouping.one(torch.zeros(1))


def parabolas_of(rows: FloatArray, bias: FloatArray, radius: float = 1.0) -> Parabolas:
    """Of neurons rows · d + bias on [-1, 1]^n, all of them open."""
    count, size = rows.shape
    graph = affine_chain([rows, np.vstack([-np.ones(count), np.zeros(count)])], [bias, np.array([100.0, 0.0])])
    region = Region(np.zeros(size), -np.ones(size), np.ones(size))
    device_graph = device_graph_for(graph)
    bounds = network_bounds(device_graph, region, Norm.LINF, 1.0)
    engine = NodeBounds(reduce(device_graph, bounds, goals_for(0, 2, None, 0.0)))
    assert engine.stack.open_phases == count
    return Parabolas.of(engine.stack, torch.tensor([radius], dtype=torch.float64))


def touch_of(parabolas: Parabolas, share: Tensor, spread: Tensor, price: Tensor, radius: float = 1.0) -> Touch:
    """For weights of at most 1; chords as on [-1, 1]^n."""
    down, up = parabolas.room(ONE, torch.tensor([radius], dtype=torch.float64))
    down, up = (room.expand(price.shape) for room in (down, up))
    size = parabolas.rows[0].abs().sum(-1)
    low, high = parabolas.constant - size, parabolas.constant + size
    chord = high / (high - low)
    return Touch(
        share, share, spread, chord, -chord * low, price, torch.zeros_like(price), torch.ones_like(share), down, up
    )


def tensor(*values: float) -> Tensor:
    return torch.tensor([values], dtype=torch.float64)


def test_one_input_pays_up_to_the_chord() -> None:
    # relu(d) ≤ (d + 1)²/4, and a quarter of d² - 1 ≤ 0 is what it costs to make that a line: the chord (d + 1)/2.
    parabolas = parabolas_of(np.array([[1.0]]), np.zeros(1))
    touch = parabolas.priced(ONE, touch_of(parabolas, tensor(1.0), tensor(1.0), tensor(0.25)))
    assert float(touch.price) == pytest.approx(0.25, rel=1e-3)
    normal, value, error = parabolas.lines(ONE, touch, tensor(-1.0))
    assert normal[0].tolist() == pytest.approx([-0.5], abs=1e-3)
    assert float(value) == pytest.approx(-0.5, abs=1e-3)
    assert 0.0 < float(error) < 1e-12


@pytest.mark.parametrize("price", [1e-6, 0.1, 0.25 * 2**0.5, 30.0])
def test_two_neurons_share_what_inputs_pay(price: float) -> None:
    root = 2**0.5
    parabolas = parabolas_of(np.array([[1.0, 1.0], [1.0, -1.0]]), np.zeros(2))
    touch = touch_of(parabolas, tensor(1.0, 1.0), tensor(root, root), tensor(price, price))
    touch = parabolas.priced(ONE, touch)  # whatever was asked for, it is scaled to what has to be paid
    assert touch.price[0].tolist() == pytest.approx([0.5 / root] * 2, rel=1e-3)
    normal, value, _ = parabolas.lines(ONE, touch.drawn_at(tensor(0.3, -0.2)), tensor(-1.0, -1.0))
    assert normal[0].tolist() == pytest.approx([-1.0, 0.0], abs=1e-3)
    assert float(value) == pytest.approx(-root, abs=1e-3)


def test_on_a_smaller_ball_less_is_paid() -> None:
    # With s = √2/2 on [-1/2, 1/2]²: half of what it was.
    half = 0.5 * 2**0.5
    parabolas = parabolas_of(np.array([[1.0, 1.0], [1.0, -1.0]]), np.zeros(2))
    touch = touch_of(parabolas, tensor(1.0, 1.0), tensor(half, half), tensor(1.0, 1.0), radius=0.5)
    normal, value, _ = parabolas.lines(ONE, parabolas.priced(ONE, touch), tensor(-1.0, -1.0))
    assert normal[0].tolist() == pytest.approx([-1.0, 0.0], abs=1e-3)
    assert float(value) == pytest.approx(-half, abs=1e-3)


@pytest.mark.parametrize("seed", range(30))
def test_no_sum_of_relus_is_above(seed: int) -> None:
    rng = np.random.default_rng(seed)
    count, size, nodes = int(rng.integers(1, 7)), int(rng.integers(1, 9)), 5
    rows = rng.normal(size=(count, size)) * float(rng.choice([1.0, 1e-6, 1e6]))
    bias = 0.3 * np.abs(rows).sum(1) * rng.uniform(-1, 1, size=count)
    radius = float(rng.choice([1.0, 0.4]))
    parabolas = parabolas_of(rows, bias, radius)
    share = torch.as_tensor(rng.uniform(size=(nodes, count)).round(int(rng.integers(0, 3))))
    reach = np.abs(rows).sum(1)
    spread = torch.as_tensor(10.0 ** rng.uniform(-3, 1, size=(nodes, count)) * reach)
    price = torch.as_tensor(10.0 ** rng.uniform(-3, 1, size=(nodes, size)) * reach.mean())
    touch = touch_of(parabolas, share, spread, price, radius)
    group = Grouping.one(share)
    touch = parabolas.priced(group, touch)
    assert bool(torch.isfinite(touch.price).all())
    weight = -torch.as_tensor(rng.uniform(size=(nodes, count)))
    point = torch.as_tensor(rng.uniform(-2, 2, size=(nodes, size)))  # outside the ball, too
    normal, value, error = parabolas.lines(group, touch.drawn_at(point), weight)
    inside = rng.uniform(-radius, radius, size=(3000, size))
    inside[:1000] = radius * np.sign(inside[:1000])
    relu = np.maximum(inside @ rows.T + bias, 0.0)
    sums = relu @ weight.numpy().T
    claimed = inside @ normal.numpy().T + (value - error).numpy()
    assert (claimed <= sums).all()
    assert (claimed > -np.inf).all()


@pytest.mark.parametrize("price", [0.0, -1.0, float("nan"), float("inf")])
def test_prices_that_pay_for_nothing_say_nothing(price: float) -> None:
    parabolas = parabolas_of(np.array([[1.0, 1.0], [1.0, -1.0]]), np.zeros(2))
    touch = touch_of(parabolas, tensor(1.0, 1.0), tensor(1.0, 1.0), tensor(1.0, price))
    _, value, error = parabolas.lines(ONE, parabolas.priced(ONE, touch), tensor(-1.0, -1.0))
    assert not bool(torch.isfinite(value - error))


@pytest.mark.parametrize("weight", [-1.01, 0.5, float("nan")])
def test_weights_that_were_not_paid_for_say_nothing(weight: float) -> None:
    parabolas = parabolas_of(np.array([[1.0, 1.0], [1.0, -1.0]]), np.zeros(2))
    touch = parabolas.priced(ONE, touch_of(parabolas, tensor(1.0, 1.0), tensor(1.0, 1.0), tensor(1.0, 1.0)))
    _, value, error = parabolas.lines(ONE, touch, tensor(-1.0, weight))
    assert not bool(torch.isfinite(value - error))


def test_an_input_without_room_pays_nothing() -> None:
    parabolas = parabolas_of(np.array([[1.0, 1.0]]), np.zeros(1))
    touch = touch_of(parabolas, tensor(1.0), tensor(1.0), tensor(0.25, 0.0))
    none = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    touch = parabolas.priced(ONE, replace(touch, down=none, up=none))
    normal, value, error = parabolas.lines(ONE, touch, tensor(-1.0))
    assert float(normal[0, 0]) == pytest.approx(-0.5, abs=1e-3)
    assert float(value) == pytest.approx(-0.5, abs=1e-3)
    assert float(error) < 1e-12


@pytest.mark.parametrize("seed", range(20))
def test_no_eigenvalue_is_greater(seed: int) -> None:
    rng = np.random.default_rng(seed)
    count, size = int(rng.integers(1, 40)), int(rng.integers(1, 40))
    rows = torch.as_tensor(rng.normal(size=(3, count, size)) * 10.0 ** rng.uniform(-5, 5))
    rows[1] = rows[1, :1]  # of rank one
    found = _greatest(rows)
    true = torch.linalg.matrix_norm(rows, 2).square()
    assert bool((found >= true * (1 - 1e-13)).all())
    assert bool((found <= true * 1.02).all())
    assert bool((_greatest(torch.zeros_like(rows)) >= 0.0).all())


def test_a_matrix_that_is_no_number_has_no_bound() -> None:
    assert torch.isinf(_greatest(torch.full((1, 3, 4), torch.nan, dtype=torch.float64))).all()
