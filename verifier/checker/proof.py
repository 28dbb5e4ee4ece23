"""The rules by which each line of a proof is checked ("What is checked" of docs/reference/proof-format.md).

A `Checker` takes the lines one at a time and holds one node, whatever the size of the tree: the ranges there, what
undoes them, and which second subtrees are still to come. Who writes proofs asks the same node before writing a line.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from verifier.checker.arithmetic import Arithmetic, Numbers
from verifier.checker.below import Functions, Intervals, Range, Relaxation, Setting, chunks, rule, unit_rows
from verifier.checker.errors import RefusedError
from verifier.checker.lines import a_list, exponent, integer, integers, only
from verifier.checker.multipliers import KEYS, Multipliers, read_multipliers
from verifier.checker.network import Network
from verifier.checker.region import Region
from verifier.checker.statement import Goal, Statement

DEPTH = 10_000  # splits above a node


@dataclass(frozen=True)
class CapEntry:
    """Neurons of one layer, and what one end of their ranges is said to be on a cap."""

    layer: int
    neurons: list[int]
    side: str
    values: Numbers
    weights: Numbers


class Node:
    """A node of a goal's tree: the ranges that hold there, and what its function is at least."""

    def __init__(self, setting: Setting, margin: Fraction) -> None:
        self.setting = setting
        self.margin = setting.arithmetic.outward([margin], up=False)
        self.ranges: list[Range] = []
        self.goal: Goal | None = None
        self._trail: list[tuple[int, int, str, Fraction]] = []

    def least(self, multipliers: Multipliers) -> Any:
        """A number that S is nowhere below in this node; to be compared with 0."""
        functions, relaxation = self._function(multipliers)
        return functions.least(relaxation)[0]

    def cap(self, multipliers: Multipliers) -> Functions:
        """The linear function φ of the input that the pass of S ends in: at most 0 wherever an adversary can be."""
        functions, relaxation = self._function(multipliers)
        functions.to_input(relaxation)
        return functions

    def least_on(self, cap: Functions, entry: CapEntry) -> NDArray[Any]:
        """What h of each neuron, or -h where upper ends are asked, is at least on a cap."""
        a, network = self.setting.arithmetic, self.setting.network
        at = np.zeros((len(entry.neurons), network.neurons(entry.layer)), dtype=bool)
        at[np.arange(len(at)), entry.neurons] = True
        functions = Functions(self.setting, len(at))
        sign = self._scaled([1 if entry.side == "lower" else -1], 0)
        functions.add(network.before(entry.layer), a.where(at, sign, a.zeros(1)))
        relaxation = Relaxation(self.ranges)
        functions.to_input(relaxation)
        functions.add_times(entry.weights, cap)
        return functions.least(relaxation)

    def _function(self, multipliers: Multipliers) -> tuple[Functions, Relaxation]:
        """S, and what its ReLUs are replaced by."""
        functions = Functions(self.setting, 1)
        self._add_rows(functions, multipliers)
        for layer, (neurons, mantissas) in multipliers.signs.items():
            self._add_signs(functions, layer, neurons, self._scaled(mantissas, multipliers.signs_exponent))
        return functions, Relaxation(self.ranges, self._slopes(multipliers))

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
        setting = self.node.setting
        for neurons in chunks(size, max(value.size for value in self.network.values)):
            claims = [
                self.arithmetic.compared(end[neurons.start : neurons.stop]) for end in (found.lower, -found.upper)
            ]
            self._check_ranges(layer, neurons, np.concatenate(claims))
        setting.bounded(found)
        self.node.ranges.append(found)

    def _check_ranges(self, layer: int, neurons: range, claims: Any) -> None:
        """Each end by intervals, and where they don't show it by a backward pass."""
        rows = unit_rows(self.arithmetic, neurons, self.network.neurons(layer))
        for relaxation in (Intervals(self.node.ranges), Relaxation(self.node.ranges)):
            functions = Functions(self.node.setting, len(rows))
            functions.add(self.network.before(layer), rows)
            open_ones = ~(functions.least(relaxation) >= claims).astype(bool)
            if not open_ones.any():
                return
            if isinstance(relaxation, Intervals):
                rows, claims, which = rows[open_ones], claims[open_ones], np.flatnonzero(open_ones)
        first = int(which[np.flatnonzero(open_ones)[0]])
        side = "lower" if first < len(neurons) else "upper"
        raise RefusedError(f"the {side} end of neuron {neurons[first % len(neurons)]} of layer {layer} does not follow")

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
        """What a line says."""
        assert self.node.goal is not None
        return read_multipliers(line, self.network, len(self.node.goal.others))

    def _cap(self, line: dict[str, Any]) -> None:
        only(line, ("cap", "exponent", "weights_exponent"), KEYS)
        powers = [exponent(line[key], key) for key in ("exponent", "weights_exponent")]
        cap = self.node.cap(self.multipliers(line))
        for one in a_list(line["cap"], "cap"):
            entry = self._entry(one, *powers)
            claims = self.arithmetic.compared(entry.values if entry.side == "lower" else -entry.values)
            short = ~(self.node.least_on(cap, entry) >= claims).astype(bool)
            if short.any():
                neuron = entry.neurons[int(np.flatnonzero(short)[0])]
                raise RefusedError(f"the {entry.side} end of neuron {neuron} of layer {entry.layer} does not follow")
            for neuron, value in zip(entry.neurons, entry.values, strict=True):
                self.node.tighten(entry.layer, neuron, entry.side, self.arithmetic.fraction(value))

    def _entry(self, found: Any, power: int, weights_power: int) -> CapEntry:
        layer, neurons, side, values, weights = a_list(found, "an entry of cap", 5)
        layer = integer(layer, "a layer of cap", 0, len(self.network.relus) - 1)
        neurons = integers(neurons, "the neurons of cap", least=0)
        if len(set(neurons)) < len(neurons) or max(neurons, default=0) >= self.network.neurons(layer):
            raise RefusedError(f"cap lists a neuron twice, or one that layer {layer} has not")
        if side not in ("lower", "upper"):
            raise RefusedError("a side of cap is neither lower nor upper")
        values = self.arithmetic.scaled(integers(values, "the values of cap", len(neurons)), power)
        weights = self.arithmetic.scaled(integers(weights, "the weights of cap", len(neurons), 0), weights_power)
        return CapEntry(layer, neurons, side, values, weights)

    def _empty(self, line: dict[str, Any]) -> None:
        only(line, ("empty",))
        neuron = self._neuron(line["empty"], "empty")
        if not self.node.bound(*neuron, "lower") > self.node.bound(*neuron, "upper"):
            raise RefusedError(f"the range of neuron {neuron[1]} of layer {neuron[0]} is not empty")
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
