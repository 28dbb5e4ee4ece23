"""CP-SAT: is there a point of an integer program? One process serves all programs, and its points are checked."""

from __future__ import annotations

from collections.abc import Mapping

from encoders.errors import SolverError
from encoders.programs.integer_program import IntegerProgram
from encoders.solvers.base import Status
from encoders.solvers.cpsat_worker import Answer, Request
from encoders.solvers.process import Worker, running

GRACE = 2.0  # seconds past its limit before a run of CP-SAT is ended from outside


def satisfy(
    program: IntegerProgram,
    time_limit: float | None = None,
    threads: int = 1,
    hint: tuple[int, ...] = (),
    parameters: Mapping[str, object] | None = None,
) -> Answer:
    """Look for a point; `hint` are values for the first columns to try first. Raises a SolverError if CP-SAT fails."""
    if not program.low:
        holds = program.holds(())
        return Answer(Status.OPTIMAL, ()) if holds else Answer(Status.INFEASIBLE)
    worker = _worker()
    limit = None if time_limit is None else max(0.0, time_limit)
    try:
        worker.connection.send(Request(program, limit, threads, hint, dict(parameters or {})))
        if not worker.answers_within(float("inf") if limit is None else limit + GRACE):
            worker.end()
            return Answer(Status.TIME_LIMIT)
        answer: Answer = worker.connection.recv()
    except (EOFError, OSError) as error:
        worker.end()
        raise SolverError("the CP-SAT process died (out of memory?); try another engine") from error
    except BaseException:
        worker.end()
        raise
    if answer.status is Status.FAILED:
        raise SolverError(f"{answer.error or 'CP-SAT failed'}; try another engine")
    if answer.status is Status.OPTIMAL and (answer.point is None or not program.holds(answer.point)):
        raise SolverError("CP-SAT answered with a point that misses its own program; try another engine")
    return answer


def _worker() -> Worker:
    return running("encoders.solvers.cpsat_worker", "CP-SAT", "ortools")
