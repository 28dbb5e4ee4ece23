"""The operators that random graphs are made of: each a function that adds one, with random options, to a draft.

Options that a version of the standard has elsewhere (an attribute that became an input) follow the draft's opset.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from tests.generated_graphs import Draft, UnfitError

Operator = Callable[[Draft], object]
ENDS = (2**31 - 1, 2**63 - 1)  # what exporters write for "to the end"


def _from(d: Draft, opset: int) -> None:
    if d.opset < opset:
        raise UnfitError


def _axes(d: Draft, rank: int, most: int = 2) -> list[int]:
    """Some axes, none twice, each counted from either end."""
    chosen = d.rng.permutation(rank)[: d.integer(1, max(1, min(most, rank)))]
    return [int(axis) - (rank if d.chance(0.4) else 0) for axis in chosen]


def _operand(d: Draft, shape: Sequence[int]) -> str:
    """What broadcasts with this shape: a constant below it or above it."""
    if d.chance(0.1):
        return d.constant(d.weights(d.one_of(1, 2), *[1] * len(shape)))
    return d.constant(d.weights(*d.below(shape)))


def _partner(d: Draft, x: str) -> str:
    """Another value that broadcasts with this one."""
    others = []
    for name, value in d.values.items():
        if value.dtype == d.kind:
            try:
                np.broadcast_shapes(value.shape, d.shape(x))
            except ValueError:
                continue
            others.append(name)
    return others[d.integer(0, len(others) - 1)]


# Elementwise


def affine(d: Draft) -> None:
    x = d.pick()
    operator = d.one_of("Add", "Sub", "Mul", "Div", "Add", "Mul")
    other = _operand(d, d.shape(x))
    if operator == "Div":
        other = d.constant(np.sign(d[other] + 0.01) * (np.abs(d[other]) + 0.4))
    swap = operator != "Div" and d.chance(0.4)
    d.add(operator, [other, x] if swap else [x, other])


def both(d: Draft) -> None:
    x = d.pick()
    d.add(d.one_of("Add", "Sub"), [x, _partner(d, x)])


def several(d: Draft) -> None:
    x = d.pick()
    operands = [x]
    for _ in range(d.integer(0, 2)):
        operands.append(_partner(d, x) if d.chance(0.5) else _operand(d, d.shape(x)))
    d.rng.shuffle(operands)
    d.add(d.one_of("Max", "Min", "Sum", "Mean"), operands)


def plain(d: Draft) -> None:
    d.add(d.one_of("Relu", "Relu", "Abs", "Neg", "Identity"), [d.pick()])


def sloped(d: Draft) -> None:
    x = d.pick()
    kind = d.one_of("LeakyRelu", "PRelu", "HardSigmoid", "ThresholdedRelu", "Shrink")
    given = None if d.chance(0.3) else float(d.rng.normal())
    if kind == "PRelu":
        shape = d.shape(x)
        channels = (shape[1], *[1] * (len(shape) - 2)) if len(shape) > 1 else shape
        slope = d.one_of(d.below(shape), channels, (), (1,), shape, shape[-1:])
        d.add("PRelu", [x, d.constant(d.weights(*slope))])
    elif kind == "HardSigmoid":
        d.add("HardSigmoid", [x], alpha=given, beta=None if d.chance(0.4) else float(d.rng.normal()))
    elif kind == "Shrink":
        _from(d, 9)
        lambd = abs(given) if given is not None else None
        d.add("Shrink", [x], lambd=lambd, bias=None if d.chance(0.5) else lambd if lambd is not None else 0.5)
    else:
        _from(d, 10 if kind == "ThresholdedRelu" else 7)
        d.add(kind, [x], alpha=0.0 if kind == "ThresholdedRelu" and d.chance(0.7) else given)


def clip(d: Draft) -> None:
    x = d.pick()
    low, high = sorted(float(each) for each in d.rng.normal(size=2))
    if d.chance(0.05):
        low, high = high, low
    lower, upper = d.chance(0.7), d.chance(0.7)
    if d.opset < 11:
        d.add("Clip", [x], min=low if lower else None, max=high if upper else None)
        return
    inputs = [x, d.number(low) if lower else "", d.number(high) if upper else ""]
    d.add("Clip", inputs[: 3 if upper or d.chance(0.3) else 2 if lower else 1])


def dropped(d: Draft) -> None:
    if d.opset < 12:
        d.add("Dropout", [d.pick()], ratio=d.one_of(None, 0.3))
        return
    inputs = [d.pick(), d.number(0.3) if d.chance(0.5) else ""]
    if d.chance(0.4):
        inputs.append(d.constant(np.array(False)))
    d.add("Dropout", inputs if inputs[-1] else inputs[:1])


def cast(d: Draft) -> None:
    x = d.pick()
    of = helper.np_dtype_to_tensor_dtype(d.kind)
    if d.chance(0.5):
        d.add("Cast", [x], to=of)
    else:
        d.add("Cast", d.add("Cast", [x], to=TensorProto.DOUBLE), to=of)


def where(d: Draft) -> None:
    _from(d, 9)
    x = d.pick()
    condition = d.constant(d.rng.random(d.below(d.shape(x))) < 0.5)
    other = _partner(d, x) if d.chance(0.4) else _operand(d, d.shape(x))
    d.add("Where", [condition, *d.one_of((x, other), (other, x))])


# Matrices


def matmul(d: Draft) -> None:
    x = d.pick()
    shape = d.shape(x)
    if not shape:
        raise UnfitError
    size = d.integer(1, 4)
    if d.chance(0.75):
        batch = shape[: len(shape) - 2]
        weights = d.one_of((shape[-1], size), (shape[-1],), (1, shape[-1], size), (*batch, shape[-1], size))
        if d.chance(0.1):
            weights = (2, shape[-1], size)
        d.add("MatMul", [x, d.constant(d.weights(*weights))])
    else:
        inner = shape[-2] if len(shape) > 1 else shape[0]
        d.add("MatMul", [d.constant(d.weights(*d.one_of((size, inner), (inner,), (1, size, inner)))), x])


def gemm(d: Draft) -> None:
    x = d.pick(2)
    rows, columns = d.shape(x)
    size, turned, over = d.integer(1, 4), d.chance(0.3), d.chance(0.5)
    first = not d.chance(0.15)
    if not first:
        turned, over = over, turned
    if first:
        inner, outer = (rows, columns) if turned else (columns, rows)
        other = d.constant(d.weights(*((size, inner) if over else (inner, size))))
        result = (outer, size)
    else:
        inner, outer = (columns, rows) if over else (rows, columns)
        other = d.constant(d.weights(*((inner, size) if turned else (size, inner))))
        result = (size, outer)
    inputs = [x, other] if first else [other, x]
    if d.opset < 11 or d.chance(0.7):
        inputs.append(d.constant(d.weights(*d.one_of((), (1,), result, result[1:], (1, result[1]), (result[0], 1)))))
    elif d.chance(0.3):
        inputs.append("")
    alpha, beta = (float(d.rng.normal()) if d.chance(0.4) else None for _ in range(2))
    d.add("Gemm", inputs, transA=int(turned) or None, transB=int(over) or None, alpha=alpha, beta=beta)


def einsum(d: Draft) -> None:
    _from(d, 12)
    x = d.pick()
    shape = d.shape(x)
    letters = "abcd"[: len(shape)]
    form = d.one_of("matrix", "permuted", "summed", "ellipsis", "scaled", "diagonal")
    size = d.integer(1, 3)
    if form == "permuted":
        d.add("Einsum", [x], equation=f"{letters}->{''.join(d.rng.permutation(list(letters)))}")
    elif form == "summed":
        kept = "".join(letter for letter in letters if d.chance(0.6))
        d.add("Einsum", [x], equation=f"{letters} -> {kept}")
    elif form == "diagonal":
        d.add("Einsum", [x], equation=d.one_of("ii->i", "aii->ai", "ij", "ba"))
    elif not letters:
        raise UnfitError
    elif form == "ellipsis":
        d.add("Einsum", [x, d.constant(d.weights(shape[-1], size))], equation="...j,jk->...k")
    elif form == "scaled":
        d.add("Einsum", [d.constant(d.weights(*shape[-1:])), x], equation=f"{letters[-1]},{letters}->{letters}")
    else:
        axis = d.integer(0, len(letters) - 1)
        other = d.constant(d.weights(size, shape[axis]))
        d.add("Einsum", [x, other], equation=f"{letters},z{letters[axis]}->{letters.replace(letters[axis], 'z')}")


def batch_norm(d: Draft) -> None:
    x = d.pick(2, 3, 4, 5)
    channels = d.shape(x)[1]
    four = [d.weights(channels) for _ in range(3)] + [np.abs(d.weights(channels)) + d.kind.type(0.2)]
    epsilon = d.one_of(None, 1e-3, 0.5)
    d.add("BatchNormalization", [x, *map(d.constant, four)], epsilon=epsilon, momentum=d.one_of(None, 0.5))


# Windows


def _window(d: Draft, sides: Sequence[int], dilated: bool) -> dict[str, Any]:
    """Strides, pads or automatic padding, dilations; each now and then left out."""
    rank = len(sides)
    found: dict[str, Any] = {}
    if d.chance(0.6):
        found["strides"] = [d.integer(1, 3) for _ in range(rank)]
    padding = d.one_of("none", "pads", "pads", "auto")
    if padding == "pads":
        found["pads"] = [d.integer(0, 2) for _ in range(2 * rank)]
    if padding == "auto":
        found["auto_pad"] = d.one_of("SAME_UPPER", "SAME_LOWER", "VALID", "NOTSET")
    if dilated and d.chance(0.3):
        found["dilations"] = [d.integer(1, 2) for _ in range(rank)]
    return found


def convolution(d: Draft) -> None:
    x = d.pick(3, 4, 4, 5)
    shape = d.shape(x)
    groups = d.one_of(*[each for each in (1, 1, 2, 3, shape[1]) if shape[1] % each == 0])
    kernel = [d.integer(1, min(3, side + 1)) for side in shape[2:]]
    options = _window(d, shape[2:], True)
    if d.chance(0.6):
        options["kernel_shape"] = kernel
    if groups > 1 or d.chance(0.2):
        options["group"] = groups
    transposed = d.chance(0.35)
    if transposed:
        outputs = d.integer(1, 2) * groups
        weights = d.weights(shape[1], outputs // groups, *kernel)
        if d.chance(0.25):
            options["output_padding"] = [d.integer(0, 1) for _ in kernel]
        if d.chance(0.15):
            options.pop("pads", None)
            options["output_shape"] = [d.integer(side, 2 * side + 1) for side in shape[2:]]
    else:
        outputs = d.integer(1, 2) * groups
        weights = d.weights(outputs, shape[1] // groups, *kernel)
    inputs = [x, d.constant(weights)]
    if d.chance(0.6):
        inputs.append(d.constant(d.weights(outputs)))
    d.add("ConvTranspose" if transposed else "Conv", inputs, **options)


def pool(d: Draft) -> None:
    x = d.pick(3, 4, 4, 5)
    sides = d.shape(x)[2:]
    if d.chance(0.2):
        d.add(d.one_of("GlobalAveragePool", "GlobalMaxPool"), [x])
        return
    operator = d.one_of("MaxPool", "AveragePool")
    options = _window(d, sides, d.opset >= (10 if operator == "MaxPool" else 19))
    if d.opset >= 10 and d.chance(0.4):
        options["ceil_mode"] = 1
    if operator == "AveragePool" and d.chance(0.5):
        options["count_include_pad"] = d.integer(0, 1)
    if operator == "MaxPool" and d.opset >= 8 and d.chance(0.1):
        options["storage_order"] = 1
    d.add(operator, [x], kernel_shape=[d.integer(1, min(3, side + 1)) for side in sides], **options)


# Along axes


def reduction(d: Draft, *operators: str) -> None:
    operator = (
        d.one_of(*operators) if operators else d.one_of("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceL1")
    )
    x = d.pick()
    rank = len(d.shape(x))
    axes = _axes(d, rank, 3) if rank and d.chance(0.75) else None
    keep = d.one_of(None, 0, 1)
    if d.opset < (13 if operator == "ReduceSum" else 18):
        d.add(operator, [x], axes=axes, keepdims=keep)
        return
    inputs = [x] if axes is None else [x, d.integers(*axes)]
    if axes is None and d.chance(0.3):
        inputs.append("" if d.chance(0.5) else d.integers())
    d.add(operator, inputs, keepdims=keep, noop_with_empty_axes=d.one_of(None, 0, 1))


def cumulative(d: Draft) -> None:
    _from(d, 11)
    x = d.pick()
    axis = d.axis(len(d.shape(x)))
    axis_name = d.constant(np.array(axis, dtype=d.one_of(np.int32, np.int64)))
    d.add("CumSum", [x, axis_name], exclusive=d.one_of(None, 0, 1), reverse=d.one_of(None, 0, 1))


# Moving numbers about


def reshape(d: Draft) -> None:
    x = d.pick()
    shape = list(d.shape(x))
    size = int(np.prod(shape))
    wanted: list[int] = []
    left = size
    for _ in range(d.integer(0, 3)):
        factor = d.one_of(*[each for each in range(1, left + 1) if left % each == 0])
        wanted.append(factor)
        left //= factor
    wanted.append(left)
    if d.chance(0.4):
        wanted[d.integer(0, len(wanted) - 1)] = -1
    for axis in range(min(len(wanted), len(shape))):
        if wanted[axis] == shape[axis] and d.chance(0.4):
            wanted[axis] = 0
    d.add("Reshape", [x, d.integers(*wanted)], allowzero=d.one_of(None, 0) if d.opset >= 14 else None)


def reshape_by_shape(d: Draft) -> None:
    """As exporters write a flattening: sizes taken from the value's own shape."""
    x = d.pick(2, 3, 4, 5)
    (shape,) = d.add("Shape", [x])
    first = d.add("Gather", [shape, d.integers(0)], axis=0)[0]
    if d.opset >= 10 and d.chance(0.4):
        first = d.add("Slice", [shape, d.integers(0), d.integers(d.integer(1, 2))])[0]
    (wanted,) = d.add("Concat", [first, d.integers(-1)], axis=0)
    d.add("Reshape", [x, wanted])


