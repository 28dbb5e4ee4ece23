"""What a proof claims, from its first line ("The statement" of docs/reference/proof-format.md)."""

from __future__ import annotations

import hashlib
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from fractions import Fraction
from typing import Any

from verifier.checker.errors import RefusedError
from verifier.checker.lines import a_list, integer, integers, number, only

FORMAT = "plumbline-proof-1"
NORMS = ("linf", "l1", "l2")
NORMS_ON_GRID = (*NORMS, "l0")
ASKED = ("format", "model", "norm", "sample", "box", "against", "targets", "margin")
CLAIMED = ("radius", "witness")
LEFT_OUT = ("rivals", "scale", "constraints")  # where nothing is said of them
FOR_PEOPLE = ("rests_on", "about")
CLASSES = 1 << 20
DIGEST = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True)
class Goal:
    """One class that shall not win, and the classes that it would have to lead."""

    target: int
    others: tuple[int, ...]


@dataclass(frozen=True)
class Constraint:
    """Σ a · x_i ≤ bound, over some inputs."""

    inputs: tuple[int, ...]
    factors: tuple[Fraction, ...]
    bound: Fraction

    def keeps(self, x: tuple[Fraction, ...]) -> bool:
        """Whether an input does."""
        return sum(a * x[i] for i, a in zip(self.inputs, self.factors, strict=True)) <= self.bound


@dataclass(frozen=True)
class Question:
    """What is asked: of which file, where inputs may move, and what an adversary is."""

    model: str  # its file's name, for people
    sha256: str
    external: dict[str, str]
    norm: str
    sample: tuple[Fraction, ...]
    lower: tuple[Fraction, ...]
    upper: tuple[Fraction, ...]
    against: int
    targets: tuple[int, ...] | None
    margin: Fraction
    rivals: tuple[int, ...] | None

    def goals(self, classes: int) -> tuple[Goal, ...]:
        """One goal for each class that would be an adversary's, in the order of their trees."""
        if classes < 2:
            raise RefusedError(f"the model has {classes} class scores: there is no other class")
        if max((self.against, *(self.targets or ()), *(self.rivals or ()))) >= classes:
            raise RefusedError(f"the statement names a class that the model has not: it has {classes}")
        if self.targets is not None:
            return tuple(Goal(t, tuple(j for j in range(classes) if j != t)) for t in self.targets)
        others = (t for t in range(classes) if t != self.against) if self.rivals is None else self.rivals
        return tuple(Goal(t, (self.against,)) for t in others)

    def about(self) -> str:
        """Of which input it is claimed: its class there, what counts as an adversary's, the box, and its digest."""
        other = "any other class" if self.targets is None else f"class {_listed(self.targets)}"
        if self.rivals is not None:
            other = f"class {_listed(self.rivals)} as the only rival{'s' if len(self.rivals) > 1 else ''}"
        low, high = decimal(min(self.lower), ROUND_FLOOR), decimal(max(self.upper), ROUND_CEILING)
        within = "in" if len({*self.lower}) == len({*self.upper}) == 1 else "each in a part of"
        inputs = f"{len(self.sample)} input{'s' if len(self.sample) > 1 else ''} {within} [{low}, {high}]"
        return f"sample {digest(self.sample)} ({inputs}) of class {self.against} against {other}"

    def words(self) -> tuple[str, str, str, str]:
        """What is denied, by how much it leads as it is denied and as it is attained, and another one; in words."""
        lead, least = (f" by {decimal(self.margin, side)} or more" for side in (ROUND_FLOOR, ROUND_CEILING))
        if self.rivals is not None:
            return f"rival (class {_listed(self.rivals)}) leads class {self.against}", least, lead, "one does"
        which = "" if self.targets is None else f" of class {_listed(self.targets)}"
        lead, least = (f" that leads{by}" if self.margin else "" for by in (lead, least))
        return f"adversary{which}", least, lead, "one"


@dataclass(frozen=True)
class Statement(Question):
    """The claim about real inputs: the bracket of an adversary's distance."""

    radius: Fraction | None
    witness: tuple[Fraction, ...] | None
    distance: Fraction | None
    scale: tuple[Fraction, ...] | None = None
    constraints: tuple[Constraint, ...] = ()

    def sentence(self) -> str:
        """What is claimed, in words."""
        units = "" if self.scale is None else ", in units of a scale"
        count = len(self.constraints)
        return self._claimed() + units + (f", under {count} constraint{'s' if count > 1 else ''}" if count else "")

    def _claimed(self) -> str:
        """The bracket; each number is rounded to the side that claims less."""
        denied, least, lead, another = self.words()
        far = "" if self.distance is None else decimal(self.distance, ROUND_CEILING)
        if self.radius is None:
            return f"one {denied}{lead} within {self.norm} {far}"
        within = f"within {self.norm} {decimal(self.radius, ROUND_FLOOR)}"
        if self.margin and self.targets is None and self.rivals is None and not far:
            return f"no class leads by {decimal(self.margin, ROUND_CEILING)} or more {within}"
        return f"no {denied}{least} {within}" + (f"; {another}{'' if lead == least else lead} at {far}" if far else "")


def _listed(classes: tuple[int, ...]) -> str:
    return ", ".join(map(str, classes))


def digest(sample: tuple[Fraction, ...]) -> str:
    """The first 16 digits of the SHA-256 of the numbers as little-endian float64, where they are such numbers."""
    if not all(_is_float(value) for value in sample):
        return "of numbers beyond float64"
    return hashlib.sha256(struct.pack(f"<{len(sample)}d", *map(float, sample))).hexdigest()[:16]


def _is_float(exact: Fraction) -> bool:
    return abs(exact) < 1 << 1000 and Fraction(float(exact)) == exact


