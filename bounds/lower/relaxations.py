"""Lower bounds from relaxing the net on a ball: intervals, CROWN, ascended slopes, and output-constrained neurons.

All work on what the balls leave open (`bounds/reduced_net/stacked_nets.py`), all targets of all samples of a batch at
once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from bounds.geometry.halfspace_distance import lowest_value
from bounds.lower.base import LowerBound, Sample
from bounds.nodes.node_bounds import NodeBounds
from bounds.nodes.output_constrained import on_the_cap
from bounds.nodes.records import Nodes, Pass
from bounds.propagation.neuron_bounds import bounds_together
from bounds.propagation.sample_groups import Grouping
from bounds.reduced_net.stacked_nets import Stack
from encoders.arrays import FloatArray

CAP_ROUNDS = 8
CAP_RATE = 0.15


def engine_on(samples: Sequence[Sample], radii: Sequence[float], crown: bool = True) -> NodeBounds:
    """The open neurons of all balls, side by side; `crown` tightens neurons beyond intervals."""
    first = samples[0]
    bounds = bounds_together(first.device_graph, [s.region for s in samples], first.norm, radii, crown=crown)
    return NodeBounds(stack=Stack.on(first.device_graph, bounds, [sample.goals for sample in samples]))


def per_sample(engine: NodeBounds, distances: Tensor) -> list[FloatArray]:
    """Distances of all goals as one array for each sample."""
    return [distances[place].cpu().numpy() for place in engine.stack.goals]


class Interval(LowerBound):
    """Interval arithmetic for the neurons; what they leave open is anything in [0, upper]. One pass per ball."""

    name = "interval"

    def _on_balls(self, samples: Sequence[Sample], radii: Sequence[float]) -> list[FloatArray]:
        engine = engine_on(samples, radii, crown=False)
        stack = engine.stack
        group = Grouping(stack.count, stack.member)
        behind = group.dot(stack.goal_z[:, 0].clamp_max(0.0), stack.upper)
        value = stack.goal_constant[:, 0] + behind - stack.goal_error[:, 0]
        rooms = group.of(stack.below), group.of(stack.above)
        ball = engine.enough(engine.roots(), stack.upper.new_tensor(radii))
        least = lowest_value(stack.goal_x[:, 0], value, *rooms, stack.norm, ball)
        return per_sample(engine, torch.where(least > 0, torch.inf, 0.0))


class Crown(LowerBound):
    """CROWN: one backward pass with fixed slopes, read as a distance."""

    name = "crown"

    def _on_balls(self, samples: Sequence[Sample], radii: Sequence[float]) -> list[FloatArray]:
        engine = engine_on(samples, radii)
        return per_sample(engine, engine.evaluate(engine.roots()).distance)


class AlphaCrown(LowerBound):
    """α-CROWN on the distance itself: slopes ascended by Adam, a backward pass for each step on each ball."""

    name = "alpha-crown"

    def _on_balls(self, samples: Sequence[Sample], radii: Sequence[float]) -> list[FloatArray]:
        engine, _, seen = self.ascended(samples, radii)
        return per_sample(engine, seen.distance)

    def ascended(self, samples: Sequence[Sample], radii: Sequence[float]) -> tuple[NodeBounds, Nodes, Pass]:
        engine = engine_on(samples, radii)
        enough = engine.stack.upper.new_tensor(radii)
        nodes, seen = engine.optimise(engine.roots(), samples[0].options.steps, enough, CAP_RATE)
        return engine, nodes, seen


class OutputConstrained(AlphaCrown):
    """α-CROWN, and in turns with it neurons bounded where an adversary can be.

    How is in `bounds/nodes/output_constrained.py`.
    """

    name = "output-constrained"

    def _on_balls(self, samples: Sequence[Sample], radii: Sequence[float]) -> list[FloatArray]:
        engine, nodes, seen = self.ascended(samples, radii)
        enough = engine.stack.upper.new_tensor(radii)
        goal = engine.enough(nodes, enough)
        best = seen.distance
        for turn in range(CAP_ROUNDS):
            if not engine.stack.open_phases or bool((best >= goal).all()):
                break
            nodes = on_the_cap(engine, nodes, seen, enough)
            empty = (nodes.lower > nodes.upper).any(-1)
            nodes, seen = engine.optimise(nodes, 8, enough, CAP_RATE * 0.7 ** (turn + 1))
            seen = replace(seen, distance=torch.where(empty, torch.inf, seen.distance))
            best = torch.maximum(best, seen.distance)
        return per_sample(engine, best)
