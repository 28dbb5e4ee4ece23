"""Whether the nodes of a tree are worth all layers, by what those gain for their time.

The all-layers relaxation may close at once what plain turns do not even begin to, and may cost ten times as much for
nothing: it depends on the net, and on how far the tree has grown. So both are tried on the tree itself, one after the
other on the same nodes, so that no split is wasted. Where a split raises nodes by the share g of what they lack, some
2^(1/g) nodes close one, at c seconds each: what has the least c · 2^(1/g) goes on until the next trial.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from math import log2

import torch

from bounds.geometry.halfspace_distance import lowest_value
from bounds.nodes.records import Nodes, Pass
from encoders.deadline import Clock
from verifier.batching.node_request import NodeRequest

LEAST_GAIN = 0.02  # of what a node lacks: less is not told from nothing
MEMORY = 24.0  # nodes, that the averages reach back
TRIALS = 0.1  # of the time
FIRST_NODES = 2.0  # of each effort, before one is called the better


@dataclass
class Measured:
    """What one effort made of the nodes that it was used on, the latest counting most."""

    nodes: float = 0.0
    seconds: float = 0.0
    gain: float = 0.0
    spent: float = 0.0  # seconds, in all

    @property
    def seconds_a_node(self) -> float:
        """0 before anything is known."""
        return self.seconds / self.nodes if self.nodes else 0.0

    @property
    def doublings(self) -> float:
        """The binary logarithm of the seconds that such nodes take to close one."""
        gain = max(LEAST_GAIN, self.gain / self.nodes)
        return log2(max(self.seconds_a_node, 1e-9)) + 1.0 / gain

    def saw(self, nodes: int, seconds: float, gain: float) -> None:
        """One batch: its nodes before they were split, its seconds, and its children's mean gain."""
        kept = min(1.0, MEMORY / max(self.nodes, 1e-9))
        self.nodes, self.seconds, self.gain = self.nodes * kept, self.seconds * kept, self.gain * kept
        self.nodes += nodes
        self.seconds += seconds
        self.gain += nodes * gain
        self.spent += seconds


class Use(StrEnum):
    """What the next nodes are bounded by."""

    PLAIN = "plain turns"
    ALL_LAYERS = "one turn with all layers"
    BOTH = "plain turns, then all layers for what those leave open: both are measured"


class AllLayersChoice:
    """What is known of plain turns and of all layers."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.plain, self.all_layers = Measured(), Measured()
        self.trials = 0.0  # seconds

    def next(self) -> Use:
        """The use for the next batch."""
        plain, dear = self.plain, self.all_layers
        if dear.nodes < FIRST_NODES or self.trials + dear.seconds_a_node < TRIALS * (plain.spent + dear.spent):
            return Use.BOTH
        return Use.PLAIN if plain.doublings <= dear.doublings else Use.ALL_LAYERS

    def seconds_a_node(self, use: Use) -> float:
        """0 before anything is known."""
        return (self.plain if use is Use.PLAIN else self.all_layers).seconds_a_node

    def weight(self, use: Use) -> float:
        """What part of a node by all layers one by this use is."""
        price = self.all_layers.seconds_a_node
        return min(1.0, self.seconds_a_node(use) / price) if price > 0.0 else 1.0

    async def bounded(self, request: NodeRequest, use: Use) -> tuple[Nodes, Pass]:
        """The bounds of children, as they were asked for or by plain turns first or alone; and what that has shown."""
        began, split = self.clock.now(), request.nodes
        if use is Use.ALL_LAYERS:
            nodes, seen = await request
        else:
            nodes, seen = await replace(request, effort=replace(request.effort, all_layers_steps=0))
            self.plain.saw(len(split) // 2, self.clock.now() - began, mean_gain(request, seen))
        left = torch.nonzero(~(seen.distance >= request.target)).flatten()
        if use is Use.BOTH and len(left):
            alone = replace(request.effort, envelope_steps=0, one_layer_steps=0, rounds=1)
            part, better = await replace(request, nodes=nodes.take(left), effort=alone)
            better = replace(better, distance=torch.fmax(better.distance, seen.distance[left]))
            nodes, seen = nodes.put(left, part), seen.put(left, better)
        if use is not Use.PLAIN:
            self.all_layers.saw(len(split) // 2, self.clock.now() - began, mean_gain(request, seen))
        if use is Use.BOTH:
            self.trials += self.clock.now() - began
        return nodes, seen


def mean_gain(request: NodeRequest, seen: Pass) -> float:
    """The share of what nodes lacked on the ball of the target that bounds have brought: 1 for those that are closed.

    What a node lacks is the least value on that ball of the function known of it: below zero, or it would be closed.
    """
    nodes, stack = request.nodes, request.engine.stack
    group = stack.grouped(nodes.goal)
    below, above = group.of(stack.below), group.of(stack.above)
    far = torch.full_like(nodes.height, request.target)
    before = lowest_value(nodes.normal, nodes.height, below, above, stack.norm, far)
    now = lowest_value(seen.normal, seen.height, below, above, stack.norm, far)
    gained = ((now - before) / -before).nan_to_num(nan=0.0).clamp(0.0, 1.0)
    return float(torch.where(seen.distance >= request.target, 1.0, gained).mean())