def decimal(exact: Fraction, rounding: str) -> str:
    """A number for people: a float64 as Python writes it, another one to six digits, to the side that claims less."""
    if _is_float(exact):
        return repr(float(exact)).removesuffix(".0")
    context = Context(prec=6, rounding=rounding)
    return f"{context.divide(Decimal(exact.numerator), Decimal(exact.denominator)):g}"


def read_statement(line: dict[str, Any]) -> Statement:
    """The first line, checked for its shape; whether it is true is asked later."""
    if line.get("format") != FORMAT:
        raise RefusedError(f"the file's first line has no format {FORMAT!r}")
    only(line, (*ASKED, *CLAIMED), (*LEFT_OUT, *FOR_PEOPLE))
    question = read_question(line, NORMS)
    inputs = len(question.sample)
    radius = None if line["radius"] is None else number(line["radius"], "radius")
    if radius is not None and radius < 0:
        raise RefusedError("radius is negative")
    witness = distance = None
    if line["witness"] is not None:
        if not isinstance(line["witness"], dict):
            raise RefusedError("witness is no object")
        only(line["witness"], ("input", "distance"))
        witness = _numbers(line["witness"]["input"], "the witness's input", inputs)
        distance = number(line["witness"]["distance"], "the witness's distance")
        if distance < 0:
            raise RefusedError("the witness's distance is negative")
    if radius is None and distance is None:
        raise RefusedError("neither radius nor witness: nothing is claimed")
    if radius is not None and distance is not None and distance <= radius:
        raise RefusedError("the witness lies within the radius that shall have no adversary")
    return Statement(
        **vars(question),
        radius=radius,
        witness=witness,
        distance=distance,
        scale=_scale(line["scale"], inputs) if "scale" in line else None,
        constraints=_constraints(line["constraints"], inputs) if "constraints" in line else (),
    )


def read_question(line: dict[str, Any], norms: Sequence[str] = NORMS_ON_GRID) -> Question:
    """What the first line asks, whatever it claims of that."""
    if line["norm"] not in norms:
        raise RefusedError(f"norm is none of {', '.join(norms)}")
    sample = _numbers(line["sample"], "sample")
    lower, upper = (_side(side, len(sample)) for side in a_list(line["box"], "box", 2))
    if not all(low <= at <= high for low, at, high in zip(lower, sample, upper, strict=True)):
        raise RefusedError("the sample lies outside the box")
    against, targets = integer(line["against"], "against", 0, CLASSES), _targets(line["targets"])
    return Question(
        *_model(line["model"]),
        line["norm"],
        sample,
        lower,
        upper,
        against,
        targets,
        number(line["margin"], "margin"),
        _rivals(line["rivals"], against, targets) if "rivals" in line else None,
    )


def _scale(found: Any, inputs: int) -> tuple[Fraction, ...]:
    units = _numbers(found, "scale", inputs)
    if not all(unit > 0 for unit in units):
        raise RefusedError("scale holds a unit that is not above 0")
    return units


def _constraints(found: Any, inputs: int) -> tuple[Constraint, ...]:
    listed = []
    for entry in a_list(found, "constraints"):
        places, factors, bound = a_list(entry, "a constraint", 3)
        places = integers(places, "the inputs of a constraint", least=0)
        if len(set(places)) < len(places) or max(places, default=0) >= inputs:
            raise RefusedError("a constraint names an input twice, or one that the sample has not")
        numbers = _numbers(factors, "a constraint", len(places))
        listed.append(Constraint(tuple(places), numbers, number(bound, "a constraint")))
    if not listed:
        raise RefusedError("constraints is empty")
    return tuple(listed)


def _model(found: Any) -> tuple[str, str, dict[str, str]]:
    if not isinstance(found, dict):
        raise RefusedError("model is no object")
    only(found, ("name", "sha256"), ("external",))
    external = found.get("external", {})
    if not isinstance(external, dict) or not isinstance(found["name"], str):
        raise RefusedError("model holds a name that is no text, or external that is no object")
    for digest in (found["sha256"], *external.values()):
        if not isinstance(digest, str) or DIGEST.fullmatch(digest.lower()) is None:
            raise RefusedError("model holds a sha256 that is not 64 hexadecimal digits")
    return found["name"], found["sha256"].lower(), {path: digest.lower() for path, digest in external.items()}


def _targets(found: Any) -> tuple[int, ...] | None:
    return None if found is None else _classes(found, "targets", "a target")


def _rivals(found: Any, against: int, targets: tuple[int, ...] | None) -> tuple[int, ...]:
    rivals = _classes(found, "rivals", "a rival")
    if against in rivals:
        raise RefusedError(f"rivals names class {against}, the one that they are to lead")
    if targets is not None:
        raise RefusedError("rivals and targets are both lists: targets lead all classes, rivals class against alone")
    return rivals


def _classes(found: Any, what: str, one_of_them: str) -> tuple[int, ...]:
    listed = tuple(integer(one, one_of_them, 0, CLASSES) for one in a_list(found, what))
    if not listed or len(set(listed)) < len(listed):
        raise RefusedError(f"{what} is empty, or names a class twice")
    return listed


def _numbers(found: Any, what: str, length: int | None = None) -> tuple[Fraction, ...]:
    return tuple(number(one, what) for one in a_list(found, what, length))


def _side(found: Any, length: int) -> tuple[Fraction, ...]:
    """One side of the box: a number for all inputs (a text, or a pair of whole numbers), or one for each."""
    if isinstance(found, str) or (isinstance(found, list) and found and type(found[0]) is int):
        return (number(found, "box"),) * length
    return _numbers(found, "box", length)
