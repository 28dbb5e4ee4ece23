"""What the rows of the ball and of the box say of a linear function of the input: the least value, as a combination.

It is the one of "The least value of a linear function" in docs/reference/proof-format.md, in L∞ and L1.
"""

from __future__ import annotations

from verifier.checker import Exact
from verifier.checker.exact import Dyadics
from verifier.proofs.vipr.certificate import ONE, Certificate, Combination, exactly
from verifier.proofs.vipr.problem import Problem

QUOTIENT_BITS = 60  # of what is divided by a unit


class Ball:
    """All inputs of the box within the radius; where r may be larger, on the assumption that it is not."""

    def __init__(self, certificate: Certificate, problem: Problem) -> None:
        assert problem.radius is not None
        self.certificate, self.problem, self.radius = certificate, problem, problem.radius
        statement = problem.statement
        exact = Exact().exactly(problem.units)
        self._units, self._unit_exponent = [int(m) for m in exact.ints], exact.exponent
        ends = zip(statement.lower, statement.sample, statement.upper, problem.units, strict=True)
        self._rooms = [((at - low) / unit, (high - at) / unit) for low, at, high, unit in ends]
        self._boxed = [tuple(room <= self.radius for room in both) for both in self._rooms]
        self.assumption: int | None = None
        self._r_high = problem.r_high
        if problem.b is not None:
            self.assumption = certificate.assume("b_low", "L", problem.b, 0)
            found = Combination([(problem.within, -1, 0)])
            mantissa, exponent = exactly(problem.reach - self.radius)
            found.add(self.assumption, -mantissa, exponent)
            self._r_high = certificate.follows("r_high", "L", {problem.r: ONE}, exactly(self.radius), found)
        if problem.t:
            found = Combination([(problem.moves, -1, 0), (self._r_high, -1, 0)])
            side = exactly(self.radius)
            self._moves = certificate.follows("moves", "L", dict.fromkeys(problem.t, ONE), side, found)
        self._t_high: dict[int, int] = {}

    def least(self, coefficients: Dyadics, found: Combination) -> None:
        """Add to a combination what leaves nothing of x, where it has these coefficients still to come."""
        numbers = [int(m) for m in coefficients.ints]
        if self.problem.t:
            self._l1(numbers, coefficients.exponent, found)
        else:
            self._by_entries(numbers, coefficients.exponent, found)

    def least_by_intervals(self, coefficients: Dyadics, found: Combination) -> None:
        """The same, each entry of the input by itself."""
        self._by_entries([int(m) for m in coefficients.ints], coefficients.exponent, found)

    def _by_entries(self, numbers: list[int], exponent: int, found: Combination) -> None:
        problem, of_r = self.problem, 0
        for i, m in enumerate(numbers):
            if not m:
                continue
            box, near = self._rows(i, m)
            if self._boxed[i][m < 0]:
                found.add(box, m, exponent)
                continue
            found.add(near, m, exponent)
            move = abs(m) * self._units[i]
            if problem.t:
                found.add(self._most(i), -move, exponent + self._unit_exponent)
            else:
                of_r += move
        found.add(self._r_high, -of_r, exponent + self._unit_exponent)

    def _l1(self, numbers: list[int], exponent: int, found: Combination) -> None:
        """A move costs the size of the entry at which the radius is used up; larger ones run into the box."""
        of_moves = exponent + self._unit_exponent
        sizes = [abs(m) * unit for m, unit in zip(numbers, self._units, strict=True)]
        price, left = 0, self.radius
        for i in sorted(range(len(sizes)), key=sizes.__getitem__, reverse=True):
            left -= self._rooms[i][numbers[i] < 0]
            if left <= 0:
                price = sizes[i]
                break
        for i, (m, size, unit) in enumerate(zip(numbers, sizes, self._units, strict=True)):
            box, near = self._rows(i, m)
            if size <= price:
                found.add(near, m, exponent)
                found.add(self.problem.t_low[i], price - size, of_moves)
                continue
            sign, whole = (1 if m > 0 else -1), price << QUOTIENT_BITS
            part = whole // unit
            found.add(near, sign * part, exponent - QUOTIENT_BITS)
            found.add(box, sign * ((abs(m) << QUOTIENT_BITS) - part), exponent - QUOTIENT_BITS)
            found.add(self.problem.t_low[i], whole - part * unit, of_moves - QUOTIENT_BITS)
        found.add(self._moves, -price, of_moves)

    def _rows(self, i: int, m: int) -> tuple[int, int]:
        """The rows that keep an entry from falling, or from rising: of the box, and of the distance."""
        problem = self.problem
        return (problem.x_low[i], problem.near_low[i]) if m >= 0 else (problem.x_high[i], problem.near_high[i])

    def _most(self, i: int) -> int:
        """t_i ≤ R in L1, as no other is below 0."""
        if i not in self._t_high:
            t_low = self.problem.t_low
            found = Combination([(self._moves, -1, 0)] + [(t_low[j], 1, 0) for j in range(len(t_low)) if j != i])
            self._t_high[i] = self.certificate.follows(
                f"t_{i}_high", "L", {self.problem.t[i]: ONE}, exactly(self.radius), found
            )
        return self._t_high[i]

    def beyond(self) -> tuple[int, int]:
        """r ≥ R where b is 1, and that assumption."""
        problem, c = self.problem, self.certificate
        assert problem.b is not None
        above = c.assume("b_high", "G", problem.b, 1)
        mantissa, exponent = exactly(self.radius)
        found = Combination([(problem.beyond, 1, 0), (above, mantissa, exponent)])
        return c.follows("r_low", "G", {problem.r: ONE}, exactly(self.radius), found), above
