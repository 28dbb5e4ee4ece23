"""Samples attacked in one batch: each gets what it would get alone, and nothing false passes for any of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from bounds.attacks import ATTACKS, Attack, AttackBatch, AttackOptions, AttackProblem, Candidates
from bounds.attacks.batch import MOST_SAMPLES, fitting
from bounds.attacks.portfolio import attack_together, walked
from bounds.propagation.device_graph import DeviceGraph
from encoders.errors import SoundnessError
from encoders.layer_graph.graph import affine_chain
from encoders.question import CONVEX, Norm, Region, goals_for
from tests.draws import thorough

pytestmark = pytest.mark.usefixtures("patient_attacks", "brief_attacks", "few_weights")


@pytest.fixture
def few_weights(brief_attacks: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two weights or thresholds, one after the other, are as many as a batch can go wrong with."""
    if not thorough():
        monkeypatch.setattr("bounds.attacks.carlini_wagner.WEIGHTS", 2)
        monkeypatch.setattr("bounds.attacks.carlini_wagner_linf.THRESHOLDS", 2)
        monkeypatch.setattr("bounds.attacks.lbfgs.WEIGHTS", 2)


OPTIONS = AttackOptions(restarts=3, steps=5)
# Steps that are halved, sparse, mixed, or down a softmax that is nearly flat make more of rounding.
WITHIN = {"apgd-ce": 0.1, "apgd-dlr": 0.1, "fab": 0.01, "ilcm": 0.02}
RNG = np.random.default_rng(14)
WEIGHTS = [RNG.normal(size=(8, 5)), RNG.normal(size=(6, 8)), RNG.normal(size=(4, 6))]
NET = DeviceGraph(affine_chain(WEIGHTS, [RNG.normal(size=len(w)) for w in WEIGHTS]))

# y0 - y1 = x1 + x2 - 1
SUM = DeviceGraph(affine_chain([np.array([[1.0, 1.0], [0.0, 0.0]])], [np.array([-1.0, 0.0])]))


def sample(
    center: np.ndarray, lower: np.ndarray, upper: np.ndarray, norm: Norm, predicted: int | None
) -> AttackProblem:
    region = Region(center, lower, upper)
    if predicted is None:
        predicted = int(np.argmax(NET.graph.evaluate(center)))
    return AttackProblem(NET, region, norm, goals_for(predicted, 4, None, 0.0), region.reach(norm), OPTIONS)


def samples(norm: Norm) -> list[AttackProblem]:
    """Easy and hard ones, in boxes of their own; one misclassified, one with fixed inputs, one that cannot move."""
    rng = np.random.default_rng(2)
    wide = [sample(c, np.full(5, -3.0), np.full(5, 4.0), norm, None) for c in rng.uniform(0, 1, (3, 5))]
    center = rng.uniform(0, 1, 5)
    other = (int(np.argmax(NET.graph.evaluate(center))) + 1) % 4
    wrong = sample(center, np.zeros(5), np.ones(5), norm, other)
    still = np.array([True, False, True, False, False])
    fixed = sample(center, np.where(still, center, -5.0), np.where(still, center, 5.0), norm, None)
    stuck = sample(center, center, center, norm, None)
    return [*wide, wrong, fixed, stuck]


def assert_same(together: list[Candidates], alone: list[Candidates], within: float = 1e-6) -> None:
    """Each sample's nearest adversary is as far; sums in batches of another size are rounded otherwise, no more."""
    assert [len(found.inputs) > 0 for found in together] == [len(found.inputs) > 0 for found in alone]
    for one, other in zip(together, alone, strict=True):
        assert one.distances[:1] == pytest.approx(other.distances[:1], rel=within, abs=1e-10)


@pytest.mark.parametrize("norm", list(CONVEX))
@pytest.mark.parametrize("name", list(ATTACKS))
def test_a_batch_finds_what_its_samples_find_alone(name: str, norm: Norm) -> None:
    problems = samples(norm)
    alone = [ATTACKS[name]().run(problem) for problem in problems]
    within = WITHIN.get(name, 1e-6)
    assert_same(ATTACKS[name]().together(problems), alone, within)
    assert_same(ATTACKS[name]().together(problems[::-1])[::-1], alone, within)
    assert alone[3].distances[0] == 0.0
    assert not len(alone[5].inputs)
    assert sum(len(found.inputs) > 0 for found in alone) >= 4


