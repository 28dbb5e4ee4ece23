"""Exact arithmetic: whole numbers, and one power of two for a whole array. Trusts nothing but Python's integers."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from verifier.checker.arithmetic import CHORD_BITS, Arithmetic, Linear, Mask, Part, Span
from verifier.checker.lines import dyadic, dyadic_above
from verifier.checker.network import Dense, LinearMap

ROUGH_BITS = 400  # of whole numbers that become floats to choose a parameter by


@dataclass(frozen=True, eq=False)
class Dyadics:
    """An array of whole numbers, all times 2^exponent."""

    ints: NDArray[Any]
    exponent: int

    def __neg__(self) -> Dyadics:
        return Dyadics(-self.ints, self.exponent)

    def __add__(self, other: Dyadics) -> Dyadics:
        one, two, exponent = aligned(self, other)
        return Dyadics(one + two, exponent)

    def __sub__(self, other: Dyadics) -> Dyadics:
        one, two, exponent = aligned(self, other)
        return Dyadics(one - two, exponent)

    def __mul__(self, other: Dyadics) -> Dyadics:
        return Dyadics(self.ints * other.ints, self.exponent + other.exponent)

    def __getitem__(self, at: Any) -> Dyadics:
        return Dyadics(self.ints[at], self.exponent)

    def __abs__(self) -> Dyadics:
        return Dyadics(np.abs(self.ints), self.exponent)

    def __len__(self) -> int:
        return len(self.ints)


def aligned(one: Dyadics, other: Dyadics) -> tuple[NDArray[Any], NDArray[Any], int]:
    """Both arrays' whole numbers for the lesser of their exponents."""
    exponent = min(one.exponent, other.exponent)
    return _times(one.ints, one.exponent - exponent), _times(other.ints, other.exponent - exponent), exponent


def _times(ints: NDArray[Any], power: int) -> NDArray[Any]:
    return ints * (1 << power) if power else ints


def objects(ints: Sequence[Any]) -> NDArray[Any]:
    """Whole numbers of any size as an array."""
    found = np.empty(len(ints), dtype=object)
    found[:] = ints
    return found


