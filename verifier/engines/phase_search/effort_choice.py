"""Which effort the nodes of a tree are worth, by what each gains for its time.

The all-layers relaxation may close at once what plain turns do not even begin to, and may cost ten times as much for
nothing: it depends on the net, and on how far the tree has grown. So both are tried on the tree itself. Where a split
raises nodes by the share g of what they lack, some 2^(1/g) nodes close one, at c seconds each: the effort with the
least c · 2^(1/g) goes on, and the other is looked at again from time to time.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log2

import torch

from bounds.geometry.halfspace_distance import lowest_value
from bounds.nodes.node_bounds import NodeBounds
from bounds.nodes.records import Nodes, Pass
from bounds.tightening.base import Effort

LEAST_GAIN = 0.02  # of what a node lacks: less is not told from nothing
MEMORY = 24.0  # nodes, that the averages reach back
AGAIN = 0.1  # of the time, for the effort that is not the better one
FIRST_NODES = 2.0  # of each effort, before one is called the better


@dataclass
class Measured:
    """What one effort made of the nodes that it was used on, the latest counting most."""

    effort: Effort
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


class EffortChoice:
    """Two efforts, the second of which costs more and may gain more, and what is known of each."""

    def __init__(self, plain: Effort, dear: Effort) -> None:
        self.plain, self.dear = Measured(plain), Measured(dear)
        self.price = 0.0  # seconds of a node by the dear effort, as far as roots have told

    def next(self) -> Measured:
        """The effort for the next batch. The dear one is not tried where plain nodes close a node in less time."""
        plain, dear = self.plain, self.dear
        if plain.nodes < FIRST_NODES:
            return plain
        if dear.nodes < FIRST_NODES:
            return dear if plain.doublings > log2(max(self.price, 1e-9)) else plain
        better, other = (plain, dear) if plain.doublings <= dear.doublings else (dear, plain)
        again = other.spent + FIRST_NODES * other.seconds_a_node < AGAIN * (plain.spent + dear.spent)
        return other if again else better

    def weight(self, measured: Measured) -> float:
        """What part of a dear node one by this effort is."""
        price = self.dear.seconds_a_node or self.price
        return min(1.0, measured.seconds_a_node / price) if price > 0.0 else 1.0


def mean_gain(engine: NodeBounds, nodes: Nodes, seen: Pass, target: float) -> float:
    """The share of what nodes lacked on the ball of the target that bounds have brought: 1 for those that are closed.

    What a node lacks is the least value on that ball of the function known of it: below zero, or it would be closed.
    """
    group = engine.stack.grouped(nodes.goal)
    below, above = group.of(engine.stack.below), group.of(engine.stack.above)
    far = torch.full_like(nodes.height, target)
    before = lowest_value(nodes.normal, nodes.height, below, above, engine.stack.norm, far)
    now = lowest_value(seen.normal, seen.height, below, above, engine.stack.norm, far)
    gained = ((now - before) / -before).nan_to_num(nan=0.0).clamp(0.0, 1.0)
    return float(torch.where(seen.distance >= target, 1.0, gained).mean())
