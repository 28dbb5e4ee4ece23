"""Pre-activation bounds of a whole network: intervals first, then CROWN for what stays open, layer by layer."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from bounds.backward import LinearFunction, Magnitudes, ReluRule, backward, relaxed
from bounds.halfspace import lowest_value
from bounds.lowered import Lowered
from bounds.open_rows import OpenLayers, OpenRows, merged, relaxed_below, rows_of
from encoders.errors import SoundnessError
from encoders.graph import Affine, Graph, Input
from encoders.question import NeuronBounds, Norm, Region

ROWS_AT_ONCE = 512


@dataclass(frozen=True, eq=False)
class Ball:
    """ball(center, radius) ∩ box on a device; all [n]. In L0: where at most `radius` inputs differ (whole)."""

    center: Tensor
    lower: Tensor
    upper: Tensor
    below: Tensor  # room down to the box (the box itself, not the ball)
    above: Tensor
    radius: float
    norm: Norm

    @classmethod
    def of(cls, lowered: Lowered, region: Region, norm: Norm, radius: float) -> Ball:
        lower, upper = region.clipped(norm, radius)
        tensor = lowered.tensor
        center = tensor(region.center)
        # The room is rounded up: nextafter of a difference of float64 numbers is an upper bound of the difference.
        below = np.nextafter(region.center - region.lower, np.inf) * (region.center > region.lower)
        above = np.nextafter(region.upper - region.center, np.inf) * (region.upper > region.center)
        return cls(center, tensor(lower), tensor(upper), tensor(below), tensor(above), radius, norm)

    def lowest(self, function: LinearFunction) -> Tensor:
        """Proven lower bound of each linear function on the ball."""
        radius = function.value.new_full(function.value.shape, min(self.radius, 1e30))
        value = function.value - function.slack
        return lowest_value(function.input, value, self.below, self.above, self.norm, radius)

    @property
    def travel(self) -> Tensor:
        """The most that each input can move."""
        farthest = 1e30 if self.norm is Norm.L0 else min(self.radius, 1e30)
        return torch.maximum(self.below, self.above).clamp_max(farthest)


@dataclass(frozen=True, eq=False)
class NetworkBounds:
    """Bounds of every pre-activation and magnitudes of every value, on one ball; and the rows of the open neurons."""

    ball: Ball
    lower: dict[int, Tensor]  # ReLU node position → [1, size]
    upper: dict[int, Tensor]
    magnitudes: Magnitudes
    opened: OpenLayers

    def rule(self) -> ReluRule:
        return relaxed(self.lower, self.upper)

    def neurons(self) -> NeuronBounds:
        """The same bounds as plain arrays, for the encoder."""
        return NeuronBounds(
            {i: v[0].cpu().numpy() for i, v in self.lower.items()},
            {i: v[0].cpu().numpy() for i, v in self.upper.items()},
        )


@lru_cache(maxsize=8)
def lowered_for(graph: Graph, device: str = "cpu") -> Lowered:
    """The graph on a device, built once (graphs compare by identity)."""
    return Lowered(graph, device)


@torch.no_grad()
def network_bounds(
    lowered: Lowered,
    region: Region,
    norm: Norm,
    radius: float,
    crown: bool = True,
    known: NetworkBounds | None = None,
) -> NetworkBounds:
    """Sound pre-activation bounds on ball ∩ box; with `crown`, what intervals leave open is tightened.

    `known` are bounds on a larger ball around the same sample: they hold here too, and are never given up.
    """
    ball = Ball.of(lowered, region, norm, radius)
    low: dict[int, Tensor] = {}
    high: dict[int, Tensor] = {}
    result = NetworkBounds(ball, {}, {}, Magnitudes({}, {}), OpenLayers({}, {}, {}))
    magnitude = result.magnitudes
    for position, node in enumerate(lowered.graph.nodes):
        if isinstance(node, Input):
            low[position], high[position] = ball.lower[None], ball.upper[None]
        elif isinstance(node, Affine):
            low[position], high[position] = _interval(lowered, position, node, low, high, magnitude)
        else:
            source = node.source
            least, most = low[source].clone(), high[source].clone()
            if known is not None:
                least, most = torch.maximum(least, known.lower[position]), torch.minimum(most, known.upper[position])
            tighten = crown and source != 0 and (norm is not Norm.LINF or position != lowered.graph.relus[0])
            opened = _open_rows(lowered, source, least, most, result, tighten)
            if (least > most).any():
                raise SoundnessError(
                    f"bounds of node {position} ({node.name}) cross: the ball is empty or the proof is"
                )
            result.lower[position], result.upper[position] = least, most
            if opened is not None:
                result.opened.rows[position] = opened
                result.opened.lower[position] = least[0, opened.entries]
                result.opened.upper[position] = most[0, opened.entries]
            low[position], high[position] = least.clamp_min(0.0), most.clamp_min(0.0)
        if position not in magnitude.node:
            magnitude.node[position] = torch.maximum(low[position].abs(), high[position].abs())
    return result


def _interval(
    lowered: Lowered, position: int, node: Affine, low: dict[int, Tensor], high: dict[int, Tensor], out: Magnitudes
) -> tuple[Tensor, Tensor]:
    """Mid-radius interval arithmetic, widened by its rounding error; fills in the node's magnitude."""
    middle = lowered.bias[position][None]
    spread = torch.zeros_like(middle)
    size = middle.abs()
    for source, linear in zip(node.sources, lowered.maps[position], strict=True):
        half = (high[source] - low[source]) / 2
        middle = middle + linear.apply((high[source] + low[source]) / 2)
        spread = spread + linear.magnitude(half)
        size = size + linear.magnitude(torch.maximum(low[source].abs(), high[source].abs()))
    out.affine[position] = size * (1.0 + 1e-9)
    slack = 4.0 * lowered.gamma[position] * size + 1e-300
    return middle - spread - slack, middle + spread + slack


def _open_rows(
    lowered: Lowered, source: int, least: Tensor, most: Tensor, known: NetworkBounds, tighten: bool
) -> OpenRows | None:
    """Rows of the neurons that are still open, after CROWN for both sides of each (in place) if `tighten`."""
    kept: list[OpenRows] = []
    for chosen in torch.split(torch.nonzero((least[0] < 0) & (most[0] > 0)).flatten(), ROWS_AT_ONCE):
        ball, opened = known.ball, known.opened
        rows = rows_of(lowered, source, chosen, ball.center, known.magnitudes, opened.rows, known.lower)
        if tighten:
            low, high = (ball.lowest(relaxed_below(rows, sign, opened, ball.travel)) for sign in (1.0, -1.0))
            least[0, chosen] = torch.maximum(least[0, chosen], low)
            most[0, chosen] = torch.minimum(most[0, chosen], -high)
        kept.append(rows.take((least[0, chosen] < 0) & (most[0, chosen] > 0)))
    return merged(kept)


def neuron_bounds(graph: Graph, region: Region, norm: Norm, radius: float, device: str = "cpu") -> NeuronBounds:
    """Interval, then CROWN bounds of every ReLU's input on ball(center, radius) ∩ box."""
    return network_bounds(lowered_for(graph, device), region, norm, radius).neurons()


@torch.no_grad()
def goal_bounds(lowered: Lowered, bounds: NetworkBounds, rows: Tensor) -> LinearFunction:
    """Linear lower bounds of rows · scores [M, classes] on the ball."""
    start = len(lowered.graph.nodes) - 1
    return backward(lowered, start, rows, bounds.ball.center, bounds.magnitudes, bounds.rule())
