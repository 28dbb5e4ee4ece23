"""Products with constant matrices, and linear operators whose entries onnxruntime itself is asked for."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from encoders.arrays import FloatArray
from encoders.errors import ModelError
from encoders.layer_graph.builder import LEAST_FOLDED, View, checked_size
from encoders.layer_graph.linear_maps import Dense, LinearMap, Sparse
from encoders.onnx.arithmetic import ZERO, added, broadcast, check_gain
from encoders.onnx.movement import check_growth
from encoders.onnx.node import Call, Value
from encoders.onnx.runtime import ExecutionError, run_node, unit_responses
from encoders.onnx.runtime_worker import Table

MOST_PRODUCTS = 2**26  # entries of a sparse table that is written out
MOST_RUNS = 2**15  # unit vectors that onnxruntime is run on, for one operator


def gemm(call: Call) -> Value:
    """alpha · A' · B' + beta · C, of which A or B is constant; and C may depend on the input too."""
    first, second = call.inputs[:2]
    if isinstance(first, View) and isinstance(second, View):
        raise call.unsupported("a product of two values that both depend on the input is not piecewise linear")
    sides: list[Value] = []
    for k, (value, flag) in enumerate(((first, "transA"), (second, "transB"))):
        turned = bool(call.attributes.get(flag, 0))
        if isinstance(value, View):
            if len(value.shape) != 2:
                raise ModelError(f"{call.name}: its input {call.node.input[k]!r} has shape {value.shape}, no matrix")
            sides.append(value.arranged(value.positions().T) if turned else value)
        else:
            weight = call.weights(k)
            if weight.ndim != 2:
                raise ModelError(f"{call.name}: its input {call.node.input[k]!r} has shape {weight.shape}, no matrix")
            sides.append(weight.T if turned else weight)
    alpha, beta = np.float64(call.attributes["alpha"]), np.float64(call.attributes["beta"])
    check_gain(call, np.array([alpha, beta]))
    if abs(alpha) < LEAST_FOLDED:  # the product before it may leave the file's type where what is left of it does not
        raise ModelError(f"{call.name}: its alpha {alpha:.3g} is less than 2^-30; scale its weights in its place")
    third = call.inputs[2] if len(call.inputs) > 2 else None
    if not any(isinstance(side, View) for side in sides):
        return _onto_constant(call, alpha * np.asarray(sides[0]), np.asarray(sides[1]), beta)
    k = 0 if isinstance(sides[1], View) else 1
    sides[k] = alpha * np.asarray(sides[k])
    if third is None:
        return product(call, sides[0], sides[1], ZERO, roundings=3)
    if not isinstance(third, View):
        return product(call, sides[0], sides[1], beta * call.weights(2), roundings=4)
    out = product(call, sides[0], sides[1], ZERO, roundings=3)
    return added(call, out, call.build.scaled(broadcast(call, third, out.shape), np.array(beta), ZERO, call.name))


def _onto_constant(call: Call, first: FloatArray, second: FloatArray, beta: float) -> Value:
    """first · second + beta · C where C alone depends on the input: a constant whose sums are rounded here."""
    try:
        constant, size = first @ second, np.abs(first) @ np.abs(second)
    except ValueError:
        raise ModelError(f"{call.name}: shapes {first.shape} and {second.shape} do not multiply") from None
    spread = broadcast(call, call.view(2), constant.shape)
    roundings = first.shape[1] + 4
    return call.build.scaled(spread, np.array(beta), constant, call.name, roundings, size * (1.0 + 1e-9))


def matmul(call: Call) -> Value:
    """A product of two stacks of matrices, one of them constant, as numpy.matmul has it."""
    first, second = call.inputs[:2]
    if isinstance(first, View) and isinstance(second, View):
        raise call.unsupported("a product of two values that both depend on the input is not piecewise linear")
    if isinstance(first, View):
        return product(call, first, call.weights(1), ZERO)
    return product(call, call.weights(0), call.view(1), ZERO)


def product(call: Call, first: Value, second: Value, bias: FloatArray, roundings: int = 2) -> View:
    """first · second + bias, as numpy.matmul multiplies stacks, vectors and matrices; one of them is constant."""
    try:
        shape = _product_shape(first.shape, second.shape)
    except ValueError:
        raise ModelError(f"{call.name}: shapes {first.shape} and {second.shape} do not multiply") from None
    try:
        np.broadcast_to(bias, shape)
    except ValueError:
        raise ModelError(f"{call.name}: a bias of shape {np.shape(bias)} does not fit {shape}") from None
    checked_size(shape, call.name)
    view = first if isinstance(first, View) else second
    assert isinstance(view, View)
    linear = _plain(first, second) or _table(call, first, second)
    return call.build.affine([(view, linear)], bias, shape, call.name, roundings)


def _product_shape(first: tuple[int, ...], second: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of a product, as numpy.matmul has it; a ValueError where there is none."""
    if not first or not second or first[-1] != second[-2 if len(second) > 1 else 0]:
        raise ValueError("inner sizes differ")
    lead = np.broadcast_shapes(first[:-2], second[:-2])
    return (*lead, *first[-2:-1], *(second[-1:] if len(second) > 1 else ()))