def filled_by_shape(d: Draft) -> None:
    """A constant as large as a value, added to it."""
    _from(d, 9)
    x = d.pick()
    (shape,) = d.add("Shape", [x])
    filler = numpy_helper.from_array(np.array([d.rng.normal()], dtype=d.kind))
    (filled,) = d.add("ConstantOfShape", [shape], value=filler)
    d.add("Add", [x, filled])


def flatten(d: Draft) -> None:
    x = d.pick()
    rank = len(d.shape(x))
    axis = d.integer(-rank if d.opset >= 11 else 0, rank)
    d.add("Flatten", [x], axis=None if d.chance(0.3) else axis)


def squeezed(d: Draft) -> None:
    x = d.pick()
    shape = d.shape(x)
    if d.chance(0.5):
        ones = [axis for axis, side in enumerate(shape) if side == 1]
        if not ones:
            raise UnfitError
        axes = [axis - (len(shape) if d.chance(0.3) and d.opset >= 11 else 0) for axis in ones if d.chance(0.6)]
        name = "Squeeze"
    else:
        rank = len(shape) + d.integer(1, 2)
        axes = [int(axis) for axis in d.rng.permutation(rank)[: rank - len(shape)]]
        axes = [axis - (rank if d.chance(0.3) and d.opset >= 11 else 0) for axis in axes]
        name = "Unsqueeze"
    if d.opset < 13:
        d.add(name, [x], axes=axes or None)
    else:
        d.add(name, [x, d.integers(*axes)] if axes else [x])


