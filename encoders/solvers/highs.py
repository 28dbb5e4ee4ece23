"""HiGHS, tuned for proofs, in a process of its own so that a time limit is a limit."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import weakref
from collections.abc import Mapping
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
from scipy import sparse

from encoders.blocks import unit_rows, wide
from encoders.errors import SolverError
from encoders.linear_maps import FloatArray
from encoders.program import Program
from encoders.solvers.base import Solution, Solver, SolverCapabilities, SolverOptions, Status, Watch
from encoders.solvers.highs_worker import Report, Request

# Attacks find better points than these heuristics do, sooner; what is left of the time belongs to the bound.
#
# Presolve is off because its probing finds variable bounds: see `shielded`.
PROOF_OPTIONS: Mapping[str, object] = {
    "presolve": "off",
    "mip_heuristic_effort": 0.0,
    "mip_heuristic_run_feasibility_jump": False,
    "mip_heuristic_run_rins": False,
    "mip_heuristic_run_rens": False,
    "mip_heuristic_run_root_reduced_cost": False,
    "mip_heuristic_run_zi_round": False,
    "mip_heuristic_run_shifting": False,
    "mip_detect_symmetry": False,  # trained weights have none
    "mip_rel_gap": 0.0,
    "mip_feasibility_tolerance": 1e-9,
}

GRACE = 0.5  # seconds past its limit before HiGHS is ended from outside
START_LIMIT = 120.0  # seconds for the process to come up, on however busy a machine


class HighsSolver(Solver):
    """HiGHS. One process serves all programs of this object, and is started anew only after it had to be ended."""

    name = "highs"
    capabilities = SolverCapabilities(integers=True, interruptible=True, bounds_on_stop=True)

    def __init__(self, overrides: Mapping[str, object] | None = None) -> None:
        self._overrides = dict(overrides or {})
        self._worker: Worker | None = None

    def _solve(self, program: Program, options: SolverOptions, watch: Watch | None) -> Solution:
        native = {**PROOF_OPTIONS, "mip_abs_gap": options.absolute_gap / program.unit, "threads": options.threads}
        limit = float("inf") if options.time_limit is None else options.time_limit
        if limit <= 0:
            return Solution(Status.TIME_LIMIT, -np.inf, None)
        if np.isfinite(limit):
            native["time_limit"] = limit
        request = shielded(program, {**native, **self._overrides})
        if self._worker is None or not self._worker.alive:
            self._worker = Worker()
        return self._follow(self._worker, request, program, limit, watch)

    def _follow(
        self, worker: Worker, request: Request, program: Program, limit: float, watch: Watch | None
    ) -> Solution:
        """Send the request and read reports until the last one, or until the limit is well past."""
        lower, point = -np.inf, None
        end = time.monotonic() + limit + GRACE
        try:
            worker.connection.send(request)
            while worker.connection.poll(min(max(0.0, end - time.monotonic()), 1e6)):
                report: Report = worker.connection.recv()
                lower = max(lower, report.lower * program.unit)
                found = None if report.point is None else report.point[: program.columns]
                point = self._better(program, point, found)
                if report.status is not None:
                    if report.error or report.status is Status.FAILED:
                        raise SolverError(f"HiGHS failed ({report.error or 'no reason given'}); try another engine")
                    return Solution(report.status, report.lower * program.unit, point, nodes=report.nodes)
                if watch is not None and watch(lower, point if found is not None else None):
                    worker.end()
                    return Solution(Status.STOPPED, lower, point)
        except (EOFError, OSError) as error:
            worker.end()
            raise SolverError(
                "the HiGHS process died (out of memory?); give it fewer open ReLUs or more room"
            ) from error
        except BaseException:
            worker.end()
            raise
        worker.end()
        return Solution(Status.TIME_LIMIT, lower, point)

    @staticmethod
    def _better(program: Program, old: FloatArray | None, new: FloatArray | None) -> FloatArray | None:
        if old is None or new is None:
            return old if new is None else new
        return new if program.objective(new) <= program.objective(old) else old


def shielded(program: Program, options: dict[str, object]) -> Request:
    """The program with every integer column made continuous and tied, by a row, to an integer copy behind the others.

    HiGHS 1.15.1 derives invalid cuts from variable bounds, x ≤ M·β for a binary β, and then calls feasible programs
    infeasible or an inferior point optimal (its issues 3170 and 3171, mended after that release). Every open ReLU is
    such a pair of bounds. Told of them, it was wrong on 1 random net in some 2,000, whether with presolve (which finds
    more of them) or without; where only the copies are integer there is none to derive anything from.
    """
    integers = np.flatnonzero(program.integral)
    count, columns = integers.size, program.columns
    copies = np.arange(columns, columns + count)
    ties = unit_rows(integers, 1.0, columns + count) - unit_rows(copies, 1.0, columns + count)
    return Request(
        options=options,
        costs=np.append(program.costs, np.zeros(count)),
        matrix=sparse.csr_array(sparse.vstack([wide(program.matrix, columns + count), ties], format="csr")),
        row_lower=np.append(program.row_lower, np.zeros(count)),
        row_upper=np.append(program.row_upper, np.zeros(count)),
        column_lower=np.append(program.column_lower, program.column_lower[integers]),
        column_upper=np.append(program.column_upper, program.column_upper[integers]),
        integrality=np.arange(columns + count) >= columns if count else None,
    )


class Worker:
    """A running HiGHS process and the line to it; it ends with this object."""

    def __init__(self) -> None:
        root = str(Path(__file__).resolve().parents[2])
        paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
        ours, theirs = Pipe()
        program = f"from encoders.solvers.highs_worker import serve; serve({theirs.fileno()})"
        # A plain child process rather than `multiprocessing`: callers need no main guard, and may be daemons.
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", program],
            pass_fds=(theirs.fileno(),),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"},
        )
        theirs.close()
        self.connection: Connection[Request, Report] = ours
        self._end = weakref.finalize(self, _end, self._process, ours)
        try:
            ready = ours.poll(START_LIMIT)
            if ready:
                ours.recv()
        except (EOFError, OSError):
            ready = False
        if not ready:
            self.end()
            raise SolverError("the HiGHS process did not start; check that `python -c 'import highspy'` works")

    @property
    def alive(self) -> bool:
        return self._end.alive and self._process.poll() is None

    def end(self) -> None:
        self._end()


def _end(process: subprocess.Popen[bytes], connection: Connection) -> None:
    process.kill()
    process.wait()
    connection.close()
