"""Every technique of the table: by hand, against brute force, in batches, and when it overstates itself.

x1 ─►(+1) h1 ─► relu ─►(-1)─► y0 = 2 - h1⁺ - h2⁺       around x = 0 in [-1, 1]²; y1 = 0
x2 ─►(+1) h2 ─► relu ─►(-1)─┘                            the nearest adversary: L∞ x = (1, 1), at 1; L1 at 2; L2 at √2
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from bounds.lower import LOWER_BOUNDS, LowerBound, LowerBoundOptions, LowerBoundProblem
from bounds.lower.base import Sample
from bounds.lower.cross_lipschitz import operator_norm, reduced_on
from bounds.lower.jacobian import jacobian, steepest
from bounds.propagation.neuron_bounds import device_graph_for
from encoders.arrays import FloatArray
from encoders.errors import OptionError, SoundnessError
from encoders.layer_graph.graph import affine_chain
from encoders.layer_graph.linear_maps import Dense
from encoders.question import CONVEX, Norm, Region, goals_for
from tests.draws import draws
from tests.exact_distances import exact_distance
from tests.test_trust import random_net

HAND = affine_chain([np.eye(2), np.array([[-1.0, -1.0], [0.0, 0.0]])], [np.zeros(2), np.array([2.0, 0.0])])
BOX = Region(np.zeros(2), -np.ones(2), np.ones(2))
EXACT = {Norm.LINF: 1.0, Norm.L1: 2.0, Norm.L2: 2.0**0.5}


@pytest.fixture(autouse=True)
def few_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bound that is too high on a cap is so after the first rounds; more of them only raise what is true."""
    monkeypatch.setattr("bounds.lower.relaxations.CAP_ROUNDS", draws(3, 8))


def one(region: Region, norm: Norm, radius: float, balls: int = 8) -> LowerBoundProblem:
    return LowerBoundProblem(device_graph_for(HAND), (region,), (0,), norm, (radius,), LowerBoundOptions(balls))


@pytest.mark.parametrize("norm", CONVEX)
@pytest.mark.parametrize("name", LOWER_BOUNDS)
@pytest.mark.fewer(9)
def test_two_neurons_by_hand(name: str, norm: Norm) -> None:
    technique, far = LOWER_BOUNDS[name](), 1.5 * EXACT[norm]  # beyond the adversary: nothing hides a bound past it
    if norm not in technique.norms:
        with pytest.raises(OptionError, match=f"has no bound in {norm}"):
            technique.run(one(BOX, norm, far))
        return
    found = technique.run(one(BOX, norm, far, balls=3)).distances
    assert found[0, 0] == np.inf
    assert 0.0 < found[0, 1] <= EXACT[norm] * (1 + 1e-12)
    # The gradient is at most (-1, -1), and everywhere so where both neurons are active: the paper's bound is exact.
    if "lipschitz" in name:
        assert found[0, 1] == pytest.approx(EXACT[norm], rel=1e-6)


def gradient_at(sample: Sample) -> float:
    net = reduced_on([sample], [0.25])[0]
    return float(steepest(net, jacobian(net))[0])


def test_the_local_gradient_by_hand() -> None:
    # At (1/2, 0) within 1/4 the first neuron is active and the second open: the gradient is (-1, [-1, 0]).
    region = Region(np.array([0.5, 0.0]), -np.ones(2), np.ones(2))
    sample = Sample(device_graph_for(HAND), region, Norm.LINF, goals_for(0, 2, None, 0.0), LowerBoundOptions())
    assert gradient_at(sample) == pytest.approx(2.0)
    # With the second input at -1/2 its neuron is off: only one entry is left.
    region = Region(np.array([0.5, -0.5]), -np.ones(2), np.ones(2))
    sample = Sample(device_graph_for(HAND), region, Norm.LINF, goals_for(0, 2, None, 0.0), LowerBoundOptions())
    assert gradient_at(sample) == pytest.approx(1.0)


@pytest.mark.parametrize("norm", CONVEX)
@pytest.mark.parametrize("seed", range(5))
def test_operator_norms_are_upper_bounds(norm: Norm, seed: int) -> None:
    rng = np.random.default_rng(seed)
    weight = rng.normal(size=(int(rng.integers(1, 9)), int(rng.integers(1, 9))))
    bound = operator_norm(Dense(weight).matrix(), norm)
    order = {Norm.LINF: np.inf, Norm.L1: 1, Norm.L2: 2}[norm]
    exact = float(np.linalg.norm(weight, ord=order))
    assert exact <= bound <= 1.2 * exact


