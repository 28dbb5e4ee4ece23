"""Operators that only move numbers about: onnxruntime is run on the numbers of the places themselves.

Every entry of every operand gets a number of its own, 1, 2, 3 …; the node is executed on these in place of values, in
the file's own opset, and what comes out says where each entry came from (0: from nowhere, it is a zero). So a slice,
a pad or a scatter means here exactly what it means where the file runs; there is no second reading of its rules.
"""

from __future__ import annotations

import math

import numpy as np
import onnx
from numpy.typing import NDArray
from scipy import sparse

from encoders.arrays import FloatArray, IntArray
from encoders.errors import ModelError
from encoders.layer_graph.builder import MAX_ELEMENTS, View, checked_size
from encoders.layer_graph.linear_maps import LinearMap, Sparse
from encoders.onnx.node import Call, Operator, Value
from encoders.onnx.runtime import ExecutionError, run_node

DIGIT = 2**20  # places are numbered by two float32 numbers below this
FILLS = ("value", "extrapolation_value")  # attributes that hold a number to fill with


def moved(*operands: int) -> Operator:
    """An operator whose inputs `operands` (all of them, without any) are moved, and whose others say how."""

    def operator(call: Call) -> tuple[Value, ...]:
        chosen = operands or tuple(range(len(call.inputs)))
        return rearranged(call, [k for k in chosen if k < len(call.inputs) and call.inputs[k] is not None])

    return operator


def rearranged(call: Call, operands: list[int]) -> tuple[Value, ...]:
    """The outputs of a node that moves its operands' entries, as views where one is enough, else as sums."""
    values = [call.inputs[k] for k in operands]
    node, fill = _without_fill(call)
    sizes = [int(np.prod(value.shape, dtype=np.int64)) for value in values if value is not None]
    starts = np.cumsum([1, *sizes])
    total = int(starts[-1]) - 1
    origins = _origins(call, node, operands, starts, None if fill is None else total + 1)
    if fill is not None:  # one more operand: the number that fills
        sizes, values = [*sizes, 1], [*values, np.array([fill])]
        starts = np.append(starts, total + 2)
    return tuple(_assembled(call, origin, values, starts) for origin in origins)


def check_growth(call: Call) -> None:
    """Refuse a node whose sizes promise more entries than may be, before onnxruntime allocates them."""
    promised = promised_size(call)
    if promised > MAX_ELEMENTS:
        raise ModelError(
            f"{call.name}: makes a tensor of {promised:.3g} entries, more than the {MAX_ELEMENTS} entries allowed"
        )


def promised_size(call: Call) -> float:
    """About how many entries the output of an operator that can grow will have; 0 for the others."""
    shapes = [() if value is None else value.shape for value in call.inputs]
    size = math.prod(map(float, shapes[0])) if shapes else 1.0

    def numbers(k: int) -> list[float]:
        value = call.inputs[k] if k < len(call.inputs) else None
        return [] if not isinstance(value, np.ndarray) else [float(v) for v in value.reshape(-1)[:64]]

    kind = call.node.op_type
    if kind == "ConstantOfShape":
        return math.prod(abs(n) for n in numbers(0))
    if kind == "Expand":
        return size * math.prod(max(1.0, abs(n)) for n in numbers(1))
    if kind == "Tile":
        return size * math.prod(max(1.0, abs(n)) for n in numbers(1))
    if kind == "Pad":
        pads = numbers(1) if call.opset >= 11 else [float(p) for p in call.attributes.get("pads", ())]
        return math.prod(float(side) + sum(abs(p) for p in pads) for side in shapes[0]) if any(pads) else size
    if kind in ("Resize", "Upsample"):
        scales = [*call.attributes.get("scales", ()), *numbers(1 if kind == "Upsample" or call.opset < 11 else 2)]
        wanted = numbers(3) if kind == "Resize" else []
        return max(size * math.prod(max(1.0, abs(s)) for s in scales), math.prod(abs(n) for n in wanted))
    if kind == "Range":
        start, limit, step = ([*numbers(k), 0.0][0] for k in range(3))
        return abs((limit - start) / step) if step else 0.0
    if kind == "OneHot":
        return size * max([1.0, *numbers(1)])
    if kind == "CenterCropPad":
        return size * math.prod(max(1.0, abs(n)) for n in numbers(1))
    if kind == "EyeLike":
        return size
    return 0.0


def _without_fill(call: Call) -> tuple[onnx.NodeProto, float | None]:
    """A copy of a node that fills with the number in an attribute, whose place is to be written there; and that
    number. Most nodes fill with nothing, or with zeros: these as they are."""
    given = [a for a in call.node.attribute if a.name in FILLS and a.f != 0.0]
    if not given:
        return call.node, None
    node = onnx.NodeProto()
    node.CopyFrom(call.node)
    return node, float(given[0].f)


