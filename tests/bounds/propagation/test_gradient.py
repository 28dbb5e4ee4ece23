"""The gradient of class scores: by hand, and as torch's own differentiation has it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bounds.propagation.device_graph import DeviceGraph
from encoders.layer_graph.graph import affine_chain
from tests.bounds.propagation.test_neuron_bounds import random_graph
from tests.draws import draws


def test_by_hand() -> None:
    # y0 = relu(x1 - x2) + relu(x2), y1 = -relu(x2): at (2, 1), (0, 1) and (1, 0), where the second ReLU is at 0.
    graph = DeviceGraph(affine_chain([np.array([[1.0, -1.0], [0.0, 1.0]]), np.array([[1.0, 1.0], [0.0, -1.0]])],
                                     [np.zeros(2), np.zeros(2)]))  # fmt: skip
    x = torch.tensor([[2.0, 1.0], [0.0, 1.0], [1.0, 0.0]], dtype=torch.float64)
    of_first, of_both = (torch.tensor([row] * 3, dtype=torch.float64) for row in ([1.0, 0.0], [2.0, 1.0]))
    values = graph.values(x)
    assert graph.gradient(values, of_first).tolist() == [[1.0, 0.0], [0.0, 1.0], [1.0, -1.0]]
    assert graph.gradient(values, of_both).tolist() == [[2.0, -1.0], [0.0, 1.0], [2.0, -2.0]]


@pytest.mark.thorough
@pytest.mark.parametrize("kind", ["dense", "residual", "convolution"])
@pytest.mark.parametrize("seed", range(draws(2, 20)))
def test_it_is_what_torch_finds(kind: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    graph = DeviceGraph(random_graph(rng, kind))
    x = graph.tensor(rng.normal(size=(7, graph.graph.input_size)))
    rows = graph.tensor(rng.normal(size=(7, graph.graph.classes)))
    here = x.clone().requires_grad_()
    (expected,) = torch.autograd.grad((graph.forward(here) * rows).sum(), here)
    np.testing.assert_allclose(graph.gradient(graph.values(x), rows), expected, rtol=1e-12, atol=1e-12)


def test_scores_that_no_input_moves_have_none() -> None:
    graph = DeviceGraph(affine_chain([np.zeros((2, 3))], [np.array([1.0, 2.0])]))
    x = torch.ones(2, 3, dtype=torch.float64)
    assert not graph.gradient(graph.values(x), torch.ones(2, 2, dtype=torch.float64)).any()
