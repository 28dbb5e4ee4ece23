"""How far the scores of a file, as a runtime executes it, can be from those of the network it stands for.

The proofs are about real arithmetic on the file's numbers. A runtime computes in float32 (or float64): it may sum in
any order, with or without fused multiply-add, may fold factors into weights in its own arithmetic, and may flush
subnormal numbers to zero. It uses no transforms (Fourier, Winograd), whose rounding no count of terms bounds, and no
shorter numbers (TF32, bfloat16) on the way. Constants that a file computes from constants are the ones that onnxruntime
computes, and scores are what a Softmax or Sigmoid at the end reads: it may round two of them to one number.

*One node.* Let x̂ be the values as executed. A ReLU and a gather round nothing. An Affine node's value passes through
at most k roundings per term, k being what meets in one sum, what was folded, and a few to spare, so that

    x̂ = M x̂_sources + b + δ,    |δ| ≤ γ_k · (|M| |x̂_sources| + bias_size) + underflow

with Higham's γ_k = k u / (1 - k u): weights that a fusion folds by themselves are weights times (1 + θ), |θ| ≤ γ.

*How far values are off.* With |value| ≤ V, e = |M| e_sources + δ (δ with V + e for |x̂|) bounds |x̂ - x|, and more: the
values of the network in which only a part t·δ, 0 ≤ t ≤ 1, is added at each node are within e of the real ones too. A
ReLU whose input's bounds, widened by e, stay on one side of zero is in that phase for all of those networks.

*What it does to the scores.* Along t the scores are piecewise linear; their derivative is Σ J·δ over the nodes, where
J, the derivative of the scores by what is added at a node, follows from the chain rule with each ReLU's slope in its
phase, or in [0, 1] where the phase is not known (and where an input rests at zero any slope will do, since its own
derivative is zero). From t = 0, real arithmetic, to t = 1, the execution, a row of scores therefore moves by at most

    E = Σ over nodes of max |row·J| · δ

One pass from the rows to the input bounds row·J entry by entry, as center C and radius R: C M and R |M| behind an
Affine node, the hull with zero behind a ReLU that may be either. Forward products of |W| would count every weight
with its size; this counts what is left of them where signs cancel.

*The rounding of this analysis*, in float64: C M is off by at most γ·|C||M|, which goes into R; sums of numbers that
are not negative are right but for a relative error far below `INFLATION`, which every figure is raised by. Whatever
overflows or is no number ends as an infinite E.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bounds.propagation.device_graph import DeviceGraph, TorchGather, TorchMap
from bounds.propagation.neuron_bounds import NetworkBounds
from encoders.layer_graph.graph import Affine, Input

SPARE = 3  # roundings beside those that a node tells of
INFLATION = 1.0 + 1e-6
TINY = 1e-300  # more than float64 itself loses by underflow
FOLDED_GAIN = (
    2.0**60
)  # an operator scales its inner values by 2^±30 at the most, and what is folded after it by as much


@dataclass(frozen=True)
class Arithmetic:
    """Floating-point numbers as a runtime computes with them."""

    name: str
    unit: float  # the unit roundoff
    least: float  # the least normal number: flushed to zero, any smaller one is lost whole
    most: float  # the largest number

    def gamma(self, count: Tensor) -> Tensor:
        """No sum whose terms are rounded `count` times is off by more than γ times its terms' sizes."""
        lost = count * self.unit
        return torch.where(lost < 0.5, lost / (1.0 - lost), torch.inf)


FLOAT32 = Arithmetic("float32", 2.0**-24, 2.0**-126, float(torch.finfo(torch.float32).max))
FLOAT64 = Arithmetic("float64", 2.0**-53, 2.0**-1022, float(torch.finfo(torch.float64).max))
ARITHMETICS = {arithmetic.name: arithmetic for arithmetic in (FLOAT32, FLOAT64)}


@dataclass(frozen=True, eq=False)
class Values:
    """Where the real values of S samples lie: bounds of every ReLU's input, sizes of every node. [S, size] each."""

    lower: dict[int, Tensor]
    upper: dict[int, Tensor]
    size: dict[int, Tensor]


