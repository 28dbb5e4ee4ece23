"""Checks proofs, from docs/reference/proof-format.md alone: imports nothing of ours outside itself.

`check` takes a proof file and a model file. `Checker` takes the lines of a proof one at a time, and its `node` says of
multipliers what they prove: who writes proofs asks it before writing a line.

Names are looked up on first use, so that `plumbline --help` does not wait for onnx.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from verifier.checker.checking import Verdict as Verdict
    from verifier.checker.checking import check as check
    from verifier.checker.checking import load as load
    from verifier.checker.checking import load_int8 as load_int8
    from verifier.checker.errors import RefusedError as RefusedError
    from verifier.checker.errors import UncheckableError as UncheckableError
    from verifier.checker.exact import Exact as Exact
    from verifier.checker.int8_rules import Int8Checker as Int8Checker
    from verifier.checker.int8_statement import GridStatement as GridStatement
    from verifier.checker.int8_statement import read_grid_statement as read_grid_statement
    from verifier.checker.int8_steps import Grid as Grid
    from verifier.checker.multipliers import Multipliers as Multipliers
    from verifier.checker.multipliers import Parabolas as Parabolas
    from verifier.checker.multipliers import Products as Products
    from verifier.checker.outward import Float as Float
    from verifier.checker.rules import Checker as Checker
    from verifier.checker.statement import Statement as Statement
    from verifier.checker.statement import read_statement as read_statement

_HOMES = {
    "Checker": "rules",
    "Exact": "exact",
    "Float": "outward",
    "Grid": "int8_steps",
    "GridStatement": "int8_statement",
    "Int8Checker": "int8_rules",
    "Multipliers": "multipliers",
    "Parabolas": "multipliers",
    "Products": "multipliers",
    "RefusedError": "errors",
    "Statement": "statement",
    "UncheckableError": "errors",
    "Verdict": "checking",
    "check": "checking",
    "load": "checking",
    "load_int8": "checking",
    "read_grid_statement": "int8_statement",
    "read_statement": "statement",
}

__all__ = [
    "Checker",
    "Exact",
    "Float",
    "Grid",
    "GridStatement",
    "Int8Checker",
    "Multipliers",
    "Parabolas",
    "Products",
    "RefusedError",
    "Statement",
    "UncheckableError",
    "Verdict",
    "check",
    "load",
    "load_int8",
    "read_grid_statement",
    "read_statement",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
