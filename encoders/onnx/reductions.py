"""Reductions over axes: sums, means, greatest and least entries, and sums of sizes."""

from __future__ import annotations

import numpy as np

from encoders.arrays import IntArray
from encoders.errors import ModelError
from encoders.layer_graph.builder import View
from encoders.onnx.activations import absolute
from encoders.onnx.node import Call, Operator, Value
from encoders.onnx.windows import averaged, greatest


def _reduced(call: Call) -> tuple[View, IntArray, tuple[int, ...]] | None:
    """What each output entry is made of; None where nothing is reduced.

    Axes are an attribute in older opsets and an input in newer ones. Without any, all are reduced, unless
    `noop_with_empty_axes` says that none is.
    """
    view = call.view()
    rank = len(view.shape)
    given = call.attributes.get("axes")
    if given is None:
        tensor = call.maybe(1)
        given = None if tensor is None else [int(a) for a in tensor.reshape(-1)]
    if not given and call.attributes.get("noop_with_empty_axes", 0):
        return None
    axes = sorted({a + rank if a < 0 else a for a in given}) if given else list(range(rank))
    if any(not 0 <= a < rank for a in axes):
        raise ModelError(f"{call.name}: axes {given} do not exist in a tensor of shape {view.shape}")
    kept = [a for a in range(rank) if a not in axes]
    rows = int(np.prod([view.shape[a] for a in kept], dtype=np.int64))
    table = view.positions().transpose(*kept, *axes).reshape(rows, -1)
    keep = bool(call.attributes["keepdims"])
    return view, table, tuple(1 if a in axes else view.shape[a] for a in range(rank) if keep or a not in axes)


def _summing(mean: bool) -> Operator:
    def operator(call: Call) -> Value:
        found = _reduced(call)
        if found is None:
            return call.view()
        view, table, shape = found
        return averaged(call, view, table, np.full(len(table), float(table.shape[1]) if mean else 1.0), shape)

    return operator


def _choosing(least: bool) -> Operator:
    def operator(call: Call) -> Value:
        found = _reduced(call)
        if found is None:
            return call.view()
        view, table, shape = found
        return greatest(call, view, table, shape, least)

    return operator


def sum_of_sizes(call: Call) -> Value:
    """ReduceL1."""
    found = _reduced(call)
    sizes = absolute(call)
    if found is None or not isinstance(sizes, View):
        return sizes
    _, table, shape = found
    return averaged(call, sizes, table, np.ones(len(table)), shape)


reduce_sum, reduce_mean = _summing(mean=False), _summing(mean=True)
reduce_max, reduce_min = _choosing(least=False), _choosing(least=True)
