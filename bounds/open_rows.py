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

from bounds.backward import LinearFunction, Magnitudes, ReluRule, ReluStep, backward, chords
from bounds.lowered import Lowered, gamma

INFLATION = 1.0 + 1e-6  # pays for the rounding of the slack itself


@dataclass(frozen=True, eq=False)
class OpenRows:
    """M rows as in the module; `entries` [M] are their positions in the layer, z one matrix [M, open] per ReLU node."""

    entries: Tensor
    x: Tensor  # [M, n]
    z: Mapping[int, Tensor]
    value: Tensor
    slack: Tensor

    def take(self, index: Tensor) -> OpenRows:
        """The rows at `index`, a mask or positions."""
        z = {i: matrix[index] for i, matrix in self.z.items()}
        return OpenRows(self.entries[index], self.x[index], z, self.value[index], self.slack[index])


def merged(parts: Sequence[OpenRows]) -> OpenRows | None:
    """The rows of all parts of one layer, None if there are none."""
    parts = [part for part in parts if len(part.entries)]
    if len(parts) <= 1:
        return parts[0] if parts else None
    z = {i: torch.cat([part.z[i] for part in parts]) for i in parts[0].z}
    entries, x, value, slack = (torch.cat([getattr(p, f) for p in parts]) for f in ("entries", "x", "value", "slack"))
    return OpenRows(entries, x, z, value, slack)


@dataclass(frozen=True, eq=False)
class OpenLayers:
    """The open neurons of the layers so far: their rows and bounds, by ReLU node."""

    rows: dict[int, OpenRows]
    lower: dict[int, Tensor]  # [open]
    upper: dict[int, Tensor]

    @property
    def count(self) -> int:
        return sum(len(rows.entries) for rows in self.rows.values())


def kept_open(opened: Mapping[int, OpenRows], lower: dict[int, Tensor], leaves: dict[int, Tensor]) -> ReluRule:
    """The rule that passes stable neurons and puts what is behind open ones into `leaves`."""

    def rule(position: int, a: Tensor) -> ReluStep:
        active = (lower[position] >= 0).to(a.dtype)
        rows = opened.get(position)
        if rows is not None:
            leaves[position] = a[:, rows.entries]
            active[:, rows.entries] = 0.0
        return ReluStep(a * active, a.new_zeros(a.shape[0]), a.new_zeros(a.shape[0]))

    return rule


def rows_of(
    lowered: Lowered,
    start: int,
    chosen: Tensor,
    center: Tensor,
    magnitudes: Magnitudes,
    opened: Mapping[int, OpenRows],
    lower: dict[int, Tensor],
) -> OpenRows:
    """Rows of node `start`: of its entries `chosen` [M], or of `chosen` · node where that is a matrix [M, size]."""
    leaves: dict[int, Tensor] = {}
    function = backward(lowered, start, chosen, center, magnitudes, kept_open(opened, lower, leaves))
    entries = chosen if chosen.dim() == 1 else torch.arange(len(chosen), device=chosen.device)
    return OpenRows(entries, function.input, leaves, function.value, function.slack)


def row_error(rows: OpenRows, layers: OpenLayers, travel: Tensor, terms: int) -> Tensor:
    """How far a row can be off on the region, with the rounding of sums of at most `terms` products over it."""
    size = rows.x.abs() @ travel + rows.value.abs()
    for i, z in rows.z.items():
        size = size + z.abs() @ layers.upper[i]
    return (rows.slack + 4.0 * gamma(terms) * size) * INFLATION + 1e-300


def relaxed_below(rows: OpenRows, sign: float, layers: OpenLayers, travel: Tensor) -> LinearFunction:
    """CROWN: a linear function of the input below sign · row on the region, for every row. A few small products."""
    terms = layers.count + rows.x.shape[1] + 64
    x, value = sign * rows.x, sign * rows.value
    slack = row_error(rows, layers, travel, terms)
    behind = {i: sign * z for i, z in rows.z.items()}
    for position in sorted(layers.rows, reverse=True):
        a = behind.pop(position, None)
        if a is None:
            continue
        low, high = layers.lower[position], layers.upper[position]
        chord, offset, least = chords(low, high)
        under = layers.rows[position]
        before = a.clamp_min(0.0) * least + a.clamp_max(0.0) * chord
        loss = 4.0 * gamma(terms) * (torch.maximum(low.abs(), high.abs()) + offset)
        slack = slack + a.abs() @ loss + before.abs() @ row_error(under, layers, travel, terms)
        value = value + before @ under.value + a.clamp_max(0.0) @ offset
        x = x + before @ under.x
        for i, z in under.z.items():
            behind[i] = behind[i] + before @ z if i in behind else before @ z
    return LinearFunction(x, value, slack * INFLATION)
