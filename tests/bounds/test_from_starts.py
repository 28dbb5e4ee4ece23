"""Attacks from given points: by hand, in a ball that holds nothing, and from starts that are no use.

d1, d2 ─► y0 = 1 - d1 - d2, y1 = 0      around 0: the nearest adversary is (1/2, 1/2), in L∞ at 1/2
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bounds.attacks.base import AttackOptions, AttackProblem
from bounds.attacks.from_starts import NAME, nearest_from
from bounds.propagation.device_graph import DeviceGraph
from encoders.layer_graph.graph import affine_chain
from encoders.question import Norm, Region, goals_for

ROWS = [np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]]), np.array([[-1.0, 1.0, -1.0, 1.0], [0.0] * 4])]
NET = affine_chain(ROWS, [np.zeros(4), np.array([1.0, 0.0])])  # d = relu(d) - relu(-d)
STARTS = torch.tensor([[1.5, 0.2], [-1.0, -1.0], [0.0, 0.0], [3.0, 3.0]], dtype=torch.float64)


def asked(radius: float, side: float = 2.0, seconds: float | None = None) -> AttackProblem:
    region = Region(np.zeros(2), np.full(2, -side), np.full(2, side))
    goals, options = goals_for(0, 2, None, 0.0), AttackOptions(time_limit=seconds)
    return AttackProblem(DeviceGraph(NET, "cpu"), region, Norm.LINF, goals, radius, options)


def test_the_nearest_is_found_within_the_last_shrink() -> None:
    found = nearest_from(asked(2.0), STARTS)
    assert 0.5 <= found.distances[0] <= 0.5 * 1.004
    assert set(found.by) == {NAME}
    assert (NET.evaluate(found.inputs)[:, 0] <= 0).all()
    np.testing.assert_allclose(np.abs(found.inputs).max(axis=1), found.distances)


@pytest.mark.parametrize(("radius", "side"), [(0.49, 2.0), (2.0, 0.49)])
def test_nothing_is_found_where_there_is_none(radius: float, side: float) -> None:
    assert not len(nearest_from(asked(radius, side), STARTS).distances)


def test_no_time_no_adversary() -> None:
    assert not len(nearest_from(asked(2.0, seconds=0.0), STARTS).distances)


def test_no_starts_no_adversary() -> None:
    assert not len(nearest_from(asked(2.0), STARTS[:0]).distances)
