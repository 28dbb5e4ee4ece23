"""The engine `pyomo:NAME`: every goal as one mixed-integer program, to a solver that Pyomo calls by name."""

from __future__ import annotations

from encoders.solvers.pyomo_solver import PyomoSolver
from verifier.engines.mixed_integer import MixedIntegerEngine


class PyomoEngine(MixedIntegerEngine):
    """Any Pyomo solver; its bounds rest on that solver's tolerances, and its time limit is the solver's own."""

    def __init__(self, name: str) -> None:
        super().__init__(f"pyomo:{name}", PyomoSolver(name))
