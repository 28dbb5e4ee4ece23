"""Changes of a proof's first line: of what is claimed, and of what about."""

from __future__ import annotations

import copy
from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np

Line = dict[str, Any]
Lines = list[Line]
Mutation = Callable[[Random, Lines], Lines | bytes | None]  # None where there is nothing of the kind to change
NORMS = ("linf", "l1", "l2")
ODD = ("0x0.0p+0", "-0x1.0p+0", "0x1.0p-1074", "0x1.0p-4000", "0x1.0p+1000", "inf", "nan", "", None, 0, [1, 0])


def _hex(value: float) -> str:
    return float(value).hex()


def _moved(rng: Random, text: str) -> str:
    """A number moved by an ulp, a little, or a lot."""
    value = float.fromhex(text)
    steps = (
        np.nextafter(value, -9),
        np.nextafter(value, 9),
        *(value + s * e for s in (1, -1) for e in (1e-9, 1e-5, 0.1)),
    )
    return _hex(float(rng.choice(steps)))


def _radius(loosened: bool) -> Mutation:
    """The radius grows by an ulp, by a little, or beyond the nearest adversary; ranges may be loosened to suit it."""

    def mutation(rng: Random, lines: Lines) -> Lines | None:
        if lines[0]["radius"] is None:
            return None
        radius = float.fromhex(lines[0]["radius"])
        grown = (np.nextafter(radius, np.inf), radius + 1e-9, radius + 1e-5, radius * 1.01, radius * 1.5, radius * 1e3)
        lines[0]["radius"] = _hex(float(rng.choice(grown)))
        if loosened:
            if lines[0]["witness"]:
                lines[0]["witness"]["distance"] = _hex(1e6)
            by = rng.choice((0.01, 0.5, 2, 100))
            for line in lines:
                if "ranges" in line:
                    widths = [u - low for low, u in zip(line["lower"], line["upper"], strict=True)]
                    line["lower"] = [low - int(by * w) for low, w in zip(line["lower"], widths, strict=True)]
                    line["upper"] = [u + int(by * w) for u, w in zip(line["upper"], widths, strict=True)]
        return lines

    return mutation


def _sample(rng: Random, lines: Lines) -> Lines:
    at = rng.randrange(len(lines[0]["sample"]))
    lines[0]["sample"][at] = _moved(rng, lines[0]["sample"][at])
    return lines


def _box(rng: Random, lines: Lines) -> Lines:
    """A side of the box, for all inputs or for one."""
    sides, side, size = lines[0]["box"], rng.randrange(2), len(lines[0]["sample"])
    if isinstance(sides[side], str) and rng.random() < 0.5:
        sides[side] = [sides[side]] * size
    if isinstance(sides[side], str):
        sides[side] = _moved(rng, sides[side])
    else:
        at = rng.randrange(size)
        sides[side][at] = _moved(rng, sides[side][at])
    return lines


def _units(rng: Random, lines: Lines) -> Lines:
    """A unit moves, is no unit, or is one too many; all grow, shrink or go; or there are some where there were none."""
    first = lines[0]
    units = first.setdefault("scale", [_hex(1.0)] * len(first["sample"]))
    at = rng.randrange(len(units))
    match rng.randrange(6):
        case 0:
            units[at] = rng.choice(ODD)
        case 1:
            units[at] = _hex(float.fromhex(units[at]) * rng.choice((0.5, 0.99, 1.01, 2, 1e9)))
        case 2:
            first["scale"] = [_hex(float.fromhex(one) * rng.choice((0.5, 0.99, 1.01, 2))) for one in units]
        case 3:
            rng.shuffle(units)
        case 4:
            del first["scale"]
        case _:
            first["scale"] = units[:-1] if rng.random() < 0.5 else [*units, units[at]]
    return lines


def _constraint(rng: Random, lines: Lines) -> Lines | None:
    """A constraint goes, comes, is loosened, tightened or turned round, or is about another input."""
    first = lines[0]
    if "constraints" not in first:
        return None
    rows = first["constraints"]
    at = rng.randrange(len(rows))
    inputs, weights, limit = rows[at]
    one = rng.randrange(len(inputs))
    match rng.randrange(11):
        case 0:
            del rows[at]
        case 1:
            del first["constraints"]
        case 2:
            rows[at] = [inputs, weights, _moved(rng, limit)]
        case 3:
            rows[at] = [inputs, weights, _hex(float.fromhex(limit) + rng.choice((-1.0, 1.0)))]
        case 4:
            rows[at] = [inputs, [_hex(-float.fromhex(a)) for a in weights], rng.choice((limit, _turned(limit)))]
        case 5:
            rows.append(copy.deepcopy(rows[at]))
        case 6:
            rows.append([inputs, [_hex(-float.fromhex(a)) for a in weights], _hex(-float.fromhex(limit) - 1e-9)])
        case 7:
            inputs[one] = rng.choice((-1, len(first["sample"]), rng.randrange(len(first["sample"])), 0.0, True, None))
        case 8:
            weights[one] = rng.choice((_moved(rng, weights[one]), *ODD))
        case 9:
            rows[at] = [inputs[1:], weights[1:], limit] if rng.random() < 0.5 else [inputs, weights[1:], limit]
        case _:
            rows[at] = [inputs, weights, rng.choice(ODD)]
    return lines


def _turned(limit: str) -> str:
    return _hex(-float.fromhex(limit))


def _margin(rng: Random, lines: Lines) -> Lines:
    lines[0]["margin"] = _moved(rng, lines[0]["margin"])
    return lines


def _classes(rng: Random, lines: Lines) -> Lines:
    """Another class to win against, other targets, or other rivals."""
    first = lines[0]
    if rng.random() < 0.3:
        first["against"] = rng.randrange(11)
    elif rng.random() < 0.5:
        rivals = rng.choice((None, [rng.randrange(3)], [0, 1], [2, 2], [], rng.sample(range(11), 3)))
        first |= {"rivals": rivals}
        if rng.random() < 0.3:
            del first["rivals"]
    else:
        first["targets"] = rng.choice((None, [rng.randrange(3)], [0, 1], rng.sample(range(11), 3), [first["against"]]))
    return lines


def _norm(rng: Random, lines: Lines) -> Lines:
    lines[0]["norm"] = rng.choice([one for one in NORMS if one != lines[0]["norm"]])
    return lines


def _witness(rng: Random, lines: Lines) -> Lines | None:
    """The witness moves, its distance shrinks or grows, or it goes."""
    witness = lines[0]["witness"]
    if witness is None:
        return None
    at = rng.randrange(len(witness["input"]))
    match rng.randrange(4):
        case 0:
            witness["input"][at] = _moved(rng, witness["input"][at])
        case 1:
            witness["distance"] = _moved(rng, witness["distance"])
        case 2:
            witness["input"] = copy.deepcopy(lines[0]["sample"])
        case _:
            lines[0]["witness"] = None
    return lines


def _digest(rng: Random, lines: Lines) -> Lines:
    digest = lines[0]["model"]["sha256"]
    at = rng.randrange(64)
    lines[0]["model"]["sha256"] = f"{digest[:at]}{rng.choice('0123456789abcdefABCDEF')}{digest[at + 1 :]}"
    return lines


CLAIM: dict[str, Mutation] = {
    "the radius": _radius(loosened=False),
    "the radius, ranges loosened": _radius(loosened=True),
    "the sample": _sample,
    "the box": _box,
    "the units": _units,
    "a constraint": _constraint,
    "the margin": _margin,
    "against, targets, rivals": _classes,
    "the norm": _norm,
    "the witness": _witness,
    "the digest": _digest,
}
