"""Executions of a layer graph that a runtime may choose from, and the same graph in exact rationals.

An execution sums the products of an Affine node in an order of its own, in float32, with or without fused
multiply-add, and may fold the node's scale into its weights first. The truth is worked out with fractions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from encoders.layer_graph.graph import Affine, Graph, Input

Sum = Callable[[list[Any]], Any]


def forward_sum(terms: list[Any]) -> Any:
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total


def reversed_sum(terms: list[Any]) -> Any:
    return forward_sum(terms[::-1])


def pairwise_sum(terms: list[Any]) -> Any:
    while len(terms) > 1:
        pairs = [a + b for a, b in zip(terms[::2], terms[1::2], strict=False)]
        terms = pairs + terms[2 * len(pairs) :]
    return terms[0]


def shuffled_sum(rng: np.random.Generator) -> Sum:
    return lambda terms: forward_sum([terms[k] for k in rng.permutation(len(terms))])


def sums(rng: np.random.Generator) -> list[Sum]:
    return [forward_sum, reversed_sum, pairwise_sum, shuffled_sum(rng), shuffled_sum(rng)]


def exact(graph: Graph, x: Sequence[float]) -> list[Fraction]:
    """The scores of one input in exact arithmetic on the graph's numbers."""
    values: list[list[Fraction]] = []
    for node in graph.nodes:
        if isinstance(node, Input):
            values.append([Fraction(float(v)) for v in x])
        elif isinstance(node, Affine):
            total = [Fraction(float(b)) for b in node.bias]
            for source, matrix in zip(node.sources, graph.matrices(node), strict=True):
                for i, j in zip(*matrix.nonzero(), strict=True):
                    total[i] += Fraction(float(matrix[i, j])) * values[source][j]
            values.append(total)
        else:
            values.append([max(v, Fraction(0)) for v in values[node.source]])
    return values[-1]


def executed(graph: Graph, x: NDArray[Any], add: Sum, kind: type[Any] = np.float32, fused: bool = False) -> list[Any]:
    """The scores of inputs [n] or [n, B], every product and sum rounded to `kind`; `fused` rounds both at once."""
    values: list[list[Any]] = []
    for node in graph.nodes:
        if isinstance(node, Input):
            values.append([kind(v) for v in x])
        elif isinstance(node, Affine):
            terms: list[list[Any]] = [[kind(b) + 0 * values[0][0]] for b in node.bias]
            for source, matrix in zip(node.sources, graph.matrices(node), strict=True):
                for i, j in zip(*matrix.nonzero(), strict=True):
                    terms[i].append((kind(matrix[i, j]), values[source][j]))
            values.append([_row(row, add, kind, fused) for row in terms])
        else:
            values.append([np.maximum(v, kind(0)) for v in values[node.source]])
    return values[-1]


def _row(terms: list[Any], add: Sum, kind: type[Any], fused: bool) -> Any:
    bias, *products = terms
    if not fused:
        return add([bias, *(w * v for w, v in products)])
    total = bias
    for w, v in products:
        total = kind(np.longdouble(w) * np.longdouble(v) + np.longdouble(total))
    return total


LEVELS = (
    onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL,
    onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL,
)


def replays(path: Path, inputs: NDArray[Any]) -> list[NDArray[Any]]:
    """The scores of a batch [B, ...] by onnxruntime at every level of optimisation."""
    found = []
    for level in LEVELS:
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = level
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        found.append(np.asarray(session.run(None, {session.get_inputs()[0].name: inputs})[0]))
    return found
