"""What every solver answers with, and the outer method that checks the answer before anybody believes it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from encoders.arrays import FloatArray
from encoders.errors import OptionError, SolverError
from encoders.programs.mixed_integer_program import Program

ROW_SLACK = 1e-5  # a point that misses a row by more than this (rows have entries of about one) is no point
QUADRATIC_SOLVERS = "take pyomo:scip or pyomo:gurobi"
BOUND_SLACK = 1e-6  # how far a dual bound may pass its own point, relative to max(1, |objective|)


class Status(StrEnum):
    """How a solve ended. Only OPTIMAL and INFEASIBLE say that the search is over."""

    OPTIMAL = "optimal"
    INFEASIBLE = "infeasible"
    UNBOUNDED = "unbounded"
    TIME_LIMIT = "time limit"
    STOPPED = "stopped"
    UNKNOWN = "unknown"
    FAILED = "failed"

    @property
    def is_proof(self) -> bool:
        """Whether nothing is left to search; everything else, "infeasible or unbounded" too, proves nothing."""
        return self in (Status.OPTIMAL, Status.INFEASIBLE)


@dataclass(frozen=True)
class SolverCapabilities:
    """What a solver can be asked."""

    integers: bool
    interruptible: bool
    bounds_on_stop: bool
    quadratic: bool = False  # a convex quadratic objective and row beside integers: what L2 needs


@dataclass(frozen=True)
class SolverOptions:
    """How a program is to be solved. `cutoff`: only points with an objective of at most this much are of interest."""

    time_limit: float | None = None
    cutoff: float = float("inf")
    absolute_gap: float = 1e-9
    threads: int = 1

    def __post_init__(self) -> None:
        if self.time_limit is not None and not self.time_limit >= 0:
            raise OptionError(f"time limit {self.time_limit}: give a number of seconds, zero or more")
        if np.isnan(self.cutoff):
            raise OptionError("the cutoff is NaN; give a number, or inf for none")
        if not 0 <= self.absolute_gap < float("inf"):
            raise OptionError(f"absolute gap {self.absolute_gap}: give a finite number, zero or more")
        if self.threads < 1:
            raise OptionError(f"threads {self.threads}: give at least 1")


@dataclass(frozen=True, eq=False)
class Solution:
    """What a solver found. No feasible point within the cutoff has an objective below `lower` (inf: there is none).

    `lower` is the solver's proven dual bound, -inf where it proved nothing; `point` is its best point, or None.
    """

    status: Status
    lower: float
    point: FloatArray | None
    objective: float = float("inf")
    nodes: int = 0


Watch = Callable[[float, FloatArray | None], bool]
"""Called now and then with the running proven lower bound, and a point where there is a new one; True: stop."""


class Solver(ABC):
    """One mixed-integer solver."""

    name: str
    capabilities: SolverCapabilities

    def solve(self, program: Program, options: SolverOptions | None = None, watch: Watch | None = None) -> Solution:
        """Minimise the program; raise a SolverError for an answer that contradicts itself."""
        options = options or SolverOptions()
        if program.euclidean and not self.capabilities.quadratic:
            raise SolverError(f"{self.name} takes no quadratic program with integers, which L2 is; {QUADRATIC_SOLVERS}")
        program = program.below(options.cutoff)
        if (program.column_lower > program.column_upper).any():
            return Solution(Status.INFEASIBLE, np.inf, None)
        if not program.columns:  # nothing can move: the rows hold as they are, or they do not
            holds = bool((program.row_lower <= 0).all() and (program.row_upper >= 0).all())
            return (
                Solution(Status.OPTIMAL, 0.0, np.zeros(0), 0.0) if holds else Solution(Status.INFEASIBLE, np.inf, None)
            )
        return self._checked(program, self._solve(program, options, watch))

    @abstractmethod
    def _solve(self, program: Program, options: SolverOptions, watch: Watch | None) -> Solution:
        """The solver's own answer, its status mapped to ours; the cutoff is already part of the program."""

    def _checked(self, program: Program, solution: Solution) -> Solution:
        """The same answer, its objective recomputed from the point."""
        where = f"{self.name} answered '{solution.status}'"
        if np.isnan(solution.lower):
            raise SolverError(f"{where} with a bound that is NaN; solve again with another engine")
        point, objective = solution.point, float("inf")
        if point is not None:
            if point.shape != program.costs.shape or not np.isfinite(point).all():
                raise SolverError(f"{where} with a point that is not {program.columns} finite numbers")
            miss = program.violation(point)
            if miss > ROW_SLACK:
                raise SolverError(f"{where} with a point that misses the program by {miss:.1e}; try another engine")
            objective = program.objective(point)
            if solution.lower > objective + BOUND_SLACK * max(1.0, abs(objective)):
                raise SolverError(f"{where} with bound {solution.lower!r} above its own point at {objective!r}")
        if solution.status is Status.OPTIMAL and (point is None or not np.isfinite(solution.lower)):
            raise SolverError(f"{where} without a point or without a finite bound; try another engine")
        if solution.status is Status.INFEASIBLE and point is not None:
            raise SolverError(f"{where} and yet gave a point; try another engine")
        return Solution(solution.status, solution.lower, point, objective, solution.nodes)
