"""A network as the page sees it: affine functions of the input and of ReLUs, in the order in which a file lists them.

Every value is a flat vector, entries in row-major order. The three linear maps compute with whatever numbers their
weights and arguments are (float64, or Python's integers in arrays of objects), and only ever add and multiply.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Dense:
    """Vectors that lie side by side, each times one matrix (inputs × outputs)."""

    weights: Array
    beside: int = 1

    @cached_property
    def terms(self) -> int:
        """The most products that are summed to one number, forward or back."""
        return int(max(self.weights.shape))

    @property
    def work(self) -> int:
        """How many multiplications it takes."""
        return self.weights.size * self.beside

    def forward(self, x: Array) -> Array:
        """The map of one vector."""
        return (x.reshape(self.beside, -1) @ self.weights).reshape(-1)

    def back(self, rows: Array) -> Array:
        """Linear functions of what comes out, each a row, as functions of what goes in."""
        stacked = rows.reshape(-1, self.weights.shape[1])
        if rows.dtype == object:  # whole numbers are slow, and many coefficients are zero
            used = [np.flatnonzero(row) for row in stacked]
            sums = [row[at] @ self.weights.T[at] for row, at in zip(stacked, used, strict=True)]
            return np.array(sums, dtype=object).reshape(len(rows), -1)
        return (stacked @ self.weights.T).reshape(len(rows), -1)


@dataclass(frozen=True, eq=False)
class Convolution:
    """A convolution of any number of dimensions; weights are outputs × inputs of a group × kernel."""

    weights: Array
    inputs: tuple[int, ...]  # channels, then places
    outputs: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[tuple[int, int], ...]
    groups: int

    @cached_property
    def terms(self) -> int:
        """The most products that are summed to one number, forward or back."""
        channels = max(self.weights.shape[0] // self.groups, self.weights.shape[1])
        return int(channels * np.prod(self.weights.shape[2:]))

    @property
    def work(self) -> int:
        """How many multiplications it takes."""
        return self.weights.size * int(np.prod(self.outputs[1:]))

    def _windows(self) -> list[tuple[Array, tuple[slice, ...]]]:
        """For each place of the kernel its weights, by groups, and the padded inputs that it meets."""
        found = []
        for place in np.ndindex(self.weights.shape[2:]):
            met = tuple(
                slice(at * dilation, at * dilation + (size - 1) * stride + 1, stride)
                for at, dilation, stride, size in zip(
                    place, self.dilations, self.strides, self.outputs[1:], strict=True
                )
            )
            found.append((self.weights[(..., *place)].reshape(self.groups, -1, self.weights.shape[1]), met))
        return found

    def forward(self, x: Array) -> Array:
        """The map of one vector."""
        padded = np.zeros(self._padded(), dtype=x.dtype)
        padded[self._inside()] = x.reshape(self.inputs)
        total = np.zeros((self.groups, self.outputs[0] // self.groups, int(np.prod(self.outputs[1:]))), dtype=x.dtype)
        for weights, met in self._windows():
            total = total + weights @ padded[(slice(None), *met)].reshape(self.groups, weights.shape[2], -1)
        return total.reshape(-1)

    def back(self, rows: Array) -> Array:
        """Linear functions of what comes out, each a row, as functions of what goes in."""
        count = len(rows)
        grouped = rows.reshape(count, self.groups, self.outputs[0] // self.groups, -1)
        padded = np.zeros((count, *self._padded()), dtype=rows.dtype)
        for weights, met in self._windows():
            share = weights.swapaxes(1, 2) @ grouped
            padded[(slice(None), slice(None), *met)] += share.reshape(count, self.inputs[0], *self.outputs[1:])
        return padded[(slice(None), *self._inside())].reshape(count, -1)

    def _padded(self) -> tuple[int, ...]:
        extents = (size + before + after for size, (before, after) in zip(self.inputs[1:], self.pads, strict=True))
        return (self.inputs[0], *extents)

    def _inside(self) -> tuple[slice, ...]:
        places = (slice(before, before + n) for n, (before, _) in zip(self.inputs[1:], self.pads, strict=True))
        return (slice(None), *places)


@dataclass(frozen=True, eq=False)
class Moved:
    """Entry i of the result is entry `places[i]` times `weights[i]`, or 0 where the place is -1."""

    weights: Array
    places: NDArray[np.intp]
    size: int

    @cached_property
    def stays(self) -> bool:
        """Nothing moves, and nothing changes."""
        whole = len(self.places) == self.size and bool((self.places == np.arange(self.size)).all())
        return whole and bool((self.weights == 1).all())

    @cached_property
    def lossless(self) -> bool:
        """Entries move, and may change their sign; nothing is summed, so that nothing is rounded."""
        return self.terms == 1 and bool((np.abs(self.weights) == 1).all())

    @cached_property
    def terms(self) -> int:
        """The most products that are summed to one number, forward or back."""
        kept = self.places[self.places >= 0]
        return int(np.bincount(kept).max()) if kept.size else 1

    @property
    def work(self) -> int:
        """How many multiplications it takes."""
        return 0 if self.lossless else self.places.size

    def forward(self, x: Array) -> Array:
        """The map of one vector."""
        return np.where(self.places >= 0, x[self.places] * self.weights, 0 * x[:1])

    def back(self, rows: Array) -> Array:
        """Linear functions of what comes out, each a row, as functions of what goes in."""
        if self.stays:
            return rows
        found = np.zeros((len(rows), self.size), dtype=rows.dtype)
        kept = self.places >= 0
        np.add.at(found.T, self.places[kept], (rows * self.weights)[:, kept].T)
        return found


LinearMap = Dense | Convolution | Moved


@dataclass(frozen=True)
class Input:
    """The model's input."""

    size: int


@dataclass(frozen=True, eq=False)
class Affine:
    """A sum of linear maps of earlier values, and a constant vector."""

    size: int
    terms: tuple[tuple[LinearMap, int], ...]
    bias: Array | None = None


@dataclass(frozen=True)
class Relu:
    """The greater of an earlier value and 0, entry by entry; neurons of the layer of that number."""

    size: int
    source: int
    layer: int


Value = Input | Affine | Relu


@dataclass(frozen=True)
class Network:
    """All values, each after those that it reads, and which one are the class scores."""

    values: tuple[Value, ...]
    scores: int
    relus: tuple[int, ...]
    constraints: int | None = None  # the value A x - b of the statement's constraints

    @property
    def classes(self) -> int:
        """How many class scores there are."""
        return self.values[self.scores].size

    @property
    def constraint_count(self) -> int:
        """How many constraints the statement has."""
        return 0 if self.constraints is None else self.values[self.constraints].size

    @property
    def inputs(self) -> int:
        """How many entries the input has."""
        return self.values[0].size

    @property
    def work(self) -> int:
        """How many multiplications one pass through the whole network takes."""
        return sum(part.work for value in self.values if isinstance(value, Affine) for part, _ in value.terms)

    def constrained(self, matrix: Array, bound: Array) -> Network:
        """The same with a value A x - b of the input behind all others."""
        beside = Affine(len(bound), ((Dense(matrix.T), 0),), -bound)
        return replace(self, values=(*self.values, beside), constraints=len(self.values))

    def neurons(self, layer: int) -> int:
        """How many neurons a layer has."""
        return self.values[self.relus[layer]].size

    def before(self, layer: int) -> int:
        """Which value the ReLU of a layer is of."""
        value = self.values[self.relus[layer]]
        assert isinstance(value, Relu)
        return value.source
