"""The oracle: every activation pattern of a tiny net, one linear program each. Shares nothing but the graph record.

Within one pattern the net is linear, so the nearest adversary there is a linear program; the least over all patterns
is the distance. Patterns are grown neuron by neuron, and a prefix whose polytope is empty is cut. Every optimum is
bracketed by weak duality; where the bracket is wide the oracle says that it does not know rather than guess.
"""

from __future__ import annotations

from dataclasses import dataclass

import highspy
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog

from encoders.layer_graph.graph import Affine, Graph, Input
from encoders.question import Goal, Norm, Region

Array = NDArray[np.float64]
OPTIONS = {"presolve": False, "primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10}
SURE_EUCLIDEAN = 1e-7
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
    """The nearest x with rows · x + values ≥ 0 in the box, by a program whose optimum is bracketed."""
    scaled = _scaled(rows, values)
    if scaled is None:
        return np.inf, None
    rows, values = scaled
    size = region.center.size
    room = values + rows @ region.center
    high, low = region.upper - region.center, region.center - region.lower
    if norm is Norm.L2:
        return nearest_euclidean(rows, room, high, low, region)
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


def nearest_euclidean(rows: Array, room: Array, high: Array, low: Array, region: Region) -> tuple[float, Array | None]:
    """The L2-nearest x by HiGHS's quadratic solver, bracketed: any prices λ ≥ 0 prove λ·b - ‖λᵀA‖²/2 ≤ ‖d‖²/2."""
    if inner_point(rows, room - rows @ region.center, region) is None:
        return np.inf, None
    size = region.center.size
    sides = np.vstack([rows, -np.eye(size), np.eye(size)])  # sides · d ≥ least
    least = np.concatenate([-room, -high, -low])
    solver = highspy.Highs()  # type: ignore[no-untyped-call]
    solver.setOptionValue("output_flag", False)
    model = highspy.HighsModel()
    model.lp_.num_col_, model.lp_.num_row_ = size, len(sides)
    model.lp_.col_cost_, model.lp_.row_lower_ = np.zeros(size), least
    model.lp_.col_lower_, model.lp_.col_upper_ = -low, high
    model.lp_.row_upper_ = np.full(len(sides), np.inf)
    model.lp_.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
    model.lp_.a_matrix_.start_ = np.arange(len(sides) + 1) * size
    model.lp_.a_matrix_.index_ = np.tile(np.arange(size), len(sides))
    model.lp_.a_matrix_.value_ = sides.reshape(-1)
    model.hessian_.dim_ = size
    model.hessian_.start_, model.hessian_.index_ = np.arange(size + 1), np.arange(size)
    model.hessian_.value_ = np.ones(size)
    solver.passModel(model)
    solver.run()
    solution = solver.getSolution()
    d, prices = np.array(solution.col_value), np.maximum(np.array(solution.row_dual), 0.0)
    on_box = np.array(solution.col_dual)  # a side of the column box is a row of ours
    prices[len(rows) : len(rows) + size] += np.maximum(-on_box, 0.0)
    prices[len(rows) + size :] += np.maximum(on_box, 0.0)
    pull = prices @ sides
    proven = float(np.sqrt(max(0.0, 2.0 * (prices @ least) - pull @ pull)))
    length = float(np.linalg.norm(d))
    if length - proven > SURE_EUCLIDEAN * max(1.0, length) or (least - sides @ d > SURE_EUCLIDEAN).any():
        raise OracleError(f"optimum between {proven!r} and {length!r}")
    return length, region.center + d
