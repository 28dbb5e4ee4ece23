"""Where the all-layers relaxation is possible, and where a search should use it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch

from bounds.nodes.node_bounds import NodeBounds
from bounds.tightening.base import Effort
from bounds.tightening.by_all_layers import ByAllLayers
from encoders.question import Norm


def engine(neurons: int, inputs: int, norm: Norm = Norm.LINF, layers: int = 2) -> NodeBounds:
    """What is asked of a net of this size, without its numbers."""
    places = tuple(slice(k, k + 1) for k in range(layers))
    rows = torch.empty((1, neurons, inputs), device="meta")
    stack: Any = SimpleNamespace(norm=norm, open_phases=neurons, x=rows, layers=places)
    return cast(NodeBounds, SimpleNamespace(stack=stack))


@pytest.mark.parametrize(
    ("neurons", "inputs", "possible"),
    [
        (2000, 784, True),
        (3600, 784, True),
        (3700, 784, False),
        (1500, 3072, True),  # a residual net of CIFAR-10 at 2/255: memory and time as for 3,600 neurons alone
        (2800, 3072, False),
        (200, 150_528, False),  # rows of large images
    ],
)
def test_where_memory_and_a_factorisation_allow_it(neurons: int, inputs: int, possible: bool) -> None:
    assert ByAllLayers.possible(engine(neurons, inputs)) is possible


def test_it_applies_where_several_layers_have_many_open_neurons() -> None:
    assert ByAllLayers.applies(engine(150, 784), Effort())
    assert not ByAllLayers.applies(engine(149, 784), Effort())
    assert not ByAllLayers.applies(engine(150, 784, layers=1), Effort())
    assert not ByAllLayers.applies(engine(150, 784, Norm.L1), Effort())
    assert not ByAllLayers.applies(engine(150, 784), Effort(all_layers_steps=0))
