"""Linear functions below what is asked, by one backward pass ("A function below" of docs/reference/proof-format.md).

A batch of functions goes through the network from its end to its input. What a float step may have lost in a
coefficient is taken off the constant at once, times the most that the coefficient's variable can be on the region.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from verifier.checker.arithmetic import Arithmetic, Numbers, Part, Span
from verifier.checker.network import Affine, Network, Relu
from verifier.checker.region import Region


@dataclass
class Range:
    """The lower and the upper ends of a layer's neurons."""

    lower: Numbers
    upper: Numbers


class Setting:
    """A network and a region in the numbers of one arithmetic, and how large values can be where that is asked."""

    def __init__(self, arithmetic: Arithmetic, network: Network, region: Region) -> None:
        self.arithmetic, self.network, self.region = arithmetic, network, region
        self.linear = arithmetic.linear(network)
        self._reaches: dict[int, Numbers] = {0: region.largest()}
        self._outputs: list[Numbers] = []  # of each layer's ReLU, the greatest
        self._spans: dict[int, Span] = {0: (region.lower, region.upper)}

    def bounded(self, found: Range) -> None:
        """The next layer's ranges are proven."""
        a = self.arithmetic
        self._outputs.append(a.where(a.positive(found.upper), found.upper, a.zeros(1)))

    def span(self, index: int, ranges: list[Range]) -> Span:
        """Where a value lies, by intervals from value to value; asked of nothing behind a layer without ranges."""
        a = self.arithmetic
        for at, value in enumerate(self.network.values[: index + 1]):
            if at not in self._spans and isinstance(value, Affine):
                self._spans[at] = a.span(self.linear[at], [self._spans[source] for _, source in value.terms])
            elif at not in self._spans:
                assert isinstance(value, Relu)
                found, none = ranges[value.layer], a.zeros(1)
                ends = [a.where(a.positive(end), end, none) for end in (found.lower, found.upper)]
                self._spans[at] = (ends[0], ends[1])
        return self._spans[index]

    def reach(self, index: int) -> Numbers:
        """How large the entries of a value can be on the region; asked of nothing behind a layer without ranges."""
        if index in self._reaches:
            return self._reaches[index]
        for at, value in enumerate(self.network.values[: index + 1]):
            if at not in self._reaches:
                if isinstance(value, Affine):
                    found = self.arithmetic.reach(self.network, self.linear[at], at, self._reaches)
                else:
                    assert isinstance(value, Relu)
                    found = self._outputs[value.layer]
                self._reaches[at] = found
        return self._reaches[index]


class Functions:
    """A batch of functions: coefficients of values, which are added up, and terms of a constant."""

    def __init__(self, setting: Setting, count: int) -> None:
        self.setting, self.count = setting, count
        self.arithmetic = setting.arithmetic
        self.coefficients: dict[int, Numbers] = {}
        self._constants = [self.arithmetic.zeros(count, 1)]

    def add(self, index: int, rows: Numbers, lost: Numbers | None = None) -> None:
        """Coefficients of one value, and how far each of them may be from what is right."""
        self._lose(index, lost)
        if index in self.coefficients:
            rows, lost = self.arithmetic.sum(self.coefficients[index], rows)
            self._lose(index, lost)
        self.coefficients[index] = rows

    def add_constants(self, terms: Numbers) -> None:
        """The sum of each row of terms."""
        self._constants.append(terms)

    def add_around(self, point: Numbers, rows: Numbers, lost: Numbers | None = None, index: int = 0) -> None:
        """Coefficients of one value less a point, the input where none is named."""
        self.add(index, rows, lost)
        self.add_constants(-(rows * point))
        if lost is not None:
            self.add_constants(-(lost * abs(point)))

    @property
    def constants(self) -> Numbers:
        """All constants, rounded down once."""
        return self.arithmetic.total_of(self._constants)

    def _lose(self, index: int, lost: Numbers | None) -> None:
        if lost is not None:
            self.add_constants(-(lost * self.setting.reach(index)))

    def back(self, relaxation: Relaxation) -> Functions:
        """From the last value down to the input: afterwards these are functions of the input alone."""
        for index in range(max(self.coefficients, default=0), 0, -1):
            rows = self.coefficients.pop(index, None)
            value = self.setting.network.values[index]
            if rows is None:
                continue
            if isinstance(value, Relu):
                relaxation.through(self, value, rows)
            else:
                self._write_out(index, rows)
        return self

    @property
    def of_input(self) -> Numbers:
        """The coefficients of the input's entries."""
        zeros = self.arithmetic.zeros(self.count, self.setting.network.inputs)
        return self.coefficients.get(0, zeros)

    def least(self) -> NDArray[Any]:
        """What functions of the input are at least, on the whole region."""
        return self.setting.region.least(self.of_input, self.constants)

    def least_by_intervals(self) -> NDArray[Any]:
        """The same, each entry of the input by itself."""
        a, region, rows = self.arithmetic, self.setting.region, self.of_input
        self.add_constants(rows * a.where(a.negative(rows), region.upper, region.lower))
        return a.compared(self.constants)

    def _write_out(self, index: int, rows: Numbers) -> None:
        linear = self.setting.linear[index]
        if linear.bias is not None:
            self.add_constants(rows * linear.bias)
        for part, source in linear.parts:
            self.add(source, *self.arithmetic.back(part, rows))


