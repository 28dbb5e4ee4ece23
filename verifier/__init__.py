"""Plumbline: how far away, exactly, is the nearest input that a network classifies differently?

    model = verifier.load("net.onnx")
    result = verifier.distance(model, x, norm="linf")      # result.lower ≤ exact ≤ result.upper
    result = verifier.verify(model, x, radius=0.1)         # certified, falsified or unresolved

Names are looked up on first use, so that importing this package (and `plumbline --help`) costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from encoders.question import Norm as Norm
    from verifier.model import Model as Model
    from verifier.model import load as load
    from verifier.options import Options as Options
    from verifier.problem import Progress as Progress
    from verifier.query import distance as distance
    from verifier.query import verify as verify
    from verifier.results import Adversary as Adversary
    from verifier.results import Basis as Basis
    from verifier.results import Result as Result
    from verifier.results import Verdict as Verdict

__version__ = "0.1.0"

_HOMES = {
    "Adversary": "verifier.results",
    "Basis": "verifier.results",
    "Model": "verifier.model",
    "Norm": "encoders.question",
    "Options": "verifier.options",
    "Progress": "verifier.problem",
    "Result": "verifier.results",
    "Verdict": "verifier.results",
    "distance": "verifier.query",
    "load": "verifier.model",
    "verify": "verifier.query",
}

__all__ = [
    "Adversary",
    "Basis",
    "Model",
    "Norm",
    "Options",
    "Progress",
    "Result",
    "Verdict",
    "distance",
    "load",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
