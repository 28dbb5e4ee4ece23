"""Every technique of the table: a net by hand, brute force in its norms, what is degenerate, and false claims."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch

from bounds.attacks import ATTACKS, Attack, AttackBatch, AttackOptions, AttackProblem, Candidates
from bounds.attacks.base import to_boundary
from bounds.attacks.fgsm import Fgsm
from bounds.attacks.pixel_greedy import changed_inputs, changed_pixels, pixel_of_input
from bounds.attacks.region_descent import RegionDescent
from bounds.attacks.walk import Nearest, first_wins
from bounds.propagation.device_graph import DeviceGraph
from encoders.errors import SoundnessError
from encoders.layer_graph.graph import Graph, affine_chain
from encoders.question import CONVEX, Goal, Norm, Region, goals_for
from tests.brute_force import SURE, SURE_EUCLIDEAN, OracleError, brute_force_distance
from tests.draws import draws, thorough
from tests.exact_distances import exact_distance
from tests.test_trust import random_problem
from verifier.question.problem import Problem

pytestmark = pytest.mark.usefixtures("patient_attacks")

NAMES = list(ATTACKS)
NORMS = list(CONVEX)
OPTIONS = AttackOptions(restarts=6, steps=20)
BRIEF = AttackOptions(restarts=6, steps=6)  # where what is asked does not depend on how near a technique comes

# x1 ──(1, 1)──▶ z1 = relu(x1 + x2 - 1/4)     y0 - y1 = 1/2 - z1 + 3·z2      around (1/4, 1/4) in [0, 1]²
# x2 ──(1,-1)──▶ z2 = relu(x1 - x2 - 1/4)
#
# With z2 off: x1 + x2 ≥ 3/4, from a sum of 1/2. In L∞ both move by 1/8 (x1 - x2 stays 0: off indeed).
# In L2 along the diagonal: √2/8. In L1 any split of 1/4 with x1 - x2 ≤ 1/4. With z2 on it only gets farther.
HAND = affine_chain([np.array([[1.0, 1.0], [1.0, -1.0]]), np.array([[-1.0, 3.0], [0.0, 0.0]])],
                    [np.array([-0.25, -0.25]), np.array([0.5, 0.0])])  # fmt: skip
CORNER = Region(np.full(2, 0.25), np.zeros(2), np.ones(2))
DISTANCES = {Norm.LINF: 1 / 8, Norm.L2: 2**0.5 / 8, Norm.L1: 1 / 4}


def problem_of(
    graph: Graph, region: Region, norm: Norm, goals: tuple[Goal, ...], options: AttackOptions = OPTIONS
) -> AttackProblem:
    return AttackProblem(DeviceGraph(graph), region, norm, goals, region.reach(norm), options)


def made_for(name: str) -> list[Norm]:
    """The norms of a technique; one that has none is measured in all."""
    return [norm for norm in NORMS if norm in ATTACKS[name].norms] or NORMS


MADE_FOR = [(name, norm) for name in NAMES for norm in made_for(name)]


@pytest.mark.usefixtures("brief_attacks")
@pytest.mark.parametrize(("name", "norm"), MADE_FOR)
@pytest.mark.fewer
def test_one_hidden_layer_by_hand(name: str, norm: Norm) -> None:
    found = ATTACKS[name]().run(problem_of(HAND, CORNER, norm, goals_for(0, 2, None, 0.0)))
    assert found.distances[0] >= DISTANCES[norm] * (1 - 1e-12)
    assert found.distances[0] <= DISTANCES[norm] * (4.1 if ATTACKS[name].norms == {Norm.L0} else 1.1)


@pytest.mark.slow
@pytest.mark.usefixtures("brief_attacks")
@pytest.mark.thorough
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", ["iterated-fgsm", "pgd", "apgd-ce", "apgd-dlr"])
def test_no_attack_of_steps_loses_to_its_first(name: str, norm: Norm) -> None:
    for problem, _ in exact_problems(norm)[: draws(2, 12)]:
        asked = problem_of(problem.graph, problem.region, norm, problem.goals, BRIEF)
        first, steps = Fgsm().run(asked).nearest(), ATTACKS[name]().run(asked).nearest()
        assert set(first.goal) <= set(steps.goal)
        for goal, distance in zip(first.goal, first.distances, strict=True):
            assert steps.distances[steps.goal == goal][0] <= distance * (1 + 1e-9)


@pytest.mark.parametrize("norm", NORMS)
def test_the_oracle_agrees_with_the_hand(norm: Norm) -> None:
    assert brute_force_distance(HAND, CORNER, norm, goals_for(0, 2, None, 0.0))[0] == pytest.approx(DISTANCES[norm])


@cache
def exact_problems(norm: Norm) -> list[tuple[Problem, float]]:
    """Random questions with their exact distances; those that the oracle is sure of and that have one."""
    found = []
    for seed in range(12):
        asked, _, _ = random_problem(np.random.default_rng(seed), norm)
        try:
            exact = exact_distance(asked.graph, asked.region, norm, asked.goals)
        except OracleError:
            continue
        found.append((asked, exact))
    return found


@pytest.mark.usefixtures("brief_attacks")
@pytest.mark.thorough
@pytest.mark.parametrize(("name", "norm"), MADE_FOR)
@pytest.mark.fewer(7)
def test_no_technique_goes_below_brute_force(name: str, norm: Norm) -> None:
    compared, options = 0, replace(OPTIONS, steps=draws(6, 20))
    for asked, exact in sorted(exact_problems(norm), key=lambda one: np.isinf(one[1]))[: draws(5, 12)]:
        region = asked.region
        found = ATTACKS[name]().run(problem_of(asked.graph, region, norm, asked.goals, options))
        slack = 2 * (SURE_EUCLIDEAN if norm is Norm.L2 else SURE)
        assert (found.distances >= exact - slack * max(1.0, exact if np.isfinite(exact) else 1.0)).all()
        assert (found.distances == norm.length(found.inputs - region.center)).all()
        assert ((found.inputs >= region.lower) & (found.inputs <= region.upper)).all()
        for x, kind in zip(found.inputs, found.goal, strict=True):
            goal, scores = asked.goals[kind], asked.graph.evaluate(x)[0]
            assert (goal.rows @ scores + goal.offset <= 1e-9 * max(1.0, np.abs(scores).max())).all()
        compared += len(found.goal) > 0
    assert compared >= 2


@pytest.mark.usefixtures("brief_attacks")
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.fewer
def test_every_norm_is_answered(name: str, norm: Norm) -> None:
    found = ATTACKS[name]().run(problem_of(HAND, CORNER, norm, goals_for(0, 2, None, 0.0), BRIEF))
    assert (found.distances >= DISTANCES[norm] * (1 - 1e-12)).all()


DEAD = affine_chain([np.eye(2), np.array([[1.0, 1.0], [0.0, 0.0]])], [np.full(2, -9.0), np.array([1.0, 0.0])])
FLAT = affine_chain([np.zeros((2, 2))], [np.array([1.0, 0.0])])
STILL = Region(np.full(2, 0.25), np.full(2, 0.25), np.full(2, 0.25))
MIDDLE = Region(np.full(2, 0.5), np.zeros(2), np.ones(2))
LINE = (affine_chain([np.array([[-1.0, -1.0], [0.0, 0.0]])], [np.array([1.5, 0.0])]), MIDDLE)  # 1.5 - x1 - x2
ONE_CLASS = affine_chain([np.ones((1, 2))], [np.zeros(1)])


NOTHING = {
    "dead neurons": (DEAD, MIDDLE, 2),
    "zero gradient": (FLAT, MIDDLE, 2),
    "nothing moves": (HAND, STILL, 2),
    "nothing at all": (DEAD, STILL, 2),
    "one class": (ONE_CLASS, MIDDLE, 1),
}


def in_turn(name: str, question: int) -> list[Norm]:
    """One of a technique's norms for each question, so that a few questions see all; in a thorough run, all of them."""
    norms = made_for(name)
    return norms if thorough() else [norms[(NAMES.index(name) + question) % len(norms)]]


