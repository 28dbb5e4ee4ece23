"""Boxes cut until all are closed, or a witness is met: against every linear piece of tiny nets."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from bounds.propagation.device_graph import DeviceGraph
from encoders.arrays import FloatArray, Inputs
from encoders.deadline import NEVER, Clock, Deadline
from encoders.layer_graph.graph import Graph, affine_chain
from encoders.question import Norm, Region
from tests.draws import draws
from tests.encoders.nets import random_chain
from tests.exact_distances import exact_greatest
from verifier.engines.input_splitting import InputSplitting
from verifier.question.incumbent import Incumbent

SIZES = (2, 5, 4, 1)
HAIR = 1e-3


def splitting(graph: Graph, region: Region, cases: tuple[tuple[int, ...], ...] = ((0,),)) -> InputSplitting:
    def wins(scores: FloatArray) -> NDArray[np.bool_]:
        return np.array([any(bool((one[list(case)] <= 0).all()) for case in cases) for one in scores])

    def replay(inputs: Inputs) -> FloatArray:
        return graph.evaluate(inputs.astype(np.float64))

    incumbent = Incumbent(region, Norm.LINF, replay, graph.evaluate, wins, np.float64)
    return InputSplitting.on(DeviceGraph(graph), cases, region, incumbent)


def moved(seed: int, by: float) -> tuple[Graph, Region]:
    """A net whose least value over a box is `by`."""
    random = np.random.default_rng(seed)
    graph, center = random_chain(seed, SIZES)
    region = Region(center, center - random.random(2), center + random.random(2))
    least = -exact_greatest(graph, region, Norm.LINF, np.inf, np.array([[-1.0]])).lower
    weights = [node.maps[0].matrix().toarray() for node in graph.nodes[1::2]]  # type: ignore[union-attr]
    biases = [node.bias for node in graph.nodes[1::2]]  # type: ignore[union-attr]
    return affine_chain(weights, [*biases[:-1], biases[-1] - least + by]), region


@pytest.mark.parametrize("side", [1.0, -1.0])
@pytest.mark.fewer(1)
def test_a_hair_decides(side: float) -> None:
    for seed in range(draws(6, 80)):
        graph, region = moved(seed, side * HAIR)
        splits = splitting(graph, region)
        assert splits.run(NEVER) is (side > 0), seed
        assert (splits.incumbent.best is not None) is (side < 0), seed


def test_a_case_of_two_rows_is_reached_where_both_are() -> None:
    """x1 ≤ 0 and x2 ≤ 0 meet in [-1, 1]²; with abs(x1) + 1/100 in place of the second they do not."""
    plane = affine_chain([np.eye(2)], [np.zeros(2)])
    region = Region(np.zeros(2), -np.ones(2), np.ones(2))
    apart = affine_chain(
        [np.array([[1.0, 0.0], [-1.0, 0.0]]), np.array([[1.0, -1.0], [1.0, 1.0]])], [np.zeros(2), np.array([0.0, 0.01])]
    )
    for graph, closed in ((plane, False), (apart, True)):
        splits = splitting(graph, region, ((0, 1),))
        assert splits.run(NEVER) is closed
        assert splits.visited > 0


def test_a_tie_that_no_box_closes_stays_open() -> None:
    """At its only input the row is zero, which nobody takes for a witness here."""
    graph = affine_chain([np.array([[1.0]])], [np.zeros(1)])
    splits = splitting(graph, Region(np.zeros(1), np.zeros(1), np.zeros(1)))
    splits.incumbent.wins = lambda scores: scores[:, 0] < 0
    assert not splits.run(NEVER)
    assert len(splits.boxes) == 0


def test_no_time_closes_nothing() -> None:
    graph, region = moved(1, HAIR)
    splits = splitting(graph, region)
    assert not splits.run(Deadline(0.0, Clock()))
    assert len(splits.boxes) == 1
