"""Backward passes that keep count: which lines of the certificate, times what, make a function of neurons one of x.

The same replacements as in "A function below, by one backward pass" of docs/reference/proof-format.md. Coefficients of
neurons are rounded to few bits where that is asked for, and what they lose is made up for by y ≥ 0, by y ≤ U or by
h ≤ u: the bound is lower by a hair, and the numbers of the layers below are short.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from verifier.checker.arithmetic import CHORD_BITS
from verifier.checker.exact import Dyadics, objects
from verifier.checker.network import Relu
from verifier.proofs.vipr.certificate import Combination
from verifier.proofs.vipr.neurons import Neuron, Neurons
from verifier.proofs.vipr.problem import Problem


@dataclass(frozen=True)
class UpperShare:
    """A line above a ReLU that is linear in the input: y - its coefficients · x ≤ some number."""

    line: int
    coefficients: Dyadics


@dataclass(frozen=True)
class Relaxation:
    """What is chosen of a pass: bits of coefficients, or None for all; lower slopes, and upper lines of inputs."""

    bits: int | None = None
    slopes: Mapping[tuple[int, int], int] = field(default_factory=dict)
    slope_bits: int = 0
    shares: Mapping[tuple[int, int], Callable[[], UpperShare]] = field(default_factory=dict)


class Function:
    """Coefficients of values, from the last one back to the input, and the lines that were added on the way."""

    def __init__(self, problem: Problem, found: Combination) -> None:
        self.problem, self.found = problem, found
        self.coefficients: dict[int, Dyadics] = {}

    def add(self, index: int, numbers: Dyadics) -> None:
        """Coefficients of the entries of one value."""
        before = self.coefficients.get(index)
        self.coefficients[index] = numbers if before is None else before + numbers

    def back(self, neurons: Neurons, chosen: Relaxation) -> Dyadics:
        """What is left of x once everything else is replaced by what is nowhere greater."""
        return self._back(lambda value, numbers: self._relu(value, numbers, neurons, chosen))

    def back_by_intervals(self, neurons: Neurons) -> Dyadics:
        """The same, each ReLU replaced by an end of its range."""
        return self._back(lambda value, numbers: self._ends(value, numbers, neurons))

    def _back(self, through: Callable[[Relu, Dyadics], None]) -> Dyadics:
        network = self.problem.network
        for index in range(max(self.coefficients, default=0), 0, -1):
            numbers, value = self.coefficients.pop(index, None), network.values[index]
            if numbers is None:
                continue
            if isinstance(value, Relu):
                through(value, numbers)
                continue
            for line, m in zip(self.problem.equals[index], numbers.ints, strict=True):
                self.found.add(line, int(m), numbers.exponent)
            for part, source in self.problem.layers[index].parts:
                self.add(source, self.problem.exact.back(part, numbers[None])[0][0])
        return self.coefficients.get(0, self.problem.exact.zeros(network.inputs))

    def _relu(self, value: Relu, numbers: Dyadics, neurons: Neurons, chosen: Relaxation) -> None:
        e = numbers.exponent
        whole = e - max(CHORD_BITS, chosen.slope_bits)  # where nothing is lost
        unit = whole if chosen.bits is None else e + longest(numbers) - chosen.bits
        below = np.zeros(value.size, dtype=object)
        for at, q in enumerate(numbers.ints):
            neuron = neurons.layers[value.layer][at]
            if q > 0:
                below[at] = self._lower(neuron, int(q), e, unit, chosen)
            elif q < 0 and neuron.open and (value.layer, at) in chosen.shares:
                share = chosen.shares[value.layer, at]()
                self.found.add(share.line, int(q), e)
                self.add(0, Dyadics(objects([int(q) * int(m) for m in share.coefficients.ints]),
                                    share.coefficients.exponent + e))  # fmt: skip
            elif q < 0:
                below[at] = -self._upper(neurons, neuron, -int(q), e, unit, chosen.bits or CHORD_BITS)
        self.add(value.source, Dyadics(below, unit))

    def _lower(self, neuron: Neuron, q: int, e: int, unit: int, chosen: Relaxation) -> int:
        """q y ≥ c h for a c up to q: y ≥ h as often as c, y ≥ 0 as often as the rest."""
        slope, bits = (0 if neuron.off else 1), 0
        if neuron.open:
            slope = int(neuron.rule)
            if (neuron.layer, neuron.at) in chosen.slopes:
                slope, bits = chosen.slopes[neuron.layer, neuron.at], chosen.slope_bits
        kept = shifted(q * slope, e - bits - unit)
        self.found.add(self.problem.rises[neuron.layer][neuron.at], kept, unit)
        self._rest(self.problem.y_low[neuron.layer][neuron.at], 1, (q, e), (kept, unit))
        return kept

    def _upper(self, neurons: Neurons, neuron: Neuron, q: int, e: int, unit: int, bits: int) -> int:
        """-q y ≥ -c h: the upper line, y ≤ U for what q loses, and h ≤ u for what c does."""
        line, (slope, exponent) = neurons.upper_line(neuron, bits)
        often = shifted(q, e - unit)
        self.found.add(line, -often, unit)
        self._rest(self.problem.y_high[neuron.layer][neuron.at], -1, (q, e), (often, unit))
        kept = shifted(often * slope, exponent)
        self._rest(neuron.upper.line, -1, (often * slope, unit + exponent), (kept, unit))
        return kept

    def _rest(self, line: int, sign: int, whole: tuple[int, int], part: tuple[int, int]) -> None:
        """A line as often as a part falls short of the whole."""
        least = min(whole[1], part[1])
        rest = (whole[0] << (whole[1] - least)) - (part[0] << (part[1] - least))
        self.found.add(line, sign * rest, least)

    def _ends(self, value: Relu, numbers: Dyadics, neurons: Neurons) -> None:
        e, below = numbers.exponent, np.zeros(value.size, dtype=object)
        for at, m in enumerate(numbers.ints):
            neuron, q = neurons.layers[value.layer][at], int(m)
            if q < 0:
                self.found.add(neurons.greatest(neuron), q, e)
            elif q and neuron.on:
                self.found.add(self.problem.rises[value.layer][at], q, e)
                self.found.add(neuron.lower.line, q, e)
            else:
                self.found.add(self.problem.y_low[value.layer][at], q, e)
        self.add(value.source, Dyadics(below, 0))


def shifted(number: int, by: int) -> int:
    """A number ≥ 0 times 2^by, rounded down."""
    return number << by if by >= 0 else number >> -by


def longest(numbers: Dyadics) -> int:
    """Bits of the longest whole number."""
    return max((abs(int(m)).bit_length() for m in numbers.ints), default=0)


def rounded(numbers: Dyadics, bits: int) -> Dyadics:
    """Numbers near these, the longest of which has so many bits."""
    by = max(0, longest(numbers) - bits)
    return Dyadics(objects([int(m) >> by for m in numbers.ints]), numbers.exponent + by)
