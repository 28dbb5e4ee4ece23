"""Attacks: distances worked out by hand, then what every candidate must satisfy on random nets."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bounds.attacks import ATTACKS
from bounds.attacks.base import Attack, AttackBatch, AttackOptions, AttackProblem, Candidates, Runs
from bounds.attacks.portfolio import attack
from bounds.attacks.region_descent import polish
from bounds.attacks.steps import project, steepest
from bounds.propagation.device_graph import DeviceGraph
from encoders.errors import OptionError, SoundnessError
from encoders.layer_graph.graph import Graph, affine_chain
from encoders.question import CONVEX, Goal, Norm, Region, goals_for
from tests.draws import examples

pytestmark = pytest.mark.usefixtures("patient_attacks")

# Linear, two classes:  y0 - y1 = 3·x1 - 4·x2 + 1   around (0, 0) in [-1, 1]²
#   L∞ 1/7,  L1 1/4 (x2 alone),  L2 1/5.
LINEAR = affine_chain([np.array([[3.0, -4.0], [0.0, 0.0]])], [np.array([1.0, 0.0])])
SQUARE = Region(np.zeros(2), -np.ones(2), np.ones(2))
LINEAR_DISTANCE = {Norm.LINF: 1 / 7, Norm.L1: 1 / 4, Norm.L2: 1 / 5}

# x --(1, -1)--> z1 = relu(x1 - x2)        y0 - y1 = 2 - 2·z1 - z2
#   --(1,  1)--> z2 = relu(x1 + x2 - 1)    around (0.25, 0) in [0, 1]²
# Both on: 2·x1 - 2·x2 + x1 + x2 - 1 ≥ 2  is  3·x1 - x2 ≥ 3: only the corner (1, 0) reaches it.
# Only z1 on, x1 + x2 ≤ 1: x1 - x2 ≥ 1: the same corner. So every norm has the distance 0.75.
HAND = affine_chain([np.array([[1.0, -1.0], [1.0, 1.0]]), np.array([[-2.0, -1.0], [0.0, 0.0]])],
                    [np.array([0.0, -1.0]), np.array([2.0, 0.0])])  # fmt: skip
EDGE = Region(np.array([0.25, 0.0]), np.zeros(2), np.ones(2))

# The same net with 1 for 2: y0 - y1 = 1 - 2·z1 - z2. Only z1 on: x1 - x2 ≥ 1/2, at (0.5, 0): distance 0.25 in L1;
# in L∞ x2 cannot fall below 0, so 0.25 too. From (0.25, 0.25), L∞: (0.5, 0); L1: x1 - x2 rises by 1/2 either way.
NEAR = affine_chain([np.array([[1.0, -1.0], [1.0, 1.0]]), np.array([[-2.0, -1.0], [0.0, 0.0]])],
                    [np.array([0.0, -1.0]), np.array([1.0, 0.0])])  # fmt: skip
MIDDLE = Region(np.array([0.25, 0.25]), np.zeros(2), np.ones(2))

NORMS = CONVEX


def run(graph: Graph, region: Region, norm: Norm, goals: tuple[Goal, ...], radius: float = np.inf) -> Candidates:
    return attack(DeviceGraph(graph), region, norm, goals, radius, AttackOptions())


def runs_of(norm: Norm, count: int) -> Runs:
    """So many rows on the linear net."""
    problem = AttackProblem(DeviceGraph(LINEAR), SQUARE, norm, goals_for(0, 2, None, 0.0), 1.0, AttackOptions())
    return AttackBatch((problem,)).every_goal(count)


def holds(graph: Graph, x: np.ndarray, goal: Goal) -> bool:
    return bool((goal.rows @ graph.evaluate(x)[0] + goal.offset <= 1e-9).all())


@pytest.mark.parametrize("norm", NORMS)
def test_a_linear_net_by_hand(norm: Norm) -> None:
    found = run(LINEAR, SQUARE, norm, goals_for(0, 2, None, 0.0))
    assert found.distances[0] == pytest.approx(LINEAR_DISTANCE[norm], rel=1e-6)
    assert found.distances[0] >= LINEAR_DISTANCE[norm] * (1 - 1e-12)


@pytest.mark.parametrize("norm", NORMS)
def test_a_margin_by_hand(norm: Norm) -> None:
    # y0 - y1 ≤ -1 instead of 0: twice as far.
    found = run(LINEAR, SQUARE, norm, goals_for(0, 2, None, 1.0))
    assert found.distances[0] == pytest.approx(2 * LINEAR_DISTANCE[norm], rel=1e-6)


def test_a_mask_by_hand() -> None:
    # x2 may not move: 3·x1 + 1 ≤ 0 at x1 = -1/3.
    masked = Region(np.zeros(2), np.array([-1.0, 0.0]), np.array([1.0, 0.0]))
    for norm in NORMS:
        found = run(LINEAR, masked, norm, goals_for(0, 2, None, 0.0))
        assert found.distances[0] == pytest.approx(1 / 3, rel=1e-6)
        assert (found.inputs[:, 1] == 0.0).all()


def test_nothing_in_the_box_is_no_candidate() -> None:
    tight = Region(np.zeros(2), np.full(2, -0.1), np.full(2, 0.1))
    assert len(run(LINEAR, tight, Norm.LINF, goals_for(0, 2, None, 0.0)).inputs) == 0


def test_no_goal_is_no_candidate() -> None:
    assert len(run(LINEAR, SQUARE, Norm.LINF, ()).inputs) == 0


def test_a_center_that_is_an_adversary_already_has_distance_zero() -> None:
    found = run(LINEAR, SQUARE, Norm.LINF, goals_for(1, 2, None, 0.0))
    assert found.distances[0] == 0.0
    assert found.inputs[0].tolist() == [0.0, 0.0]


@pytest.mark.parametrize("norm", NORMS)
def test_one_hidden_layer_by_hand(norm: Norm) -> None:
    assert run(HAND, EDGE, norm, goals_for(0, 2, None, 0.0)).distances[0] == pytest.approx(0.75, rel=1e-6)


@pytest.mark.parametrize(("norm", "distance"), [(Norm.LINF, 0.25), (Norm.L1, 0.5), (Norm.L2, 0.125**0.5)])
def test_polish_reaches_the_minimum_of_its_piece(norm: Norm, distance: float) -> None:
    goal = goals_for(0, 2, None, 0.0)[0]
    polished = polish(DeviceGraph(NEAR), MIDDLE, norm, goal, np.array([0.875, 0.0]))
    assert norm.length(polished - MIDDLE.center) == pytest.approx(distance, rel=1e-6)
    assert holds(NEAR, polished, goal)


def test_polish_leaves_its_piece_where_the_next_one_is_nearer() -> None:
    # y0 - y1 = 1 - 4·relu(x - 1): zero at 1.25, in the piece of the start at 3.
    bend = affine_chain([np.array([[1.0]]), np.array([[-4.0], [0.0]])], [np.array([-1.0]), np.array([1.0, 0.0])])
    # y0 - y1 = 1 - 4·relu(x - 1) + relu(x - 2): in the piece of the start, x > 2, the goal holds down to its wall.
    more = affine_chain([np.array([[1.0], [1.0]]), np.array([[-4.0, 1.0], [0.0, 0.0]])],
                        [np.array([-1.0, -2.0]), np.array([1.0, 0.0])])  # fmt: skip
    line = Region(np.zeros(1), np.zeros(1), np.full(1, 4.0))
    for graph in (bend, more):
        goal = goals_for(0, 2, None, 0.0)[0]
        assert polish(DeviceGraph(graph), line, Norm.LINF, goal, np.array([3.0]))[0] == pytest.approx(1.25, rel=1e-8)


def test_polish_falls_square_onto_the_border_in_l2() -> None:
    # y0 - y1 = 1 + 3 x - 4 y: the nearest zero to the origin is (-3, 4)/25, at 1/5.
    goal = goals_for(0, 2, None, 0.0)[0]
    polished = polish(DeviceGraph(LINEAR), SQUARE, Norm.L2, goal, np.array([-1.0, 0.5]))
    assert polished == pytest.approx([-0.12, 0.16], rel=1e-6)


def random_net(rng: np.random.Generator, classes: int = 3) -> Graph:
    weights = [rng.normal(size=(5, 4)), rng.normal(size=(4, 5)), rng.normal(size=(classes, 4))]
    return affine_chain(weights, [rng.normal(size=len(w)) for w in weights])


def random_region(rng: np.random.Generator) -> Region:
    center = rng.uniform(0.0, 1.0, 4)
    fixed = rng.random(4) < 0.25
    return Region(center, np.where(fixed, center, 0.0), np.where(fixed, center, 1.0))


@examples(25)
@given(
    seed=st.integers(0, 10**6), norm=st.sampled_from(NORMS), targeted=st.booleans(), margin=st.sampled_from([0, 0.3])
)
@pytest.mark.release
def test_every_candidate_is_what_it_says(seed: int, norm: Norm, targeted: bool, margin: float) -> None:
    rng = np.random.default_rng(seed)
    graph, region = random_net(rng), random_region(rng)
    predicted = int(np.argmax(graph.evaluate(region.center)))
    targets = tuple(t for t in range(3) if t != predicted) if targeted else None
    goals = goals_for(predicted, 3, targets, margin)
    found = run(graph, region, norm, goals)
    assert (np.diff(found.distances) >= 0).all()
    assert (found.inputs >= region.lower).all()
    assert (found.inputs <= region.upper).all()
    for x, distance, goal in zip(found.inputs, found.distances, found.goal, strict=True):
        assert holds(graph, x, goals[goal])
        assert distance == norm.length(x - region.center)


@examples(25)
@given(seed=st.integers(0, 10**6), norm=st.sampled_from(NORMS), targeted=st.booleans())
def test_polish_never_worsens_and_never_leaves_the_goal(seed: int, norm: Norm, targeted: bool) -> None:
    rng = np.random.default_rng(seed)
    graph, region = random_net(rng), random_region(rng)
    predicted = int(np.argmax(graph.evaluate(region.center)))
    goals = goals_for(predicted, 3, tuple({0, 1, 2} - {predicted}) if targeted else None, 0.0)
    for x in rng.uniform(region.lower, region.upper, (200, 4)):
        goal = next((g for g in goals if holds(graph, x, g)), None)
        if goal is not None:
            polished = polish(DeviceGraph(graph), region, norm, goal, x)
            assert norm.length(polished - region.center) <= norm.length(x - region.center)
            assert holds(graph, polished, goal)
            assert (polished >= region.lower).all()
            assert (polished <= region.upper).all()
            return


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.fewer(1)
def test_no_sampled_adversary_is_much_nearer(norm: Norm) -> None:
    # Of ten thousand random inputs of small nets, none may beat the attacks: they would be useless as a first bound.
    for seed in range(6):
        rng = np.random.default_rng(seed)
        graph = random_net(rng)
        region = Region(np.full(4, 0.5), np.zeros(4), np.ones(4))
        predicted = int(np.argmax(graph.evaluate(region.center)))
        samples = rng.uniform(0.0, 1.0, (10_000, 4))
        flipped = samples[np.argmax(graph.evaluate(samples), axis=1) != predicted]
        if len(flipped):
            found = run(graph, region, norm, goals_for(predicted, 3, None, 0.0))
            assert found.distances[0] <= norm.length(flipped - region.center).min()


def test_the_same_seed_gives_the_same_candidates() -> None:
    rng = np.random.default_rng(3)
    graph, region = random_net(rng), random_region(rng)
    goals = goals_for(int(np.argmax(graph.evaluate(region.center))), 3, None, 0.0)
    first, second = (run(graph, region, Norm.LINF, goals) for _ in range(2))
    assert np.array_equal(first.inputs, second.inputs)


def test_a_time_limit_of_zero_tries_nothing() -> None:
    options = AttackOptions(time_limit=0.0)
    found = attack(DeviceGraph(LINEAR), SQUARE, Norm.LINF, goals_for(0, 2, None, 0.0), np.inf, options)
    assert len(found.inputs) == 0


def test_a_radius_with_a_witness_stops_the_search() -> None:
    # The nearest is at 1/7; asked for 0.5, any witness inside will do, asked for 0.1 the nearest is still found.
    goals = goals_for(0, 2, None, 0.0)
    assert run(LINEAR, SQUARE, Norm.LINF, goals, 0.5).distances[0] < 0.5
    assert run(LINEAR, SQUARE, Norm.LINF, goals, 0.1).distances[0] == pytest.approx(1 / 7, rel=1e-6)


@pytest.mark.parametrize("norm", NORMS)
def test_projection_ends_in_ball_and_box(norm: Norm) -> None:
    runs = runs_of(norm, 50)
    x = torch.as_tensor(np.random.default_rng(0).uniform(-3, 3, (50, 2)))
    inside = project(runs, x, torch.full((50,), 0.7, dtype=torch.float64))
    assert (runs.length(inside) <= 0.7 + 1e-12).all()
    kept = project(runs, inside, torch.full((50,), 0.7, dtype=torch.float64))
    assert torch.allclose(inside, kept, atol=1e-12)


def test_l1_projection_by_hand() -> None:
    # (0.8, 0.4) onto the L1 ball of radius 0.6: both shrink by 0.3.
    x = torch.tensor([[0.8, 0.4]], dtype=torch.float64)
    assert project(runs_of(Norm.L1, 1), x, torch.tensor([0.6], dtype=torch.float64))[0].tolist() == pytest.approx(
        [0.5, 0.1]
    )


@pytest.mark.parametrize(("norm", "step"), [(Norm.LINF, [1, -1]), (Norm.L1, [0, -1]), (Norm.L2, [0.6, -0.8])])
def test_the_steepest_step_by_hand(norm: Norm, step: list[float]) -> None:
    runs = runs_of(norm, 1)
    value, gradient = runs.linearised(torch.zeros(1, 2, dtype=torch.float64))
    assert float(value) == 1.0
    assert gradient[0].tolist() == [3.0, -4.0]
    assert steepest(runs, torch.zeros(1, 2, dtype=torch.float64), gradient)[0].tolist() == pytest.approx(step)


@pytest.mark.slow
@pytest.mark.parametrize("name", list(ATTACKS))
@pytest.mark.fewer(9)
def test_each_attack_alone_flips_the_linear_net(name: str) -> None:
    problem = AttackProblem(DeviceGraph(LINEAR), SQUARE, Norm.LINF, goals_for(0, 2, None, 0.0), 1.0, AttackOptions())
    found = ATTACKS[name]().run(problem)
    assert len(found.inputs)
    assert (LINEAR.evaluate(found.inputs) @ np.array([1.0, -1.0]) <= 0).all()


class Fixed(Attack):
    """Proposes what it is told to, for goal 0."""

    name: ClassVar[str] = "fixed"

    def __init__(self, inputs: list[list[float]], distances: list[float]) -> None:
        self.proposed = Candidates(np.array(inputs), np.array(distances), np.zeros(len(inputs), dtype=np.int64))

    def search(self, batch: AttackBatch, known: Candidates) -> Candidates:
        return self.proposed


def test_what_does_not_hold_is_dropped() -> None:
    problem = AttackProblem(DeviceGraph(LINEAR), SQUARE, Norm.LINF, goals_for(0, 2, None, 0.0), 1.0, AttackOptions())
    mixed = Fixed([[1.0, 0.0], [-1.0, 0.0], [float("nan"), 0.0]], [1.0, 1.0, 1.0])
    found = mixed.run(problem)
    assert len(found.inputs) == 1
    assert found.inputs[0].tolist() == pytest.approx([-1 / 3, 0.0], rel=1e-5)  # and it was moved to the boundary


def test_a_false_claim_of_a_distance_is_an_alarm() -> None:
    problem = AttackProblem(DeviceGraph(LINEAR), SQUARE, Norm.LINF, goals_for(0, 2, None, 0.0), 1.0, AttackOptions())
    with pytest.raises(SoundnessError, match="fixed claims a distance"):
        Fixed([[-1.0, 0.0]], [0.5]).run(problem)


@pytest.mark.parametrize(
    ("arguments", "name"),
    [({"time_limit": -1.0}, "time_limit"), ({"time_limit": float("nan")}, "time_limit"),
     ({"restarts": -1}, "restarts"), ({"steps": 0}, "steps")],
)  # fmt: skip
def test_options_out_of_range_are_refused(arguments: dict[str, float], name: str) -> None:
    with pytest.raises(OptionError, match=name):
        AttackOptions(**arguments)  # type: ignore[arg-type]
