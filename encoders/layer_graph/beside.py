"""Several networks side by side as one: the same input for all, its own shift of it for each, or its own part of it.

What is asked of several networks at once, or of one at several points, is then one network's question.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy import sparse

from encoders.arrays import FloatArray, IntArray
from encoders.errors import DataError
from encoders.layer_graph.graph import Affine, Graph, Input, Node, Relu
from encoders.layer_graph.linear_maps import Gather, Sparse


def beside(graphs: Sequence[Graph], shifts: Sequence[FloatArray] | None = None) -> Graph:
    """The graph whose scores are those of all graphs, one after the other; graph k reads the input plus shifts[k].

    Nothing is folded: shifts are nodes of their own, and no number is changed.
    """
    size = graphs[0].input_size
    if any(graph.input_size != size for graph in graphs):
        sizes = ", ".join(str(graph.input_size) for graph in graphs)
        raise DataError(f"networks side by side read the same input; these read {sizes} numbers")
    fronts: list[Affine | None] = [None] * len(graphs)
    for k, shift in enumerate(() if shifts is None else shifts):
        if shift.any():
            same = Gather(np.arange(size, dtype=np.int64), size)
            fronts[k] = Affine((0,), (same,), np.asarray(shift, dtype=np.float64), f"shift{k}")
    return _together(graphs, fronts, Input(size), graphs[0].input_shape)


def on_parts(graphs: Sequence[Graph], places: Sequence[IntArray], size: int) -> Graph:
    """The graph whose scores are those of all graphs; graph k reads those inputs of `size` that places[k] names."""
    fronts = []
    for k, (graph, own) in enumerate(zip(graphs, places, strict=True)):
        if len(own) != graph.input_size:
            raise ValueError(f"graph {k} reads {graph.input_size} inputs, and {len(own)} are named")
        part = Gather(np.asarray(own, dtype=np.int64), size)
        fronts.append(None if part.is_identity else Affine((0,), (part,), np.zeros(len(own)), f"part{k}"))
    if len(graphs) == 1 and fronts[0] is None:
        return graphs[0]
    return _together(graphs, fronts, Input(size), (size,))


def _together(
    graphs: Sequence[Graph], fronts: Sequence[Affine | None], first: Input, input_shape: tuple[int, ...]
) -> Graph:
    """All graphs on one input, each behind a layer of its own where it has one."""
    nodes: list[Node] = [first]
    ends = []
    for graph, front in zip(graphs, fronts, strict=True):
        place = {0: 0}
        if front is not None:
            nodes.append(front)
            place[0] = len(nodes) - 1
        for position, node in enumerate(graph.nodes):
            if isinstance(node, Input):
                continue
            nodes.append(_moved(node, place))
            place[position] = len(nodes) - 1
        ends.append(len(nodes) - 1)
    total = sum(graph.classes for graph in graphs)
    starts = np.cumsum([0, *(graph.classes for graph in graphs)])
    maps = tuple(_put(graph.classes, start, total) for graph, start in zip(graphs, starts[:-1], strict=True))
    nodes.append(Affine(tuple(ends), maps, np.zeros(total), "scores"))
    return Graph(tuple(nodes), input_shape)


def with_leads(graph: Graph, own: Sequence[int], others: Sequence[Sequence[int]]) -> Graph:
    """The graph with one score for each entry of `own`: the greatest of the `others`' scores, less that one.

    Maxima are made in pairs, max(a, b) = a + relu(b - a), so that they are few layers deep.
    """
    nodes, last = list(graph.nodes), len(graph.nodes) - 1
    groups = [list(entries) for entries in others]
    rows = sparse.lil_array((sum(map(len, groups)), graph.classes))
    for row, (mine, entry) in enumerate(
        (mine, entry) for mine, group in zip(own, groups, strict=True) for entry in group
    ):
        rows[row, entry], rows[row, mine] = 1.0, -1.0
    nodes.append(Affine((last,), (Sparse(sparse.csr_array(rows)),), np.zeros(rows.shape[0]), "leads"))
    counts = [len(group) for group in groups]
    level = 0
    while max(counts) > 1:
        level += 1
        first, second, counts = _paired(counts)
        before = nodes[-1].size
        gap = Sparse(sparse.csr_array(_picking(second, before) - _picking(first, before)))
        nodes.append(Affine((len(nodes) - 1,), (gap,), np.zeros(len(first)), f"gap{level}"))
        nodes.append(Relu(len(nodes) - 1, len(first), f"maximum{level}"))
        keep = Sparse(_picking(first, before))
        same = Gather(np.arange(len(first), dtype=np.int64), len(first))
        nodes.append(Affine((len(nodes) - 3, len(nodes) - 1), (keep, same), np.zeros(len(first)), f"greatest{level}"))
    return Graph(tuple(nodes), graph.input_shape)


def _paired(counts: Sequence[int]) -> tuple[list[int], list[int], list[int]]:
    """Positions to take the maximum of, two and two within each group; one that is left over is paired with itself."""
    first, second, halved, start = [], [], [], 0
    for count in counts:
        for k in range(0, count, 2):
            first.append(start + k)
            second.append(start + min(k + 1, count - 1))
        halved.append((count + 1) // 2)
        start += count
    return first, second, halved


def _picking(places: Sequence[int], size: int) -> sparse.csr_array:
    ones = np.ones(len(places))
    return sparse.csr_array((ones, (np.arange(len(places)), np.asarray(places))), shape=(len(places), size))


def _moved(node: Affine | Relu, place: dict[int, int]) -> Node:
    if isinstance(node, Relu):
        return replace(node, source=place[node.source])
    return replace(node, sources=tuple(place[source] for source in node.sources))


def _put(size: int, start: int, total: int) -> Sparse:
    """The map that puts a vector at `start` of a longer one."""
    where = (start + np.arange(size), np.arange(size))
    return Sparse(sparse.csr_array((np.ones(size), where), shape=(total, size)))
