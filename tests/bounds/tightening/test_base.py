"""What a tightening says is held to the nodes and the target that it was given."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from bounds.nodes.node_bounds import NodeBounds
from bounds.nodes.records import Nodes, Pass
from bounds.tightening.base import Aim, Effort, Tightening
from bounds.tightening.raising import TIGHTENINGS
from encoders.errors import SoundnessError
from tests.bounds.semidefinite.test_all_layers_quadratic import three_neurons
from tests.bounds.semidefinite.test_one_layer_bound import on_ball

TARGET = 2.4  # the distance is 2


class Boaster(Tightening):
    """Claims a distance that it has not shown."""

    @classmethod
    def possible(cls, engine: NodeBounds) -> bool:
        return True

    @classmethod
    def applies(cls, engine: NodeBounds, effort: Effort) -> bool:
        return True

    def _raised(self, nodes: Nodes, seen: Pass, calm: float) -> tuple[Nodes, Pass]:
        return nodes, replace(seen, distance=seen.distance + 10.0)


class Liberator(Boaster):
    """Forgets what is fixed in a node."""

    def _raised(self, nodes: Nodes, seen: Pass, calm: float) -> tuple[Nodes, Pass]:
        return replace(nodes, phase=torch.zeros_like(nodes.phase)), seen


class Mixer(Boaster):
    """Gives nodes back as those of another goal."""

    def _raised(self, nodes: Nodes, seen: Pass, calm: float) -> tuple[Nodes, Pass]:
        return replace(nodes, goal=nodes.goal + 1), seen


@pytest.fixture(scope="module")
def engine() -> NodeBounds:
    return on_ball(three_neurons(), np.zeros(2), TARGET, 10.0)


def test_beyond_the_target_nothing_is_claimed(engine: NodeBounds) -> None:
    roots = engine.roots()
    _, found = Boaster(Aim(engine, TARGET, Effort())).raised(roots, engine.evaluate(roots))
    assert found.distance.tolist() == [TARGET] * len(roots)


@pytest.mark.parametrize("kind", [Liberator, Mixer])
def test_other_nodes_than_were_given_are_refused(kind: type[Tightening], engine: NodeBounds) -> None:
    roots = engine.roots()
    nodes = roots.split(torch.zeros(len(roots), dtype=torch.int64))
    with pytest.raises(SoundnessError, match=f"{kind.__name__} bounds other nodes"):
        kind(Aim(engine, TARGET, Effort())).raised(nodes, engine.evaluate(nodes))


@pytest.mark.parametrize("kind", TIGHTENINGS)
def test_every_tightening_of_the_table_raises_and_is_true(kind: type[Tightening], engine: NodeBounds) -> None:
    roots = engine.roots()
    before = engine.evaluate(roots)
    assert kind.possible(engine)
    _, found = kind(Aim(engine, TARGET, Effort(), steps=4)).raised(roots, before)
    assert float(before.distance[0]) <= float(found.distance[0]) <= 2.0 + 1e-9
