"""The file's graph as it is read: tensors, one operation at a time, and the network that they become.

A tensor is a constant, or a `Wire`: entries of one value of the network, by their places. What only moves entries
(Reshape, Transpose, Slice, Pad …) moves those places, and costs nothing afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from verifier.checker.errors import UncheckableError
from verifier.checker.network import Affine, Input, Moved, Network, Value

Constant = NDArray[Any]  # of float64 or int64
LARGEST = 1 << 24  # entries of a tensor


@dataclass(frozen=True, eq=False)
class Wire:
    """A tensor whose entries are those of a value at some places; a place of -1 is 0."""

    value: int
    places: NDArray[np.intp]


Tensor = Constant | Wire


@dataclass(eq=False)
class Operation:
    """One node of the file; what is asked of it is ticked off, and `done` refuses what nobody asked for."""

    where: str
    kind: str
    inputs: tuple[Tensor | None, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]
    _read: int = field(default=0)

    def __str__(self) -> str:
        return self.where

    def refuse(self, why: str) -> UncheckableError:
        """The error to raise."""
        return UncheckableError(f"{self.where}: {why}")

    def done(self, outputs: int = 1) -> None:
        """Every attribute and input was asked for."""
        if self.attributes:
            raise self.refuse(f"its attribute {min(self.attributes)[:40]!r} is not known here")
        if len(self.inputs) > self._read or not 1 <= len(self.outputs) <= (2 if self.kind == "Dropout" else outputs):
            raise self.refuse("it has more inputs or outputs than are known here")

    def has(self, at: int) -> bool:
        """Is that input given?"""
        self._read = max(self._read, at + 1)
        return at < len(self.inputs) and self.inputs[at] is not None

    def tensor(self, at: int) -> Tensor:
        """An input."""
        if not self.has(at):
            raise self.refuse(f"input {at} is missing")
        return cast("Tensor", self.inputs[at])

    def wire(self, at: int) -> Wire:
        """An input that depends on the model's."""
        found = self.tensor(at)
        if not isinstance(found, Wire):
            raise self.refuse(f"input {at} is a constant, for which this operator is not known here")
        return found

    def constant(self, at: int) -> NDArray[np.float64]:
        """An input of constant floating-point numbers."""
        found = self.tensor(at)
        if isinstance(found, Wire) or found.dtype != np.float64:
            raise self.refuse(f"input {at} is not made of constants, for which alone this operator is known here")
        return found

    def whole(self, at: int) -> list[int]:
        """An input of constant whole numbers."""
        found = self.tensor(at)
        if isinstance(found, Wire) or found.dtype != np.int64:
            raise self.refuse(f"input {at} is not made of constant whole numbers")
        return [int(one) for one in found.reshape(-1)]

    def attribute(self, name: str, kind: type, otherwise: Any) -> Any:
        """An attribute of that type, or what the standard says where it is left out."""
        found = self.attributes.pop(name, otherwise)
        if found is not otherwise and not isinstance(found, kind):
            raise self.refuse(f"its attribute {name!r} has another type than the standard's")
        return found

    def integer(self, name: str, otherwise: int) -> int:
        """An attribute that is a whole number."""
        return int(self.attribute(name, int, otherwise))

    def integers(self, name: str, otherwise: list[int] | None) -> list[int] | None:
        """An attribute that is a list of whole numbers."""
        found = self.attribute(name, list, otherwise)
        if found is not None and not all(isinstance(one, int) for one in found):
            raise self.refuse(f"its attribute {name!r} has another type than the standard's")
        return cast("list[int] | None", found)


class Graph:
    """The network as far as it is read."""

    def __init__(self, opset: int) -> None:
        self.opset = opset
        self.values: list[Value] = []
        self.relus: list[int] = []

    def network(self, scores: int) -> Network:
        """All of it."""
        return Network(tuple(self.values), scores, tuple(self.relus))

    def input(self, shape: tuple[int, ...]) -> Wire:
        """The model's input."""
        return self.value(Input(fitting(shape)), shape)

    def value(self, value: Value, shape: Sequence[int]) -> Wire:
        """A new value as a tensor of that shape."""
        self.values.append(value)
        return Wire(len(self.values) - 1, np.arange(value.size).reshape(shape))

    def affine(self, terms: Sequence[tuple[Any, int]], bias: Constant | None, shape: Sequence[int]) -> Wire:
        """A new sum of linear maps."""
        flat = None if bias is None else np.broadcast_to(bias, shape).reshape(-1)
        return self.value(Affine(fitting(shape), tuple(terms), flat), shape)

    def flat(self, wire: Wire) -> int:
        """The value whose entries are those of a tensor, in row-major order."""
        size = self.values[wire.value].size
        if wire.places.size == size and np.array_equal(wire.places.reshape(-1), np.arange(size)):
            return wire.value
        return self.affine([self.moved(wire, 1.0)], None, wire.places.shape).value

    def moved(self, wire: Wire, factor: Any, shape: Sequence[int] | None = None) -> tuple[Moved, int]:
        """A tensor's entries times factors, as a term of a sum of another shape."""
        shape = wire.places.shape if shape is None else shape
        places = np.broadcast_to(wire.places, shape).reshape(-1)
        weights = np.broadcast_to(np.asarray(factor, dtype=np.float64), shape).reshape(-1)
        if not np.isfinite(weights).all():
            raise UncheckableError("a factor is an infinity, or no number")
        return Moved(weights, places, self.values[wire.value].size), wire.value


def fitting(shape: Sequence[int]) -> int:
    """How many entries a tensor of that shape has, within limits."""
    size = 1
    for one in shape:
        size *= one
    if not 0 < size <= LARGEST:
        raise UncheckableError(f"a tensor of the shape {tuple(shape)} is empty, or has more than {LARGEST} entries")
    return size


def rearranged(tensor: Tensor, how: Callable[[NDArray[Any]], NDArray[Any]]) -> Tensor:
    """The same entries in another order or shape."""
    return Wire(tensor.value, how(tensor.places)) if isinstance(tensor, Wire) else how(tensor)


def axis_of(operation: Operation, axis: int, dimensions: int) -> int:
    """An axis, which may count from the end."""
    if not -dimensions <= axis < dimensions:
        raise operation.refuse(f"axis {axis} of {dimensions} dimensions")
    return axis % dimensions


def dimensions_of(tensor: Tensor) -> tuple[int, ...]:
    """The shape of a tensor."""
    return tensor.places.shape if isinstance(tensor, Wire) else tensor.shape
