"""Attacks that see scores or classes alone, in L0, or after a paper's own form: by hand, and blind to the rest."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import torch
from torch import Tensor

from bounds.attacks import ATTACKS, AttackBatch, AttackOptions, AttackProblem, Candidates
from bounds.attacks.fgsm import one_step
from bounds.attacks.hopskipjump import HopSkipJump
from bounds.attacks.ilcm import Ilcm, least_likely, towards
from bounds.attacks.square import bump_in, plane, side_of, window
from bounds.propagation.device_graph import DeviceGraph
from encoders.layer_graph.graph import Graph, affine_chain
from encoders.question import Norm, Region, goals_for

OPTIONS = AttackOptions(restarts=6, steps=10)
CLASSES_ALONE = ("hopskipjump",)
NO_GRADIENT = ("square", "hopskipjump", "one-pixel")
MADE_FOR_L0 = [name for name in ATTACKS if Norm.L0 in ATTACKS[name].norms]


def problem(graph: Graph, region: Region, norm: Norm, options: AttackOptions = OPTIONS) -> AttackProblem:
    scores = graph.evaluate(region.center)[0]
    goals = goals_for(int(np.argmax(scores)), len(scores), None, 0.0)
    return AttackProblem(DeviceGraph(graph), region, norm, goals, region.reach(norm), options)


def linear(*rows: list[float], bias: list[float]) -> Graph:
    return affine_chain([np.array(rows)], [np.array(bias)])


def cube(center: list[float]) -> Region:
    return Region(np.array(center), np.zeros(len(center)), np.ones(len(center)))


RNG = np.random.default_rng(5)
NET = affine_chain([RNG.normal(size=(8, 6)), RNG.normal(size=(3, 8))], [RNG.normal(size=8), RNG.normal(size=3)])
SAMPLE = Region(np.full(6, 0.5), np.full(6, -2.0), np.full(6, 3.0))


@pytest.mark.parametrize("norm", [Norm.LINF, Norm.L2])
@pytest.mark.parametrize("name", NO_GRADIENT)
@pytest.mark.fewer
def test_no_gradient_is_asked_for(name: str, norm: Norm, monkeypatch: pytest.MonkeyPatch) -> None:
    genuine = DeviceGraph.forward

    def forward(self: DeviceGraph, x: Tensor) -> Tensor:
        if x.requires_grad or torch.is_grad_enabled():
            raise RuntimeError("somebody differentiates this network")
        return genuine(self, x)

    def gradient(self: DeviceGraph, values: object, rows: Tensor) -> Tensor:
        raise RuntimeError("somebody differentiates this network")

    monkeypatch.setattr(DeviceGraph, "forward", forward)
    monkeypatch.setattr(DeviceGraph, "gradient", gradient)
    assert len(ATTACKS[name]().run(problem(NET, SAMPLE, norm)).inputs)
    with pytest.raises(RuntimeError, match="differentiates"):
        ATTACKS["fgsm"]().run(problem(NET, SAMPLE, norm))


@pytest.mark.parametrize("norm", [Norm.LINF, Norm.L2])
@pytest.mark.parametrize("name", CLASSES_ALONE)
@torch.no_grad()
def test_of_the_scores_only_the_class_is_seen(name: str, norm: Norm, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = AttackBatch((problem(NET, SAMPLE, norm),))
    seen = ATTACKS[name]().search(batch, Candidates.none(6))
    genuine = DeviceGraph.forward

    def forward(self: DeviceGraph, x: Tensor) -> Tensor:
        return torch.nn.functional.one_hot(genuine(self, x).argmax(1), 3).to(torch.float64)

    monkeypatch.setattr(DeviceGraph, "forward", forward)
    blind = ATTACKS[name]().search(batch, Candidates.none(6))
    assert len(seen.inputs)
    assert np.array_equal(seen.inputs, blind.inputs)
    assert np.array_equal(seen.goal, blind.goal)


def test_hopskipjump_names_the_goal_of_the_class_it_found() -> None:
    # From 1/2, class 0 up to 0.7 in x1, class 2 from there; class 1 nowhere.
    graph = linear([0.0, 0.0], [0.0, 0.0], [1.0, 0.0], bias=[0.7, -9.0, 0.0])
    found = HopSkipJump().run(problem(graph, cube([0.5, 0.5]), Norm.L2))
    assert set(found.goal) == {1}  # the goals are classes 1 and 2
    assert found.distances[0] == pytest.approx(0.2, rel=1e-3)


# -- L0 ---------------------------------------------------------------------------------------------------------------

# y0 - y1 = 1.5 - x1 - x2 - 0.9·x3 - …: no single input reaches it, any of two pairs with x1 or x2 do.
TWO = linear([-1.0, -1.0, -0.9, -0.2], [0.0] * 4, bias=[1.5, 0.0])


@pytest.mark.parametrize("name", MADE_FOR_L0)
def test_fewest_inputs_by_hand(name: str) -> None:
    found = ATTACKS[name]().run(problem(TWO, cube([0.0] * 4), Norm.L0, AttackOptions(steps=24)))
    assert found.distances[0] == 2.0
    assert (found.inputs[0] != 0).sum() == 2


@pytest.mark.parametrize("name", MADE_FOR_L0)
def test_pixels_count_once_whatever_their_channels_do(name: str) -> None:
    # Six inputs are three pixels of two channels; both channels of the last are needed, and no other pixel will do.
    graph = linear([-0.2, -0.2, -1.0, -0.2, -0.2, -1.0], [0.0] * 6, bias=[1.8, 0.0])
    region = Region(np.zeros(6), np.zeros(6), np.ones(6), np.array([0, 1, 2, 0, 1, 2]))
    found = ATTACKS[name]().run(problem(graph, region, Norm.L0, AttackOptions(steps=24)))
    assert found.distances[0] == 1.0
    assert set(np.flatnonzero(found.inputs[0])) == {2, 5}
    by_input = Region(np.zeros(6), np.zeros(6), np.ones(6))
    assert ATTACKS[name]().run(problem(graph, by_input, Norm.L0, AttackOptions(steps=24))).distances[0] == 2.0


def fewest_by_trying(asked: AttackProblem) -> int:
    """How many inputs of a linear net must move: every set of them, each input at the side that helps."""
    weights = asked.device_graph.graph.evaluate(np.eye(4)) - asked.device_graph.graph.evaluate(np.zeros(4))
    for count in range(5):
        for chosen in combinations(range(4), count):
            for goal in asked.goals:
                slope = (goal.rows @ weights.T)[0]
                x = asked.region.center.copy()
                at = list(chosen)
                x[at] = np.where(slope[at] > 0, asked.region.lower[at], asked.region.upper[at])
                if float((goal.rows @ asked.device_graph.graph.evaluate(x)[0] + goal.offset)[0]) <= 0:
                    return count
    return 5


@pytest.mark.parametrize("name", MADE_FOR_L0)
def test_no_count_is_below_brute_force(name: str) -> None:
    reached = 0
    for seed in range(6):
        rng = np.random.default_rng(seed)
        asked = problem(affine_chain([rng.normal(size=(3, 4))], [rng.normal(size=3)]), cube([0.5] * 4), Norm.L0)
        found, fewest = ATTACKS[name]().run(asked), fewest_by_trying(asked)
        assert (found.distances >= fewest).all()
        reached += bool(len(found.distances)) and found.distances[0] == fewest
    assert reached >= 4


# -- forms of papers --------------------------------------------------------------------------------------------------


def test_carlini_wagner_in_linf_has_its_own_form() -> None:
    # 1 - 3·x1 - x2: nearest in L∞ both move 1/4; nearest in L2 is (0.3, 0.1).
    graph = linear([-3.0, -1.0], [0.0, 0.0], bias=[1.0, 0.0])
    found = ATTACKS["carlini-wagner"]().run(problem(graph, cube([0.0, 0.0]), Norm.LINF, AttackOptions()))
    assert 0.25 <= found.distances[0] * (1 + 1e-12) <= 0.26


def test_lbfgs_finds_the_nearest_of_a_linear_net() -> None:
    # 2 - 3·x - 4·y: 2/5; with y held to 1/4, 5/12.
    graph = linear([-3.0, -4.0], [0.0, 0.0], bias=[2.0, 0.0])
    found = ATTACKS["l-bfgs"]().run(problem(graph, cube([0.0, 0.0]), Norm.L2))
    assert found.distances[0] == pytest.approx(0.4, rel=1e-3)
    held = Region(np.zeros(2), np.zeros(2), np.array([1.0, 0.25]))
    nearest = ATTACKS["l-bfgs"]().run(problem(graph, held, Norm.L2)).distances[0]
    assert 5 / 12 <= nearest * (1 + 1e-9) <= 1.05 * 5 / 12


# y0 = 1/2, y1 = x1, y2 = 2·x2 - 1 at (0, 0): class 1 is nearer, class 2 the least likely.
THREE = linear([0.0, 0.0], [1.0, 0.0], [0.0, 2.0], bias=[0.5, 0.0, -1.0])


def test_ilcm_walks_to_the_least_likely_class() -> None:
    asked = problem(THREE, cube([0.0, 0.0]), Norm.LINF)
    found = Ilcm().run(asked)
    assert set(found.goal) == {1}
    assert found.distances[0] == pytest.approx(0.75, rel=1e-6)
    assert ATTACKS["pgd"]().run(asked).distances[0] == pytest.approx(0.5, rel=1e-6)
    assert least_likely(AttackBatch((asked,)).every_goal()).tolist() == [2, 2]


@pytest.mark.parametrize("norm", [Norm.LINF, Norm.L1, Norm.L2])
def test_ilcm_does_not_lose_to_its_first_step(norm: Norm) -> None:
    asked = problem(NET, SAMPLE, norm)
    runs = AttackBatch((asked,)).every_goal()
    with torch.no_grad():
        first = one_step(runs, towards(runs, least_likely(runs), runs.start)[1])
    assert len(first.inputs)
    assert Ilcm().run(asked).distances[0] <= first.distances[0] * (1 + 1e-9)


# -- what squares are made of -----------------------------------------------------------------------------------------


def test_squares_lie_inside_and_bumps_fall_from_their_middle() -> None:
    drawn = torch.tensor([[-1.0, -1.0], [0.999, 0.999], [0.0, 0.5]], dtype=torch.float64)
    here = window(drawn, (3, 3), 5, 7)
    assert here.sum((1, 2)).tolist() == [9, 9, 9]
    assert bool(here[0, :3, :3].all())
    assert bool(here[1, 2:, 4:].all())
    bump = bump_in(here.unsqueeze(1))[0, 0]
    assert bump[:3, :3].tolist() == [[1, 2, 1], [2, 4, 2], [1, 2, 1]]
    assert float(bump.sum()) == 16.0


def test_what_is_no_image_is_one_row() -> None:
    assert plane((3, 8, 9)) == (3, 8, 9)
    assert plane((8, 9)) == (1, 8, 9)
    assert plane((64,)) == plane((64, 1)) == (1, 1, 64)
    assert side_of(0.25, 1, 64, 1) == (1, 16)
    assert side_of(0.25, 8, 8, 1) == (4, 4)
    assert side_of(0.0001, 8, 8, 1) == (1, 1)
    assert side_of(0.0001, 8, 8, 3) == (3, 3)
    assert side_of(0.0001, 2, 8, 3) == (2, 2)
