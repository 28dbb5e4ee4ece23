"""Changes of what lines there are, and of where they stand: subtrees, goals, ends, and what a line is made of."""

from __future__ import annotations

import copy
from collections.abc import Callable
from random import Random
from typing import Any

from benchmarks.proof_mutations.proof_lines import Line, Lines, Mutation, text, zipped

MULTIPLIERS = (
    "rows", "rows_exponent", "slopes", "slope_bits", "signs", "signs_exponent", "shares", "share_bits", "bins",
    "parabolas", "products", "narrow", "price", "prices", "below", "above", "bits",
)  # fmt: skip
BEFORE_AN_END = ("cap", "lines", "narrow")  # a node has any number of these
HEADERS = {"ranges", "goal", "lines"}


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


def end_of_node(lines: Lines, start: int) -> int:
    """Behind the last line of the node that starts there, and of all below it."""
    left, at = 1, start
    while left:
        left += 1 if "split" in lines[at] else 0 if any(key in lines[at] for key in BEFORE_AN_END) else -1
        at += 1
    return at


def _children(change: Callable[[Lines, Lines], Lines]) -> Mutation:
    """What is below a split."""

    def mutation(rng: Random, lines: Lines) -> Lines | None:
        splits = [at for at, line in enumerate(lines) if "split" in line]
        if not splits:
            return None
        first = rng.choice(splits) + 1
        second = end_of_node(lines, first)
        end = end_of_node(lines, second)
        return [*lines[:first], *change(lines[first:second], lines[second:end]), *lines[end:]]

    return mutation


def _together(*numbers: int) -> Callable[[Lines, Lines], Lines]:
    return lambda first, second: [line for one in numbers for line in copy.deepcopy((first, second)[one])]


def _goals(rng: Random, lines: Lines) -> Lines | None:
    """Two goals change numbers, or one gets another."""
    goals = [line for line in lines if "goal" in line]
    if not goals:
        return None
    one, other = rng.choice(goals), rng.choice(goals)
    one["goal"], other["goal"] = (other["goal"], one["goal"]) if one is not other else (rng.randrange(11),) * 2
    return lines


def _trees(rng: Random, lines: Lines) -> Lines | None:
    """The tree of a goal stands below another goal, too."""
    starts = [at for at, line in enumerate(lines) if "goal" in line]
    if len(starts) < 2:
        return None
    one, other = rng.sample(starts, 2)
    tree = copy.deepcopy(lines[one + 1 : end_of_node(lines, one + 1)])
    return [*lines[: other + 1], *tree, *lines[end_of_node(lines, other + 1) :]]


def _closed(rng: Random, lines: Lines) -> Lines | None:
    """A node and all below it gives way to a bare line that closes."""
    trees = next((at for at, line in enumerate(lines) if "goal" in line), len(lines))
    starts = [at for at, line in enumerate(lines) if at > trees and "goal" not in line]
    if not starts:
        return None
    at = rng.choice(starts)
    neuron = [rng.randrange(2), rng.randrange(4)]
    closing: Line = rng.choice(({"close": True}, {"empty": neuron}, {"claim": "highs"}, {"close": True, "rows": [0]}))
    return [*lines[:at], closing, *lines[end_of_node(lines, at) :]]


def _all_closed(rng: Random, lines: Lines) -> Lines | None:
    """Every goal's tree is one bare line that closes."""
    closing: Line = rng.choice(({"close": True}, {"empty": [rng.randrange(2), rng.randrange(4)]}, {"claim": "highs"}))
    trees = next((at for at, line in enumerate(lines) if "goal" in line), None)
    if trees is None:
        return None
    goals = [line for line in lines if "goal" in line]
    return [*lines[:trees], *(line for goal in goals for line in (goal, dict(closing)))]


def _cut(rng: Random, lines: Lines) -> Lines:
    """A whole file of the first lines alone."""
    return lines[: rng.randrange(1, len(lines) + 1)]


def _multipliers(rng: Random, lines: Lines) -> Lines | None:
    """A line has what another one multiplies by, all of it or one key."""
    found = [line for line in lines[1:] if any(key in line for key in MULTIPLIERS)]
    if not found or len(lines) < 3:
        return None
    one, other = rng.choice(found), rng.choice(lines[1:])
    keys = [key for key in MULTIPLIERS if key in one]
    for key in keys if rng.random() < 0.5 else [rng.choice(keys)]:
        other[key] = copy.deepcopy(one[key])
    return lines


# What lines are made of


def _objects(lines: Lines) -> list[Line]:
    """All lines, and the objects in them."""
    inside = [value for line in lines for value in line.values() if isinstance(value, dict)]
    return [*lines, *inside]


def _key(rng: Random, lines: Lines) -> Lines | None:
    """A key goes, is spelled otherwise, or comes from elsewhere."""
    objects = [one for one in _objects(lines) if one]
    line, other = rng.choice(objects), rng.choice(objects)
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
    line = rng.choice([one for one in _objects(lines) if one])
    kinds: list[Any] = [
        None, True, False, 0, -1, 1, 0.5, 1e308, 1 << 70, "", "0x1p0", "nan", [], {}, [[]], [0], [1, 0], [None],
    ]  # fmt: skip
    line[rng.choice(list(line))] = copy.deepcopy(rng.choice(kinds))
    return lines


def _twice(rng: Random, lines: Lines) -> bytes:
    """A key stands twice in its object, with two values."""
    at = rng.randrange(len(lines))
    key = rng.choice(list(lines[at]))
    other = text([{key: rng.choice((None, 1, lines[at][key]))}]).rstrip()
    written = text(lines).splitlines(keepends=True)
    written[at] = other[:-1] + b", " + written[at][1:]
    return zipped(b"".join(written))


def _letter(rng: Random, lines: Lines) -> bytes:
    """One character of the text."""
    written = bytearray(text(lines))
    at = rng.randrange(len(written))
    written[at] = rng.choice((written[at] ^ 1 << rng.randrange(8), *b'0123456789abcdefxp+-.,:"[]{}'))
    return zipped(bytes(written))


def _bytes(rng: Random, lines: Lines) -> bytes:
    """A byte of the file, or its end."""
    data = bytearray(zipped(text(lines)))
    at = rng.randrange(len(data))
    if rng.random() < 0.5:
        return bytes(data[:at])
    data[at] ^= 1 << rng.randrange(8)
    return bytes(data)


TREES: dict[str, Mutation] = {
    "a line dropped": _dropped,
    "a line doubled": _doubled,
    "two lines swapped": _swapped,
    "children swapped": _children(_together(1, 0)),
    "a child twice": _children(_together(0, 0)),
    "a child dropped": _children(_together(1)),
    "goals renumbered": _goals,
    "a goal's tree below another": _trees,
    "a node closed by fiat": _closed,
    "all goals closed by fiat": _all_closed,
    "the end cut off": _cut,
    "multipliers of another line": _multipliers,
}
TEXT: dict[str, Mutation] = {
    "a key": _key,
    "a value of another kind": _value,
    "a key twice": _twice,
    "a character": _letter,
    "a byte of the file": _bytes,
}