@pytest.mark.thorough
@pytest.mark.parametrize("norm", list(CONVEX))
@pytest.mark.parametrize("block", range(draws(1, 2)))
@pytest.mark.parametrize("name", LOWER_BOUNDS)
@pytest.mark.fewer(7)
def test_never_above_brute_force(name: str, block: int, norm: Norm) -> None:
    if norm not in LOWER_BOUNDS[name].norms:
        return
    positive = 0
    # A solver's process a program is slow: fewer nets and balls where one is called.
    few = LOWER_BOUNDS[name].rests_on_solver
    count, balls, steps = (2, 2, 60) if few else (draws(2, 8), draws(4, 6), draws(15, 60))
    options = LowerBoundOptions(balls, steps)
    for seed in range(8 * block, 8 * block + count):
        rng = np.random.default_rng(seed)
        graph = random_net(rng)
        center = rng.integers(0, 5, size=graph.input_size) / 4
        region = Region(center, np.zeros_like(center), np.ones_like(center))
        scores = graph.evaluate(center)[0]
        predicted = int(scores.argmax())
        reach = region.reach(norm)
        problem = LowerBoundProblem(device_graph_for(graph), (region,), (predicted,), norm, (reach,), options)
        found = LOWER_BOUNDS[name]().run(problem).distances[0]
        for goal in goals_for(predicted, graph.classes, None, 0.0):
            target = int(np.argmin(goal.rows[0]))
            exact = exact_distance(graph, region, norm, (goal,))
            assert found[target] <= exact + (1e-7 if norm is Norm.L2 else 1e-9) * max(1.0, exact)
            positive += bool(found[target] > 0)
    assert positive > 0


@pytest.mark.parametrize("norm", CONVEX)
@pytest.mark.parametrize("name", LOWER_BOUNDS)
@pytest.mark.fewer(7)
def test_a_batch_is_its_samples(name: str, norm: Norm) -> None:
    if norm not in LOWER_BOUNDS[name].norms:
        return
    rng = np.random.default_rng(11)
    weights = [rng.normal(size=shape) for shape in ((5, 3), (4, 5), (3, 4))]
    graph = affine_chain(weights, [rng.normal(size=len(w)) for w in weights])
    # Inside the box, at its corner, with an input that may not move, and where the ball reaches nothing.
    regions = [Region(center, np.zeros(3), np.ones(3)) for center in (rng.random(3), np.zeros(3), rng.random(3))]
    regions.append(Region(regions[0].center, np.array([0.0, regions[0].center[1], 0.0]), regions[0].center))
    predicted = tuple(int(graph.evaluate(region.center)[0].argmax()) for region in regions)
    radii, few = (1.0, 2.0, 0.0, 0.05), LowerBoundOptions(balls=2, steps=10)
    device_graph = device_graph_for(graph)
    together = LOWER_BOUNDS[name]().run(
        LowerBoundProblem(device_graph, tuple(regions), predicted, norm, radii, few, together=3)
    )
    for k, (region, radius) in enumerate(zip(regions, radii, strict=True)):
        alone = LOWER_BOUNDS[name]().run(
            LowerBoundProblem(device_graph, (region,), predicted[k : k + 1], norm, (radius,), few)
        )
        np.testing.assert_allclose(together.distances[k], alone.distances[0], rtol=1e-4, atol=1e-9)
        assert together.nearest[k] == together.distances[k].min()


@pytest.mark.parametrize("name", LOWER_BOUNDS)
def test_nothing_may_move(name: str) -> None:
    point = Region(np.zeros(2), np.zeros(2), np.zeros(2))
    assert LOWER_BOUNDS[name]().run(one(point, Norm.LINF, 0.0)).distances[0, 1] == 0.0
    assert LOWER_BOUNDS[name]().run(one(point, Norm.LINF, 0.5)).distances[0, 1] <= 0.5


def test_overstating_raises() -> None:
    class Boastful(LowerBound):
        name = "boastful"

        def _on_balls(self, samples: Sequence[Sample], radii: Sequence[float]) -> list[FloatArray]:
            return [np.full(len(sample.goals), 0.9 * ball) for sample, ball in zip(samples, radii, strict=True)]

    adversaries = np.array([[np.inf, 0.5]])
    with pytest.raises(SoundnessError, match=r"boastful claims 0\.9 for sample 0 and target 1"):
        Boastful().run(one(BOX, Norm.LINF, 1.0), adversaries)
    assert Boastful().run(one(BOX, Norm.LINF, 0.5), adversaries).distances[0, 1] <= 0.5


def test_a_bound_that_is_not_a_number_counts_for_nothing() -> None:
    class Broken(LowerBound):
        name = "broken"

        def _on_balls(self, samples: Sequence[Sample], radii: Sequence[float]) -> list[FloatArray]:
            return [np.full(len(sample.goals), np.nan) for sample in samples]

    assert Broken().run(one(BOX, Norm.LINF, 1.0)).distances[0, 1] == 0.0


def test_options_are_checked() -> None:
    with pytest.raises(OptionError, match="balls 0"):
        LowerBoundOptions(balls=0)
