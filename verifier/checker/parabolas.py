"""Parabolas above ReLUs, for whose curvature inputs pay ("Parabolas" of docs/reference/proof-format.md).

The numbers that a proof gives are right whatever they are, and so is the matrix that is chosen here, as long as none of
its eigenvalues is above 1: that alone has to be shown, in whole numbers, from a factor in floating point.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from verifier.checker.arithmetic import Arithmetic, Numbers
from verifier.checker.backward_pass import Functions
from verifier.checker.errors import RefusedError
from verifier.checker.lines import Scaled
from verifier.checker.multipliers import Parabolas

BITS = 26  # of entries of the matrix and of its factor: sums of products of their rows stay within float64's 53
HALF = BITS // 2
ROOM = 2.0**-16  # below 1, for the factor's rounding


def add_parabolas(functions: Functions, given: Parabolas, below: Functions) -> None:
    """Add F to one function; `below` are linear functions of the input, nowhere above -r h of the neurons listed."""
    a, region, network = functions.arithmetic, functions.setting.region, functions.setting.network
    weights, spreads, prices, offsets = (
        a.scaled(*one) for one in (given.weights, given.spreads, given.prices, given.point)
    )
    point, _ = a.sum(region.sample, offsets)  # any will do: it may be rounded, and moved into the box
    for end, beyond in ((region.lower, region.lower - point), (region.upper, point - region.upper)):
        point = a.where(a.positive(beyond), end, point)
    matrix = _matrix(a, -below.of_input, given.prices)
    if not no_eigenvalue_above_1(matrix, a.whole):
        raise RefusedError("the prices of parabolas do not pay: no eigenvalue of C Cᵀ may be above 1")
    rows = a.constants(np.ldexp(matrix.astype(np.float64), -BITS)) * prices
    below.add_around(point, rows)
    tau = -a.down(-spreads, a.numbers(below.least()))
    of_neurons = a.spread(weights * spreads * a.scaled([4], 0), given.neurons, network.neurons(given.layer))
    functions.add(network.relus[given.layer], of_neurons[None])
    functions.add_constants(-(tau * tau)[None])
    functions.add_around(point, *a.back(a.mapped(rows), -(tau + tau)[None]))
    # (d + down)(d - up) for d = x - point, with room that is rounded up: the box may be larger, too
    paid = (prices * prices)[None]
    down, up = -a.down(region.lower, -point), -a.down(-region.upper, point)
    for room in (down, -up):
        functions.add_around(point, *a.product(paid, room[None]))
    functions.add_constants(-a.product_above(a.product_above(paid, down[None]), up[None]))


def _matrix(arithmetic: Arithmetic, rows: Numbers, prices: Scaled) -> NDArray[np.int64]:
    """Whole numbers near 2^26 times rows over prices, and 0 where a price is."""
    rough, powers = arithmetic.roughly(rows)
    mantissas, exponent = np.array(prices[0], dtype=np.float64), prices[1]
    near = np.ldexp(rough / np.maximum(mantissas, 1.0), (powers - exponent + BITS).clip(-2000, 2000)[:, None])
    near = np.where(mantissas > 0, np.rint(near), 0.0)
    if not (np.abs(near) < 2.0 ** (BITS + 1)).all():
        raise RefusedError("the prices of parabolas do not pay: one is too small for what it is to pay for")
    return near.astype(np.int64)


def no_eigenvalue_above_1(matrix: NDArray[np.int64], kind: type[np.generic]) -> bool:
    """Whether it can be shown that no eigenvalue of C Cᵀ is above 1, for a matrix of whole numbers 2^26 C.

    Matrices are multiplied as numbers of this kind, which loses nothing. The factor is not believed: what it misses is
    a matrix of whole numbers whose diagonal must outweigh the rest of each row.
    """
    gram = _gram(matrix, kind)
    one = np.eye(len(matrix))
    if gram is None:
        return False
    try:
        factor = np.linalg.cholesky((1.0 - ROOM) * one - np.ldexp(gram.astype(np.float64), -2 * BITS))
    except np.linalg.LinAlgError:
        return False
    squared = _gram(np.rint(np.ldexp(factor, BITS)).astype(np.int64), kind)
    if squared is None:
        return False
    missed = ((one.astype(np.int64) << 2 * BITS) - gram - squared).astype(object)
    return bool((2 * missed.diagonal() >= np.abs(missed).sum(axis=1)).all())


def _gram(matrix: NDArray[np.int64], kind: type[np.generic]) -> NDArray[Any] | None:
    """All products of two rows, exactly; None where a row is so long that float64 might not hold them."""
    sizes = (np.abs(matrix) >> HALF) + 1  # in units whose squares, summed, 64 bits hold
    if not ((sizes > 0) & (sizes < 1 << HALF + 2)).all() or ((sizes * sizes).sum(axis=1) > 2 << BITS).any():
        return None
    rows = matrix.astype(kind)
    return (rows @ rows.T).astype(np.int64)
