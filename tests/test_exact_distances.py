"""The table of exact distances: what it keeps is what brute force finds, and it answers no other question."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from encoders.layer_graph.graph import Graph, affine_chain
from encoders.question import CONVEX, Goal, Norm, Region, goals_for
from tests import exact_distances
from tests.brute_force import brute_force_distance
from tests.exact_distances import SAME, StaleTableError, digest, exact_distance, exact_greatest, numbers_of, table
from tests.test_trust import random_problem

# y0 - y1 = x - 1/2: from 3/4 the boundary is 1/4 away.
LINE = affine_chain([np.array([[1.0], [0.0]])], [np.array([-0.5, 0.0])])
CENTER = Region(np.array([0.75]), np.zeros(1), np.ones(1))
GOALS = goals_for(0, 2, None, 0.0)


def name_of(graph: Graph, region: Region, norm: Norm, goals: tuple[Goal, ...]) -> str:
    """What the distance of these goals is kept under."""
    return digest(str(norm), graph, region, numbers_of(goals))


@pytest.mark.slow
@pytest.mark.parametrize("norm", CONVEX)
def test_brute_force_finds_again_what_is_kept(norm: Norm) -> None:
    for seed in (1, 2):
        problem, _, _ = random_problem(np.random.default_rng(seed), norm)
        found, _ = brute_force_distance(problem.graph, problem.region, norm, problem.goals)
        (kept,) = table()[name_of(problem.graph, problem.region, norm, problem.goals)]
        assert kept == pytest.approx(found, rel=SAME, abs=SAME)


def test_every_number_of_a_question_is_in_its_name() -> None:
    names = {
        name_of(LINE, CENTER, Norm.LINF, GOALS),
        name_of(LINE, CENTER, Norm.L1, GOALS),
        name_of(LINE, replace(CENTER, upper=np.array([0.9])), Norm.LINF, GOALS),
        name_of(LINE, CENTER, Norm.LINF, goals_for(0, 2, None, 0.25)),
        name_of(affine_chain([np.array([[1.5], [0.0]])], [np.array([-0.5, 0.0])]), CENTER, Norm.LINF, GOALS),
        name_of(affine_chain([np.array([[1.0], [0.0]])], [np.array([-0.25, 0.0])]), CENTER, Norm.LINF, GOALS),
    }
    assert len(names) == 6


def test_what_is_not_kept_is_found_and_what_is_kept_wrongly_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: dict[str, tuple[float, ...]] = {}
    monkeypatch.setattr(exact_distances, "table", lambda: kept)
    monkeypatch.delenv(exact_distances.KEEP, raising=False)
    assert exact_distance(LINE, CENTER, Norm.LINF, GOALS) == pytest.approx(0.25)
    assert list(kept) == [name_of(LINE, CENTER, Norm.LINF, GOALS)]
    kept[next(iter(kept))] = (0.125,)
    assert exact_distance(LINE, CENTER, Norm.LINF, GOALS) == 0.125  # as an ordinary run does
    monkeypatch.setattr(exact_distances, "thorough", lambda: True)
    with pytest.raises(StaleTableError, match="brute force finds"):
        exact_distance(LINE, CENTER, Norm.LINF, GOALS)


def test_a_greatest_value_is_kept_with_the_point_that_attains_it(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: dict[str, tuple[float, ...]] = {}
    monkeypatch.setattr(exact_distances, "table", lambda: kept)
    monkeypatch.delenv(exact_distances.KEEP, raising=False)
    rows = np.array([[-1.0, 1.0]])  # 1/2 - x, in [1/2, 1]
    for radius, greatest in ((0.25, 0.0), (0.125, -0.125)):
        for _ in range(2):  # found, and kept
            found = exact_greatest(LINE, CENTER, Norm.LINF, radius, rows)
            assert (found.lower, found.upper) == pytest.approx((greatest, greatest))
            assert found.point == pytest.approx([0.75 - radius])
    assert len(kept) == 2
    scaled = exact_greatest(LINE, CENTER, Norm.LINF, 0.25, rows, scale=np.array([0.5]))
    held = exact_greatest(LINE, CENTER, Norm.LINF, 0.25, rows, constraints=(np.array([[-1.0]]), np.array([-0.7])))
    assert (scaled.upper, held.upper) == pytest.approx((-0.125, -0.2))
    assert len(kept) == 4
