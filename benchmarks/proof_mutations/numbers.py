"""Every number of a proof, named by where it stands, and changes of one of them.

A place's name is the keys that lead to it. Where a list holds things of several kinds, the entry's position belongs to
the name: `cap.3` are the values of a `cap`, `cap.4` their weights. `REAL` and `INT8` list all names that the format's
two pages know.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import numpy as np

from benchmarks.proof_mutations.proof_lines import Lines, Mutation

QUESTION = ("model.sha256", "norm", "sample", "box", "against", "targets", "margin")
CLAIMED = ("radius", "witness.input", "witness.distance", "scale", "constraints.0", "constraints.1", "constraints.2")
MULTIPLIERS = (
    "rows", "rows_exponent", "slopes.0", "slopes.1", "slopes.2", "slope_bits",
    "signs.0", "signs.1", "signs.2", "signs_exponent", "shares.0", "shares.1", "shares.2", "share_bits", "bins",
    "parabolas.layer", "parabolas.neurons", *(f"parabolas.{key}.{part}" for key in
    ("weights", "spreads", "prices", "point") for part in (0, 1)),
    "products.neurons.0", "products.neurons.1", "products.units", "products.prices",
    *(f"products.{key}.{part}" for key in ("point", "values", "scales") for part in (0, 1)),
    "products.crossed", "products.others",
)  # fmt: skip
TREE = (
    "ranges", "exponent", "lower", "upper", "goal", "cap.0", "cap.1", "cap.2", "cap.3", "cap.4", "weights_exponent",
    "split.0", "split.1", "empty.0", "empty.1", "close",
)  # fmt: skip
REAL = frozenset((*QUESTION, "rivals", "model.external", *CLAIMED, *TREE, *MULTIPLIERS))
INT8 = frozenset((
    *QUESTION, "rivals", "grid", "below", "witness.steps", "witness.measure",
    "lines", "bits", "below.lines", "above", "prices", "goal", "narrow", "signs.0", "signs.1", "signs.2", "price",
    "split", "split.0", "split.1", "at", "close",
))  # fmt: skip
NORMS = ("linf", "l1", "l2", "l0")
NOT_CLAIMED = ("format", "model.name", "rests_on", "about", "claim")
FLAT = (
    "sample",
    "box",
    "scale",
    "constraints.1",
    "witness.input",
    "model.external",
)  # whatever their numbers look like
Place = tuple[Any, Any]  # a list or an object, and where in it
Places = dict[str, list[Place]]


def places(lines: Lines) -> Places:
    """Where the numbers stand, by name."""
    found: Places = defaultdict(list)
    for at, line in enumerate(lines):
        for name, place in _within(line, ""):
            head = name.split(".")[0]
            if name not in NOT_CLAIMED and head != "about":
                found["below.lines" if name == "below" and at else name].append(place)
    return found


def _within(holder: Any, name: str) -> Iterator[tuple[str, Place]]:
    pairs = holder.items() if isinstance(holder, dict) else enumerate(holder)
    placed = isinstance(holder, list) and _of_several_kinds(holder, name)
    for key, inside in pairs:
        own = f"{name}.{key}" if placed or (isinstance(holder, dict) and name) else name or str(key)
        own = next((flat for flat in FLAT if own.startswith(flat)), own)
        if isinstance(inside, dict | list):
            yield from _within(inside, own)
        elif inside is not None:
            yield own, (holder, key)


def _of_several_kinds(listed: list[Any], name: str) -> bool:
    """Whether entries differ in kind, so that each stands for something of its own."""
    if name in ("split", "empty"):
        return len(listed) == 2
    if name == "constraints" and listed and isinstance(listed[-1], str):
        return True
    return len({isinstance(one, list) for one in listed}) > 1


# How a number changes


def bit(rng: Random, value: int) -> int:
    """A bit of a number, or its sign."""
    at = rng.randrange(-1, value.bit_length() + 1)
    return -value if at < 0 else (abs(value) ^ 1 << at) * (-1 if value < 0 else 1)


def moved(rng: Random, written: str) -> str:
    """A number moved by an ulp, a little, or a lot."""
    value = float.fromhex(written)
    steps = (
        np.nextafter(value, -9),
        np.nextafter(value, 9),
        *(value + s * e for s in (1, -1) for e in (1e-9, 1e-5, 0.1)),
    )
    return float(rng.choice(steps)).hex()


def as_pair(written: str) -> list[int]:
    """The same number as a whole number and an exponent of two."""
    over, under = float.fromhex(written).as_integer_ratio()
    return [over, 1 - under.bit_length()]


def _by_one(rng: Random, value: int) -> int:
    return value + rng.choice((-1, 1))


def _a_lot(rng: Random, value: int) -> int:
    return rng.choice((0, 2 * value, value // 2, value + rng.randrange(-300, 301), value + rng.randrange(-60, 61)))


def _beyond_limits(rng: Random, value: int) -> int:
    return rng.choice((-1, 1 << 17, 1 << 24, 1 << 31, 1 << 34, 1 << 63, 1 << 64, -(1 << 63), 1 << 2047, 1 << 2048))


def _word(rng: Random, word: str) -> str:
    """A number, a side, a norm or a digest."""
    if word in ("lower", "upper"):
        return "upper" if word == "lower" else "lower"
    if word in NORMS:
        return rng.choice([one for one in NORMS if one != word])
    return one_digit(rng, word) if len(word) == 64 and "x" not in word else moved(rng, word)


def one_digit(rng: Random, digest: str) -> str:
    """One digit of a digest is drawn anew."""
    at = rng.randrange(len(digest))
    return f"{digest[:at]}{rng.choice('0123456789abcdefABCDEF')}{digest[at + 1 :]}"


def _one(change: Callable[[Random, int], int]) -> Mutation:
    """One number is changed, each name being as likely as any other."""

    def mutation(rng: Random, lines: Lines) -> Lines | None:
        holder, at = _drawn(rng, places(lines))
        value = holder[at]
        if isinstance(value, bool):
            holder[at] = rng.choice((False, 1, None))
        elif isinstance(value, int):
            holder[at] = change(rng, value)
        elif isinstance(value, str):
            holder[at] = _word(rng, value)
        return lines

    return mutation


def _drawn(rng: Random, found: Places) -> Place:
    return rng.choice(found[rng.choice(sorted(found))])


def _from_its_like(rng: Random, lines: Lines) -> Lines | None:
    """A number is what another of the same name is, or the two change places."""
    found = {name: some for name, some in places(lines).items() if len(some) > 1}
    if not found:
        return None
    (one, at), (other, there) = rng.sample(found[rng.choice(sorted(found))], 2)
    if rng.random() < 0.5:
        one[at], other[there] = other[there], one[at]
    else:
        one[at] = other[there]
    return lines


def _written_otherwise(rng: Random, lines: Lines) -> Lines | None:
    """A number as a pair; the whole number may be another one."""
    found = [
        (holder, at)
        for name, some in places(lines[:1]).items()
        if name not in ("norm", "model.sha256", "model.external")
        for holder, at in some
        if isinstance(holder[at], str)
    ]
    if not found:
        return None
    holder, at = rng.choice(found)
    pair = as_pair(holder[at])
    holder[at] = rng.choice((pair, [2 * pair[0], pair[1] - 1], [pair[0] + rng.choice((-1, 1)), pair[1]]))
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


def _all_inward(rng: Random, lines: Lines) -> Lines | None:
    """All ends of a line, or of an entry of a cap, move inward by as large a part of what they are."""
    ends: list[tuple[Any, Any, int]] = []
    for side, inward in (("lower", 1), ("upper", -1)):
        ends += [(line, side, inward) for line in lines if side in line]
    ends += [(entry, 3, 1 if entry[2] == "lower" else -1) for line in lines for entry in line.get("cap", [])]
    if not ends:
        return None
    holder, key, inward = rng.choice(ends)
    by = rng.choice((0.01, 0.1, 0.5, 2.0))
    holder[key] = [end + inward * int(by * abs(end) + 1) for end in holder[key]]
    return lines


def _all(rng: Random, lines: Lines) -> Lines | None:
    """All whole numbers of a list change alike."""
    lists: dict[str, list[list[int]]] = defaultdict(list)
    for name, some in places(lines).items():
        lists[name] += [one for one, _ in some if isinstance(one, list) and all(type(n) is int for n in one)]
    names = sorted(name for name, some in lists.items() if some)
    if not names:
        return None
    chosen, by = rng.choice(lists[rng.choice(names)]), rng.choice((1, 1 << 8, 1 << 20))
    ways: tuple[Callable[[int], int], ...] = (
        lambda one: 0, lambda one: 2 * one, lambda one: one // 2, lambda one: -one, lambda one: one + by,
        lambda one: one - by, lambda one: by * one, lambda one: by,
    )  # fmt: skip
    chosen[:] = map(rng.choice(ways), list(chosen))
    return lines


def _order(rng: Random, lines: Lines) -> Lines | None:
    """A list of numbers in another order, with one less, or with one twice."""
    lists = {name: [holder for holder, _ in some if isinstance(holder, list)] for name, some in places(lines).items()}
    chosen = rng.choice(lists[rng.choice(sorted(name for name, some in lists.items() if some))])
    match rng.randrange(3):
        case 0:
            rng.shuffle(chosen)
        case 1:
            del chosen[rng.randrange(len(chosen))]
        case _:
            chosen.insert(rng.randrange(len(chosen)), copy.deepcopy(rng.choice(chosen)))
    return lines


def names_changed(before: Lines, after: Lines) -> set[str]:
    """Of which names the numbers are no longer what they were."""
    values = [
        {name: [holder[at] for holder, at in some] for name, some in places(one).items()} for one in (before, after)
    ]
    return {name for name in {*values[0], *values[1]} if values[0].get(name) != values[1].get(name)}


NUMBERS: dict[str, Mutation] = {
    "a bit of a number": _one(bit),
    "a number by one": _one(_by_one),
    "a number by a lot": _one(_a_lot),
    "a number past a limit": _one(_beyond_limits),
    "a number for another of its kind": _from_its_like,
    "a number written otherwise": _written_otherwise,
    "an end inward, a little": _inward(little=True),
    "an end inward, a lot": _inward(little=False),
    "all ends inward": _all_inward,
    "all numbers of a list": _all,
    "a list in another order, or length": _order,
}
