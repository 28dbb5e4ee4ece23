"""Activations that are piecewise linear, as exact compositions of ReLUs."""

from __future__ import annotations

import numpy as np

from encoders.arrays import FloatArray
from encoders.errors import ModelError
from encoders.layer_graph.builder import View
from encoders.onnx.arithmetic import ONE, ZERO, broadcast, common_shape
from encoders.onnx.node import Call, Value


def relu(call: Call) -> Value:
    return call.build.relu(call.view(), call.name)


def _leaky(call: Call, slope: FloatArray) -> Value:
    """slope · x where x < 0, x elsewhere:  slope · x + (1 - slope) · relu(x).

    Where 1 - slope is no float64 number, relu(x) - slope · relu(-x): no coefficient is rounded, so none can cancel.
    """
    view = call.view()
    try:
        spread = np.broadcast_to(slope, view.shape)
    except ValueError:
        raise ModelError(f"{call.name}: a slope of shape {slope.shape} does not fit {view.shape}") from None
    if call.build.never_negative(view):
        return view
    rectified = call.build.relu(view, call.name)
    rest = 1.0 - spread
    back = rest - 1.0
    if ((1.0 - (rest - back)) + (-spread - back) == 0).all():  # Knuth's two-sum of 1 and -slope: exact
        return call.build.combined(rectified, rest, view, spread, ZERO, call.name)
    negative = call.build.relu(call.build.scaled(view, np.array(-1.0), ZERO, call.name, roundings=0), call.name)
    return call.build.combined(rectified, ONE, negative, -spread, ZERO, call.name)


def leaky_relu(call: Call) -> Value:
    return _leaky(call, np.array(float(call.attributes["alpha"])))


def prelu(call: Call) -> Value:
    return _leaky(call, call.weights(1))


def absolute(call: Call) -> Value:
    return _leaky(call, np.array(-1.0))


def clipped(call: Call, view: View, low: FloatArray, high: FloatArray) -> Value:
    """min(max(x, low), high), entry by entry; either side may be infinite."""
    low, high = (np.broadcast_to(np.asarray(side, dtype=np.float64), view.shape) for side in (low, high))
    if np.isnan(low).any() or np.isnan(high).any() or (low == np.inf).any() or (high == -np.inf).any():
        raise ModelError(f"{call.name}: its limits hold NaN or leave no finite value")
    low = np.minimum(low, high)  # where low > high, ONNX gives high everywhere
    result = view
    if np.isfinite(low).any():
        held = np.isfinite(low)
        floor = np.where(held, low, 0.0)
        above = call.build.relu(call.build.shifted(view, -floor, call.name), call.name)
        keep = np.where(held, 0.0, 1.0)
        result = call.build.combined(above, 1.0 - keep, view, keep, floor, call.name)
    if np.isfinite(high).any():
        held = np.isfinite(high)
        ceiling = np.where(held, high, 0.0)
        over = call.build.relu(call.build.shifted(view, -ceiling, call.name), call.name)
        result = call.build.combined(result, ONE, over, np.where(held, -1.0, 0.0), ZERO, call.name)
    return result


def clip(call: Call) -> Value:
    """Clip; limits at the ends of the file's own type, which those left out are, mean none.

    Bounds would not survive numbers of that size. The view is noted, so that no question is asked whose values could
    be as large.
    """
    if call.opset < 11:
        sides = [np.asarray(call.attributes[name]) if name in call.attributes else None for name in ("min", "max")]
    else:
        sides = [call.maybe(1), call.maybe(2)]
    largest = float(np.finfo(np.float64 if call.double else np.float32).max)
    low, high = (
        np.asarray(end if side is None or not np.size(side) else side, dtype=np.float64)
        for side, end in zip(sides, (-largest, largest), strict=True)
    )
    if (np.isfinite(low) & (low <= -largest)).any() or (np.isfinite(high) & (high >= largest)).any():
        call.build.unlimited[call.view().node] = largest
    low, high = np.where(low <= -largest, -np.inf, low), np.where(high >= largest, np.inf, high)
    return clipped(call, call.view(), low, high)