@dataclass(frozen=True, eq=False)
class Executed:
    """What execution adds at each Affine node, and the slope of each ReLU in between: active, inactive or either."""

    added: dict[int, Tensor]
    active: dict[int, Tensor]
    inactive: dict[int, Tensor]


@torch.no_grad()
def execution_error(
    device_graph: DeviceGraph, bounds: NetworkBounds, arithmetic: Arithmetic, rows: Tensor | None = None
) -> Tensor:
    """E [S, J]: no execution of an input of a sample's region has rows·scores farther than this from the real ones.

    `rows` [J, classes] are the same for all samples; without them, each class's score.
    """
    return _moved(device_graph, Values(bounds.lower, bounds.upper, bounds.magnitudes.node), arithmetic, rows)


@torch.no_grad()
def error_at_points(
    device_graph: DeviceGraph, points: Tensor, arithmetic: Arithmetic, rows: Tensor | None = None
) -> Tensor:
    """The same at single inputs [B, n]; costs little more than J backward passes from each."""
    return _moved(device_graph, _values_at(device_graph, points), arithmetic, rows)


def _values_at(device_graph: DeviceGraph, points: Tensor) -> Values:
    """Bounds of the values at points: as float64 computes them, and what it can be off by."""
    found: list[tuple[Tensor, Tensor]] = []
    lower: dict[int, Tensor] = {}
    upper: dict[int, Tensor] = {}
    for position, node in enumerate(device_graph.graph.nodes):
        if isinstance(node, Input):
            found.append((points, torch.zeros_like(points)))
        elif isinstance(node, Affine):
            value, off = device_graph.bias[position][None], device_graph.zeros(1, node.size)
            size = device_graph.bias_size[position][None]
            for source, linear in zip(node.sources, device_graph.maps[position], strict=True):
                value = value + linear.apply(found[source][0])
                off = off + linear.magnitude(found[source][1])
                size = size + linear.magnitude(found[source][0].abs())
            found.append((value, (off + device_graph.gamma[position] * size) * INFLATION + TINY))
        else:
            value, off = found[node.source]
            lower[position], upper[position] = value - off, value + off
            found.append((value.relu(), off.masked_fill(upper[position] < 0, 0.0)))
    return Values(lower, upper, {i: value.abs() + off for i, (value, off) in enumerate(found)})


def _moved(device_graph: DeviceGraph, values: Values, arithmetic: Arithmetic, rows: Tensor | None) -> Tensor:
    """From the rows back to the input: what is added at each node, weighed by how much of it can arrive."""
    executed = _executed(device_graph, values, arithmetic)
    nodes = device_graph.graph.nodes
    rows = (
        torch.eye(device_graph.graph.classes, dtype=device_graph.dtype, device=device_graph.device)
        if rows is None
        else rows
    )
    samples, last = len(values.size[0]), len(nodes) - 1
    error = device_graph.zeros(samples, len(rows))
    first = rows.expand(samples, *rows.shape).reshape(-1, rows.shape[1])
    waiting = {last: (first, torch.zeros_like(first))}
    for position in range(last, 0, -1):
        if position not in waiting:
            continue
        node = nodes[position]
        center, radius = waiting.pop(position)
        if isinstance(node, Affine):
            most = (center.abs() + radius).reshape(samples, len(rows), -1)
            error = error + (most @ executed.added[position].unsqueeze(-1)).squeeze(-1)
            off = device_graph.gamma[position]
            radius = radius + off * center.abs()
            for source, linear in zip(node.sources, device_graph.maps[position], strict=True):
                if source:
                    part = linear.adjoint(center), linear.magnitude_adjoint(radius) * (1.0 + off) + TINY
                    _add(waiting, source, part)
        elif node.sources != (0,):
            _add(waiting, node.sources[0], _through_relu(center, radius, executed, position, samples))
    return (error * INFLATION).nan_to_num(nan=torch.inf, posinf=torch.inf)


