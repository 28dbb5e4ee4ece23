"""One backward pass: a linear function of some node, rewritten as a linear function of the input.

Going down from `start`, an Affine node replaces its coefficient by the adjoint of its maps (exact but for rounding);
what happens at a ReLU is the caller's rule: relax it (CROWN) or leave the open neurons standing (the reduced net).
Every step adds to `slack` the most that its float64 rounding can have changed the function's value on the region:
with |value| ≤ V at the sources, the step a → aM is off by at most γ·|a|·(|M|V + |bias|), one dot product per row.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from bounds.propagation.device_graph import DeviceGraph, add_to
from bounds.propagation.sample_groups import Grouping
from bounds.rounding import UNDERFLOW, UNIT_ROUNDOFF
from encoders.deadline import look
from encoders.layer_graph.graph import Affine, Relu

SLACK_INFLATION = 1.0 + 1e-6  # pays for the rounding of the slack itself


@dataclass(frozen=True, eq=False)
class ReluStep:
    """What a rule makes of the coefficient behind a ReLU: one before it, a constant, and what to add to the slack."""

    coefficient: Tensor
    constant: Tensor
    slack: Tensor


ReluRule = Callable[[int, Tensor], ReluStep]


@dataclass(frozen=True, eq=False)
class LinearFunction:
    """value + input · (x - center), off by at most `slack` on the region. input: [M, n]; value, slack: [M]."""

    input: Tensor
    value: Tensor
    slack: Tensor


@dataclass(frozen=True, eq=False)
class Magnitudes:
    """How large values can get on each sample's region: |value| per node, |M|V + |bias| per Affine node. [S, size]."""

    node: dict[int, Tensor]
    affine: dict[int, Tensor]


def backward(
    device_graph: DeviceGraph,
    start: int,
    rows: Tensor,
    center: Tensor,
    magnitudes: Magnitudes,
    rule: ReluRule,
    group: Grouping | None = None,
    sign: float = 1.0,
) -> LinearFunction:
    """Rewrite rows of node `start` in terms of the input: a matrix [M, size], or [M] entries, for their unit vectors.

    `center` is [S, n], and `group` says whose each row is; without it there is one sample. Costs M adjoint passes; the
    first of them is a look-up where unit vectors meet an Affine node. Where `sign` is -1, so is each entry's unit.
    """
    group = group or Grouping.one(rows)
    nodes = device_graph.graph.nodes
    waiting: dict[int, Tensor] = {start: rows}
    count = rows.shape[0]
    constant = device_graph.zeros(count)
    slack = device_graph.zeros(count)
    for position in range(start, 0, -1):
        a = waiting.pop(position, None)
        if a is None:
            continue
        look()
        node = nodes[position]
        if a.dim() == 1 and isinstance(node, Affine):
            constant = constant + sign * device_graph.bias[position][a]
            slack = slack + device_graph.gamma[position] * magnitudes.affine[position][group.member, a]
            for source, linear in zip(node.sources, device_graph.maps[position], strict=True):
                add_to(waiting, source, sign * linear.rows(a))
            continue
        a = _units(device_graph, position, a, sign)
        if isinstance(node, Affine):
            constant = constant + a @ device_graph.bias[position]
            slack = slack + device_graph.gamma[position] * group.dot(a.abs(), magnitudes.affine[position])
            for source, linear in zip(node.sources, device_graph.maps[position], strict=True):
                add_to(waiting, source, linear.adjoint(a))
        elif isinstance(node, Relu):
            step = rule(position, a)
            constant = constant + step.constant
            slack = slack + step.slack
            add_to(waiting, node.source, step.coefficient)
    a = waiting.pop(0, None)
    a = device_graph.zeros(count, device_graph.graph.input_size) if a is None else _units(device_graph, 0, a, sign)
    value = constant + group.dot(a, center)
    final = device_graph.gamma.get(start, 0.0)
    terms = (a.shape[1] + len(nodes) + 64) * UNIT_ROUNDOFF
    slack = slack + (final + 4 * terms) * (group.dot(a.abs(), magnitudes.node[0]) + constant.abs())
    return LinearFunction(a, value, slack * SLACK_INFLATION + UNDERFLOW)


def _units(device_graph: DeviceGraph, position: int, rows: Tensor, sign: float) -> Tensor:
    """Entries written out as unit vectors times the sign; matrices as they are."""
    if rows.dim() > 1:
        return rows
    matrix = device_graph.zeros(len(rows), device_graph.graph.nodes[position].size)
    matrix[torch.arange(len(rows), device=rows.device), rows] = sign
    return matrix


def relaxed(
    lower: dict[int, Tensor],
    upper: dict[int, Tensor],
    slopes: dict[int, Tensor] | None = None,
    group: Grouping | None = None,
) -> ReluRule:
    """The CROWN rule for *lower* bounds: a ≥ 0 takes the lower line α·h, a < 0 the chord through (l, 0) and (u, u).

    The chord's slope may be rounded at will: its offset is then chosen so that it stays above both ends.
    Without `slopes` the lower line is h itself where u ≥ -l and 0 elsewhere, the choice with the least area, and of the
    two that are alike that of the proof format.
    """

    def rule(position: int, a: Tensor) -> ReluStep:
        low, high = lower[position], upper[position]
        if group is not None:
            low, high = group.of(low), group.of(high)
        chord, offset, least = chords(low, high)
        alpha = (
            least if slopes is None else torch.where((low < 0) & (high > 0), slopes[position].clamp(0.0, 1.0), least)
        )
        positive, negative = a.clamp_min(0.0), a.clamp_max(0.0)
        size = torch.maximum(low.abs(), high.abs())
        return ReluStep(
            positive * alpha + negative * chord,
            (negative * offset).sum(-1),
            8.0 * (a.shape[-1] + 8) * UNIT_ROUNDOFF * (a.abs() * (size + offset)).sum(-1),
        )

    return rule


def chords(low: Tensor, high: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Slope and offset of the upper line, and the default slope of the lower line, per neuron."""
    is_open = (low < 0) & (high > 0)
    active = (low >= 0).to(low.dtype)
    chord = torch.where(is_open, high / (high - low).clamp_min(1e-300), active).clamp(0.0, 1.0)
    offset = torch.where(is_open, torch.maximum(-chord * low, high * (1.0 - chord)) * (1.0 + 1e-15), 0.0)
    least = torch.where(is_open, (high >= -low).to(low.dtype), active)
    return chord, offset, least
