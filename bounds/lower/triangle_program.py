"""The triangle relaxation as a linear program, the best that one convex region per neuron can do.

    minimise ‖d‖  subject to  z ≥ 0,  z ≥ h,  z ≤ chord·h + offset,  h = X d + Z z + c,  goal row ≤ 0.

HiGHS solves it, nothing it says is believed: the multipliers of z ≥ h are slopes of a backward pass (a neuron behind
which the coefficient is a > 0 gets α = multiplier / a), and that pass is the bound.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from bounds.leaf_program import nearest_in_piece
from bounds.lower.base import LowerBound, Sample
from bounds.lower.relaxations import CAP_RATE, AlphaCrown
from bounds.network import network_bounds
from bounds.phases import PhaseBounds
from bounds.reduced import reduce
from encoders.linear_maps import FloatArray
from encoders.question import Norm

BEYOND = 1.05  # a ball this much larger than what is proven: there the program can still gain, and is at its best
TRIES = 3


class TriangleProgram(LowerBound):
    """One linear program per target that α-CROWN leaves open, on balls a little larger than what α-CROWN proves."""

    name = "lp"
    norms = frozenset({Norm.LINF, Norm.L1})

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
        bounds = network_bounds(sample.lowered, sample.region, sample.norm, radius)
        engine = PhaseBounds(reduce(sample.lowered, bounds, sample.goals))
        nodes, seen = engine.optimise(engine.roots(), sample.options.steps, radius, CAP_RATE)
        found = seen.distance.cpu().numpy().copy()
        for k in np.flatnonzero(found < radius):
            slope = program_slopes(engine, int(k), radius)
            if slope is None:
                continue
            node = nodes.take(torch.tensor([k], device=nodes.goal.device))
            better = engine.evaluate(replace(node, slope=slope[None]))
            found[k] = max(found[k], float(better.distance[0]))
        return np.asarray(found)


def program_slopes(engine: PhaseBounds, goal: int, radius: float) -> torch.Tensor | None:
    """Slopes [P] read off the program's multipliers; None where HiGHS has no optimum."""
    net = engine.net
    count = net.open_phases
    if not count:
        return None
    x, z, constant = (t.cpu().numpy() for t in (net.x, net.z, net.constant))
    chord, offset, _ = (t.cpu().numpy() for t in net.lines)
    row = int(engine.rows[goal, 0])
    eye = np.eye(count)
    # Rows in (d, z) with `≥ least`: z - h ≥ c, chord·h - z ≥ -offset - chord·c, -goal ≥ c_goal.
    rows = np.block([
        [-x[:count], eye - z[:count]],
        [chord[:, None] * x[:count], chord[:, None] * z[:count] - eye],
        [-x[row][None], -z[row][None]],
    ])  # fmt: skip
    least = np.concatenate([constant[:count], -offset - chord * constant[:count], [constant[row]]])
    upper = net.upper.cpu().numpy()
    answer = nearest_in_piece(
        rows, least, net.below.cpu().numpy(), net.above.cpu().numpy(), net.norm, radius, None, extra=upper
    )[0]
    weights = answer.row_duals if answer.row_duals is not None else answer.ray
    if weights is None or not weights[2 * count] > 0:
        return None
    price = np.maximum(weights[:count], 0.0) / weights[2 * count]
    slope = net.lines[2].clone()
    behind = net.z[row].clone()
    given = torch.as_tensor(price, dtype=behind.dtype, device=behind.device)
    for layer in reversed(net.layers):
        a = behind[layer]
        slope[layer] = torch.where(a > 0, (given[layer] / a.clamp_min(1e-300)).clamp(0.0, 1.0), slope[layer])
        before = a.clamp_min(0.0) * slope[layer] + a.clamp_max(0.0) * net.lines[0][layer]
        if layer.start:
            behind[: layer.start] += before @ net.z[layer, : layer.start]
    return slope
