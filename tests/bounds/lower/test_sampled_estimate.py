"""The sampled estimate: exact where the net is linear, and above the distance where a steep piece is small."""

from __future__ import annotations

import numpy as np
import pytest

from bounds.lower.sampled_estimate import sampled_distance
from bounds.propagation.neuron_bounds import device_graph_for
from encoders.layer_graph.graph import affine_chain
from encoders.question import Norm, Region, goals_for


@pytest.mark.parametrize(("norm", "exact"), [(Norm.LINF, 0.25), (Norm.L1, 0.5), (Norm.L2, 0.25 * 2**0.5)])
def test_a_linear_piece_by_hand(norm: Norm, exact: float) -> None:
    # 1 - relu(x1) - relu(x2) around (0.25, 0.25): both neurons are active all over the box
    graph = affine_chain([np.eye(2), np.array([[-1.0, -1.0], [0.0, 0.0]])], [np.zeros(2), np.array([1.0, 0.0])])
    region = Region(np.full(2, 0.25), np.zeros(2), np.ones(2))
    goals = goals_for(0, 2, None, 0.0)
    assert sampled_distance(device_graph_for(graph), region, norm, goals, 1.0) == pytest.approx(exact)
    assert sampled_distance(device_graph_for(graph), region, norm, goals, 0.1) == pytest.approx(0.1)


def test_it_is_no_bound() -> None:
    # 0.1 - 1000·relu(x - 0.9999): the steep piece has a ten-thousandth of the ball, and no sample need fall into it.
    graph = affine_chain([np.ones((1, 1)), np.array([[-1000.0], [0.0]])], [np.array([-0.9999]), np.array([0.05, 0.0])])
    region = Region(np.zeros(1), np.zeros(1), np.ones(1))
    found = sampled_distance(device_graph_for(graph), region, Norm.LINF, goals_for(0, 2, None, 0.0), 1.0)
    assert found > 0.99995


def test_nothing_to_estimate() -> None:
    graph = affine_chain([np.ones((1, 1)), np.ones((2, 1))], [np.zeros(1), np.array([1.0, 0.0])])
    region = Region(np.zeros(1), np.zeros(1), np.ones(1))
    goals = goals_for(0, 2, None, 0.0)
    assert sampled_distance(device_graph_for(graph), region, Norm.L1, (), 0.5) == 0.5
    assert sampled_distance(device_graph_for(graph), region, Norm.L1, goals, 0.0) == 0.0