@pytest.mark.slow
@pytest.mark.thorough
@pytest.mark.parametrize("question", NOTHING)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.fewer
def test_where_there_is_nothing_nothing_is_found(name: str, question: str) -> None:
    graph, region, classes = NOTHING[question]
    for norm in in_turn(name, list(NOTHING).index(question)):
        nothing = problem_of(graph, region, norm, goals_for(0, classes, None, 0.0), BRIEF)
        assert len(ATTACKS[name]().run(nothing).inputs) == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_center_that_is_an_adversary_has_distance_zero(name: str) -> None:
    found = ATTACKS[name]().run(problem_of(HAND, CORNER, Norm.LINF, goals_for(1, 2, None, 0.0), BRIEF))
    assert found.distances[0] == 0.0


@pytest.mark.slow
@pytest.mark.usefixtures("brief_attacks")
@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_gives_the_same_answer(name: str) -> None:
    asked, _, _ = random_problem(np.random.default_rng(4), Norm.LINF)
    problem = problem_of(asked.graph, asked.region, Norm.LINF, asked.goals, BRIEF)
    before = torch.random.get_rng_state()
    first, second = (ATTACKS[name]().run(problem) for _ in range(2))
    assert np.array_equal(first.inputs, second.inputs)
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize("name", NAMES)
def test_no_time_is_no_harm(name: str) -> None:
    options = replace(OPTIONS, time_limit=0.0)
    problem = problem_of(HAND, CORNER, Norm.LINF, goals_for(0, 2, None, 0.0), options)
    assert (ATTACKS[name]().run(problem).distances >= 1 / 8).all()