def _plain(first: Value, second: Value) -> LinearMap | None:
    """A dense map, where one row or column meets one matrix."""
    view, stack = (first, second) if isinstance(first, View) else (second, first)
    if not isinstance(view, View) or isinstance(stack, View) or stack.ndim < 2:
        return None
    rows, columns = int(stack.shape[-2]), int(stack.shape[-1])
    matrix = stack.reshape(-1, columns).T if isinstance(first, View) else stack.reshape(-1, columns)
    if stack.size != rows * columns or view.index.size != matrix.shape[1]:
        return None
    return Dense(np.ascontiguousarray(matrix))


def _table(call: Call, first: Value, second: Value) -> Sparse:
    """Every product that meets in every sum, written out."""
    a, b = (value.positions() if isinstance(value, View) else value for value in (first, second))
    a = a[None, :] if a.ndim == 1 else a
    b = b[:, None] if b.ndim == 1 else b
    lead = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    rows, inner, columns = a.shape[-2], a.shape[-1], b.shape[-1]
    size = int(np.prod(lead, dtype=np.int64)) * rows * columns
    if float(size) * inner > MOST_PRODUCTS:
        raise ModelError(
            f"{call.name}: a product of {float(size) * inner:.3g} terms is more than the {MOST_PRODUCTS} allowed"
        )
    full = (*lead, rows, columns, inner)
    left = np.broadcast_to(a, (*lead, rows, inner))[..., :, None, :]
    right = np.swapaxes(np.broadcast_to(b, (*lead, inner, columns)), -1, -2)[..., None, :, :]
    left, right = np.broadcast_to(left, full).reshape(-1), np.broadcast_to(right, full).reshape(-1)
    places, weights = (left, right) if isinstance(first, View) else (right, left)
    view = first if isinstance(first, View) else second
    assert isinstance(view, View)
    owner = np.repeat(np.arange(size), inner)
    data = (np.asarray(weights, dtype=np.float64), (owner, places.astype(np.int64)))
    return Sparse(sparse.csr_array(data, shape=(size, view.index.size)))


# -- linear operators, entry by entry ---------------------------------------------------------------------------------


