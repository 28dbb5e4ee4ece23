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
        assert ordinary_tests(path).issuperset(name), f"{test} is not there, or no part of an ordinary run"


@cache
def ordinary_tests(path: str) -> frozenset[str]:
    """The functions and classes of a file of tests that an ordinary run has."""
    tree = ast.parse((ROOT / path).read_text())
    found = {node.name: node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    marks = [ast.unparse(node) for node in tree.body if isinstance(node, ast.Assign)]
    assert not any(left_out(mark) for mark in marks if mark.startswith("pytestmark")), f"{path} is left out as a whole"
    return frozenset(
        name for name, node in found.items() if not any(map(left_out, map(ast.unparse, node.decorator_list)))
    )


def left_out(mark: str) -> bool:
    return "mark.slow" in mark or "mark.release" in mark


def test_a_test_that_is_left_out_does_not_count() -> None:
    with pytest.raises(AssertionError, match="as a whole"):
        ordinary_tests("tests/test_wheel.py")
    assert "test_closing_early_ends_the_workers" not in ordinary_tests("tests/verifier/runs/test_run.py")


def test_rows_are_sorted_by_module() -> None:
    modules = [mutation.place.split(":")[0] for mutation in ROWS]
    assert modules == sorted(modules)


def test_a_piece_that_is_not_there_is_refused() -> None:
    gone = Mutation("", HALF.place, "no such piece", "", ())
    with pytest.raises(MutationError, match="0 times"):
        gone.code()
