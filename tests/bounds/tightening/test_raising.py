"""The turns of a node's tightenings: which come again, and what they leave of one another."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest
import torch

from bounds.nodes.node_bounds import NodeBounds
from bounds.nodes.records import Nodes, Pass
from bounds.tightening import raising
from bounds.tightening.base import Effort, Tightening
from bounds.tightening.raising import bounded
from tests.bounds.semidefinite.test_all_layers_quadratic import three_neurons
from tests.bounds.semidefinite.test_one_layer_bound import on_ball

TARGET = 2.4


class Plain(Tightening):
    """Proves half of what is left, and would split at another neuron each time."""

    turns: ClassVar[list[str]] = []
    steers = 0.0

    @classmethod
    def possible(cls, engine: NodeBounds) -> bool:
        return True

    @classmethod
    def applies(cls, engine: NodeBounds, effort: Effort) -> bool:
        return True

    def _raised(self, nodes: Nodes, seen: Pass, calm: float) -> tuple[Nodes, Pass]:
        self.turns.append(type(self).__name__)
        half = seen.distance + 0.5 * (TARGET - seen.distance)
        return nodes, replace(seen, distance=half, behind=torch.full_like(seen.behind, self.steers))


class Dear(Plain):
    """The same at a price, and it knows where to split."""

    tells_splits = True
    in_first_turn_alone = True
    steers = 7.0


@pytest.mark.parametrize(("kinds", "told"), [((Plain, Dear), 7.0), ((Plain,), 0.0)])
def test_what_is_dear_has_one_turn_and_says_where_to_split(
    monkeypatch: pytest.MonkeyPatch, kinds: tuple[type[Plain], ...], told: float
) -> None:
    monkeypatch.setattr(raising, "TIGHTENINGS", kinds)
    turns: list[str] = []
    monkeypatch.setattr(Plain, "turns", turns)
    engine = on_ball(three_neurons(), np.zeros(2), TARGET, 10.0)
    _, seen = bounded(engine, engine.roots(), 0, TARGET, Effort(rounds=3, nearly=0.0))
    assert turns == [kind.__name__ for kind in kinds] + ["Plain"] * 2
    assert set(seen.behind.flatten().tolist()) == {told}
