"""The region of a proof, and the least value of a linear function on it.

("The least value of a linear function" of docs/reference/proof-format.md.) Each bound is a dual one: right for every
value of its parameter, so that the parameter may be chosen by rounded arithmetic.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from verifier.checker.arithmetic import Arithmetic, Numbers
from verifier.checker.lines import dyadic_above
from verifier.checker.statement import Statement

PARAMETER_STEPS = 20
NEARLY_NOTHING = 2.0**-50  # of what λ is where no entry runs into the box
LEAST_PARAMETER = 2.0**-200


class Region:
    """All inputs of the box within the radius of the sample, in the numbers of an arithmetic."""

    def __init__(self, arithmetic: Arithmetic, statement: Statement, radius: Fraction) -> None:
        self.arithmetic = arithmetic
        self.norm = statement.norm
        self.radius = arithmetic.outward([radius], up=True)
        self.sample = arithmetic.exactly(statement.sample)
        self.units = None if statement.scale is None else arithmetic.outward(statement.scale, up=True)
        units = statement.scale or (Fraction(1),) * len(statement.sample)
        box = list(zip(statement.lower, statement.sample, statement.upper, units, strict=True))
        self.lower = arithmetic.outward([max(low, at - radius * unit) for low, at, _, unit in box], up=False)
        self.upper = arithmetic.outward([min(high, at + radius * unit) for _, at, high, unit in box], up=True)
        self.down = arithmetic.outward([dyadic_above(min((at - low) / s, radius)) for low, at, _, s in box], up=True)
        self.up = arithmetic.outward([dyadic_above(min((high - at) / s, radius)) for _, at, high, s in box], up=True)

    def largest(self) -> Numbers:
        """How large each entry of the input can be."""
        return self.arithmetic.where(
            self.arithmetic.positive(self.upper + self.lower), abs(self.upper), abs(self.lower)
        )

    def least(self, rows: Numbers, constants: Numbers) -> NDArray[Any]:
        """What each function g · x + v is at least, on the whole region."""
        a = self.arithmetic
        rows = a.moderate(rows)
        at_sample = a.down(constants, a.total(rows * self.sample))
        sizes = abs(rows) if self.units is None else a.moderate(a.product_above(abs(rows), self.units))
        rooms = a.where(a.positive(rows), self.down, self.up)
        if self.norm == "linf":
            return a.compared(a.down(at_sample, a.total(-(sizes * rooms))))
        if self.norm == "l1":
            return a.compared(a.down(at_sample, self._l1(sizes, rooms)))
        return self._l2(at_sample, sizes, rooms)

    def _l1(self, sizes: Numbers, rooms: Numbers) -> Numbers:
        """-(τ R + Σ max(|g| - τ, 0) w), where τ is the size of the entry at which the radius is used up, or 0."""
        a = self.arithmetic
        order = a.order(sizes)
        row = np.arange(len(order))[:, None]
        beyond = a.positive(a.running(rooms[row, order]) - self.radius)
        last = order[row[:, 0], beyond.argmax(axis=1)]
        price = a.where(np.asarray(beyond.any(axis=1)), sizes[row[:, 0], last], a.zeros(len(order)))[:, None]
        above = sizes - price
        above = a.where(a.negative(above), a.zeros(1), above)  # what is no number stays none
        return a.down(a.total(-(price * self.radius)), a.total(-(above * rooms)))

    def _l2(self, at_sample: Numbers, sizes: Numbers, rooms: Numbers) -> NDArray[Any]:
        """v - ½ (λ R² + Σ q), as v + (-(λ R)² - Σ λ q) / 2λ."""
        a = self.arithmetic
        rough, powers = a.roughly(sizes)
        room, room_powers = a.roughly(rooms)
        radius, radius_power = a.roughly(self.radius[None])
        with np.errstate(all="ignore"):
            rooms_there = np.ldexp(room, room_powers[:, None].clip(-2000, 2000))
            chosen = parameter(rough, rooms_there, float(np.ldexp(radius[0, 0], radius_power.clip(-2000, 2000)[0])))
        price = a.columns(chosen, powers)
        full = price * rooms  # λ w: an entry whose coefficient is above that runs into the box
        costs = a.where(a.exceeds(sizes, full), full * (sizes + sizes - full), sizes * sizes)
        along = price * self.radius
        over = a.down(a.total(-costs), a.total(-(along * along)))
        return a.quotient(at_sample, over, (price + price)[:, 0])


def parameter(sizes: NDArray[np.float64], rooms: NDArray[np.float64], radius: float) -> NDArray[np.float64]:
    """λ for each row, nearly the best: Σ min(|g| / λ, w)² = R², from above, as entries run into the box.

    Where all do, the ball costs nothing, and λ should be as good as 0.
    """
    free = np.ones_like(sizes, dtype=bool)
    found = np.full(len(sizes), np.inf)
    least = NEARLY_NOTHING * np.sqrt((sizes**2).sum(axis=1)) / radius
    for _ in range(PARAMETER_STEPS):
        left = np.square(radius) - np.where(free, 0.0, rooms**2).sum(axis=1)
        new = np.maximum(np.sqrt(np.where(free, sizes**2, 0.0).sum(axis=1) / np.maximum(left, 0.0)), least)
        found = np.where(np.isfinite(new) & (new < found), new, found)
        meets = free & (sizes > found[:, None] * rooms)
        if not meets.any():
            break
        free &= ~meets
    otherwise = np.maximum(sizes.max(axis=1), LEAST_PARAMETER)  # a constant is the same everywhere
    return np.where(np.isfinite(found) & (found > 0), found, otherwise)
