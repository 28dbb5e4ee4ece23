"""Changes of a proof's first line: of what is claimed, and of what about."""

from __future__ import annotations

import copy
from random import Random

import numpy as np

from benchmarks.proof_mutations.numbers import NORMS, moved, one_digit
from benchmarks.proof_mutations.proof_lines import Lines, Mutation

ODD = ("0x0.0p+0", "-0x1.0p+0", "0x1.0p-1074", "0x1.0p-4000", "0x1.0p+1000", "inf", "nan", "", None, 0, [1, 0])


def _hex(value: float) -> str:
    return float(value).hex()


def _radius(loosened: bool) -> Mutation:
    """The radius grows by an ulp, by a little, or beyond the nearest adversary; ranges may be loosened to suit it."""

    def mutation(rng: Random, lines: Lines) -> Lines | None:
        if lines[0].get("radius") is None:
            return None
        radius = float.fromhex(lines[0]["radius"])
        grown = (np.nextafter(radius, np.inf), radius + 1e-9, radius + 1e-5, radius * 1.01, radius * 1.5, radius * 1e3)
        lines[0]["radius"] = _hex(float(rng.choice(grown)))
        if rng.random() < 0.5:
            lines[0]["witness"] = None
        if loosened:
            if lines[0]["witness"]:
                lines[0]["witness"]["distance"] = _hex(1e6)
            loosen(lines, rng.choice((0.01, 0.5, 2, 100)))
        return lines

    return mutation


def loosen(lines: Lines, by: float) -> None:
    """Ranges are wider by a part of their width, on both sides."""
    for line in lines:
        if "ranges" in line:
            more = [int(by * (u - low)) for low, u in zip(line["lower"], line["upper"], strict=True)]
            line["lower"] = [low - one for low, one in zip(line["lower"], more, strict=True)]
            line["upper"] = [u + one for u, one in zip(line["upper"], more, strict=True)]


def _sample(rng: Random, lines: Lines) -> Lines:
    """An entry of the sample moves; on a grid also to another level, or an ulp of float32."""
    first, at = lines[0], rng.randrange(len(lines[0]["sample"]))
    if "grid" in first and rng.random() < 0.7:
        value = np.float32(float.fromhex(first["sample"][at]))
        level = round(float(value) * first["grid"]) + rng.choice((-1, 1))
        first["sample"][at] = _hex(rng.choice((level / np.float32(first["grid"]), np.nextafter(value, np.float32(9)))))
    else:
        first["sample"][at] = moved(rng, first["sample"][at])
    return lines


def _box(rng: Random, lines: Lines) -> Lines:
    """A side of the box, for all inputs or for one."""
    sides, side, size = lines[0]["box"], rng.randrange(2), len(lines[0]["sample"])
    if isinstance(sides[side], str) and rng.random() < 0.5:
        sides[side] = [sides[side]] * size
    if isinstance(sides[side], str):
        sides[side] = moved(rng, sides[side])
    else:
        at = rng.randrange(size)
        sides[side][at] = moved(rng, sides[side][at])
    return lines


def _units(rng: Random, lines: Lines) -> Lines | None:
    """A unit moves, is no unit, or is one too many; all grow, shrink or go; or there are some where there were none."""
    first = lines[0]
    if "grid" in first and rng.random() < 0.9:  # where there are none, whatever they are
        return None
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
            rows[at] = [inputs, weights, moved(rng, limit)]
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
            weights[one] = rng.choice((moved(rng, weights[one]), *ODD))
        case 9:
            rows[at] = [inputs[1:], weights[1:], limit] if rng.random() < 0.5 else [inputs, weights[1:], limit]
        case _:
            rows[at] = [inputs, weights, rng.choice(ODD)]
    return lines


def _turned(limit: str) -> str:
    return _hex(-float.fromhex(limit))


def _below(rng: Random, lines: Lines) -> Lines | None:
    """A proof on a grid is of more, and the witness may be no obstacle."""
    first = lines[0]
    if not first.get("below"):
        return None
    first["below"] = rng.choice((first["below"] + 1, first["below"] + 2, 2 * first["below"], 1 << 40))
    if first["witness"] and rng.random() < 0.8:
        first["witness"] = rng.choice((None, first["witness"] | {"measure": max(first["below"], 1)}))
    return lines


def _grid(rng: Random, lines: Lines) -> Lines | None:
    """A grid of other levels."""
    if "grid" not in lines[0]:
        return None
    grid = lines[0]["grid"]
    lines[0]["grid"] = rng.choice((grid + 1, grid - 1, 2 * grid, 4 * grid, grid // 2, 1, 255))
    return lines


def _margin(rng: Random, lines: Lines) -> Lines:
    """The lead that is denied moves either way; a lower one denies more."""
    first, value = lines[0], float.fromhex(lines[0]["margin"])
    lower = (np.nextafter(value, -np.inf), value - 1e-9, value - 1e-5, value - 0.01, value - 1, 0.0, -value)
    first["margin"] = float(rng.choice(lower)).hex() if rng.random() < 0.6 else moved(rng, first["margin"])
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
    """The witness moves, how far it is shrinks or grows, or it goes."""
    witness = lines[0]["witness"]
    if witness is None:
        return None
    where, far = ("steps", "measure") if "steps" in witness else ("input", "distance")
    at = rng.randrange(len(witness[where]))
    match rng.randrange(4):
        case 0:
            old = witness[where][at]
            witness[where][at] = old + rng.choice((-2, -1, 1, 2)) if where == "steps" else moved(rng, old)
        case 1:
            old = witness[far]
            witness[far] = max(0, old + rng.choice((-2, -1, 1, 2))) if where == "steps" else moved(rng, old)
        case 2:
            witness[where] = [0] * len(witness[where]) if where == "steps" else copy.deepcopy(lines[0]["sample"])
        case _:
            lines[0]["witness"] = None
    return lines


def _digest(rng: Random, lines: Lines) -> Lines:
    """A digit of the file's digest, or of a file's that it refers to, or which files these are."""
    model = lines[0]["model"]
    others = model.get("external", {})
    if others and rng.random() < 0.5:
        name = rng.choice(sorted(others))
        match rng.randrange(4):
            case 0:
                del others[name]
            case 1:
                others[f"{name}x"] = others.pop(name)
            case _:
                others[name] = one_digit(rng, others[name])
    elif rng.random() < 0.2:
        model["external"] = rng.choice(({}, {"more": model["sha256"]}, {"../more": model["sha256"]}))
    else:
        model["sha256"] = one_digit(rng, model["sha256"])
    return lines


STATEMENT: dict[str, Mutation] = {
    "the radius": _radius(loosened=False),
    "the radius, ranges loosened": _radius(loosened=True),
    "the sample": _sample,
    "the box": _box,
    "the units": _units,
    "a constraint": _constraint,
    "the margin": _margin,
    "against, targets, rivals": _classes,
    "the norm": _norm,
    "the measure": _below,
    "the grid": _grid,
    "the witness": _witness,
    "the digest": _digest,
}
