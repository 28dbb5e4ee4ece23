"""The oracle of greatest values: every activation pattern of a tiny net, one convex program each.

Within a pattern the net is linear. A program's prices prove an upper side by weak duality, in closed form over
ball ∩ box; a lower side is what the net itself gives at points of the ball. Where the two are apart, the oracle says
that it does not know.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog, minimize

from encoders.layer_graph.graph import Graph
from encoders.question import Norm, Region
from tests.brute_force import OPTIONS, Array, OracleError, Piece, linear_pieces

KEPT = 1e-9  # by how much a program's point may break a constraint
SURE = 1e-7  # relative to the size of the scores: how far the two sides may be apart


@dataclass(frozen=True, eq=False)
class Greatest:
    """lower ≤ max over ball ∩ box of the greatest of rows · scores ≤ upper, and a point that attains `lower`."""

    lower: float
    upper: float
    point: Array


def greatest_value(
    graph: Graph,
    region: Region,
    norm: Norm,
    radius: float,
    rows: Array,
    scale: Array | None = None,
    constraints: tuple[Array, Array] | None = None,
) -> Greatest:
    """The greatest of rows [K, classes] · scores over ball ∩ box, and over what A x ≤ b allows, with moves in units.

    Both sides are -inf where nothing is allowed.
    """
    units = np.ones(region.center.size) if scale is None else scale
    matrix, bound = (np.zeros((0, region.center.size)), np.zeros(0)) if constraints is None else constraints
    middle, box = region.center, region
    region = Region(np.zeros_like(units), (region.lower - middle) / units, (region.upper - middle) / units)

    def evaluate(moves: Array) -> Array:
        inputs = middle + units * moves
        scores = graph.evaluate(inputs)
        scores[((inputs @ matrix.T - bound) > KEPT).any(axis=1)] = -np.inf
        return scores

    def best(points: list[Array]) -> tuple[float, Array]:
        return attained(evaluate, region, norm, radius, rows, points)

    cut = [_in_units(piece, middle, units, matrix, bound) for piece in linear_pieces(graph, box)]
    pieces = [(piece, row) for piece in cut for row in rows]
    found = [highest_in_piece(piece, row, region, norm, radius) for piece, row in pieces]
    proven = np.array([upper for upper, _ in found])
    if proven.max() == -np.inf:
        return Greatest(-np.inf, -np.inf, middle)
    lower, point = best([region.center, *(shown for _, shown in found if shown is not None)])
    sure = SURE * max(1.0, float(np.abs(graph.evaluate(middle + units * point)).max()))
    if norm is Norm.L2:
        for k in map(int, np.argsort(-proven)):
            if proven[k] > lower + sure:
                piece, row = pieces[k]
                upper, shown = in_euclidean_ball(piece, row, region, radius)
                proven[k] = min(proven[k], upper)
                lower, point = best([point, shown])
                if proven[k] > lower + sure:
                    lower, point = best([point, walked(piece, row, region, radius)])
    upper = float(proven.max())
    if not -sure <= upper - lower <= sure:
        raise OracleError(f"greatest value between {lower!r} and {upper!r}")
    return Greatest(lower, max(upper, lower), middle + units * point)


def _in_units(piece: Piece, middle: Array, units: Array, matrix: Array, bound: Array) -> Piece:
    """The piece where A x ≤ b, as a function of moves: x = middle + units · u."""
    rows, values = np.vstack([piece.rows, -matrix]), np.concatenate([piece.values, bound])
    weight, offset = piece.known[-1]
    return Piece(rows * units, values + rows @ middle, piece.inner, ((weight * units, offset + weight @ middle),))


def attained(
    evaluate: Callable[[Array], Array], region: Region, norm: Norm, radius: float, rows: Array, points: list[Array]
) -> tuple[float, Array]:
    """The greatest value at the points, each drawn into ball ∩ box first."""
    shifts = np.clip(np.stack(points), region.lower, region.upper) - region.center
    lengths = norm.length(shifts)
    shifts *= np.where(lengths > radius, radius / np.maximum(lengths, 1e-300), 1.0)[:, None]
    inputs = region.center + shifts
    scores = evaluate(inputs)
    allowed = np.asarray(np.isfinite(scores).all(axis=1))
    values = np.where(allowed, (np.where(allowed[:, None], scores, 0.0) @ rows.T).max(axis=1), -np.inf)
    pick = int(np.argmax(values))
    return float(values[pick]), inputs[pick]


def _walls(piece: Piece, region: Region) -> tuple[Array, Array]:
    """The sides of a piece as walls · d + room ≥ 0, d from the center, with a largest entry of one."""
    scale = np.maximum(np.abs(piece.rows).max(axis=1, initial=0.0), 1e-300)
    return piece.rows / scale[:, None], (piece.values + piece.rows @ region.center) / scale


def _line(piece: Piece, row: Array, region: Region) -> tuple[Array, float]:
    """The row in the piece, as slope · d + constant."""
    weight, offset = piece.known[-1]
    return row @ weight, float(row @ (weight @ region.center + offset))


def highest_in_piece(piece: Piece, row: Array, region: Region, norm: Norm, radius: float) -> tuple[float, Array | None]:
    """What is proven of one row in one piece, and where it may be attained; in L2 over the cube around the ball."""
    (slope, constant), (walls, room) = _line(piece, row, region), _walls(piece, region)
    size = len(slope)
    limits = np.minimum(np.concatenate([region.upper - region.center, region.center - region.lower]), radius)
    matrix = np.hstack([-walls, walls])  # d = p - q
    if norm is Norm.L1:
        matrix, room = np.vstack([matrix, np.ones((1, 2 * size))]), np.append(room, radius)
    costs = np.concatenate([-slope, slope])
    columns = np.stack([np.zeros(2 * size), limits], axis=1)
    answer = linprog(costs, matrix, room, bounds=columns, method="highs-ds", options=OPTIONS)
    if answer.status == 2:
        return -np.inf, None
    if answer.status != 0:
        raise OracleError(str(answer.message))
    prices = np.maximum(-answer.ineqlin.marginals, 0.0)
    gain = np.maximum(-costs - matrix.T @ prices, 0.0)
    shift = answer.x[:size] - answer.x[size:]
    return constant + float(prices @ room + gain @ limits), region.center + shift


def in_euclidean_ball(piece: Piece, row: Array, region: Region, radius: float) -> tuple[float, Array]:
    """The same in an L2 ball: any prices ≥ 0 prove  radius · ‖slope + wallsᵀ prices‖ + prices · room + constant."""
    (slope, constant), (walls, room) = _line(piece, row, region), _walls(piece, region)
    size = len(slope)
    walls = np.vstack([walls, -np.eye(size), np.eye(size)])
    room = np.concatenate([room, region.upper - region.center, region.center - region.lower])
    unit = max(float(np.abs(slope).max(initial=0.0)), 1e-300)

    def dual(prices: Array) -> tuple[float, Array]:
        pull = slope / unit + walls.T @ prices
        length = float(np.linalg.norm(pull))
        return radius * length + float(prices @ room), radius * (walls @ pull) / max(length, 1e-300) + room

    settings = {"maxiter": 300, "ftol": 1e-15, "gtol": 1e-11}
    limits = [(0.0, None)] * len(room)
    found = minimize(dual, np.zeros(len(room)), jac=True, method="L-BFGS-B", bounds=limits, options=settings)
    prices = np.maximum(found.x, 0.0)
    pull = slope / unit + walls.T @ prices
    shift = radius * pull / max(float(np.linalg.norm(pull)), 1e-300)
    return constant + unit * dual(prices)[0], region.center + shift


def walked(piece: Piece, row: Array, region: Region, radius: float) -> Array:
    """The highest point of one piece in an L2 ball by sequential quadratic programs, for what is degenerate."""
    (slope, _), (walls, room) = _line(piece, row, region), _walls(piece, region)
    unit = max(float(np.abs(slope).max(initial=0.0)), 1e-300)
    inside = [{"type": "ineq", "fun": lambda d: radius**2 - d @ d, "jac": lambda d: -2.0 * d}]
    if len(walls):
        inside.append({"type": "ineq", "fun": lambda d: walls @ d + room, "jac": lambda d: walls})
    limits = list(zip(region.lower - region.center, region.upper - region.center, strict=True))
    found = minimize(
        lambda d: -(slope @ d) / unit, np.zeros(len(slope)), jac=lambda d: -slope / unit, method="SLSQP",
        bounds=limits, constraints=inside, options={"maxiter": 100, "ftol": 1e-14},
    )  # fmt: skip
    return np.asarray(region.center + found.x)


def grid_points(
    center: NDArray[np.float32], free: NDArray[np.bool_], levels: int, norm: Norm, radius: float
) -> NDArray[np.float32]:
    """Every input k/levels of the ball, in [0, 1]; what is not free stays."""
    from itertools import product

    home = np.rint(center.astype(np.float64) * levels).astype(np.int64)
    sides: Iterator[range] = (range(levels + 1) if f else range(h, h + 1) for f, h in zip(free, home, strict=True))
    chosen = np.array(list(product(*sides)))
    lengths = norm.length((chosen - home) / levels)
    near = chosen[lengths <= radius * (1.0 + 1e-9) + 1e-12]
    inputs = (near.astype(np.float32) / np.float32(levels)).astype(np.float32)
    return np.where(near == home, center, inputs).astype(np.float32)
