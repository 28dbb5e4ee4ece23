"""Any solver that Pyomo can call by name."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import pyomo.environ as pyo
from pyomo.common.errors import ApplicationError
from pyomo.opt import TerminationCondition

from encoders.arrays import FloatArray
from encoders.errors import SolverError
from encoders.programs.mixed_integer_program import Program
from encoders.programs.pyomo_block import to_pyomo
from encoders.solvers.base import Solution, Solver, SolverCapabilities, SolverOptions, Status, Watch

# Everything else that a solver may say, "infeasible or unbounded" among it, is UNKNOWN.
STATUS: Mapping[Any, Status] = {
    TerminationCondition.optimal: Status.OPTIMAL,
    TerminationCondition.infeasible: Status.INFEASIBLE,
    TerminationCondition.unbounded: Status.UNBOUNDED,
    TerminationCondition.maxTimeLimit: Status.TIME_LIMIT,
    TerminationCondition.maxIterations: Status.STOPPED,
    TerminationCondition.maxEvaluations: Status.STOPPED,
    TerminationCondition.minFunctionValue: Status.STOPPED,
    TerminationCondition.userInterrupt: Status.STOPPED,
    TerminationCondition.resourceInterrupt: Status.STOPPED,
    TerminationCondition.error: Status.FAILED,
    TerminationCondition.internalSolverError: Status.FAILED,
    TerminationCondition.solverFailure: Status.FAILED,
    TerminationCondition.licensingProblems: Status.FAILED,
}

# What makes "optimal" mean a gap of zero, and rows hold as closely as the solver can, for the solvers whose own default
# is wider or whose words we know.
HIGHS: Mapping[str, object] = {
    "mip_rel_gap": 0.0, "mip_abs_gap": 1e-9, "mip_feasibility_tolerance": 1e-9, "threads": 1
}  # fmt: skip
GUROBI: Mapping[str, object] = {
    "MIPGap": 0.0, "MIPGapAbs": 1e-9, "FeasibilityTol": 1e-9, "IntFeasTol": 1e-9, "OptimalityTol": 1e-9
}  # fmt: skip
SCIP: Mapping[str, object] = {"limits/gap": 0.0, "limits/absgap": 0.0, "numerics/feastol": 1e-9}
ZERO_GAP: Mapping[str, Mapping[str, object]] = {
    "highs": HIGHS,
    "appsi_highs": HIGHS,
    "gurobi": GUROBI,
    "appsi_gurobi": GUROBI,
    "gurobi_direct": GUROBI,
    "cplex": {"mip_tolerances_mipgap": 0.0},
    "cbc": {"ratioGap": 0.0},
    "glpk": {"mipgap": 0.0},
    "scip": SCIP,
    "scip_direct": SCIP,
    "scip_persistent": SCIP,
}

# Of the solvers that we know, those that take a convex quadratic objective and row beside integers.
QUADRATIC = frozenset({"scip", "scip_direct", "scip_persistent", "gurobi", "appsi_gurobi", "gurobi_direct"})

INSTALL: Mapping[str, str] = {
    "highs": "pip install highspy",
    "appsi_highs": "pip install highspy",
    "gurobi": "pip install gurobipy; programs of more than 2,000 rows or columns need a licence",
    "cplex": "pip install cplex, with a licence",
    "cbc": "install COIN-OR CBC and put `cbc` on the PATH",
    "glpk": "install GLPK and put `glpsol` on the PATH",
    "scip": "pip install pyscipopt, or install SCIP and put `scip` on the PATH",
    "scip_direct": "pip install pyscipopt",
    "scip_persistent": "pip install pyscipopt",
}


STAND_INS: Mapping[str, str] = {"scip": "scip_direct"}  # the same solver in its Python package


class PyomoSolver(Solver):
    """A solver behind Pyomo. Its time limit is the solver's own; a bound counts only once it says that it is done."""

    def __init__(self, name: str) -> None:
        self.name = f"pyomo:{name}"
        self.capabilities = SolverCapabilities(
            integers=True, interruptible=False, bounds_on_stop=False, quadratic=name in QUADRATIC
        )
        self._native = name
        with _quiet(logging.CRITICAL):  # of an unknown name Pyomo logs a traceback
            self._factory = pyo.SolverFactory(name)
        how = INSTALL.get(name, "install it, or name another; `pyomo help --solvers` lists what Pyomo knows")
        if not _available(self._factory) and name in STAND_INS:
            self._factory = pyo.SolverFactory(STAND_INS[name])
        if not _available(self._factory):
            raise SolverError(f"Pyomo cannot call a solver named '{name}': {how}")

    def _solve(self, program: Program, options: SolverOptions, watch: Watch | None) -> Solution:
        if options.time_limit is not None and options.time_limit <= 0:
            return Solution(Status.TIME_LIMIT, -np.inf, None)
        model = to_pyomo(program)
        limit = {} if options.time_limit is None else {"timelimit": max(1e-3, options.time_limit)}
        native = dict(ZERO_GAP.get(self._native, {}))
        try:
            with _quiet(logging.ERROR):
                results = self._factory.solve(model, load_solutions=False, options=native, **limit)
            status = STATUS.get(results.solver.termination_condition, Status.UNKNOWN)
            point = self._point(model, results, program)
        except Exception as error:  # each of Pyomo's interfaces raises errors of its own
            first = str(error).strip().splitlines() or [type(error).__name__]
            raise SolverError(f"solver {self.name} failed: {first[0]}; try another engine") from error
        if status is Status.FAILED:
            raise SolverError(f"solver {self.name} failed: {results.solver.message}; try another engine")
        if status is Status.INFEASIBLE:
            return Solution(status, np.inf, None)
        if status is not Status.OPTIMAL:
            return Solution(status, -np.inf, point)
        lower = self._bound(results, program, point)
        return Solution(status if np.isfinite(lower) else Status.UNKNOWN, lower, point)

    def _point(self, model: Any, results: Any, program: Program) -> FloatArray | None:
        """The solution, where there is one."""
        if not len(results.solution):
            return None
        model.solutions.load_from(results)
        values = [model.columns[j].value for j in range(program.columns)]
        # Columns that stand in no row and cost nothing are not the solver's business: any value will do.
        lower = np.where(np.isfinite(program.column_lower), program.column_lower, 0.0)
        return np.array([lower[j] if v is None else float(v) for j, v in enumerate(values)])

    def _bound(self, results: Any, program: Program, point: FloatArray | None) -> float:
        """The proven bound of an optimal solve; where none is given, the objective, if the gap is known to be 0."""
        if point is None:
            return -np.inf
        objective = float(program.costs @ point**2) if program.euclidean else program.objective(point)
        try:
            bound = float(results.problem.lower_bound)
        except (TypeError, ValueError):
            bound = -np.inf
        if not np.isfinite(bound):
            bound = objective if self._native in ZERO_GAP else -np.inf
        bound = min(bound, objective)
        return program.length_below(bound) if program.euclidean else bound


@contextmanager
def _quiet(level: int) -> Iterator[None]:
    """Of what Pyomo logs, only what is as grave as this."""
    logger = logging.getLogger("pyomo")
    before = logger.level
    logger.setLevel(level)
    try:
        yield
    finally:
        logger.setLevel(before)


def _available(factory: Any) -> bool:
    """Whether Pyomo can call this solver here."""
    try:
        return bool(factory.available(exception_flag=False))
    except (ApplicationError, AttributeError, RuntimeError):  # an unknown name answers with one of these
        return False
