"""Questions that go on from what an earlier attempt left: it is used, never weakened, and never believed too far."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from encoders.deadline import Clock, Stop
from encoders.errors import DataError, SoundnessError
from encoders.layer_graph.graph import affine_chain
from encoders.question import Norm
from tests.draws import draws
from tests.exact_distances import exact_distance
from tests.onnx_builder import to_onnx
from tests.test_trust import random_problem
from tests.test_trust_grid import question, wrong
from verifier.answer import ask, asked
from verifier.batching.request import run_alone
from verifier.engines.registry import engine_for
from verifier.greatest_value import KnownValue
from verifier.margin_answer import Closed, GreatestLoss, KnownLoss, margin_asked, range_asked
from verifier.options import Options
from verifier.question.merging import merged
from verifier.question.model import Model, load
from verifier.question.problem import Known
from verifier.question.results import Basis, Result, Verdict
from verifier.runs.job import known_of
from verifier.runs.journal import record_of

# scores (x1, x2): from (0.75, 0.25) the class changes at 0.25 (L∞).
SWAP = affine_chain([np.eye(2)], [np.zeros(2)])
X = np.array([0.75, 0.25], dtype=np.float32)
ADVERSARY = np.array([0.45, 0.55], dtype=np.float32)
OPTIONS = Options(tolerance=1e-4)


@pytest.fixture
def swap(tmp_path: Path) -> Model:
    return load(to_onnx(SWAP, tmp_path / "swap.onnx"))


def stopped(model: Model, known: Known, radius: float | None = None, options: Options = OPTIONS) -> Result:
    """An answer that nobody had time for: what is known is all there is."""
    clock = Clock(Stop())
    clock.stop.ask()
    return run_alone(asked(model, X, radius, options, None, 0, None, None, clock, known=known))


def test_what_is_known_is_the_least_that_is_answered(swap: Model) -> None:
    for basis in Basis:
        found = stopped(swap, Known(0.2, basis, ADVERSARY, "luck"))
        assert found.verdict is Verdict.UNRESOLVED
        assert (found.lower, found.basis, found.found_by) == (0.2, basis, "luck")
        assert found.upper == pytest.approx(0.3)
    assert stopped(swap, Known()).lower == 0.0


def test_who_proved_what_was_known_is_kept(swap: Model) -> None:
    earlier = Known(0.2, Basis.SOLVER, ADVERSARY, proven_by="highs")
    assert stopped(swap, earlier).proven_by == "highs"
    assert stopped(swap, replace(earlier, proven_by="auto")).proven_by is None  # `engine` says it
    assert merged(stopped(swap, earlier), {}, [], 1e-6).proven_by == "highs"
    assert ask(swap, X, None, OPTIONS, known=earlier).proven_by is None
    line = record_of(stopped(swap, earlier), {})
    assert (line["engine"], line["proven_by"]) == ("auto", "highs")
    assert known_of(line, {}).proven_by == "highs"
    assert known_of({**line, "proven_by": "crown"}, {}).proven_by == "crown"


def test_the_rest_of_the_time_goes_on_from_there(swap: Model) -> None:
    for engine in ("auto", "search", "highs", "splits"):
        found = ask(swap, X, None, replace(OPTIONS, engine=engine), known=Known(0.2, adversary=ADVERSARY))
        assert found.verdict is Verdict.EXACT
        assert 0.2499 <= found.lower <= 0.25 <= found.upper


def test_two_known_sides_that_meet_need_no_more(swap: Model) -> None:
    near = np.array([0.49999, 0.50001], dtype=np.float32)
    assert stopped(swap, Known(0.24999, adversary=near)).verdict is Verdict.EXACT
    assert stopped(swap, Known(0.2, adversary=ADVERSARY), radius=0.3).verdict is Verdict.UNRESOLVED
    assert stopped(swap, Known(adversary=near), radius=0.3).verdict is Verdict.FALSIFIED


def test_an_adversary_is_replayed_before_it_counts(swap: Model) -> None:
    assert stopped(swap, Known(adversary=X)).upper == float("inf")
    assert stopped(swap, Known(adversary=np.array([-5.0, 9.0]))).upper <= 0.75  # clipped, and replayed there
    with pytest.raises(DataError, match="3 inputs does not fit the 2"):
        stopped(swap, Known(adversary=np.zeros(3)))
    with pytest.raises(DataError, match="at least 0"):
        Known(float("nan"))


def test_a_known_bound_above_an_adversary_is_an_alarm(swap: Model) -> None:
    with pytest.raises(SoundnessError, match="alarm"):
        stopped(swap, Known(0.4, adversary=ADVERSARY))
    with pytest.raises(SoundnessError, match="alarm"):  # which this attempt found itself
        ask(swap, X, None, OPTIONS, known=Known(0.4))
    with pytest.raises(SoundnessError, match="alarm"):
        ask(swap, X, 0.3, OPTIONS, known=Known(0.29))


def test_units_constraints_and_grids(swap: Model) -> None:
    scaled = replace(OPTIONS, scale=np.array([0.5, 0.5]))
    found = stopped(swap, Known(0.2, adversary=ADVERSARY), options=scaled)
    assert found.upper == pytest.approx(0.6)
    assert found.adversary is not None
    np.testing.assert_array_equal(found.adversary.input, ADVERSARY)
    grid = replace(OPTIONS, grid=20)
    found = stopped(swap, Known(0.2, Basis.INTEGER, ADVERSARY), options=grid)
    assert (found.lower, found.basis) == (0.2, Basis.INTEGER)
    with pytest.raises(SoundnessError, match="alarm"):
        stopped(swap, Known(0.35, adversary=ADVERSARY), options=grid)


@pytest.mark.slow
@pytest.mark.thorough
@pytest.mark.parametrize("engine", ["search", "auto", "splits", "highs"])
@pytest.mark.usefixtures("quick_attacks")
@pytest.mark.fewer(1)
def test_a_part_of_the_distance_that_is_known_changes_no_answer(engine: str) -> None:
    for seed in range(draws(6, 60)):
        rng = np.random.default_rng(2400 + seed)
        problem, incumbent, _ = random_problem(rng, Norm.LINF)
        exact = exact_distance(problem.graph, problem.region, Norm.LINF, problem.goals)
        known = float(rng.choice([0.3, 0.9, 1.0])) * min(exact, problem.ceiling) * (1 - 1e-9)
        basis = Basis(rng.choice(list(Basis)))
        proof = engine_for(engine).close(
            replace(problem, known=Known(known, basis)), incumbent, lambda running: None
        )  # fmt: skip
        assert known <= proof.lower <= min(exact, problem.ceiling) * (1 + 1e-6) + 1e-9, seed
        if np.isfinite(exact):
            assert proof.lower >= exact - 1e-5 * max(1.0, exact), seed


@pytest.mark.slow
@pytest.mark.thorough
@pytest.mark.parametrize(("engine", "norm"), [("auto", Norm.LINF), ("cpsat", Norm.L1), ("steps", Norm.L2)])
@pytest.mark.fewer(1)
def test_known_levels_change_no_answer(engine: str, norm: Norm, tmp_path: Path) -> None:
    drawn = (question(seed, norm, tmp_path) for seed in range(2500, 2500 + draws(12, 80)))
    for one in filter(None, drawn):
        options = Options(norm=norm, targets=one.targets, margin=one.margin, engine=engine, grid=one.levels)
        lower = min(one.length(one.truth.reached), 9.0)
        turns = asked(
            one.model, one.x, None, options, None, 0, one.mask, None, Clock(), known=Known(lower, Basis.INTEGER)
        )
        assert wrong(one, run_alone(turns), closes=True) is None


def test_known_levels_rest_on_what_was_known(swap: Model) -> None:
    found = ask(swap, X, None, replace(OPTIONS, grid=20, engine="steps", norm=Norm.L1), known=Known(0.2, Basis.SOLVER))
    assert (found.lower, found.basis) == (0.5, Basis.SOLVER)


def test_greatest_values_go_on_too(swap: Model) -> None:
    options = replace(OPTIONS, norm=Norm.LINF)
    worst = np.array([0.70, 0.30], dtype=np.float32)
    known = KnownLoss(KnownValue(-0.2, Basis.SOLVER, worst[None]), {1: -0.25})

    def loss(known: KnownLoss, stop: bool, each: bool = False) -> GreatestLoss:
        clock = Clock(Stop())
        clock.stop.asked = stop
        return run_alone(margin_asked(swap, X, 0.1, options, each=each, clock=clock, known=known))

    found = loss(known, stop=True)
    assert (found.upper, found.basis, found.verdict) == (-0.2, Basis.SOLVER, Closed.UNRESOLVED)
    assert -0.4 - 1e-6 <= found.lower <= -0.3
    each = loss(known, stop=True, each=True)
    assert each.by_target is not None
    assert each.by_target[1][1] == -0.25
    closed = loss(known, stop=False)
    assert closed.verdict is Closed.EXACT
    assert closed.lower == pytest.approx(-0.3, abs=1e-4)
    with pytest.raises(SoundnessError, match="alarm"):
        loss(KnownLoss(KnownValue(-0.45, inputs=worst[None])), stop=True)


def test_ranges_go_on_too(swap: Model) -> None:
    clock = Clock(Stop())
    clock.stop.ask()
    known = KnownValue(-0.6, inputs=np.array([[0.7, 0.3]])), KnownValue(0.9, Basis.SOLVER)
    found = run_alone(range_asked(swap, (1.0, 0.0), OPTIONS, X, 0.1, clock=clock, known=known))
    assert found.least[0] >= 0.6
    assert found.least[1] <= 0.7 + 1e-6
    assert found.greatest[1] <= 0.9
