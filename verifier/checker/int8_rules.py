"""The rules by which the lines of a proof about a quantised network are checked, in whole numbers.

("What is checked" of docs/reference/proof-format-int8.md.) int64 holds them wherever an estimate of their sizes says
so, and Python's integers do where it does not: no result depends on which of the two it was.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from verifier.checker.errors import RefusedError
from verifier.checker.int8_network import TOP, Int8Network, Layer, fitting, largest_sum
from verifier.checker.int8_statement import GridStatement
from verifier.checker.int8_steps import Grid, Table
from verifier.checker.lines import a_list, integer, integers, only
from verifier.checker.network import Array
from verifier.checker.statement import Goal

SLOPE = 1 << 24  # more than any
BITS = 40  # of a layer's slopes, at most
DEPTH = 10_000  # splits above a node
AT_ONCE = 1 << 21  # gains that are computed at once


@dataclass(frozen=True, eq=False)
class Lines:
    """Of each neuron of a layer its range, and a slope below and above:  m · sum + constant,  in units of 2^-bits."""

    layer: Layer
    low: Array
    high: Array
    below: Array
    above: Array
    bits: int

    @cached_property
    def constants(self) -> tuple[Array, Array]:
        """The greatest and the least for which the lines hold at all sums of the range: levels begin and end there."""
        levels = np.arange(TOP + 1)
        first = np.maximum(self.layer.least[:, :-1], self.low[:, None])  # sum of each level, and the last
        last = np.minimum(self.layer.least[:, 1:] - 1, self.high[:, None])
        none, values = first > last, levels << self.bits
        above = np.where(none, -(1 << 62), values - self.above[:, None] * first).max(axis=1)
        below = np.where(none, 1 << 62, values - self.below[:, None] * last).min(axis=1)
        return below, above


@dataclass(eq=False)
class Functions:
    """Linear functions, each a row of coefficients and a constant, in units of 2^-bits."""

    rows: Array
    constants: Array
    bits: int = 0

    def ready(self, factor: int) -> None:
        """Whole numbers of a kind in which nothing overflows when all are multiplied by at most that, and summed."""
        kind = fitting((largest_sum(self.rows) + largest_sum(self.constants[:, None])) * factor)
        self.rows, self.constants = self.rows.astype(kind), self.constants.astype(kind)

    def through(self, layer: Layer) -> None:
        """From sums of a layer to what lies before it."""
        self.ready(layer.largest)
        self.rows, self.constants = layer.back(self.rows, self.constants)

    def replaced(self, lines: Lines) -> None:
        """From levels, less their zero, to sums: a function that is nowhere less."""
        below, above = (constant - (lines.layer.scale.zero << lines.bits) for constant in lines.constants)
        factors = (lines.above, lines.below, above, below)
        self.ready(2 * max(1 << lines.bits, *(int(abs(one).max()) for one in factors)))
        up, down = np.maximum(self.rows, 0), np.minimum(self.rows, 0)
        self.constants = (self.constants << lines.bits) + up @ above + down @ below
        self.rows = up * lines.above + down * lines.below
        self.bits += lines.bits


@dataclass(eq=False)
class Node:
    """What is known of all adversaries of a node: the steps of their inputs, and lines of each layer's neurons."""

    network: Int8Network
    table: Table
    down: Array
    up: Array
    lines: list[Lines]
    empty: bool = False

    @classmethod
    def root(cls, network: Int8Network, table: Table) -> Node:
        """All points, and flat lines over all sums that there can be."""
        flat = [
            Lines(layer, -layer.reach, layer.reach, zeros, zeros, 0)
            for layer in network.layers
            for zeros in [np.zeros(layer.size, dtype=np.int64)]
        ]
        return cls(network, table, table.down, table.up, flat)

    def copy(self) -> Node:
        """A node of its own that knows the same."""
        return replace(self, lines=[*self.lines])

    def at_inputs(self, functions: Functions, layer: int, signs: dict[int, Array] | None = None) -> Functions:
        """From functions of the sums of a layer to functions of the input's levels that are nowhere less."""
        for k in range(layer, -1, -1):
            if signs is not None and k in signs:
                self._with_signs(functions, self.lines[k], signs[k])
            functions.through(self.network.layers[k])
            if k:
                functions.replaced(self.lines[k - 1])
        return functions

    @staticmethod
    def _with_signs(functions: Functions, lines: Lines, signs: Array) -> None:
        """Adds what is not negative in the range: s (sum - low) where s > 0, s (sum - high) where s < 0."""
        ends = np.where(signs > 0, lines.low, lines.high).astype(object)
        functions.rows = functions.rows.astype(object) + signs
        functions.constants = functions.constants.astype(object) - signs @ ends

    def most(self, functions: Functions, prices: Array) -> Array:
        """What functions of the input's levels are at most, each at a price of measure."""
        found = []
        step = max(1, AT_ONCE // self.table.levels.size)
        for at in range(0, len(prices), step):
            some = slice(at, at + step)
            gains = self.table.gains(functions.rows[some], prices[some], self.down, self.up).max(axis=2)
            totals = gains.astype(object).sum(axis=1) + prices[some].astype(object) * self.table.budget
            found += [*(functions.constants[some].astype(object) + totals)]
        return np.array(found, dtype=object)

    def of_sums(self, layer: int) -> Functions:
        """Each sum of a layer, and then the negative of each, as functions of the input's levels."""
        identity = np.eye(self.network.layers[layer].size, dtype=np.int64)
        rows = np.concatenate([identity, -identity])
        return self.at_inputs(Functions(rows, np.zeros(len(rows), dtype=np.int64)), layer)

    def bound(self, layer: int, functions: Functions, prices: Array) -> None:
        """Better ranges of a layer's sums, which are whole numbers; the lines keep their slopes."""
        ends = np.array([int(end) >> functions.bits for end in self.most(functions, prices)], dtype=object)
        before, size = self.lines[layer], self.network.layers[layer].size
        high = np.minimum(before.high, ends[:size]).astype(np.int64)
        low = np.maximum(before.low, -ends[size:]).astype(np.int64)
        self.lines[layer] = replace(before, low=low, high=high)
        self.empty |= bool((low > high).any())

    def of_goal(self, goal: Goal, lead: int, weights: Array, signs: dict[int, Array]) -> Functions:
        """What is not negative where the goal is reached, with signs, as a function of the input's levels."""
        functions = self.at_levels(goal, lead, weights)
        functions.replaced(self.lines[-1])
        return self.at_inputs(functions, len(self.network.layers) - 1, signs)

    def at_levels(self, goal: Goal, lead: int, weights: Array) -> Functions:
        """Σ weight · (target's level - another's - lead), of the last levels; the two zeros are the same."""
        rows = np.zeros((1, self.network.classes), dtype=object)
        rows[0, goal.target] = sum(weights)
        rows[0, list(goal.others)] = [-weight for weight in weights]
        return Functions(rows, np.array([-lead * sum(weights)], dtype=object))

    def narrow(self, functions: Functions, price: int) -> None:
        """Cuts off steps with which a function that is not negative at adversaries would be."""
        gains = self.table.gains(functions.rows, np.array([price], dtype=object), self.down, self.up)[0].astype(object)
        best = gains.max(axis=1)
        total = int(functions.constants[0]) + price * self.table.budget + sum(best)
        if total < 0:
            self.empty = True
            return
        kept = (gains - best[:, None] + total >= 0).astype(bool)
        kept &= (self.table.steps >= self.down[:, None]) & (self.table.steps <= self.up[:, None])
        self.down = self.table.steps[kept.argmax(axis=1)]
        self.up = self.table.steps[kept.shape[1] - 1 - kept[:, ::-1].argmax(axis=1)]

    def part(self, place: list[int], at: int, upper: bool) -> Node:
        """The node in which an input's step, or a neuron's sum, is at least that, or else less."""
        found = self.copy()
        if len(place) == 1:
            steps = (found.down if upper else found.up).copy()
            steps[place[0]] = max(steps[place[0]], at) if upper else min(steps[place[0]], at - 1)
            found.down, found.up = (steps, found.up) if upper else (found.down, steps)
            found.empty |= bool(found.down[place[0]] > found.up[place[0]])
            return found
        layer, neuron = place
        lines = found.lines[layer]
        end = (lines.low if upper else lines.high).copy()
        end[neuron] = max(end[neuron], at) if upper else min(end[neuron], at - 1)
        found.lines[layer] = replace(lines, low=end) if upper else replace(lines, high=end)
        found.empty |= bool(found.lines[layer].low[neuron] > found.lines[layer].high[neuron])
        return found


@dataclass(eq=False)
class Tree:
    """Where the lines of a goal's tree have got to: its node, and those that are still to come."""

    goal: Goal
    node: Node
    later: list[Node] = field(default_factory=list)


class Int8Checker:
    """Takes the lines behind the statement, one at a time, and refuses the first that does not follow."""

    def __init__(self, statement: GridStatement, network: Int8Network, grid: Grid) -> None:
        self.network, self.goals = network, [*statement.goals(network.classes)]
        self.lead = network.lead(statement.margin, statement.rivals is None)
        self.claims = 0
        self.common = None if statement.below is None else Node.root(network, Table(grid, statement.below - 1))
        self.tree: Tree | None = None
        self._trees = 0

    @property
    def node(self) -> Node:
        """The node whose lines come next; before the first goal, what all of them know."""
        assert self.common is not None
        return self.common if self.tree is None else self.tree.node

    def take(self, line: dict[str, Any]) -> None:
        """Check one line."""
        if self.common is None:
            raise RefusedError("lines follow, though nothing is claimed to have no adversary")
        kind = next((one for one in _RULES if one in line), "")
        if not kind:
            raise RefusedError(f"the line is none of {', '.join(_RULES)}")
        if self.tree is None and (kind not in ("lines", "goal") or (kind == "lines" and self._trees)):
            raise RefusedError("a tree begins with its goal, before which there are lines of layers at most")
        if self.tree is not None and kind == "goal":
            raise RefusedError("a tree ends before the next")
        if self.tree is not None and self.node.empty and kind != "close":
            raise RefusedError("nothing is left of the node, which is then closed")
        _RULES[kind](self, line)

    def finish(self) -> None:
        """Nothing is missing."""
        if self.common is not None and (self.tree is not None or self._trees < len(self.goals)):
            raise RefusedError("the file ends before the last node of the last goal")

    def _lines(self, line: dict[str, Any]) -> None:
        only(line, ("lines", "bits", "below", "above"), ("prices",))
        layer = integer(line["lines"], "lines", 0, len(self.network.layers) - 1)
        size = self.network.layers[layer].size
        below, above = (_whole(line[side], side, size) for side in ("below", "above"))
        if max(*below, *above) >= SLOPE:
            raise RefusedError(f"a slope is {SLOPE} or more")
        bits = integer(line["bits"], "bits", 0, BITS)
        prices = _whole(line["prices"], "prices", 2 * size) if "prices" in line else np.zeros(2 * size, dtype=object)
        node = self.node
        node.bound(layer, node.of_sums(layer), prices)
        slopes = below.astype(np.int64), above.astype(np.int64)
        node.lines[layer] = replace(node.lines[layer], below=slopes[0], above=slopes[1], bits=bits)

    def _goal(self, line: dict[str, Any]) -> None:
        only(line, ("goal",))
        target = integer(line["goal"], "goal")
        if self._trees == len(self.goals) or target != self.goals[self._trees].target:
            raise RefusedError(f"goal {str(target)[:20]} is not the next one")
        node = self.node.copy()
        node.empty |= self.lead is None
        self.tree = Tree(self.goals[self._trees], node)
        self._trees += 1

    def _narrow(self, line: dict[str, Any]) -> None:
        only(line, ("narrow",), ("signs", "price"))
        assert self.tree is not None
        assert self.lead is not None  # the node would be empty
        weights = _whole(line["narrow"], "narrow", len(self.tree.goal.others))
        functions = self.node.of_goal(self.tree.goal, self.lead, weights, self._signs(line.get("signs", [])))
        self.node.narrow(functions, integer(line.get("price", 0), "price", 0))

    def _signs(self, found: Any) -> dict[int, Array]:
        """Of some layers' neurons, numbers of either sign."""
        signs: dict[int, Array] = {}
        for entry in a_list(found, "signs"):
            layer, neurons, numbers = a_list(entry, "an entry of signs", 3)
            layer = integer(layer, "a layer of signs", 0, len(self.network.layers) - 1)
            size = self.network.layers[layer].size
            neurons = integers(neurons, "the neurons of signs", least=0)
            if layer in signs or max(neurons, default=0) >= size or len(set(neurons)) < len(neurons):
                raise RefusedError("signs names a layer or a neuron twice, or one that the model has not")
            signs[layer] = np.zeros(size, dtype=object)
            signs[layer][neurons] = integers(numbers, "signs", len(neurons))
        return signs

    def _split(self, line: dict[str, Any]) -> None:
        only(line, ("split", "at"))
        assert self.tree is not None
        place = integers(line["split"], "split", least=0)
        sizes = [self.network.inputs]
        if len(place) == 2 and place[0] < len(self.network.layers):
            sizes = [len(self.network.layers), self.network.layers[place[0]].size]
        if len(place) != len(sizes) or any(one >= size for one, size in zip(place, sizes, strict=True)):
            raise RefusedError("split names an input or a neuron that the model has not")
        at = integer(line["at"], "at", -(1 << 53), 1 << 53)
        if len(self.tree.later) == DEPTH:
            raise RefusedError(f"the tree is deeper than {DEPTH} splits")
        node = self.node
        self.tree.later.append(node.part(place, at, False))
        self.tree.node = node.part(place, at, True)

    def _close(self, line: dict[str, Any]) -> None:
        only(line, ("close",))
        if line["close"] is not True or not self.node.empty:
            raise RefusedError("close is not true, or something is left of the node")
        self._closed()

    def _claim(self, line: dict[str, Any]) -> None:
        only(line, ("claim",))
        if not isinstance(line["claim"], str):
            raise RefusedError("claim is no name")
        self.claims += 1
        self._closed()

    def _closed(self) -> None:
        """On to the next node of the tree, or to its end."""
        assert self.tree is not None
        if self.tree.later:
            self.tree.node = self.tree.later.pop()
        else:
            self.tree = None


def _whole(found: Any, what: str, length: int) -> Array:
    """A list of as many whole numbers, none of them negative."""
    listed = np.empty(length, dtype=object)
    listed[:] = integers(found, what, length, least=0)
    return listed


_RULES = {
    "lines": Int8Checker._lines,
    "goal": Int8Checker._goal,
    "narrow": Int8Checker._narrow,
    "split": Int8Checker._split,
    "close": Int8Checker._close,
    "claim": Int8Checker._claim,
}
