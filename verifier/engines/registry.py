"""The table of engines. Adding one means adding a module and a line here, or a plugin (`plumbline.engines`)."""

from __future__ import annotations

from collections.abc import Callable

from encoders.plugins import Table
from verifier.engines.adapters import SearchEngine
from verifier.engines.base import Engine


def _highs() -> Engine:
    from verifier.engines.mixed_integer import HighsEngine

    return HighsEngine()


def _cpsat() -> Engine:
    from verifier.engines.adapters import CpSatEngine

    return CpSatEngine()


def _steps() -> Engine:
    from verifier.engines.adapters import StepEngine

    return StepEngine()


def _subsets() -> Engine:
    from verifier.engines.adapters import SubsetEngine

    return SubsetEngine()


def _splits() -> Engine:
    from verifier.engines.variable_splitting import SplitsEngine

    return SplitsEngine()


PYOMO_PREFIX = "pyomo:"
OWN: dict[str, Callable[[], Engine]] = {
    "search": SearchEngine, "steps": _steps, "subsets": _subsets, "highs": _highs, "cpsat": _cpsat,
    "splits": _splits,
}  # fmt: skip
ENGINES: Table[Callable[[], Engine]] = Table("plumbline.engines", "engine", Engine, OWN, ("auto",))


def check_engine_name(name: str) -> str:
    """The name itself; one that no table knows is refused."""
    if name == "auto" or (name.startswith(PYOMO_PREFIX) and len(name) > len(PYOMO_PREFIX)):
        return name
    return ENGINES.check(name, "auto", "pyomo:SOLVER")


def engine_for(name: str) -> Engine:
    """The engine of that name; `auto` is the search, with HiGHS for small programs that it does not close."""
    check_engine_name(name)
    if name == "auto":
        from verifier.engines.auto import AutoEngine

        return AutoEngine()
    if name.startswith(PYOMO_PREFIX):
        from verifier.engines.mixed_integer import PyomoEngine

        return PyomoEngine(name[len(PYOMO_PREFIX) :])
    return ENGINES.found(name)()
