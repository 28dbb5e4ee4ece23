"""The oracle in fractions: every linear piece of a small network over a polytope, which is known by its corners.

Nothing is rounded and nothing is solved for: a polytope is cut by a half-space at a time, a linear function is least at
a corner, and a distance is linear where signs and the greatest entry stay the same. Points of a polytope without
volume count as all others do.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

Point = tuple[Fraction, ...]
Form = tuple[Point, Fraction]  # weight · x + constant
ZERO, ONE = Fraction(0), Fraction(1)


def fractions(numbers: Iterable[Any]) -> Point:
    """Numbers as fractions, exactly."""
    return tuple(Fraction(one) if isinstance(one, int | Fraction) else Fraction(float(one)) for one in numbers)


def value(form: Form, point: Point) -> Fraction:
    """Of an affine form."""
    return sum((a * x for a, x in zip(form[0], point, strict=True)), form[1])


def combined(weights: Sequence[Fraction], forms: Sequence[Form], constant: Fraction = ZERO) -> Form:
    """A sum of forms, each times its weight."""
    size = len(forms[0][0])
    pairs = [(w, form) for w, form in zip(weights, forms, strict=True) if w]
    row = tuple(sum((w * form[0][i] for w, form in pairs), ZERO) for i in range(size))
    return row, sum((w * form[1] for w, form in pairs), constant)


@dataclass(frozen=True, eq=False)
class Polytope:
    """All points between corners; each corner knows which of the half-spaces so far it lies at the end of."""

    corners: dict[Point, frozenset[int]]
    cuts: int

    def cut(self, form: Form) -> Polytope:
        """What is left where the form is ≤ 0."""
        values = {x: value(form, x) for x in self.corners}
        left: dict[Point, frozenset[int]] = {}
        for x, v in values.items():
            if v <= 0:
                left[x] = self.corners[x] | ({self.cuts} if v == 0 else frozenset())
        inside, outside = ([x for x, v in values.items() if v * sign > 0] for sign in (-1, 1))
        for x, y in product(inside, outside):
            common = self.corners[x] & self.corners[y]
            if not any(common <= ends for z, ends in self.corners.items() if z not in (x, y)):  # an edge
                t = values[x] / (values[x] - values[y])
                at = tuple(a + t * (b - a) for a, b in zip(x, y, strict=True))
                left[at] = left.get(at, frozenset()) | common | {self.cuts}
        return Polytope(left, self.cuts + 1)

    def cut_by(self, forms: Iterable[Form]) -> Polytope:
        """What is left where all of them are ≤ 0."""
        left = self
        for form in forms:
            if left.corners:
                left = left.cut(form)
        return left

    def least(self, form: Form) -> Fraction:
        """The least value of a form."""
        return min(value(form, x) for x in self.corners)

    def greatest(self, form: Form) -> Fraction:
        """The greatest value of a form."""
        return max(value(form, x) for x in self.corners)


def box(lower: Point, upper: Point) -> Polytope:
    """All points between two, entry by entry; empty where an entry has no room."""
    corners: dict[Point, frozenset[int]] = {}
    if all(a <= b for a, b in zip(lower, upper, strict=True)):
        for sides in product((0, 1), repeat=len(lower)):
            x = tuple((a, b)[side] for a, b, side in zip(lower, upper, sides, strict=True))
            corners[x] = corners.get(x, frozenset()) | {2 * i + side for i, side in enumerate(sides)}
    return Polytope(corners, 2 * len(lower))


def unit(at: int, size: int, weight: Fraction = ONE, constant: Fraction = ZERO) -> Form:
    """A form of one input."""
    return tuple(weight if i == at else ZERO for i in range(size)), constant


def negated(form: Form) -> Form:
    """The form of the other sign."""
    return tuple(-a for a in form[0]), -form[1]


def difference(one: Form, other: Form, constant: Fraction = ZERO) -> Form:
    """One form less the other, and a constant."""
    return tuple(a - b for a, b in zip(one[0], other[0], strict=True)), one[1] - other[1] + constant


def pieces(path: Path, start: Polytope) -> Iterator[tuple[Polytope, list[Form]]]:
    """Every linear piece of a file of fully connected layers and ReLUs, and the outputs there; pieces share sides."""
    graph = onnx.load(str(path)).graph
    constants = {one.name: numpy_helper.to_array(one).astype(np.float64) for one in graph.initializer}
    size = len(next(iter(start.corners))) if start.corners else 0
    first = [unit(i, size) for i in range(size)]
    yield from _walk(graph, 0, constants, {graph.input[0].name: first}, start)


def _walk(
    graph: onnx.GraphProto, at: int, constants: dict[str, Any], known: dict[str, list[Form]], left: Polytope
) -> Iterator[tuple[Polytope, list[Form]]]:
    if not left.corners:
        return
    if at == len(graph.node):
        yield left, known[graph.output[0].name]
        return
    node = graph.node[at]
    if node.op_type != "Relu":
        forms = _affine(node, constants, known)
        yield from _walk(graph, at + 1, constants, {**known, node.output[0]: forms}, left)
        return
    states: list[tuple[Polytope, list[Form]]] = [(left, [])]
    for form in known[node.input[0]]:
        dead: Form = (tuple(ZERO for _ in form[0]), ZERO)
        grown = []
        for part, so_far in states:
            if part.greatest(form) > 0:
                grown.append((part.cut(negated(form)), [*so_far, form]))
            if part.least(form) < 0 or part.greatest(form) <= 0:
                grown.append((part.cut(form), [*so_far, dead]))
        states = grown
    for part, after_all in states:
        yield from _walk(graph, at + 1, constants, {**known, node.output[0]: after_all}, part)


def _affine(node: onnx.NodeProto, constants: dict[str, Any], known: dict[str, list[Form]]) -> list[Form]:
    given = known[node.input[0]] if node.input[0] in known else known[node.input[1]]
    match node.op_type:
        case "MatMul":
            return _linear(given, constants[node.input[1]], np.zeros(constants[node.input[1]].shape[1]))
        case "Gemm":
            weights = constants[node.input[1]]
            turned = any(one.name == "transB" and one.i for one in node.attribute)
            bias = constants[node.input[2]] if len(node.input) > 2 else np.zeros(weights.shape[0 if turned else 1])
            return _linear(given, weights.T if turned else weights, bias)
        case "Add":
            bias = next(constants[name] for name in node.input if name in constants).reshape(-1)
            return [(form[0], form[1] + Fraction(float(b))) for form, b in zip(given, bias, strict=True)]
        case "Flatten" | "Reshape" | "Identity":
            return given
        case other:
            raise NotImplementedError(other)


def _linear(given: list[Form], weights: Any, bias: Any) -> list[Form]:
    columns = [fractions(column) for column in weights.T]
    return [combined(column, given, Fraction(float(b))) for column, b in zip(columns, bias.reshape(-1), strict=True)]


# Distances


def nearest(left: Polytope, sample: Point, units: Point, norm: str) -> Fraction | None:
    """How near the polytope comes to the sample, moves counted in units; squared in L2. None where it is empty."""
    if not left.corners:
        return None
    size = len(sample)
    moves = [unit(i, size, 1 / s, -c / s) for i, (c, s) in enumerate(zip(sample, units, strict=True))]
    if norm == "l2":
        return _euclidean([tuple(value(form, x) for form in moves) for x in left.corners])
    found = []
    for signs in product((1, -1), repeat=size):
        risen = [form if sign > 0 else negated(form) for form, sign in zip(moves, signs, strict=True)]
        part = left.cut_by(negated(form) for form in risen)
        if norm == "l1" and part.corners:
            found.append(part.least(combined([ONE] * size, risen)))
        for one in risen if norm == "linf" else ():
            rest = part.cut_by(difference(other, one) for other in risen)
            if rest.corners:
                found.append(rest.least(one))
    return min(found)


def _euclidean(corners: list[Point]) -> Fraction:
    """The least sum of squares between corners, by Wolfe's algorithm, which ends as nothing is rounded."""
    some = [min(corners, key=lambda x: _dot(x, x))]
    shares = [ONE]
    while True:
        at = _mean(shares, some)
        further = min(corners, key=lambda x: _dot(x, at))
        if _dot(further, at) >= _dot(at, at):
            return _dot(at, at)
        some, shares = [*some, further], [*shares, ZERO]
        while min(wanted := _foot(some)) < 0:
            far = min(now / (now - then) for now, then in zip(shares, wanted, strict=True) if then < 0)
            shares = [now + far * (then - now) for now, then in zip(shares, wanted, strict=True)]
            kept = [i for i, one in enumerate(shares) if one > 0]
            some, shares = [some[i] for i in kept], [shares[i] for i in kept]
        kept = [i for i, one in enumerate(wanted) if one > 0]
        some, shares = [some[i] for i in kept], [wanted[i] for i in kept]


def _foot(some: Sequence[Point]) -> list[Fraction]:
    """The shares of points in the point nearest to zero of the plane through them."""
    first, size = some[0], range(len(some) - 1)
    steps = [tuple(a - b for a, b in zip(one, first, strict=True)) for one in some[1:]]
    table = [[_dot(one, other) for other in steps] + [-_dot(one, first)] for one in steps]
    for at in size:
        pivot = next(i for i in size[at:] if table[i][at])
        table[at], table[pivot] = table[pivot], table[at]
        table[at] = [one / table[at][at] for one in table[at]]
        for i in size:
            if i != at:
                table[i] = [a - table[i][at] * b for a, b in zip(table[i], table[at], strict=True)]
    shares = [line[-1] for line in table]
    return [1 - sum(shares, ZERO), *shares]


def _mean(shares: Sequence[Fraction], points: Sequence[Point]) -> Point:
    return tuple(sum((s * x[i] for s, x in zip(shares, points, strict=True)), ZERO) for i in range(len(points[0])))


def _dot(one: Point, other: Point) -> Fraction:
    return sum((a * b for a, b in zip(one, other, strict=True)), ZERO)
