"""Another reading of VNN-LIB 1.0 text, exact and recursive: whether a point satisfies it, and linear rows to ask with.

Shares nothing with `encoders/properties/`: text becomes nested tuples, a term becomes a rational number at a point, and
a formula becomes true or false by the words of SMT-LIB's QF_LRA. A term's coefficients are its values at unit vectors.
"""

from __future__ import annotations

import itertools
import operator
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog

from encoders.layer_graph.graph import Graph
from encoders.question import Region
from tests.brute_force import linear_pieces

Array = NDArray[np.float64]
Expression: TypeAlias = "str | tuple[Expression, ...]"
Point = Mapping[str, Fraction]
Condition = tuple[str, Expression, Expression]  # an operator, and what stands on its two sides

COMPARISONS: dict[str, Callable[[Fraction, Fraction], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
    "==": operator.eq,
}
VARIABLE = re.compile(r"[XY]_\d+")


def expressions(text: str) -> tuple[Expression, ...]:
    """The commands of a file, as nested tuples of words."""
    words = re.findall(r"[()]|[^\s()]+", re.sub(r";[^\n]*", "", text))
    open_lists: list[list[Expression]] = [[]]
    for word in words:
        if word == "(":
            open_lists.append([])
        elif word == ")":
            closed = tuple(open_lists.pop())
            open_lists[-1].append(closed)
        else:
            open_lists[-1].append(word)
    assert len(open_lists) == 1
    return tuple(open_lists[0])


def assertions(text: str) -> tuple[Expression, ...]:
    """The formulas that are asserted; all of them are to hold."""
    return tuple(command[1] for command in expressions(text) if command[0] == "assert")


def value(term: Expression, point: Point) -> Fraction:
    """A term's exact value."""
    if isinstance(term, str):
        return point[term] if VARIABLE.fullmatch(term) else Fraction(term)
    first, *rest = (value(part, point) for part in term[1:])
    match term[0]:
        case "+":
            return sum(rest, first)
        case "-":
            return first - sum(rest) if rest else -first
        case "*":
            for factor in rest:
                first *= factor
            return first
    raise AssertionError(term)


def holds(formula: Expression, point: Point) -> bool:
    """Whether a formula is true."""
    assert isinstance(formula, tuple)
    match formula[0]:
        case "and":
            return all(holds(part, point) for part in formula[1:])
        case "or":
            return any(holds(part, point) for part in formula[1:])
        case str(sign):
            return COMPARISONS[sign](value(formula[1], point), value(formula[2], point))
    raise AssertionError(formula)


def satisfied(text: str, point: Point) -> bool:
    """Whether a point satisfies all that a file asserts."""
    return all(holds(formula, point) for formula in assertions(text))


def conditions(formula: Expression) -> Iterator[Condition]:
    """Every comparison in a formula."""
    if formula[0] in COMPARISONS:
        yield str(formula[0]), formula[1], formula[2]
        return
    for part in formula[1:]:
        yield from conditions(part)


def alternatives(formula: Expression) -> list[tuple[Condition, ...]]:
    """Sets of comparisons such that a formula is true where all of one set are."""
    if formula[0] in COMPARISONS:
        return [((str(formula[0]), formula[1], formula[2]),)]
    parts = [alternatives(part) for part in formula[1:]]
    if formula[0] == "or":
        return list(itertools.chain(*parts))
    return [tuple(itertools.chain(*chosen)) for chosen in itertools.product(*parts)]


def variables(term: Expression) -> set[str]:
    """The variables in a term."""
    if isinstance(term, str):
        return {term} if VARIABLE.fullmatch(term) else set()
    return set().union(*(variables(part) for part in term[1:]))


def coefficients(condition: Condition) -> tuple[dict[str, Fraction], Fraction]:
    """Left less right as a linear function: what it gains from each variable, and its constant."""
    names = variables(condition[1]) | variables(condition[2])
    origin = dict.fromkeys(sorted(names), Fraction(0))

    def difference(point: Point) -> Fraction:
        return value(condition[1], point) - value(condition[2], point)

    constant = difference(origin)
    gains = {name: difference(origin | {name: Fraction(1)}) - constant for name in origin}
    return {name: gain for name, gain in gains.items() if gain}, constant


@dataclass(frozen=True)
class Alternative:
    """One set of comparisons: the numbers between which it leaves each input, and whatever else it says."""

    comparisons: tuple[Condition, ...]
    lower: dict[str, Fraction]
    upper: dict[str, Fraction]
    others: tuple[Condition, ...]

    def read_for(self, point: Point) -> dict[str, Fraction]:
        """The point, with an input's one real value where its nearest float32 stands for it."""
        meant = dict(point)
        for name in self.lower.keys() & self.upper.keys():
            only = self.lower[name]
            if only == self.upper[name] and Fraction(float(np.float32(float(only)))) == point[name]:
                meant[name] = only
        return meant

    def satisfied(self, point: Point) -> bool:
        """Whether all comparisons are true."""
        return all(COMPARISONS[sign](value(left, point), value(right, point)) for sign, left, right in self.comparisons)


def alternatives_of(text: str) -> list[Alternative]:
    """What a file asks for, as sets of comparisons of which one must be true."""
    chosen = alternatives(("and", *assertions(text)))
    return [_sorted(comparisons) for comparisons in chosen]


def _sorted(comparisons: tuple[Condition, ...]) -> Alternative:
    lower: dict[str, Fraction] = {}
    upper: dict[str, Fraction] = {}
    others = []
    for comparison in comparisons:
        gains, constant = coefficients(comparison)
        if len(gains) != 1 or not next(iter(gains)).startswith("X"):
            others.append(comparison)
            continue
        [(name, gain)] = gains.items()
        bound, below = -constant / gain, (comparison[0] in ("<=", "<")) == (gain > 0)
        if comparison[0] == "==" or below:
            upper[name] = min(bound, upper.get(name, bound))
        if comparison[0] == "==" or not below:
            lower[name] = max(bound, lower.get(name, bound))
    return Alternative(comparisons, lower, upper, tuple(others))


def witnessed(text: str, inputs: NDArray[np.floating[Any]], outputs: Array) -> bool:
    """Whether a float32 input and what the network makes of it satisfy the text, number by number as they are."""
    point = {f"X_{place}": Fraction(float(number)) for place, number in enumerate(inputs)}
    point |= {f"Y_{place}": Fraction(float(number)) for place, number in enumerate(outputs)}
    return any(alternative.satisfied(alternative.read_for(point)) for alternative in alternatives_of(text))


def clearance(text: str, graph: Graph) -> float:
    """By how much all of one alternative's rows (gains of one at most) can hold at once; negative where they cannot.

    The bounds of inputs have no part in it: a box is what it is, also where it leaves an input one number.
    """
    asked = [one for one in alternatives_of(text) if all(one.lower[name] <= one.upper[name] for name in one.lower)]
    names = tuple(f"X_{place}" for place in range(graph.input_size))
    if not asked:
        return -np.inf
    lows = np.array([[float(one.lower[name]) for name in names] for one in asked])
    highs = np.array([[float(one.upper[name]) for name in names] for one in asked])
    low, high = lows.min(axis=0), highs.max(axis=0)
    pieces = linear_pieces(graph, Region((low + high) / 2.0, low, high))
    best = -np.inf
    for alternative, below, above in zip(asked, lows, highs, strict=True):
        for piece in pieces:
            weight, offset = piece.known[-1]
            rows, limits = [np.append(-row, 0.0) for row in piece.rows], list(piece.values)
            for comparison in alternative.others:
                row, limit = _row(comparison, weight, offset)
                rows.append(row)
                limits.append(limit)
            answer = linprog(
                np.append(np.zeros(len(names)), -1.0),
                np.array(rows) if rows else None,
                np.array(limits) if rows else None,
                bounds=[*zip(below, above, strict=True), (-1e3, 1.0)],
            )
            if answer.status == 0:
                best = max(best, -float(answer.fun))
    return best


def _row(comparison: Condition, weight: Array, offset: Array) -> tuple[Array, float]:
    """A comparison on one linear piece, as (row, limit) with row · (x, clearance) ≤ limit."""
    sign = 1.0 if comparison[0] in ("<=", "<") else -1.0
    gains, constant = coefficients(comparison)
    row, total = np.zeros(weight.shape[1]), sign * float(constant)
    for name, gain in gains.items():
        place, amount = int(name[2:]), sign * float(gain)
        if name[0] == "X":
            row[place] += amount
        else:
            row += amount * weight[place]
            total += amount * float(offset[place])
    return np.append(row, max(1.0, float(np.abs(row).max(initial=0.0)))), -total
