"""Real proofs, changed at random: does the checker ever accept one whose claim is false?

Proofs of distances, verdicts and losses are written for a digits net and for tiny nets that brute force knows, and each
is changed in one of the ways of `MUTATIONS`. What the checker accepts is judged by `tests/claims.py`, which knows
nothing of proofs. What exact arithmetic refuses, float arithmetic is asked, too: it may refuse more, never less.

    OMP_NUM_THREADS=1 python -m benchmarks.proof_mutations --count 10000 --seed 1
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import gzip
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.claim_mutations import CLAIM, Line, Lines, Mutation
from benchmarks.common import conditions, header, row, single_threaded
from benchmarks.honest_proofs import (
    DIGITS,
    Proof,
    curved_proofs,
    digits_proofs,
    multiplied_proofs,
    shared_proofs,
    split_proofs,
    tiny_proofs,
)
from tests.claims import Truth, judged
from verifier.checker import UncheckableError, check

MULTIPLIERS = ("rows", "slopes", "signs")
EXPONENTS = ("rows_exponent", "slope_bits", "signs_exponent", "exponent", "weights_exponent", "share_bits")
SHARES = (0.5, 0.45, 0.05)  # of the mutations; checks of digits take longest


# What is changed


def packed(lines: Lines) -> bytes:
    """A proof file of these lines."""
    return gzip.compress(_text(lines), mtime=0, compresslevel=1)


def _text(lines: Lines) -> bytes:
    return "".join(json.dumps(line) + "\n" for line in lines).encode()


def _places(line: Line, keys: Sequence[str]) -> list[tuple[list[Any], int]]:
    """Where the whole numbers under these keys stand."""
    found = []
    for key in keys:
        for entry in line.get(key, []):
            for numbers in entry[2:] if isinstance(entry, list) else ():
                found += [(numbers, at) for at in range(len(numbers)) if isinstance(numbers, list)]
        if line.get(key) and isinstance(line[key], list) and isinstance(line[key][0], int):
            found += [(line[key], at) for at in range(len(line[key]))]
    return found


def _number(*keys: str, change: Callable[[Random, int], int]) -> Mutation:
    """One whole number under one of these keys is changed."""

    def mutation(rng: Random, lines: Lines) -> Lines | None:
        places = [place for line in lines[1:] for place in _places(line, keys)]
        if not places:
            return None
        numbers, at = rng.choice(places)
        numbers[at] = change(rng, numbers[at])
        return lines

    return mutation


def _bit(rng: Random, value: int) -> int:
    """A bit of a number, or its sign."""
    at = rng.randrange(-1, value.bit_length() + 1)
    return -value if at < 0 else (abs(value) ^ 1 << at) * (-1 if value < 0 else 1)


def _exponent(rng: Random, lines: Lines) -> Lines | None:
    places = [(line, key) for line in lines[1:] for key in EXPONENTS if key in line]
    if not places:
        return None
    line, key = rng.choice(places)
    line[key] += rng.choice((-1, 1, rng.randrange(-60, 60)))
    return lines


def _inward(little: bool) -> Mutation:
    """An end of a range or of a cap moves inward."""

    def mutation(rng: Random, lines: Lines) -> Lines | None:
        ends = [
            (line[side], 1 if side == "lower" else -1) for line in lines for side in ("lower", "upper") if side in line
        ]
        ends += [(entry[3], 1 if entry[2] == "lower" else -1) for line in lines for entry in line.get("cap", [])]
        if not ends:
            return None
        numbers, inward = rng.choice(ends)
        at = rng.randrange(len(numbers))
        most = max(2, abs(numbers[at]) >> (20 if little else 1))
        numbers[at] += inward * rng.randrange(1, most)
        return lines

    return mutation


def _neuron(rng: Random, lines: Lines) -> Lines | None:
    """A multiplier, a cap, a split or an empty range is of another neuron."""
    places: list[tuple[list[Any], int]] = []
    for line in lines[1:]:
        places += [(line[key], at) for key in ("split", "empty") if key in line for at in (0, 1)]
        for entry in [*line.get("slopes", []), *line.get("signs", []), *line.get("cap", [])]:
            places += [(entry, 0), *((entry[1], at) for at in range(len(entry[1])))]
    if not places:
        return None
    holder, at = rng.choice(places)
    holder[at] = max(0, holder[at] + rng.choice((-1, 1, rng.randrange(-4, 5))))
    return lines


def _shares(rng: Random, lines: Lines) -> Lines | None:
    """A bit of a share, another bin, shares of another neuron or layer, or those of another node."""
    shared = [line for line in lines[1:] if line.get("shares")]
    if not shared:
        return None
    line, other = rng.choice(shared), rng.choice(lines[1:])
    entry = rng.choice(line["shares"])
    match rng.randrange(5):
        case 0:
            of_bins = rng.choice(entry[2])
            at = rng.randrange(len(of_bins))
            of_bins[at] = _bit(rng, of_bins[at])
        case 1:
            line["bins"][rng.randrange(len(line["bins"]))] = rng.randrange(3)
        case 2:
            entry[rng.randrange(2)] = rng.choice((rng.randrange(3), copy.deepcopy(rng.choice(line["shares"])[1])))
        case 3:
            rng.shuffle(entry[2])
        case _:
            other.update({key: copy.deepcopy(line[key]) for key in ("bins", "shares", "share_bits") if key in line})
    return lines


def _parabolas(rng: Random, lines: Lines) -> Lines | None:
    """A number of parabolas, a little or a lot, what all of a kind are scaled by, other neurons, or no such key."""
    curved = [line["parabolas"] for line in lines[1:] if line.get("parabolas")]
    if not curved:
        return None
    found = rng.choice(curved)
    scaled = found[rng.choice(("weights", "spreads", "prices", "point"))]
    match rng.randrange(6):
        case 0:
            at = rng.randrange(len(scaled[0]))
            scaled[0][at] = _bit(rng, scaled[0][at])
        case 1:
            at = rng.randrange(len(scaled[0]))
            scaled[0][at] += rng.choice((-1, 1, rng.randrange(-300, 300)))
        case 2:
            scaled[1] += rng.choice((-1, 1, rng.randrange(-60, 60)))
        case 3:
            rng.shuffle(rng.choice((scaled[0], found["neurons"])))
        case 4:
            found["layer"] = rng.randrange(3)
        case _:
            del found[rng.choice(list(found))]
    return lines


def _products(rng: Random, lines: Lines) -> Lines | None:
    """A number of products, a little or a lot, what all of a kind are scaled by, other neurons, or no such key."""
    multiplied = [line["products"] for line in lines[1:] if line.get("products")]
    if not multiplied:
        return None
    found = rng.choice(multiplied)
    scaled = found[rng.choice(("point", "values", "scales"))]
    numbers = rng.choice((scaled[0], *(found[key] for key in ("units", "prices", "crossed", "others"))))
    match rng.randrange(6):
        case 0:
            at = rng.randrange(len(numbers))
            numbers[at] = _bit(rng, numbers[at])
        case 1:
            at = rng.randrange(len(numbers))
            numbers[at] += rng.choice((-1, 1, rng.randrange(-300, 300)))
        case 2:
            scaled[1] += rng.choice((-1, 1, rng.randrange(-60, 60)))
        case 3:
            rng.shuffle(rng.choice((numbers, *(listed for _, listed in found["neurons"]))))
        case 4:
            rng.choice(found["neurons"])[0] = rng.randrange(3)
        case _:
            del found[rng.choice(list(found))]
    return lines


def _side(rng: Random, lines: Lines) -> Lines | None:
    entries = [entry for line in lines for entry in line.get("cap", [])]
    if not entries:
        return None
    entry = rng.choice(entries)
    entry[2] = "upper" if entry[2] == "lower" else "lower"
    return lines


def _dropped(rng: Random, lines: Lines) -> Lines | None:
    if len(lines) < 2:
        return None
    del lines[rng.randrange(1, len(lines))]
    return lines


def _doubled(rng: Random, lines: Lines) -> Lines | None:
    if len(lines) < 2:
        return None
    lines.insert(rng.randrange(1, len(lines)), copy.deepcopy(rng.choice(lines[1:])))
    return lines


def _swapped(rng: Random, lines: Lines) -> Lines | None:
    if len(lines) < 3:
        return None
    one, other = rng.sample(range(1, len(lines)), 2)
    lines[one], lines[other] = lines[other], lines[one]
    return lines


def _end(lines: Lines, start: int) -> int:
    """Behind the last line of the node that starts there, and of all below it."""
    left, at = 1, start
    while left:
        left += 1 if "split" in lines[at] else 0 if "cap" in lines[at] else -1
        at += 1
    return at


def _children(change: Callable[[Lines, Lines], Lines]) -> Mutation:
    """What is below a split."""

    def mutation(rng: Random, lines: Lines) -> Lines | None:
        splits = [at for at, line in enumerate(lines) if "split" in line]
        if not splits:
            return None
        first = rng.choice(splits) + 1
        second = _end(lines, first)
        end = _end(lines, second)
        return [*lines[:first], *change(lines[first:second], lines[second:end]), *lines[end:]]

    return mutation


def _goals(rng: Random, lines: Lines) -> Lines | None:
    """Two goals change numbers, or one gets another."""
    goals = [line for line in lines if "goal" in line]
    if not goals:
        return None
    one, other = rng.choice(goals), rng.choice(goals)
    one["goal"], other["goal"] = (other["goal"], one["goal"]) if one is not other else (rng.randrange(11),) * 2
    return lines


def _closed(rng: Random, lines: Lines) -> Lines | None:
    """A node and all below it gives way to a bare line that closes."""
    starts = [at for at, line in enumerate(lines) if at and not {"ranges", "goal"} & set(line)]
    if not starts:
        return None
    at = rng.choice(starts)
    neuron = [rng.randrange(2), rng.randrange(4)]
    closing: Line = rng.choice(({"close": True}, {"empty": neuron}, {"claim": "highs"}, {"close": True, "rows": [0]}))
    return [*lines[:at], closing, *lines[_end(lines, at) :]]


def _key(rng: Random, lines: Lines) -> Lines:
    """A key goes, is spelled otherwise, or comes from elsewhere."""
    line, other = rng.choice(lines), rng.choice(lines)
    key, from_there = rng.choice(list(line)), rng.choice(list(other))
    match rng.randrange(4):
        case 0:
            del line[key]
        case 1:
            line[key.upper()] = line.pop(key)
        case 2:
            line[from_there] = copy.deepcopy(other[from_there])
        case _:
            line["more"] = line[key]
    return lines


def _value(rng: Random, lines: Lines) -> Lines:
    """A value of another kind."""
    line = rng.choice(lines)
    kinds: list[Any] = [
        None,
        True,
        False,
        0,
        -1,
        1,
        0.5,
        1e308,
        1 << 70,
        "",
        "0x1p0",
        "nan",
        [],
        {},
        [[]],
        [0],
        [1, 0],
        [None],
    ]
    line[rng.choice(list(line))] = copy.deepcopy(rng.choice(kinds))
    return lines


def _twice(rng: Random, lines: Lines) -> bytes:
    """A key stands twice in its object, with two values."""
    at = rng.randrange(len(lines))
    key = rng.choice(list(lines[at]))
    other = json.dumps({key: rng.choice((None, 1, lines[at][key]))})
    lines_of_text = _text(lines).splitlines(keepends=True)
    lines_of_text[at] = (other[:-1] + ", ").encode() + lines_of_text[at][1:]
    return gzip.compress(b"".join(lines_of_text), mtime=0, compresslevel=1)


def _letter(rng: Random, lines: Lines) -> bytes:
    """One character of the text."""
    text = bytearray(_text(lines))
    at = rng.randrange(len(text))
    text[at] = rng.choice((text[at] ^ 1 << rng.randrange(8), *b'0123456789abcdefxp+-.,:"[]{}'))
    return gzip.compress(bytes(text), mtime=0, compresslevel=1)


def _bytes(rng: Random, lines: Lines) -> bytes:
    """A byte of the file, or its end."""
    data = bytearray(packed(lines))
    at = rng.randrange(len(data))
    if rng.random() < 0.5:
        return bytes(data[:at])
    data[at] ^= 1 << rng.randrange(8)
    return bytes(data)


def _cut(rng: Random, lines: Lines) -> Lines:
    """A whole file of the first lines alone."""
    return lines[: rng.randrange(1, len(lines) + 1)]


def _two(rng: Random, lines: Lines) -> Lines | bytes | None:
    """Two changes at once; one alone where the first leaves nothing that the second knows to change."""
    first = rng.choice(SINGLE)(rng, lines)
    if first is None or isinstance(first, bytes):
        return first
    before = copy.deepcopy(first)
    try:
        return rng.choice(SINGLE)(rng, first)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        return before


def _together(*numbers: int) -> Callable[[Lines, Lines], Lines]:
    return lambda first, second: [line for one in numbers for line in copy.deepcopy((first, second)[one])]


MUTATIONS: dict[str, Mutation] = {
    "a bit of a multiplier": _number(*MULTIPLIERS, change=_bit),
    "a bit of a cap's value or weight": _number("cap", change=_bit),
    "a bit of a range's end": _number("lower", "upper", change=_bit),
    "an exponent": _exponent,
    "an end inward, a little": _inward(little=True),
    "an end inward, a lot": _inward(little=False),
    "another neuron": _neuron,
    "shares of upper lines": _shares,
    "parabolas": _parabolas,
    "products": _products,
    "another side": _side,
    "a line dropped": _dropped,
    "a line doubled": _doubled,
    "two lines swapped": _swapped,
    "children swapped": _children(_together(1, 0)),
    "a child twice": _children(_together(0, 0)),
    "a child dropped": _children(_together(1)),
    "goals renumbered": _goals,
    "a node closed by fiat": _closed,
    "the end cut off": _cut,
    **CLAIM,
    "a key": _key,
    "a value of another kind": _value,
    "a key twice": _twice,
    "a character": _letter,
    "a byte of the file": _bytes,
}
SINGLE = tuple(MUTATIONS.values())
MUTATIONS["two at once"] = _two


# What comes of it


@dataclass(frozen=True)
class Outcome:
    """What became of one mutation; `truth` of the claim where the checker accepts."""

    kind: str
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


COLUMNS = (
    "refused",
    "accepted, claim as before",
    "accepted, another true claim",
    "accepted, unknown",
    "accepted, false",
    "no verdict",
)


def tried(kind: str, data: bytes, proof: Proof) -> Outcome:
    """One changed file before the checker: exact arithmetic, and where that refuses it float, which must as well."""
    try:
        exact = _whole(data, proof, "exact")
        rounded = not exact and _whole(data, proof, "float")
    except Exception as error:  # whatever it is, it is counted
        return Outcome(kind, accepted=False, stopped=f"{type(error).__name__}: {error}")
    if not exact and not rounded:
        return Outcome(kind, accepted=False)
    first = json.loads(gzip.decompress(data).splitlines()[0])
    truth, same = judged(first, proof.claim, proof.network)
    return Outcome(kind, True, truth, same, float_alone=rounded)


def _whole(data: bytes, proof: Proof, arithmetic: Any) -> bool:
    try:
        return check(data, proof.network.path, arithmetic).whole
    except UncheckableError:
        return False


def mutated(rng: Random, proofs: Sequence[Proof]) -> tuple[str, bytes, Proof]:
    """A random change of a random proof: what kind, the file, and whose it was."""
    while True:
        proof, kind = rng.choice(proofs), rng.choice(list(MUTATIONS))
        changed = MUTATIONS[kind](rng, copy.deepcopy(proof.lines))
        if isinstance(changed, bytes):
            return kind, changed, proof
        if changed is not None and changed != proof.lines:
            return kind, packed(changed), proof


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=10_000, help="mutations (default: 10000)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, metavar="DIR", help="where to put proofs that should not be accepted")
    options = parser.parse_args()
    single_threaded()
    print(conditions())
    rng, found, lone = Random(options.seed), Counter[tuple[str, str]](), 0
    with tempfile.TemporaryDirectory() as folder:
        tiny = list(tiny_proofs(Path(folder), range(8)))
        trees = [*split_proofs(Path(folder), (1, 2, 8, 9)), *shared_proofs(Path(folder), (1, 8))]
        trees += [*curved_proofs(Path(folder), range(4)), *multiplied_proofs(Path(folder), range(4))]
        large = list(digits_proofs())
        print(
            f"{len(tiny)} proofs of tiny nets, {len(trees)} written by hand, {len(large)} of {DIGITS.stem}\n",
            flush=True,
        )
        with contextlib.suppress(KeyboardInterrupt):  # ended early, the table is of what was done
            for at in range(options.count):
                kind, data, proof = mutated(rng, rng.choices((tiny, trees, large), SHARES)[0])
                outcome = tried(kind, data, proof)
                found[kind, outcome.column] += 1
                lone += outcome.float_alone
                if outcome.truth is not Truth.TRUE or outcome.float_alone or outcome.stopped:
                    print(f"{at}: {kind} of {proof.name}: {outcome}", file=sys.stderr, flush=True)
                    if options.keep:
                        options.keep.mkdir(parents=True, exist_ok=True)
                        (options.keep / f"{at}.proof").write_bytes(data)
    print(header(["what is changed", "mutations", *COLUMNS]))
    for kind in [*MUTATIONS, "all"]:
        counts = [sum(n for (k, c), n in found.items() if c == column and kind in (k, "all")) for column in COLUMNS]
        print(row([kind, sum(counts), *counts]))
    print(f"\naccepted by float arithmetic alone: {lone}")
    sys.exit(1 if any(column in COLUMNS[-2:] for _, column in found) else 0)


if __name__ == "__main__":
    main()