def transposed(d: Draft) -> None:
    x = d.pick()
    order = [int(axis) for axis in d.rng.permutation(len(d.shape(x)))]
    d.add("Transpose", [x], perm=None if d.chance(0.3) or not order else order)


def enlarged(d: Draft) -> None:
    _from(d, 8)
    x = d.pick()
    shape = d.shape(x)
    if d.chance(0.5):
        d.add("Tile", [x, d.integers(*[d.one_of(1, 1, 2, 3) for _ in shape])])
        return
    wanted = [d.one_of(1, side) if side > 1 else d.integer(1, 3) for side in shape]
    wanted = wanted[d.integer(0, len(wanted)) if d.chance(0.3) else 0 :]
    d.add("Expand", [x, d.integers(*([2] if d.chance(0.15) else []), *wanted)])


def concatenated(d: Draft) -> None:
    x = d.pick()
    shape = d.shape(x)
    axis = d.axis(len(shape))
    place = axis % len(shape)
    if d.opset < 11:
        axis = place
    parts = [x]
    for _ in range(d.integer(0, 2)):
        fitting = [
            name
            for name, value in d.values.items()
            if value.dtype == d.kind and _without(value.shape, place) == _without(shape, place)
        ]
        size = (*shape[:place], d.integer(1, 2), *shape[place + 1 :])
        parts.append(d.one_of(*fitting) if d.chance(0.6) else d.constant(d.weights(*size)))
    d.rng.shuffle(parts)
    d.add("Concat", parts, axis=axis)


