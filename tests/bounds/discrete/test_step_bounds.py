"""Bounds on the grid's measure hold at every whole step in the half-space: all points, one by one."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch

from bounds.discrete.step_bounds import Ranged, StepBounds
from bounds.propagation.neuron_bounds import device_graph_for, network_bounds
from bounds.reduced_net.reduced_net import Reduced, reduce
from encoders.layer_graph.graph import affine_chain
from encoders.question import Norm, Region, goals_for
from tests.draws import draws


def small(inputs: int) -> Reduced:
    """The reduced net of any small network: here only the number of inputs matters."""
    graph = affine_chain([np.ones((2, inputs)) * [[1.0], [-1.0]]], [np.array([3.0, 0.0])])
    region = Region(np.zeros(inputs), -np.ones(inputs), np.ones(inputs))
    device_graph = device_graph_for(graph)
    return reduce(device_graph, network_bounds(device_graph, region, Norm.LINF, 2.0), goals_for(0, 2, None, 0.0))


def draw(rng: np.random.Generator, norm: Norm) -> tuple[StepBounds, Ranged, torch.Tensor, torch.Tensor]:
    size, n = int(rng.integers(1, 4)), int(rng.choice([1, 2, 5]))
    stride = rng.integers(1, 4, size).astype(np.float64)
    worth = stride if norm is Norm.L1 else stride * stride
    drift = np.full(size, rng.choice([0.0, 1e-2]) / n)
    bounds = StepBounds(small(size), norm, *(torch.as_tensor(v) for v in (stride / n, worth, drift)))
    low, high = -rng.integers(-2, 4, size), rng.integers(-1, 4, size)  # some ranges leave out the sample's own place
    low, high = np.minimum(low, high), np.maximum(low, high)
    ends = (torch.as_tensor(v.astype(np.float64)) for v in (low, high))
    nodes = bounds.ranged(*ends)
    a = torch.as_tensor(rng.normal(size=(1, size)) * rng.choice([0.0, 1.0, 1.0, 3.0], size=size))
    value = torch.as_tensor([rng.normal() + float(rng.uniform(0, 1.2)) * float(a.abs().sum()) * 3 / n])
    return bounds, nodes, a, value


@pytest.mark.slow
@pytest.mark.thorough
@pytest.mark.parametrize("norm", [Norm.L1, Norm.L2])
@pytest.mark.fewer(1)
def test_no_point_is_nearer_or_lost(norm: Norm) -> None:
    rng = np.random.default_rng(3)
    tight, lost, count = 0, 0, draws(150, 400)
    for _ in range(count):
        bounds, nodes, a, value = draw(rng, norm)
        low, high = (v[0].numpy().astype(int) for v in (nodes.low, nodes.high))
        points = np.array(list(product(*[range(x, y + 1) for x, y in zip(low, high, strict=True)])))
        cost = bounds.worth.numpy() * np.abs(points) ** (1 if norm is Norm.L1 else 2)
        measures = cost.sum(axis=1)
        falls = points @ (a[0] * bounds.size).numpy() - float(a[0].abs() @ bounds.drift)
        hits = falls + float(value) <= 0
        found = float(bounds.priced(nodes, a, value).measure)
        if hits.any():
            least = measures[hits].min()
            assert found <= least
            tight += found > 0.8 * least
        most = int(rng.integers(0, 12))
        narrow = bounds.narrowed(nodes, a, value, float(most))
        kept = points[hits & (measures <= most)]
        assert ((kept >= narrow.low[0].numpy()) & (kept <= narrow.high[0].numpy())).all()
        lost += bool((narrow.low > nodes.low).any() or (narrow.high < nodes.high).any())
    assert tight > 0.15 * count
    assert lost > 0.25 * count


@pytest.mark.parametrize("norm", [Norm.L1, Norm.L2])
@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
def test_a_function_that_overflowed_says_nothing(norm: Norm, broken: float) -> None:
    one = torch.ones(2, dtype=torch.float64)
    bounds = StepBounds(small(2), norm, one, one, 0.0 * one)
    nodes = bounds.ranged(-2 * one, 2 * one)
    for a, value in ((one * broken, 1.0), (one, broken)):
        assert float(bounds.priced(nodes, a[None], torch.tensor([value], dtype=torch.float64)).measure) == 0.0
