"""The lines that prove a quantised network's goals: staircase lines, steps cut off in rounds, and splits of neurons.

The checker's own nodes say what a line proves (`verifier.checker.int8_rules`); here is only what is worth trying.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoders.deadline import Deadline
from verifier.checker.int8_network import TOP
from verifier.checker.int8_rules import BITS, Functions, Lines, Node
from verifier.checker.statement import Goal
from verifier.proofs.proof_file import Line

ROUNDS = 6  # of narrowing the steps
SHRINKS = 0.95  # a round must leave at most this part of all steps for another one
SLOPE_BITS = 10  # of the largest slope of a layer
HALVINGS = 12  # of the interval in which a price is sought
NODES = 200  # of a goal's tree

Numbers = NDArray[Any]


def layer_lines(node: Node, k: int) -> Line:
    """A layer's ranges anew, and slopes for them: flat, the scale's or end to end, whichever leaves least room."""
    functions = node.of_sums(k)
    prices = good_prices(node, functions)
    node.bound(k, functions, prices)
    lines = node.lines[k]
    if not node.empty:
        lines = node.lines[k] = _sloped(lines)
    told: Line = {"lines": k, "bits": lines.bits, "below": lines.below.tolist(), "above": lines.above.tolist()}
    return told | ({"prices": [int(price) for price in prices]} if any(prices) else {})


def _sloped(lines: Lines) -> Lines:
    least, low, high = lines.layer.least, lines.low, lines.high
    first, last = ((least[:, 1:-1] <= end[:, None]).sum(axis=1) for end in (low, high))
    factor = np.array([float(one) for one in lines.layer.factors])[lines.layer.of] * (first < last)
    chord = (last - first) / np.maximum(1, high - low)
    steepest = max(float(np.max(factor)), float(np.max(chord)))
    bits = int(np.clip(SLOPE_BITS - np.ceil(np.log2(steepest)), 0, BITS)) if steepest else 0
    tried = [np.minimum(np.rint(s * 2.0**bits), 2**24 - 1).astype(np.int64) for s in (0.0 * chord, factor, chord)]
    ends = [replace(lines, below=slope, above=slope, bits=bits).constants for slope in tried]
    middle = (low + high) / 2
    below = np.argmax([slope * middle + ends_[0] for slope, ends_ in zip(tried, ends, strict=True)], axis=0)
    above = np.argmin([slope * middle + ends_[1] for slope, ends_ in zip(tried, ends, strict=True)], axis=0)
    slopes, every = np.array(tried), np.arange(len(low))
    return replace(lines, below=slopes[below, every], above=slopes[above, every], bits=bits)


def good_prices(node: Node, functions: Functions) -> Numbers:
    """Prices of measure at which each function's bound is near its least: where the steps that pay cost the budget."""
    table, rows = node.table, functions.rows.astype(float)
    if not table.budget:
        return np.zeros(len(rows), dtype=object)
    base = np.clip(0, node.down, node.up)[:, None] - table.steps[0]
    rises = (table.levels - np.take_along_axis(table.levels, base, axis=1)).astype(float)
    allowed = (table.steps >= node.down[:, None]) & (table.steps <= node.up[:, None])
    gains = np.where(allowed, rows[:, :, None] * rises, -np.inf)
    low, high = np.zeros(len(rows)), (gains / np.maximum(1, np.abs(table.cost))).max(axis=(1, 2)) * 2.0
    for _ in range(HALVINGS):
        price = (low + high) / 2
        taken = (gains - price[:, None, None] * table.cost).argmax(axis=2)
        beyond = table.cost[taken].sum(axis=1) > table.budget
        low, high = np.where(beyond, price, low), np.where(beyond, high, price)
    return np.array([int(np.ceil(price)) for price in high], dtype=object)


@dataclass(frozen=True)
class _Split:
    """Where a node is split: an input or a neuron, and from which step or sum on."""

    place: list[int]
    at: int


