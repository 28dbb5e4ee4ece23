"""The oracle: every activation pattern of a tiny net, one linear program each. Shares nothing but the graph record.

Within one pattern the net is linear, so the nearest adversary there is a linear program; the least over all patterns
is the distance. Patterns are grown neuron by neuron, and a prefix whose polytope is empty is cut.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog

from encoders.graph import Affine, Graph, Input
from encoders.question import Goal, Norm, Region

Array = NDArray[np.float64]


def brute_force_distance(
    graph: Graph, region: Region, norm: Norm, goals: tuple[Goal, ...]
) -> tuple[float, Array | None]:
    """The exact distance to the nearest adversary of any goal, and where it is (inf and None if there is none)."""
    best, where = np.inf, None
    for rows, values, weight, offset in _pieces(graph, region):
        for goal in goals:
            # Row r of the piece says r · x + v ≥ 0; the goal's rows say ≤ 0.
            goal_rows, goal_values = goal.rows @ weight, goal.rows @ offset + goal.offset
            length, point = _nearest(np.vstack([rows, -goal_rows]), np.append(values, -goal_values), region, norm)
            if length < best:
                best, where = length, point
    return best, where


def _pieces(graph: Graph, region: Region) -> list[tuple[Array, Array, Array, Array]]:
    """Every non-empty linear piece: its inequalities, and the scores as weight · x + offset on it."""
    size = graph.input_size
    start = (np.zeros((0, size)), np.zeros(0), [(np.eye(size), np.zeros(size))])
    states = [start]
    for node in graph.nodes[1:]:
        grown = []
        for rows, values, known in states:
            if isinstance(node, Affine):
                parts = [(m.matrix().toarray(), known[s]) for s, m in zip(node.sources, node.maps, strict=True)]
                weight = sum((m @ w for m, (w, _) in parts), np.zeros((node.size, size)))
                offset = sum((m @ v for m, (_, v) in parts), node.bias.copy())
                grown.append((rows, values, [*known, (weight, offset)]))
                continue
            assert not isinstance(node, Input)
            weight, offset = known[node.source]
            options = [(rows, values, np.zeros(0, dtype=bool))]
            for k in range(node.size):
                options = [
                    choice
                    for r, v, pattern in options
                    for active, sign in ((True, 1.0), (False, -1.0))
                    for choice in [
                        (np.vstack([r, sign * weight[k]]), np.append(v, sign * offset[k]), np.append(pattern, active))
                    ]
                    if _nearest(choice[0], choice[1], region, None)[0] < np.inf
                ]
            for r, v, pattern in options:
                grown.append((r, v, [*known, (weight * pattern[:, None], offset * pattern)]))
        states = grown
    return [(rows, values, *known[-1]) for rows, values, known in states]


def _nearest(rows: Array, values: Array, region: Region, norm: Norm | None) -> tuple[float, Array | None]:
    """The nearest x with rows · x + values ≥ 0 in the box (any x, at length 0, where no norm is given)."""
    scale = np.maximum(np.abs(rows).max(axis=1, initial=0.0), 1e-300)
    trivial = scale <= 1e-300
    if (values[trivial] < 0).any():
        return np.inf, None
    rows, values = rows[~trivial] / scale[~trivial, None], values[~trivial] / scale[~trivial]
    size = region.center.size
    room = values + rows @ region.center
    low, high = region.lower - region.center, region.upper - region.center
    signed = np.hstack([rows, -rows])  # x - center = p - q
    sides = [(0.0, max(0.0, s)) for s in high] + [(0.0, max(0.0, -s)) for s in low]
    if norm is Norm.LINF:
        cap = np.hstack([np.eye(size), np.eye(size), -np.ones((size, 1))])
        matrix = np.vstack([np.hstack([-signed, np.zeros((len(rows), 1))]), cap])
        right, costs = np.append(room, np.zeros(size)), np.append(np.zeros(2 * size), 1.0)
        answer = linprog(costs, matrix, right, bounds=[*sides, (0.0, None)], method="highs")
    else:
        costs = np.zeros(2 * size) if norm is None else np.ones(2 * size)
        answer = linprog(
            costs, -signed if len(rows) else None, room if len(rows) else None, bounds=sides, method="highs"
        )
    if answer.status != 0:
        return np.inf, None
    shift = answer.x[:size] - answer.x[size : 2 * size]
    return (0.0 if norm is None else float(norm.length(shift))), region.center + shift
