"""Lower bounds from relaxing the net on a ball: intervals, CROWN, ascended slopes, and the cap.

All work on the reduced net of the ball (`bounds/reduced.py`), all targets of a sample at once.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from bounds.cap import on_the_cap
from bounds.halfspace import lowest_value
from bounds.lower.base import LowerBound, Sample
from bounds.network import network_bounds
from bounds.phases import Nodes, Pass, PhaseBounds
from bounds.reduced import reduce
from encoders.linear_maps import FloatArray

CAP_ROUNDS = 8
CAP_RATE = 0.15


def engine_on(sample: Sample, radius: float, crown: bool = True) -> PhaseBounds:
    """The reduced net of one ball; `crown` tightens neurons beyond intervals."""
    bounds = network_bounds(sample.lowered, sample.region, sample.norm, radius, crown=crown)
    return PhaseBounds(reduce(sample.lowered, bounds, sample.goals))


class Interval(LowerBound):
    """Interval arithmetic for the neurons; what they leave open is anything in [0, upper]. One pass per ball."""

    name = "interval"

    def _on_ball(self, sample: Sample, radius: float) -> FloatArray:
        engine = engine_on(sample, radius, crown=False)
        net = engine.net
        rows = engine.rows[:, 0]
        value = net.constant[rows] + net.z[rows].clamp_max(0.0) @ net.upper - net.error[rows]
        least = lowest_value(net.x[rows], value, net.below, net.above, net.norm, value.new_full(value.shape, radius))
        return torch.where(least > 0, torch.inf, 0.0).cpu().numpy()


class Crown(LowerBound):
    """CROWN: one backward pass with fixed slopes, read as a distance."""

    name = "crown"

    def _on_ball(self, sample: Sample, radius: float) -> FloatArray:
        engine = engine_on(sample, radius)
        return engine.evaluate(engine.roots()).distance.cpu().numpy()


class AlphaCrown(LowerBound):
    """α-CROWN on the distance itself: slopes ascended by Adam. `steps` passes a ball."""

    name = "alpha-crown"

    def _on_ball(self, sample: Sample, radius: float) -> FloatArray:
        return self.ascended(sample, radius)[2].distance.cpu().numpy()

    def ascended(self, sample: Sample, radius: float) -> tuple[PhaseBounds, Nodes, Pass]:
        engine = engine_on(sample, radius)
        nodes, seen = engine.optimise(engine.roots(), sample.options.steps, radius, CAP_RATE)
        return engine, nodes, seen


class Cap(AlphaCrown):
    """α-CROWN, then neurons bounded where an adversary can be at all (`bounds/cap.py`), in turns: the search's root."""

    name = "cap"

    def _on_ball(self, sample: Sample, radius: float) -> FloatArray:
        engine, nodes, seen = self.ascended(sample, radius)
        best = seen.distance
        for turn in range(CAP_ROUNDS):
            if not engine.net.open_phases or bool((best >= radius).all()):
                break
            nodes = on_the_cap(engine, nodes, seen, radius)
            empty = (nodes.lower > nodes.upper).any(-1)
            nodes, seen = engine.optimise(nodes, 8, radius, CAP_RATE * 0.7 ** (turn + 1))
            seen = replace(seen, distance=torch.where(empty, torch.inf, seen.distance))
            best = torch.maximum(best, seen.distance)
        return best.cpu().numpy()