class GoalSearch:
    """The lines of one goal's tree, within a limit of nodes and time; or none."""

    def __init__(self, goal: Goal, lead: int, deadline: Deadline) -> None:
        self.goal, self.lead, self.deadline = goal, lead, deadline
        self.left = NODES
        self.at_inputs = False

    def lines(self, node: Node) -> list[Line] | None:
        """What closes a goal: by splits of neurons, or else of inputs."""
        for self.at_inputs in (False, True):
            self.left = NODES
            told = self._closed(node.copy())
            if told is not None:
                return told
        return None

    def _closed(self, node: Node) -> list[Line] | None:
        """What closes a node and all below it."""
        self.left -= 1
        if self.left < 0 or self.deadline.passed:
            return None
        told = self._narrowed(node)
        if node.empty:
            return [*told, {"close": True}]
        split = self._split(node)
        if split is None:
            return None
        told.append({"split": split.place, "at": split.at})
        for upper in (True, False):  # the order of the file
            below = self._closed(node.part(split.place, split.at, upper))
            if below is None:
                return None
            told += below
        return told

    def _narrowed(self, node: Node) -> list[Line]:
        """Rounds of cutting off steps, and bounding all layers again, while that leaves less."""
        told: list[Line] = []
        if node.empty:
            return told
        for turn in range(ROUNDS):
            before = (node.up - node.down).sum()
            for rival in range(len(self.goal.others)):
                told.append(self._cut(node, rival))
                if node.empty:
                    return told
            if turn and (node.up - node.down).sum() > SHRINKS * before:
                break
            for k in range(len(node.lines)):
                told.append(layer_lines(node, k))
                if node.empty:
                    return told
        return told

    def _cut(self, node: Node, rival: int) -> Line:
        weights = np.zeros(len(self.goal.others), dtype=object)
        weights[rival] = 1
        functions = node.of_goal(self.goal, self.lead, weights, {})
        price = int(good_prices(node, functions)[0])
        node.narrow(functions, price)
        return {"narrow": weights.tolist()} | ({"price": price} if price else {})

    def _split(self, node: Node) -> _Split | None:
        """What leaves the goal most room: a neuron by its lines, or an input by its levels; then the other of both."""
        ways = (self._split_input, self._split_neuron) if self.at_inputs else (self._split_neuron, self._split_input)
        return ways[0](node) or ways[1](node)

    def _split_input(self, node: Node) -> _Split | None:
        """In the middle of its steps."""
        every = np.arange(len(node.down))
        ends = [node.table.levels[every, end - node.table.steps[0]] for end in (node.down, node.up)]
        room = np.zeros(len(every))
        for rival in range(len(self.goal.others)):
            weights = np.zeros(len(self.goal.others), dtype=object)
            weights[rival] = 1
            rows = node.of_goal(self.goal, self.lead, weights, {}).rows[0]
            room = np.maximum(room, np.abs(rows.astype(float)) * (ends[1] - ends[0]))
        i = int(np.argmax(np.where(node.down < node.up, room + 1e-9, 0.0)))
        return _Split([i], int(node.down[i] + node.up[i] + 1) // 2) if node.down[i] < node.up[i] else None

    def _split_neuron(self, node: Node) -> _Split | None:
        """Where its level stops or begins to rise, or in the middle."""
        worst, found = 0.0, None
        for rival in range(len(self.goal.others)):
            weights = np.zeros(len(self.goal.others), dtype=object)
            weights[rival] = 1
            functions = node.at_levels(self.goal, self.lead, weights)
            for k in range(len(node.lines) - 1, -1, -1):
                lines = node.lines[k]
                room = _rooms(lines) * np.abs(functions.rows[0].astype(float)) / 2.0**functions.bits
                functions.replaced(lines)
                functions.through(lines.layer)
                j = int(room.argmax())
                if room[j] > worst and lines.low[j] < lines.high[j]:
                    worst, found = float(room[j]), _Split([k, j], _kink(lines, j))
        return found


def _rooms(lines: Lines) -> Numbers:
    """How far apart each neuron's lines are at most."""
    below, above = lines.constants
    gaps = [(lines.above - lines.below) * end + above - below for end in (lines.low, lines.high)]
    return np.asarray(np.maximum(*gaps) / 2.0**lines.bits)


def _kink(lines: Lines, j: int) -> int:
    """The sum from which on the level rises, or no longer rises, whichever lies farther inside; or the middle."""
    low, high, least = int(lines.low[j]), int(lines.high[j]), lines.layer.least[j]
    inside = [int(end) for end in (least[1], least[TOP]) if low < end <= high]
    best = max(inside, key=lambda at: min(at - low, high - at), default=low)
    return best if min(best - low, high - best) * 8 > high - low else (low + high + 1) // 2