def _add(waiting: dict[int, tuple[Tensor, Tensor]], position: int, part: tuple[Tensor, Tensor]) -> None:
    before = waiting.get(position)
    waiting[position] = part if before is None else (before[0] + part[0], before[1] + part[1])


def _through_relu(
    center: Tensor, radius: Tensor, executed: Executed, position: int, samples: int
) -> tuple[Tensor, Tensor]:
    """The hull of slope · coefficient over the slopes that the ReLU can have."""
    shape = (samples, -1, center.shape[-1])
    active, inactive = (side[position].unsqueeze(1) for side in (executed.active, executed.inactive))
    center, radius = center.reshape(shape), radius.reshape(shape)
    low, high = (center - radius).clamp_max(0.0), (center + radius).clamp_min(0.0)
    center = torch.where(active, center, (low + high) / 2).masked_fill(inactive, 0.0)
    radius = torch.where(active, radius, (high - low) / 2).masked_fill(inactive, 0.0)
    return center.flatten(0, 1), radius.flatten(0, 1)


def _executed(device_graph: DeviceGraph, values: Values, arithmetic: Arithmetic) -> Executed:
    """From the input up: how far values can be off, and with that what each node adds."""
    off: list[Tensor] = []
    found = Executed({}, {}, {})
    for position, node in enumerate(device_graph.graph.nodes):
        if isinstance(node, Input):
            off.append(torch.zeros_like(values.size[0]))
        elif isinstance(node, Affine):
            maps = device_graph.maps[position]
            carried = sum(
                (m.magnitude(off[s]) for s, m in zip(node.sources, maps, strict=True)), device_graph.zeros(1, 1)
            )
            sizes = [values.size[s] + off[s] for s in node.sources]
            found.added[position] = _added(device_graph, position, node, sizes, arithmetic)
            off.append((carried + found.added[position]) * INFLATION)
        else:
            before = off[node.source]
            found.active[position] = values.lower[position] - before > 0
            found.inactive[position] = values.upper[position] + before < 0
            off.append(before.masked_fill(found.inactive[position], 0.0))
    return found


def _added(
    device_graph: DeviceGraph, position: int, node: Affine, sizes: list[Tensor], arithmetic: Arithmetic
) -> Tensor:
    """δ of one Affine node, whose sources are at most `sizes` as executed."""
    maps, bias_size = device_graph.maps[position], device_graph.bias_size[position]
    if _only_moves(maps, bias_size, node):
        return torch.zeros_like(sizes[0][:, :1]).expand(-1, node.size)
    count = device_graph.zeros(len(sizes[0]), 1) + len(maps) + node.roundings + SPARE
    total, weights, largest = bias_size[None], torch.ones_like(bias_size[None]), device_graph.zeros(1, 1)
    for linear, size in zip(maps, sizes, strict=True):
        # What is zero adds nothing, and rounds nothing.
        count = count + (size != 0).sum(-1, keepdim=True).clamp_max(linear.summands)
        total = total + linear.magnitude(size)
        weights = weights + linear.magnitude(torch.ones_like(size[:1]))
        largest = torch.maximum(largest, size.amax(-1, keepdim=True))
    gain = FOLDED_GAIN if node.roundings else 1.0
    # Flushed are products and sums, values that come in (times their weights) and weights (times what comes in).
    flushed = 2.0 * count * gain * arithmetic.least * (weights + largest)
    # The node's own numbers, folded in float64, are as far from the file's.
    lost = (arithmetic.gamma(count) + FLOAT64.gamma(count)) * total
    added = (lost + flushed) * INFLATION + TINY
    return torch.where(gain * (total + lost + weights) < arithmetic.most / 2, added, torch.inf)


def _only_moves(maps: tuple[TorchMap, ...], bias_size: Tensor, node: Affine) -> bool:
    """Whether a node does no more than move values about."""
    return len(maps) == 1 and isinstance(maps[0], TorchGather) and not node.roundings and not bool(bias_size.any())
