"""Exact gradients against intervals, pairs against entries, and the smooth formula against samples.

The net of `opposed` is  f(x) = 1 - relu(x - 0.1) + relu(-x - 0.1) : its slope is -1, 0 or -1, since no x has both
neurons active. Intervals do not see that and say 2; the program says 1.
"""

from __future__ import annotations

import numpy as np
import pytest

from bounds.lower import LowerBoundOptions, LowerBoundProblem
from bounds.lower.base import Sample
from bounds.lower.cross_lipschitz import GlobalCrossLipschitz, LocalCrossLipschitz, quotient, reduced_on
from bounds.lower.exact_cross_lipschitz import ExactCrossLipschitz, exact_slope
from bounds.lower.jacobian import by_pairs, jacobian, longest_sum, steepest
from bounds.lower.smooth import SmoothNet, smooth_cross_lipschitz, steepest_smooth
from bounds.propagation.neuron_bounds import device_graph_for
from encoders.errors import DataError, OptionError
from encoders.layer_graph.graph import Graph, affine_chain
from encoders.question import CONVEX, Norm, Region, goals_for
from tests.brute_force import linear_pieces
from tests.test_trust import random_net


def opposed() -> Graph:
    return affine_chain(
        [np.array([[1.0], [-1.0]]), np.array([[-1.0, 1.0], [0.0, 0.0]])],
        [np.array([-0.1, -0.1]), np.array([1.0, 0.0])],
    )


def sample_of(graph: Graph, region: Region, norm: Norm, predicted: int) -> Sample:
    goals = goals_for(predicted, graph.classes, None, 0.0)
    return Sample(device_graph_for(graph), region, norm, goals, LowerBoundOptions())


@pytest.mark.parametrize("norm", [Norm.LINF, Norm.L1])
def test_states_that_exclude_each_other(norm: Norm) -> None:
    region = Region(np.zeros(1), -np.ones(1), np.ones(1))
    net = reduced_on([sample_of(opposed(), region, norm, 0)], [0.5])[0]
    found = jacobian(net)
    assert steepest(net, found)[0] == pytest.approx(2.0)
    assert exact_slope(net, found, 0, 0.5) == pytest.approx(1.0, rel=1e-5)


def test_the_program_doubles_the_bound_there() -> None:
    region = Region(np.zeros(1), -2 * np.ones(1), 2 * np.ones(1))
    problem = LowerBoundProblem(device_graph_for(opposed()), (region,), (0,), Norm.LINF, (1.1,))
    assert LocalCrossLipschitz().run(problem).distances[0, 1] == pytest.approx(0.5, rel=1e-6)
    assert ExactCrossLipschitz().run(problem).distances[0, 1] == pytest.approx(1.0, rel=1e-4)


@pytest.mark.parametrize("seed", range(4))
def test_the_program_finds_the_steepest_piece(seed: int) -> None:
    rng = np.random.default_rng(seed)
    graph = random_net(rng)
    center = rng.integers(0, 5, size=graph.input_size) / 4
    region = Region(center, np.zeros_like(center), np.ones_like(center))
    sample = sample_of(graph, region, Norm.LINF, int(graph.evaluate(center)[0].argmax()))
    net = reduced_on([sample], [0.3])[0]
    found = jacobian(net)
    ball = Region(center, np.maximum(0.0, center - 0.3), np.minimum(1.0, center + 0.3))
    pieces = linear_pieces(graph, ball)
    goal = sample.goals[0]
    steepest_piece = max(float(np.abs(goal.rows @ piece.known[-1][0]).sum()) for piece in pieces)
    assert exact_slope(net, found, 0, 0.3) == pytest.approx(steepest_piece, rel=1e-4, abs=1e-6)
    assert steepest(net, found)[0] >= steepest_piece * (1 - 1e-9)


@pytest.mark.parametrize("seed", range(8))
def test_both_bounds_of_the_euclidean_norm_hold(seed: int) -> None:
    rng = np.random.default_rng(100 + seed)
    graph = random_net(rng)
    center = rng.random(graph.input_size)
    region = Region(center, np.zeros_like(center), np.ones_like(center))
    sample = sample_of(graph, region, Norm.L2, int(graph.evaluate(center)[0].argmax()))
    net = reduced_on([sample], [0.25])[0]
    found = jacobian(net)
    pairs, whole = by_pairs(net, found), steepest(net, found)
    assert (whole <= pairs).all()
    ball = Region(center, np.maximum(0.0, center - 0.25), np.minimum(1.0, center + 0.25))
    for piece in linear_pieces(graph, ball):
        if np.linalg.norm(piece.inner - center) > 0.25:
            continue
        for k, goal in enumerate(sample.goals):
            assert np.linalg.norm(goal.rows @ piece.known[-1][0]) <= whole[k] * (1 + 1e-9)


