"""Operators that only move entries, or hand them on, each from the ONNX standard's text."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import numpy as np

from verifier.checker.graph import (
    LARGEST,
    Constant,
    Graph,
    Operation,
    Tensor,
    Wire,
    axis_of,
    dimensions_of,
    fitting,
    rearranged,
)


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
    shape = dimensions_of(tensor)
    axis = operation.integer("axis", 1)
    if not (0 if graph.opset < 11 else -len(shape)) <= axis <= len(shape):
        raise operation.refuse(f"axis {axis} of {len(shape)} dimensions")
    before = int(np.prod(shape[: axis if axis >= 0 else axis + len(shape)]))
    return rearranged(tensor, lambda array: array.reshape(before, -1))


def _reshape(graph: Graph, operation: Operation) -> Tensor:
    tensor, wanted = operation.tensor(0), operation.whole(1)
    shape = dimensions_of(tensor)
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
    return rearranged(tensor, lambda array: array.reshape(full))


def _axes(graph: Graph, operation: Operation) -> list[int] | None:
    """Axes as an attribute before opset 13, as an input since."""
    as_input = graph.opset >= 13 and operation.has(1)
    found = operation.whole(1) if as_input else operation.integers("axes", None) if graph.opset < 13 else None
    if found == []:
        raise operation.refuse("an empty list of axes is not known here")
    return found


def _squeeze(graph: Graph, operation: Operation) -> Tensor:
    tensor = operation.tensor(0)
    shape, axes = dimensions_of(tensor), _axes(graph, operation)
    if axes is None:
        gone = [at for at, size in enumerate(shape) if size == 1]
    else:
        gone = [axis_of(operation, axis, len(shape)) for axis in axes]
    return rearranged(tensor, lambda array: np.squeeze(array, tuple(gone)))


def _unsqueeze(graph: Graph, operation: Operation) -> Tensor:
    tensor, axes = operation.tensor(0), _axes(graph, operation)
    if axes is None:
        raise operation.refuse("it has no axes")
    dimensions = len(dimensions_of(tensor)) + len(axes)
    new = [axis_of(operation, axis, dimensions) for axis in axes]
    return rearranged(tensor, lambda array: np.expand_dims(array, tuple(new)))


def _transpose(graph: Graph, operation: Operation) -> Tensor:
    tensor = operation.tensor(0)
    dimensions = len(dimensions_of(tensor))
    order = operation.integers("perm", list(range(dimensions))[::-1])
    if order is None or sorted(order) != list(range(dimensions)):
        raise operation.refuse("perm is no order of its dimensions")
    return rearranged(tensor, lambda array: array.transpose(order))


def _concat(graph: Graph, operation: Operation) -> Tensor:
    tensors = [operation.tensor(at) for at in range(len(operation.inputs))]
    axis = operation.attribute("axis", int, None)
    if axis is None or not tensors:
        raise operation.refuse("it has no axis, or no inputs")
    axis = axis_of(operation, axis, len(dimensions_of(tensors[0])))
    arrays = [tensor for tensor in tensors if not isinstance(tensor, Wire)]
    if len(arrays) == len(tensors):
        if len({array.dtype for array in arrays}) > 1:
            raise operation.refuse("it is of several element types")
        return np.concatenate(arrays, axis)
    nowhere = [np.full(dimensions_of(tensor), -1) for tensor in tensors]
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
    shape = dimensions_of(tensor)
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
        at = axis_of(operation, axis, len(shape))
        if step < 1 or at in seen:
            raise operation.refuse("a step below 1, or an axis twice, is not known here")
        seen.add(at)
        taken[at] = slice(start, end, step)
    return rearranged(tensor, lambda array: array[tuple(taken)])


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
    fitting([size + sum(pair) for size, pair in zip(wire.places.shape, pairs, strict=True)])
    return Wire(wire.value, np.pad(wire.places, pairs, constant_values=-1))


MOVING: dict[str, Callable[[Graph, Operation], Tensor]] = {
    "Concat": _concat,
    "Constant": _constant,
    "Dropout": _dropout,
    "Flatten": _flatten,
    "Identity": _identity,
    "Pad": _pad,
    "Reshape": _reshape,
    "Slice": _slice,
    "Squeeze": _squeeze,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