class Exact(Arithmetic):
    """Whole numbers: nothing is ever rounded but parameters that a checker may choose."""

    name = "exact"
    whole = np.int64

    def part(self, linear: LinearMap) -> Part:
        weights = self.constants(linear.weights)
        sizes = dataclasses.replace(linear, weights=np.abs(weights.ints))
        return Part(dataclasses.replace(linear, weights=weights.ints), weights.exponent, sizes)

    def constants(self, array: NDArray[np.float64]) -> Dyadics:
        fractions, exponents = np.frexp(array.astype(np.float64))
        used = exponents[fractions != 0]
        least = int(used.min()) if used.size else 0
        mantissas = np.ldexp(fractions, 53).astype(np.int64).astype(object)
        shifts = np.where(fractions != 0, exponents - least, 0)
        ints = mantissas << shifts.astype(object)
        common = int(np.bitwise_or.reduce(np.abs(ints), axis=None)) if ints.size else 0
        spare = (common & -common).bit_length() - 1 if common else 0
        return Dyadics(ints >> spare, least - 53 + spare)

    def scaled(self, mantissas: Sequence[int], exponent: int) -> Dyadics:
        return Dyadics(objects(mantissas), exponent)

    def exactly(self, numbers: Sequence[Fraction]) -> Dyadics:
        bits = max((one.denominator.bit_length() - 1 for one in numbers), default=0)
        return Dyadics(objects([int(one * (1 << bits)) for one in numbers]), -bits)

    def outward(self, numbers: Sequence[Fraction], up: bool) -> Dyadics:
        return self.exactly(numbers)

    def near(self, mantissa: int, exponent: int) -> tuple[Dyadics, None]:
        return self.scaled([mantissa], exponent), None

    def zeros(self, *shape: int) -> Dyadics:
        return Dyadics(np.zeros(shape, dtype=object), 0)

    def spread(self, numbers: Dyadics, at: list[int], size: int) -> Dyadics:
        found = self.zeros(size)
        found.ints[at] = numbers.ints
        return Dyadics(found.ints, numbers.exponent)

    def fraction(self, number: Dyadics) -> Fraction:
        return dyadic(int(number.ints), number.exponent)

    def replaced(self, numbers: Dyadics, at: int, value: Fraction) -> Dyadics:
        bits = value.denominator.bit_length() - 1
        ints, _, exponent = aligned(numbers, Dyadics(numbers.ints[:0], -bits))
        ints[at] = int(value * (1 << -exponent))
        return Dyadics(ints, exponent)

    def positive(self, numbers: Dyadics) -> Mask:
        return (numbers.ints > 0).astype(bool)

    def negative(self, numbers: Dyadics) -> Mask:
        return (numbers.ints < 0).astype(bool)

    def where(self, mask: Mask, yes: Dyadics, no: Dyadics) -> Dyadics:
        one, other, exponent = aligned(yes, no)
        return Dyadics(np.where(mask, one, other), exponent)

    def exceeds(self, one: Dyadics, other: Dyadics) -> Mask:
        return self.positive(one - other)

    def moderate(self, rows: Dyadics) -> Dyadics:
        return rows

    def chord(self, lower: Dyadics, upper: Dyadics) -> Dyadics:
        low, high, _ = aligned(lower, upper)
        open_ones = ((low < 0) & (high > 0)).astype(bool)
        slopes = np.zeros(high.shape, dtype=object)
        slopes[open_ones] = high[open_ones] * (1 << CHORD_BITS) // (high[open_ones] - low[open_ones])
        return Dyadics(slopes, -CHORD_BITS)

    def span(self, linear: Linear, sources: Sequence[Span]) -> Span:
        center = self.zeros(1) if linear.bias is None else linear.bias
        half = self.zeros(1)
        for (part, _), (lower, upper) in zip(linear.parts, sources, strict=True):
            assert part.sizes is not None
            both, width = lower + upper, upper - lower
            center = center + Dyadics(part.weights.forward(both.ints), both.exponent + part.exponent - 1)
            half = half + Dyadics(part.sizes.forward(width.ints), width.exponent + part.exponent - 1)
        return center - half, center + half

    def back(self, part: Part, rows: Dyadics) -> tuple[Dyadics, None]:
        return Dyadics(part.weights.back(rows.ints), rows.exponent + part.exponent), None

    def forward(self, part: Part, vector: Dyadics) -> Dyadics:
        """A linear map of a vector."""
        return Dyadics(part.weights.forward(vector.ints), vector.exponent + part.exponent)

    def product(self, one: Dyadics, other: Dyadics) -> tuple[Dyadics, None]:
        return one * other, None

    def product_above(self, one: Dyadics, other: Dyadics) -> Dyadics:
        return one * other

    def sum(self, one: Dyadics, other: Dyadics) -> tuple[Dyadics, None]:
        return one + other, None

    def total(self, terms: Dyadics) -> Dyadics:
        return Dyadics(terms.ints.sum(axis=-1, initial=0), terms.exponent)

    def total_of(self, parts: Sequence[Dyadics]) -> Dyadics:
        return reduce(Dyadics.__add__, map(self.total, parts))

    def down(self, one: Dyadics, other: Dyadics) -> Dyadics:
        return one + other

    def order(self, sizes: Dyadics) -> NDArray[np.intp]:
        return np.argsort(-sizes.ints, axis=-1)

    def running(self, numbers: Dyadics) -> Dyadics:
        return Dyadics(np.add.accumulate(numbers.ints, axis=-1), numbers.exponent)

    def roughly(self, numbers: Dyadics) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        bits = [max((int(one).bit_length() for one in row), default=0) for row in numbers.ints]
        spare = np.array([max(0, one - ROUGH_BITS) for one in bits], dtype=np.int64)
        small = np.array(
            [[float(int(one) >> int(by)) for one in row] for row, by in zip(numbers.ints, spare, strict=True)]
        )
        return small, spare + numbers.exponent

    def columns(self, rough: NDArray[np.float64], powers: NDArray[np.int64]) -> Dyadics:
        fractions = [Fraction(float(one)) * dyadic(1, int(power)) for one, power in zip(rough, powers, strict=True)]
        return self.exactly(fractions)[:, None]

    def quotient(self, added: Dyadics, over: Dyadics, under: Dyadics) -> NDArray[Any]:
        shares = [a / b for a, b in zip(self.compared(over), self.compared(under), strict=True)]
        return np.asarray(self.compared(added) + objects(shares))

    def compared(self, numbers: Dyadics) -> NDArray[Any]:
        return objects([dyadic(int(one), numbers.exponent) for one in numbers.ints])

    def numbers(self, compared: NDArray[Any]) -> Dyadics:
        return self.exactly([-dyadic_above(-one) for one in compared])

    def mapped(self, rows: Dyadics) -> Part:
        return Part(Dense(rows.ints.T), rows.exponent)