def hard_sigmoid(call: Call) -> Value:
    """max(0, min(1, alpha · x + beta))."""
    alpha, beta = np.array(float(call.attributes["alpha"])), np.array(float(call.attributes["beta"]))
    return clipped(call, call.build.scaled(call.view(), alpha, beta, call.name), ZERO, ONE)


def _extreme(call: Call, least: bool) -> Value:
    """The greatest or least of any number of values."""
    values = [value for value in call.inputs if value is not None]
    shape = common_shape(call, values)
    views = [broadcast(call, value, shape) for value in values if isinstance(value, View)]
    result = extreme_of(call, views, least)
    limits = [np.asarray(value, dtype=np.float64) for value in values if not isinstance(value, View)]
    if not limits:
        return result
    none = np.full(shape, np.inf)
    limit = limits[0]
    for other in limits[1:]:
        limit = np.minimum(limit, other) if least else np.maximum(limit, other)
    return clipped(call, result, -none, limit) if least else clipped(call, result, limit, none)


def extreme_of(call: Call, views: list[View], least: bool = False) -> View:
    """The greatest or least of views of one shape, entry by entry, as a balanced tree: a + relu(b - a)."""
    while len(views) > 1:
        paired = [_of_two(call, views[k], views[k + 1], least) for k in range(0, len(views) - 1, 2)]
        views = paired + views[len(views) - len(views) % 2 :]
    return views[0]


def _of_two(call: Call, a: View, b: View, least: bool) -> View:
    if not least:
        return call.build.maximum(a, b, call.name)
    gap = call.build.relu(call.build.combined(a, ONE, b, np.array(-1.0), ZERO, call.name), call.name)
    return call.build.combined(a, ONE, gap, np.array(-1.0), ZERO, call.name)  # min(a, b) = a - relu(a - b)


def maximum(call: Call) -> Value:
    return _extreme(call, least=False)


def minimum(call: Call) -> Value:
    return _extreme(call, least=True)


SMOOTH = {
    "Celu": "Relu or LeakyRelu", "Elu": "Relu or LeakyRelu", "Selu": "Relu or LeakyRelu", "Gelu": "Relu",
    "Mish": "Relu", "Swish": "Relu", "Softplus": "Relu", "Exp": "a piecewise-linear activation",
    "Log": "a piecewise-linear activation", "Sigmoid": "HardSigmoid", "Softsign": "Clip", "Tanh": "Clip",
    "Erf": "Clip", "Sqrt": "a piecewise-linear activation", "Pow": "a piecewise-linear activation",
    "Sin": "Clip", "Cos": "Clip", "Atan": "Clip", "Softmax": "nothing: only a final one can be left out",
    "LogSoftmax": "nothing: only a final one can be left out", "Reciprocal": "a piecewise-linear activation",
}  # fmt: skip
"""Smooth functions, and their piecewise-linear kin."""

JUMPING = {"ThresholdedRelu", "Shrink", "Sign", "Floor", "Ceil", "Round", "Hardmax", "ArgMax", "ArgMin", "Greater",
           "Less", "Equal", "IsNaN", "IsInf", "Mod", "TopK"}  # fmt: skip
"""Functions with jumps."""

PRODUCTS = {"HardSwish": "x times a hard sigmoid of x", "LRN": "a quotient", "InstanceNormalization": "a quotient",
            "LayerNormalization": "a quotient", "GroupNormalization": "a quotient", "LpNormalization": "a quotient",
            "MeanVarianceNormalization": "a quotient", "RMSNormalization": "a quotient", "ReduceProd": "a product",
            "ReduceSumSquare": "a sum of squares", "ReduceL2": "a root of squares",
            "Attention": "products of values"}  # fmt: skip
"""Products and quotients of values that depend on the input."""


def why_not(operator: str) -> str:
    """Why an operator has no exact form, and what to use in its place."""
    if operator in SMOOTH:
        return f"{operator} is smooth, not piecewise linear; train with {SMOOTH[operator]} in its place"
    if operator in JUMPING:
        return f"{operator} jumps; it has no continuous piecewise-linear form"
    if operator in PRODUCTS:
        return f"{operator} is {PRODUCTS[operator]}, which is not piecewise linear"
    return "no exact piecewise-linear form is known for it; replace it by a supported operator or drop it"
