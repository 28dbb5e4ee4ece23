"""The checker shares no code with what it judges: it imports the standard library, numpy and onnx."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

import verifier.checker

MODULES = sorted(Path(verifier.checker.__file__).parent.glob("*.py"))
ALLOWED = {"numpy", "onnx", *sys.stdlib_module_names}


def imported(source: str) -> set[str]:
    """What a module imports, wherever it does; relative imports by their dots."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add("." * node.level + (node.module or ""))
    return found


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.name)
def test_imports(module: Path) -> None:
    for name in imported(module.read_text(encoding="utf-8")):
        assert name.startswith("verifier.checker.") or name.partition(".")[0] in ALLOWED, name


def test_nothing_is_trusted_but_integers_in_exact_arithmetic() -> None:
    """No line of what decides calls eval or exec, or loads pickled data."""
    names = {
        node.id for path in MODULES for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Name)
    }
    assert not names & {"eval", "exec", "pickle", "__import__"}


def test_what_is_not_allowed_would_be_seen() -> None:
    assert imported("def f():\n    import bounds.rounding\n") == {"bounds.rounding"}
    assert imported("from ..question import model") == {"..question"}
