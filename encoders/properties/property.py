"""What may be asked of a network beside its classes: linear inequalities over inputs and outputs, and, or.

A property is a disjunction of cases, each a conjunction of inequalities; it is satisfied by an input x, with y = f(x),
at which every inequality of some case holds. Everything is kept in exact fractions. Proofs are about

    z = A x + B y + c    with    every z of some case ≤ 0    over a box of inputs,

which the network with one more affine layer computes; numbers are rounded so that nothing is lost from the set: the
box outward, and the layer with the rounding of its numbers accounted for, as every layer's is.

A property may speak of several networks: x are the inputs of all of them, one after the other, and y their outputs.
Inputs that a case says are equal (x_i - x_j ≤ 0 and x_j - x_i ≤ 0) are one input of its part: networks that are asked
about at one input share it, and a proof need not find that out again.

A witness is an input in the file's own number type, and lies in the set as it is written: without rounding, without
tolerance. Where the set leaves an input no number of that type, as a fixed input whose decimals float32 does not have,
the nearest one stands for it; the box that proofs are about holds that number too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from encoders.arrays import FloatArray, InputType, IntArray
from encoders.deadline import look
from encoders.errors import DataError
from encoders.layer_graph.graph import Affine, Graph
from encoders.layer_graph.linear_maps import Sparse
from encoders.question import Goal

MOST_TOGETHER = 1000  # cases of a part: the clock is looked at between parts
LARGEST, SMALLEST = 1e150, 1e-150  # numbers of a property that are computed with: no product of theirs leaves float64


@dataclass(frozen=True)
class Inequality:
    """inputs · x + outputs · y + constant ≤ 0, or < 0 where it is `strict`; entries that are zero are left out."""

    inputs: Mapping[int, Fraction] = field(default_factory=dict)
    outputs: Mapping[int, Fraction] = field(default_factory=dict)
    constant: Fraction = Fraction(0)
    strict: bool = False

    def value(self, x: FloatArray, y: FloatArray) -> Fraction:
        """The left side at one input and its outputs, without rounding."""
        total = self.constant
        for terms, values in ((self.inputs, x), (self.outputs, y)):
            total += sum((weight * Fraction(float(values[place])) for place, weight in terms.items()), Fraction(0))
        return total

    def holds(self, x: FloatArray, y: FloatArray) -> bool:
        """Whether it holds, without rounding and without tolerance."""
        value = self.value(x, y)
        return value < 0 if self.strict else value <= 0

    @property
    def side(self) -> tuple[int, Fraction, bool] | None:
        """A side of the box, where that is what it is: the input, its bound, and whether that is an upper one."""
        if self.outputs or len(self.inputs) != 1:
            return None
        ((place, weight),) = self.inputs.items()
        return place, -self.constant / weight, weight > 0


Case = tuple[Inequality, ...]


@dataclass(frozen=True)
class Variable:
    """A tensor as a property declares it: its name, the type of its numbers, and its shape."""

    name: str
    kind: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        return math.prod(self.shape)


@dataclass(frozen=True)
class Declared:
    """A network as a property declares it; where it is `equal_to` another one, both are one file."""

    name: str
    input: Variable
    output: Variable
    equal_to: str | None = None


@dataclass(frozen=True)
class Property:
    """A disjunction of cases over the inputs and the outputs of networks.

    Entries are counted over all networks, in the order in which they are declared; `version` is that of the text.
    """

    networks: tuple[Declared, ...]
    cases: tuple[Case, ...]
    version: str = "2.0"

    @property
    def input_size(self) -> int:
        return sum(network.input.size for network in self.networks)

    @property
    def output_size(self) -> int:
        return sum(network.output.size for network in self.networks)

    def input_called(self, place: int) -> str:
        """How errors call an input."""
        if len(self.networks) == 1:
            return f"input {place}"
        for network in self.networks:
            if place < network.input.size:
                break
            place -= network.input.size
        return f"input {place} of {network.name}"


@dataclass(frozen=True, eq=False)
class Part:
    """The cases that share a box of inputs: lower ≤ x ≤ upper, and every one of some rows ≤ 0.

    `places` says which of the part's inputs each input of the property is: those that are equal are one. `inner` are
    the least and the greatest numbers of the file's type in the box as it is written; of the inputs in `nearest` it
    holds none, and the nearest one is taken.
    """

    places: IntArray
    lower: FloatArray
    upper: FloatArray
    inner: tuple[FloatArray, FloatArray]
    nearest: tuple[int, ...]
    rows: tuple[Case, ...]

    def satisfied(self, x: FloatArray, y: FloatArray) -> bool:
        """Whether one input in the file's type, with its outputs, satisfies some case: without rounding."""
        if not (np.isfinite(x).all() and np.isfinite(y).all()):
            return False
        if (x < self.inner[0]).any() or (x > self.inner[1]).any():
            return False
        return any(all(row.holds(x, y) for row in case) for case in self.rows)