@pytest.mark.usefixtures("brief_attacks")
@pytest.mark.parametrize("name", NAMES)
def test_a_technique_that_overstates_itself_raises(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    technique = ATTACKS[name]
    genuine = technique.search

    def boasting(self: Attack, batch: AttackBatch, known: Candidates) -> Candidates:
        found = genuine(self, batch, known)
        return Candidates(found.inputs, found.distances * 0.9, found.goal)

    problem = problem_of(*LINE, Norm.LINF, goals_for(0, 2, None, 0.0))
    assert len(technique().run(problem).inputs)
    monkeypatch.setattr(technique, "search", boasting)
    with pytest.raises(SoundnessError, match="claims a distance"):
        technique().run(problem)


def test_what_does_not_win_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    # On the line x1 + x2 must reach 1.5: the first of the two points is short of it.
    def hopeful(self: Attack, batch: AttackBatch, known: Candidates) -> Candidates:
        return Candidates(np.array([[0.7, 0.7], [0.8, 0.8]]), np.array([0.2, 0.3]), np.array([0, 0]))

    monkeypatch.setattr(ATTACKS["fgsm"], "search", hopeful)
    found = ATTACKS["fgsm"]().run(problem_of(*LINE, Norm.LINF, goals_for(0, 2, None, 0.0)))
    assert found.distances == pytest.approx([0.25])


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.fewer(9)
def test_the_answers_do_not_depend_on_which_goals_share_the_batch(name: str) -> None:
    # Random starts do; what the techniques without them find for a goal alone they find for it among others.
    if name in ("pgd", "apgd-ce", "apgd-dlr", "fab", "square", "hopskipjump", "one-pixel"):
        return
    rng = np.random.default_rng(1)
    weights = [rng.normal(size=(6, 3)), rng.normal(size=(4, 6))]
    graph = affine_chain(weights, [rng.normal(size=6), rng.normal(size=4)])
    region = Region(np.full(3, 0.5), np.full(3, -2.0), np.full(3, 3.0))
    goals = goals_for(int(np.argmax(graph.evaluate(region.center))), 4, None, 0.0)
    together = ATTACKS[name]().run(problem_of(graph, region, Norm.LINF, goals, BRIEF)).nearest()
    assert len(together.goal)
    for goal, distance in zip(together.goal, together.distances, strict=True):
        alone = ATTACKS[name]().run(problem_of(graph, region, Norm.LINF, (goals[goal],), BRIEF))
        assert alone.distances[0] == pytest.approx(distance, rel=1e-6)


def test_region_descent_goes_on_from_what_is_known() -> None:
    known = Candidates(np.array([[1.0, 1.0]]), np.array([0.75]), np.array([0]))
    found = RegionDescent().run(problem_of(HAND, CORNER, Norm.LINF, goals_for(0, 2, None, 0.0)), known)
    assert found.distances[0] == pytest.approx(1 / 8, rel=1e-6)


def test_what_is_a_little_short_of_the_boundary_is_not_beyond_it() -> None:
    # y0 - y1 falls from 1/2 at x = 0 to 5e-7 at 0.2, stays there up to 0.7, and falls on: the boundary is just behind.
    steep = (0.5 - 5e-7) / 0.2
    plateau = affine_chain([np.ones((3, 1)), np.array([[-steep, steep, -2.0], [0.0, 0.0, 0.0]])],
                           [np.array([0.0, -0.2, -0.7]), np.array([0.5, 0.0])])  # fmt: skip
    problem = problem_of(plateau, Region(np.zeros(1), np.zeros(1), np.ones(1)), Norm.LINF, goals_for(0, 2, None, 0.0))
    runs = AttackBatch((problem,)).every_goal()
    nearest = to_boundary(runs, torch.ones((1, 1), dtype=torch.float64))
    assert float(runs.worst(nearest)) < 0.0
    assert 0.7 <= float(nearest) < 0.71


def test_the_nearest_adversary_seen_is_kept() -> None:
    # 1.5 - x1 - x2, from the center of the square: the second is nearest, the third farther, the last is none.
    runs = AttackBatch((problem_of(*LINE, Norm.LINF, goals_for(0, 2, None, 0.0)),)).every_goal()
    seen = Nearest.of(runs)
    for point, nearer in (([1.0, 1.0], True), ([0.8, 0.75], True), ([0.9, 0.9], False), ([0.7, 0.7], False)):
        x = torch.tensor([point], dtype=torch.float64)
        assert bool(seen.see(x, runs.worst(x))) is nearer
    assert seen.best.tolist() == [[0.8, 0.75]]
    assert float(seen.distance) == pytest.approx(0.3)


def test_the_first_win_on_a_path_by_hand() -> None:
    # Along the diagonal the boundary is crossed at 1/8.
    problem = problem_of(HAND, CORNER, Norm.LINF, goals_for(0, 2, None, 0.0))
    runs = AttackBatch((problem,)).every_goal()
    found = first_wins(runs, lambda sizes: runs.center + sizes.unsqueeze(-1), torch.full((1,), 0.75))
    assert 1 / 8 <= float(found.distance[0]) <= 1 / 8 + 1e-3


def test_pixel_greedy_changes_one_input_where_one_is_enough() -> None:
    # y0 - y1 = 1 - 3·x1 - 0.9·x2 - 0.9·x3: x1 alone reaches it; without x1, neither does.
    graph = affine_chain([np.array([[-3.0, -0.9, -0.9], [0.0, 0.0, 0.0]])], [np.array([1.0, 0.0])])
    region = Region(np.zeros(3), np.zeros(3), np.ones(3))
    found = ATTACKS["pixel-greedy"]().run(problem_of(graph, region, Norm.LINF, goals_for(0, 2, None, 0.0)))
    assert changed_inputs(found.inputs, region.center).tolist() == [1]
    assert found.inputs[0].tolist() == pytest.approx([1 / 3, 0.0, 0.0], abs=1e-6)


def test_pixels_share_their_channels() -> None:
    assert pixel_of_input((3, 2, 2)).tolist() == [0, 1, 2, 3] * 3
    assert pixel_of_input((5,)).tolist() == [0, 1, 2, 3, 4]
    center = np.zeros(12)
    points = np.zeros((2, 12))
    points[0, [1, 5, 9, 2]] = 1.0  # two pixels, one of them in all channels
    assert changed_pixels(points, center, (3, 2, 2)).tolist() == [2, 0]
    assert changed_inputs(points, center).tolist() == [4, 0]
