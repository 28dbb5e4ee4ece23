"""Rows of pre-activations, exact through stable neurons, that stop at the open ones; and their CROWN bounds.

On ball ∩ box a neuron h behind open neurons o of earlier layers is

    h = x · (input - center) + Σ_o z_o · relu(h_o) + value,    off by at most `slack` on the region.

The same rows serve twice: relaxing the few relu(h_o) gives the neuron's bounds, and the rows that stay open are the
reduced net of a search. Only the first map below a row is special: a unit vector picks a row of it, and no more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from bounds.geometry.relu_over_simplex import Above
from bounds.propagation.backward_pass import LinearFunction, Magnitudes, ReluRule, ReluStep, backward, chords
from bounds.propagation.device_graph import DeviceGraph
from bounds.propagation.sample_groups import Grouping
from bounds.rounding import UNDERFLOW, gamma
from encoders.deadline import look

INFLATION = 1.0 + 1e-6  # pays for the rounding of the slack itself


@dataclass(frozen=True, eq=False)
class Rows:
    """M rows as in the module, of one or several samples; z is one matrix [M, open] per ReLU node below."""

    group: Grouping
    x: Tensor  # [M, n]
    z: Mapping[int, Tensor]
    value: Tensor
    slack: Tensor

    def take(self, index: Tensor) -> Rows:
        """The rows at `index`, a mask or positions."""
        group = Grouping(self.group.count, self.group.member[index])
        z = {i: matrix[index] for i, matrix in self.z.items()}
        return Rows(group, self.x[index], z, self.value[index], self.slack[index])


def merged(parts: Sequence[Rows]) -> Rows:
    """The rows of all parts of one layer, at least one."""
    if len(parts) == 1:
        return parts[0]
    group = Grouping(parts[0].group.count, torch.cat([part.group.member for part in parts]))
    z = {i: torch.cat([part.z[i] for part in parts]) for i in parts[0].z}
    x, value, slack = (torch.cat([getattr(part, f) for part in parts]) for f in ("x", "value", "slack"))
    return Rows(group, x, z, value, slack)


@dataclass(frozen=True, eq=False)
class OpenLayer:
    """The open neurons of one ReLU node, for each of S samples; a sample with fewer of them is padded with zeros."""

    entries: Tensor  # [S, P] positions in the layer
    present: Tensor  # [S, P]
    x: Tensor  # [S, P, n]
    z: Mapping[int, Tensor]  # [S, P, open below]
    value: Tensor  # [S, P]
    error: Tensor  # how far a row can be off, its slack included
    lower: Tensor
    upper: Tensor
    lines: Above | None = None  # in L1: upper lines over one-sided inputs

    @classmethod
    def of(
        cls, rows: Rows, chosen: Tensor, lower: Tensor, upper: Tensor, error: Tensor, lines: Above | None = None
    ) -> OpenLayer:
        """The rows of entries `chosen` [M], with their bounds."""
        spread = rows.group.spread
        return cls(
            entries=spread(chosen),
            present=spread(torch.ones_like(chosen, dtype=torch.bool)),
            x=spread(rows.x),
            z={i: spread(z) for i, z in rows.z.items()},
            value=spread(rows.value),
            error=spread(error),
            lower=spread(lower),
            upper=spread(upper),
            lines=None if lines is None else Above(*(spread(value) for value in vars(lines).values())),
        )


OpenLayers = dict[int, OpenLayer]
"""By ReLU node, in order: the open neurons of the layers so far."""


def open_count(layers: OpenLayers) -> int:
    """Of the sample with most, or a few more."""
    return sum(layer.entries.shape[1] for layer in layers.values())


def kept_open(opened: OpenLayers, lower: dict[int, Tensor], leaves: dict[int, Tensor], group: Grouping) -> ReluRule:
    """The rule that passes stable neurons and puts what is behind open ones into `leaves`."""

    def rule(position: int, a: Tensor) -> ReluStep:
        active = (lower[position] >= 0).to(a.dtype)
        layer = opened.get(position)
        if layer is not None:
            sample, slot = torch.nonzero(layer.present, as_tuple=True)
            active[sample, layer.entries[sample, slot]] = 0.0
            if group.alone:
                leaves[position] = a[:, layer.entries[0]]
            else:
                leaves[position] = a.gather(1, group.of(layer.entries)) * group.of(layer.present)
        return ReluStep(a * group.of(active), a.new_zeros(a.shape[0]), a.new_zeros(a.shape[0]))

    return rule


def rows_of(
    device_graph: DeviceGraph,
    start: int,
    chosen: Tensor,
    group: Grouping,
    center: Tensor,
    magnitudes: Magnitudes,
    opened: OpenLayers,
    lower: dict[int, Tensor],
) -> Rows:
    """Rows of node `start`: of its entries `chosen` [M], or of `chosen` · node where that is a matrix [M, size]."""
    leaves: dict[int, Tensor] = {}
    rule = kept_open(opened, lower, leaves, group)
    function = backward(device_graph, start, chosen, center, magnitudes, rule, group)
    return Rows(group, function.input, leaves, function.value, function.slack)


def row_error(rows: Rows, layers: OpenLayers, travel: Tensor, terms: int) -> Tensor:
    """How far a row can be off on the region, with the rounding of sums of at most `terms` products over it."""
    size = rows.group.dot(rows.x.abs(), travel) + rows.value.abs()
    for i, z in rows.z.items():
        size = size + rows.group.dot(z.abs(), layers[i].upper)
    return (rows.slack + 4.0 * gamma(terms) * size) * INFLATION + UNDERFLOW


def relaxed_below(rows: Rows, sign: float, layers: OpenLayers, error: Tensor, steep: bool = False) -> LinearFunction:
    """CROWN: a linear function of the input below sign · row on the region, for every row. A few small products.

    Where `steep`, the layers' own lines take the place of chords, and the function is one of the one-sided inputs.
    """
    group = rows.group
    terms = open_count(layers) + rows.x.shape[1] + 64
    x, value, slack = sign * rows.x, sign * rows.value, error
    bent = torch.zeros_like(x).repeat(1, 2) if steep else x[:, :0]
    behind = {i: sign * z for i, z in rows.z.items()}
    for position in sorted(layers, reverse=True):
        a = behind.pop(position, None)
        if a is None:
            continue
        look()
        under = layers[position]
        chord, offset, least = chords(under.lower, under.upper)
        above = a.clamp_max(0.0)
        if steep and under.lines is not None:
            bent = bent + group.times(above, under.lines.normal)
            value = value + group.dot(above, under.lines.value)
            slack = slack + group.dot(above.abs(), under.lines.error)
            above = torch.zeros_like(above)
        before = a.clamp_min(0.0) * group.of(least) + above * group.of(chord)
        loss = 4.0 * gamma(terms) * (torch.maximum(under.lower.abs(), under.upper.abs()) + offset)
        slack = slack + group.dot(a.abs(), loss) + group.dot(before.abs(), under.error)
        value = value + group.dot(before, under.value) + group.dot(above, offset)
        x = x + group.times(before, under.x)
        for i, z in under.z.items():
            behind[i] = behind[i] + group.times(before, z) if i in behind else group.times(before, z)
    whole = torch.cat([x, -x], dim=-1) + bent if steep else x
    return LinearFunction(whole, value, slack * INFLATION)