def _without(shape: Sequence[int], axis: int) -> tuple[int, ...] | None:
    return (*shape[:axis], *shape[axis + 1 :], -len(shape)) if axis < len(shape) else None


def split(d: Draft) -> None:
    x = d.pick()
    shape = d.shape(x)
    axis = d.axis(len(shape))
    side = shape[axis]
    if d.opset < 11:
        axis %= len(shape)
    chosen = None if axis % len(shape) == 0 and d.chance(0.5) else axis
    if side < 2:
        raise UnfitError
    if d.chance(0.6):
        first = d.integer(1, side - 1)
        sizes = [first, side - first] if d.chance(0.7) or side - first < 2 else [first, 1, side - first - 1]
        if d.opset < 13:
            d.add("Split", [x], len(sizes), axis=chosen, split=sizes)
        else:
            d.add("Split", [x, d.integers(*sizes)], len(sizes), axis=chosen)
        return
    parts = (
        d.integer(2, side) if d.opset >= 18 else d.one_of(*[each for each in range(2, side + 1) if side % each == 0])
    )
    d.add("Split", [x], parts, axis=chosen, num_outputs=parts if d.opset >= 18 else None)


def sliced(d: Draft) -> None:
    x = d.pick()
    shape = d.shape(x)
    axes = _axes(d, len(shape), 2) if shape else []
    starts, ends, steps = [], [], []
    for axis in axes:
        side = shape[axis]
        back = d.opset >= 10 and d.chance(0.35)
        starts.append(d.one_of(side - 1, -1, side, 100) if back else d.integer(-side, max(0, side - 1)))
        ends.append(d.one_of(-ENDS[0], -side - 1, -ENDS[1], 0) if back else d.one_of(*ENDS, side, d.integer(1, side)))
        steps.append(-d.integer(1, 2) if back else d.integer(1, 3))
    named = axes != list(range(len(axes))) or d.chance(0.5)
    if d.opset < 10:
        axes = [axis % len(shape) for axis in axes]
        d.add("Slice", [x], starts=starts, ends=ends, axes=axes if named else None)
        return
    inputs = [x, d.integers(*starts), d.integers(*ends)]
    stepped = any(step != 1 for step in steps) and d.chance(0.9)
    if named or stepped:
        inputs.append(d.integers(*axes) if named else "")
    if stepped:
        inputs.append(d.integers(*steps))
    d.add("Slice", inputs)


