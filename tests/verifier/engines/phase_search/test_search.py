"""The search's machinery: its arrays, its memory, and that nothing but the time depends on how it is run."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from functools import cache, partial
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch

from bounds.nodes.node_bounds import NodeBounds
from bounds.nodes.records import Nodes, Pass
from bounds.semidefinite.all_layers_bound import raised_by_all_layers
from bounds.tightening.base import Effort
from bounds.tightening.by_all_layers import ByAllLayers
from bounds.tightening.raising import bounded
from encoders.arrays import FloatArray
from encoders.deadline import Deadline
from encoders.question import CONVEX, Norm
from tests.draws import draws, thorough
from tests.exact_distances import exact_distance
from tests.test_trust import TOLERANCE, random_problem
from tests.verifier.engines.phase_search.test_open_nodes import nodes
from verifier.engines.phase_search.adversaries import WitnessOptions
from verifier.engines.phase_search.all_layers_choice import AllLayersChoice, Use
from verifier.engines.phase_search.ball_schedule import BallSchedule
from verifier.engines.phase_search.open_nodes import OpenNodes
from verifier.engines.phase_search.search import Search, SearchOptions
from verifier.engines.phase_search.stage import Stage
from verifier.question.incumbent import By, Incumbent
from verifier.question.problem import Running

pytestmark = pytest.mark.usefixtures("quick_attacks")

SEEDS = range(700, 712)


def test_a_tree_that_is_closing_is_gone_on_with(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Search, "_may_retreat", lambda self, stage: True)
    failed: list[float] = []
    genuine = BallSchedule.after_failed

    def after_failed(balls: BallSchedule, proven: float, reach: float) -> None:
        failed.append(balls.radius)
        genuine(balls, proven, reach)

    monkeypatch.setattr(BallSchedule, "after_failed", after_failed)
    options = SearchOptions(
        patience=1, batch=2, program_share=0.0, effort=Effort(rounds=0), steps=0, shallow_steps=0, root_steps=0
    )
    retreats = []
    for largest in (1.0, 1e9):
        monkeypatch.setattr("verifier.engines.phase_search.search.LARGEST_TREE", largest)
        for seed in (707, 723, 728):
            problem, incumbent, _ = random_problem(np.random.default_rng(seed), Norm.LINF)
            search = Search(problem, incumbent, lambda running: None, options)
            search.run()
            assert search.finished
        retreats.append(len(failed))
        failed.clear()
    assert retreats[1] < retreats[0], "trees that have closed nothing are still given up"


def test_a_tree_that_closed_half_in_three_patiences_may_have_three_more() -> None:
    problem, incumbent, _ = random_problem(np.random.default_rng(707), Norm.LINF)
    search = Search(problem, incumbent, lambda running: None, SearchOptions(patience=50))
    roots = replace(nodes(2), share=torch.ones(2, dtype=torch.float64))
    stage = SimpleNamespace(frontier=OpenNodes(roots))
    stage.frontier.push(roots, torch.tensor([1.0, 2.0]), torch.zeros(2, dtype=torch.int64))
    too_large = partial(Search._too_large, search, cast(Stage, stage))
    assert not too_large(149, 4.0)  # of four roots two are left: 298 nodes in all
    assert too_large(151, 4.0)
    assert too_large(51, 2.0), "nothing has closed"


def answer(seed: int, norm: Norm, options: SearchOptions, turns: float | None = None) -> tuple[float, float, int]:
    """Lower, upper and nodes of one random problem; in short turns where `turns` says so."""
    problem, incumbent, _ = random_problem(np.random.default_rng(seed), norm)
    search = Search(problem, incumbent, lambda running: None, options)
    proof = search.run() if turns is None else search.run(turns)
    while turns is not None and not search.finished:
        turns *= 2
        proof = search.run(turns)
    return proof.lower, incumbent.upper, proof.nodes


@cache
def usual_answer(seed: int, norm: Norm) -> tuple[float, float, int]:
    """The answer without any option, which every other way is held against: found once."""
    return answer(seed, norm, SearchOptions())


def cases() -> list[tuple[int, Norm]]:
    """Some seeds, in one norm after the other; in a thorough run, all of them in all norms."""
    norms = list(CONVEX)
    return [(seed, norm) for seed in SEEDS for norm in norms] if thorough() else [*zip(SEEDS, 2 * norms, strict=False)]


@pytest.mark.slow
@pytest.mark.thorough
@pytest.mark.parametrize(
    "options",
    [
        SearchOptions(batch=2),
        SearchOptions(batch=1024, patience=1),
        SearchOptions(memory=0),
        SearchOptions(program_share=0.0),
        SearchOptions(program_worth=0.0, effort=Effort(rounds=0), steps=0),  # every node has its program
        SearchOptions(witnesses=WitnessOptions(scout_after=0.0, scout_share=1.0)),
        SearchOptions(effort=Effort(rounds=0), steps=1, shallow_steps=1),
    ],
    ids=[
        "small batches",
        "large batches, no patience",
        "no memory",
        "no cap",
        "no programs",
        "a program for every node",
        "attacks from the start",
    ],
)
@pytest.mark.fewer(1)
def test_the_answer_does_not_depend_on_how_it_is_found(options: SearchOptions) -> None:
    for seed, norm in cases():
        usual, other = usual_answer(seed, norm), answer(seed, norm, options)
        if np.isinf(usual[1]):
            assert np.isinf(other[1])
            continue
        assert other[0] == pytest.approx(usual[0], abs=2 * TOLERANCE * max(1.0, usual[1]))
        assert other[1] == pytest.approx(usual[1], abs=2 * TOLERANCE * max(1.0, usual[1]))


@pytest.mark.slow
@pytest.mark.thorough
def test_looking_ahead_changes_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = [usual_answer(seed, norm) for seed, norm in cases()]
    monkeypatch.setattr("verifier.engines.phase_search.search.LARGE_NET", 0)
    monkeypatch.setattr("verifier.engines.phase_search.look_ahead.MANY_PHASES", -1)
    found = [answer(seed, norm, SearchOptions()) for seed, norm in cases()]
    for one, other in zip(found, expected, strict=True):
        if np.isfinite(other[1]):
            assert one[:2] == pytest.approx(other[:2], abs=2 * TOLERANCE * max(1.0, other[1]))
        else:
            assert np.isinf(one[1])


@pytest.mark.slow
@pytest.mark.parametrize("steps", [5, 60])
@pytest.mark.fewer(1)
def test_products_wherever_they_fit_change_no_answer(steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = [usual_answer(seed, Norm.LINF) for seed in SEEDS[:6]]
    monkeypatch.setattr("verifier.engines.phase_search.search.LARGE_NET", 0)
    monkeypatch.setattr(ByAllLayers, "applies", lambda engine, effort: engine.stack.open_phases > 0)
    used = []

    def counted(*arguments: Any) -> tuple[Nodes, Pass]:
        used.append(len(arguments[1]))
        return raised_by_all_layers(*arguments)

    monkeypatch.setattr("bounds.tightening.by_all_layers.raised_by_all_layers", counted)
    effort = Effort(all_layers_steps=steps, envelope_steps=0, one_layer_steps=0)
    hasty = SearchOptions(effort=effort, root_steps=0, steps=0, shallow_steps=0, program_share=0.0)
    found = [answer(seed, Norm.LINF, hasty) for seed in SEEDS[:6]]
    assert sum(used) > 3
    for one, other in zip(found, expected, strict=True):
        if np.isfinite(other[1]):
            assert one[:2] == pytest.approx(other[:2], abs=2 * TOLERANCE * max(1.0, other[1]))
        else:
            assert np.isinf(one[1])


@pytest.mark.parametrize("use", list(Use))
def test_whatever_trees_are_bounded_by_the_answer_is_the_same(use: Use, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = [usual_answer(seed, Norm.LINF) for seed in SEEDS[:4]]
    monkeypatch.setattr(ByAllLayers, "applies", lambda engine, effort: bool(effort.all_layers_steps))
    uses: list[Use] = []

    def chosen(self: AllLayersChoice) -> Use:
        uses.append(use)
        return use

    monkeypatch.setattr(AllLayersChoice, "next", chosen)
    weak = Effort(all_layers_steps=4, envelope_steps=0, one_layer_steps=0, rounds=1)
    hasty = SearchOptions(effort=weak, root_steps=0, steps=0, shallow_steps=0, program_share=0.0)
    for seed, (lower, upper, _) in zip(SEEDS[:4], expected, strict=True):
        found = answer(seed, Norm.LINF, hasty)
        assert found[:2] == pytest.approx((lower, upper), abs=2 * TOLERANCE * max(1.0, upper))
    assert uses


@pytest.mark.thorough
@pytest.mark.release
def test_looking_ahead_by_products_is_true_on_both_sides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("verifier.engines.phase_search.search.LARGE_NET", 0)
    monkeypatch.setattr(ByAllLayers, "applies", lambda engine, effort: engine.stack.open_phases > 0)
    careful = proven = found = 0
    for seed in range(700, 740) if thorough() else (701, 706, 708, 710):
        rng = np.random.default_rng(seed)
        problem, incumbent, _ = random_problem(rng, Norm.LINF)
        region = problem.region
        incumbent.offer(rng.uniform(region.lower, region.upper, size=(50, region.center.size)), "chance")
        if np.isinf(incumbent.upper):
            continue
        search = Search(problem, incumbent, lambda running: None, SearchOptions())
        monkeypatch.setattr(search.witnesses, "scout", lambda *asked: None)
        before = incumbent.upper
        search._look_ahead()
        careful += search.balls.stride < 1.0
        exact = exact_distance(problem.graph, region, problem.norm, problem.goals)
        assert search.proven <= exact * (1 + 1e-9) + 1e-12
        assert incumbent.upper >= exact * (1 - 1e-6)
        proven += search.proven > 0.5 * exact
        found += incumbent.upper < before
        proof = search.run()
        assert proof.lower == pytest.approx(exact, abs=2 * TOLERANCE)
        assert search.balls.radius <= problem.ceiling
    assert min(careful, proven, found) > 0


def test_a_large_net_stopped_at_once_has_proven_what_one_pass_proves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("verifier.engines.phase_search.search.LARGE_NET", 0)
    proven = []
    for seed in SEEDS:
        problem, incumbent, _ = random_problem(np.random.default_rng(seed), Norm.LINF)
        search = Search(problem, incumbent, lambda running: None, SearchOptions())
        search._look_ahead()
        exact = exact_distance(problem.graph, problem.region, problem.norm, problem.goals)
        assert search.proven <= exact * (1 + 1e-9) or np.isinf(exact)
        proven.append(search.proven)
    assert max(proven) > 0


def test_a_decision_stopped_before_its_roots_has_proven_what_passes_prove(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ByAllLayers, "applies", lambda engine, effort: engine.stack.open_phases > 0)
    proven = []

    def stopped(search: Search, stage: Stage, part: Nodes, steps: int) -> Any:
        raise InterruptedError

    monkeypatch.setattr(Search, "_ask", stopped)
    for seed in SEEDS:
        problem, incumbent, _ = random_problem(np.random.default_rng(seed), Norm.LINF)
        search = Search(replace(problem, falsify_at=0.0), incumbent, lambda running: None, SearchOptions())
        with suppress(InterruptedError):
            search.run()
        exact = exact_distance(problem.graph, problem.region, problem.norm, problem.goals)
        assert search.proven <= exact * (1 + 1e-9) or np.isinf(exact)
        proven.append(search.proven)
    assert max(proven) > 0


@pytest.mark.release
def test_turns_end_where_one_run_does() -> None:
    for seed in SEEDS:
        whole, turned = usual_answer(seed, Norm.LINF), answer(seed, Norm.LINF, SearchOptions(), 1e-4)
        if np.isfinite(whole[1]):
            assert turned[0] == pytest.approx(whole[0], abs=2 * TOLERANCE)


@pytest.mark.release
def test_batches_back_off_where_the_device_runs_out_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    largest, refused = 4, []

    def small(engine: NodeBounds, part: Nodes, *others: Any) -> tuple[Nodes, Pass]:
        if len(part) > largest and bool((part.phase != 0).any()):
            refused.append(len(part))
            raise torch.OutOfMemoryError("none left")
        return bounded(engine, part, *others)

    # Without the cap and programs these nets need trees wide enough to be refused.
    effort = Effort(rounds=0, fine_steps=0)
    options = SearchOptions(effort=effort, steps=0, shallow_steps=0, root_steps=0, program_share=0.0)
    expected = [answer(seed, Norm.LINF, options) for seed in SEEDS[6:]]
    monkeypatch.setattr("verifier.batching.node_request.bounded", small)
    found = [answer(seed, Norm.LINF, options) for seed in SEEDS[6:]]
    assert refused
    for one, other in zip(found, expected, strict=True):
        assert one[:2] == pytest.approx(other[:2], abs=2 * TOLERANCE) or np.isinf(other[1])


def test_memory_that_never_suffices_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*anything: Any) -> tuple[Nodes, Pass]:
        raise torch.OutOfMemoryError("none left")

    problem, incumbent, _ = random_problem(np.random.default_rng(701), Norm.LINF)
    monkeypatch.setattr("verifier.batching.node_request.bounded", never)
    with pytest.raises(torch.OutOfMemoryError):
        Search(problem, incumbent, lambda running: None, SearchOptions()).run()


def test_both_sides_are_true_whenever_it_is_stopped() -> None:
    for seed in SEEDS:
        problem, incumbent, _ = random_problem(np.random.default_rng(seed), Norm.LINF)
        exact = exact_distance(problem.graph, problem.region, problem.norm, problem.goals)
        seen: list[tuple[float, float]] = []

        def told(running: Running, seen: list[tuple[float, float]] = seen) -> None:
            seen.append((running.lower, running.upper))

        stopped = replace(problem, deadline=Deadline.after(0.02))
        proof = Search(stopped, incumbent, told, SearchOptions()).run()
        for lower, upper in [*seen, (proof.lower, incumbent.upper)]:
            assert lower <= exact + 2e-8 or np.isinf(exact)
            assert upper >= exact - 2e-8
        assert [lower for lower, _ in seen] == sorted(lower for lower, _ in seen)


@pytest.mark.slow
def test_a_bound_that_is_not_a_number_closes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(engine: NodeBounds, part: Nodes, *others: Any) -> tuple[Nodes, Pass]:
        part, seen = bounded(engine, part, *others)
        distance = seen.distance.clone()
        distance[::2] = torch.nan
        return part, replace(seen, distance=distance)

    monkeypatch.setattr("verifier.batching.node_request.bounded", broken)
    for seed in SEEDS:
        problem, incumbent, _ = random_problem(np.random.default_rng(seed), Norm.LINF)
        exact = exact_distance(problem.graph, problem.region, problem.norm, problem.goals)
        proof = Search(problem, incumbent, lambda running: None, SearchOptions()).run()
        assert proof.lower <= exact + 2e-8 or np.isinf(exact)
        assert not np.isnan(proof.lower)


class Stuck(Incumbent):
    """Accepts one adversary and no other: attacks that find nothing nearer."""

    def offer(self, candidates: FloatArray, by: By) -> bool:
        return self.best is None and super().offer(candidates, by)


class Deaf(Incumbent):
    """Accepts no adversary at all: as where only real arithmetic has one, in a tie that float32 never meets."""

    def offer(self, candidates: FloatArray, by: By) -> bool:
        return False


@pytest.mark.thorough
@pytest.mark.parametrize("deaf", [True, False])
@pytest.mark.fewer(1)
def test_what_is_cleared_of_each_goal_holds_no_adversary_of_it(deaf: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    # Balls that are given up soon; where no adversary replays, leaves prove less than the ball.
    options = SearchOptions(
        patience=1, batch=2, program_share=0.0, effort=Effort(rounds=0), steps=0, shallow_steps=0, root_steps=0
    )
    asked: list[tuple[float, float]] = []
    unequal: list[bool] = []
    genuine, clear = Search._ask, Search._clear

    def recorded(self: Search, stage: Stage, part: Nodes, steps: int) -> Any:
        if not bool((part.phase != 0).any()):
            asked.append((self.cleared[part.goal.numpy()].max(initial=0.0), stage.target))
        return genuine(self, stage, part, steps)

    def cleared_one_by_one(self: Search, stage: Stage) -> None:
        clear(self, stage)
        unequal.append(bool(np.ptp(self.cleared) > 0))

    monkeypatch.setattr(Search, "_ask", recorded)
    monkeypatch.setattr(Search, "_clear", cleared_one_by_one)
    for seed in range(700, 700 + draws(30, 60)):
        problem, incumbent, _ = random_problem(np.random.default_rng(seed), Norm.LINF)
        if deaf:
            incumbent = Deaf(problem.region, problem.norm, incumbent.replay, incumbent.real, incumbent.wins)
        search = Search(problem, incumbent, lambda running: None, options)
        search.run(0.5)
        for goal, cleared in zip(problem.goals, search.cleared, strict=True):
            exact = exact_distance(problem.graph, problem.region, problem.norm, (goal,))
            assert cleared <= exact + 2e-8 or np.isinf(exact)
    assert all(cleared < target for cleared, target in asked)
    assert any(unequal)


@pytest.mark.slow
def test_what_is_cleared_to_no_number_is_asked_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("verifier.engines.phase_search.search.LARGE_NET", 0)
    monkeypatch.setattr("verifier.engines.phase_search.look_ahead.nearest_possible", lambda *anything: np.nan)
    for seed in SEEDS[:6]:
        problem, incumbent, _ = random_problem(np.random.default_rng(seed), Norm.LINF)
        exact = exact_distance(problem.graph, problem.region, problem.norm, problem.goals)
        search = Search(problem, incumbent, lambda running: None, SearchOptions())
        assert search.run().lower <= exact + 2e-8 or np.isinf(exact)
        search = Search(problem, incumbent, lambda running: None, SearchOptions())
        search.cleared[:] = np.nan
        assert search.run().lower <= exact + 2e-8 or np.isinf(exact)
        assert search.visited >= len(problem.goals)


@pytest.mark.release
def test_no_ball_is_searched_twice_where_no_adversary_replays() -> None:
    effort = Effort(rounds=0)  # weak bounds, so that trees grow and balls retreat
    options = SearchOptions(
        patience=1, batch=2, program_share=0.0, effort=effort, steps=0, shallow_steps=0, root_steps=0
    )
    for seed in (3, 6):
        problem, incumbent, _ = random_problem(np.random.default_rng(seed), Norm.LINF)
        exact = exact_distance(problem.graph, problem.region, problem.norm, problem.goals)
        deaf = Deaf(incumbent.region, Norm.LINF, incumbent.replay, incumbent.real, incumbent.wins)
        search = Search(replace(problem, deadline=Deadline.after(600.0)), deaf, lambda *_: None, options)
        assert search.run().lower <= exact * (1 + 1e-9)
        assert search.finished


@pytest.mark.thorough
@pytest.mark.parametrize("norm", CONVEX)
@pytest.mark.parametrize("programs", [0.0, 0.15])
def test_with_a_wide_tolerance_the_lower_side_is_still_true(norm: Norm, programs: float) -> None:
    # Between the target and the adversary known nothing is searched, so nothing may be claimed there either: the net
    # asked first shows it where something is.
    tolerance, tested, enough = 0.2, 0, draws(2, 180)
    for seed in (40106 if norm is Norm.LINF else 40139, *range(40000, 40180)):
        if tested == enough:
            break
        rng = np.random.default_rng(seed)
        problem, incumbent, _ = random_problem(rng, norm)
        expected = exact_distance(problem.graph, problem.region, norm, problem.goals)
        points = rng.uniform(problem.region.lower, problem.region.upper, size=(4000, problem.region.center.size))
        away = norm.length(points - problem.region.center) - expected
        near = np.flatnonzero(incumbent.wins(incumbent.real(points)) & (away > 1e-3) & (away < 0.45 * tolerance))
        if not 0.02 < expected < np.inf or not near.size:
            continue
        stuck = Stuck(incumbent.region, norm, incumbent.replay, incumbent.real, incumbent.wins)
        if not stuck.offer(points[near[np.abs(away[near] - 0.2 * tolerance).argmin()]], "a test"):
            continue
        tested += 1
        options = SearchOptions(root_steps=1, steps=2, program_worth=programs)
        wide = replace(problem, tolerance=tolerance)
        proof = Search(wide, stuck, lambda running: None, options).run()
        assert proof.lower <= expected + 2e-8
    assert tested >= min(enough, 6)