def _origins(
    call: Call, node: onnx.NodeProto, operands: list[int], starts: IntArray, fill: int | None
) -> list[IntArray]:
    """For each output, the number of the place that each of its entries came from; `fill` is that of the fill."""
    check_growth(call)
    names = [call.node.input[k] for k in operands]
    if len(set(names)) < len(names):  # the same tensor twice: two names, for two sets of places
        node = _renamed(node, operands)
        names = [node.input[k] for k in operands]
    fixed = {
        name: value
        for k, (name, value) in enumerate(zip(node.input, call.inputs, strict=False))
        if name and k not in operands and isinstance(value, np.ndarray)
    }
    if any(k not in operands and isinstance(value, View) for k, value in enumerate(call.inputs)):
        raise call.unsupported("where it moves its entries depends on the network's input")
    digits = 1 if int(starts[-1]) + 1 < 2**24 else 2
    found: list[IntArray] = []
    for digit in range(digits):
        feeds = {}
        for name, k, start in zip(names, operands, starts, strict=False):
            value = call.inputs[k]
            shape = () if value is None else value.shape
            places = np.arange(start, start + int(np.prod(shape, dtype=np.int64)), dtype=np.int64).reshape(shape)
            feeds[name] = _digit(places, digit, digits)
        if fill is not None:
            for attribute in node.attribute:
                if attribute.name in FILLS:
                    attribute.f = float(_digit(np.array(fill), digit, digits))
        try:
            outputs = run_node(node, call.opset, fixed, feeds)
        except ExecutionError as error:
            raise ModelError(f"{call.name}: {error}") from None
        parts = [np.asarray(output).astype(np.int64) * DIGIT**digit for output in outputs]
        found = parts if not found else [a + b for a, b in zip(found, parts, strict=True)]
    return found


def _digit(places: IntArray, digit: int, digits: int) -> NDArray[np.float32]:
    part = places if digits == 1 else (places % DIGIT if digit == 0 else places // DIGIT)
    return np.asarray(part, dtype=np.float32)


def _renamed(node: onnx.NodeProto, operands: list[int]) -> onnx.NodeProto:
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    for k in operands:
        copy.input[k] = f"operand {k}"
    return copy


def _assembled(call: Call, origin: IntArray, values: list[Value | None], starts: IntArray) -> Value:
    """A tensor whose entries come from `origin`: numbered places of the operands."""
    shape = tuple(int(n) for n in origin.shape)
    checked_size(shape, call.name)
    flat = origin.reshape(-1)
    owner = np.searchsorted(starts, flat, side="right") - 1  # -1: from nowhere
    place = flat - starts[np.maximum(owner, 0)]
    owners = [int(k) for k in np.unique(owner) if k >= 0]
    views = {k: value for k in owners if isinstance(value := values[k], View)}
    constants = {k: np.asarray(values[k]) for k in owners if k not in views}
    if not views:
        bias = np.zeros(flat.size)
        for k, value in constants.items():
            bias[owner == k] = value.reshape(-1)[place[owner == k]]
        return bias.reshape(shape).astype(np.result_type(np.float32, *constants.values()))
    if len({view.node for view in views.values()}) == 1 and not constants:
        index = np.full(flat.size, -1, dtype=np.int64)
        for k, view in views.items():
            index[owner == k] = view.index[place[owner == k]]
        return View(next(iter(views.values())).node, index, shape)
    return _sum_of(call, owner, place, views, constants, shape)


def _sum_of(
    call: Call,
    owner: IntArray,
    place: IntArray,
    views: dict[int, View],
    constants: dict[int, NDArray[np.float64]],
    shape: tuple[int, ...],
) -> View:
    """Entries of several values beside each other, as a sum of tables: nothing is added, so nothing is rounded."""
    terms: list[tuple[View, LinearMap]] = []
    for k, view in views.items():
        rows = np.flatnonzero(owner == k)
        part = view.arranged(place[rows])
        data = (np.ones(rows.size), (rows, np.arange(rows.size)))
        terms.append((part, Sparse(sparse.csr_array(data, shape=(owner.size, rows.size)))))
    bias: FloatArray = np.zeros(owner.size)
    for k, value in constants.items():
        bias[owner == k] = np.asarray(value, dtype=np.float64).reshape(-1)[place[owner == k]]
    if not np.isfinite(bias).all():
        raise ModelError(f"{call.name}: its constants hold NaN or infinite values; repair the model file")
    return call.build.affine(terms, bias.reshape(shape), shape, call.name, roundings=0)
