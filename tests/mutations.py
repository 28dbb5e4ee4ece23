"""Faults put into the code one at a time, and the tests that must see them: python -m tests.mutations [--only WORD]

A test that is made quicker must still fail for what it is there for, and this is how one knows. `data/mutations.toml`
is the table. Each fault has a fork of this process to itself, in which a function's code is swapped before its tests
run: no file is touched, and nothing that a test remembers outlives its fault. What runs in a new interpreter, as
commands and solvers do, does not have the fault. Tests are asked as in an ordinary run, up to the first that fails;
it counts if it passes without the fault.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import inspect
import io
import multiprocessing
import os
import sys
import textwrap
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from types import CodeType, FunctionType

import pytest

from encoders.errors import PlumblineError

ROOT = Path(__file__).parents[1]
TABLE = Path(__file__).parent / "data" / "mutations.toml"
PATIENCE = 600.0  # seconds for the tests of one fault


class MutationError(PlumblineError, ValueError):
    """A row of the table does not fit the code."""


@dataclass(frozen=True)
class Mutation:
    """One fault: a piece of one function's source, what stands there instead, and the tests that must fail."""

    wrong: str
    place: str
    old: str
    new: str
    tests: tuple[str, ...]

    def function(self) -> FunctionType:
        """The function, behind whatever decorates it."""
        module, name = self.place.split(":")
        found = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
        for wrapped in ("fget", "func", "__func__"):  # a property's, a cached property's, a method's
            found = getattr(found, wrapped, found)
        function = inspect.unwrap(found)  # type: ignore[arg-type]
        if not isinstance(function, FunctionType):
            raise MutationError(f"{self.place} is no function: name the function that holds the piece")
        return function

    def code(self) -> CodeType:
        """The function's code with the fault in it; nothing of it is executed."""
        function = self.function()
        source = textwrap.dedent(inspect.getsource(function))
        if source.count(self.old) != 1:
            raise MutationError(
                f"{self.place} holds {self.old!r} {source.count(self.old)} times: name a piece that occurs once"
            )
        enclosing = f"def enclosing({', '.join(function.__code__.co_freevars)}):\n"
        changed = enclosing + textwrap.indent(source.replace(self.old, self.new), "    ")
        module = compile("from __future__ import annotations\n" + changed, inspect.getfile(function), "exec")
        return next(code for code in within(module) if code.co_name == function.__name__)


def within(code: CodeType) -> Iterator[CodeType]:
    """All code that stands in this code, the outer before the inner."""
    for part in code.co_consts:
        if isinstance(part, CodeType):
            yield part
            yield from within(part)


def table() -> list[Mutation]:
    """All rows, in the order of the file."""
    rows = tomllib.loads(TABLE.read_text())["mutation"]
    return [Mutation(row["wrong"], row["place"], row["old"], row["new"], tuple(row["tests"])) for row in rows]


class Failures:
    """A plugin of pytest that keeps what failed."""

    def __init__(self) -> None:
        self.tests: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.tests.append(report.nodeid)


def watch(tests: Sequence[str], mutation: Mutation | None, answer: Connection) -> None:
    """Run the tests, with the fault in place if there is one, and send the first that fails; "" where none does."""
    failures = Failures()
    if mutation is not None:
        mutation.function().__code__ = mutation.code()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        pytest.main(["-x", "-p", "no:cacheprovider", *tests], plugins=[failures])
    answer.send(next(iter(failures.tests), ""))


def first_failure(tests: Sequence[str], mutation: Mutation | None = None) -> str:
    """The first of the tests that fails in a fork of this process; "" where none does, or none in time."""
    fork = multiprocessing.get_context("fork")
    here, there = fork.Pipe(duplex=False)
    child = fork.Process(target=watch, args=(tests, mutation, there))
    child.start()
    there.close()
    try:
        return str(here.recv()) if here.poll(PATIENCE) else ""
    except EOFError:
        return ""
    finally:
        child.kill()
        child.join()


def caught(mutation: Mutation) -> str:
    """The first test that fails with the fault, and not without it; "" where none does."""
    test = first_failure(mutation.tests, mutation)
    return test if test and not first_failure([test]) else ""


def spent() -> float:
    """CPU seconds of this process and of its children that have ended."""
    return sum(os.times()[:4])


def main(arguments: Sequence[str] | None = None) -> int:
    """Ask the tests of every chosen row; 1 if they miss a fault."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n", 1)[0])
    parser.add_argument("--only", metavar="WORD", default="", help="rows that hold WORD in what is wrong or its place")
    only = parser.parse_args(arguments).only
    os.chdir(ROOT)
    missed = 0
    for mutation in table():
        if only not in mutation.wrong and only not in mutation.place:
            continue
        mutation.code()  # imports what every fork needs
        before = spent()
        test = caught(mutation)
        missed += not test
        print(f"{mutation.place}: {mutation.wrong}: {test or 'MISSED'}, {spent() - before:.1f} CPU s", flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
