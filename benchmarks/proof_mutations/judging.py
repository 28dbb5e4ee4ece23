"""Honest proofs, changes of them, and what becomes of a changed one: refused, or accepted and judged without it."""

from __future__ import annotations

import copy
import gzip
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.proof_mutations.numbers import NUMBERS, names_changed
from benchmarks.proof_mutations.proof_lines import Line, Lines, Mutation, packed
from benchmarks.proof_mutations.statements import STATEMENT, loosen
from benchmarks.proof_mutations.trees import TEXT, TREES
from tests.claims import Truth
from verifier.checker import UncheckableError, check

SINGLE: dict[str, Mutation] = {**NUMBERS, **TREES, **STATEMENT, **TEXT}
BY_A_HAIR, BY_A_HAIR_AND_MORE = "a claim false by a hair", "a claim false by a hair, and more"
OF_ANOTHER, TWO = "the lines of another proof", "two at once"
MUTATIONS = (*SINGLE, BY_A_HAIR, BY_A_HAIR_AND_MORE, OF_ANOTHER, TWO)
DRAWN = (tuple(NUMBERS), (BY_A_HAIR_AND_MORE,), MUTATIONS)  # one of these, and then of it
USELESS = (
    "a number for another of its kind",
    "a number written otherwise",
    "a list in another order, or length",
    "a line doubled",
    "two lines swapped",
    "goals renumbered",
)  # for who wants a false claim accepted
HELPFUL = tuple(change for name, change in (NUMBERS | TREES).items() if name not in USELESS)
COLUMNS = (
    "refused",
    "accepted, claim as before",
    "accepted, another true claim",
    "accepted, unknown",
    "accepted, false",
    "no verdict",
)
Judge = Callable[[Line], tuple[Truth, bool]]  # of a first line: is it true, and does it say what it did before?


@dataclass(frozen=True, eq=False)
class Proof:
    """An honest proof of a kind of files; `hairs` are first lines that are false by as little as can be written."""

    kind: str
    name: str
    model: Path
    lines: Lines
    truth: Callable[[Line], Truth]
    judge: Judge
    hairs: tuple[Line, ...] = ()

    @property
    def on_grid(self) -> bool:
        """Whether it is of an int8 net, for which there is one arithmetic."""
        return "grid" in self.lines[0]


@dataclass(frozen=True)
class Changed:
    """A changed file, what kind of change it was, and whose; `names` are those of the numbers that changed."""

    kind: str
    data: bytes
    proof: Proof
    names: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Outcome:
    """What became of one change; `truth` of the claim where the checker accepts."""

    accepted: bool
    truth: Truth = Truth.TRUE
    same: bool = True
    float_alone: bool = False
    stopped: str = ""  # by an exception that a checker should not let out

    @property
    def column(self) -> str:
        """Where it is counted."""
        if self.stopped:
            return "no verdict"
        if not self.accepted:
            return "refused"
        if self.truth is Truth.TRUE:
            return "accepted, claim as before" if self.same else "accepted, another true claim"
        return f"accepted, {self.truth.value}"


def is_honest(proof: Proof) -> bool:
    """Whether it is accepted as it is, and nothing says that it is false."""
    honest = check(packed(proof.lines), proof.model, "exact").whole
    return honest and proof.truth(proof.lines[0]) is not Truth.FALSE


def mutated(rng: Random, proofs: Sequence[Proof]) -> Changed:
    """A random change of a random proof."""
    while True:
        proof, kind = rng.choice(proofs), rng.choice(rng.choice(DRAWN))
        lines = _changed(rng, kind, proof, proofs)
        if isinstance(lines, bytes):
            return Changed(kind, lines, proof)
        if lines is not None and lines != proof.lines:
            names = names_changed(proof.lines, lines) if kind in NUMBERS else ()
            return Changed(kind, packed(lines), proof, frozenset(names))


def _changed(rng: Random, kind: str, proof: Proof, proofs: Sequence[Proof]) -> Lines | bytes | None:
    lines = copy.deepcopy(proof.lines)
    if kind in SINGLE:
        return SINGLE[kind](rng, lines)
    if kind in (BY_A_HAIR, BY_A_HAIR_AND_MORE):
        if not proof.hairs:
            return None
        lines[0] = copy.deepcopy(rng.choice(proof.hairs))
        if rng.random() < 0.8:  # else most are refused at a range already
            loosen(lines, rng.choice((1e-3, 0.01, 0.05, 0.5)))
        return _with_more(rng, lines, 0 if kind == BY_A_HAIR else rng.choice((1, 1, 2, 3)), HELPFUL)
    if kind == OF_ANOTHER:
        others = [one for one in proofs if one.model == proof.model and len(one.lines) > 1 and one is not proof]
        return [lines[0], *copy.deepcopy(rng.choice(others).lines[1:])] if others else None
    first = rng.choice([*SINGLE.values()])(rng, lines)
    return first if first is None or isinstance(first, bytes) else _with_more(rng, first, 1, [*SINGLE.values()])


def _with_more(rng: Random, lines: Lines, count: int, among: Sequence[Mutation]) -> Lines | bytes:
    """A few more changes, fewer where what is there already leaves nothing that one of them knows to change."""
    for _ in range(count):
        try:
            found = rng.choice(among)(rng, copy.deepcopy(lines))
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
            continue
        if isinstance(found, bytes):
            return found
        lines = lines if found is None else found
    return lines


def tried(changed: Changed) -> Outcome:
    """A changed file before the checker: exact arithmetic, and where that refuses it float, which must as well."""
    try:
        exact = _whole(changed, "exact")
        rounded = not exact and not changed.proof.on_grid and _whole(changed, "float")
    except Exception as error:  # whatever it is, it is counted
        return Outcome(accepted=False, stopped=f"{type(error).__name__}: {error}")
    if not exact and not rounded:
        return Outcome(accepted=False)
    first = json.loads(gzip.decompress(changed.data).splitlines()[0])
    truth, same = changed.proof.judge(first)
    return Outcome(True, truth, same, float_alone=rounded)


def _whole(changed: Changed, arithmetic: Any) -> bool:
    try:
        return check(changed.data, changed.proof.model, arithmetic).whole
    except UncheckableError:
        return False