def gathered(d: Draft) -> None:
    x = d.pick()
    shape = d.shape(x)
    axis = d.axis(len(shape))
    side = shape[axis]
    low = -side if d.opset >= 11 else 0
    kind = d.one_of("Gather", "Gather", "Gather", "GatherElements", "GatherND", "Compress")
    whole = np.int64 if d.chance(0.7) else np.int32
    if kind == "Gather":
        indices = d.rng.integers(low, side, size=d.one_of((), (1,), (2,), (3,), (2, 2))).astype(whole)
        d.add("Gather", [x, d.constant(indices)], axis=None if axis % len(shape) == 0 and d.chance(0.5) else axis)
    elif kind == "GatherElements":
        _from(d, 11)
        count = list(shape)
        count[axis] = d.integer(1, 4)
        d.add("GatherElements", [x, d.constant(d.rng.integers(low, side, size=count).astype(whole))], axis=axis)
    elif kind == "GatherND":
        _from(d, 11)
        batch = d.integer(0, len(shape) - 1) if d.opset >= 12 else 0
        depth = d.integer(1, len(shape) - batch)
        tuples = [d.rng.integers(-each, each, size=(*shape[:batch], 2)) for each in shape[batch : batch + depth]]
        indices = np.stack(tuples, axis=-1).astype(np.int64)
        d.add("GatherND", [x, d.constant(indices)], batch_dims=batch or None)
    else:
        _from(d, 9)
        size = int(np.prod(shape))
        flat = d.chance(0.3)
        kept = d.rng.random(d.integer(1, size if flat else side)) < 0.7
        d.add("Compress", [x, d.constant(kept)], axis=None if flat else axis % len(shape))


