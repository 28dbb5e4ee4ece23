"""One proof against one model file, from the first line to the last."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from verifier.checker.arithmetic import Arithmetic
from verifier.checker.errors import RefusedError, UncheckableError
from verifier.checker.exact import Exact
from verifier.checker.int8_file import read_int8
from verifier.checker.int8_network import Int8Network
from verifier.checker.int8_rules import Int8Checker
from verifier.checker.int8_statement import GridStatement, read_grid_statement
from verifier.checker.int8_steps import Grid
from verifier.checker.int8_witness import check_steps
from verifier.checker.lines import read_lines
from verifier.checker.network import Network
from verifier.checker.onnx_file import read_network
from verifier.checker.outward import Float
from verifier.checker.rules import Checker
from verifier.checker.statement import Question, Statement, read_statement
from verifier.checker.witness import check_witness

ARITHMETICS: dict[str, type[Arithmetic]] = {"exact": Exact, "float": Float}
EXACT_WORK = 100_000  # multiplications of one pass, up to which it is exact unless something else is asked for


@dataclass(frozen=True)
class Verdict:
    """What a check found: `claims` nodes rest on a solver's word; `line` and `why` say what was refused.

    `about` says of which input an accepted proof speaks.
    """

    accepted: bool
    claims: int
    proven: str
    arithmetic: str
    lines: int
    line: int | None = None
    why: str = ""
    about: str = ""

    @property
    def whole(self) -> bool:
        """Accepted, and nothing rests on a solver's word."""
        return self.accepted and self.claims == 0

    def told(self) -> str:
        """The verdict in one line."""
        if not self.accepted:
            return f"refused: line {self.line}: {self.why}"
        but = f" but for {self.claims} claim{'s' if self.claims > 1 else ''}" if self.claims else ""
        return f"accepted{but}: {self.proven} ({self.arithmetic} arithmetic)"


def check(proof: Path | str | bytes, model: Path | str, arithmetic: Literal["exact", "float"] | None = None) -> Verdict:
    """Check a proof, a file or its bytes; raises `UncheckableError` where the model cannot be read."""
    progress = _Progress(read_lines(proof if isinstance(proof, bytes) else Path(proof)))
    try:
        with np.errstate(all="ignore"):
            return _checked(progress, Path(model), arithmetic)
    except RefusedError as error:
        return Verdict(False, 0, "", progress.arithmetic, progress.line, max(progress.line, 1), str(error))
    except OSError as error:
        raise UncheckableError(f"{error.filename}: {error.strerror}") from None


class _Progress:
    """The lines of a proof, and at which we are."""

    def __init__(self, lines: Iterator[dict[str, Any]]) -> None:
        self._lines = lines
        self.line = 0
        self.arithmetic = ""

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return self

    def __next__(self) -> dict[str, Any]:
        self.line += 1
        return next(self._lines)


def _checked(lines: _Progress, model: Path, asked: str | None) -> Verdict:
    first = next(lines, None)
    if first is None:
        raise RefusedError("the file is empty")
    if "grid" in first:
        return _checked_on_grid(read_grid_statement(first), lines, model)
    statement = read_statement(first)
    network = load(model, statement)
    lines.arithmetic = asked or ("exact" if network.work <= EXACT_WORK else "float")
    checker = Checker(statement, network, ARITHMETICS[lines.arithmetic]())
    check_witness(statement, network)
    for line in lines:
        checker.take(line)
    checker.finish()
    return Verdict(
        True, checker.claims, statement.sentence(), lines.arithmetic, lines.line - 1, about=statement.about()
    )


def _checked_on_grid(statement: GridStatement, lines: _Progress, model: Path) -> Verdict:
    """The same of a quantised network, whose arithmetic is of whole numbers."""
    network = load_int8(model, statement)
    lines.arithmetic = "exact"
    grid = Grid(statement, network)
    checker = Int8Checker(statement, network, grid)
    check_steps(grid, network)
    for line in lines:
        checker.take(line)
    checker.finish()
    said = statement.sentence(grid.reach)
    return Verdict(True, checker.claims, said, lines.arithmetic, lines.line - 1, about=statement.about())


def load(model: Path, statement: Statement) -> Network:
    """The network of the file that the statement names."""
    return read_network(*_read(model, statement))


def load_int8(model: Path, statement: GridStatement) -> Int8Network:
    """The quantised network of the file that the statement names."""
    return read_int8(*_read(model, statement))


def _read(model: Path, question: Question) -> tuple[bytes, dict[str, bytes]]:
    """The file that a question names and its external data, by the digests of all that is read."""
    data = model.read_bytes()
    if hashlib.sha256(data).hexdigest() != question.sha256:
        raise RefusedError(f"the model is another file than the proof's, {question.model[:80]!r}: their sha256 differ")
    return data, _external(model.parent, question.external)


def _external(folder: Path, digests: dict[str, str]) -> dict[str, bytes]:
    """The bytes of each file of external data that the statement lists."""
    found = {}
    for name, digest in digests.items():
        path = folder / name
        if Path(name).is_absolute() or ".." in Path(name).parts or "\0" in name:
            raise RefusedError(f"external data lies outside the model's folder: {name[:80]!r}")
        try:
            found[name] = path.read_bytes()
        except ValueError:  # a zero in it, or what no file system has a letter for
            raise RefusedError(f"external data has a name that no file has: {name[:80]!r}") from None
        if hashlib.sha256(found[name]).hexdigest() != digest:
            raise RefusedError(f"{name[:80]!r} is another file than the proof's: their sha256 differ")
    return found
