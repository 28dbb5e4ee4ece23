"""Every row of the table of faults still fits the code, and the tests that it names are there."""

from __future__ import annotations

import ast
from functools import cache

import pytest

from tests.mutations import ROOT, Mutation, MutationError, table

ROWS = table()
HALF = Mutation("half of it", "tests.mutations:spent", "sum(os.times()[:4])", "0.5 * sum(os.times()[:4])", ())


@pytest.mark.parametrize("mutation", ROWS, ids=lambda mutation: f"{mutation.place}: {mutation.wrong}")
def test_rows_fit_the_code(mutation: Mutation) -> None:
    before = mutation.function().__code__
    changed = mutation.code()
    assert changed.co_freevars == before.co_freevars
    assert changed.co_varnames[: changed.co_argcount] == before.co_varnames[: before.co_argcount]
    parts = [(code.co_code, code.co_consts, code.co_names) for code in (changed, before)]
    assert parts[0] != parts[1]
    assert mutation.tests
    for test in mutation.tests:
        path, *name = test.split("[")[0].split("::")
        assert names_in(path).issuperset(name), test


@cache
def names_in(path: str) -> frozenset[str]:
    """The functions and classes of a file of tests."""
    tree = ast.parse((ROOT / path).read_text())
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef))


def test_rows_are_sorted_by_module() -> None:
    modules = [mutation.place.split(":")[0] for mutation in ROWS]
    assert modules == sorted(modules)


def test_a_piece_that_is_not_there_is_refused() -> None:
    gone = Mutation("", HALF.place, "no such piece", "", ())
    with pytest.raises(MutationError, match="0 times"):
        gone.code()
