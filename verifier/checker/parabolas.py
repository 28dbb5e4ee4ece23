"""Parabolas above ReLUs, for whose curvature inputs pay ("Parabolas" of docs/reference/proof-format.md).

The numbers that a proof gives are right whatever they are, and so is the matrix that is chosen here, as long as none of
its eigenvalues is above 1: that alone has to be shown, in whole numbers, from a factor in floating point.
"""

from __future__ import annotations

import numpy as np

from verifier.checker.arithmetic import Arithmetic, Numbers
from verifier.checker.backward_pass import Functions
from verifier.checker.eigenvalues import BITS, Whole, gram, no_negative_eigenvalue
from verifier.checker.errors import RefusedError
from verifier.checker.lines import Scaled
from verifier.checker.multipliers import Parabolas

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


def _matrix(arithmetic: Arithmetic, rows: Numbers, prices: Scaled) -> Whole:
    """Whole numbers near 2^26 times rows over prices, and 0 where a price is."""
    rough, powers = arithmetic.roughly(rows)
    mantissas, exponent = np.array(prices[0], dtype=np.float64), prices[1]
    near = np.ldexp(rough / np.maximum(mantissas, 1.0), (powers - exponent + BITS).clip(-2000, 2000)[:, None])
    near = np.where(mantissas > 0, np.rint(near), 0.0)
    if not (np.abs(near) < 2.0 ** (BITS + 1)).all():
        raise RefusedError("the prices of parabolas do not pay: one is too small for what it is to pay for")
    return near.astype(np.int64)


def no_eigenvalue_above_1(matrix: Whole, kind: type[np.generic]) -> bool:
    """Whether it can be shown that no eigenvalue of C Cᵀ is above 1, for a matrix of whole numbers 2^26 C."""
    squared = gram(matrix, kind)
    if squared is None:
        return False
    one = np.eye(len(matrix), dtype=np.int64) << 2 * BITS
    return no_negative_eigenvalue(2 * (one - squared), ROOM, kind)
