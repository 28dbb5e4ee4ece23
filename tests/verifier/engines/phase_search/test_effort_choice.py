"""Which effort a tree goes on with: by what each gained for its time, worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from bounds.tightening.base import Effort
from tests.bounds.semidefinite.test_all_layers_quadratic import three_neurons
from tests.bounds.semidefinite.test_one_layer_bound import on_ball
from verifier.engines.phase_search.effort_choice import AGAIN, FIRST_NODES, EffortChoice, mean_gain

PLAIN, DEAR = Effort(all_layers_steps=0), Effort()


def tried(plain: tuple[float, float], dear: tuple[float, float]) -> EffortChoice:
    """Eight nodes of each, with the seconds that one took and what it gained."""
    choice = EffortChoice(PLAIN, DEAR)
    for measured, (seconds, gain) in ((choice.plain, plain), (choice.dear, dear)):
        measured.saw(8, 8 * seconds, gain)
    return choice


def test_plain_nodes_come_first_and_the_dear_are_tried_where_those_take_longer() -> None:
    choice = EffortChoice(PLAIN, DEAR)
    choice.price = 1.0
    assert choice.next() is choice.plain
    choice.plain.saw(4, 0.4, 0.5)
    assert choice.next() is choice.plain, "2^2 nodes of a tenth close what one dear node may"
    choice.plain.saw(40, 4.0, 0.125)
    assert choice.next() is choice.dear, "2^8 of them do not"


@pytest.mark.parametrize(
    ("plain", "dear", "better"),
    [
        ((0.1, 0.5), (1.0, 0.5), PLAIN),  # as much for less
        ((0.1, 0.0), (1.0, 0.5), DEAR),  # 2^2 nodes of a second close what plain ones never do
        ((0.1, 0.2), (1.0, 0.25), PLAIN),  # 32 nodes of a tenth, 16 of a second
        ((0.1, 0.125), (1.0, 0.25), DEAR),  # 256 nodes of a tenth: 25.6 s, for 16 s
    ],
)
def test_the_tree_that_takes_least_time_goes_on(
    plain: tuple[float, float], dear: tuple[float, float], better: Effort
) -> None:
    assert tried(plain, dear).next().effort is better


def test_the_other_effort_is_asked_again_for_a_part_of_the_time() -> None:
    choice = tried(plain=(0.1, 0.5), dear=(1.0, 0.0))
    while choice.next() is choice.plain:
        choice.plain.saw(8, 0.8, 0.5)
    with_more = 8.0 + FIRST_NODES * 1.0  # seconds of dear nodes: those so far, and a few more
    assert with_more < AGAIN * (choice.plain.spent + choice.dear.spent) < with_more + 0.1
    choice.dear.saw(4, 4.0, 0.0)
    assert choice.next() is choice.plain


def test_what_an_effort_made_of_late_counts_most() -> None:
    choice = tried(plain=(0.1, 0.5), dear=(1.0, 0.5))
    for _ in range(20):  # the tree has come to where plain nodes gain nothing
        choice.plain.saw(8, 0.8, 0.0)
    assert choice.next() is choice.dear


def test_a_plain_node_counts_for_less() -> None:
    choice = EffortChoice(PLAIN, DEAR)
    assert choice.weight(choice.plain) == 1.0, "nothing is known"
    choice = tried(plain=(0.5, 0.5), dear=(2.0, 0.5))
    assert (choice.weight(choice.plain), choice.weight(choice.dear)) == (0.25, 1.0)


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
