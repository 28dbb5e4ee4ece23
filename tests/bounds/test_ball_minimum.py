"""Where a goal is lowest in a ball: by hand, and never anything that is not there."""

from __future__ import annotations

import numpy as np
import pytest

from bounds.attacks import AttackOptions, AttackProblem
from bounds.attacks.ball_minimum import lower_still, lowest_in_ball
from bounds.propagation.neuron_bounds import device_graph_for
from bounds.tightening.first_pass import least_values
from encoders.layer_graph.graph import Graph, affine_chain
from encoders.question import CONVEX, Goal, Norm, Region
from tests.test_trust import random_net

# |x1 - x2| as relu(x1 - x2) + relu(x2 - x1), beside a score that is always 0.
VALLEY = affine_chain(
    [np.array([[1.0, -1.0], [-1.0, 1.0]]), np.array([[1.0, 1.0], [0.0, 0.0]])], [np.zeros(2), np.zeros(2)]
)
HIGHEST = Goal(0, np.array([[-1.0, 0.0]]), np.zeros(1))  # lowest where |x1 - x2| is greatest
REGION = Region(np.array([0.5, 0.45]), np.zeros(2), np.ones(2))


def problem(graph: Graph, region: Region, norm: Norm, goals: tuple[Goal, ...], radius: float) -> AttackProblem:
    return AttackProblem(device_graph_for(graph, "cpu"), region, norm, goals, radius, AttackOptions(seed=0))


@pytest.mark.parametrize(("norm", "greatest"), [(Norm.LINF, 0.45), (Norm.L1, 0.25), (Norm.L2, 0.05 + 0.2 * 2**0.5)])
def test_the_lowest_by_hand(norm: Norm, greatest: float) -> None:
    found = lowest_in_ball(problem(VALLEY, REGION, norm, (HIGHEST,), 0.2))
    assert float(found.values[0]) == pytest.approx(-greatest, abs=1e-5)


def test_a_walk_crosses_the_wall_that_holds_it() -> None:
    # x + 2 relu(x - 1/2) rises up to the wall at 1/2, and faster beyond it.
    steeper = affine_chain(
        [np.array([[1.0], [1.0]]), np.array([[1.0, 2.0], [0.0, 0.0]])], [np.array([1.0, -0.5]), np.zeros(2)]
    )
    region = Region(np.array([0.3]), np.zeros(1), np.array([0.9]))
    found = lower_still(problem(steeper, region, Norm.LINF, (HIGHEST,), 1.0), 0, region.center)
    assert found.tolist() == pytest.approx([0.9], abs=1e-6)


@pytest.mark.parametrize("norm", list(CONVEX))
def test_what_is_found_is_there_and_nothing_is_below_what_one_pass_proves(norm: Norm) -> None:
    for seed in range(6):
        rng = np.random.default_rng(seed)
        graph = random_net(rng)
        size = graph.input_size
        region = Region(rng.random(size).round(1), np.zeros(size), np.ones(size))
        identity = np.eye(graph.classes)
        goals = tuple(Goal(t, (identity[0] - identity[t])[None], np.zeros(1)) for t in range(1, graph.classes))
        radius = float(rng.choice([0.05, 0.3, 1.0]))
        asked = problem(graph, region, norm, goals, radius)
        found = lowest_in_ball(asked)
        hair = 1e-6 * max(1.0, float(np.abs(graph.evaluate(found.inputs)).max()))
        assert (norm.length(found.inputs - region.center) <= radius + 1e-6).all()
        assert ((found.inputs >= region.lower) & (found.inputs <= region.upper)).all()
        proven = least_values(asked.device_graph, region, norm, goals, radius)
        shifts = rng.uniform(-1.0, 1.0, (500, size)) * radius
        shifts *= np.minimum(1.0, radius / np.maximum(norm.length(shifts), 1e-300))[:, None]
        points = np.vstack([np.clip(region.center + shifts, 0.0, 1.0), region.center, found.inputs])
        for k, goal in enumerate(goals):
            values = graph.evaluate(points) @ goal.rows[0]
            assert abs(values[k - len(goals)] - found.values[k]) <= hair
            assert found.values[k] <= values[-1 - len(goals)] + hair  # no higher than the center
            assert proven[k] <= values.min() + 1e-3 * hair