@dataclass(frozen=True)
class Lines:
    """Functions of the input below -z of some neurons of a layer: coefficients as a linear map, and constants."""

    neurons: list[int]
    coefficients: Part
    constants: Numbers


class Relaxation:
    """What a ReLU's result is replaced by: linear functions of what it reads, by the table of the page."""

    def __init__(
        self,
        ranges: list[Range],
        slopes: Mapping[int, Numbers] | None = None,
        lines: Mapping[int, Lines] | None = None,
    ) -> None:
        self.ranges = ranges
        self.slopes = slopes or {}
        self.lines = lines or {}

    def through(self, functions: Functions, value: Relu, rows: Numbers) -> None:
        """From coefficients of z to coefficients of h, and constants.

        A slope of rounded arithmetic is exact all the same: a rounded q · α is q times another number of [0, 1], which
        is as good; and the constant is computed from that product.
        """
        a = functions.arithmetic
        lower, upper = self.ranges[value.layer].lower, self.ranges[value.layer].upper
        dead = a.negative(lower) & ~a.positive(upper)
        open_ones = a.negative(lower) & a.positive(upper)
        one, none = a.scaled([1], 0), a.zeros(1)
        if value.layer in self.lines:
            lines = self.lines[value.layer]
            by_lines = a.negative(rows) & open_ones & np.isin(np.arange(value.size), lines.neurons)
            prices = a.where(by_lines, -rows, none)[:, lines.neurons]
            functions.add(0, *a.back(lines.coefficients, prices))
            functions.add_constants(prices * lines.constants)
            rows = a.where(by_lines, none, rows)
        alpha = self.slopes[value.layer] if value.layer in self.slopes else rule(a, lower, upper)
        whole = a.where(dead, none, one)
        falling = a.negative(rows)
        slopes = a.where(falling, a.where(open_ones, a.chord(lower, upper), whole), a.where(open_ones, alpha, whole))
        below = rows * slopes
        at = np.flatnonzero(open_ones & falling.any(axis=0))
        if len(at):
            low, high = -(below[:, at] * lower[at]), (rows[:, at] - below[:, at]) * upper[at]
            least = a.where(a.negative(high - low), high, low)
            functions.add_constants(a.where(falling[:, at], least, none))
        functions.add(value.source, below)


class Intervals(Relaxation):
    """A ReLU's result is replaced by an end of its range."""

    def through(self, functions: Functions, value: Relu, rows: Numbers) -> None:
        a = functions.arithmetic
        lower, upper, none = self.ranges[value.layer].lower, self.ranges[value.layer].upper, a.zeros(1)
        low, high = a.where(a.positive(lower), lower, none), a.where(a.positive(upper), upper, none)
        functions.add_constants(rows * a.where(a.negative(rows), high, low))


def rule(arithmetic: Arithmetic, lower: Numbers, upper: Numbers) -> Numbers:
    """The lower slopes where none are given: 1 if u ≥ -l, and 0 else."""
    return arithmetic.where(arithmetic.negative(upper + lower), arithmetic.zeros(1), arithmetic.scaled([1], 0))


def unit_rows(arithmetic: Arithmetic, neurons: Sequence[int], size: int, sign: int) -> Numbers:
    """The functions h_j of some neurons, or their negatives."""
    at = np.zeros((len(neurons), size), dtype=bool)
    at[np.arange(len(neurons)), neurons] = True
    return arithmetic.where(at, arithmetic.scaled([sign], 0), arithmetic.zeros(1))
