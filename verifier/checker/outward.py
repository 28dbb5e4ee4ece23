"""Float64 arithmetic that rounds outward: what a step may have lost is added up, and taken off the bound.

Let u = 2^-53 be what one rounding can change a number by, relative to it. A sum of n products, in whatever order and
with fused operations or without, lies within n·u / (1 - n·u) times the sum of the products' sizes from what is right,
and a product below 2^-1022 within 2^-1022. Both are paid here with factors to spare: (n + 16)·2u, and 2^-1000 for each
product in a coefficient, 2^-600 for each term of a sum. That larger one is for terms in which a product was rounded
away and then multiplied by a coefficient of the input, none of which is above 2^400 (`moderate`).
Overflow makes infinities, infinities make what is no number, and neither is ever more than a bound that is asked for.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from verifier.checker.arithmetic import CHORD_BITS, Arithmetic, Linear, Mask, Numbers, Part, Span
from verifier.checker.errors import RefusedError
from verifier.checker.lines import dyadic
from verifier.checker.network import Dense, LinearMap, Moved, Network

Floats = NDArray[np.float64]
ROUNDING = 2.0**-52  # twice what one rounding can do
SPARE = 16  # roundings beyond those of a sum's own terms
LARGEST = 2.0**400
UNDERFLOW, UNDERFLOW_OF_TERMS = 2.0**-1000, 2.0**-600


class Float(Arithmetic):
    """Float64 with every rounding paid for."""

    name = "float"
    whole = np.float64

    def part(self, linear: LinearMap) -> Part:
        return Part(linear, 0, dataclasses.replace(linear, weights=np.abs(linear.weights)))

    def constants(self, array: NDArray[np.float64]) -> Floats:
        return array

    def scaled(self, mantissas: Sequence[int], exponent: int) -> Floats:
        if all(-(1 << 53) <= one <= 1 << 53 for one in mantissas) and -1000 <= exponent <= 900:
            return np.ldexp(np.array(mantissas, dtype=np.float64), exponent)
        return self.exactly([dyadic(one, exponent) for one in mantissas])

    def exactly(self, numbers: Sequence[Fraction]) -> Floats:
        return np.array([_float64(one) for one in numbers], dtype=np.float64)

    def outward(self, numbers: Sequence[Fraction], up: bool) -> Floats:
        found = np.array([self.near(one.numerator, 1 - one.denominator.bit_length())[0][0] for one in numbers])
        wrong = [
            Fraction(float(f)) < one if up else Fraction(float(f)) > one for f, one in zip(found, numbers, strict=True)
        ]
        return np.where(wrong, np.nextafter(found, np.inf if up else -np.inf), found)

    def near(self, mantissa: int, exponent: int) -> tuple[Floats, Floats]:
        try:
            found = np.array([float(dyadic(mantissa, exponent))])
        except OverflowError:
            raise RefusedError("a number is beyond float64: this needs exact arithmetic") from None
        return found, ROUNDING * np.abs(found) + UNDERFLOW

    def zeros(self, *shape: int) -> Floats:
        return np.zeros(shape)

    def spread(self, numbers: Floats, at: list[int], size: int) -> Floats:
        found = self.zeros(size)
        found[at] = numbers
        return found

    def fraction(self, number: Floats) -> Fraction:
        return Fraction(float(number))

    def replaced(self, numbers: Floats, at: int, value: Fraction) -> Floats:
        numbers[at] = self.exactly([value])[0]
        return numbers

    def positive(self, numbers: Floats) -> Mask:
        return numbers > 0

    def negative(self, numbers: Floats) -> Mask:
        return numbers < 0

    def where(self, mask: Mask, yes: Floats, no: Floats) -> Floats:
        return np.where(mask, yes, no)

    def exceeds(self, one: Floats, other: Floats) -> Mask:
        return one > other * (1 + 4 * ROUNDING) + UNDERFLOW

    def moderate(self, rows: Floats) -> Floats:
        return np.where(np.abs(rows) <= LARGEST, rows, np.nan)

    def chord(self, lower: Floats, upper: Floats) -> Floats:
        slopes = np.maximum(upper, 0) / np.maximum(upper - lower, 2.0**-1000)
        return np.clip(np.floor(slopes * 2.0**CHORD_BITS) * 2.0**-CHORD_BITS, 0.0, 1.0)

    def span(self, linear: Linear, sources: Sequence[Span]) -> Span:
        center = np.zeros(1) if linear.bias is None else linear.bias
        size, half, roundings = np.abs(center), np.zeros(1), 2 * SPARE
        for (part, _), (lower, upper) in zip(linear.parts, sources, strict=True):
            assert part.sizes is not None
            middle = lower / 2 + upper / 2
            apart = np.nextafter(np.maximum(upper - middle, middle - lower), np.inf)
            center = center + part.weights.forward(middle)
            size, half = size + part.sizes.forward(np.abs(middle)), half + part.sizes.forward(apart)
            roundings += 2 * (part.weights.terms + 2)
        half = half + (roundings * ROUNDING) * (size + half) + roundings * UNDERFLOW
        return np.nextafter(center - half, -np.inf), np.nextafter(center + half, np.inf)

    def back(self, part: Part, rows: Floats) -> tuple[Floats, Floats | None]:
        if isinstance(part.weights, Moved) and part.weights.lossless:
            return part.weights.back(rows), None
        assert part.sizes is not None
        lost = part.sizes.back(np.abs(rows)) * ((part.weights.terms + SPARE) * ROUNDING)
        return part.weights.back(rows), lost + part.weights.terms * UNDERFLOW

    def product(self, one: Floats, other: Floats) -> tuple[Floats, Floats]:
        found = one * other
        return found, ROUNDING * np.abs(found) + UNDERFLOW

    def product_above(self, one: Floats, other: Floats) -> Floats:
        return np.where(one == 0, 0.0, np.nextafter(one * other, np.inf))

    def sum(self, one: Floats, other: Floats) -> tuple[Floats, Floats]:
        found = one + other
        return found, ROUNDING * np.abs(found)

    def total(self, terms: Floats) -> Floats:
        lost = (terms.shape[-1] + SPARE) * ROUNDING * np.abs(terms).sum(axis=-1) + terms.shape[-1] * UNDERFLOW_OF_TERMS
        return np.asarray(np.nextafter(terms.sum(axis=-1) - lost, -np.inf))

    def total_of(self, parts: Sequence[Floats]) -> Floats:
        return self.total(np.concatenate(parts, axis=1))

    def down(self, one: Floats, other: Floats) -> Floats:
        return np.nextafter(one + other, -np.inf)

    def order(self, sizes: Floats) -> NDArray[np.intp]:
        return np.argsort(-sizes, axis=-1)

    def running(self, numbers: Floats) -> Floats:
        return np.cumsum(numbers, axis=-1)

    def roughly(self, numbers: Floats) -> tuple[Floats, NDArray[np.int64]]:
        return numbers, np.zeros(len(numbers), dtype=np.int64)

    def columns(self, rough: Floats, powers: NDArray[np.int64]) -> Floats:
        return np.clip(rough, 2.0**-200, None)[:, None]

    def quotient(self, added: Floats, over: Floats, under: Floats) -> NDArray[Any]:
        return self.compared(self.down(added, np.nextafter(over / under, -np.inf)))

    def compared(self, numbers: Floats) -> NDArray[Any]:
        return np.where(np.isfinite(numbers), numbers, -np.inf)

    def numbers(self, compared: NDArray[Any]) -> Floats:
        return compared

    def mapped(self, rows: Floats) -> Part:
        return self.part(Dense(rows.T))

    def reach(self, network: Network, linear: Linear, index: int, reaches: dict[int, Numbers]) -> Floats:
        found: Floats = np.zeros(network.values[index].size) if linear.bias is None else np.abs(linear.bias)
        roundings = SPARE
        for part, source in linear.parts:
            assert part.sizes is not None
            found = found + part.sizes.forward(reaches[source])
            roundings += part.weights.terms + 2
        return np.asarray(found * (1 + roundings * ROUNDING) + roundings * UNDERFLOW)


def _float64(number: Fraction) -> float:
    """The number itself, where float64 has it."""
    above, below = number.numerator, number.denominator
    if above.bit_length() <= 53 and below.bit_length() <= 900 and below & (below - 1) == 0:
        return above / below  # a whole number of 53 bits over a power of two: nothing is rounded
    try:
        found = float(number)
    except OverflowError:
        found = np.inf
    if not np.isfinite(found) or Fraction(found) != number:
        raise RefusedError("a number is no float64: this needs exact arithmetic")
    return found
