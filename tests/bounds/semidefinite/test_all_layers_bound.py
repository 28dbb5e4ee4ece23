"""Several nodes side by side, and from where others ended: nothing that a descent starts from makes a claim wrong.

    d1 ─┬─► h1 = d1 + d2 ─► relu ─┐
    d2 ─┴─► h2 = d1 - d2 ─► relu ─┴─► h3 = h1⁺ + h2⁺ - 1 ─► relu ─► g = 3 - h3⁺      over L∞ balls around 0.

Where both are active, h1⁺ + h2⁺ is 2·d1, where one is, d1 ± d2, where none is, 0. So the nearest adversaries are at
distance 2, at (2, 0), (2, 2) and (2, -2), where h3 is active and one of the others is; all other nodes have none.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor

from bounds.nodes.node_bounds import NodeBounds
from bounds.nodes.records import Nodes, Pass, one_after_the_other
from bounds.semidefinite.all_layers_bound import left_by_all_layers, raised_by_all_layers
from encoders.deadline import in_time
from tests.bounds.semidefinite.test_all_layers_quadratic import three_neurons
from tests.bounds.semidefinite.test_one_layer_bound import on_ball

HAIR = 1e-7
EXACT = 2.0


def beyond() -> NodeBounds:
    """The net on a ball that holds its nearest adversaries barely."""
    return on_ball(three_neurons(), torch.zeros(2).numpy(), EXACT * (1.0 + HAIR), 10.0)


def children_of(nodes: Nodes) -> Nodes:
    """Both children of each, by its first open neuron; the node itself where none is open."""
    parts = []
    for k in range(len(nodes)):
        one, still_open = nodes.take(torch.tensor([k])), torch.nonzero(nodes.phase[k] == 0).flatten()
        parts.append(one.split(still_open[:1]) if len(still_open) else one)
    return one_after_the_other(parts)


def with_adversary(nodes: Nodes) -> Tensor:
    """[N] whether a node has one on the ball."""
    first, second, third = nodes.phase.unbind(1)
    return (third >= 0) & ((first >= 0) | (second >= 0))


def check(nodes: Nodes, seen: Pass) -> None:
    """No node with an adversary says that it is farther, or that there is none."""
    claimed = seen.distance.clamp_max(EXACT * (1.0 + HAIR))
    assert bool((claimed[with_adversary(nodes)] <= EXACT).all())


def unseen(engine: NodeBounds, nodes: Nodes) -> Pass:
    """What a pass sees of nodes, but for their distances."""
    return replace(engine.evaluate(nodes), distance=torch.zeros(len(nodes), dtype=torch.float64))


WRONG: dict[str, Callable[[Tensor], Tensor]] = {
    "as they are": lambda part: part,
    "no numbers": lambda part: torch.full_like(part, torch.nan),
    "huge": lambda part: part * 1e30,
    "all worth it": lambda part: torch.full_like(part, -1e30) if part.dim() == 0 else part,
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", WRONG)
@pytest.mark.fewer(2)
def test_whatever_children_start_from_no_claim_is_wrong(kind: str) -> None:
    engine, closing = beyond(), kind != "no numbers"  # a decision draws nothing by those, a distance does
    target, nodes = EXACT * (1.0 + HAIR), engine.roots()
    for _ in range(4):  # down to leaves, where nothing is relaxed
        nodes, seen = raised_by_all_layers(engine, nodes, unseen(engine, nodes), 4, target, closing)
        check(nodes, seen)
        for key, start in engine.starts.known.items():
            engine.starts.known[key] = {name: WRONG[kind](part) for name, part in start.items()}
        nodes = children_of(nodes)
    assert kind != "as they are" or bool((seen.distance >= target).any())  # what has no adversary is closed


@dataclass
class Looks:
    """A limit that passes after so many looks."""

    left: int

    @property
    def passed(self) -> bool:
        self.left -= 1
        return self.left < 0


@pytest.mark.parametrize("looks", [10, 40])
def test_what_was_ended_in_the_middle_claims_what_holds(looks: int) -> None:
    engine = beyond()
    target, nodes = EXACT * (1.0 + HAIR), children_of(engine.roots())
    nodes, _ = raised_by_all_layers(engine, nodes, unseen(engine, nodes), 3, target)
    nodes = children_of(nodes)
    before = unseen(engine, nodes)
    nodes, seen = in_time(
        Looks(looks), lambda: raised_by_all_layers(engine, nodes, before, 4, target, True), (nodes, before)
    )
    check(nodes, seen)
    assert in_time(Looks(looks), lambda: left_by_all_layers(engine, 4, target) is not None, True)
