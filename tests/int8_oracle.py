"""Proofs of int8 nets, from the format's page alone: all points by enumeration, and what nodes of a proof know.

No code is shared with the product, and there are no floats: whole numbers and fractions.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from itertools import product
from typing import Any

Steps = tuple[int, ...]


def nearest(x: Fraction) -> int:
    """The nearest whole number, halves to even."""
    whole, rest = divmod(x.numerator, x.denominator)
    return whole + (2 * rest > x.denominator or (2 * rest == x.denominator and whole % 2 == 1))


def float32(x: Fraction) -> Fraction:
    """The nearest float32 number, halves to even."""
    size, under = abs(x.numerator), x.denominator
    e = size.bit_length() - under.bit_length()
    e -= size << max(-e, 0) < under << max(e, 0)  # 2^e ≤ |x| < 2^(e + 1), where x is not 0
    unit = max(e - 23, -149)
    whole = nearest(Fraction(x.numerator << max(-unit, 0), under << max(unit, 0)))
    return Fraction(whole << max(unit, 0), 1 << max(-unit, 0))


def clip(level: int) -> int:
    return min(max(level, 0), 255)


@dataclass(eq=False)
class OracleLayer:
    """Whole weights [outputs][inputs] and biases, factors, and the scale and zero of what comes out."""

    rows: list[list[int]]
    bias: list[int]
    factors: list[Fraction]
    step: Fraction
    zero: int
    zero_before: int

    def sums(self, levels: Sequence[int]) -> list[int]:
        moved = [level - self.zero_before for level in levels]
        return [
            sum(w * q for w, q in zip(row, moved, strict=True)) + b for row, b in zip(self.rows, self.bias, strict=True)
        ]

    def level(self, j: int, total: int) -> int:
        return clip(nearest(float32(total * self.factors[j])) + self.zero)

    @cached_property
    def reach(self) -> list[int]:
        return [sum(map(abs, row)) * 255 + abs(b) for row, b in zip(self.rows, self.bias, strict=True)]

    @cached_property
    def stairs(self) -> list[list[tuple[int, int, int]]]:
        """Of each neuron all levels with their first and last sums: levels rise, so that halving finds the ends."""
        found = []
        for j, reach in enumerate(self.reach):
            stairs, first = [], -reach
            while first <= reach:
                level, last, beyond = self.level(j, first), first, reach + 1
                while beyond - last > 1:
                    middle = (last + beyond) // 2
                    last, beyond = (middle, beyond) if self.level(j, middle) == level else (last, middle)
                stairs.append((level, first, last))
                first = last + 1
            found.append(stairs)
        return found


@dataclass(eq=False)
class OracleNet:
    step: Fraction
    zero: int
    layers: list[OracleLayer]

    def level(self, value: Fraction) -> int:
        return clip(nearest(float32(value / self.step)) + self.zero)

    def sums(self, levels: Sequence[int]) -> list[list[int]]:
        """The sums of all layers, and the last levels."""
        found = []
        for layer in self.layers:
            found.append(layer.sums(levels))
            levels = [layer.level(j, total) for j, total in enumerate(found[-1])]
        return [*found, list(levels)]

    @cached_property
    def meanings(self) -> list[Fraction]:
        last = self.layers[-1]
        return [float32((q - last.zero) * last.step) for q in range(256)]


@dataclass(eq=False)
class OracleQuestion:
    """A sample on the grid of n, in a box that is the same for all inputs that move; `against`, and a margin.

    With `rivals` it is about leads of these, which may be below 0, and else about wins of any class.
    """

    net: OracleNet
    sample: list[Fraction]
    lower: list[Fraction]
    upper: list[Fraction]
    n: int
    norm: str
    against: int
    margin: Fraction
    rivals: list[int] | None = None

    def cost(self, t: int) -> int:
        return {"linf": abs(t), "l1": abs(t), "l2": t * t, "l0": int(t != 0)}[self.norm]

    def measure(self, steps: Steps) -> int:
        costs = [self.cost(t) for t in steps]
        return max(costs) if self.norm == "linf" else sum(costs)

    def value(self, i: int, t: int) -> Fraction:
        home = nearest(self.n * self.sample[i])
        return self.sample[i] if t == 0 else float32(Fraction(home + t, self.n))

    def steps(self, i: int) -> list[int]:
        low, high = self.lower[i], self.upper[i]
        far = range(-self.n - 1, self.n + 2)
        return [t for t in far if t == 0 or (low < high and low <= self.value(i, t) <= high)]

    @cached_property
    def goals(self) -> list[int]:
        others = [t for t in range(len(self.net.layers[-1].rows)) if t != self.against]
        return others if self.rivals is None else self.rivals

    def reached(self, ahead: Fraction) -> bool:
        """Whether it is enough to be ahead by that much."""
        return ahead >= self.margin and (ahead > 0 or self.rivals is not None)

    def points(self) -> Iterator[tuple[int, Steps, list[list[int]], list[int]]]:
        """Each point's measure, steps and sums, and the goals that it reaches."""
        ways = [[(t, self.net.level(self.value(i, t))) for t in self.steps(i)] for i in range(len(self.sample))]
        for point in product(*ways):
            steps = tuple(t for t, _ in point)
            sums = self.net.sums([level for _, level in point])
            scores = [self.net.meanings[q] for q in sums[-1]]
            ahead = [scores[t] - scores[self.against] for t in self.goals]
            reached = [t for t, by in zip(self.goals, ahead, strict=True) if self.reached(by)]
            yield self.measure(steps), steps, sums[:-1], reached


