"""The oracle for files of one input: the network in rational numbers, read from the file and from nothing else.

On a piece of the line where no activation changes sides, every value is slope · x + offset. A piece on which one
does change is cut there and evaluated again, so the pieces are exact, and so is the distance to the nearest tie.
Square roots alone are cut off, after eighty digits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import product
from math import isqrt
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

Exact = np.ndarray  # of Fractions
DIGITS = 10**80


class CutError(ArithmeticError):
    """An activation changes sides inside a piece, at `where`."""

    def __init__(self, where: Fraction) -> None:
        super().__init__(str(where))
        self.where = where


@dataclass(frozen=True, eq=False)
class Line:
    """An array of linear functions of the input: slope · x + offset."""

    slope: Exact
    offset: Exact

    def __post_init__(self) -> None:
        for name in ("slope", "offset"):  # sums of arrays without axes are no arrays
            object.__setattr__(self, name, np.asarray(getattr(self, name), dtype=object))

    def each(self, step: Callable[[Exact], Exact]) -> Line:
        """The same rearrangement, or product with a number, of both parts."""
        return Line(step(self.slope), step(self.offset))

    def __add__(self, other: Line) -> Line:
        return Line(self.slope + other.slope, self.offset + other.offset)

    def __sub__(self, other: Line) -> Line:
        return Line(self.slope - other.slope, self.offset - other.offset)

    def times(self, other: Line, multiply: Callable[[Exact, Exact], Exact] = np.multiply) -> Line:
        """A product, one side of which is constant."""
        if self.slope.any() and other.slope.any():
            raise ArithmeticError("a product of two functions of the input is no linear function")
        slope = multiply(self.slope, other.offset) + multiply(self.offset, other.slope)
        return Line(slope, multiply(self.offset, other.offset))


def fractions(values: Any) -> Exact:
    """An array of numbers as rational numbers."""
    array = np.asarray(values)
    return np.array([Fraction(v) for v in array.reshape(-1).tolist()], dtype=object).reshape(array.shape)


def constant(values: Any) -> Line:
    """A constant as a line."""
    offset = fractions(values)
    return Line(offset * 0, offset)


def square_root(value: Fraction) -> Fraction:
    """The root to eighty digits."""
    return Fraction(isqrt(value.numerator * DIGITS**2 // value.denominator), DIGITS)


@dataclass(frozen=True, eq=False)
class Piece:
    """The values of one node's inputs for x from `low` to `high`, and its attributes."""

    low: Fraction
    high: Fraction
    inputs: tuple[Line | None, ...]
    attributes: dict[str, Any]

    def given(self, index: int) -> Line:
        """An input that must be there."""
        value = self.inputs[index]
        if value is None:
            raise ArithmeticError("an input that is not optional is left out")
        return value

    def optional(self, index: int) -> Line | None:
        """An input that may be left out."""
        return self.inputs[index] if index < len(self.inputs) else None

    def whole(self, index: int) -> list[int]:
        """A constant list of whole numbers."""
        return [int(v) for v in self.given(index).offset.reshape(-1)]

    def positive(self, value: Line) -> np.ndarray:
        """Where the value is positive; the piece is cut where that changes on the way."""
        for slope, offset in zip(value.slope.flat, value.offset.flat, strict=True):
            if slope and self.low < -offset / slope < self.high:
                raise CutError(-offset / slope)
        return np.asarray(value.slope * ((self.low + self.high) / 2) + value.offset > 0, dtype=bool)

    def pick(self, where: np.ndarray, yes: Line, no: Line) -> Line:
        """One of two values, entry by entry."""
        return Line(np.where(where, yes.slope, no.slope), np.where(where, yes.offset, no.offset))

    def greater(self, one: Line, other: Line) -> Line:
        """The greater of two values."""
        return self.pick(self.positive(one - other), one, other)

    def less(self, one: Line, other: Line) -> Line:
        """The smaller of two values."""
        return self.pick(self.positive(one - other), other, one)


def _leaky(piece: Piece, slope: Line) -> Line:
    value = piece.given(0)
    return piece.pick(piece.positive(value), value, value.times(slope))


def _gemm(piece: Piece) -> Line:
    left, right = piece.given(0), piece.given(1)
    left = left.each(np.transpose) if piece.attributes["transA"] else left
    right = right.each(np.transpose) if piece.attributes["transB"] else right
    total = left.times(right, np.matmul).times(constant(piece.attributes["alpha"]))
    bias = piece.optional(2)
    return total if bias is None else total + bias.times(constant(piece.attributes["beta"]))


