"""The process that CP-SAT runs in. It must never import highspy: both bring a HiGHS library of the same name.

Whichever of the two is loaded second finds the other's library; the import fails, or worse, does not.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass

from encoders.errors import SolverError
from encoders.programs.integer_program import LARGEST_SUM, IntegerProgram
from encoders.solvers.base import Status
from encoders.solvers.process import serve_requests

# Measured on the digits nets (docs/benchmarks/tried.md). The inclusion limit keeps away from a presolve step of
# CP-SAT 9.15 that was seen to lead to wrong proofs where sums of Booleans are huge.
PARAMETERS: Mapping[str, object] = {
    "linearization_level": 1,
    "cp_model_probing_level": 0,
    "symmetry_level": 0,
    "presolve_inclusion_work_limit": 0,
}
WATCH_INTERVAL = 1.0  # seconds between two looks at whether anybody still waits for an answer


@dataclass(frozen=True)
class Request:
    """Is there a point of the program? `hint` are values for its first columns, to be tried first."""

    program: IntegerProgram
    time_limit: float | None
    threads: int
    hint: tuple[int, ...]
    parameters: dict[str, object]


@dataclass(frozen=True)
class Answer:
    """OPTIMAL: `point` satisfies the program. INFEASIBLE: none does. Anything else says nothing."""

    status: Status
    point: tuple[int, ...] | None = None
    branches: int = 0
    error: str = ""


def answer(request: Request) -> Answer:
    """CP-SAT's own answer, its words mapped to ours."""
    from ortools.sat.python import cp_model

    known = {
        cp_model.OPTIMAL: Status.OPTIMAL,
        cp_model.FEASIBLE: Status.OPTIMAL,
        cp_model.INFEASIBLE: Status.INFEASIBLE,
        cp_model.UNKNOWN: Status.TIME_LIMIT,
    }
    program = request.program
    model = cp_model.CpModel()
    columns = [model.new_int_var(a, b, "") for a, b in zip(program.low, program.high, strict=True)]
    for row in program.rows:
        if not row.columns:
            if (row.low or 0) > 0 or (row.high or 0) < 0:
                if row.when is None:
                    return Answer(Status.INFEASIBLE)
                model.add(columns[row.when[0]] == int(not row.when[1]))
            continue
        total = cp_model.LinearExpr.weighted_sum([columns[k] for k in row.columns], list(row.coefficients))
        low = -2 * LARGEST_SUM if row.low is None else row.low
        high = 2 * LARGEST_SUM if row.high is None else row.high
        constraint = model.add_linear_constraint(total, low, high)
        if row.when is not None:
            literal = columns[row.when[0]]
            constraint.only_enforce_if(literal if row.when[1] else literal.negated())
    if program.forbidden:
        model.add_forbidden_assignments(columns[: program.inputs], program.forbidden)
    for column, value in zip(columns, request.hint, strict=False):
        model.add_hint(column, value)
    solver = cp_model.CpSolver()
    for name, setting in {**PARAMETERS, **request.parameters}.items():
        setattr(solver.parameters, name, setting)
    solver.parameters.num_workers = request.threads
    if request.time_limit is not None:
        solver.parameters.max_time_in_seconds = request.time_limit
    native = solver.solve(model)
    if native not in known:
        raise SolverError(f"CP-SAT refuses its program ({solver.status_name(native)}: {model.validate()[:200]})")
    status = known[native]
    point = tuple(int(solver.value(c)) for c in columns) if status is Status.OPTIMAL else None
    return Answer(status, point, int(solver.num_branches))


def serve(descriptor: int) -> None:
    """Answer requests from an open connection until the other side hangs up."""
    import ortools.sat.python.cp_model  # noqa: F401 (so that a missing library shows at the start)

    threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()
    serve_requests(
        descriptor, lambda request, _: answer(request), lambda error: Answer(Status.FAILED, error=str(error))
    )


def _end_with_parent(parent: int) -> None:
    """A solve can last; nobody is left to read its answer once the parent is gone."""
    while os.getppid() == parent:
        time.sleep(WATCH_INTERVAL)
    os._exit(1)