@dataclass(eq=False)
class OracleNode:
    """What a node of the proof of `below` knows."""

    question: OracleQuestion
    below: int
    down: list[int] = field(init=False)
    up: list[int] = field(init=False)
    empty: bool = False

    def __post_init__(self) -> None:
        self.net, self.budget = self.question.net, self.below - 1
        near = [
            [t for t in self.question.steps(i) if self.question.cost(t) <= self.budget]
            for i in range(len(self.question.sample))
        ]
        self.down, self.up = [steps[0] for steps in near], [steps[-1] for steps in near]
        self.moved = [
            {t: self.net.level(self.question.value(i, t)) - self.net.zero for t in steps}
            for i, steps in enumerate(near)
        ]
        self.low = [[-reach for reach in layer.reach] for layer in self.net.layers]
        self.high = [[*layer.reach] for layer in self.net.layers]
        self.slopes = [([0] * len(layer.rows), [0] * len(layer.rows)) for layer in self.net.layers]
        self.bits = [0] * len(self.net.layers)
        values, leads, b = self.net.meanings, [], 0
        for a, value in enumerate(values):  # they rise, so that b, the first that does not lose to a, does
            while b < len(values) and self.question.reached(value - values[b]):
                b += 1
            leads += [a - b + 1] * (b > 0)
        self.lead = min(leads, default=None)

    def copy(self) -> OracleNode:
        found = copy.copy(self)
        for name in ("down", "up", "low", "high", "slopes", "bits"):
            setattr(found, name, copy.deepcopy(getattr(self, name)))
        return found

    def holds(self, steps: Steps, sums: list[list[int]]) -> bool:
        """Whether a point is still inside."""
        ranges = zip(sums, self.low, self.high, strict=True)
        return all(d <= t <= u for d, t, u in zip(self.down, steps, self.up, strict=True)) and all(
            low <= total <= high for one in ranges for total, low, high in zip(*one, strict=True)
        )

    def in_sums(self, k: int, coefficients: list[int], constant: int) -> tuple[list[int], int]:
        """A function of the levels of layer k by lines of its sums, in units of a further 2^-bits."""
        found, constant = [], constant << self.bits[k]
        for j, a in enumerate(coefficients):
            slope = self.slopes[k][a >= 0][j]
            low, high = self.low[k][j], self.high[k][j]
            stairs = [
                (q, max(f, low), min(e, high)) for q, f, e in self.net.layers[k].stairs[j] if f <= high and e >= low
            ]
            if a >= 0:
                constant += a * max((q << self.bits[k]) - slope * first for q, first, _ in stairs)
            else:
                constant += a * min((q << self.bits[k]) - slope * last for q, _, last in stairs)
            found.append(a * slope)
        return found, constant

    def at_inputs(self, k: int, function: list[int], constant: int, signs: Any = ()) -> tuple[list[int], int, int]:
        """The pass from sums of layer k to the input's levels less their zero, and the bits of its unit."""
        bits = 0
        while True:
            for layer, neurons, numbers in signs:
                for j, sign in zip(neurons, numbers, strict=True) if layer == k else ():
                    function[j] += sign
                    constant -= sign * (self.low if sign > 0 else self.high)[k][j]
            here = self.net.layers[k]
            before = [
                sum(a * row[i] for a, row in zip(function, here.rows, strict=True)) for i in range(len(here.rows[0]))
            ]
            constant += sum(a * b for a, b in zip(function, here.bias, strict=True))
            if k == 0:
                return before, constant, bits
            k -= 1
            bits += self.bits[k]
            function, constant = self.in_sums(k, before, constant - sum(before) * here.zero_before)

    def gain(self, i: int, weight: int, t: int, price: int) -> int:
        return weight * self.moved[i][t] - (0 if self.question.norm == "linf" else price * self.question.cost(t))

    def most(self, function: list[int], constant: int, price: int) -> tuple[int, list[int]]:
        best = [
            max(self.gain(i, weight, t, price) for t in range(self.down[i], self.up[i] + 1))
            for i, weight in enumerate(function)
        ]
        return constant + sum(best) + (0 if self.question.norm == "linf" else price * self.budget), best

    def bound(self, line: dict[str, Any]) -> None:
        """A `lines` line."""
        k, size = line["lines"], len(self.net.layers[line["lines"]].rows)
        ends = []
        for j, price in enumerate(line.get("prices", [0] * 2 * size)):
            unit = [0] * size
            unit[j % size] = 1 if j < size else -1
            function, constant, bits = self.at_inputs(k, unit, 0)
            ends.append(self.most(function, constant, price)[0] >> bits)
        self.high[k] = [min(pair) for pair in zip(self.high[k], ends[:size], strict=True)]
        self.low[k] = [max(low, -end) for low, end in zip(self.low[k], ends[size:], strict=True)]
        self.bits[k], self.slopes[k] = line["bits"], (line["below"], line["above"])
        self.empty |= any(low > high for low, high in zip(self.low[k], self.high[k], strict=True))

    def narrow(self, goal: int, line: dict[str, Any]) -> None:
        """A `narrow` line of a goal with one rival."""
        assert self.lead is not None
        k, (weight,), price = len(self.net.layers) - 1, line["narrow"], line.get("price", 0)
        levels = [weight * ((j == goal) - (j == self.question.against)) for j in range(len(self.net.layers[-1].rows))]
        function, constant, _ = self.at_inputs(k, *self.in_sums(k, levels, -weight * self.lead), line.get("signs", ()))
        total, best = self.most(function, constant, price)
        self.empty |= total < 0
        for i, one in enumerate(function if total >= 0 else ()):
            steps = range(self.down[i], self.up[i] + 1)
            kept = [t for t in steps if total - best[i] + self.gain(i, one, t, price) >= 0]
            self.down[i], self.up[i] = kept[0], kept[-1]

    def split(self, place: list[int], at: int) -> tuple[OracleNode, OracleNode]:
        first, second = self.copy(), self.copy()
        low, high = (first.down, second.up) if len(place) == 1 else (first.low[place[0]], second.high[place[0]])
        low[place[-1]], high[place[-1]] = max(low[place[-1]], at), min(high[place[-1]], at - 1)
        for node in (first, second):
            ends = (node.down, node.up) if len(place) == 1 else (node.low[place[0]], node.high[place[0]])
            node.empty |= ends[0][place[-1]] > ends[1][place[-1]]
        return first, second