def parts_of(asked: Property, kind: InputType = np.float32) -> tuple[Part, ...]:
    """The cases by their boxes, for files that read numbers of this type; a case whose box is empty has no part."""
    boxes: dict[tuple[tuple[int, ...], tuple[tuple[_Side, _Side], ...]], list[Case]] = {}
    for case in asked.cases:
        look()
        firsts, tied = _tied(case, asked.input_size)
        sides = _sides(asked, tied, sorted(set(firsts)))
        if sides is not None:
            boxes.setdefault((firsts, tuple(sides)), []).append(tuple(row for row in tied if row.side is None))
    parts = []
    for (firsts, box), cases in boxes.items():
        numbers, places = np.unique(np.array(firsts, dtype=np.int64), return_inverse=True)
        part = _part(asked, numbers, places.astype(np.int64), box, kind)
        if len(numbers) < len(places):
            number = {first: k for k, first in enumerate(numbers.tolist())}
            cases = [tuple(_on(row, number) for row in case) for case in cases]
        parts += [
            replace(part, rows=tuple(cases[start : start + MOST_TOGETHER]))
            for start in range(0, len(cases), MOST_TOGETHER)
        ]
    return tuple(parts)


def _tied(case: Case, size: int) -> tuple[tuple[int, ...], Case]:
    """Of each input the first one that the case says is equal to it, and the case about these alone."""
    firsts = np.arange(size, dtype=np.int64)
    while pairs := _equal(case):
        first, second = zip(*pairs, strict=True)
        links = sparse.coo_array((np.ones(len(pairs)), (first, second)), shape=(size, size))
        _, group = connected_components(links, directed=False)
        _, least, inverse = np.unique(group, return_index=True, return_inverse=True)
        step = least[inverse]
        firsts = step[firsts]
        number = dict(enumerate(step.tolist()))
        moved = ((row, _on(row, number)) for row in case)
        case = tuple(now for row, now in moved if now is row or now.inputs or now.outputs or not _always(now))
    return tuple(firsts.tolist()), case


def _equal(case: Case) -> list[tuple[int, int]]:
    """Pairs of inputs of which the one is at most the other, and the other way round."""
    below: set[tuple[int, int]] = set()
    for row in case:
        if len(row.inputs) == 2 and not row.outputs and row.constant == 0:  # a strict one then fails: 0 < 0
            (one, weight), (other, against) = row.inputs.items()
            if weight == -against:
                below.add((one, other) if weight > 0 else (other, one))
    return [(one, other) for one, other in below if one < other and (other, one) in below]


def _on(row: Inequality, number: Mapping[int, int]) -> Inequality:
    """A row about the inputs of other numbers; itself where they are its own."""
    if all(number[place] == place for place in row.inputs):
        return row
    inputs: dict[int, Fraction] = {}
    for place, weight in row.inputs.items():
        inputs[number[place]] = inputs.get(number[place], Fraction(0)) + weight
    return replace(row, inputs={place: weight for place, weight in inputs.items() if weight})


def _always(row: Inequality) -> bool:
    """Whether a row about nothing holds."""
    return row.holds(np.zeros(0), np.zeros(0))


_Side = tuple[Fraction, bool]  # a bound, and whether it is strict: of two equal ones the strict one holds


def _sides(asked: Property, case: Case, places: Sequence[int]) -> list[tuple[_Side, _Side]] | None:
    """The lower and the upper bound of each of these inputs in one case; None where they leave nothing."""
    lower: dict[int, _Side] = {}
    upper: dict[int, _Side] = {}
    for row in case:
        if row.side is None:
            if not row.inputs and not row.outputs and not _always(row):
                return None
            continue
        place, bound, above = row.side
        side = (bound, row.strict)
        if above:
            upper[place] = min(side, upper.get(place, side), key=lambda one: (one[0], not one[1]))
        else:
            lower[place] = max(side, lower.get(place, side))
    for name, sides in (("lower", lower), ("upper", upper)):
        missing = next((place for place in places if place not in sides), None)
        if missing is not None:
            called = asked.input_called(missing)
            raise DataError(f"{called} has no {name} bound of its own in some case: bound each input by numbers")
    both = [(lower[place], upper[place]) for place in places]
    empty = any(low[0] > high[0] or (low[0] == high[0] and (low[1] or high[1])) for low, high in both)
    return None if empty else both


