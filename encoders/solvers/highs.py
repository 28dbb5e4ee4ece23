"""HiGHS, tuned for proofs, held to its time limit, and believed only where two runs of it agree.

HiGHS 1.15.1 makes invalid cuts from variable bounds, x ≤ M·β for a binary β (its issues 3170 and 3171, mended after
that release), and then calls a feasible program infeasible, or an inferior point optimal. Every open ReLU is a pair of
such bounds. Measured on random nets of about ten ReLUs, 1 program in 2,000 to 5,000 came out wrong, at every setting of
presolve and tolerances, but not the same one: the cuts depend on how the program is written. So a program is solved
in two writings, and a bound counts once two runs, neither of them refuted by a point, vouch for it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from encoders.arrays import FloatArray
from encoders.errors import SolverError
from encoders.programs.mixed_integer_program import Program
from encoders.programs.sparse_blocks import unit_rows, wide
from encoders.solvers.base import BOUND_SLACK, Solution, Solver, SolverCapabilities, SolverOptions, Status, Watch
from encoders.solvers.highs_worker import Report, Request
from encoders.solvers.process import GRACE, Worker, running

# Attacks find better points than these heuristics do, sooner; what is left of the time belongs to the bound.
PROOF_OPTIONS: Mapping[str, object] = {
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


@dataclass(frozen=True)
class Writing:
    """One way to put the same program to HiGHS."""

    copies: bool
    presolve: bool
    seed: int

    def request(self, program: Program, options: Mapping[str, object]) -> Request:
        """The program as HiGHS takes it; with `copies`, binaries hide behind continuous columns tied to them."""
        integers = np.flatnonzero(program.integral)
        tied = integers if self.copies else integers[:0]
        columns, width = program.columns, program.columns + tied.size
        ties = unit_rows(tied, 1.0, width) - unit_rows(np.arange(columns, width), 1.0, width)
        integrality = np.append(program.integral & (not self.copies), np.ones(tied.size, dtype=np.bool_))
        return Request(
            options={"presolve": "on" if self.presolve else "off", "random_seed": self.seed, **options},
            costs=np.append(program.costs, np.zeros(tied.size)),
            matrix=sparse.csr_array(sparse.vstack([wide(program.matrix, width), ties], format="csr")),
            row_lower=np.append(program.row_lower, np.zeros(tied.size)),
            row_upper=np.append(program.row_upper, np.zeros(tied.size)),
            column_lower=np.append(program.column_lower, program.column_lower[tied]),
            column_upper=np.append(program.column_upper, program.column_upper[tied]),
            integrality=integrality if integers.size else None,
        )


# The last two are asked only when the first two disagree.
WRITINGS = (
    Writing(copies=True, presolve=False, seed=0),
    Writing(copies=False, presolve=True, seed=1),
    Writing(copies=False, presolve=False, seed=2),
    Writing(copies=True, presolve=False, seed=3),
)


class HighsSolver(Solver):
    """HiGHS, in a process of its own that serves all programs."""

    name = "highs"
    capabilities = SolverCapabilities(integers=True, interruptible=True, bounds_on_stop=True)

    def __init__(self, overrides: Mapping[str, object] | None = None, writings: tuple[Writing, ...] = WRITINGS) -> None:
        self._overrides = dict(overrides or {})
        self._writings = writings

    def _solve(self, program: Program, options: SolverOptions, watch: Watch | None) -> Solution:
        end = time.monotonic() + (np.inf if options.time_limit is None else options.time_limit)
        needed = 2 if program.binaries and len(self._writings) > 1 else 1
        runs: list[Solution] = []
        point: FloatArray | None = None
        for writing in self._writings:
            left = end - time.monotonic()
            if left <= 0:
                break
            share = left / 2 if not runs and needed == 2 else left
            before = [run.lower for run in _standing(program, runs, point)]
            vouched = np.inf if needed == 1 else max(before, default=-np.inf)

            def relay(lower: float, found: FloatArray | None, vouched: float = vouched) -> bool:
                return watch is not None and watch(min(lower, vouched), found)

            run = self._run(program, writing, options, time.monotonic() + share, point, relay)
            runs.append(run)
            if run.point is not None:
                point = run.point
            if run.status is Status.STOPPED or _agreed(program, runs, point, needed):
                break
        return _verdict(program, runs, point, needed)

    def _run(
        self,
        program: Program,
        writing: Writing,
        options: SolverOptions,
        end: float,
        known: FloatArray | None,
        relay: Watch,
    ) -> Solution:
        """One run in one writing, until `end`; beyond a known point, only what is better or as good is looked at."""
        cutoff = np.inf if known is None else _reach(program.objective(known))
        native: dict[str, object] = {
            **PROOF_OPTIONS,
            "mip_abs_gap": options.absolute_gap / program.unit,
            "threads": options.threads,
        }
        worker = running("encoders.solvers.highs_worker", "HiGHS", "highspy")
        request = writing.request(program.below(cutoff), {**native, **self._overrides})
        if np.isfinite(end):  # whatever it took to get here
            request.options.setdefault("time_limit", max(0.0, end - time.monotonic()))
        solution = self._follow(worker, request, program, end, relay)
        point = self._better(program, known, solution.point)
        return Solution(solution.status, min(solution.lower, cutoff), point, nodes=solution.nodes)

    def _follow(self, worker: Worker, request: Request, program: Program, end: float, relay: Watch) -> Solution:
        """Send the request and read reports until the last one, or until the end is well past."""
        lower, point = -np.inf, None
        try:
            worker.connection.send(request)
            while (left := end + GRACE - time.monotonic()) > 0 and worker.answers_within(left):
                report: Report = worker.connection.recv()
                lower = max(lower, report.lower * program.unit)
                found = None if report.point is None else report.point[: program.columns]
                point = self._better(program, point, found)
                if report.status is not None:
                    if report.error or report.status is Status.FAILED:
                        raise SolverError(f"HiGHS failed ({report.error or 'no reason given'}); try another engine")
                    return Solution(report.status, report.lower * program.unit, point, nodes=report.nodes)
                if relay(lower, point if found is not None else None):
                    worker.end()
                    return Solution(Status.STOPPED, lower, point)
        except (EOFError, OSError) as error:
            worker.end()
            raise SolverError(
                "the HiGHS process died (out of memory?); try a smaller ball or another engine"
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


def _reach(objective: float) -> float:
    """The cutoff that a point sets for later runs: a hair above it, so that they can find it again."""
    return objective + BOUND_SLACK * max(1.0, abs(objective))


def _standing(program: Program, runs: list[Solution], point: FloatArray | None) -> list[Solution]:
    """The runs that no point refutes: they claimed neither that it does not exist nor that nothing is so near."""
    if point is None:
        return runs
    objective = program.objective(point)
    slack = BOUND_SLACK * max(1.0, abs(objective))
    return [run for run in runs if run.status is not Status.INFEASIBLE and run.lower <= objective + slack]


def _agreed(program: Program, runs: list[Solution], point: FloatArray | None, needed: int) -> bool:
    return sum(run.status.is_proof for run in _standing(program, runs, point)) >= needed


def _verdict(program: Program, runs: list[Solution], point: FloatArray | None, needed: int) -> Solution:
    """The bound that `needed` runs vouch for, and how it all ended."""
    lowers = sorted((run.lower for run in _standing(program, runs, point)), reverse=True)
    lower = lowers[needed - 1] if len(lowers) >= needed else -np.inf
    if point is not None:
        lower = min(lower, program.objective(point))
    nodes = sum(run.nodes for run in runs)
    if _agreed(program, runs, point, needed):
        status = Status.OPTIMAL if point is not None else Status.INFEASIBLE
    else:
        stops = [run.status for run in runs if not run.status.is_proof] or [Status.TIME_LIMIT]
        status = Status.UNKNOWN if len(runs) == len(WRITINGS) else stops[-1]
    return Solution(status, lower, point, nodes=nodes)
