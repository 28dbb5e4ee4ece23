"""Gurobi beside our own engines: it skips where gurobipy is not installed (extra `peers`)."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.gurobi_peer import GurobiSolver
from encoders.programs.mixed_integer_encoding import encode
from encoders.question import Norm, goals_for
from encoders.solvers.base import SolverOptions, Status
from encoders.solvers.highs import HighsSolver
from tests.encoders.nets import interval_bounds, random_chain, two_two_two, unit_box

pytest.importorskip("gurobipy", reason="gurobipy is not installed (extra `peers`)")


@pytest.mark.parametrize(("norm", "distance"), [(Norm.LINF, 1 / 8), (Norm.L1, 1 / 6)])
def test_the_hand_worked_net(norm: Norm, distance: float) -> None:
    graph, center = two_two_two()
    region = unit_box(center)
    (goal,) = goals_for(0, 2, None, 0.0)
    program = encode(graph, region, norm, goal, interval_bounds(graph, region), np.inf)
    solution = GurobiSolver().solve(program)
    assert solution.status is Status.OPTIMAL
    assert solution.lower == pytest.approx(distance, abs=1e-8)
    nothing = GurobiSolver().solve(program, SolverOptions(cutoff=distance - 1e-4))
    assert nothing.status is Status.INFEASIBLE


@pytest.mark.parametrize("norm", [Norm.LINF, Norm.L1])
@pytest.mark.parametrize("seed", range(4))
def test_the_same_answer_as_from_highs(norm: Norm, seed: int) -> None:
    graph, center = random_chain(seed, (3, 4, 4, 3))
    region = unit_box(center)
    predicted = int(np.argmax(graph.evaluate(center)[0]))
    for goal in goals_for(predicted, 3, None, 0.0):
        program = encode(graph, region, norm, goal, interval_bounds(graph, region), np.inf)
        ours, theirs = HighsSolver().solve(program), GurobiSolver().solve(program)
        assert ours.status == theirs.status
        assert theirs.lower == pytest.approx(ours.lower, abs=1e-7)
