"""Our own mixed-integer programs, one for each goal, on Gurobi: an engine for benchmarks (extra `peers`).

What `pip install gurobipy` brings solves programs of up to 2,000 columns and rows without a licence.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from encoders.errors import SolverError
from encoders.programs.mixed_integer_program import Program
from encoders.solvers.base import Solution, Solver, SolverCapabilities, SolverOptions, Status, Watch
from encoders.solvers.pyomo_solver import GUROBI
from verifier.engines.mixed_integer import MixedIntegerEngine


class GurobiSolver(Solver):
    """Gurobi, called in this process."""

    name = "gurobi"
    capabilities = SolverCapabilities(integers=True, interruptible=False, bounds_on_stop=True)

    def __init__(self) -> None:
        try:
            import gurobipy
        except ImportError as error:
            raise SolverError("gurobipy is not installed: pip install gurobipy") from error
        self._native: Any = gurobipy
        self._environment = gurobipy.Env(params={"OutputFlag": 0})

    def _solve(self, program: Program, options: SolverOptions, watch: Watch | None) -> Solution:
        names = self._native.GRB
        model = self._native.Model(env=self._environment)
        for name, value in GUROBI.items():
            model.setParam(name, value)
        model.setParam("MIPGapAbs", options.absolute_gap / program.unit)
        model.setParam("Threads", options.threads)
        if options.time_limit is not None:
            model.setParam("TimeLimit", options.time_limit)
        kinds = np.where(program.integral, names.BINARY, names.CONTINUOUS)
        columns = model.addMVar(
            program.columns, lb=program.column_lower, ub=program.column_upper, obj=program.costs, vtype=kinds
        )
        for rows, sense, side in _one_sided(program):
            if rows.any():
                model.addMConstr(program.matrix[rows], columns, sense, side[rows])
        try:
            model.optimize()
        except self._native.GurobiError as error:
            raise SolverError(f"Gurobi failed: {error}; try another engine") from error
        statuses = {
            names.OPTIMAL: Status.OPTIMAL, names.INFEASIBLE: Status.INFEASIBLE, names.TIME_LIMIT: Status.TIME_LIMIT
        }  # fmt: skip
        status = statuses.get(model.Status, Status.UNKNOWN)
        if status is Status.INFEASIBLE:
            return Solution(status, np.inf, None, nodes=int(model.NodeCount))
        point = np.asarray(columns.X) if model.SolCount else None
        lower = float(model.ObjBound if program.binaries else model.ObjVal if point is not None else -np.inf)
        if point is not None:
            lower = min(lower * program.unit, program.objective(point))
        return Solution(status, lower, point, nodes=int(model.NodeCount))


def _one_sided(program: Program) -> list[tuple[Any, str, Any]]:
    """Which rows are equal to, at most, or at least which side."""
    equal = program.row_lower == program.row_upper
    return [
        (equal, "=", program.row_upper),
        (~equal & np.isfinite(program.row_upper), "<", program.row_upper),
        (~equal & np.isfinite(program.row_lower), ">", program.row_lower),
    ]


def gurobi_engine() -> MixedIntegerEngine:
    """An engine beside the others."""
    return MixedIntegerEngine("gurobi", GurobiSolver())
