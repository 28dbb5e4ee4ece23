"""The rules by which each line of a proof is checked ("What is checked" of docs/reference/proof-format.md).

A `Checker` takes the lines one at a time and holds one node, whatever the size of the tree: the ranges there, what
undoes them, and which second subtrees are still to come. Who writes proofs asks the same node before writing a line.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from verifier.checker.arithmetic import Arithmetic, Numbers
from verifier.checker.below import Functions, Intervals, Range, Relaxation, Setting, chunks, rule, unit_rows
from verifier.checker.errors import RefusedError
from verifier.checker.lines import exponent, integer, integers, number, only
from verifier.checker.multipliers import KEYS, Multipliers, read_multipliers
from verifier.checker.network import Network
from verifier.checker.region import Region
from verifier.checker.statement import Goal, Statement

DEPTH = 10_000  # splits above a node


@dataclass(frozen=True)
class Plus:
    """What a fact adds to a node's function: h - value for a lower bound, value - h for an upper one."""

    layer: int
    neuron: int
    side: str
    value: Fraction


class Node:
    """A node of a goal's tree: the ranges that hold there, and what its function is at least."""

    def __init__(self, setting: Setting, margin: Fraction) -> None:
        self.setting = setting
        self.margin = setting.arithmetic.outward([margin], up=False)
        self.ranges: list[Range] = []
        self.goal: Goal | None = None
        self._trail: list[tuple[int, int, str, Fraction]] = []

    def least(self, multipliers: Multipliers, plus: Plus | None = None) -> Any:
        """A number that S, and what a fact adds, is nowhere below in this node; to be compared with 0."""
        functions = Functions(self.setting, 1)
        self._add_rows(functions, multipliers)
        for layer, (neurons, mantissas) in multipliers.signs.items():
            self._add_signs(functions, layer, neurons, self._scaled(mantissas, multipliers.signs_exponent))
        if plus is not None:
            sign = 1 if plus.side == "lower" else -1
            self._add_neurons(functions, plus.layer, [plus.neuron], self._scaled([sign], 0))
            functions.add_constants(self.setting.arithmetic.exactly([-sign * plus.value])[None])
        return functions.least(Relaxation(self.ranges, self._slopes(multipliers)))[0]

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

    def multipliers(self, line: dict[str, Any], otherwise: int) -> Multipliers:
        """What a line says; `otherwise` is the multiplier of each row where none are given."""
        assert self.node.goal is not None
        return read_multipliers(line, self.network, len(self.node.goal.others), otherwise)

    def _fact(self, line: dict[str, Any]) -> None:
        only(line, ("fact", "side", "value"), KEYS)
        if line["side"] not in ("lower", "upper"):
            raise RefusedError("side is neither lower nor upper")
        plus = Plus(*self._neuron(line["fact"], "fact"), line["side"], number(line["value"], "value"))
        least = self.node.least(self.multipliers(line, 0), plus)
        if not least >= 0:
            raise RefusedError(f"the fact does not follow: what must be 0 or more is {told(least)}")
        self.node.tighten(plus.layer, plus.neuron, plus.side, plus.value)

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
        least = self.node.least(self.multipliers(line, 1))
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
    "fact": Checker._fact,
    "split": Checker._split,
    "close": Checker._close,
    "claim": Checker._claim,
}


def told(number: Any) -> str:
    """A number for people."""
    try:
        return f"{float(number):.3g}"
    except OverflowError:
        return "huge"