def smooth_net(rng: np.random.Generator, sharpness: float) -> SmoothNet:
    hidden, bias = rng.normal(size=(5, 3)), rng.normal(size=5)
    return SmoothNet(hidden, bias, rng.normal(size=(3, 5)), rng.normal(size=3), sharpness)


@pytest.mark.slow
@pytest.mark.parametrize("norm", list(CONVEX))
@pytest.mark.parametrize("sharpness", [1.0, 10.0])
@pytest.mark.fewer
def test_smooth_bounds_hold_at_samples(norm: Norm, sharpness: float) -> None:
    rng = np.random.default_rng(7)
    for _ in range(6):
        net = smooth_net(rng, sharpness)
        center = rng.random(3)
        region = Region(center, np.zeros(3), np.ones(3))
        predicted = int(net.scores(center).argmax())
        found = smooth_cross_lipschitz(net, region, norm, predicted)
        assert found[predicted] == np.inf
        points = rng.random((4000, 3))
        scores = np.array([net.scores(point) for point in points])
        distances = norm.length(points - center)
        for target in range(3):
            crossed = scores[:, target] >= scores[:, predicted]
            if target != predicted and crossed.any():
                assert 0 < found[target] <= distances[crossed].min()


def test_a_smooth_gradient_by_hand() -> None:
    # f = (softplus(x), 0): the slope is 1/2 at 0 and at most expit(1) on [-1, 1]; log 2 / expit(R) ≥ R.
    net = SmoothNet(np.ones((1, 1)), np.zeros(1), np.array([[1.0], [0.0]]), np.zeros(2))
    region = Region(np.zeros(1), -np.ones(1), np.ones(1))
    for norm in Norm:
        assert steepest_smooth(net, region, norm, 0, 1, 1.0) == pytest.approx(1 / (1 + np.exp(-1.0)), rel=1e-6)
        found = smooth_cross_lipschitz(net, region, norm, 0)[1]
        assert found * (1 / (1 + np.exp(-found))) == pytest.approx(np.log(2.0), rel=1e-6)


def test_smooth_weights_must_fit() -> None:
    with pytest.raises(DataError, match="make no net with one hidden layer"):
        SmoothNet(np.ones((2, 1)), np.zeros(2), np.ones((2, 3)), np.zeros(2))
    with pytest.raises(DataError, match="sharpness 0"):
        SmoothNet(np.ones((1, 1)), np.zeros(1), np.ones((2, 1)), np.zeros(2), 0.0)


def test_large_nets_are_refused_by_name() -> None:
    graph = affine_chain([np.ones((40, 2)), np.ones((2, 40))], [np.zeros(40), np.zeros(2)])
    region = Region(np.zeros(2), np.zeros(2), np.ones(2))
    with pytest.raises(OptionError, match="it has 40 ReLUs and 2 inputs; at most 32 and 64"):
        ExactCrossLipschitz().run(LowerBoundProblem(device_graph_for(graph), (region,), (0,), Norm.LINF, (1.0,)))


def test_a_slope_that_overflowed_proves_nothing() -> None:
    assert quotient(np.array([1.0, 1.0, 1.0, 1.0]), np.array([np.nan, np.inf, 0.0, 2.0])).tolist() == pytest.approx(
        [0.0, 0.0, np.inf, 0.5]
    )
    with np.errstate(all="ignore"):
        assert longest_sum(np.array([[1e200, 0.0], [-1e200, 0.0]]), np.ones(2), np.ones(2)) == np.inf


@pytest.mark.parametrize(("inner", "outer"), [(1e-170, 1e150), (1e150, 1e-170)])
def test_squares_that_vanish_are_no_zero_slope(inner: float, outer: float) -> None:
    # y0 - y1 = 1e-21 - 1e-20·x⁺: the tie lies at 0.1.
    graph = affine_chain([np.array([[inner]]), np.array([[-outer], [0.0]])], [np.zeros(1), np.array([1e-21, 0.0])])
    region = Region(np.zeros(1), -np.ones(1), np.ones(1))
    problem = LowerBoundProblem(device_graph_for(graph), (region,), (0,), Norm.L2, (1.0,))
    for technique in (GlobalCrossLipschitz(), LocalCrossLipschitz()):
        assert technique.run(problem).distances[0, 1] <= 0.1
