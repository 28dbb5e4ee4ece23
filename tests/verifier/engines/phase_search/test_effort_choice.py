"""Which effort a tree goes on with: by what each gained for its time, worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from bounds.tightening.base import Effort
from tests.bounds.semidefinite.test_all_layers_quadratic import three_neurons
from tests.bounds.semidefinite.test_one_layer_bound import on_ball
from verifier.engines.phase_search.effort_choice import AGAIN, EffortChoice, mean_gain

DEAR, CHEAP = Effort(), Effort(all_layers_steps=0)


def tried(dear: tuple[float, float], cheap: tuple[float, float]) -> EffortChoice:
    """Eight nodes of each, with the seconds that one took and what it gained."""
    choice = EffortChoice((DEAR, CHEAP))
    for measured, (seconds, gain) in zip(choice.measured, (dear, cheap), strict=True):
        measured.saw(8, 8 * seconds, gain)
    return choice


def test_each_effort_is_tried_first() -> None:
    choice = EffortChoice((DEAR, CHEAP))
    assert choice.next().effort is DEAR
    choice.measured[0].saw(4, 4.0, 1.0)
    assert choice.next().effort is CHEAP


@pytest.mark.parametrize(
    ("dear", "cheap", "better"),
    [
        ((1.0, 0.5), (0.1, 0.5), CHEAP),  # as much for less
        ((1.0, 0.5), (0.1, 0.0), DEAR),  # 2^2 nodes of a second close what cheap ones never do
        ((1.0, 0.25), (0.1, 0.2), CHEAP),  # 16 nodes of a second, 32 of a tenth
        ((1.0, 0.25), (0.1, 0.125), DEAR),  # 16 s; 256 nodes of a tenth: 25.6 s
    ],
)
def test_the_tree_that_takes_least_time_goes_on(
    dear: tuple[float, float], cheap: tuple[float, float], better: Effort
) -> None:
    assert tried(dear, cheap).next().effort is better


def test_the_other_effort_is_asked_again_for_a_part_of_the_time() -> None:
    choice = tried((1.0, 0.0), (0.1, 0.5))
    cheap = choice.measured[1]
    asked = 0
    while choice.next() is cheap:
        cheap.saw(8, 0.8, 0.5)
        asked += 1
    assert AGAIN * (8.0 + 0.8 * (asked + 1)) > 8.0 + 4.0, "four dear nodes more would be within their part"
    choice.measured[0].saw(4, 4.0, 0.0)
    assert choice.next() is cheap


def test_what_an_effort_made_of_late_counts_most() -> None:
    choice = tried((1.0, 0.5), (0.1, 0.5))
    for _ in range(20):  # the tree has come to where cheap nodes gain nothing
        choice.measured[1].saw(8, 0.8, 0.0)
    assert choice.next().effort is DEAR


def test_a_cheap_node_counts_for_less() -> None:
    choice = EffortChoice((DEAR, CHEAP))
    assert choice.weight(choice.measured[1]) == 1.0, "nothing is known"
    choice = tried((2.0, 0.5), (0.5, 0.5))
    assert [choice.weight(one) for one in choice.measured] == [1.0, 0.25]


def test_a_gain_is_the_share_of_what_was_lacking() -> None:
    """φ = d1 - 1 is -2 at least on the ball of 1; half of it is -1, half of that; at 0 nothing would be lacking."""
    engine = on_ball(three_neurons(), np.zeros(2), 2.4, 10.0)
    nodes = engine.roots()
    seen = engine.evaluate(nodes)
    normal = torch.zeros_like(seen.normal)
    normal[:, 0] = 1.0
    minus_one = torch.full_like(seen.height, -1.0)
    nodes = replace(nodes, normal=normal, height=minus_one)
    half = replace(seen, normal=0.5 * normal, height=0.5 * minus_one, distance=0.0 * seen.distance)
    assert mean_gain(engine, nodes, half, 1.0) == pytest.approx(0.5)
    assert mean_gain(engine, nodes, replace(half, normal=2.0 * normal), 1.0) == 0.0, "worse than what was known"
    assert mean_gain(engine, nodes, replace(half, distance=half.distance + 1.0), 1.0) == 1.0, "closed"
    assert mean_gain(engine, replace(nodes, height=nodes.height - torch.inf), half, 1.0) == 0.0, "nothing was known"
