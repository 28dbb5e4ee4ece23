"""The operators that are known here, each from the ONNX standard's text; those that only move entries: `moving.py`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from verifier.checker.graph import LARGEST, Graph, Operation, Tensor, Wire, dimensions_of, fitting
from verifier.checker.moving import MOVING
from verifier.checker.network import Convolution, Dense, Relu

SOFTMAX = ("Softmax", "LogSoftmax")


# Sums and multiples


def _add(graph: Graph, operation: Operation) -> Tensor:
    return _sum(graph, operation, 1.0)


def _sub(graph: Graph, operation: Operation) -> Tensor:
    return _sum(graph, operation, -1.0)


def _sum(graph: Graph, operation: Operation, sign: float) -> Wire:
    one, other = operation.tensor(0), operation.tensor(1)
    shape = np.broadcast_shapes(dimensions_of(one), dimensions_of(other))
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
    if np.broadcast_shapes(dimensions_of(added), shape) != shape:
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
    fitting([shape[1], *(size + sum(pair) for size, pair in zip(shape[2:], pads, strict=True))])
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


OPERATORS: dict[str, Callable[[Graph, Operation], Tensor]] = {
    **MOVING,
    "Add": _add,
    "AveragePool": _average_pool,
    "Conv": _conv,
    "Div": _div,
    "Gemm": _gemm,
    "GlobalAveragePool": _global_average_pool,
    "MatMul": _matmul,
    "Mul": _mul,
    "Neg": _neg,
    "Relu": _relu,
    "Sub": _sub,
}
