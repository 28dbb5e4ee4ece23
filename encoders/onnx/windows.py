"""Convolutions and pooling: what is computed in a window that moves over an image of one, two or three dimensions."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from encoders.arrays import FloatArray, IntArray
from encoders.errors import ModelError
from encoders.layer_graph.builder import View, checked_size
from encoders.layer_graph.linear_maps import Convolution, LinearMap, Sparse
from encoders.onnx.activations import extreme_of
from encoders.onnx.arithmetic import ZERO, check_gain
from encoders.onnx.node import Call, Value
from encoders.onnx.products import MOST_PRODUCTS

MOST_AVERAGED = 2**24  # entries of all windows together, of an average pool
MOST_COMPARED = 2**20  # and of a max pool, which has about as many ReLUs
FEW_COLUMNS = 16  # of a window: as many are compared pair by pair


@dataclass(frozen=True)
class Window:
    """The geometry of a window, one entry for each dimension of the image."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    begin: tuple[int, ...]  # rows of padding before the image
    end: tuple[int, ...]  # and after it

    def reach(self, k: int) -> int:
        """How far the window stretches in dimension k."""
        return self.dilation[k] * (self.kernel[k] - 1) + 1


def _image(call: Call, ranks: tuple[int, ...] = (1, 2, 3)) -> tuple[View, tuple[int, ...]]:
    view = call.view()
    if len(view.shape) - 2 not in ranks or view.shape[0] != 1:
        raise call.unsupported(f"an input of shape {view.shape}; images of 1 to 3 dimensions, one at a time, are")
    return view, view.shape[2:]


def _window(call: Call, spatial: tuple[int, ...], kernel: tuple[int, ...]) -> Window:
    """The window of a convolution or pool."""
    rank = len(spatial)
    stride = tuple(call.attributes.get("strides") or [1] * rank)
    dilation = tuple(call.attributes.get("dilations") or [1] * rank)
    pads = list(call.attributes.get("pads") or [0] * 2 * rank)
    if not len(stride) == len(dilation) == len(kernel) == rank or len(pads) != 2 * rank:
        raise ModelError(f"{call.name}: its strides, dilations, pads or kernel do not fit an image of {spatial}")
    mode = call.attributes.get("auto_pad", "NOTSET")
    if any(p < 0 for p in pads) or any(n < 1 for n in (*stride, *dilation, *kernel)):
        raise call.unsupported(f"strides {stride}, dilations {dilation}, kernel {kernel}, pads {pads}")
    if mode in ("SAME_UPPER", "SAME_LOWER"):
        for k in range(rank):
            steps = -(-spatial[k] // stride[k])
            total = max(0, (steps - 1) * stride[k] + dilation[k] * (kernel[k] - 1) + 1 - spatial[k])
            small, large = total // 2, total - total // 2
            pads[k], pads[rank + k] = (small, large) if mode == "SAME_UPPER" else (large, small)
    elif mode == "VALID":
        pads = [0] * 2 * rank
    return Window(kernel, stride, dilation, tuple(pads[:rank]), tuple(pads[rank:]))


# -- convolutions -----------------------------------------------------------------------------------------------------


def convolution(call: Call) -> Value:
    """Conv: the map itself in one and two dimensions, a table of its products in three."""
    view, spatial = _image(call)
    weight = call.weights(1)
    if weight.ndim != len(view.shape):
        raise ModelError(f"{call.name}: a kernel of shape {weight.shape} does not fit {view.shape}")
    declared = call.attributes.get("kernel_shape")
    if declared is not None and tuple(declared) != weight.shape[2:]:
        raise ModelError(f"{call.name}: its kernel_shape {tuple(declared)} is not that of its kernel {weight.shape}")
    window = _window(call, spatial, weight.shape[2:])
    groups = int(call.attributes["group"])
    if groups < 1 or weight.shape[1] * groups != view.shape[1] or weight.shape[0] % groups:
        raise ModelError(f"{call.name}: kernel {weight.shape} in {groups} groups does not fit {view.shape[1]} channels")
    image = tuple(
        (spatial[k] + window.begin[k] + window.end[k] - window.reach(k)) // window.stride[k] + 1
        for k in range(len(spatial))
    )
    shape = (1, weight.shape[0], *image)
    checked_size(shape, call.name)
    linear: LinearMap
    if len(spatial) < 3:
        linear = _planar(view, weight, window, groups)
    else:
        linear = _convolution_table(call, view.shape[1:], weight, window, shape[1:], groups)
    return call.build.affine([(view, linear)], _channel_bias(call, weight.shape[0], len(spatial)), shape, call.name, 2)


def _planar(view: View, weight: FloatArray, window: Window, groups: int) -> Convolution:
    """A convolution in the plane; one dimension is a plane of height one."""
    stride, dilation, begin, end, spatial = window.stride, window.dilation, window.begin, window.end, view.shape[2:]
    if len(spatial) == 1:
        weight, spatial = weight[:, :, None], (1, *spatial)
        stride, dilation, begin, end = (1, *stride), (1, *dilation), (0, *begin), (0, *end)
    return Convolution(
        np.ascontiguousarray(weight),
        (view.shape[1], spatial[0], spatial[1]),
        (stride[0], stride[1]),
        (begin[0], begin[1], end[0], end[1]),
        (dilation[0], dilation[1]),
        groups,
    )


def _channel_bias(call: Call, channels: int, rank: int) -> FloatArray:
    if call.maybe(2) is None:
        return ZERO
    bias = call.weights(2)
    if bias.shape != (channels,):
        raise ModelError(f"{call.name}: a bias of shape {bias.shape} does not fit {channels} channels")
    return bias.reshape(1, -1, *[1] * rank)


def _convolution_table(
    call: Call,
    image: tuple[int, ...],
    weight: FloatArray,
    window: Window,
    out: tuple[int, ...],
    groups: int,
) -> Sparse:
    """The products of a convolution, written out: `image` and `out` are (channels, …)."""
    places = int(np.prod(out[1:], dtype=np.int64))
    if float(places) * weight.size > MOST_PRODUCTS:
        raise ModelError(f"{call.name}: a convolution of {float(places) * weight.size:.3g} products is too large")
    rank = len(out) - 1
    in_group, out_group = weight.shape[1], weight.shape[0] // groups
    rows, columns, values = [], [], []
    out_index = np.indices(out[1:]).reshape(rank, -1)
    for tap in itertools.product(*(range(n) for n in window.kernel)):
        where = [out_index[k] * window.stride[k] - window.begin[k] + tap[k] * window.dilation[k] for k in range(rank)]
        inside = np.all([(w >= 0) & (w < n) for w, n in zip(where, image[1:], strict=True)], axis=0)
        target = np.flatnonzero(inside)
        source = np.ravel_multi_index([w[inside] for w in where], image[1:]) if target.size else target
        for o, i in itertools.product(range(weight.shape[0]), range(in_group)):
            channel = (o // out_group) * in_group + i
            rows.append(target + o * places)
            columns.append(source + channel * int(np.prod(image[1:], dtype=np.int64)))
            values.append(np.full(target.size, weight[(o, i, *tap)]))
    data = (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns)))
    size = int(np.prod(out, dtype=np.int64)), int(np.prod(image, dtype=np.int64))
    return Sparse(sparse.csr_array(data, shape=size))


