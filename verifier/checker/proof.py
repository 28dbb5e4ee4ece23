"""The rules by which each line of a proof is checked ("What is checked" of docs/reference/proof-format.md).

A `Checker` takes the lines one at a time and holds one node, whatever the size of the tree: the ranges there, what
undoes them, and which second subtrees are still to come. Who writes proofs asks the same node before writing a line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from verifier.checker.arithmetic import Arithmetic, Numbers
from verifier.checker.below import Functions, Intervals, Range, Relaxation, Setting, rule, unit_rows
from verifier.checker.errors import RefusedError
from verifier.checker.lines import a_list, dyadic, exponent, integer, integers, only
from verifier.checker.multipliers import KEYS, Multipliers, read_multipliers
from verifier.checker.network import Network
from verifier.checker.region import Region
from verifier.checker.statement import Goal, Statement

DEPTH = 10_000  # splits above a node
BATCH = 1 << 19  # coefficients that go through the network at once

Scaled = tuple[list[int], int]  # whole numbers, and the exponent of all


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
        return functions.back(Relaxation(self.ranges, self._slopes(multipliers)))

    def least_of_neurons(
        self, layer: int, neurons: Sequence[int], side: str, phi: Functions | None = None, weights: Numbers = None
    ) -> Any:
        """What h of some neurons (`lower`), or -h (`upper`), is at least: on the region, or where φ ≤ 0, by weights."""
        a, network = self.setting.arithmetic, self.setting.network
        rows = unit_rows(a, neurons, network.neurons(layer), 1 if side == "lower" else -1)
        functions = Functions(self.setting, len(neurons))
        functions.add(network.before(layer), rows)
        functions.back(Relaxation(self.ranges))
        if phi is not None:
            functions.add(0, *a.product(weights[:, None], phi.of_input))
            functions.add_constants((weights * phi.constants)[:, None])
        return functions.least()

    def least_from_value_to_value(self, layer: int, neurons: Sequence[int], side: str) -> Any:
        """The same by intervals that go through every value in turn: quick, and no closer than in one step."""
        lower, upper = self.setting.span(self.setting.network.before(layer), self.ranges)
        return self.setting.arithmetic.compared((lower if side == "lower" else -upper)[neurons])

    def least_by_intervals(self, layer: int, neurons: Sequence[int], side: str) -> Any:
        """The same on the region, by intervals."""
        network = self.setting.network
        rows = unit_rows(self.setting.arithmetic, neurons, network.neurons(layer), 1 if side == "lower" else -1)
        functions = Functions(self.setting, len(neurons))
        functions.add(network.before(layer), rows)
        return functions.back(Intervals(self.ranges)).least_by_intervals()

    def _scaled(self, mantissas: list[int], power: int) -> Numbers:
        return self.setting.arithmetic.scaled(mantissas, power)

    def _add_rows(self, functions: Functions, multipliers: Multipliers) -> None:
        """Σ θ_i (f_j - f_t + margin)."""
        a, network, goal, power = self.setting.arithmetic, self.setting.network, self.goal, multipliers.rows_exponent
        if goal is None or len(multipliers.rows) != len(goal.others):
            raise RefusedError("rows fit no goal that is asked about")
        thetas = self._scaled(multipliers.rows, power)
        functions.add(network.scores, a.spread(thetas, list(goal.others), network.classes)[None])
        against, lost = (
            None if one is None else a.spread(one, [goal.target], network.classes)[None]
            for one in a.near(-sum(multipliers.rows), power)
        )
        functions.add(network.scores, against, lost)
        functions.add_constants((thetas * self.margin)[None])

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

    def _slopes(self, multipliers: Multipliers) -> dict[int, Numbers]:
        """α of the layers for which some are given, by the rule for the others."""
        a, slopes = self.setting.arithmetic, {}
        for layer, (neurons, mantissas) in multipliers.slopes.items():
            given = np.zeros(self.setting.network.neurons(layer), dtype=bool)
            given[neurons] = True
            values = a.spread(self._scaled(mantissas, -multipliers.slope_bits), neurons, len(given))
            slopes[layer] = a.where(given, values, rule(a, self.ranges[layer].lower, self.ranges[layer].upper))
        return slopes

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


class Checker:
    """Takes the lines behind the statement, one at a time, and refuses the first that does not follow."""

    def __init__(self, statement: Statement, network: Network, arithmetic: Arithmetic) -> None:
        if len(statement.sample) != network.inputs:
            raise RefusedError(f"the sample has {len(statement.sample)} entries, the model {network.inputs} inputs")
        self.goals = statement.goals(network.classes)
        self.network, self.arithmetic = network, arithmetic
        self.claims = 0
        self._next_goal = 0
        self._in_tree = False
        self._second: list[tuple[int, int, int]] = []  # subtrees to come: where to go back to, layer and neuron
        self._claimed = statement.radius is not None
        if statement.radius is not None:
            setting = Setting(arithmetic, network, Region(arithmetic, statement, statement.radius))
            self.node = Node(setting, statement.margin)

    def take(self, line: dict[str, Any]) -> None:
        """Check one line."""
        if not self._claimed:
            raise RefusedError("lines follow, though no radius is claimed")
        kind = next((one for one in _RULES if one in line), "")
        if not kind:
            raise RefusedError(f"the line is none of {', '.join(_RULES)}")
        if (kind == "ranges") != (len(self.node.ranges) < len(self.network.relus)):
            raise RefusedError("the ranges of each layer come first, once and in order")
        if kind != "ranges" and (kind == "goal") == self._in_tree:
            raise RefusedError("a tree begins with its goal, and ends before the next")
        _RULES[kind](self, line)

    def finish(self) -> None:
        """Nothing is missing."""
        if self._claimed and (self._in_tree or self._next_goal < len(self.goals)):
            raise RefusedError("the file ends before the last node of the last goal")

    def _ranges(self, line: dict[str, Any]) -> None:
        only(line, ("ranges", "exponent", "lower", "upper"))
        layer = integer(line["ranges"], "ranges")
        if layer != len(self.node.ranges):
            raise RefusedError("the ranges of each layer come first, once and in order")
        size, power = self.network.neurons(layer), exponent(line["exponent"], "exponent")
        found = Range(*(self.arithmetic.scaled(integers(line[side], side, size), power) for side in ("lower", "upper")))
        for side, claims in (("lower", found.lower), ("upper", -found.upper)):
            for neurons in self._chunks(range(size)):
                self._check_ends(layer, neurons, side, self.arithmetic.compared(claims[neurons]))
        self.node.setting.bounded(found)
        self.node.ranges.append(found)

    def _chunks(self, neurons: Sequence[int]) -> Iterator[list[int]]:
        """A few hundred neurons at a time, so that a batch of their functions stays small."""
        step = max(1, BATCH // max(value.size for value in self.network.values))
        return (list(neurons[at : at + step]) for at in range(0, len(neurons), step))

    def _check_ends(self, layer: int, neurons: list[int], side: str, claims: Any) -> None:
        """One side of some ranges: what intervals do not show, a backward pass may."""
        ways: tuple[Callable[[int, list[int], str], Any], ...] = (
            self.node.least_from_value_to_value,
            self.node.least_of_neurons,
            self.node.least_by_intervals,
        )
        for least in ways:
            left = np.flatnonzero(~(least(layer, neurons, side) >= claims).astype(bool))
            neurons, claims = [neurons[at] for at in left], claims[left]
            if not neurons:
                return
        raise RefusedError(f"the {side} end of neuron {neurons[0]} of layer {layer} does not follow")

    def _goal(self, line: dict[str, Any]) -> None:
        only(line, ("goal",))
        target = integer(line["goal"], "goal")
        if self._next_goal == len(self.goals) or target != self.goals[self._next_goal].target:
            raise RefusedError(f"goal {str(target)[:20]} is not the next one")
        self.node.goal = self.goals[self._next_goal]
        self._next_goal += 1
        self._in_tree = True

    def _neuron(self, found: Any, what: str) -> tuple[int, int]:
        layer, neuron = integers(found, what, 2, least=0)
        if layer >= len(self.network.relus) or neuron >= self.network.neurons(layer):
            raise RefusedError(f"{what} names a neuron that the model has not")
        return layer, neuron

    def multipliers(self, line: dict[str, Any]) -> Multipliers:
        """What a `close` or a `cap` says."""
        assert self.node.goal is not None
        return read_multipliers(line, self.network, len(self.node.goal.others))

    def _cap(self, line: dict[str, Any]) -> None:
        only(line, ("cap", "exponent"), ("weights_exponent", *KEYS))
        power, of_weights = exponent(line["exponent"], "exponent"), 0
        if "weights_exponent" in line:
            of_weights = exponent(line["weights_exponent"], "weights_exponent")
        phi = self.node.function(self.multipliers(line))
        for entry in a_list(line["cap"], "cap"):
            layer, listed, side, values, weights = a_list(entry, "an entry of cap", 5)
            if side not in ("lower", "upper"):
                raise RefusedError("a side in cap is neither lower nor upper")
            layer = integer(layer, "a layer of cap", 0, len(self.network.relus) - 1)
            neurons = integers(listed, "cap", least=0)
            if max(neurons, default=0) >= self.network.neurons(layer):
                raise RefusedError(f"cap lists a neuron that layer {layer} has not")
            values = integers(values, "the values of cap", len(neurons))
            weights = integers(weights, "the weights of cap", len(neurons), least=0)
            self._check_cap(phi, layer, neurons, side, (values, power), (weights, of_weights))

    def _check_cap(
        self, phi: Functions, layer: int, neurons: list[int], side: str, values: Scaled, weights: Scaled
    ) -> None:
        """One entry: all its values follow from the ranges before it, and then stand."""
        sign = 1 if side == "lower" else -1
        claims = self.arithmetic.compared(self.arithmetic.scaled([sign * one for one in values[0]], values[1]))
        factors = self.arithmetic.scaled(*weights)
        for at in self._chunks(range(len(neurons))):
            some = [neurons[one] for one in at]
            least = self.node.least_of_neurons(layer, some, side, phi, factors[at])
            wrong = np.flatnonzero(~(least >= claims[at]).astype(bool))
            if len(wrong):
                raise RefusedError(f"the cap of neuron {some[wrong[0]]} of layer {layer} does not follow ({side})")
        for neuron, mantissa in zip(neurons, values[0], strict=True):
            self.node.tighten(layer, neuron, side, dyadic(mantissa, values[1]))

    def _empty(self, line: dict[str, Any]) -> None:
        only(line, ("empty",))
        layer, neuron = self._neuron(line["empty"], "empty")
        if not self.node.bound(layer, neuron, "lower") > self.node.bound(layer, neuron, "upper"):
            raise RefusedError(f"the range of neuron {neuron} of layer {layer} is not empty")
        self._closed()

    def _split(self, line: dict[str, Any]) -> None:
        only(line, ("split",))
        layer, neuron = self._neuron(line["split"], "split")
        if len(self._second) == DEPTH:
            raise RefusedError(f"the tree is deeper than {DEPTH} splits")
        self._second.append((self.node.mark, layer, neuron))
        self.node.tighten(layer, neuron, "lower", Fraction(0))

    def _close(self, line: dict[str, Any]) -> None:
        only(line, ("close",), KEYS)
        if line["close"] is not True:
            raise RefusedError("close is not true")
        least = self.node.least(self.multipliers(line))
        if not least > 0:
            raise RefusedError(f"the node is not closed: what must be above 0 is {told(least)}")
        self._closed()

    def _claim(self, line: dict[str, Any]) -> None:
        only(line, ("claim",))
        if not isinstance(line["claim"], str):
            raise RefusedError("claim is no name")
        self.claims += 1
        self._closed()

    def _closed(self) -> None:
        """On to the second subtree of the last split that has one to come, or to the end of the tree."""
        if not self._second:
            self.node.back_to(0)
            self._in_tree = False
            return
        mark, layer, neuron = self._second.pop()
        self.node.back_to(mark)
        self.node.tighten(layer, neuron, "upper", Fraction(0))


_RULES = {
    "ranges": Checker._ranges,
    "goal": Checker._goal,
    "cap": Checker._cap,
    "split": Checker._split,
    "close": Checker._close,
    "empty": Checker._empty,
    "claim": Checker._claim,
}


def told(number: Any) -> str:
    """A number for people."""
    try:
        return f"{float(number):.3g}"
    except OverflowError:
        return "huge"