def _normalised(piece: Piece) -> Line:
    value = piece.given(0)
    shape = (-1,) + (1,) * (value.offset.ndim - 2)
    scale, shift, mean, variance = (piece.given(k).offset.reshape(shape) for k in range(1, 5))
    epsilon = Fraction(piece.attributes["epsilon"])
    factor = np.array([s / square_root(v + epsilon) for s, v in zip(scale.flat, variance.flat, strict=True)])
    centred = value - Line(mean * 0, mean)
    return Line(centred.slope * factor.reshape(shape), centred.offset * factor.reshape(shape) + shift)


def _clip(piece: Piece) -> Line:
    value, low, high = piece.given(0), piece.optional(1), piece.optional(2)
    value = value if low is None else piece.greater(value, low)
    return value if high is None else piece.less(value, high)


def _hard_sigmoid(piece: Piece) -> Line:
    value = piece.given(0).times(constant(piece.attributes["alpha"])) + constant(piece.attributes["beta"])
    return piece.less(piece.greater(value, constant(0)), constant(1))


def _padded(value: Line, pads: list[int], filling: Line) -> Line:
    half = len(pads) // 2
    widths = list(zip(pads[:half], pads[half:], strict=True))
    number: Any = filling.offset.reshape(-1)[0]
    none: Any = Fraction(0)
    return Line(np.pad(value.slope, widths, constant_values=none), np.pad(value.offset, widths, constant_values=number))


def _pad(piece: Piece) -> Line:
    return _padded(piece.given(0), piece.whole(1), piece.optional(2) or constant(0))


def _windows(piece: Piece, kernel: list[int]) -> tuple[tuple[int, int], Iterator[tuple[tuple[int, int], list[Any]]]]:
    """The output's size, and for each of its places the pixels below the kernel, (row, column) or None in the pads."""
    height, width = piece.given(0).offset.shape[2:]
    pads = piece.attributes.get("pads") or [0, 0, 0, 0]
    strides, steps = piece.attributes.get("strides") or [1, 1], piece.attributes.get("dilations") or [1, 1]
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, steps, strict=True)]
    rows = (height + pads[0] + pads[2] - reach[0]) // strides[0] + 1
    columns = (width + pads[1] + pads[3] - reach[1]) // strides[1] + 1

    def places() -> Iterator[tuple[tuple[int, int], list[Any]]]:
        for r, c in product(range(rows), range(columns)):
            pixels = []
            for i, j in product(range(kernel[0]), range(kernel[1])):
                y, x = r * strides[0] + i * steps[0] - pads[0], c * strides[1] + j * steps[1] - pads[1]
                pixels.append((y, x) if 0 <= y < height and 0 <= x < width else None)
            yield (r, c), pixels

    return (rows, columns), places()


