"""Reduced nets side by side, padded to one shape, so that nodes of several samples are bounded in one batch.

A net alone is a stack of one, without padding or copies. Padding is a neuron with a fixed phase and rows of zeros, and
an input without room: neither changes a value. All nets are of one graph, in one norm.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from bounds.grouping import Grouping
from bounds.reduced import Reduced, slices_of
from encoders.question import Norm


@dataclass(frozen=True, eq=False)
class Stack:
    """S nets with P open neurons and n inputs each, and G goals with J rows each; see `bounds.reduced`."""

    norm: Norm
    x: Tensor  # [S, P, n]
    z: Tensor  # [S, P, P]
    constant: Tensor  # [S, P]
    error: Tensor
    relu_error: Tensor
    lower: Tensor
    upper: Tensor
    padding: Tensor  # [S, P] which neurons there are none of
    below: Tensor  # [S, n]
    above: Tensor
    layers: tuple[slice, ...]
    member: Tensor  # [G] the net of each goal
    rows: Tensor  # [G, J] positions in that net; a goal with fewer rows repeats its first, which changes nothing
    goal_x: Tensor  # [G, J, n]
    goal_z: Tensor  # [G, J, P]
    goal_constant: Tensor  # [G, J]
    goal_error: Tensor
    columns: tuple[Tensor, ...]  # per net: the places of its neurons
    goals: tuple[slice, ...]  # per net: its goals

    @classmethod
    def of(cls, nets: Sequence[Reduced]) -> Stack:
        """The nets in this order."""
        first = nets[0]
        positions = sorted({position for net in nets for position, _ in net.neurons})
        counts = [{position: len(entries) for position, entries in net.neurons} for net in nets]
        layers = slices_of([max(count.get(position, 0) for count in counts) for position in positions])
        total = layers[-1].stop if layers else 0
        width = max(net.x.shape[1] for net in nets)
        most = max(len(rows) for net in nets for rows in net.goal_rows)
        device = first.x.device
        columns = [
            torch.cat([
                torch.arange(place.start, place.start + count.get(position, 0), device=device)
                for position, place in zip(positions, layers, strict=True)
            ] or [torch.zeros(0, dtype=torch.int64, device=device)])
            for count in counts
        ]  # fmt: skip
        rows = [_goal_rows(net, most) for net in nets]
        alone = len(nets) == 1

        def at(k: int, value: Tensor, *axes: int) -> Tensor:
            """`value` with its neurons (1) or inputs (2) along the last axes at their places."""
            for axis, kind in zip(range(-len(axes), 0), axes, strict=True):
                size = total if kind == 1 else width
                if value.shape[axis] != size:
                    shape = list(value.shape)
                    shape[axis] = size
                    place = columns[k] if kind == 1 else torch.arange(value.shape[axis], device=device)
                    value = value.new_zeros(shape).index_copy(axis, place, value)
            return value

        def stacked(parts: list[Tensor]) -> Tensor:
            return parts[0][None] if alone else torch.stack(parts)

        opened = [slice(0, net.open_phases) for net in nets]
        each = list(enumerate(zip(nets, opened, rows, strict=True)))
        absent = torch.ones((len(nets), total), dtype=torch.bool, device=device)
        for k, place in enumerate(columns):
            absent[k, place] = False
        return cls(
            norm=first.norm,
            x=stacked([at(k, net.x[part], 1, 2) for k, (net, part, _) in each]),
            z=stacked([at(k, net.z[part], 1, 1) for k, (net, part, _) in each]),
            constant=stacked([at(k, net.constant[part], 1) for k, (net, part, _) in each]),
            error=stacked([at(k, net.error[part], 1) for k, (net, part, _) in each]),
            relu_error=stacked([at(k, net.relu_error, 1) for k, (net, _, _) in each]),
            lower=stacked([at(k, net.lower, 1) for k, (net, _, _) in each]),
            upper=stacked([at(k, net.upper, 1) for k, (net, _, _) in each]),
            padding=absent,
            below=stacked([at(k, net.below, 2) for k, (net, _, _) in each]),
            above=stacked([at(k, net.above, 2) for k, (net, _, _) in each]),
            layers=layers,
            member=torch.cat([torch.full((len(r),), k, device=device) for k, (_, _, r) in each]),
            rows=torch.cat(rows),
            goal_x=torch.cat([at(k, net.x[r], 2) for k, (net, _, r) in each]),
            goal_z=torch.cat([at(k, net.z[r], 1) for k, (net, _, r) in each]),
            goal_constant=torch.cat([net.constant[r] for _, (net, _, r) in each]),
            goal_error=torch.cat([net.error[r] for _, (net, _, r) in each]),
            columns=tuple(columns),
            goals=slices_of([len(r) for r in rows]),
        )

    @property
    def count(self) -> int:
        return len(self.columns)

    def grouped(self, goal: Tensor) -> Grouping:
        """Nodes by the nets of their goals."""
        return Grouping(self.count, self.member[goal])

    @property
    def open_phases(self) -> int:
        """Of the largest net, rather more where the layers of one are wider and of another elsewhere."""
        return int(self.x.shape[1])


def _goal_rows(net: Reduced, most: int) -> Tensor:
    return torch.stack([torch.cat([rows, rows[:1].expand(most - len(rows))]) for rows in net.goal_rows])
