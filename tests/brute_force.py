"""The oracle: every activation pattern of a tiny net, one linear program each. Shares nothing but the graph record.

Within one pattern the net is linear, so the nearest adversary there is a linear program; the least over all patterns
is the distance. Patterns are grown neuron by neuron, and a prefix whose polytope is empty is cut. Every optimum is
bracketed by weak duality; where the bracket is wide the oracle says that it does not know rather than guess.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog, nnls

from encoders.graph import Affine, Graph, Input
from encoders.question import Goal, Norm, Region

Array = NDArray[np.float64]
OPTIONS = {"presolve": False, "primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10}
SURE = 1e-9  # the oracle's own error, relative to max(1, distance)
EMPTY = 1e-8  # a polytope whose (scaled) rows cannot all come this close to holding is empty


class OracleError(ArithmeticError):
    """The linear programs of this net are too badly conditioned for the oracle to vouch for its answer."""


@dataclass(frozen=True, eq=False)
class Piece:
    """{ x in the box : rows · x + values ≥ 0 }, an inner point, and every node's value there as weight · x + offset."""

    rows: Array
    values: Array
    inner: Array
    known: tuple[tuple[Array, Array], ...]


def brute_force_distance(
    graph: Graph, region: Region, norm: Norm, goals: tuple[Goal, ...]
) -> tuple[float, Array | None]:
    """The exact distance to the nearest adversary of any goal, and where it is (inf and None if there is none)."""
    best, where = np.inf, None
    for piece in linear_pieces(graph, region):
        weight, offset = piece.known[-1]
        for goal in goals:
            rows = np.vstack([piece.rows, -goal.rows @ weight])
            values = np.append(piece.values, -(goal.rows @ offset + goal.offset))
            length, point = nearest(rows, values, region, norm)
            if length < best:
                best, where = length, point
    return best, where


def linear_pieces(graph: Graph, region: Region) -> list[Piece]:
    """Every piece of the box on which all activations keep their sides, but for those too thin to hold a ball."""
    size = graph.input_size
    middle = (region.lower + region.upper) / 2.0
    pieces = [Piece(np.zeros((0, size)), np.zeros(0), middle, ((np.eye(size), np.zeros(size)),))]
    for node in graph.nodes[1:]:
        assert not isinstance(node, Input)
        if isinstance(node, Affine):
            pieces = [_extended(piece, *_affine(graph, node, piece)) for piece in pieces]
        else:
            pieces = [part for piece in pieces for part in _split(piece, node.source, region)]
    return pieces


def _extended(piece: Piece, weight: Array, offset: Array) -> Piece:
    return Piece(piece.rows, piece.values, piece.inner, (*piece.known, (weight, offset)))


def _affine(graph: Graph, node: Affine, piece: Piece) -> tuple[Array, Array]:
    weight, offset = np.zeros((node.size, graph.input_size)), node.bias.copy()
    for source, linear in zip(node.sources, node.maps, strict=True):
        table = linear.matrix().toarray()
        weight += table @ piece.known[source][0]
        offset += table @ piece.known[source][1]
    return weight, offset


def _split(piece: Piece, source: int, region: Region) -> list[Piece]:
    """The piece, cut by every neuron of one ReLU node."""
    weight, offset = piece.known[source]
    states = [(piece.rows, piece.values, piece.inner, np.zeros(0, dtype=bool))]
    for row, value in zip(weight, offset, strict=True):
        grown = []
        for rows, values, inner, pattern in states:
            here = float(row @ inner + value)
            for active, sign in ((True, 1.0), (False, -1.0)):
                more_rows, more_values = np.vstack([rows, sign * row]), np.append(values, sign * value)
                # The side that a point well inside lies on needs no program.
                sure = sign * here > 1e-3 * np.abs(row).max(initial=0.0)
                witness = inner if sure else inner_point(more_rows, more_values, region)
                if witness is not None:
                    grown.append((more_rows, more_values, witness, np.append(pattern, active)))
        states = grown
    return [
        Piece(rows, values, inner, (*piece.known, (weight * pattern[:, None], offset * pattern)))
        for rows, values, inner, pattern in states
    ]


def _scaled(rows: Array, values: Array) -> tuple[Array, Array] | None:
    """Rows with a largest entry of one and without those that are constant; None if a constant row does not hold."""
    scale = np.abs(rows).max(axis=1, initial=0.0)
    constant = scale <= 1e-12 * np.maximum(1.0, np.abs(values))
    if (values[constant] < -1e-12).any():
        return None
    return rows[~constant] / scale[~constant, None], values[~constant] / scale[~constant]


