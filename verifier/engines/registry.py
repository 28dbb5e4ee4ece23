"""The table of engines. Adding one means adding a module and a line here."""

from __future__ import annotations

from collections.abc import Callable

from encoders.errors import OptionError
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


ENGINES: dict[str, Callable[[], Engine]] = {
    "search": SearchEngine, "steps": _steps, "subsets": _subsets, "highs": _highs, "cpsat": _cpsat,
}  # fmt: skip
PYOMO_PREFIX = "pyomo:"


def check_engine_name(name: str) -> None:
    """Refuse a name that no table knows."""
    if name == "auto" or name in ENGINES or (name.startswith(PYOMO_PREFIX) and len(name) > len(PYOMO_PREFIX)):
        return
    raise OptionError(f"engine {name!r}: choose from auto, {', '.join(ENGINES)}, pyomo:SOLVER")


def engine_for(name: str) -> Engine:
    """The engine of that name; `auto` is the search, with HiGHS for small programs that it does not close."""
    check_engine_name(name)
    if name == "auto":
        from verifier.engines.auto import AutoEngine

        return AutoEngine()
    if name.startswith(PYOMO_PREFIX):
        from verifier.engines.mixed_integer import PyomoEngine

        return PyomoEngine(name[len(PYOMO_PREFIX) :])
    return ENGINES[name]()