def transposed_convolution(call: Call) -> Value:
    """ConvTranspose: the transpose of the convolution that takes its output to its input."""
    view, spatial = _image(call)
    rank = len(spatial)
    weight = call.weights(1)
    groups = int(call.attributes["group"])
    if weight.ndim != len(view.shape) or weight.shape[0] != view.shape[1] or groups < 1 or weight.shape[0] % groups:
        raise ModelError(f"{call.name}: a kernel of shape {weight.shape} in {groups} groups does not fit {view.shape}")
    stride = tuple(call.attributes.get("strides") or [1] * rank)
    dilation = tuple(call.attributes.get("dilations") or [1] * rank)
    extra = tuple(call.attributes.get("output_padding") or [0] * rank)
    pads = list(call.attributes.get("pads") or [0] * 2 * rank)
    wanted = call.attributes.get("output_shape")
    mode = call.attributes.get("auto_pad", "NOTSET")
    kernel = weight.shape[2:]
    if not len(stride) == len(dilation) == len(extra) == rank or len(pads) != 2 * rank:
        raise ModelError(f"{call.name}: its strides, dilations or pads do not fit an image of {spatial}")
    if any(n < 1 for n in (*stride, *dilation)) or any(p < 0 for p in (*pads, *extra)):
        raise call.unsupported(f"strides {stride}, dilations {dilation}, pads {pads}, output_padding {extra}")
    full = [stride[k] * (spatial[k] - 1) + extra[k] + (kernel[k] - 1) * dilation[k] + 1 for k in range(rank)]
    if wanted is not None or mode in ("SAME_UPPER", "SAME_LOWER"):
        size = (
            [int(n) for n in wanted][-rank:]
            if wanted is not None
            else [n * s for n, s in zip(spatial, stride, strict=True)]
        )
        for k in range(rank):
            total = full[k] - size[k]
            small, large = max(0, total // 2), max(0, total - total // 2)
            begin = small if mode == "SAME_UPPER" else large
            pads[k], pads[rank + k] = begin, total - begin  # a shape larger than there is goes on with zeros
    elif mode == "VALID":
        pads = [0] * 2 * rank
    out = tuple(full[k] - pads[k] - pads[rank + k] for k in range(rank))
    channels = weight.shape[1] * groups
    shape = (1, channels, *out)
    checked_size(shape, call.name)
    window = Window(kernel, stride, dilation, tuple(pads[:rank]), tuple(pads[rank:]))
    # Of the convolution back: its kernel is [input channels, output channels / groups, …], as the file has it.
    forward = _convolution_table(call, shape[1:], weight, window, view.shape[1:], groups)
    linear: LinearMap = Sparse(sparse.csr_array(forward.table.T))
    return call.build.affine([(view, linear)], _channel_bias(call, channels, rank), shape, call.name, 2)


def batch_normalization(call: Call) -> Value:
    """scale · (x - mean) / √(variance + epsilon) + shift, with the numbers in the file."""
    if call.opset < 9 and not call.attributes.get("spatial", 1):
        raise call.unsupported("spatial=0 normalises every place by itself; export the model with a newer opset")
    scale, shift, mean, variance = (call.weights(k) for k in range(1, 5))
    spread = variance + np.float64(call.attributes["epsilon"])
    if (spread <= 0).any():
        raise ModelError(f"{call.name}: tensor {call.node.input[4]!r} holds a negative variance")
    view = call.view()
    channels = view.shape[1] if len(view.shape) > 1 else 0
    if any(part.shape != (channels,) for part in (scale, shift, mean, variance)):
        raise ModelError(f"{call.name}: its scale, shift, mean and variance do not fit {view.shape}")
    factor = scale / np.sqrt(spread)
    check_gain(call, factor)
    place = (1, -1, *[1] * (len(view.shape) - 2))
    moved = factor * mean
    return call.build.scaled(
        view,
        factor.reshape(place),
        (shift - moved).reshape(place),
        call.name,
        roundings=8,
        bias_size=(np.abs(shift) + np.abs(moved)).reshape(place) * (1.0 + 1e-12),
    )


# -- pooling ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Windows:
    """Per output entry, the positions that its window covers ([outputs, kernel], -1 outside), and how many count."""

    view: View
    table: IntArray
    shape: tuple[int, ...]
    within: FloatArray  # entries of the window in the image or its padding


def _windows(call: Call, most: int) -> Windows:
    """The windows of a pool, refused before they are built where they hold more than `most` entries."""
    view, spatial = _image(call)
    window = _window(call, spatial, tuple(call.attributes["kernel_shape"]))
    rank = len(spatial)
    axes, counted = [], []
    for k in range(rank):
        room = spatial[k] + window.begin[k] + window.end[k] - window.reach(k)
        ceil = call.attributes.get("ceil_mode", 0) and call.attributes.get("auto_pad", "NOTSET") == "NOTSET"
        steps = (-(-room // window.stride[k]) if ceil else room // window.stride[k]) + 1
        if ceil and (steps - 1) * window.stride[k] >= spatial[k] + window.begin[k]:
            steps -= 1  # a window may not start in the padding at the end
        if steps < 1:
            raise ModelError(f"{call.name}: a window of {window.kernel} does not fit an image of {spatial}")
        axes.append(steps)
    shape = (1, view.shape[1], *axes)
    entries = float(np.prod(shape, dtype=np.float64)) * float(np.prod(window.kernel, dtype=np.float64))
    if entries > most:
        raise ModelError(
            f"{call.name}: windows of {window.kernel} at {int(np.prod(shape))} places hold {entries:.3g} entries, more "
            f"than the {most} allowed; pool in smaller windows, or in several steps"
        )
    places = []
    for k in range(rank):
        start = np.arange(axes[k])[:, None] * window.stride[k] - window.begin[k]
        place = start + np.arange(window.kernel[k])[None] * window.dilation[k]
        places.append(np.where((place >= 0) & (place < spatial[k]), place, -1))
        counted.append((place < spatial[k] + window.end[k]).sum(axis=1))
    flat, within = places[0], counted[0]
    for k in range(1, rank):
        here, there = flat[:, None, :, None], places[k][None, :, None, :]
        flat = np.where((here >= 0) & (there >= 0), here * spatial[k] + there, -1)
        flat = flat.reshape(flat.shape[0] * flat.shape[1], -1)
        within = (within[:, None] * counted[k][None, :]).reshape(-1)
    channels = view.positions()[0].reshape(view.shape[1], -1)
    table = np.where(flat[None] >= 0, channels[:, np.maximum(flat, 0)], -1)
    return Windows(view, table.reshape(-1, flat.shape[1]), shape, np.tile(within, view.shape[1]).astype(np.float64))


def averaged(call: Call, view: View, table: IntArray, counts: FloatArray, shape: tuple[int, ...]) -> Value:
    """The sums of the entries in each row of the table, over the counts."""
    rows, columns = np.nonzero(table >= 0)
    data = (1.0 / counts[rows], (rows, table[rows, columns]))
    matrix = sparse.csr_array(data, shape=(len(table), view.index.size))
    return call.build.affine([(view, Sparse(matrix))], ZERO, shape, call.name, roundings=2)


def average_pool(call: Call) -> Value:
    found = _windows(call, MOST_AVERAGED)
    inside = (found.table >= 0).sum(axis=1).astype(np.float64)
    counts = found.within if call.attributes.get("count_include_pad", 0) else inside
    if (counts <= 0).any():
        raise call.unsupported("a window lies wholly in the padding")
    return averaged(call, found.view, found.table, counts, found.shape)


def greatest(call: Call, view: View, table: IntArray, shape: tuple[int, ...], least: bool = False) -> Value:
    """The greatest (or least) entry of each row of the table; a place outside the image repeats one inside."""
    if table.size > MOST_COMPARED:
        raise ModelError(f"{call.name}: it compares {table.size} entries, more than the {MOST_COMPARED} allowed")
    first = np.take_along_axis(table, (table >= 0).argmax(axis=1)[:, None], axis=1)
    if (first < 0).any():
        raise call.unsupported("a window lies wholly in the padding")
    table = np.where(table >= 0, table, first)
    if table.shape[1] > FEW_COLUMNS:
        view, table = _halved(call, view, table, least)
    columns = [view.arranged(column) for column in table.T]
    return extreme_of(call, columns, least).arranged(np.arange(len(table)).reshape(shape))


def _halved(call: Call, view: View, table: IntArray, least: bool) -> tuple[View, IntArray]:
    """Wide rows made narrow, half of their columns against the other half at once: a few large nodes, not many small.

    First what is beyond a power of two is compared away, so that the halves go on being equal.
    """
    rows, width = table.shape
    even = 2 ** (width.bit_length() - 1)
    if even < width:
        more = width - even
        won = extreme_of(call, [view.arranged(table[:, :more]), view.arranged(table[:, even:])], least)
        kept = view.arranged(table[:, more:even])
        places = np.arange(rows * even).reshape(rows, even)
        terms: list[tuple[View, LinearMap]] = []
        for part, where in ((won, places[:, :more]), (kept, places[:, more:])):
            if part.index.size:
                data = (np.ones(part.index.size), (where.reshape(-1), np.arange(part.index.size)))
                terms.append((part, Sparse(sparse.csr_array(data, shape=(rows * even, part.index.size)))))
        view, table = call.build.affine(terms, ZERO, (rows, even), call.name, roundings=0), places
    while table.shape[1] > 1:
        half = table.shape[1] // 2
        view = extreme_of(call, [view.arranged(table[:, :half]), view.arranged(table[:, half:])], least)
        table = view.positions()
    return view, table


def max_pool(call: Call) -> Value:
    if len(call.node.output) > 1 and call.node.output[1]:
        raise call.unsupported("its second output (the indices)")
    found = _windows(call, MOST_COMPARED)
    return greatest(call, found.view, found.table, found.shape)


def _whole_image(call: Call) -> tuple[View, IntArray, tuple[int, ...]]:
    view = call.view()
    if len(view.shape) < 3:
        raise call.unsupported(f"an input of shape {view.shape}; images are")
    table = view.positions().reshape(view.shape[0] * view.shape[1], -1)
    return view, table, (*view.shape[:2], *[1] * (len(view.shape) - 2))


def global_average_pool(call: Call) -> Value:
    view, table, shape = _whole_image(call)
    return averaged(call, view, table, np.full(len(table), float(table.shape[1])), shape)


def global_max_pool(call: Call) -> Value:
    view, table, shape = _whole_image(call)
    return greatest(call, view, table, shape)
