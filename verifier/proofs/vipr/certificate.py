"""A VIPR 1.1 file as it grows: variables, constraints, what is to be proven, and lines derived one from another.

(https://github.com/scipopt/vipr, cert_spec_v1_1.md.) Numbers are exact: m · 2^e, as in our own proofs. A combination
of lines is always written down as one that says ≥: lines that say ≤ have multipliers below 0 in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache, reduce
from operator import or_

from verifier.checker.lines import dyadic

Dyadic = tuple[int, int]  # m · 2^e
ONE, ZERO = (1, 0), (0, 0)
SHORT = 6  # terms of a combination, up to which it is one line whatever its numbers are


def exactly(number: Fraction) -> Dyadic:
    """A dyadic fraction as m · 2^e."""
    return number.numerator, 1 - number.denominator.bit_length()


def text(number: Dyadic) -> str:
    """A number as VIPR writes it: a whole one, or a fraction in lowest terms."""
    mantissa, exponent = number
    if exponent < 0 and mantissa:
        spare = min((mantissa & -mantissa).bit_length() - 1, -exponent)
        mantissa, exponent = mantissa >> spare, exponent + spare
    if exponent >= 0 or not mantissa:
        return str(mantissa << max(exponent, 0))
    return f"{mantissa}/{_power(-exponent)}"


@cache
def _power(exponent: int) -> str:
    return str(1 << exponent)


class Combination:
    """Lines and their multipliers, as they are added up."""

    def __init__(self, terms: Iterable[tuple[int, int, int]] = ()) -> None:
        self._by_exponent: dict[int, dict[int, int]] = {}
        self._whole: tuple[dict[int, int], int] | None = None
        for line, mantissa, exponent in terms:
            self.add(line, mantissa, exponent)

    def add(self, line: int, mantissa: int, exponent: int = 0) -> None:
        """m · 2^e times a line."""
        if mantissa:
            group = self._by_exponent.setdefault(exponent, {})
            group[line] = group.get(line, 0) + mantissa
            self._whole = None

    def whole(self) -> tuple[dict[int, int], int]:
        """Each line's multiplier as a whole number, and the exponent of all."""
        if self._whole is None:
            used = {e: reduce(or_, group.values()) for e, group in self._by_exponent.items()}
            least = min((e + (bits & -bits).bit_length() - 1 for e, bits in used.items() if bits), default=0)
            found: dict[int, int] = {}
            for e, group in self._by_exponent.items():
                for line, m in group.items():
                    found[line] = found.get(line, 0) + (m << (e - least) if e >= least else m >> (least - e))
            self._whole = {line: m for line, m in found.items() if m}, least
        return self._whole


@dataclass
class _Derived:
    """A line of DER: what it says, and from which lines; numbers stand as text, as there are many."""

    name: str
    says: str
    kind: str  # asm, lin or uns
    lines: Sequence[int] = ()
    numbers: str = ""


