"""Programs and networks as Pyomo models, solved by a solver that installs from a package."""

from __future__ import annotations

import numpy as np
import pyomo.environ as pyo
import pytest

from encoders.errors import SolverError
from encoders.layer_graph.graph import affine_chain
from encoders.programs.mixed_integer_encoding import encode
from encoders.programs.pyomo_block import network_block, to_pyomo
from encoders.question import Norm, goals_for
from encoders.solvers.base import SolverOptions, Status
from encoders.solvers.highs import HighsSolver
from encoders.solvers.pyomo_solver import STATUS, PyomoSolver
from tests.encoders.nets import interval_bounds, random_chain, two_two_two, unit_box


@pytest.mark.parametrize(("norm", "distance"), [(Norm.LINF, 1 / 8), (Norm.L1, 1 / 6)])
def test_the_hand_worked_net_as_a_pyomo_model(norm: Norm, distance: float) -> None:
    graph, center = two_two_two()
    region = unit_box(center)
    (goal,) = goals_for(0, 2, None, 0.0)
    program = encode(graph, region, norm, goal, interval_bounds(graph, region), np.inf)
    model = to_pyomo(program)
    pyo.SolverFactory("highs").solve(model)
    assert pyo.value(model.distance) == pytest.approx(distance, abs=1e-6)
    assert len(model.columns) == program.columns
    assert len(model.rows) == program.rows


@pytest.mark.parametrize("name", ["highs", "appsi_highs", "gurobi", "appsi_gurobi", "gurobi_direct"])
@pytest.mark.parametrize("norm", [Norm.LINF, Norm.L1])
@pytest.mark.parametrize("seed", range(4))
def test_the_same_answer_as_without_pyomo(name: str, norm: Norm, seed: int) -> None:
    if "gurobi" in name:
        pytest.importorskip("gurobipy", reason="gurobipy is not installed (extra `peers`)")
    graph, center = random_chain(seed, (3, 4, 4, 3))
    region = unit_box(center)
    predicted = int(np.argmax(graph.evaluate(center)[0]))
    direct, through = HighsSolver(), PyomoSolver(name)
    for goal in goals_for(predicted, 3, None, 0.0):
        program = encode(graph, region, norm, goal, interval_bounds(graph, region), np.inf)
        ours, theirs = direct.solve(program), through.solve(program)
        assert ours.status == theirs.status
        assert theirs.lower == pytest.approx(ours.lower, abs=1e-6)


def test_a_network_in_a_model_of_the_users_own() -> None:
    # The largest f1 - f0 of the 2-2-2 net on the unit box, relu(x1 + x2 - 1)/2 + 1/4 - relu(x1 - x2): 3/4 at (1, 1).
    # With x1 + x2 ≤ 1 the first ReLU is 0, and 1/4 is left.
    graph, center = two_two_two()
    bounds = interval_bounds(graph, unit_box(center))
    model = pyo.ConcreteModel()
    model.net = network_block(graph, bounds, np.zeros(2), np.ones(2))
    model.best = pyo.Objective(expr=model.net.outputs[1] - model.net.outputs[0], sense=pyo.maximize)
    pyo.SolverFactory("highs").solve(model)
    assert pyo.value(model.best) == pytest.approx(0.75, abs=1e-6)
    assert [model.net.inputs[i].value for i in range(2)] == pytest.approx([1.0, 1.0], abs=1e-6)
    model.budget = pyo.Constraint(expr=model.net.inputs[0] + model.net.inputs[1] <= 1.0)
    pyo.SolverFactory("highs").solve(model)
    assert pyo.value(model.best) == pytest.approx(0.25, abs=1e-6)


@pytest.mark.parametrize("seed", range(4))
def test_two_networks_share_their_inputs_and_give_their_true_scores(seed: int) -> None:
    one, _ = random_chain(seed, (3, 5, 2))
    two, _ = random_chain(seed + 100, (3, 4, 4, 2))
    region = unit_box(np.full(3, 0.5))
    model = pyo.ConcreteModel()
    model.one = network_block(one, interval_bounds(one, region), region.lower, region.upper)
    model.two = network_block(two, interval_bounds(two, region), region.lower, region.upper)
    model.tie = pyo.Constraint(range(3), rule=lambda m, i: m.one.inputs[i] == m.two.inputs[i])
    model.best = pyo.Objective(expr=model.one.outputs[0] - model.two.outputs[1], sense=pyo.maximize)
    pyo.SolverFactory("highs").solve(model)
    x = np.array([model.one.inputs[i].value for i in range(3)])
    assert [model.one.outputs[k].value for k in range(2)] == pytest.approx(one.evaluate(x)[0], abs=1e-5)
    assert [model.two.outputs[k].value for k in range(2)] == pytest.approx(two.evaluate(x)[0], abs=1e-5)
    samples = np.random.default_rng(0).random((2000, 3))
    sampled = one.evaluate(samples)[:, 0] - two.evaluate(samples)[:, 1]
    assert sampled.max() <= pyo.value(model.best) + 1e-6


def test_rows_without_columns() -> None:
    # relu(x - 2) is dead on the unit box, and the goal's row has no column: 1 ≤ 0 never holds, -1 ≤ 0 always.
    region = unit_box([0.5, 0.5])
    for bias, status in ((1.0, Status.INFEASIBLE), (-1.0, Status.OPTIMAL)):
        graph = affine_chain([np.eye(2), np.eye(2)], [np.full(2, -2.0), np.array([bias, 0.0])])
        (goal,) = goals_for(0, 2, None, 0.0)
        for norm in (Norm.LINF, Norm.L1):
            program = encode(graph, region, norm, goal, interval_bounds(graph, region), np.inf)
            assert PyomoSolver("highs").solve(program).status is status


def test_a_limit_is_no_proof() -> None:
    from tests.encoders.test_highs import knapsacks

    program = knapsacks(200, 40)
    for name in ("highs", "appsi_highs"):
        solution = PyomoSolver(name).solve(program, SolverOptions(time_limit=0.5))
        assert solution.status is Status.TIME_LIMIT
        assert solution.lower == -np.inf
    assert {status for status in STATUS.values() if status.is_proof} == {Status.OPTIMAL, Status.INFEASIBLE}
    assert sum(status.is_proof for status in STATUS.values()) == 2


@pytest.mark.parametrize("name", ["nosuchsolver", "cbc"])
def test_a_solver_that_is_not_there_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(SolverError, match=rf"'{name}': .*install"):
        PyomoSolver(name)
