"""Pre-activation bounds of a whole network: intervals first, then CROWN for what stays open, layer by layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from bounds.device import check_products
from bounds.geometry.halfspace_distance import lowest_value
from bounds.geometry.relu_over_simplex import Above, above_relu
from bounds.propagation.backward_pass import LinearFunction, Magnitudes, backward, relaxed
from bounds.propagation.device_graph import DeviceGraph
from bounds.propagation.open_neurons import OpenLayer, OpenLayers, Rows, merged, relaxed_below, row_error, rows_of
from bounds.propagation.sample_groups import Grouping
from bounds.rounding import UNDERFLOW
from encoders.deadline import look
from encoders.errors import SoundnessError
from encoders.layer_graph.graph import Affine, Graph, Input
from encoders.question import NeuronBounds, Norm, Region

Outward = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
"""Rounds lower and upper ends of ranges, the first down and the second up; with the width that intervals give them,
for what was computed with cancelled as much as they are narrower than that."""
ROWS_AT_ONCE = {"cpu": 512, "cuda": 8192}


@dataclass(frozen=True, eq=False)
class Ball:
    """ball(center, radius) ∩ box of S samples on a device; all [S, n] but radius [S].

    In L0 it is where at most `radius` inputs differ, a whole number.
    """

    center: Tensor
    lower: Tensor
    upper: Tensor
    below: Tensor  # room down to the box (the box itself, not the ball)
    above: Tensor
    radius: Tensor
    norm: Norm

    @classmethod
    def of(cls, device_graph: DeviceGraph, regions: Sequence[Region], norm: Norm, radii: Sequence[float]) -> Ball:
        clipped = [region.clipped(norm, radius) for region, radius in zip(regions, radii, strict=True)]
        # The room is rounded up: nextafter of a difference of float64 numbers is an upper bound of the difference.
        below = [np.nextafter(r.center - r.lower, np.inf) * (r.center > r.lower) for r in regions]
        above = [np.nextafter(r.upper - r.center, np.inf) * (r.upper > r.center) for r in regions]
        center = [region.center for region in regions]
        inside = ([pair[side] for pair in clipped] for side in (0, 1))
        parts = [device_graph.tensor(np.array(part)) for part in (center, *inside, below, above)]
        # An infinite radius meets zeros below; what lies beyond the box's farthest point is no more of it.
        reach = (parts[3] + parts[4]).sum(-1) * (1.0 + 1e-9) + 1e-300
        radius = device_graph.tensor(radii) if norm is Norm.L0 else torch.minimum(device_graph.tensor(radii), reach)
        return cls(parts[0], parts[1], parts[2], parts[3], parts[4], radius, norm)

    def lowest(self, function: LinearFunction, group: Grouping | None = None) -> Tensor:
        """Proven lower bound of each linear function on its sample's ball; without `group` there is one sample.

        A function of twice as many inputs is one of one-sided inputs.
        """
        group = group or Grouping.one(function.value)
        value = function.value - function.slack
        radius = group.of(self.radius).expand(value.shape)
        below, above = self.below, self.above
        if function.input.shape[-1] == 2 * below.shape[-1]:
            below, above = torch.zeros_like(torch.cat([below] * 2, dim=-1)), torch.cat([above, below], dim=-1)
        return lowest_value(function.input, value, group.of(below), group.of(above), self.norm, radius)

    @property
    def travel(self) -> Tensor:
        """The most that each input can move."""
        farthest = torch.maximum(self.below, self.above)
        return farthest if self.norm is Norm.L0 else torch.minimum(farthest, self.radius.unsqueeze(-1))


@dataclass(frozen=True, eq=False)
class NetworkBounds:
    """Bounds of every pre-activation and magnitudes of every value, on S balls; and the rows of the open neurons."""

    ball: Ball
    lower: dict[int, Tensor]  # ReLU node position → [S, size]
    upper: dict[int, Tensor]
    magnitudes: Magnitudes
    opened: OpenLayers

    def of_sample(self, k: int) -> NetworkBounds:
        """The bounds of one of the samples."""
        only = slice(k, k + 1)
        ball = Ball(**{
            name: value if name == "norm" else value[only] for name, value in vars(self.ball).items()
        })  # fmt: skip
        magnitudes = Magnitudes(*({i: v[only] for i, v in part.items()} for part in vars(self.magnitudes).values()))
        opened: OpenLayers = {}
        for position, layer in self.opened.items():
            count = int(layer.present[k].sum())
            if count:
                kept = {i: z[only, :count, : opened[i].entries.shape[1]] for i, z in layer.z.items() if i in opened}
                rest = {name: v[only, :count] for name, v in vars(layer).items() if name not in ("z", "lines")}
                lines = None if layer.lines is None else layer.lines.of(only, slice(count))
                opened[position] = OpenLayer(z=kept, lines=lines, **rest)
        lower, upper = ({i: v[only] for i, v in side.items()} for side in (self.lower, self.upper))
        return NetworkBounds(ball, lower, upper, magnitudes, opened)

    def neurons(self) -> NeuronBounds:
        """The same bounds of one sample as plain arrays, for the encoder."""
        return NeuronBounds(
            {i: v[0].cpu().numpy() for i, v in self.lower.items()},
            {i: v[0].cpu().numpy() for i, v in self.upper.items()},
        )


@lru_cache(maxsize=8)
def device_graph_for(graph: Graph, device: str = "cpu") -> DeviceGraph:
    """The graph on a device, built once (graphs compare by identity)."""
    check_products(device)
    return DeviceGraph(graph, device)


def network_bounds(
    device_graph: DeviceGraph,
    region: Region,
    norm: Norm,
    radius: float,
    crown: bool = True,
    known: NetworkBounds | None = None,
    outward: Outward | None = None,
) -> NetworkBounds:
    """Sound pre-activation bounds on ball ∩ box; with `crown`, what intervals leave open is tightened.

    `known` are bounds on a larger ball around the same sample: they hold here too, and are never given up. `outward`
    is for who writes ranges down: it rounds them, layer by layer, and chords are then the only upper lines.
    """
    return bounds_together(device_graph, (region,), norm, (radius,), crown, known, outward)


@torch.no_grad()
def bounds_together(
    device_graph: DeviceGraph,
    regions: Sequence[Region],
    norm: Norm,
    radii: Sequence[float],
    crown: bool = True,
    known: NetworkBounds | None = None,
    outward: Outward | None = None,
) -> NetworkBounds:
    """The same for several samples as one batch, each on a ball of its own."""
    ball = Ball.of(device_graph, regions, norm, radii)
    low: dict[int, Tensor] = {}
    high: dict[int, Tensor] = {}
    result = NetworkBounds(ball, {}, {}, Magnitudes({}, {}), {})
    magnitude = result.magnitudes
    for position, node in enumerate(device_graph.graph.nodes):
        look()
        if isinstance(node, Input):
            low[position], high[position] = ball.lower, ball.upper
        elif isinstance(node, Affine):
            low[position], high[position] = _interval(device_graph, position, node, low, high, magnitude)
        else:
            source = node.source
            least, most = low[source].clone(), high[source].clone()
            if known is not None:
                least, most = torch.maximum(least, known.lower[position]), torch.minimum(most, known.upper[position])
            tighten = crown and source != 0 and (norm is not Norm.LINF or position != device_graph.graph.relus[0])
            # An overflow says nothing; a comparison would take it for a phase that is known.
            least, most = (
                torch.where(side.isnan(), none, side) for side, none in ((least, -torch.inf), (most, torch.inf))
            )
            steep = tighten and outward is None and norm is Norm.L1
            followed = steep and position != device_graph.graph.relus[-1]
            if outward is not None:
                least, most = outward(least, most, most - least)
            opened = _open_layer(device_graph, source, least, most, result, tighten, steep, followed, outward)
            if (least > most).any():
                raise SoundnessError(
                    f"bounds of node {position} ({node.name}) cross: the ball is empty or the proof is"
                )
            result.lower[position], result.upper[position] = least, most
            if opened is not None:
                result.opened[position] = opened
            low[position], high[position] = least.clamp_min(0.0), most.clamp_min(0.0)
        if position not in magnitude.node:
            magnitude.node[position] = torch.maximum(low[position].abs(), high[position].abs())
    return result


def _interval(
    device_graph: DeviceGraph,
    position: int,
    node: Affine,
    low: dict[int, Tensor],
    high: dict[int, Tensor],
    out: Magnitudes,
) -> tuple[Tensor, Tensor]:
    """Mid-radius interval arithmetic, widened by its rounding error; fills in the node's magnitude."""
    middle = device_graph.bias[position][None]
    spread = torch.zeros_like(middle)
    size = device_graph.bias_size[position][None]
    for source, linear in zip(node.sources, device_graph.maps[position], strict=True):
        half = (high[source] - low[source]) / 2
        middle = middle + linear.apply((high[source] + low[source]) / 2)
        spread = spread + linear.magnitude(half)
        size = size + linear.magnitude(torch.maximum(low[source].abs(), high[source].abs()))
    out.affine[position] = size * (1.0 + 1e-9)
    slack = 4.0 * device_graph.gamma[position] * size + UNDERFLOW
    return middle - spread - slack, middle + spread + slack