def inner_point(rows: Array, values: Array, region: Region) -> Array | None:
    """A point that satisfies all rows with the most room (at most one), or None if no point satisfies them."""
    scaled = _scaled(rows, values)
    if scaled is None:
        return None
    rows, values = scaled
    size = region.center.size
    matrix = np.hstack([-rows, np.ones((len(rows), 1))])
    limits = [*zip(region.lower, region.upper, strict=True), (None, 1.0)]
    costs = np.append(np.zeros(size), -1.0)
    answer = linprog(costs, matrix, values, bounds=limits, method="highs-ds", options=OPTIONS)
    if answer.status != 0:
        raise OracleError(f"inner point: {answer.message}")
    return np.clip(answer.x[:size], region.lower, region.upper) if answer.x[size] >= -EMPTY else None


def nearest(rows: Array, values: Array, region: Region, norm: Norm) -> tuple[float, Array | None]:
    """The nearest x with rows · x + values ≥ 0 in the box, by a linear program whose optimum is bracketed."""
    scaled = _scaled(rows, values)
    if scaled is None:
        return np.inf, None
    rows, values = scaled
    if norm is Norm.L2:
        return _nearest_l2(rows, values, region)
    size = region.center.size
    room = values + rows @ region.center
    high, low = region.upper - region.center, region.center - region.lower
    costs = np.ones(2 * size)  # x - center = p - q
    matrix = np.hstack([-rows, rows])
    upper = np.concatenate([high, low])
    if norm is Norm.LINF:
        caps = np.hstack([np.eye(size), np.eye(size), -np.ones((size, 1))])
        matrix = np.vstack([np.hstack([matrix, np.zeros((len(rows), 1))]), caps])
        room, costs = np.append(room, np.zeros(size)), np.append(np.zeros(2 * size), 1.0)
        upper = np.append(upper, max(1.0, 2.0 * float(upper.max(initial=0.0))))
    limits = np.stack([np.zeros(len(upper)), upper], axis=1)
    answer = linprog(costs, matrix, room, bounds=limits, method="highs-ds", options=OPTIONS)
    if answer.status == 2:
        if inner_point(rows, values, region) is None:
            return np.inf, None
        raise OracleError("a program is both infeasible and has a point")
    if answer.status != 0:
        raise OracleError(str(answer.message))
    prices = np.maximum(-answer.ineqlin.marginals, 0.0)
    reduced = costs + matrix.T @ prices
    proven = float(-prices @ room + np.minimum(reduced, 0.0) @ upper)
    length = float(answer.fun)
    if length - proven > SURE * max(1.0, length) or (matrix @ answer.x - room > SURE).any():
        raise OracleError(f"optimum between {proven!r} and {length!r}")
    return length, region.center + answer.x[:size] - answer.x[size : 2 * size]


def _nearest_l2(rows: Array, values: Array, region: Region) -> tuple[float, Array | None]:
    """The same in L2, after Lawson & Hanson: the least d with G d ≥ h from non-negative least squares.

    min ‖Gᵀu‖² + (hᵀu - 1)² over u ≥ 0 has the residual r = (Gᵀu, hᵀu - 1); then d = -Gᵀu / (hᵀu - 1), and if the
    residual is zero, u proves that no d satisfies the rows. The optimum is bracketed by the dual function at u.
    """
    center, size = region.center, region.center.size
    matrix = np.vstack([rows, np.eye(size), -np.eye(size)])
    least = -np.concatenate([values + rows @ center, center - region.lower, region.upper - center])
    system = np.vstack([matrix.T, least])
    prices, residual = nnls(system, np.append(np.zeros(size), 1.0))
    short = 1.0 - float(least @ prices)
    if residual < 1e-9 or short <= 1e-12:
        if inner_point(rows, values, region) is None:
            return np.inf, None
        raise OracleError("a least squares problem says that there is no point, but there is one")
    step, prices = (matrix.T @ prices) / short, prices / short
    length = float(np.linalg.norm(step))
    square = 2.0 * float(least @ prices) - float(np.square(matrix.T @ prices).sum())  # dual of ‖d‖²
    if length**2 - square > SURE * max(1.0, length**2) or (least - matrix @ step > SURE).any():
        raise OracleError(f"squared optimum between {square!r} and {length**2!r}")
    return length, center + step