@pytest.mark.slow
@pytest.mark.parametrize("norm", list(CONVEX))
def test_the_portfolio_finds_the_same_for_many(norm: Norm) -> None:
    problems = samples(norm)
    # One is asked for a radius that it has a witness for at once, one has no time: both drop out, the others go on.
    problems[0] = replace(problems[0], radius=0.99 * problems[0].most)
    problems[1] = replace(problems[1], options=replace(OPTIONS, time_limit=0.0))
    alone = [attack_together([problem])[0] for problem in problems]
    assert_same(attack_together(problems), alone, WITHIN["fab"])
    assert not len(alone[1].inputs)
    assert set(alone[0].by) == {"fab"}
    assert (
        {"fab", "shrinking-pgd"}
        <= {str(name) for found in alone for name in found.by}
        <= {"fab", "shrinking-pgd", "polish"}
    )


@pytest.mark.parametrize("norm", list(CONVEX))
def test_every_candidate_of_a_batch_belongs_to_its_sample(norm: Norm) -> None:
    problems = samples(norm)
    for problem, found in zip(problems, walked(problems), strict=True):
        region = problem.region
        assert ((found.inputs >= region.lower) & (found.inputs <= region.upper)).all()
        assert (found.distances == norm.length(found.inputs - region.center)).all()
        assert (np.diff(found.distances) >= 0).all()
        for x, kind in zip(found.inputs, found.goal, strict=True):
            goal, scores = problem.goals[kind], NET.graph.evaluate(x)[0]
            assert (goal.rows @ scores + goal.offset <= 1e-9).all()


def test_a_claim_that_is_false_for_one_sample_of_a_batch_is_an_alarm(monkeypatch: pytest.MonkeyPatch) -> None:
    problems = samples(Norm.LINF)
    genuine = ATTACKS["fab"].search

    def boasting(self: Attack, batch: AttackBatch, known: Candidates) -> Candidates:
        found = genuine(self, batch, known)
        share = np.where(batch.sample_of(found.goal) == 2, 0.9, 1.0)
        return Candidates(found.inputs, found.distances * share, found.goal)

    monkeypatch.setattr(ATTACKS["fab"], "search", boasting)
    assert len(ATTACKS["fab"]().together(problems[:2])[1].inputs)
    with pytest.raises(SoundnessError, match="claims a distance"):
        ATTACKS["fab"]().together(problems)


def test_a_distance_is_measured_from_its_own_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    # The adversary of the first sample lies on the second: as the second's it would be at distance zero, and is none.
    goals = goals_for(0, 2, None, 0.0)
    boxes = [Region(np.full(2, c), np.zeros(2), np.ones(2)) for c in (0.75, 0.625)]
    problems = [AttackProblem(SUM, box, Norm.LINF, goals, 1.0, OPTIONS) for box in boxes]

    def lying(self: Attack, batch: AttackBatch, known: Candidates) -> Candidates:
        return Candidates(np.array([[0.625, 0.25]]), np.array([0.0]), np.array([1]))

    assert [f.distances[0] for f in ATTACKS["fab"]().together(problems)] == pytest.approx([0.25, 0.125])
    monkeypatch.setattr(ATTACKS["fab"], "search", lying)
    with pytest.raises(SoundnessError, match="claims a distance"):
        ATTACKS["fab"]().together(problems)


def test_questions_of_different_kinds_go_into_batches_of_their_own() -> None:
    problems = samples(Norm.LINF)
    mixed = [
        problems[0],
        replace(problems[1], norm=Norm.L1),
        replace(problems[2], goals=problems[2].goals[:1]),
        replace(problems[2], goals=()),
        replace(problems[2], options=replace(OPTIONS, restarts=0)),
        problems[4],
    ]
    assert_same(ATTACKS["fab"]().together(mixed), [ATTACKS["fab"]().run(problem) for problem in mixed])
    with pytest.raises(SoundnessError, match="different kinds"):
        AttackBatch(tuple(mixed))


def test_the_time_of_a_batch_is_that_of_its_samples() -> None:
    limited = [replace(problem, options=replace(OPTIONS, time_limit=2000.0)) for problem in samples(Norm.LINF)[:3]]
    assert 5000.0 < AttackBatch(tuple(limited)).time_left <= 6000.0
    assert limited[0].after(500.0).limit == 1500.0
    assert limited[0].after(3000.0).limit == 0.0
    assert samples(Norm.LINF)[0].after(3.0).limit == float("inf")


def test_noise_is_the_same_for_every_sample() -> None:
    batch = AttackBatch(tuple(samples(Norm.LINF)[:2]))
    first, second = batch.noise(torch.Generator().manual_seed(3), 4, 5).chunk(2)
    alone = AttackBatch(batch.problems[:1]).noise(torch.Generator().manual_seed(3), 4, 5)
    assert torch.equal(first, second)
    assert torch.equal(first, alone)
    assert float(first.min()) >= -1.0


def test_how_many_samples_fit() -> None:
    assert fitting(NET, 3, OPTIONS) == MOST_SAMPLES
    assert fitting(NET, 3, replace(OPTIONS, restarts=10**6)) == 1
