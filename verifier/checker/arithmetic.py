"""What both arithmetics offer: arrays of numbers that are added and multiplied, and what is rounded, downward.

A check is written once, in terms of this. `Exact` computes in whole numbers and loses nothing; `Float` computes in
float64, and every method that loses something either rounds it to the safe side or says how much it may be.
docs/theory/proof-checking.md has the argument.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from verifier.checker.network import Affine, LinearMap, Network

CHORD_BITS = 40  # of the slopes of upper lines

Numbers: TypeAlias = Any  # an array of float64, or of exact.Dyadics; both add, subtract, multiply and are indexed
Mask: TypeAlias = NDArray[np.bool_]


@dataclass(frozen=True)
class Part:
    """A linear map in the numbers of an arithmetic; `sizes` are those of its weights where they are needed."""

    weights: LinearMap
    exponent: int
    sizes: LinearMap | None = None


@dataclass(frozen=True)
class Linear:
    """The parts of an affine value, each with the value that it reads, and the constant."""

    parts: tuple[tuple[Part, int], ...]
    bias: Numbers | None


Span: TypeAlias = tuple[Numbers, Numbers]  # the lower and the upper end of each entry


class Arithmetic(ABC):
    """One way to compute; every result is either exact, or rounded to the side that its method names."""

    name: str
    whole: type[np.generic]  # numbers of a kind that holds whole numbers up to 2^53 in products of matrices

    def linear(self, network: Network) -> dict[int, Linear]:
        """All affine values in these numbers, by index."""
        return {
            index: Linear(
                tuple((self.part(one), source) for one, source in value.terms),
                None if value.bias is None else self.constants(value.bias),
            )
            for index, value in enumerate(network.values)
            if isinstance(value, Affine)
        }

    @abstractmethod
    def part(self, linear: LinearMap) -> Part:
        """A linear map of the file in these numbers."""

    @abstractmethod
    def constants(self, array: NDArray[np.float64]) -> Numbers:
        """Float64 numbers, exactly."""

    @abstractmethod
    def scaled(self, mantissas: Sequence[int], exponent: int) -> Numbers:
        """The numbers m · 2^e, exactly; refused where this arithmetic has not all of them."""

    @abstractmethod
    def exactly(self, numbers: Sequence[Fraction]) -> Numbers:
        """Dyadic fractions, exactly; refused where this arithmetic has not all of them."""

    @abstractmethod
    def outward(self, numbers: Sequence[Fraction], up: bool) -> Numbers:
        """Dyadic fractions, rounded up or else down."""

    @abstractmethod
    def near(self, mantissa: int, exponent: int) -> tuple[Numbers, Numbers | None]:
        """An array of one number near m · 2^e, and how far it may be from it; None where it is that."""

    @abstractmethod
    def zeros(self, *shape: int) -> Numbers:
        """Zeros."""

    @abstractmethod
    def spread(self, numbers: Numbers, at: list[int], size: int) -> Numbers:
        """A vector that holds some numbers at their places, and 0 elsewhere."""

    @abstractmethod
    def fraction(self, number: Numbers) -> Fraction:
        """A single number as a fraction, exactly."""

    @abstractmethod
    def replaced(self, numbers: Numbers, at: int, value: Fraction) -> Numbers:
        """A vector with another entry at one place, exactly; the vector given may be changed, or not."""

    @abstractmethod
    def positive(self, numbers: Numbers) -> Mask:
        """Which are above 0."""

    @abstractmethod
    def negative(self, numbers: Numbers) -> Mask:
        """Which are below 0."""

    @abstractmethod
    def where(self, mask: Mask, yes: Numbers, no: Numbers) -> Numbers:
        """Entries of one or of the other."""

    @abstractmethod
    def exceeds(self, one: Numbers, other: Numbers) -> Mask:
        """Which entries are surely above the others', though these be a rounded product."""

    @abstractmethod
    def moderate(self, rows: Numbers) -> Numbers:
        """The same coefficients, but for those too large to be computed with, which become no numbers."""

    @abstractmethod
    def chord(self, lower: Numbers, upper: Numbers) -> Numbers:
        """The slope u / (u - l), rounded down to a multiple of 2^-40, in [0, 1] wherever l < 0 < u."""

    @abstractmethod
    def back(self, part: Part, rows: Numbers) -> tuple[Numbers, Numbers | None]:
        """Rows through a linear map, and how far each coefficient may be from what is right; None where it is right."""

    @abstractmethod
    def product(self, one: Numbers, other: Numbers) -> tuple[Numbers, Numbers | None]:
        """A product, and how far each entry may be from what is right; None where it is right."""

    @abstractmethod
    def product_above(self, one: Numbers, other: Numbers) -> Numbers:
        """A product of numbers that are not negative, rounded up."""

    @abstractmethod
    def sum(self, one: Numbers, other: Numbers) -> tuple[Numbers, Numbers | None]:
        """A sum, and how far each entry may be from what is right; None where it is right."""

    @abstractmethod
    def total(self, terms: Numbers) -> Numbers:
        """The sums of rows of terms, rounded down, if at most five roundings have gone into a term."""

    @abstractmethod
    def total_of(self, parts: Sequence[Numbers]) -> Numbers:
        """The same of terms that stand in several arrays."""

    @abstractmethod
    def down(self, one: Numbers, other: Numbers) -> Numbers:
        """A sum, rounded down."""

    @abstractmethod
    def order(self, sizes: Numbers) -> NDArray[np.intp]:
        """The order of each row's entries, the greatest first."""

    @abstractmethod
    def running(self, numbers: Numbers) -> Numbers:
        """The sums of each row's first entries, nearly."""

    @abstractmethod
    def roughly(self, numbers: Numbers) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Rows of numbers as floats of moderate size, each row times the power of two that is given for it."""

    @abstractmethod
    def columns(self, rough: NDArray[np.float64], powers: NDArray[np.int64]) -> Numbers:
        """One number a row, rough times its power of two, as a column."""

    @abstractmethod
    def quotient(self, added: Numbers, over: Numbers, under: Numbers) -> NDArray[Any]:
        """added + over / under as numbers that Python compares, rounded down; `under` is above 0."""

    @abstractmethod
    def compared(self, numbers: Numbers) -> NDArray[Any]:
        """Numbers as Python compares them, exactly; what is no number becomes less than all."""

    @abstractmethod
    def numbers(self, compared: NDArray[Any]) -> Numbers:
        """What Python compares as numbers again, rounded down."""

    @abstractmethod
    def mapped(self, rows: Numbers) -> Part:
        """The linear map whose results have these rows of coefficients."""

    @abstractmethod
    def span(self, linear: Linear, sources: Sequence[Span]) -> Span:
        """Where an affine value lies while its sources lie where they do, rounded outward."""

    def reach(self, network: Network, linear: Linear, index: int, reaches: dict[int, Numbers]) -> Numbers | None:
        """How large the entries of an affine value can be, rounded up; None where nobody asks."""
        return None
