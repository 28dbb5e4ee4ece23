"""A checker of VIPR 1.1 certificates in fractions, written from cert_spec_v1_1.md alone; refuses by ValueError.

(https://github.com/scipopt/vipr.) `lin weak` and `lin incomplete` are not known here, nor is `sol`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor

SENSES = {"G": 1, "E": 0, "L": -1}
Row = dict[int, Fraction]


@dataclass(frozen=True)
class Line:
    """a · x ≥, = or ≤ a side (sense 1, 0 or -1), and the assumptions on which it rests."""

    row: Row
    sense: int
    side: Fraction
    rests_on: frozenset[int] = frozenset()

    @property
    def absurd(self) -> bool:
        """0 ≥ what is above 0, or the like."""
        return not self.row and ((self.sense >= 0 and self.side > 0) or (self.sense <= 0 and self.side < 0))

    def dominates(self, other: Line) -> bool:
        """Whether whatever keeps this line keeps the other, by the page's restricted rule."""
        if self.absurd:
            return True
        if self.row != other.row or (self.sense != 0 and self.sense != other.sense):
            return False
        if other.sense == 0:
            return self.side == other.side
        return self.side >= other.side if other.sense > 0 else self.side <= other.side


class Vipr:
    """One file: its problem is `variables`, `integers` and `constraints`; `check` says what it proves."""

    def __init__(self, text: str) -> None:
        kept = text.splitlines()
        while kept and kept[0].startswith("%"):
            kept.pop(0)
        self._words = iter(" ".join(kept).split())
        need(next(self._words) == "VER" and next(self._words) in ("1.0", "1.1"), "another version")
        self.variables = [next(self._words) for _ in range(self._count("VAR"))]
        need(len(set(self.variables)) == len(self.variables), "a variable's name occurs twice")
        self.integers = {int(next(self._words)) for _ in range(self._count("INT"))}
        self._section("OBJ")
        self.sign = {"min": 1, "max": -1}[next(self._words)]
        self.objective = self._row()
        count, bounds = self._count("CON"), int(next(self._words))
        self.names: list[str] = []
        self.constraints = [self._line() for _ in range(count)]
        need(all(len(one.row) == 1 for one in self.constraints[:bounds]), "a bound has several variables")
        self._section("RTP")
        self.asked = [next(self._words)]
        if self.asked[0] == "range":
            self.asked += [next(self._words), next(self._words)]
        self.solutions = [(next(self._words), self._row())[1] for _ in range(self._count("SOL"))]
        self.lines = list(self.constraints)
        self.last_use: dict[int, int] = {}

    def check(self) -> str:
        """What the file proves; refuses it where that does not follow."""
        values = [self._value(one) for one in self.solutions]
        count = self._count("DER")
        for _ in range(count):
            self.lines.append(self._derived())
        need(next(self._words, None) is None, "words follow")
        need(len(set(self.names)) == len(self.names), "a constraint's name occurs twice")
        last = self.lines[-1]
        need(not count or not last.rests_on, f"the last line rests on {sorted(last.rests_on)}")
        if self.asked[0] == "infeas":
            need(count > 0 and last.absurd, "the last line is no absurdity")
            return "infeasible"
        best, least = (("inf", "-inf"), ("-inf", "inf"))[self.sign < 0]
        lower, upper = self.asked[1:] if self.sign > 0 else self.asked[:0:-1]
        if lower != least:
            goal = Line(self.objective, self.sign, Fraction(lower))
            need(last.dominates(goal) and count > 0, "the last line is not the bound that was to be proven")
        if upper != best:
            need(any(self.sign * one <= self.sign * Fraction(upper) for one in values), "no solution is that good")
        return f"within [{self.asked[1]}, {self.asked[2]}]"

    def _value(self, solution: Row) -> Fraction:
        for at in self.integers:
            need(solution.get(at, Fraction(0)).denominator == 1, f"{self.variables[at]} is no integer in a solution")
        for at, line in enumerate(self.constraints):
            gap = dot(line.row, solution) - line.side
            need(gap * line.sense >= 0 if line.sense else gap == 0, f"a solution breaks {self.names[at]}")
        return dot(self.objective, solution)

    def _derived(self) -> Line:
        line, here = self._line(), len(self.lines)
        need(next(self._words) == "{", "no reason")
        kind = next(self._words)
        if kind == "asm":
            rests_on = frozenset({here})
        elif kind in ("lin", "rnd"):
            found = self._combination(list(self._pairs()))
            if kind == "rnd":
                found = self._rounded(found)
            need(found.dominates(line), f"{self.names[here]} does not follow")
            rests_on = found.rests_on
        elif kind == "uns":
            one, first, other, second = (self._used(int(next(self._words))) for _ in range(4))
            need(all(self.lines[at].dominates(line) for at in (one, other)), f"{self.names[here]}: a case is weaker")
            self._disjunction(first, second)
            rests_on = (self.lines[one].rests_on - {first}) | (self.lines[other].rests_on - {second})
        else:
            raise ValueError(f"the reason {kind!r} is not known here")
        need(next(self._words) == "}", "a reason does not end")
        last = int(next(self._words))
        need(last == -1 or last > here, "a line's last use is before it")
        if last >= 0:
            self.last_use[here] = last
        return Line(line.row, line.sense, line.side, rests_on)

    def _used(self, at: int) -> int:
        here = len(self.lines)
        need(0 <= at < here, f"{self.names[here]} refers to what is not before it")
        need(self.last_use.get(at, here) >= here, f"{self.names[at]} is used after its last use")
        return at

    def _combination(self, terms: list[tuple[int, Fraction]]) -> Line:
        need(len({at for at, _ in terms}) == len(terms), "a combination names a line twice")
        row: Row = {}
        side, senses, rests_on = Fraction(0), set(), frozenset[int]()
        for at, times in terms:
            line = self.lines[self._used(at)]
            for variable, number in line.row.items():
                row[variable] = row.get(variable, Fraction(0)) + times * number
            side += times * line.side
            senses.add(line.sense * ((times > 0) - (times < 0)))
            rests_on |= line.rests_on
        need(not {-1, 1} <= senses, f"{self.names[-1]}: a multiplier has the wrong sign")
        sense = 1 if 1 in senses else -1 if -1 in senses else 0
        return Line({at: number for at, number in row.items() if number}, sense, side, rests_on)

    def _rounded(self, line: Line) -> Line:
        need(
            all(at in self.integers and a.denominator == 1 for at, a in line.row.items()),
            "what is rounded is no integer",
        )
        side = Fraction(ceil(line.side) if line.sense > 0 else floor(line.side)) if line.sense else line.side
        return Line(line.row, line.sense, side, line.rests_on)

    def _disjunction(self, first: int, second: int) -> None:
        low, high = sorted((self.lines[first], self.lines[second]), key=lambda line: line.sense)
        whole = low.side.denominator == 1 and all(
            at in self.integers and a.denominator == 1 for at, a in low.row.items()
        )
        fits = (low.sense, high.sense) == (-1, 1) and low.row == high.row and high.side == low.side + 1
        need(whole and fits, f"{self.names[-1]}: no integer lies in either case")

    def _section(self, name: str) -> None:
        need(next(self._words) == name, f"no section {name}")

    def _count(self, name: str) -> int:
        self._section(name)
        return int(next(self._words))

    def _pairs(self) -> Iterator[tuple[int, Fraction]]:
        word = next(self._words)
        if word == "OBJ":
            yield from self.objective.items()
            return
        for _ in range(int(word)):
            yield int(next(self._words)), Fraction(next(self._words))

    def _row(self) -> Row:
        pairs = list(self._pairs())
        need(len(dict(pairs)) == len(pairs), "a variable occurs twice")
        need(all(0 <= at < len(self.variables) for at, _ in pairs), "there is no such variable")
        return {at: number for at, number in pairs if number}

    def _line(self) -> Line:
        self.names.append(next(self._words))
        sense, side = SENSES[next(self._words)], Fraction(next(self._words))
        return Line(self._row(), sense, side)


def dot(row: Row, point: Row) -> Fraction:
    """A row at a point; what is not named is 0."""
    return sum((number * point.get(at, Fraction(0)) for at, number in row.items()), Fraction(0))


def need(truth: bool, why: str) -> None:
    """Refuse unless something is true."""
    if not truth:
        raise ValueError(why)