def _part(
    asked: Property, numbers: IntArray, places: IntArray, sides: Sequence[tuple[_Side, _Side]], kind: InputType
) -> Part:
    """A part without its rows; `numbers` are its inputs, as the property counts them."""
    look()
    largest = min(Fraction(float(np.finfo(kind).max)), Fraction(LARGEST))
    for place, ((low, _), (high, _)) in enumerate(sides):
        if min(low, high) < -largest or max(low, high) > largest:
            called = asked.input_called(int(numbers[place]))
            raise DataError(f"a bound of {called} is beyond {float(largest):.3g}; give a smaller box")
    lower = np.array([_down(low[0]) for low, _ in sides])
    upper = np.array([-_down(-high[0]) for _, high in sides])
    least = np.array([_least(*low, kind) for low, _ in sides])
    greatest = np.array([-_least(-high[0], high[1], kind) for _, high in sides])
    nearest = tuple(np.flatnonzero(least > greatest).tolist())
    for place in nearest:
        (low, _), (high, _) = sides[place]
        middle = (low + high) / 2
        ends = [number for number in (greatest[place], least[place]) if np.isfinite(number)]
        even = float(kind(float(middle)))  # of two that are equally near, the one that every reader of decimals takes
        one = min(ends, key=lambda number: (abs(Fraction(float(number)) - middle), number != even))
        least[place] = greatest[place] = one
        lower[place], upper[place] = min(lower[place], one), max(upper[place], one)
    return Part(places, lower, upper, (least, greatest), nearest, ())


def _least(bound: Fraction, strict: bool, kind: InputType) -> float:
    """The least number of a type that is at least the bound, or above it; infinite where there is none."""
    with np.errstate(over="ignore"):  # one below the least number is cut off again
        below = np.nextafter(kind(_down(bound)), kind(-np.inf))  # rounded to nearest, and one more: not above the bound
    number = max(below, kind(np.finfo(kind).min))
    while np.isfinite(number) and (Fraction(float(number)) < bound or (strict and Fraction(float(number)) == bound)):
        number = np.nextafter(number, kind(np.inf))
    return float(number) + 0.0  # no minus zero


def in_float64(exact: Fraction) -> float:
    """The nearest float64, within one rounding; refused where it is not, beyond the ends of the normal numbers."""
    found = float(exact) if abs(exact) < LARGEST else np.inf
    if abs(found) > LARGEST or (exact and abs(found) < SMALLEST):
        raise DataError(f"a number of about 1e{_magnitude(exact)} in the property is beyond what is computed with")
    return found


def _magnitude(exact: Fraction) -> int:
    return len(str(abs(exact.numerator))) - len(str(exact.denominator))


def _down(number: Fraction) -> float:
    """The largest float64 that is not above it."""
    near = float(number)
    return near if Fraction(near) <= number else float(np.nextafter(near, -np.inf))


@dataclass(frozen=True, eq=False)
class Asked:
    """A part as the engines are asked it: a graph whose outputs are all rows, and of each case which are its own."""

    graph: Graph
    cases: tuple[tuple[int, ...], ...]

    @property
    def goals(self) -> tuple[Goal, ...]:
        """The cases as goals."""
        identity = np.eye(self.graph.classes)
        return tuple(Goal(k, identity[list(case)], np.zeros(len(case))) for k, case in enumerate(self.cases))


def asked_of(graph: Graph, part: Part) -> Asked:
    """A network of the part's inputs with the rows as its last layer; a case without rows is satisfied by its box."""
    rows = list({_key(row): row for case in part.rows for row in case}.values())
    number = {_key(row): k for k, row in enumerate(rows)}
    maps = (
        Sparse(_matrix([row.inputs for row in rows], graph.input_size)),
        Sparse(_matrix([row.outputs for row in rows], graph.classes)),
    )
    bias = np.array([in_float64(row.constant) for row in rows])
    # Every number is its fraction times (1 + θ), |θ| ≤ u: one rounding each.
    size = np.nextafter(np.abs(bias), np.inf)
    head = Affine((0, len(graph.nodes) - 1), maps, bias, "property", size, 1)
    cases = tuple(tuple(number[_key(row)] for row in case) for case in part.rows)
    return Asked(Graph((*graph.nodes, head), graph.input_shape), cases)


def _key(row: Inequality) -> object:
    """Rows with the same function are one; whether they are strict is nothing that a proof knows."""
    return tuple(sorted(row.inputs.items())), tuple(sorted(row.outputs.items())), row.constant


def _matrix(rows: Sequence[Mapping[int, Fraction]], size: int) -> sparse.csr_array:
    places = [(k, place, in_float64(weight)) for k, row in enumerate(rows) for place, weight in row.items()]
    where = ([k for k, _, _ in places], [place for _, place, _ in places])
    return sparse.csr_array(([value for _, _, value in places], where), shape=(len(rows), size))
