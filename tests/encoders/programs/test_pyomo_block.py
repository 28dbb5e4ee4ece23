"""Programs and networks as Pyomo models, solved by a solver that installs from a package."""

from __future__ import annotations

from types import SimpleNamespace

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
from tests.exact_distances import exact_distance


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
@pytest.mark.fewer
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


EUCLIDEAN = {
    "scip": "pyscipopt", "scip_persistent": "pyscipopt",
    "gurobi": "gurobipy", "appsi_gurobi": "gurobipy", "gurobi_direct": "gurobipy",
}  # fmt: skip


@pytest.mark.parametrize("name", EUCLIDEAN)
def test_euclidean_distances_by_hand_and_by_brute_force(name: str) -> None:
    pytest.importorskip(EUCLIDEAN[name], reason=f"{EUCLIDEAN[name]} is not installed (extra `peers`)")
    solver, close = PyomoSolver(name), 2e-8
    # 1/4 + d1/2 - 3 d2/2 ≤ 0: the nearest (d1, d2) is (-1, 3)/20, at √10/20.
    graph, center = two_two_two()
    region, (goal,) = unit_box(center), goals_for(0, 2, None, 0.0)
    program = encode(graph, region, Norm.L2, goal, interval_bounds(graph, region), np.inf)
    solution, distance = solver.solve(program), np.sqrt(10.0) / 20.0
    assert distance - 4 * close <= solution.lower <= distance
    assert solution.objective == pytest.approx(distance, abs=close)
    assert solver.solve(program, SolverOptions(cutoff=distance - 1e-4)).status is Status.INFEASIBLE
    near = encode(graph, region, Norm.L2, goal, interval_bounds(graph, region), distance + 1e-4)
    assert solver.solve(near).objective == pytest.approx(distance, abs=close)
    for seed in (0, 2, 4):
        graph, center = random_chain(seed, (3, 4, 4, 3))
        region = unit_box(center)
        for goal in goals_for(int(np.argmax(graph.evaluate(center)[0])), 3, None, 0.0):
            program = encode(graph, region, Norm.L2, goal, interval_bounds(graph, region), np.inf)
            exact = exact_distance(graph, region, Norm.L2, (goal,))
            lower = solver.solve(program).lower
            assert lower <= exact
            assert lower == pytest.approx(exact, abs=close)


def test_a_euclidean_model_has_squares_and_a_ball() -> None:
    graph, center = two_two_two()
    region, (goal,) = unit_box(center), goals_for(0, 2, None, 0.0)
    for radius, ball in ((0.25, True), (np.inf, False)):  # the whole box needs no ball
        program = encode(graph, region, Norm.L2, goal, interval_bounds(graph, region), radius)
        model = to_pyomo(program)
        assert model.square.expr.polynomial_degree() == 2
        assert hasattr(model, "ball") is ball
    for solver in (HighsSolver(), PyomoSolver("highs")):
        with pytest.raises(SolverError, match=r"highs takes no quadratic program.*pyomo:scip"):
            solver.solve(program)


def test_what_is_proven_of_the_square_is_never_the_bare_root() -> None:
    # A solver that stops within its tolerance of the square calls its own point optimal: the bound stays below.
    graph, center = two_two_two()
    region, (goal,) = unit_box(center), goals_for(0, 2, None, 0.0)
    program = encode(graph, region, Norm.L2, goal, interval_bounds(graph, region), np.inf)
    solver = PyomoSolver("highs")
    square = 0.1 + 1e-9  # in units of 1/2; the distance's own is 1/10
    results = SimpleNamespace(problem=SimpleNamespace(lower_bound=square))
    point = np.zeros(program.columns)
    point[np.flatnonzero(program.costs)] = np.sqrt(square / 2.0)
    assert solver._bound(results, program, point) <= program.unit * np.sqrt(0.1)


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


@pytest.mark.slow
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
