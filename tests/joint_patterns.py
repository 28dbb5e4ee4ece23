"""The oracle of questions about several networks: every joint activation pattern of tiny nets, one program each.

From the definitions alone: no network is put beside another. Each is cut into its linear pieces by itself; where pieces
of all meet, all scores are linear functions of what the networks share, be that an input or a perturbation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog

from encoders.layer_graph.graph import Graph
from encoders.question import Norm, Region
from tests.brute_force import OPTIONS, OracleError, inner_point, linear_pieces, nearest

Array = NDArray[np.float64]
WIDTH = 1e-9  # of a bisection


@dataclass(frozen=True, eq=False)
class Reader:
    """A network and the box of what it reads: the shared input plus `shift`."""

    graph: Graph
    region: Region
    shift: Array


@dataclass(frozen=True, eq=False)
class Joint:
    """{ d : rows · d + values ≥ 0 }, and each network's scores there as weight · d + offset."""

    rows: Array
    values: Array
    scores: tuple[tuple[Array, Array], ...]


def least_transfer(graphs: Sequence[Graph], region: Region, norm: Norm, margin: float = 0.0) -> float:
    """The least change of the sample that changes the class of every network, each by the margin; inf if none does."""
    still = np.zeros_like(region.center)
    return _least([Reader(graph, region, still) for graph in graphs], region, norm, margin)


def least_universal(graph: Graph, regions: Sequence[Region], norm: Norm, margin: float = 0.0) -> float:
    """The least perturbation that changes the class of every sample, all staying in the box; inf if none does."""
    lower = np.max([region.lower - region.center for region in regions], axis=0)
    upper = np.min([region.upper - region.center for region in regions], axis=0)
    shared = Region(np.zeros_like(lower), lower, upper)
    return _least([Reader(graph, region, region.center) for region in regions], shared, norm, margin)


def greatest_difference(first: Graph, second: Graph, region: Region, norm: Norm, radius: float) -> float:
    """The greatest |f_j - g_j| over the ball and the box."""
    still, best = np.zeros_like(region.center), 0.0
    for joint in _pieces([Reader(graph, region, still) for graph in (first, second)], region):
        (weight, offset), (other, other_offset) = joint.scores
        for row, value in zip(weight - other, offset - other_offset, strict=True):
            for sign in (1.0, -1.0):
                best = _highest(sign * row, sign * value, joint, region, norm, radius, best)
    return best


def _least(readers: Sequence[Reader], shared: Region, norm: Norm, margin: float) -> float:
    own = [int(np.argmax(reader.graph.evaluate(shared.center + reader.shift)[0])) for reader in readers]
    others = [[t for t in range(reader.graph.classes) if t != k] for reader, k in zip(readers, own, strict=True)]
    best = np.inf
    for joint in _pieces(readers, shared):
        for targets in product(*others):
            rows, values = joint.rows, joint.values
            for (weight, offset), t, k in zip(joint.scores, targets, own, strict=True):
                rows = np.vstack([rows, weight[t] - weight[k]])
                values = np.append(values, offset[t] - offset[k] - margin)
            best = min(best, nearest(rows, values, shared, norm)[0])
    return best


def _pieces(readers: Sequence[Reader], shared: Region) -> list[Joint]:
    """Where pieces of all networks meet."""
    joint = [Joint(np.zeros((0, shared.center.size)), np.zeros(0), ())]
    for reader in readers:
        own, grown = linear_pieces(reader.graph, reader.region), []
        for one, piece in product(joint, own):
            rows = np.vstack([one.rows, piece.rows])
            values = np.append(one.values, piece.values + piece.rows @ reader.shift)
            if inner_point(rows, values, shared) is not None:
                weight, offset = piece.known[-1]
                grown.append(Joint(rows, values, (*one.scores, (weight, offset + weight @ reader.shift))))
        joint = grown
    return joint


def _highest(row: Array, value: float, joint: Joint, region: Region, norm: Norm, radius: float, least: float) -> float:
    """The greatest row · x + value over one piece and the ball, or `least` where that is more."""
    if norm is Norm.L2:
        return _highest_euclidean(row, value, joint, region, radius, least)
    size, center = region.center.size, region.center
    room = joint.values + joint.rows @ center
    matrix = np.hstack([-joint.rows, joint.rows])  # x - center = p - q
    upper = np.concatenate([region.upper - center, center - region.lower])
    if norm is Norm.LINF:
        upper = np.minimum(upper, radius)
    else:
        matrix, room = np.vstack([matrix, np.ones(2 * size)]), np.append(room, radius)
    limits = np.stack([np.zeros(len(upper)), upper], axis=1)
    answer = linprog(np.append(-row, row), matrix, room, bounds=limits, method="highs-ds", options=OPTIONS)
    if answer.status == 2:
        return least
    if answer.status != 0:
        raise OracleError(str(answer.message))
    return max(least, float(row @ center + value - answer.fun))


def _highest_euclidean(row: Array, value: float, joint: Joint, region: Region, radius: float, least: float) -> float:
    """By bisection: a threshold is reached where the nearest point that reaches it is no farther than the radius."""

    def reached(threshold: float) -> bool:
        rows, values = np.vstack([joint.rows, row]), np.append(joint.values, value - threshold)
        return nearest(rows, values, region, Norm.L2)[0] <= radius

    if not reached(least + WIDTH):
        return least
    low, high = least, least + 1.0
    while reached(high):
        low, high = high, 2.0 * high - least
    while high - low > WIDTH:
        middle = (low + high) / 2.0
        low, high = (middle, high) if reached(middle) else (low, middle)
    return low
