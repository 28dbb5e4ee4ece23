"""A quantised network: whole levels, whole sums, and between them one float32 product, computed as what it is.

("The network" of docs/reference/proof-format-int8.md.) A float32 number is a fraction here, and rounding to float32 is
a function of fractions, so that nothing rests on how a machine rounds.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from verifier.checker.lines import dyadic
from verifier.checker.network import Affine, Array, Network

TOP = 255  # the highest level
LARGEST_SUM = 1 << 24  # up to which every whole number is a float32 number
BEYOND = LARGEST_SUM + 1  # a sum that none is
SAFE = 1 << 61  # of sums of sizes, nearly: int64 has room for another bit


def fitting(size: Any) -> type:
    """What holds whole numbers of such a size: int64, or else Python's integers."""
    return np.int64 if size < SAFE else object


def largest_sum(rows: Array) -> Any:
    """The greatest sum of the sizes of a row: of Python's integers exactly, of int64, which could overflow, nearly."""
    return abs(rows).astype(object if rows.dtype == object else float).sum(axis=-1).max(initial=0)


def float32(number: Fraction) -> Fraction:
    """The float32 number nearest to a fraction, halves to even; where it would be infinite, one of 2^128 or more."""
    if not number:
        return number
    power = number.numerator.bit_length() - number.denominator.bit_length()
    power -= abs(number) < dyadic(1, power)  # now 2^power ≤ |number| < 2^(power + 1)
    unit = dyadic(1, max(power - 23, -149))
    return round(number / unit) * unit


def clipped(level: int) -> int:
    """The level itself, or the end of the scale that it lies beyond."""
    return min(max(level, 0), TOP)


@dataclass(frozen=True)
class Scale:
    """What levels mean: (level - zero) · step, in float32."""

    step: Fraction
    zero: int

    def level(self, value: Fraction) -> int:
        """QuantizeLinear of a float32 number."""
        return clipped(round(float32(value / self.step)) + self.zero)

    def value(self, level: int) -> Fraction:
        """DequantizeLinear of a level."""
        return float32((level - self.zero) * self.step)


@dataclass(frozen=True, eq=False)
class Layer:
    """Sums over what lies before, as whole numbers, and the levels that they become.

    What lies before, and what comes out, are levels less their zero.
    """

    linear: Network  # of affine values alone, with weights of int64
    factors: tuple[Fraction, ...]  # those that occur
    of: NDArray[np.intp]  # which of them each sum has
    scale: Scale  # of the levels that come out

    @property
    def size(self) -> int:
        """How many sums there are."""
        return self.linear.classes

    def sums(self, before: Array) -> Array:
        """The sums of one vector."""
        found = [before]
        for value in self.linear.values[1:]:
            assert isinstance(value, Affine)
            total: Array = np.zeros(value.size, dtype=np.int64) if value.bias is None else value.bias
            for part, source in value.terms:
                total = total + part.forward(found[source])
            found.append(total)
        return found[self.linear.scores]

    def back(self, rows: Array, constants: Array) -> tuple[Array, Array]:
        """Functions of the sums, each a row and a constant, as functions of what lies before."""
        found: dict[int, Array] = {self.linear.scores: rows}
        for index in range(self.linear.scores, 0, -1):
            value = self.linear.values[index]
            if index not in found:
                continue
            assert isinstance(value, Affine)
            rows = found.pop(index)
            if value.bias is not None:
                constants = constants + rows @ value.bias
            for part, source in value.terms:
                found[source] = found.get(source, 0) + part.back(rows)
        return found[0], constants

    @cached_property
    def reach(self) -> Array:
        """How large each sum can be, and all that is summed on the way."""
        values = [
            replace(
                value,
                terms=tuple((replace(part, weights=abs(part.weights)), source) for part, source in value.terms),
                bias=None if value.bias is None else abs(value.bias),
            )
            for value in self.linear.values[1:]
            if isinstance(value, Affine)
        ]
        sizes = replace(self, linear=replace(self.linear, values=(self.linear.values[0], *values)))
        return sizes.sums(np.full(self.linear.inputs, TOP))

    @cached_property
    def largest(self) -> int:
        """The largest weight or constant of all."""
        values = [value for value in self.linear.values if isinstance(value, Affine)]
        arrays = [part.weights for value in values for part, _ in value.terms]
        arrays += [value.bias for value in values if value.bias is not None]
        return max(int(abs(array).max(initial=1)) for array in arrays)

    def level(self, total: int, which: int) -> int:
        """The level that a sum becomes."""
        return clipped(round(float32(total * self.factors[self.of[which]])) + self.scale.zero)

    def levels(self, sums: Array) -> Array:
        """The same of all sums."""
        return np.array([self.level(int(total), which) for which, total in enumerate(sums)])

    @cached_property
    def least(self) -> NDArray[np.int64]:
        """least[j, L]: from which sum on neuron j has the level L or more; -BEYOND for L = 0, BEYOND if none has.

        Sums become levels monotonically, so one that has it while the one before has not is the least.
        """
        zero, found = self.scale.zero, []
        for factor in self.factors:
            row = [-BEYOND]
            for wanted in range(1 - zero, TOP + 1 - zero):
                at = min(max(round((wanted - Fraction(1, 2)) / factor), -LARGEST_SUM), BEYOND)
                while at > -LARGEST_SUM and round(float32((at - 1) * factor)) >= wanted:
                    at -= 1
                while at < BEYOND and round(float32(at * factor)) < wanted:
                    at += 1
                row.append(at)
            found.append([*row, BEYOND])
        return np.array(found)[self.of]


@dataclass(frozen=True, eq=False)
class Int8Network:
    """The scale of the input, and layers, the last of which has the classes' levels."""

    source: Scale
    layers: tuple[Layer, ...]

    @property
    def inputs(self) -> int:
        """How many entries the input has."""
        return self.layers[0].linear.inputs

    @property
    def classes(self) -> int:
        """How many classes there are."""
        return self.layers[-1].size

    def classified(self, levels: Array) -> list[Fraction]:
        """The class scores of the input's levels."""
        before = levels - self.source.zero
        for layer in self.layers:
            levels = layer.levels(layer.sums(before))
            before = levels - layer.scale.zero
        return [self.layers[-1].scale.value(int(level)) for level in levels]

    def lead(self, margin: Fraction, wins: bool) -> int | None:
        """By how many levels a class leads at least that leads by a margin, and `wins`: strictly; None if none can."""
        values = [self.layers[-1].scale.value(level) for level in range(TOP + 1)]
        leads = []
        for low, value in enumerate(values):  # they rise, so that behind the first that leads all do
            first = bisect_left(values, True, key=lambda other: other - value >= margin and (other > value or not wins))
            leads += [first - low] * (first < len(values))
        return min(leads, default=None)
