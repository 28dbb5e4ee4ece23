"""The process that HiGHS runs in: reads programs from a connection, sends back bounds and points as they come.

HiGHS checks its time limit and its callbacks only between its steps, and one step can outlast any limit. In a process
of its own it can be ended from outside, a crash of it harms nobody, and what it had proven by then is already known.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import highspy
import numpy as np
from scipy import sparse

from encoders.arrays import FloatArray
from encoders.solvers.base import Status
from encoders.solvers.highs_native import instance, pass_arrays, status_of
from encoders.solvers.process import serve_requests

REPORT_INTERVAL = 0.05  # seconds between two reports of the running bound


@dataclass(frozen=True, eq=False)
class Request:
    """One program, as HiGHS takes it."""

    options: dict[str, object]
    costs: FloatArray
    matrix: sparse.csr_array
    row_lower: FloatArray
    row_upper: FloatArray
    column_lower: FloatArray
    column_upper: FloatArray
    integrality: np.ndarray[Any, Any] | None


@dataclass(frozen=True, eq=False)
class Report:
    """What is known so far, in the program's own units; `status` is set in the last one only."""

    lower: float
    point: FloatArray | None
    status: Status | None = None
    nodes: int = 0
    error: str = ""


def answer(request: Request, connection: Connection[Any, Any]) -> Report:
    """Solve, reporting on the way."""
    highs = instance(request.options)
    pass_arrays(
        highs, request.costs, request.matrix, request.row_lower, request.row_upper,
        request.column_lower, request.column_upper, request.integrality,
    )  # fmt: skip
    mixed = request.integrality is not None
    if mixed:
        parent, reported, last = os.getppid(), -np.inf, 0.0

        def interrupt(event: Any) -> None:
            nonlocal reported, last
            now = time.monotonic()
            if now < last + REPORT_INTERVAL:
                return
            last = now
            if os.getppid() != parent:  # nobody is left to read the answer
                os._exit(1)
            if event.data_out.mip_dual_bound > reported:
                reported = event.data_out.mip_dual_bound
                connection.send(Report(reported, None))

        def improving(event: Any) -> None:
            connection.send(Report(-np.inf, np.array(event.data_out.mip_solution, dtype=np.float64)))

        highs.cbMipInterrupt.subscribe(interrupt)
        highs.cbMipImprovingSolution.subscribe(improving)
    if highs.run() == highspy.HighsStatus.kError:
        return Report(-np.inf, None, Status.FAILED)
    status, info, solution = status_of(highs), highs.getInfo(), highs.getSolution()
    feasible = int(info.primal_solution_status) == int(highspy.SolutionStatus.kSolutionStatusFeasible)
    point = np.array(solution.col_value, dtype=np.float64) if feasible and status is not Status.INFEASIBLE else None
    if status is Status.INFEASIBLE:
        lower = np.inf
    elif status in (Status.UNKNOWN, Status.UNBOUNDED, Status.FAILED):
        lower = -np.inf
    elif mixed:
        lower = float(info.mip_dual_bound)
    else:
        lower = float(info.objective_function_value) if status is Status.OPTIMAL else -np.inf
    return Report(lower, point, status, max(0, int(info.mip_node_count)) if mixed else 0)


def serve(descriptor: int) -> None:
    """Answer requests from an open connection until the other side hangs up."""
    serve_requests(descriptor, answer, lambda error: Report(-np.inf, None, Status.FAILED, error=str(error)))
