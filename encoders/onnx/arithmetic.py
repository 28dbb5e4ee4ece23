"""Sums, differences, and products with constants, entry by entry."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from encoders.errors import ModelError
from encoders.layer_graph.builder import LARGEST_FOLDED, View, checked_size
from encoders.onnx.node import Call, Value

ONE, ZERO = np.array(1.0), np.array(0.0)


def broadcast(call: Call, view: View, shape: tuple[int, ...]) -> View:
    """The view spread over a shape."""
    if view.shape == shape:
        return view
    try:
        return view.arranged(np.broadcast_to(view.positions(), shape))
    except ValueError:
        raise ModelError(f"{call.name}: shapes {view.shape} and {shape} do not broadcast") from None


def common_shape(call: Call, values: Sequence[Value | None]) -> tuple[int, ...]:
    """The shape that all the values spread over."""
    shapes = [value.shape for value in values if value is not None]
    try:
        shape = tuple(int(n) for n in np.broadcast_shapes(*shapes))
    except ValueError:
        told = " and ".join(str(shape) for shape in shapes)
        raise ModelError(f"{call.name}: shapes {told} do not broadcast") from None
    checked_size(shape, call.name)
    return shape


def numbers(call: Call, value: Value | None) -> NDArray[np.float64]:
    """A constant as float64; NaN and infinity are refused."""
    found = np.asarray(value, dtype=np.float64)
    if not np.isfinite(found).all():
        raise ModelError(f"{call.name}: its constants hold NaN or infinite values; repair the model file")
    return found


def check_gain(call: Call, factor: NDArray[np.float64]) -> None:
    """Refuse an operator that scales its own intermediate values beyond what bounds on their underflow know of."""
    if (np.abs(factor) > LARGEST_FOLDED).any():
        raise ModelError(
            f"{call.name}: it scales by {np.abs(factor).max():.3g}, more than 2^30; scale the layers apart"
        )


def added(call: Call, first: Value, second: Value, sign: float = 1.0) -> View:
    """first + sign · second, of which one at least depends on the input."""
    shape = common_shape(call, (first, second))
    if isinstance(first, View) and isinstance(second, View):
        a, b = broadcast(call, first, shape), broadcast(call, second, shape)
        return call.build.combined(a, ONE, b, np.array(sign), ZERO, call.name)
    if isinstance(first, View):
        return call.build.shifted(broadcast(call, first, shape), sign * numbers(call, second), call.name)
    assert isinstance(second, View)
    spread = broadcast(call, second, shape)
    return call.build.scaled(spread, np.array(sign), numbers(call, first), call.name)


def add(call: Call) -> Value:
    return added(call, *_pair(call))


def subtract(call: Call) -> Value:
    return added(call, *_pair(call), sign=-1.0)


def _pair(call: Call) -> tuple[Value, Value]:
    first, second = (call.inputs[k] if k < len(call.inputs) else None for k in (0, 1))
    if first is None or second is None:
        raise ModelError(f"{call.name}: it needs two inputs")
    if call.opset < 7 or call.attributes.get("axis") is not None:
        raise call.unsupported("it broadcasts as opset 6 did; convert the model to opset 17")
    return first, second


def multiply(call: Call) -> Value:
    first, second = _pair(call)
    if isinstance(first, View) and isinstance(second, View):
        raise call.unsupported("a product of two values that both depend on the input is not piecewise linear")
    k = 0 if isinstance(first, View) else 1
    spread = broadcast(call, call.view(k), common_shape(call, (first, second)))
    return call.build.scaled(spread, call.weights(1 - k), ZERO, call.name)


def divide(call: Call) -> Value:
    first, second = _pair(call)
    if isinstance(second, View):
        raise call.unsupported("division by a value that depends on the input is not piecewise linear")
    divisor = call.weights(1)
    if (divisor == 0).any():
        raise ModelError(f"{call.name}: tensor {call.node.input[1]!r} holds a zero to divide by")
    spread = broadcast(call, call.view(), common_shape(call, (first, second)))
    return call.build.scaled(spread, 1.0 / divisor, ZERO, call.name)


def negate(call: Call) -> Value:
    return call.build.scaled(call.view(), np.array(-1.0), ZERO, call.name, roundings=0)


def total(call: Call) -> Value:
    """Sum: any number of values. Constants come last, so that none are added, and rounded, by themselves."""
    values = [value for value in call.inputs if value is not None]
    result, *others = sorted(values, key=lambda value: not isinstance(value, View))
    for value in others:
        result = added(call, result, value)
    return result


def mean(call: Call) -> Value:
    """Mean: any number of values."""
    result = total(call)
    count = sum(value is not None for value in call.inputs)
    if isinstance(result, View) and count > 1:
        return call.build.scaled(result, np.array(1.0 / count), ZERO, call.name)
    return result


def identity(call: Call) -> Value:
    return call.view()


def cast(call: Call) -> Value:
    """A cast between floating-point types keeps the value; to float32 it is rounded where the file is executed."""
    from onnx import TensorProto

    if call.attributes["to"] not in (TensorProto.FLOAT, TensorProto.DOUBLE):
        kind = TensorProto.DataType.Name(call.attributes["to"])
        raise call.unsupported(f"a cast to {kind} rounds; only FLOAT and DOUBLE keep the values")
    if call.attributes["to"] == TensorProto.DOUBLE:
        return call.view()
    if call.double:
        raise call.unsupported(
            "a file that takes DOUBLE and computes in FLOAT rounds in two ways; export it in one type"
        )
    return call.build.shifted(call.view(), ZERO, call.name)