def responding(call: Call) -> Value:
    """An operator that is linear in its one variable input: onnxruntime is run on every unit vector of it.

    Its other inputs are constants, and so are the entries of its matrix: in double where onnxruntime has it. They are
    believed where no two terms can have cancelled in them: with all constants' sizes in place of the constants, the
    entries have the same sizes. With ones in their place they are how many terms an entry stands for; as many as meet
    in one sum may each be rounded.
    """
    places = [k for k, value in enumerate(call.inputs) if isinstance(value, View)]
    if len(places) != 1:
        raise call.unsupported("a product of values that all depend on the input is not piecewise linear")
    view = call.view(places[0])
    name = call.node.input[places[0]]
    shape = view.shape
    if view.index.size > MOST_RUNS:
        raise call.unsupported(f"{view.index.size} inputs of a general linear operator, more than {MOST_RUNS}")
    check_growth(call)
    fixed = {other: value for other, value in call.constants().items() if other != name}
    factors = [k for k, v in fixed.items() if np.issubdtype(v.dtype, np.floating) and _follows(call, k)]
    for k in factors if len(factors) > 1 else ():  # multiplied by each other on the way
        check_gain(call, np.asarray(fixed[k]))
    try:
        found, kind = _entries(call, name, shape, fixed)
        sizes = found
        if any(np.issubdtype(v.dtype, np.floating) and (v < 0).any() for v in fixed.values()):
            positive = {k: np.abs(v) if np.issubdtype(v.dtype, np.floating) else v for k, v in fixed.items()}
            sizes, _ = _entries(call, name, shape, positive, kind)
    except ExecutionError as error:
        raise ModelError(f"{call.name}: {error}") from None
    size = int(np.prod(found.at_zero.shape, dtype=np.int64))
    own, known = (_as_table(part, size, view.index.size) for part in (found, sizes))
    unit = 8.0 * float(np.finfo(kind).eps)
    if (abs(known) - abs(own) > unit * abs(known)).nnz:
        raise call.unsupported("its constants cancel in its entries, which rounding may have changed")
    if not np.isfinite(found.values).all() or not np.isfinite(found.at_zero).all():
        raise ModelError(f"{call.name}: its constants hold NaN or infinite values; repair the model file")
    bias = np.asarray(found.at_zero, dtype=np.float64)
    roundings = 16 + _most_summed(call, name, shape, fixed, kind)
    return call.build.affine([(view, Sparse(own))], bias, tuple(bias.shape), call.name, roundings)


def _most_summed(
    call: Call, name: str, shape: tuple[int, ...], fixed: dict[str, NDArray[np.float64]], kind: type
) -> int:
    """No fewer than the terms of constants that any entry is a sum of: what ones in place of all numbers add up to."""
    ones: dict[str, NDArray[np.float64]] = {
        k: np.ones(v.shape, dtype=kind)
        for k, v in fixed.items()
        if np.issubdtype(v.dtype, np.floating) and _follows(call, k)
    }
    if not ones:
        return 0
    (most,) = run_node(call.node, call.opset, fixed | ones, {name: np.ones(shape, dtype=kind)})
    return int(np.max(most))


def _entries(
    call: Call, name: str, shape: tuple[int, ...], fixed: dict[str, NDArray[np.float64]], kind: type | None = None
) -> tuple[Table, type]:
    """The operator's table and the type it was computed in: double, or float32 where onnxruntime has no other."""
    for dtype in (np.float64, np.float32) if kind is None else (kind,):
        constants = {
            k: v.astype(dtype) if np.issubdtype(v.dtype, np.floating) and _follows(call, k) else v
            for k, v in fixed.items()
        }
        try:
            run_node(call.node, call.opset, constants, {name: np.zeros(shape, dtype=dtype)})
        except ExecutionError:
            if dtype is np.float32 or kind is not None:
                raise
            continue
        return unit_responses(call.node, call.opset, constants, name, shape, dtype), dtype
    raise ExecutionError("onnxruntime has no kernel for it")


def _follows(call: Call, name: str) -> bool:
    """Whether a constant has the type of the data: the scales of a Resize have one of their own."""
    return call.node.op_type not in ("Resize", "Upsample")


def _as_table(found: Table, rows: int, columns: int) -> sparse.csr_array:
    data = (np.asarray(found.values, dtype=np.float64), (found.rows, found.columns))
    return sparse.csr_array(data, shape=(rows, columns))
