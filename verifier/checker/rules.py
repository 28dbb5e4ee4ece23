"""The rules by which each line of a proof is checked ("What is checked" of docs/reference/proof-format.md).

A `Checker` takes the lines one at a time and holds one node, whatever the size of the tree: the ranges there, what
undoes them, and which second subtrees are still to come.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from verifier.checker.arithmetic import Arithmetic
from verifier.checker.backward_pass import Functions, Range, Setting
from verifier.checker.errors import RefusedError
from verifier.checker.lines import Scaled, a_list, dyadic, exponent, integer, integers, only
from verifier.checker.multipliers import KEYS, Multipliers, read_multipliers
from verifier.checker.network import Network
from verifier.checker.node import Node
from verifier.checker.outward import Float
from verifier.checker.region import Region
from verifier.checker.statement import Statement

DEPTH = 10_000  # splits above a node
BATCH = 1 << 19  # coefficients that go through the network at once


class Checker:
    """Takes the lines behind the statement, one at a time, and refuses the first that does not follow."""

    def __init__(self, statement: Statement, network: Network, arithmetic: Arithmetic) -> None:
        if len(statement.sample) != network.inputs:
            raise RefusedError(f"the sample has {len(statement.sample)} entries, the model {network.inputs} inputs")
        self.goals = statement.goals(network.classes)
        network = constrained(network, statement)
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
        return read_multipliers(line, self.network, len(self.node.goal.others) + self.network.constraint_count)

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


def constrained(network: Network, statement: Statement) -> Network:
    """The network with the statement's constraints beside its scores, whose numbers must be float64."""
    if not statement.constraints:
        return network
    matrix = np.zeros((len(statement.constraints), network.inputs))
    for row, constraint in zip(matrix, statement.constraints, strict=True):
        row[list(constraint.inputs)] = Float().exactly(constraint.factors)
    return network.constrained(matrix, Float().exactly([constraint.bound for constraint in statement.constraints]))


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