@dataclass
class Certificate:
    """All of a file but its comments, and the right-hand side of every line."""

    variables: list[str] = field(default_factory=list)
    integers: list[int] = field(default_factory=list)
    objective: int = 0  # the variable that is minimised
    goal: str = "infeas"
    solution: dict[int, Fraction] | None = None
    bounds: int = 0  # how many of the constraints are bounds
    _constraints: list[str] = field(default_factory=list)
    _derived: list[_Derived] = field(default_factory=list)
    _sides: list[Dyadic] = field(default_factory=list)

    def variable(self, name: str, integer: bool = False) -> int:
        """A new variable."""
        self.variables.append(name)
        if integer:
            self.integers.append(len(self.variables) - 1)
        return len(self.variables) - 1

    def constraint(self, name: str, sense: str, coefficients: Mapping[int, Dyadic], side: Dyadic) -> int:
        """A new constraint of the problem; a bound if all before it are, and it is of one variable."""
        if len(coefficients) == 1 and self.bounds == len(self._constraints):
            self.bounds += 1
        self._constraints.append(f"{name} {_says(sense, coefficients, side)}")
        self._sides.append(side)
        return len(self._sides) - 1

    def assume(self, name: str, sense: str, variable: int, value: int) -> int:
        """An assumption about an integer variable."""
        return self._derive(_Derived(name, _says(sense, {variable: ONE}, (value, 0)), "asm"), (value, 0))

    def cases(
        self, name: str, sense: str, coefficients: Mapping[int, Dyadic], side: Dyadic, *of: tuple[int, int]
    ) -> int:
        """What follows in both of two cases; each is a line and the assumption that it may rest on."""
        (one, first), (other, second) = of
        return self._derive(_Derived(name, _says(sense, coefficients, side), "uns", (one, first, other, second)), side)

    def absurd(self, name: str, found: Combination) -> int:
        """A combination that says 0 ≥ a number above 0."""
        lines, _ = found.whole()
        return self._derive(_lin(name, _says("G", {}, ONE), lines, 0), ONE)

    def follows(
        self, name: str, sense: str, coefficients: Mapping[int, Dyadic], side: Dyadic, found: Combination
    ) -> int:
        """What a combination says, or what is weaker.

        Of a long one first a multiple is written, without denominators: that takes half of the digits.
        """
        lines, exponent = found.whole()
        sign = 1 if sense != "L" else -1
        if exponent < 0 and len(lines) > SHORT:
            times = {at: (sign * m, e - exponent) for at, (m, e) in coefficients.items()}
            whole = (sign * side[0], side[1] - exponent)
            lines = {self._derive(_lin(f"{name}_times", _says("G", times, whole), lines, 0), whole): 1}
        if sign < 0:
            lines = {line: -m for line, m in lines.items()}
        return self._derive(_lin(name, _says(sense, coefficients, side), lines, exponent), side)

    def least(self, found: Combination) -> Fraction:
        """The number on the right of a combination that says ≥."""
        lines, exponent = found.whole()
        terms = [(m, *self._sides[line]) for line, m in lines.items()]
        least = min((e for _, side, e in terms if side), default=0)
        return dyadic(sum(m * side << (e - least) for m, side, e in terms if side), exponent + least)

    def _derive(self, line: _Derived, side: Dyadic) -> int:
        self._derived.append(line)
        self._sides.append(side)
        return len(self._sides) - 1

    def written(self, comments: Iterable[str]) -> Iterator[str]:
        """The file in pieces; lines on which the last one does not rest are left out."""
        yield from (f"% {comment}\n" for comment in comments)
        yield f"VER 1.1\nVAR {len(self.variables)}\n" + "\n".join(self.variables) + "\n"
        yield f"INT {len(self.integers)}\n" + " ".join(map(str, self.integers)) + "\n"
        yield f"OBJ min\n1 {self.objective} 1\n"
        yield f"CON {len(self._constraints)} {self.bounds}\n" + "".join(f"{one}\n" for one in self._constraints)
        yield f"RTP {self.goal}\n"
        if self.solution is None:
            yield "SOL 0\n"
        else:
            values = {at: value for at, value in self.solution.items() if value}
            yield f"SOL 1\nwitness {len(values)}" + "".join(f" {at} {value}" for at, value in values.items()) + "\n"
        yield from self._derivation()

    def _derivation(self) -> Iterator[str]:
        first = len(self._constraints)
        needed: dict[int, int] = {}  # of each line that is used, the last one that uses it
        if self._derived:
            needed[len(self._sides) - 1] = -1
        for at in range(len(self._sides) - 1, first - 1, -1):
            if at in needed:
                for line in self._derived[at - first].lines:
                    needed.setdefault(line, at)
        kept = sorted(at for at in needed if at >= first)
        now = {at: at for at in range(first)} | {at: first + place for place, at in enumerate(kept)} | {-1: -1}
        yield f"DER {len(kept)}\n"
        for at in kept:
            derived = self._derived[at - first]
            lines = [now[one] for one in derived.lines]
            if derived.kind == "lin":
                pairs = zip(lines, derived.numbers.split(), strict=True)
                reason = f"lin {len(lines)} " + " ".join(f"{one} {number}" for one, number in pairs)
            else:
                reason = " ".join([derived.kind, *map(str, lines)])
            yield f"{derived.name}.{now[at]} {derived.says} {{ {reason} }} {now[needed[at]]}\n"


def _lin(name: str, says: str, lines: Mapping[int, int], exponent: int) -> _Derived:
    numbers = " ".join([text((m, exponent)) for m in lines.values()] if exponent else map(str, lines.values()))
    return _Derived(name, says, "lin", tuple(lines), numbers)


def _says(sense: str, coefficients: Mapping[int, Dyadic], side: Dyadic) -> str:
    """A constraint in VIPR's order; no coefficient is left out for being 0 but by the caller."""
    terms = " ".join(f"{at} {text(number)}" for at, number in coefficients.items())
    return f"{sense} {text(side)} {len(coefficients)} {terms}".rstrip()
