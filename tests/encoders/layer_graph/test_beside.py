"""Networks side by side give the scores of each, and leads are greatest scores of others less one's own."""

from __future__ import annotations

import numpy as np
import pytest

from encoders.errors import DataError
from encoders.layer_graph.beside import beside, on_parts, with_leads
from encoders.layer_graph.graph import affine_chain
from tests.encoders.nets import random_chain

POINTS = np.random.default_rng(0).random((50, 3))


def test_scores_are_those_of_each_network() -> None:
    nets = [random_chain(1, (3, 4, 2))[0], random_chain(2, (3, 5, 3, 4))[0], random_chain(3, (3, 2))[0]]
    side_by_side = beside(nets)
    assert side_by_side.classes == 8
    assert np.allclose(
        side_by_side.evaluate(POINTS), np.concatenate([net.evaluate(POINTS) for net in nets], axis=1), atol=1e-12
    )


def test_each_network_reads_its_own_shift() -> None:
    net = random_chain(4, (3, 5, 2))[0]
    shifts = [np.array([0.5, -0.25, 0.0]), np.zeros(3), np.array([0.0, 1.0, 2.0])]
    expected = np.concatenate([net.evaluate(POINTS + shift) for shift in shifts], axis=1)
    assert np.allclose(beside([net] * 3, shifts).evaluate(POINTS), expected, atol=1e-12)


def test_each_network_reads_its_own_part() -> None:
    """Parts may share inputs, come in any order, and have one twice."""
    nets = [random_chain(6, (2, 4, 2))[0], random_chain(7, (3, 5, 2))[0]]
    places = [np.array([2, 0]), np.array([1, 2, 1])]
    expected = np.concatenate([net.evaluate(POINTS[:, own]) for net, own in zip(nets, places, strict=True)], axis=1)
    assert np.allclose(on_parts(nets, places, 3).evaluate(POINTS), expected, atol=1e-12)
    assert on_parts(nets[1:], [np.arange(3)], 3) is nets[1]
    with pytest.raises(ValueError, match="reads 2 inputs, and 3 are named"):
        on_parts(nets, [places[1]] * 2, 3)


@pytest.mark.parametrize("counts", [(1, 1), (2, 1), (3, 2), (9, 9), (4, 7, 1)])
def test_leads_are_greatest_others_less_the_own(counts: tuple[int, ...]) -> None:
    net = affine_chain([np.random.default_rng(5).normal(size=(12, 3))], [np.linspace(-1, 1, 12)])
    rng = np.random.default_rng(sum(counts))
    own = [int(rng.integers(12)) for _ in counts]
    others = [
        rng.choice(np.delete(np.arange(12), k), size=n, replace=False).tolist()
        for k, n in zip(own, counts, strict=True)
    ]
    scores = net.evaluate(POINTS)
    expected = np.stack(
        [scores[:, rest].max(axis=1) - scores[:, mine] for mine, rest in zip(own, others, strict=True)], axis=1
    )
    assert np.allclose(with_leads(net, own, others).evaluate(POINTS), expected, atol=1e-12)


def test_inputs_of_different_sizes_are_refused() -> None:
    with pytest.raises(DataError, match="the same input; these read 3, 2 numbers"):
        beside([random_chain(1, (3, 2))[0], random_chain(2, (2, 2))[0]])
