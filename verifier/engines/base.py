"""The one signature of an engine, and the outer method that keeps it honest."""

from __future__ import annotations

from abc import ABC
from dataclasses import dataclass, replace
from typing import final

from encoders.errors import OptionError, SoundnessError
from encoders.question import Norm
from verifier.batching.request import run_alone
from verifier.question.incumbent import Incumbent
from verifier.question.problem import Problem, Progress
from verifier.question.results import Basis, check_sandwich


@dataclass(frozen=True)
class Capabilities:
    """What an engine can be asked."""

    norms: frozenset[Norm]
    basis: Basis
    parallel: bool = False
    grid: bool = False
    continuous: bool = True
    quantised: bool = False
    values: bool = False  # whether it tells what the rows of a decision's goals are at least, where it stays open


@dataclass(frozen=True)
class Proof:
    """What an engine proved: no adversary of any goal is nearer than `lower`.

    `lower` is capped by nobody: an engine that proved that the whole ball of radius `ceiling` holds none returns
    `ceiling`. `nodes` counts what it visited, `open_phases` the ReLUs it had to decide.
    """

    lower: float
    basis: Basis
    nodes: int = 0
    open_phases: int = 0


class Engine(ABC):
    """Closes a problem, or stops at its deadline with both sides still true."""

    name: str
    capabilities: Capabilities
    instead: str = ""  # what to take for a norm that it cannot minimise

    @final
    def close(self, problem: Problem, incumbent: Incumbent, progress: Progress) -> Proof:
        """Run the engine by itself."""
        return run_alone(self.solve(problem, incumbent, progress))

    @final
    async def solve(self, problem: Problem, incumbent: Incumbent, progress: Progress) -> Proof:
        """Run the engine; refuse what it cannot do, and raise an alarm when its proof contradicts a witness.

        What was known before stands where the engine proves less.
        """
        self.check(problem.norm, problem.grid is not None, problem.quantised is not None)
        proof = await self._solve(problem, incumbent, progress)
        if problem.known.lower > proof.lower:
            proof = replace(proof, lower=problem.known.lower, basis=problem.known.basis)
        check_sandwich(proof.lower, incumbent.upper, problem.norm)
        if problem.grid is not None and proof.lower > incumbent.upper:
            raise SoundnessError(
                f"soundness alarm: proven level {proof.lower!r} above a replayed adversary at {incumbent.upper!r}"
            )
        return proof

    @final
    def check(self, norm: Norm, on_grid: bool, quantised: bool) -> None:
        """Refuse what the engine cannot be asked."""
        if quantised and (norm not in self.capabilities.norms or not self.capabilities.quantised):
            able = "auto or cpsat" if norm is Norm.L2 else "auto, cpsat or highs"
            raise OptionError(f"engine {self.name} knows no quantised network in {norm}; take {able}")
        if norm not in self.capabilities.norms:
            can = ", ".join(sorted(self.capabilities.norms))
            reason = f"engine {self.name} cannot minimise {norm}; it can: {can}"
            raise OptionError(f"{reason}; {self.instead}" if self.instead else reason)
        if not on_grid and not self.capabilities.continuous:
            raise OptionError(f"engine {self.name} works on integers; give grid N (255 for 8-bit images)")
        if on_grid and not self.capabilities.grid:
            raise OptionError(f"engine {self.name} knows no grid; take auto, search, highs or cpsat, or leave out grid")

    # An engine implements one of the two.

    async def _solve(self, problem: Problem, incumbent: Incumbent, progress: Progress) -> Proof:
        """Raise the lower bound to min(ceiling, incumbent.upper - tolerance); offer candidates to the incumbent.

        What can be bounded in one batch with other samples is awaited; the rest is computed in between.
        """
        return self._close(problem, incumbent, progress)

    def _close(self, problem: Problem, incumbent: Incumbent, progress: Progress) -> Proof:
        """The same, for an engine that awaits nothing."""
        raise NotImplementedError
