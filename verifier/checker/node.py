"""One node of a goal's tree: the ranges that hold there, and what its functions are at least ("Nodes" of the page).

Who writes proofs asks the same node before writing a line.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from verifier.checker.arithmetic import Numbers
from verifier.checker.backward_pass import Functions, Intervals, Lines, Range, Relaxation, Setting, rule, unit_rows
from verifier.checker.errors import RefusedError
from verifier.checker.multipliers import Multipliers, Parabolas
from verifier.checker.parabolas import add_parabolas
from verifier.checker.products import add_products
from verifier.checker.statement import Goal


class Node:
    """A node of a goal's tree: the ranges that hold there, and what its function is at least."""

    def __init__(self, setting: Setting, margin: Fraction) -> None:
        self.setting = setting
        self.margin = setting.arithmetic.outward([margin], up=False)
        self.ranges: list[Range] = []
        self.goal: Goal | None = None
        self._trail: list[tuple[int, int, str, Fraction]] = []

    def least(self, multipliers: Multipliers) -> Any:
        """A number that S is nowhere below in this node; above 0, it closes it."""
        return self.function(multipliers).least()[0]

    def function(self, multipliers: Multipliers) -> Functions:
        """The linear function of the input in which the backward pass of S ends."""
        functions = Functions(self.setting, 1)
        self._add_rows(functions, multipliers)
        for layer, (neurons, mantissas) in multipliers.signs.items():
            self._add_signs(functions, layer, neurons, self._scaled(mantissas, multipliers.signs_exponent))
        if multipliers.parabolas is not None:
            self._add_parabolas(functions, multipliers.parabolas)
        if multipliers.products is not None:
            add_products(functions, multipliers.products, self.ranges)
        return functions.back(Relaxation(self.ranges, self._slopes(multipliers), self._lines(multipliers)))

    def least_of_neurons(
        self, layer: int, neurons: Sequence[int], side: str, phi: Functions | None = None, weights: Numbers = None
    ) -> Any:
        """What h of some neurons (`lower`), or -h (`upper`), is at least: on the region, or where φ ≤ 0, by weights."""
        functions = self._of_neurons(layer, neurons, side).back(Relaxation(self.ranges))
        if phi is not None:
            functions.add(0, *self.setting.arithmetic.product(weights[:, None], phi.of_input))
            functions.add_constants((weights * phi.constants)[:, None])
        return functions.least()

    def least_from_value_to_value(self, layer: int, neurons: Sequence[int], side: str) -> Any:
        """The same by intervals that go through every value in turn: quick, and no closer than in one step."""
        lower, upper = self.setting.span(self.setting.network.before(layer), self.ranges)
        return self.setting.arithmetic.compared((lower if side == "lower" else -upper)[neurons])

    def least_by_intervals(self, layer: int, neurons: Sequence[int], side: str) -> Any:
        """The same on the region, by intervals."""
        return self._of_neurons(layer, neurons, side).back(Intervals(self.ranges)).least_by_intervals()

    def _of_neurons(self, layer: int, neurons: Sequence[int], side: str, weights: Numbers = None) -> Functions:
        """h of some neurons (`lower`), or -h (`upper`); each times its weight, where there are some."""
        network = self.setting.network
        rows = unit_rows(self.setting.arithmetic, neurons, network.neurons(layer), 1 if side == "lower" else -1)
        functions = Functions(self.setting, len(neurons))
        functions.add(network.before(layer), rows if weights is None else rows * weights[:, None])
        return functions

    def _scaled(self, mantissas: list[int], power: int) -> Numbers:
        return self.setting.arithmetic.scaled(mantissas, power)

    def _add_rows(self, functions: Functions, multipliers: Multipliers) -> None:
        """Σ θ_i (f_j - f_t + margin), and Σ θ_k (a_k · x - b_k) of the constraints."""
        a, network, goal, power = self.setting.arithmetic, self.setting.network, self.goal, multipliers.rows_exponent
        if goal is None or len(multipliers.rows) != len(goal.others) + network.constraint_count:
            raise RefusedError("rows fit no goal that is asked about")
        of_classes = multipliers.rows[: len(goal.others)]
        thetas = self._scaled(multipliers.rows, power)
        leads = thetas[: len(of_classes)]
        functions.add(network.scores, a.spread(leads, list(goal.others), network.classes)[None])
        against, lost = (
            None if one is None else a.spread(one, [goal.target], network.classes)[None]
            for one in a.near(-sum(of_classes), power)
        )
        functions.add(network.scores, against, lost)
        functions.add_constants((leads * self.margin)[None])
        if network.constraints is not None:
            functions.add(network.constraints, thetas[len(of_classes) :][None])

    def _add_signs(self, functions: Functions, layer: int, neurons: list[int], betas: Numbers) -> None:
        """-β (h - l) where β > 0, and β (u - h) where β < 0."""
        a, found = self.setting.arithmetic, self.ranges[layer]
        ends = a.where(a.positive(betas), found.lower[neurons], found.upper[neurons])
        functions.add_constants((betas * ends)[None])
        self._add_neurons(functions, layer, neurons, -betas)

    def _add_neurons(self, functions: Functions, layer: int, neurons: list[int], numbers: Numbers) -> None:
        network = self.setting.network
        rows = self.setting.arithmetic.spread(numbers, neurons, network.neurons(layer))[None]
        functions.add(network.before(layer), rows)

    def _add_parabolas(self, functions: Functions, given: Parabolas) -> None:
        """F of the page's "Parabolas"."""
        below = self._of_neurons(given.layer, given.neurons, "upper", self._scaled(*given.weights))
        add_parabolas(functions, given, below.back(Relaxation(self.ranges)))

    def _slopes(self, multipliers: Multipliers) -> dict[int, Numbers]:
        """α of the layers for which some are given, by the rule for the others."""
        a, slopes = self.setting.arithmetic, {}
        for layer, (neurons, mantissas) in multipliers.slopes.items():
            given = np.zeros(self.setting.network.neurons(layer), dtype=bool)
            given[neurons] = True
            values = a.spread(self._scaled(mantissas, -multipliers.slope_bits), neurons, len(given))
            slopes[layer] = a.where(given, values, rule(a, self.ranges[layer].lower, self.ranges[layer].upper))
        return slopes

    def _lines(self, multipliers: Multipliers) -> dict[int, Lines]:
        """The upper lines of the neurons that have shares and are open here; the page's "Upper lines by shares".

        All is of -z, of which they are lower lines. Any coefficients will do, so that they may be rounded; their
        constants are least values of what they are then.
        """
        a, lines = self.setting.arithmetic, {}
        bins = np.array(multipliers.bins)
        for layer, (listed, shares) in multipliers.shares.items():
            is_open = a.negative(self.ranges[layer].lower) & a.positive(self.ranges[layer].upper)
            kept = [at for at, neuron in enumerate(listed) if is_open[neuron]]
            neurons = [listed[at] for at in kept]
            if not neurons:
                continue
            numbers, last = (
                a.scaled([one for at in kept for one in shares[at]], -multipliers.share_bits),
                len(shares[0]) - 1,
            )
            least = self._of_neurons(layer, neurons, "upper").back(Relaxation(self.ranges))
            first = np.arange(len(neurons))[:, None] * (last + 1)
            rising = a.negative(least.of_input)  # the inputs that raise h
            rows = numbers[first + np.where(rising, bins, last - bins)] * least.of_input
            nothing = Functions(self.setting, len(neurons))
            for functions in (least, nothing):
                functions.add(0, -rows)
            constants = a.numbers(np.minimum(least.least(), nothing.least()))
            lines[layer] = Lines(neurons, a.mapped(rows), constants)
        return lines

    def tighten(self, layer: int, neuron: int, side: str, value: Fraction) -> None:
        """Replace one side of a range, where the value is better."""
        before = self.bound(layer, neuron, side)
        if value > before if side == "lower" else value < before:
            self._trail.append((layer, neuron, side, before))
            self._put(layer, neuron, side, value)

    def bound(self, layer: int, neuron: int, side: str) -> Fraction:
        """One side of a neuron's range."""
        return self.setting.arithmetic.fraction(getattr(self.ranges[layer], side)[neuron])

    @property
    def mark(self) -> int:
        """Where this node stands, for `back_to`."""
        return len(self._trail)

    def back_to(self, mark: int) -> None:
        """Undo what was tightened since."""
        while len(self._trail) > mark:
            self._put(*self._trail.pop())

    def _put(self, layer: int, neuron: int, side: str, value: Fraction) -> None:
        numbers = getattr(self.ranges[layer], side)
        setattr(self.ranges[layer], side, self.setting.arithmetic.replaced(numbers, neuron, value))