def scattered(d: Draft) -> None:
    """A value with some of its numbers replaced, or a constant that takes numbers of a value."""
    _from(d, 11)
    x = d.pick()
    shape = d.shape(x)
    if not shape:
        raise UnfitError
    reduction = d.one_of(None, None, "none", "add") if d.opset >= 16 else None
    if d.chance(0.5):
        rows = d.rng.permutation(shape[0])[: d.integer(1, shape[0])].reshape(-1, 1).astype(np.int64)
        updates = d.constant(d.weights(len(rows), *shape[1:]))
        d.add("ScatterND", [x, d.constant(rows), updates], reduction=reduction)
        return
    axis = d.axis(len(shape))
    larger = list(shape)
    larger[axis] += d.integer(0, 2)
    order = np.argsort(d.rng.random(larger), axis=axis)
    indices = order[tuple(slice(0, side) for side in shape)].astype(np.int64)
    d.add("ScatterElements", [d.constant(d.weights(*larger)), d.constant(indices), x], axis=axis, reduction=reduction)


def padded(d: Draft) -> None:
    x = d.pick()
    rank = len(d.shape(x))
    if not rank:
        raise UnfitError
    mode = d.one_of(None, "constant", "reflect", "edge", "wrap")
    if mode == "wrap":
        _from(d, 19)
    pads = [d.one_of(0, 0, 1, 2, -1 if d.chance(0.3) else 0) for _ in range(2 * rank)]
    value = float(d.rng.normal()) if d.chance(0.4) else None
    if d.opset < 11:
        d.add("Pad", [x], pads=pads, mode=mode, value=value)
        return
    axes = _axes(d, rank) if d.opset >= 18 and d.chance(0.4) else None
    if axes is not None:
        pads = pads[: 2 * len(axes)]
    inputs = [x, d.integers(*pads)]
    if value is not None or axes is not None:
        inputs.append("" if value is None else d.number(value))
    if axes is not None:
        inputs.append(d.integers(*axes))
    d.add("Pad", inputs, mode=mode)


