"""Products of neurons and inputs, whose curvature is nowhere negative ("Products" of docs/reference/proof-format.md).

The numbers that a proof gives are right whatever they are, and so are the functions that are chosen here, as long as
the matrix that is made of both has no negative eigenvalue: that alone has to be shown, in whole numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from verifier.checker.arithmetic import Arithmetic, Numbers
from verifier.checker.backward_pass import Functions, Range, Relaxation, Setting
from verifier.checker.eigenvalues import BITS, Whole, gram, no_negative_eigenvalue
from verifier.checker.errors import RefusedError
from verifier.checker.multipliers import Products
from verifier.checker.network import Relu

ROOM = 2.0**-14  # above 0, for the factor's rounding
LARGEST = 2.0**60  # of whole numbers, a few of which are added up in 64 bits

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class _Part:
    """Some of the variables: the inputs, or the neurons listed of one layer, whose other entries have 0 everywhere."""

    index: int  # of the value that they are entries of
    before: int  # of what a ReLU reads
    entries: list[int]
    columns: list[int]  # where they stand among all variables
    rows: list[int]  # and among all neurons
    point: Numbers
    lower: Numbers
    upper: Numbers

    def spread(self, arithmetic: Arithmetic, rows: Floats) -> Numbers:
        """Rows of numbers of all variables as coefficients of this value."""
        found = np.zeros((len(rows), len(self.point)))
        found[:, self.entries] = rows[:, self.columns]
        return arithmetic.constants(found)

    def placed(self, arithmetic: Arithmetic, numbers: Numbers | None) -> Numbers | None:
        """Numbers of all neurons as coefficients of this value."""
        if numbers is None:
            return None
        return arithmetic.spread(numbers[self.rows], self.entries, len(self.point))[None]


class _Kept(Relaxation):
    """The table, but for the neurons listed, whose results stay: their coefficients are kept by layer."""

    def __init__(self, ranges: list[Range], listed: dict[int, list[int]]) -> None:
        super().__init__(ranges)
        self.listed, self.coefficients = listed, dict[int, Numbers]()

    def through(self, functions: Functions, value: Relu, rows: Numbers) -> None:
        a, listed = functions.arithmetic, self.listed.get(value.layer, [])
        self.coefficients[value.layer] = rows[:, listed]
        super().through(functions, value, a.where(np.isin(np.arange(value.size), listed), a.zeros(1), rows))


def add_products(functions: Functions, given: Products, ranges: list[Range]) -> None:
    """Add F to one function."""
    a, parts, units = functions.arithmetic, _parts(functions.setting, given, ranges), np.array(given.units)
    scales = np.zeros((len(given.others), len(units)))  # of z of each neuron
    inputs = len(parts[0].entries)
    scales[:, inputs:] = np.diag(np.ldexp(np.array(given.scales[0], dtype=np.float64), given.scales[1]))
    matrix = _matrix(functions.setting, given, ranges, parts, scales)
    if not no_negative_eigenvalue(_curvature(matrix, given, a.whole), ROOM, a.whole):
        raise RefusedError("the prices of products do not pay: no eigenvalue of their matrix may be negative")
    rows = np.ldexp(matrix.astype(np.float64), units - BITS)  # of ν
    down, top = (-a.numbers(_astray(functions.setting, ranges, parts, rows, scales, sign).least()) for sign in (1, -1))
    widths = a.zeros(len(scales))
    for layer, part in zip(given.neurons, parts[1:], strict=True):
        low = ranges[layer].lower[part.entries]
        widths = widths + a.spread(a.where(a.negative(low), -low, a.zeros(1)), part.rows, len(scales))
    up = -a.down(-top, -a.product_above(a.scaled(*given.scales), widths))
    values, others = a.scaled(*given.values), a.constants(np.array(given.others, dtype=np.float64))
    crossed = a.constants(np.ldexp(np.array(given.crossed, dtype=np.float64), units[inputs:] - BITS))
    end = a.where(a.positive(crossed), -top, down)
    functions.add_constants((crossed * values * end)[None])
    functions.add_constants(-(others * down * up)[None])
    of_z, lost = a.product(crossed, end)
    for part in parts:
        linear, none = a.mapped(part.spread(a, rows)), a.zeros(1)
        for slope in (crossed * values, others * down, -(others * up)):
            functions.add_around(part.point, *a.back(linear, slope[None]), part.index)
        if part.rows:
            functions.add_around(part.point, part.placed(a, of_z), part.placed(a, lost), part.index)
        # (δ + below)(δ - above), where larger rooms are as right
        paid = part.spread(a, np.ldexp(np.array(given.prices, dtype=np.float64), 2 * units - BITS)[None])
        rooms = (-a.down(part.lower, -part.point), -a.down(-part.upper, part.point))
        below, above = (a.where(a.negative(room), none, room)[None] for room in rooms)
        for room in (below, -above):
            functions.add_around(part.point, *a.product(paid, room), part.index)
        functions.add_constants(-a.product_above(a.product_above(paid, below), above))


def _parts(setting: Setting, given: Products, ranges: list[Range]) -> list[_Part]:
    a, network, region = setting.arithmetic, setting.network, setting.region
    point, _ = a.sum(region.sample, a.scaled(*given.point))  # any will do: it may be rounded
    every = list(range(network.inputs))
    parts = [_Part(0, 0, every, every, [], point, region.lower, region.upper)]
    values, first = a.scaled(*given.values), 0
    for layer, neurons in given.neurons.items():
        rows, upper, none = [*range(first, first + len(neurons))], ranges[layer].upper, a.zeros(network.neurons(layer))
        point, columns = a.spread(values[rows], neurons, len(none)), [network.inputs + row for row in rows]
        upper = a.where(a.positive(upper), upper, none)
        parts.append(_Part(network.relus[layer], network.before(layer), neurons, columns, rows, point, none, upper))
        first += len(rows)
    return parts


def _matrix(setting: Setting, given: Products, ranges: list[Range], parts: list[_Part], scales: Floats) -> Whole:
    """N, whole numbers near 2^26 times the coefficients of s (z - h) in units: a row for each neuron listed."""
    a, units = setting.arithmetic, np.array(given.units)
    functions, kept = Functions(setting, len(scales)), _Kept(ranges, given.neurons)
    for part in parts[1:]:
        functions.add(part.before, part.spread(a, -scales))
    functions.back(kept)
    near = np.ldexp(scales, BITS - units)
    for part, found in zip(parts, [functions.of_input, *map(kept.coefficients.get, given.neurons)], strict=True):
        if found is not None:
            rough, powers = a.roughly(found)
            near[:, part.columns] += np.ldexp(rough, (powers[:, None] + BITS - units[part.columns]).clip(-2000, 2000))
    near = np.rint(near)
    crossed = near * np.array(given.crossed, dtype=np.float64)[:, None]
    if not ((np.abs(near) < 2.0 ** (BITS + 1)).all() and (np.abs(crossed) < LARGEST).all()):
        raise RefusedError("the prices of products do not pay: a unit is too small for what it is to measure")
    return np.asarray(near, dtype=np.int64)


def _curvature(matrix: Whole, given: Products, kind: type[np.generic]) -> Whole:
    """2^53 times the matrix of F's products, in units."""
    count = len(matrix)
    squared = gram((matrix * np.array(given.others)[:, None]).T, kind)
    if squared is None:
        raise RefusedError("the prices of products do not pay: the squares of other sides are too large")
    found = np.asarray(2 * (squared + np.diag(np.array(given.prices) << BITS)), dtype=np.int64)
    crossed = matrix * np.array(given.crossed)[:, None]
    found[-count:] += crossed
    found[:, -count:] += crossed.T
    return found


def _astray(
    setting: Setting, ranges: list[Range], parts: list[_Part], rows: Floats, scales: Floats, sign: int
) -> Functions:
    """What ν - s (z - h), or its negative, is at least."""
    a, functions = setting.arithmetic, Functions(setting, len(rows))
    for part in parts:
        functions.add_around(part.point, part.spread(a, sign * rows), index=part.index)
    for part in parts[1:]:
        functions.add(part.index, part.spread(a, -sign * scales))
        functions.add(part.before, part.spread(a, sign * scales))
    return functions.back(Relaxation(ranges))
