"""The operators: how each ONNX node becomes affine maps and ReLUs. One function each, one line in `OPERATORS`.

Shapes are those of one sample, with a batch dimension of 1 where the model has one, so that any batch convention works.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from scipy import sparse

from encoders.builder import GraphBuilder, View, checked_size
from encoders.errors import ModelError, UnsupportedOperatorError
from encoders.linear_maps import Convolution, Dense, FloatArray, IntArray, LinearMap, Sparse

Value = View | np.ndarray[Any, Any]
ONE, ZERO = np.array(1.0), np.array(0.0)


@dataclass(frozen=True, eq=False)
class Call:
    """One node of the file with what it reads."""

    node: onnx.NodeProto
    opset: int
    inputs: list[Value | None]
    attributes: dict[str, Any]
    build: GraphBuilder

    @property
    def name(self) -> str:
        return f"node {self.node.name or self.node.output[0]!r} ({self.node.op_type})"

    def view(self, k: int = 0) -> View:
        value = self.inputs[k]
        if not isinstance(value, View):
            raise self.unsupported(f"its input {self.node.input[k]!r} is a constant")
        return value

    def maybe(self, k: int) -> np.ndarray[Any, Any] | None:
        """Input k as a constant; None where it is left out."""
        value = self.inputs[k] if k < len(self.inputs) else None
        if isinstance(value, View):
            raise self.unsupported(f"its input {self.node.input[k]!r} depends on the network's input")
        return value

    def constant(self, k: int) -> np.ndarray[Any, Any]:
        value = self.maybe(k)
        if value is None:
            raise ModelError(f"{self.name}: its input {k} is missing")
        return value

    def weights(self, k: int) -> FloatArray:
        """A constant input as float64; NaN and infinity are refused."""
        value = np.asarray(self.constant(k), dtype=np.float64)
        if not np.isfinite(value).all():
            raise ModelError(
                f"{self.name}: tensor {self.node.input[k]!r} holds NaN or infinite values; repair the model file"
            )
        return value

    def unsupported(self, why: str) -> UnsupportedOperatorError:
        inputs = ", ".join(self.node.input)
        return UnsupportedOperatorError(f"{self.name} with inputs [{inputs}] is not supported: {why}")


Operator = Callable[[Call], Value]


def _broadcast(call: Call, view: View, shape: tuple[int, ...]) -> View:
    try:
        return view.arranged(np.broadcast_to(view.positions(), shape))
    except ValueError:
        raise ModelError(f"{call.name}: shapes {view.shape} and {shape} do not broadcast") from None


def _pair_shape(call: Call) -> tuple[int, ...]:
    shapes = [value.shape for value in call.inputs[:2] if value is not None]
    try:
        return tuple(int(n) for n in np.broadcast_shapes(*shapes))
    except ValueError:
        raise ModelError(f"{call.name}: shapes {shapes[0]} and {shapes[1]} do not broadcast") from None


def _add(call: Call, sign: float = 1.0) -> Value:
    shape = _pair_shape(call)
    first, second = call.inputs[:2]
    if isinstance(first, View) and isinstance(second, View):
        a, b = _broadcast(call, first, shape), _broadcast(call, second, shape)
        return call.build.combined(a, ONE, b, np.array(sign), ZERO, call.name)
    if isinstance(first, View):
        return call.build.shifted(_broadcast(call, first, shape), sign * call.weights(1), call.name)
    return call.build.scaled(_broadcast(call, call.view(1), shape), np.array(sign), call.weights(0), call.name)


def _subtract(call: Call) -> Value:
    return _add(call, -1.0)


def _multiply(call: Call) -> Value:
    if isinstance(call.inputs[0], View) and isinstance(call.inputs[1], View):
        raise call.unsupported("a product of two values that both depend on the input is not piecewise linear")
    k = 0 if isinstance(call.inputs[0], View) else 1
    return call.build.scaled(_broadcast(call, call.view(k), _pair_shape(call)), call.weights(1 - k), ZERO, call.name)


def _divide(call: Call) -> Value:
    if isinstance(call.inputs[1], View):
        raise call.unsupported("division by a value that depends on the input is not piecewise linear")
    divisor = call.weights(1)
    if (divisor == 0).any():
        raise ModelError(f"{call.name}: tensor {call.node.input[1]!r} holds a zero to divide by")
    return call.build.scaled(_broadcast(call, call.view(), _pair_shape(call)), 1.0 / divisor, ZERO, call.name)


def _negate(call: Call) -> Value:
    return call.build.scaled(call.view(), np.array(-1.0), ZERO, call.name)


def _sum(call: Call) -> Value:
    total = call.inputs[0]
    for value in call.inputs[1:]:
        total = _add(Call(call.node, call.opset, [total, value], {}, call.build))
    return total if total is not None else call.view()


def _identity(call: Call) -> Value:
    return call.view()


def _dropout(call: Call) -> Value:
    training = call.maybe(2)
    if training is not None and bool(np.any(training)):
        raise call.unsupported("it is in training mode; export the model for inference")
    return call.view()


def _cast(call: Call) -> Value:
    if call.attributes["to"] not in (onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE):
        kind = onnx.TensorProto.DataType.Name(call.attributes["to"])
        raise call.unsupported(f"a cast to {kind} rounds; only FLOAT and DOUBLE keep the values")
    return call.view()


# -- activations ------------------------------------------------------------------------------------------------------


def _relu(call: Call) -> Value:
    return call.build.relu(call.view(), call.name)


def _leaky(call: Call, slope: FloatArray) -> Value:
    view = call.view()
    try:
        spread = np.broadcast_to(slope, view.shape)
    except ValueError:
        raise ModelError(f"{call.name}: a slope of shape {slope.shape} does not fit {view.shape}") from None
    rectified = call.build.relu(view, call.name)
    return call.build.combined(rectified, 1.0 - spread, view, spread, ZERO, call.name)


def _leaky_relu(call: Call) -> Value:
    return _leaky(call, np.array(float(call.attributes.get("alpha", 0.01))))


def _prelu(call: Call) -> Value:
    return _leaky(call, call.weights(1))


def _absolute(call: Call) -> Value:
    return _leaky(call, np.array(-1.0))


def _clipped(call: Call, view: View, low: FloatArray, high: FloatArray) -> Value:
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


def _clip(call: Call) -> Value:
    if call.opset < 11:
        low, high = call.attributes.get("min", -np.inf), call.attributes.get("max", np.inf)
    else:
        sides = [call.maybe(1), call.maybe(2)]
        low = -np.inf if sides[0] is None else sides[0]
        high = np.inf if sides[1] is None else sides[1]
    largest = float(np.finfo(np.float32).max)  # how exporters write "no limit"
    low, high = np.asarray(low, dtype=np.float64), np.asarray(high, dtype=np.float64)
    low, high = np.where(low <= -largest, -np.inf, low), np.where(high >= largest, np.inf, high)
    return _clipped(call, call.view(), low, high)


def _hard_sigmoid(call: Call) -> Value:
    alpha, beta = call.attributes.get("alpha", 0.2), call.attributes.get("beta", 0.5)
    inner = call.build.scaled(call.view(), np.array(alpha), np.array(beta), call.name)
    return _clipped(call, inner, ZERO, ONE)


def _maximum(call: Call, least: bool = False) -> Value:
    result = call.inputs[0]
    for value in call.inputs[1:]:
        pair = Call(call.node, call.opset, [result, value], {}, call.build)
        shape = _pair_shape(pair)
        if isinstance(result, View) and isinstance(value, View):
            a, b = _broadcast(call, result, shape), _broadcast(call, value, shape)
            if least:  # min(a, b) = a + b - max(a, b)
                top = call.build.maximum(a, b, call.name)
                both = call.build.combined(a, ONE, b, ONE, ZERO, call.name)
                result = call.build.combined(both, ONE, top, np.array(-1.0), ZERO, call.name)
            else:
                result = call.build.maximum(a, b, call.name)
            continue
        k = 0 if isinstance(result, View) else 1
        view, limit = _broadcast(call, pair.view(k), shape), np.asarray(pair.constant(1 - k), dtype=np.float64)
        none = np.full(shape, np.inf)
        result = _clipped(call, view, -none, limit) if least else _clipped(call, view, limit, none)
    return result if result is not None else call.view()


def _minimum(call: Call) -> Value:
    return _maximum(call, least=True)


# -- matrix products and convolutions ---------------------------------------------------------------------------------


def _gemm(call: Call) -> Value:
    a = call.view()
    if call.attributes.get("transA", 0):
        a = a.arranged(a.positions().T)
    weight = call.weights(1)
    weight = weight.T if call.attributes.get("transB", 0) else weight
    scale = np.float64(call.attributes.get("alpha", 1.0))
    bias = ZERO if call.maybe(2) is None else call.weights(2) * np.float64(call.attributes.get("beta", 1.0))
    return _product(call, a, scale * weight, bias)


def _product(call: Call, a: View, weight: FloatArray, bias: FloatArray) -> View:
    """a [..., K] · weight [K, N] + bias."""
    if weight.ndim != 2 or not a.shape or a.shape[-1] != weight.shape[0]:
        raise ModelError(f"{call.name}: shapes {a.shape} and {weight.shape} do not multiply")
    lead = a.shape[:-1]
    repeats = int(np.prod(lead))
    linear: LinearMap = Dense(np.ascontiguousarray(weight.T))
    if repeats > 1:
        linear = Sparse(sparse.csr_array(sparse.kron(sparse.eye_array(repeats), weight.T)))
    return call.build.affine([(a, linear)], bias, (*lead, weight.shape[1]), call.name)


def _matmul(call: Call) -> Value:
    if isinstance(call.inputs[0], View) and isinstance(call.inputs[1], View):
        raise call.unsupported("a product of two values that both depend on the input is not piecewise linear")
    if isinstance(call.inputs[0], View):
        weight = call.weights(1)
        if weight.ndim == 1:
            out = _product(call, call.view(), weight[:, None], ZERO)
            return out.arranged(out.positions()[..., 0])
        if weight.ndim > 2 and np.prod(weight.shape[:-2]) != 1:
            raise call.unsupported(f"a stack of matrices {weight.shape} as the right factor")
        return _product(call, call.view(), weight.reshape(weight.shape[-2:]), ZERO)
    b, weight = call.view(1), call.weights(0)
    if weight.ndim != 2 or len(b.shape) < 2:
        raise call.unsupported(f"a left factor of shape {weight.shape} against {b.shape}")
    turned = b.arranged(np.swapaxes(b.positions(), -1, -2))
    out = _product(call, turned, weight.T, ZERO)
    return out.arranged(np.swapaxes(out.positions(), -1, -2))


def _window(call: Call, spatial: tuple[int, ...], kernel: list[int]) -> tuple[list[int], list[int], list[int]]:
    """Strides, dilations and pads (all begins, then all ends) of a convolution or pool."""
    rank = len(spatial)
    strides = list(call.attributes.get("strides", [1] * rank))
    dilations = list(call.attributes.get("dilations", [1] * rank))
    pads = list(call.attributes.get("pads", [0] * 2 * rank))
    mode = call.attributes.get("auto_pad", "NOTSET")
    if mode in ("SAME_UPPER", "SAME_LOWER"):
        for axis in range(rank):
            reach = dilations[axis] * (kernel[axis] - 1) + 1
            steps = -(-spatial[axis] // strides[axis])
            total = max(0, (steps - 1) * strides[axis] + reach - spatial[axis])
            small, large = total // 2, total - total // 2
            pads[axis], pads[rank + axis] = (small, large) if mode == "SAME_UPPER" else (large, small)
    elif mode == "VALID":
        pads = [0] * 2 * rank
    if any(p < 0 for p in pads) or any(s < 1 for s in strides) or any(d < 1 for d in dilations):
        raise call.unsupported(f"strides {strides}, dilations {dilations}, pads {pads}")
    return strides, dilations, pads


def _image(call: Call) -> tuple[View, tuple[int, ...]]:
    view = call.view()
    if len(view.shape) not in (3, 4) or view.shape[0] != 1:
        raise call.unsupported(f"an input of shape {view.shape}; 1-D and 2-D images with a batch dimension are")
    return view, view.shape[2:]


def _convolution(call: Call) -> Value:
    view, spatial = _image(call)
    weight = call.weights(1)
    if weight.ndim != len(view.shape):
        raise ModelError(f"{call.name}: a kernel of shape {weight.shape} does not fit {view.shape}")
    kernel = list(weight.shape[2:])
    strides, dilations, pads = _window(call, spatial, kernel)
    rank = len(spatial)
    begins, ends = pads[:rank], pads[rank:]
    groups = int(call.attributes.get("group", 1))
    if weight.shape[1] * groups != view.shape[1] or weight.shape[0] % groups:
        raise ModelError(f"{call.name}: kernel {weight.shape} in {groups} groups does not fit {view.shape[1]} channels")
    if rank == 1:
        weight, spatial = weight[:, :, None], (1, *spatial)
        strides, dilations, begins, ends = [1, *strides], [1, *dilations], [0, *begins], [0, *ends]
    linear = Convolution(
        np.ascontiguousarray(weight),
        (view.shape[1], spatial[0], spatial[1]),
        (strides[0], strides[1]),
        (begins[0], begins[1], ends[0], ends[1]),
        (dilations[0], dilations[1]),
        groups,
    )
    channels, height, width = linear.output_image
    shape = (1, channels, width) if rank == 1 else (1, channels, height, width)
    checked_size(shape, call.name)
    bias = np.zeros(channels) if call.maybe(2) is None else call.weights(2)
    return call.build.affine([(view, linear)], bias.reshape(1, -1, *[1] * rank), shape, call.name)


def _batch_norm(call: Call) -> Value:
    if call.attributes.get("training_mode", 0):
        raise call.unsupported("it is in training mode; export the model for inference")
    scale, shift, mean, variance = (call.weights(k) for k in range(1, 5))
    spread = variance + np.float64(call.attributes.get("epsilon", 1e-5))
    if (spread <= 0).any():
        raise ModelError(f"{call.name}: tensor {call.node.input[4]!r} holds a negative variance")
    factor = scale / np.sqrt(spread)
    view = call.view()
    place = (1, -1, *[1] * (len(view.shape) - 2))
    return call.build.scaled(view, factor.reshape(place), (shift - factor * mean).reshape(place), call.name)


# -- pooling ----------------------------------------------------------------------------------------------------------


def _windows(call: Call) -> tuple[View, IntArray, tuple[int, ...], FloatArray]:
    """Per output entry, the positions its window covers ([outputs, kernel], -1 outside) and how many pads count."""
    view, spatial = _image(call)
    kernel = list(call.attributes["kernel_shape"])
    strides, dilations, pads = _window(call, spatial, kernel)
    rank = len(spatial)
    axes, counted = [], []
    for k in range(rank):
        room = spatial[k] + pads[k] + pads[rank + k] - dilations[k] * (kernel[k] - 1) - 1
        steps = (-(-room // strides[k]) if call.attributes.get("ceil_mode", 0) else room // strides[k]) + 1
        if (steps - 1) * strides[k] >= spatial[k] + pads[k]:
            steps -= 1  # a window may not start in the padding at the end
        if steps < 1:
            raise ModelError(f"{call.name}: a window of {kernel} does not fit an image of {spatial}")
        start = np.arange(steps)[:, None] * strides[k] - pads[k]
        place = start + np.arange(kernel[k])[None] * dilations[k]
        axes.append(np.where((place >= 0) & (place < spatial[k]), place, -1))
        counted.append((place < spatial[k] + pads[rank + k]).sum(axis=1))
    positions = view.positions()[0]
    flat = axes[0]
    within = counted[0]
    if rank == 2:
        rows, columns = axes[0][:, None, :, None], axes[1][None, :, None, :]
        flat = np.where((rows >= 0) & (columns >= 0), rows * spatial[1] + columns, -1)
        flat = flat.reshape(axes[0].shape[0] * axes[1].shape[0], -1)
        within = (counted[0][:, None] * counted[1][None, :]).reshape(-1)
    channels = positions.reshape(positions.shape[0], -1)
    table = np.where(flat[None] >= 0, channels[:, np.maximum(flat, 0)], -1)
    shape = (1, positions.shape[0], *(len(a) for a in axes))
    return view, table.reshape(-1, flat.shape[1]), shape, np.tile(within, positions.shape[0]).astype(np.float64)


def _average(call: Call, view: View, table: IntArray, counts: FloatArray, shape: tuple[int, ...]) -> Value:
    rows, columns = np.nonzero(table >= 0)
    data = 1.0 / counts[rows]
    matrix = sparse.csr_array((data, (rows, table[rows, columns])), shape=(len(table), view.index.size))
    return call.build.affine([(view, Sparse(matrix))], ZERO, shape, call.name)


def _average_pool(call: Call) -> Value:
    view, table, shape, within = _windows(call)
    inside = (table >= 0).sum(axis=1).astype(np.float64)
    counts = within if call.attributes.get("count_include_pad", 0) else inside
    return _average(call, view, table, counts, shape)


def _max_of(call: Call, view: View, table: IntArray, shape: tuple[int, ...]) -> Value:
    """A balanced tree of pairwise maxima over the columns; a place outside the image repeats one inside."""
    first = np.take_along_axis(table, (table >= 0).argmax(axis=1)[:, None], axis=1)
    if (first < 0).any():
        raise call.unsupported("a window lies wholly in the padding")
    columns = [view.arranged(column) for column in np.where(table >= 0, table, first).T]
    while len(columns) > 1:
        paired = [call.build.maximum(columns[k], columns[k + 1], call.name) for k in range(0, len(columns) - 1, 2)]
        columns = paired + columns[len(columns) - len(columns) % 2 :]
    return columns[0].arranged(np.arange(len(table)).reshape(shape))


def _max_pool(call: Call) -> Value:
    if len(call.node.output) > 1 and call.node.output[1]:
        raise call.unsupported("its second output (the indices)")
    view, table, shape, _ = _windows(call)
    return _max_of(call, view, table, shape)


def _reduced(call: Call, axes: tuple[int, ...], keep: bool) -> tuple[View, IntArray, tuple[int, ...]]:
    view = call.view()
    rank = len(view.shape)
    axes = tuple(sorted({a % rank for a in axes}))
    kept = [a for a in range(rank) if a not in axes]
    table = view.positions().transpose(*kept, *axes).reshape(int(np.prod([view.shape[a] for a in kept])), -1)
    shape = tuple(1 if a in axes else view.shape[a] for a in range(rank) if keep or a not in axes)
    return view, table, shape


def _global_pool(call: Call, largest: bool = False) -> Value:
    view, table, shape = _reduced(call, tuple(range(2, len(call.view().shape))), True)
    if largest:
        return _max_of(call, view, table, shape)
    return _average(call, view, table, np.full(len(table), float(table.shape[1])), shape)


def _global_max_pool(call: Call) -> Value:
    return _global_pool(call, largest=True)


def _reduce(call: Call, mean: bool) -> Value:
    axes = call.attributes.get("axes")
    if axes is None:
        given = call.maybe(1)
        axes = given.tolist() if given is not None else list(range(len(call.view().shape)))
    view, table, shape = _reduced(call, tuple(axes), bool(call.attributes.get("keepdims", 1)))
    counts = np.full(len(table), float(table.shape[1]) if mean else 1.0)
    return _average(call, view, table, counts, shape)


def _reduce_mean(call: Call) -> Value:
    return _reduce(call, mean=True)


def _reduce_sum(call: Call) -> Value:
    return _reduce(call, mean=False)


# -- rearrangements ---------------------------------------------------------------------------------------------------


def _rearranged(call: Call, change: Callable[[IntArray], IntArray]) -> View:
    view = call.view()
    try:
        return view.arranged(change(view.positions()))
    except (ValueError, IndexError) as error:
        raise ModelError(f"{call.name}: {error}") from None


def _flatten(call: Call) -> Value:
    axis = int(call.attributes.get("axis", 1))
    shape = call.view().shape
    axis = axis + len(shape) if axis < 0 else axis
    return _rearranged(call, lambda p: p.reshape(int(np.prod(shape[:axis])), -1))


def _reshape(call: Call) -> Value:
    wanted = [int(n) for n in np.asarray(call.constant(1)).reshape(-1)]
    if not call.attributes.get("allowzero", 0):
        shape = call.view().shape
        wanted = [shape[k] if n == 0 and k < len(shape) else n for k, n in enumerate(wanted)]
    return _rearranged(call, lambda p: p.reshape(wanted))


def _transpose(call: Call) -> Value:
    return _rearranged(call, lambda p: p.transpose(call.attributes.get("perm")))


def _axes(call: Call) -> list[int] | None:
    if "axes" in call.attributes:
        return list(call.attributes["axes"])
    given = call.maybe(1)
    return None if given is None else [int(a) for a in given.reshape(-1)]


def _squeeze(call: Call) -> Value:
    axes = _axes(call)
    return _rearranged(call, lambda p: p.squeeze(None if axes is None else tuple(axes)))


def _unsqueeze(call: Call) -> Value:
    return _rearranged(call, lambda p: np.expand_dims(p, tuple(_axes(call) or ())))


def _slice(call: Call) -> Value:
    rank = len(call.view().shape)
    if call.opset < 10:
        starts, ends = call.attributes["starts"], call.attributes["ends"]
        axes, steps = call.attributes.get("axes"), None
    else:
        starts, ends, axes, steps = call.constant(1), call.constant(2), call.maybe(3), call.maybe(4)
    along = list(range(len(starts))) if axes is None else [int(a) % rank for a in axes]
    paces = [1] * len(along) if steps is None else [int(s) for s in steps]
    cuts = [slice(None)] * rank
    for axis, start, end, step in zip(along, starts, ends, paces, strict=True):
        extent = call.view().shape[axis]
        stop: int | None = int(end)
        if step < 0 and stop is not None and stop < -extent:
            stop = None  # ONNX counts down past the first entry; Python would wrap around
        cuts[axis] = slice(int(start), stop, step)
    return _rearranged(call, lambda p: p[tuple(cuts)])


def _pad(call: Call) -> Value:
    if call.attributes.get("mode", "constant") != "constant":
        raise call.unsupported(f"mode {call.attributes['mode']}; constant padding is")
    rank = len(call.view().shape)
    axes = list(range(rank))
    if call.opset < 11:
        pads, fill = list(call.attributes["pads"]), float(call.attributes.get("value", 0.0))
    else:
        pads = [int(p) for p in call.constant(1)]
        given = call.maybe(2)
        fill = 0.0 if given is None or given.size == 0 else float(given.reshape(-1)[0])
        chosen = call.maybe(3)
        axes = axes if chosen is None else [int(a) % rank for a in chosen]
    if any(p < 0 for p in pads):
        raise call.unsupported(f"negative pads {pads}; use Slice")
    widths = [(0, 0)] * rank
    for k, axis in enumerate(axes):
        widths[axis] = (pads[k], pads[len(axes) + k])
    padded = _rearranged(call, lambda p: np.pad(p, widths, constant_values=-1))
    if fill == 0.0:
        return padded
    return call.build.shifted(
        padded, np.where(np.asarray(padded.index) < 0, fill, 0.0).reshape(padded.shape), call.name
    )


def _concat(call: Call) -> Value:
    axis = int(call.attributes.get("axis", 1))
    views = [v for v in call.inputs if isinstance(v, View)]
    shapes = [np.zeros(v.shape, dtype=np.int8) for v in call.inputs if v is not None]
    try:
        shape = np.concatenate(shapes, axis=axis).shape
        owner = np.concatenate(
            [np.full(v.shape, k, dtype=np.int64) for k, v in enumerate(call.inputs) if v is not None], axis=axis
        )
    except ValueError as error:
        raise ModelError(f"{call.name}: {error}") from None
    if all(v.node == views[0].node for v in views) and len(views) == len(call.inputs):
        index = np.concatenate([v.index.reshape(v.shape) for v in views], axis=axis)
        return View(views[0].node, index.reshape(-1), tuple(index.shape))
    terms: list[tuple[View, LinearMap]] = []
    bias = np.zeros(shape)
    for k, value in enumerate(call.inputs):
        if isinstance(value, View):
            rows = np.flatnonzero(owner.reshape(-1) == k)
            data = (np.ones(rows.size), (rows, np.arange(rows.size)))
            terms.append((value, Sparse(sparse.csr_array(data, shape=(owner.size, rows.size)))))
        else:
            bias[owner == k] = call.weights(k).reshape(-1)
    return call.build.affine(terms, bias, shape, call.name)


def _gather(call: Call) -> Value:
    axis = int(call.attributes.get("axis", 0))
    chosen = np.asarray(call.constant(1))
    return _rearranged(call, lambda p: np.take(p, chosen, axis=axis))


def _expand(call: Call) -> Value:
    shape = np.broadcast_shapes(call.view().shape, tuple(int(n) for n in call.constant(1)))
    checked_size(tuple(shape), call.name)
    return _rearranged(call, lambda p: np.broadcast_to(p, shape))


def split_parts(call: Call) -> list[Value]:
    """Split has several outputs: one view each."""
    view = call.view()
    axis = int(call.attributes.get("axis", 0))
    sizes = call.attributes.get("split")
    if sizes is None:
        given = call.maybe(1)
        count, extent = len(call.node.output), view.shape[axis]
        whole = -(-extent // count)
        sizes = [whole] * (count - 1) + [extent - whole * (count - 1)] if given is None else given.tolist()
    ends = np.cumsum(sizes)[:-1]
    return [view.arranged(part) for part in np.split(view.positions(), ends, axis=axis)]


OPERATORS: dict[str, Operator] = {
    "Abs": _absolute,
    "Add": _add,
    "AveragePool": _average_pool,
    "BatchNormalization": _batch_norm,
    "Cast": _cast,
    "Clip": _clip,
    "Concat": _concat,
    "Conv": _convolution,
    "Div": _divide,
    "Dropout": _dropout,
    "Expand": _expand,
    "Flatten": _flatten,
    "Gather": _gather,
    "Gemm": _gemm,
    "GlobalAveragePool": _global_pool,
    "GlobalMaxPool": _global_max_pool,
    "HardSigmoid": _hard_sigmoid,
    "Identity": _identity,
    "LeakyRelu": _leaky_relu,
    "MatMul": _matmul,
    "Max": _maximum,
    "MaxPool": _max_pool,
    "Min": _minimum,
    "Mul": _multiply,
    "Neg": _negate,
    "PRelu": _prelu,
    "Pad": _pad,
    "ReduceMean": _reduce_mean,
    "ReduceSum": _reduce_sum,
    "Relu": _relu,
    "Reshape": _reshape,
    "Slice": _slice,
    "Squeeze": _squeeze,
    "Sub": _subtract,
    "Sum": _sum,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