def _conv(piece: Piece) -> Line:
    value, kernel, bias = piece.given(0), piece.given(1).offset, piece.optional(2)
    size, places = _windows(piece, list(kernel.shape[2:]))
    groups = piece.attributes["group"]
    taken, made = kernel.shape[1], kernel.shape[0] // groups
    found = constant(np.zeros((1, kernel.shape[0], *size), dtype=int))
    for (r, c), pixels in places:
        for channel, (tap, pixel) in product(range(kernel.shape[0]), enumerate(pixels)):
            if pixel is not None:
                inputs = slice(channel // made * taken, (channel // made + 1) * taken)
                weights = kernel[channel].reshape(taken, -1)[:, tap]
                found.slope[0, channel, r, c] += weights @ value.slope[(0, inputs, *pixel)]
                found.offset[0, channel, r, c] += weights @ value.offset[(0, inputs, *pixel)]
    return found if bias is None else found + bias.each(lambda part: part.reshape(1, -1, 1, 1))


def _max_pool(piece: Piece) -> Line:
    value = piece.given(0)
    size, places = _windows(piece, piece.attributes["kernel_shape"])
    found = constant(np.zeros((*value.offset.shape[:2], *size), dtype=int))
    for (r, c), pixels in places:
        seen = [(slice(None), slice(None), *pixel) for pixel in pixels if pixel is not None]
        best = Line(value.slope[seen[0]], value.offset[seen[0]])
        for rival in seen[1:]:
            best = piece.greater(best, Line(value.slope[rival], value.offset[rival]))
        found.slope[:, :, r, c], found.offset[:, :, r, c] = best.slope, best.offset
    return found


def _average_pool(piece: Piece) -> Line:
    value = piece.given(0)
    size, places = _windows(piece, piece.attributes["kernel_shape"])
    found = constant(np.zeros((*value.offset.shape[:2], *size), dtype=int))
    for (r, c), pixels in places:
        seen = [pixel for pixel in pixels if pixel is not None]
        count = len(pixels) if piece.attributes["count_include_pad"] else len(seen)
        for part, source in ((found.slope, value.slope), (found.offset, value.offset)):
            part[:, :, r, c] = sum(source[:, :, y, x] for y, x in seen) / Fraction(count)
    return found


OPERATORS: dict[str, Callable[[Piece], Line]] = {
    "Add": lambda p: p.given(0) + p.given(1),
    "Sub": lambda p: p.given(0) - p.given(1),
    "Mul": lambda p: p.given(0).times(p.given(1)),
    "Div": lambda p: p.given(0).times(Line(p.given(1).slope, 1 / p.given(1).offset)),
    "Gemm": _gemm,
    "MatMul": lambda p: p.given(0).times(p.given(1), np.matmul),
    "BatchNormalization": _normalised,
    "Relu": lambda p: p.greater(p.given(0), constant(0)),
    "LeakyRelu": lambda p: _leaky(p, constant(p.attributes["alpha"])),
    "PRelu": lambda p: _leaky(p, p.given(1)),
    "Clip": _clip,
    "HardSigmoid": _hard_sigmoid,
    "Flatten": lambda p: p.given(0).each(lambda part: part.reshape(1, -1)),
    "Reshape": lambda p: p.given(0).each(lambda part: part.reshape(p.whole(1))),
    "Pad": _pad,
    "Conv": _conv,
    "MaxPool": _max_pool,
    "AveragePool": _average_pool,
}


@dataclass(frozen=True, eq=False)
class ExactFile:
    """A file of one input [1, 1], whose operators are those above."""

    proto: onnx.ModelProto

    @classmethod
    def read(cls, path: Path) -> ExactFile:
        """The file at a path."""
        return cls(onnx.load(str(path)))

    def on(self, low: Fraction, high: Fraction) -> Line:
        """The scores for x from `low` to `high`, where no activation changes sides."""
        one = fractions([[1]])
        values = {tensor.name: constant(numpy_helper.to_array(tensor)) for tensor in self.proto.graph.initializer}
        values[self.proto.graph.input[0].name] = Line(one, one * 0)
        for node in self.proto.graph.node:
            schema = onnx.defs.get_schema(node.op_type, self.proto.opset_import[0].version, "")
            attributes = {
                name: helper.get_attribute_value(given.default_value)
                for name, given in schema.attributes.items()
                if given.default_value.name
            } | {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
            inputs = tuple(values[name] if name else None for name in node.input)
            values[node.output[0]] = OPERATORS[node.op_type](Piece(low, high, inputs, attributes))
        return values[self.proto.graph.output[0].name].each(np.ravel)

    def at(self, x: Fraction) -> Exact:
        """The exact scores of one input."""
        scores = self.on(x, x)
        return np.asarray(scores.slope * x + scores.offset)

    def pieces(self, low: Fraction, high: Fraction) -> list[tuple[Fraction, Fraction, Line]]:
        """All pieces of an interval, with the scores on each."""
        todo, done = [(low, high)], []
        while todo:
            low, high = todo.pop()
            try:
                done.append((low, high, self.on(low, high)))
            except CutError as cut:
                todo += [(low, cut.where), (cut.where, high)]
        return done

    def distance(
        self, sample: Fraction, predicted: int, low: Fraction = Fraction(0), high: Fraction = Fraction(1)
    ) -> Fraction | None:
        """How far the nearest input of the box is that another class scores at least as high; None: there is none."""
        found: list[Fraction] = []
        for left, right, scores in self.pieces(low, high):
            for rival in range(len(scores.offset)):
                slope = scores.slope[predicted] - scores.slope[rival]
                lead = scores.offset[predicted] - scores.offset[rival]
                first, last = left, right
                if slope > 0:
                    last = min(last, -lead / slope)
                elif slope < 0:
                    first = max(first, -lead / slope)
                if rival != predicted and first <= last and (slope or lead <= 0):
                    found.append(max(first - sample, sample - last, Fraction(0)))
        return min(found, default=None)