def _open_layer(
    device_graph: DeviceGraph,
    source: int,
    least: Tensor,
    most: Tensor,
    known: NetworkBounds,
    tighten: bool,
    steep: bool,
    followed: bool,
    outward: Outward | None = None,
) -> OpenLayer | None:
    """Rows of the neurons that are still open, after CROWN for both sides of each (in place) if `tighten`.

    Where `steep`, once more with the envelopes of the neurons before them; where `followed` by layers that need them,
    they have envelopes of their own.
    """
    ball, opened = known.ball, known.opened
    lines: list[Above] = []
    rows: list[Rows] = []
    entries: list[Tensor] = []
    errors: list[Tensor] = []
    by_intervals = most - least
    for pairs in torch.split(torch.nonzero((least < 0) & (most > 0)), ROWS_AT_ONCE[device_graph.device.type]):
        sample, chosen = pairs[:, 0], pairs[:, 1]
        group = Grouping(len(least), sample)
        part = rows_of(device_graph, source, chosen, group, ball.center, known.magnitudes, opened, known.lower)
        error = row_error(part, opened, ball.travel, device_graph.terms)
        if tighten:
            for bent in (False, True) if steep and opened else (False,):
                below, above = (
                    ball.lowest(relaxed_below(part, sign, opened, error, bent), group) for sign in (1.0, -1.0)
                )
                above = -above
                if outward is not None:
                    below, above = outward(below, above, by_intervals[sample, chosen])
                least[sample, chosen] = torch.maximum(least[sample, chosen], below)
                most[sample, chosen] = torch.minimum(most[sample, chosen], above)
        kept = (least[sample, chosen] < 0) & (most[sample, chosen] > 0)
        if bool(kept.any()):
            rows.append(part.take(kept))
            entries.append(chosen[kept])
            errors.append(error[kept])
        if followed and bool(kept.any()):
            under = relaxed_below(rows[-1], -1.0, opened, errors[-1], steep=True)
            radius = rows[-1].group.of(ball.radius)
            lines.append(above_relu(-under.input, -under.value, under.slack, radius, device_graph.terms))
    if not rows:
        return None
    all_rows, all_entries = merged(rows), torch.cat(entries)
    sample = all_rows.group.member
    bounds = least[sample, all_entries], most[sample, all_entries]
    return OpenLayer.of(all_rows, all_entries, *bounds, torch.cat(errors), Above.joined(lines) if followed else None)


def neuron_bounds(graph: Graph, region: Region, norm: Norm, radius: float, device: str = "cpu") -> NeuronBounds:
    """Interval, then CROWN bounds of every ReLU's input on ball(center, radius) ∩ box."""
    return network_bounds(device_graph_for(graph, device), region, norm, radius).neurons()


@torch.no_grad()
def goal_bounds(
    device_graph: DeviceGraph, bounds: NetworkBounds, rows: Tensor, group: Grouping | None = None
) -> LinearFunction:
    """Linear lower bounds of rows · scores [M, classes] on their samples' balls; without `group` there is one."""
    start = len(device_graph.graph.nodes) - 1
    rule = relaxed(bounds.lower, bounds.upper, group=group)
    return backward(device_graph, start, rows, bounds.ball.center, bounds.magnitudes, rule, group)
