"""The triangle relaxation as a program, linear or in L2 quadratic: the best that triangles over the ranges can do.

The program is that of a node with nothing fixed (`bounds/nodes/linear_program.py`): HiGHS solves it, nothing it says is
believed, and the bound is the backward pass with the slopes that its multipliers give.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from bounds.lower.base import LowerBound, Sample
from bounds.lower.relaxations import CAP_RATE, AlphaCrown
from bounds.nodes.linear_program import NodeProgram
from bounds.nodes.node_bounds import NodeBounds
from bounds.propagation.neuron_bounds import network_bounds
from bounds.reduced_net.reduced_net import reduce
from encoders.arrays import FloatArray

BEYOND = 1.05  # a ball this much larger than what is proven: there the program can still gain, and is at its best
TRIES = 3


class TriangleProgram(LowerBound):
    """One linear program per target that α-CROWN leaves open, on balls a little larger than what α-CROWN proves."""

    name = "lp"

    def _best(self, samples: Sequence[Sample], radii: Sequence[float]) -> list[FloatArray]:
        ascended = AlphaCrown()._best(samples, radii)
        return [self._raised(*one) for one in zip(samples, radii, ascended, strict=True)]

    def _raised(self, sample: Sample, radius: float, best: FloatArray) -> FloatArray:
        for _ in range(TRIES):
            nearest = float(best.min(initial=radius))
            if not 0.0 < nearest < radius:
                break
            ball = min(radius, BEYOND * nearest)
            best = np.maximum(best, self._clipped([sample], [ball])[0])
            if float(best.min()) < ball:
                break
        return np.asarray(np.clip(best, 0.0, radius))

    def _on_balls(self, samples: Sequence[Sample], radii: Sequence[float]) -> list[FloatArray]:
        return [self._on_ball(sample, radius) for sample, radius in zip(samples, radii, strict=True)]

    def _on_ball(self, sample: Sample, radius: float) -> FloatArray:
        bounds = network_bounds(sample.device_graph, sample.region, sample.norm, radius)
        engine = NodeBounds(reduce(sample.device_graph, bounds, sample.goals))
        nodes, seen = engine.optimise(engine.roots(), sample.options.steps, radius, CAP_RATE)
        found = seen.distance.cpu().numpy().copy()
        for k in np.flatnonzero(found < radius):
            program = NodeProgram(engine, nodes.take(torch.tensor([k], device=nodes.goal.device)))
            found[k] = max(found[k], program.proven(program.solve(radius, 0.0, None)).distance)
        return np.asarray(found)
