"""The operators that are known here, each from the ONNX standard's text.

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
from verifier.checker.network import Affine, Convolution, Dense, Input, Moved, Network, Relu, Value

Constant = NDArray[Any]  # of float64 or int64
LARGEST = 1 << 24  # entries of a tensor
SOFTMAX = ("Softmax", "LogSoftmax")


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
        return self.value(Input(_fitting(shape)), shape)

    def value(self, value: Value, shape: Sequence[int]) -> Wire:
        """A new value as a tensor of that shape."""
        self.values.append(value)
        return Wire(len(self.values) - 1, np.arange(value.size).reshape(shape))

    def affine(self, terms: Sequence[tuple[Any, int]], bias: Constant | None, shape: Sequence[int]) -> Wire:
        """A new sum of linear maps."""
        flat = None if bias is None else np.broadcast_to(bias, shape).reshape(-1)
        return self.value(Affine(_fitting(shape), tuple(terms), flat), shape)

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


def _fitting(shape: Sequence[int]) -> int:
    size = 1
    for one in shape:
        size *= one
    if not 0 < size <= LARGEST:
        raise UncheckableError(f"a tensor of the shape {tuple(shape)} is empty, or has more than {LARGEST} entries")
    return size


def _rearranged(tensor: Tensor, how: Callable[[NDArray[Any]], NDArray[Any]]) -> Tensor:
    return Wire(tensor.value, how(tensor.places)) if isinstance(tensor, Wire) else how(tensor)


def _axis(operation: Operation, axis: int, dimensions: int) -> int:
    if not -dimensions <= axis < dimensions:
        raise operation.refuse(f"axis {axis} of {dimensions} dimensions")
    return axis % dimensions


def _dimensions(tensor: Tensor) -> tuple[int, ...]:
    return tensor.places.shape if isinstance(tensor, Wire) else tensor.shape


# Sums and multiples


def _add(graph: Graph, operation: Operation) -> Tensor:
    return _sum(graph, operation, 1.0)


def _sub(graph: Graph, operation: Operation) -> Tensor:
    return _sum(graph, operation, -1.0)


def _sum(graph: Graph, operation: Operation, sign: float) -> Wire:
    one, other = operation.tensor(0), operation.tensor(1)
    shape = np.broadcast_shapes(_dimensions(one), _dimensions(other))
    terms = [graph.moved(wire, by, shape) for wire, by in ((one, 1.0), (other, sign)) if isinstance(wire, Wire)]
    if len(terms) == 2:
        return graph.affine(terms, None, shape)
    at = 0 if isinstance(other, Wire) else 1
    return graph.affine(
        [graph.moved(operation.wire(1 - at), (1.0, sign)[1 - at], shape)],
        operation.constant(at) * (1.0, sign)[at],
        shape,
    )


def _mul(graph: Graph, operation: Operation) -> Tensor:
    at = 0 if isinstance(operation.tensor(1), Wire) else 1
    wire, factors = operation.wire(1 - at), operation.constant(at)
    shape = np.broadcast_shapes(wire.places.shape, factors.shape)
    return graph.affine([graph.moved(wire, factors, shape)], None, shape)


def _div(graph: Graph, operation: Operation) -> Tensor:
    wire, divisors = operation.wire(0), operation.constant(1)
    if not (np.abs(np.frexp(divisors)[0]) == 0.5).all() or (np.abs(divisors) < 2.0**-1000).any():
        raise operation.refuse("a division by what is no power of two has no exact form here")
    shape = np.broadcast_shapes(wire.places.shape, divisors.shape)
    return graph.affine([graph.moved(wire, 1.0 / divisors, shape)], None, shape)


def _neg(graph: Graph, operation: Operation) -> Tensor:
    wire = operation.wire(0)
    return graph.affine([graph.moved(wire, -1.0)], None, wire.places.shape)


# Products


def _matmul(graph: Graph, operation: Operation) -> Tensor:
    return _product(graph, operation, operation.wire(0), operation.constant(1))


def _product(graph: Graph, operation: Operation, wire: Wire, weights: NDArray[np.float64]) -> Wire:
    shape = wire.places.shape
    if weights.ndim != 2 or not shape or shape[-1] != weights.shape[0]:
        raise operation.refuse(f"a product of the shapes {shape} and {weights.shape} is not known here")
    beside = wire.places.size // shape[-1]
    return graph.affine([(Dense(weights, beside), graph.flat(wire))], None, (*shape[:-1], weights.shape[1]))


def _gemm(graph: Graph, operation: Operation) -> Tensor:
    wire, weights = operation.wire(0), operation.constant(1)
    alpha, beta = operation.attribute("alpha", float, 1.0), operation.attribute("beta", float, 1.0)
    if wire.places.ndim != 2 or weights.ndim != 2:
        raise operation.refuse("it is not of two matrices")
    if operation.integer("transA", 0):
        wire = Wire(wire.value, wire.places.T)
    if operation.integer("transB", 0):
        weights = weights.T
    found = _product(graph, operation, wire, weights)
    shape = found.places.shape
    if alpha != 1.0:
        found = graph.affine([graph.moved(found, alpha)], None, shape)
    if not operation.has(2):
        return found
    if beta != 1.0:
        raise operation.refuse(f"beta {beta} is not known here, only 1")
    added = operation.tensor(2)
    if np.broadcast_shapes(_dimensions(added), shape) != shape:
        raise operation.refuse("C is larger than the product")
    if isinstance(added, Wire):
        return graph.affine([graph.moved(found, 1.0), graph.moved(added, 1.0, shape)], None, shape)
    return graph.affine([graph.moved(found, 1.0)], operation.constant(2), shape)


def _conv(graph: Graph, operation: Operation) -> Tensor:
    wire, weights = operation.wire(0), operation.constant(1)
    groups = operation.integer("group", 1)
    kernel = operation.integers("kernel_shape", list(weights.shape[2:]))
    if kernel != list(weights.shape[2:]):
        raise operation.refuse("kernel_shape is not the weights'")
    found, _ = _convolved(graph, operation, wire, weights, groups)
    if not operation.has(2):
        return found
    shape, bias = found.places.shape, operation.constant(2)
    if bias.shape != (shape[1],):
        raise operation.refuse("its bias is not one number for each channel")
    return graph.affine([graph.moved(found, 1.0)], bias.reshape(-1, *[1] * (len(shape) - 2)), shape)


def _convolved(
    graph: Graph, operation: Operation, wire: Wire, weights: NDArray[np.float64], groups: int
) -> tuple[Wire, bool]:
    """A convolution without bias, and whether its windows reach beyond the image."""
    shape, kernel = wire.places.shape, weights.shape[2:]
    if len(shape) != weights.ndim or len(shape) < 3 or shape[0] != 1:
        raise operation.refuse(f"a convolution of the shapes {shape} and {weights.shape} is not known here")
    if groups < 1 or shape[1] != weights.shape[1] * groups or weights.shape[0] % groups:
        raise operation.refuse("its channels do not fit its groups")
    strides = operation.integers("strides", None) or [1] * len(kernel)
    dilations = operation.integers("dilations", None) or [1] * len(kernel)
    if not len(strides) == len(dilations) == len(kernel) or min(*strides, *dilations, *kernel) < 1:
        raise operation.refuse("its strides, dilations or kernel do not fit its dimensions")
    spans = [(size - 1) * dilation + 1 for size, dilation in zip(kernel, dilations, strict=True)]
    pads = _pads(operation, shape[2:], spans, strides)
    sizes = [
        (size + before + after - span) // stride + 1
        for size, (before, after), span, stride in zip(shape[2:], pads, spans, strides, strict=True)
    ]
    if min(sizes) < 1 or max(max(pair) for pair in pads) > LARGEST:
        raise operation.refuse("its kernel is larger than the padded image, or its padding huge")
    outputs = (weights.shape[0], *sizes)
    _fitting([shape[1], *(size + sum(pair) for size, pair in zip(shape[2:], pads, strict=True))])
    convolution = Convolution(weights, shape[1:], outputs, tuple(strides), tuple(dilations), tuple(pads), groups)
    return graph.affine([(convolution, graph.flat(wire))], None, (1, *outputs)), any(any(pair) for pair in pads)


def _pads(
    operation: Operation, sizes: Sequence[int], spans: Sequence[int], strides: Sequence[int]
) -> list[tuple[int, int]]:
    """How many zeros stand before and after each dimension."""
    kind = operation.attribute("auto_pad", bytes, b"NOTSET")
    given = operation.integers("pads", None)
    given = [0] * (2 * len(sizes)) if given is None else given
    if len(given) != 2 * len(sizes) or min(given) < 0 or (kind != b"NOTSET" and any(given)):
        raise operation.refuse("its pads do not fit its dimensions, are negative, or stand beside auto_pad")
    if kind in (b"NOTSET", b"VALID"):
        return list(zip(given[: len(sizes)], given[len(sizes) :], strict=True))
    if kind not in (b"SAME_UPPER", b"SAME_LOWER"):
        raise operation.refuse("its auto_pad is not known here")
    pairs = []
    for size, span, stride in zip(sizes, spans, strides, strict=True):
        whole = max((-(-size // stride) - 1) * stride + span - size, 0)
        less, more = whole // 2, whole - whole // 2
        pairs.append((less, more) if kind == b"SAME_UPPER" else (more, less))
    return pairs


def _average_pool(graph: Graph, operation: Operation) -> Tensor:
    wire = operation.wire(0)
    kernel = operation.integers("kernel_shape", None) or []
    counts_pads = operation.integer("count_include_pad", 0)
    if graph.opset >= 10 and operation.integer("ceil_mode", 0):
        raise operation.refuse("ceil_mode is not known here")
    if graph.opset < 19 and "dilations" in operation.attributes:
        raise operation.refuse("it has dilations before opset 19")
    found, beyond = _averaged(graph, operation, wire, kernel)
    if beyond and not counts_pads:
        raise operation.refuse("an average over windows of several sizes has no exact form here")
    return found


def _global_average_pool(graph: Graph, operation: Operation) -> Tensor:
    wire = operation.wire(0)
    return _averaged(graph, operation, wire, list(wire.places.shape[2:]))[0]


def _averaged(graph: Graph, operation: Operation, wire: Wire, kernel: list[int]) -> tuple[Wire, bool]:
    size = int(np.prod(kernel)) if kernel and min(kernel) >= 1 else 0
    if not 0 < size <= LARGEST or size & (size - 1) or len(kernel) != wire.places.ndim - 2:
        raise operation.refuse("an average of as many entries as are no power of two has no exact form here")
    channels = wire.places.shape[1]
    return _convolved(graph, operation, wire, np.full((channels, 1, *kernel), 1.0 / size), channels)


def _relu(graph: Graph, operation: Operation) -> Tensor:
    wire = operation.wire(0)
    source = graph.flat(wire)
    graph.relus.append(len(graph.values))
    return graph.value(Relu(graph.values[source].size, source, len(graph.relus) - 1), wire.places.shape)


# What only moves entries


def _identity(graph: Graph, operation: Operation) -> Tensor:
    return operation.tensor(0)


def _dropout(graph: Graph, operation: Operation) -> Tensor:
    if graph.opset < 12:
        operation.attribute("ratio", float, 0.5)
    else:
        operation.attribute("seed", int, 0)
        operation.has(1)
        if operation.has(2) and any(operation.whole(2)):
            raise operation.refuse("it is in training mode")
    return operation.tensor(0)


def _constant(graph: Graph, operation: Operation) -> Tensor:
    found = operation.attribute("value", np.ndarray, None)
    if found is not None:
        return cast("Constant", found)
    if graph.opset < 12:
        raise operation.refuse("it has no value")
    for name, kind in (
        ("value_float", np.float64),
        ("value_floats", np.float64),
        ("value_int", np.int64),
        ("value_ints", np.int64),
    ):
        if name in operation.attributes:
            array = np.asarray(operation.attributes.pop(name), dtype=kind)
            if not np.isfinite(array).all():
                raise operation.refuse("it is an infinity, or no number")
            return array
    raise operation.refuse("it has no value that is known here")


def _flatten(graph: Graph, operation: Operation) -> Tensor:
    tensor = operation.tensor(0)
    shape = _dimensions(tensor)
    axis = operation.integer("axis", 1)
    if not (0 if graph.opset < 11 else -len(shape)) <= axis <= len(shape):
        raise operation.refuse(f"axis {axis} of {len(shape)} dimensions")
    before = int(np.prod(shape[: axis if axis >= 0 else axis + len(shape)]))
    return _rearranged(tensor, lambda array: array.reshape(before, -1))


def _reshape(graph: Graph, operation: Operation) -> Tensor:
    tensor, wanted = operation.tensor(0), operation.whole(1)
    shape = _dimensions(tensor)
    keeps_zeros = operation.integer("allowzero", 0) if graph.opset >= 14 else 0
    if keeps_zeros and 0 in wanted:
        raise operation.refuse("an empty tensor is not known here")
    if (
        any(one == 0 and at >= len(shape) for at, one in enumerate(wanted))
        or wanted.count(-1) > 1
        or min(wanted, default=0) < -1
    ):
        raise operation.refuse(f"no shape is made of {shape} by {wanted}")
    full = [shape[at] if one == 0 else one for at, one in enumerate(wanted)]
    return _rearranged(tensor, lambda array: array.reshape(full))


def _axes(graph: Graph, operation: Operation) -> list[int] | None:
    """Axes as an attribute before opset 13, as an input since."""
    as_input = graph.opset >= 13 and operation.has(1)
    found = operation.whole(1) if as_input else operation.integers("axes", None) if graph.opset < 13 else None
    if found == []:
        raise operation.refuse("an empty list of axes is not known here")
    return found


def _squeeze(graph: Graph, operation: Operation) -> Tensor:
    tensor = operation.tensor(0)
    shape, axes = _dimensions(tensor), _axes(graph, operation)
    if axes is None:
        gone = [at for at, size in enumerate(shape) if size == 1]
    else:
        gone = [_axis(operation, axis, len(shape)) for axis in axes]
    return _rearranged(tensor, lambda array: np.squeeze(array, tuple(gone)))


def _unsqueeze(graph: Graph, operation: Operation) -> Tensor:
    tensor, axes = operation.tensor(0), _axes(graph, operation)
    if axes is None:
        raise operation.refuse("it has no axes")
    dimensions = len(_dimensions(tensor)) + len(axes)
    new = [_axis(operation, axis, dimensions) for axis in axes]
    return _rearranged(tensor, lambda array: np.expand_dims(array, tuple(new)))


def _transpose(graph: Graph, operation: Operation) -> Tensor:
    tensor = operation.tensor(0)
    dimensions = len(_dimensions(tensor))
    order = operation.integers("perm", list(range(dimensions))[::-1])
    if order is None or sorted(order) != list(range(dimensions)):
        raise operation.refuse("perm is no order of its dimensions")
    return _rearranged(tensor, lambda array: array.transpose(order))


def _concat(graph: Graph, operation: Operation) -> Tensor:
    tensors = [operation.tensor(at) for at in range(len(operation.inputs))]
    axis = operation.attribute("axis", int, None)
    if axis is None or not tensors:
        raise operation.refuse("it has no axis, or no inputs")
    axis = _axis(operation, axis, len(_dimensions(tensors[0])))
    arrays = [tensor for tensor in tensors if not isinstance(tensor, Wire)]
    if len(arrays) == len(tensors):
        if len({array.dtype for array in arrays}) > 1:
            raise operation.refuse("it is of several element types")
        return np.concatenate(arrays, axis)
    nowhere = [np.full(_dimensions(tensor), -1) for tensor in tensors]
    terms, bias = [], []
    for at, tensor in enumerate(tensors):
        if isinstance(tensor, Wire):
            places = np.concatenate([*nowhere[:at], tensor.places, *nowhere[at + 1 :]], axis)
            terms.append(graph.moved(Wire(tensor.value, places), 1.0))
            bias.append(np.zeros(tensor.places.shape))
        else:
            bias.append(operation.constant(at))
    whole = np.concatenate(bias, axis)
    return graph.affine(terms, whole if arrays else None, whole.shape)


def _slice(graph: Graph, operation: Operation) -> Tensor:
    tensor = operation.tensor(0)
    shape = _dimensions(tensor)
    if graph.opset < 10:
        starts, ends = operation.integers("starts", None), operation.integers("ends", None)
        axes, steps = operation.integers("axes", None), None
    else:
        starts, ends = operation.whole(1), operation.whole(2)
        axes = operation.whole(3) if operation.has(3) else None
        steps = operation.whole(4) if operation.has(4) else None
    if starts is None or ends is None:
        raise operation.refuse("it has no starts or ends")
    axes = list(range(len(starts))) if axes is None else axes
    steps = [1] * len(starts) if steps is None else steps
    taken = [slice(None)] * len(shape)
    seen = set()
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        at = _axis(operation, axis, len(shape))
        if step < 1 or at in seen:
            raise operation.refuse("a step below 1, or an axis twice, is not known here")
        seen.add(at)
        taken[at] = slice(start, end, step)
    return _rearranged(tensor, lambda array: array[tuple(taken)])


def _pad(graph: Graph, operation: Operation) -> Tensor:
    wire = operation.wire(0)
    if graph.opset < 11:
        pads, value = operation.integers("pads", None), operation.attribute("value", float, 0.0)
    else:
        pads = operation.whole(1)
        value = float(operation.constant(2).reshape(-1)[0]) if operation.has(2) else 0.0
    dimensions = wire.places.ndim
    if operation.attribute("mode", bytes, b"constant") != b"constant" or value != 0:
        raise operation.refuse("padding with anything but zeros is not known here")
    if pads is None or len(pads) != 2 * dimensions or min(pads) < 0 or max(pads) > LARGEST:
        raise operation.refuse("its pads do not fit its dimensions, or are negative")
    pairs = list(zip(pads[:dimensions], pads[dimensions:], strict=True))
    _fitting([size + sum(pair) for size, pair in zip(wire.places.shape, pairs, strict=True)])
    return Wire(wire.value, np.pad(wire.places, pairs, constant_values=-1))


OPERATORS: dict[str, Callable[[Graph, Operation], Tensor]] = {
    "Add": _add,
    "AveragePool": _average_pool,
    "Concat": _concat,
    "Constant": _constant,
    "Conv": _conv,
    "Div": _div,
    "Dropout": _dropout,
    "Flatten": _flatten,
    "Gemm": _gemm,
    "GlobalAveragePool": _global_average_pool,
    "Identity": _identity,
    "MatMul": _matmul,
    "Mul": _mul,
    "Neg": _neg,
    "Pad": _pad,
    "Relu": _relu,
    "Reshape": _reshape,
    "Slice": _slice,
    "Squeeze": _squeeze,
    "Sub": _sub,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