def resized(d: Draft) -> None:
    x = d.pick(3, 4, 4, 5)
    shape = d.shape(x)
    scales = [1.0, 1.0, *[float(d.one_of(1.0, 2.0, 3.0, 1.5, 0.5, 0.6)) for _ in shape[2:]]]
    numbers = np.array(scales, dtype=np.float32)
    mode = d.one_of("nearest", "nearest", "linear", "cubic")
    if d.opset < 10:
        mode = d.one_of(None, "nearest", "linear")
        if d.opset < 9:
            d.add("Upsample", [x], scales=scales, mode=mode)
        else:
            d.add("Upsample", [x, d.raw(numbers)], mode=mode)
        return
    if d.opset < 11:
        d.add("Resize", [x, d.raw(numbers)], mode=d.one_of(None, "nearest", "linear"))
        return
    where = d.one_of(None, "half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel", "half_pixel_symmetric")
    if where == "half_pixel_symmetric":
        _from(d, 19)
    options: dict[str, Any] = {"mode": mode, "coordinate_transformation_mode": where}
    if mode == "nearest":
        options["nearest_mode"] = d.one_of(None, "round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
    if mode == "cubic":
        options["cubic_coeff_a"] = d.one_of(None, -0.5)
    if mode != "nearest" and d.chance(0.2):
        options["exclude_outside"] = 1
    if mode != "nearest" and d.opset >= 18 and d.chance(0.3):
        options["antialias"] = 1
    sized = d.chance(0.4)
    target = [*shape[:2], *[max(1, int(side * scale)) for side, scale in zip(shape[2:], scales[2:], strict=True)]]
    if d.opset >= 18 and d.chance(0.3):
        options["axes"] = list(range(2, len(shape)))
        numbers, target = numbers[2:], target[2:]
        if sized and d.chance(0.4):
            options["keep_aspect_ratio_policy"] = d.one_of("stretch", "not_larger", "not_smaller")
    empty = d.raw(np.zeros(0, dtype=np.float32)) if d.opset < 13 else ""
    d.add("Resize", [x, empty, empty, d.integers(*target)] if sized else [x, empty, d.raw(numbers)], **options)


def blocks(d: Draft) -> None:
    """Channels to places and back."""
    x = d.pick(4)
    shape = d.shape(x)
    if shape[1] % 4 == 0 and d.chance(0.7):
        d.add("DepthToSpace", [x], blocksize=2, mode=d.one_of(None, "DCR", "CRD") if d.opset >= 11 else None)
    elif shape[2] % 2 == 0 and shape[3] % 2 == 0:
        d.add("SpaceToDepth", [x], blocksize=2)
    else:
        raise UnfitError


def triangle(d: Draft) -> None:
    _from(d, 14)
    x = d.pick(2, 3, 4)
    inputs = [x] if d.chance(0.5) else [x, d.constant(np.array(d.integer(-1, 1)))]
    d.add("Trilu", inputs, upper=d.one_of(None, 0, 1))


def reversed_rows(d: Draft) -> None:
    _from(d, 10)
    x = d.pick(2, 3, 4)
    batch = d.integer(0, 1)
    shape = d.shape(x)
    lengths = d.rng.integers(1, shape[1 - batch] + 1, size=shape[batch])
    d.add("ReverseSequence", [x, d.constant(lengths)], batch_axis=batch, time_axis=1 - batch)


def cropped(d: Draft) -> None:
    _from(d, 18)
    x = d.pick()
    shape = d.shape(x)
    axes = _axes(d, len(shape)) if shape else []
    d.add("CenterCropPad", [x, d.integers(*[max(1, shape[axis] + d.integer(-2, 2)) for axis in axes])], axes=axes)


def residual(d: Draft) -> None:
    """A layer's output added to its input."""
    x = d.pick(2, 3, 4)
    last = d.shape(x)[-1]
    (made,) = d.add("MatMul", [x, d.constant(d.weights(last, last))])
    (made,) = d.add(d.one_of("Relu", "Abs", "Neg"), [made])
    d.add("Add", d.one_of([made, x], [x, made]))


# What must mostly be refused


def curved(d: Draft) -> None:
    d.add(d.one_of("Exp", "Tanh", "Sigmoid", "Softplus", "Elu", "Selu", "Sin", "Softsign"), [d.pick()])


def stepped(d: Draft) -> None:
    x = d.pick()
    _from(d, 11)
    name = d.one_of("Floor", "Ceil", "Round", "Sign", "Greater", "Hardmax", "IsNaN")
    (made,) = d.add(name, [x, d.number(0.1)] if name == "Greater" else [x])
    if d[made].dtype != d.kind:
        d.add("Cast", [made], to=helper.np_dtype_to_tensor_dtype(d.kind))


def multiplied(d: Draft) -> None:
    x = d.pick()
    d.add(d.one_of("Mul", "Mul", "MatMul"), [x, _partner(d, x)])


def reduced_otherwise(d: Draft) -> None:
    reduction(d, "ReduceL2", "ReduceProd", "ReduceSumSquare", "ReduceLogSumExp")


def normalised(d: Draft) -> None:
    x = d.pick(3, 4)
    channels = d.shape(x)[1]
    if d.chance(0.5):
        d.add("InstanceNormalization", [x, d.constant(d.weights(channels)), d.constant(d.weights(channels))])
    else:
        d.add(d.one_of("LRN", "LpNormalization"), [x], size=None)


def soft(d: Draft) -> None:
    x = d.pick()
    d.add(d.one_of("Softmax", "LogSoftmax"), [x], axis=None if d.chance(0.3) else d.axis(len(d.shape(x))))


def ordered(d: Draft) -> None:
    x = d.pick()
    axis = d.axis(len(d.shape(x)))
    _from(d, 11)
    d.add("TopK", [x, d.integers(1)], 2, axis=axis)


OPERATORS: tuple[Operator, ...] = (
    affine, affine, both, several, several, plain, plain, plain, sloped, clip, dropped, cast, where,
    matmul, matmul, gemm, gemm, einsum, batch_norm, convolution, convolution, convolution, pool, pool, pool,
    reduction, reduction, reduction, cumulative, reshape, reshape, reshape_by_shape, filled_by_shape, flatten,
    squeezed, squeezed, transposed, transposed, enlarged, concatenated, concatenated, split, sliced, sliced,
    gathered, gathered, scattered, padded, padded, resized, blocks, triangle, reversed_rows, cropped, residual,
)  # fmt: skip
RARE: tuple[Operator, ...] = (curved, stepped, multiplied, reduced_otherwise, normalised, soft, ordered)


def classes(d: Draft) -> str:
    """The newest value as class scores: flat, or through one more matrix, or as it is."""
    name = [name for name, value in d.values.items() if value.dtype == d.kind][-1]
    if d.chance(0.03):
        return name
    size = d[name].size
    form = d.one_of("flatten", "reshape", "reshape")
    if form == "flatten" and d.shape(name)[:1] == (1,):
        (name,) = d.add("Flatten", [name])
    else:
        (name,) = d.add("Reshape", [name, d.integers(*d.one_of((1, -1), (1, size), (-1, size)))])
    if size < 2 or d.chance(0.8 if d["image"].size <= 3 else 0.3):  # few inputs: let them decide something
        count = d.integer(2, 4)
        (name,) = d.add("MatMul", [name, d.constant(d.weights(size, count))])
        (name,) = d.add("Add", [name, d.constant(d.weights(count))]) if d.chance(0.7) else [name]
    return name


def tail(d: Draft, name: str) -> str:
    """Now and then what turns scores into probabilities or into a class, along any axis."""
    if not d.chance(0.2):
        return name
    rank = len(d.shape(name))
    kind = d.one_of("Softmax", "Softmax", "LogSoftmax", "Sigmoid", "ArgMax")
    try:
        if kind == "Sigmoid":
            return d.add(kind, [name])[0]
        axis = None if d.chance(0.3) else rank - 1 if d.chance(0.6) else d.axis(rank)
        keep = d.one_of(None, 0, 1) if kind == "ArgMax" else None
        return d.add(kind, [name], axis=axis, keepdims=keep)[0]
    except UnfitError:
        return name
