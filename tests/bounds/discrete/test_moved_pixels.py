"""Bounds on parts of a question hold at every point of the part, drawn at random and at its corners."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bounds.discrete.moved_pixels import Parts, SubsetBounds
from bounds.geometry.halfspace_distance import distance_to_halfspace, most_of
from bounds.propagation.neuron_bounds import device_graph_for, network_bounds
from bounds.reduced_net.reduced_net import reduce
from encoders.question import Norm, Region, goals_for
from tests.test_trust import random_net


def test_the_largest_gains() -> None:
    gain = torch.tensor([[3.0, 1.0, 2.0], [5.0, 5.0, 0.0]], dtype=torch.float64)
    total, last = most_of(gain, torch.tensor([2, 1]))
    assert total.tolist() == [5.0, 5.0]
    assert last.tolist() == [2.0, 5.0]
    assert most_of(gain, torch.tensor([0, 0]))[0].tolist() == [0.0, 0.0]


def test_how_many_inputs_a_half_space_asks_for() -> None:
    """4 - 3·d₁ - 2·d₂ - d₃ ≤ 0 in the unit cube: the first is not enough, the first and half of the second are."""
    a = torch.tensor([-3.0, -2.0, -1.0], dtype=torch.float64)
    one = torch.ones(3, dtype=torch.float64)
    found = distance_to_halfspace(a, torch.tensor(4.0, dtype=torch.float64), one, one, Norm.L0)
    assert 1.49 < float(found) <= 1.5
    far = distance_to_halfspace(a, torch.tensor(7.0, dtype=torch.float64), one, one, Norm.L0)
    assert float(far) == float("inf")


@pytest.mark.slow
@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.fewer(1)
def test_no_point_of_a_part_falls_lower(grouped: bool) -> None:
    rng = np.random.default_rng(4)
    for _ in range(60):
        graph = random_net(rng)
        size, most = graph.input_size, int(rng.integers(0, 3))
        region = Region(rng.random(size), np.zeros(size), np.ones(size))
        goals = goals_for(0, graph.classes, None, 0.0)
        device_graph = device_graph_for(graph)
        names = rng.integers(0, max(1, size // 2), size) if grouped else np.arange(size)
        radius = float(most * np.bincount(names).max())
        net = reduce(device_graph, network_bounds(device_graph, region, Norm.L0, radius), goals)
        moving = net.moving.numpy()
        pixel = np.unique(names[moving], return_inverse=True)[1]
        bounds = SubsetBounds(net, torch.as_tensor(pixel))
        state = rng.choice([-1, 0, 1], bounds.count)  # stays, undecided, moves
        if (state == 1).sum() > most:
            continue
        left = most - int((state == 1).sum())
        room = np.where(state[pixel] >= 0, 1.0, 0.0)
        low, high = -net.below.numpy() * room, net.above.numpy() * room
        lowest, highest = (torch.as_tensor(v)[None] for v in (low, high))
        undecided = torch.as_tensor(state == 0)[None]
        parts = Parts(lowest, highest, undecided, torch.tensor([left]), net.lower[None], net.upper[None])
        _, fall = bounds.bounded(parts)
        least = np.full(fall.lowest.shape[1], np.inf)
        for _ in range(60):
            chosen = rng.permutation(np.flatnonzero(state == 0))[:left]
            allowed = np.isin(pixel, chosen) | (state[pixel] == 1)
            ends = np.where(rng.random(len(moving)) < 0.5, low, high)
            shift = np.where(rng.random() < 0.5, ends, rng.uniform(low, high)) * allowed
            x = region.center.copy()
            x[moving] += shift
            x = np.clip(x, region.lower, region.upper)
            scores = graph.evaluate(x[None])[0]
            least = np.minimum(least, np.concatenate([goal.rows @ scores for goal in goals]))
        rounding = 1e-9 * (1.0 + np.abs(least).max())  # the scores here are rounded too
        assert (fall.lowest[0].numpy() <= least + rounding).all()
        assert (fall.lowest <= fall.certain + 1e-9).all()
