"""Reduced nets side by side, padded to one shape, so that nodes of several samples are bounded in one batch.

A net alone is a stack of one, without padding or copies. Padding is a neuron with a fixed phase and rows of zeros, and
an input without room: neither changes a value. All nets are of one graph, in one norm.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from bounds.propagation.backward_pass import chords
from bounds.propagation.device_graph import DeviceGraph
from bounds.propagation.neuron_bounds import NetworkBounds
from bounds.propagation.open_neurons import open_count, row_error
from bounds.propagation.sample_groups import Grouping
from bounds.reduced_net.reduced_net import Reduced, goal_rows, slices_of
from bounds.rounding import gamma
from encoders.question import Goal, Norm


@dataclass(frozen=True, eq=False)
class Stack:
    """S nets with P open neurons and n inputs each, and G goals with J rows each (`reduced_net.py`)."""

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
    one_sided: bool = False  # inputs that are never negative (`bounds/reduced_net/one_sided_inputs.py`)

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
            one_sided=first.sign is not None,
        )

    @property
    def count(self) -> int:
        return len(self.columns)

    @classmethod
    @torch.no_grad()
    def on(cls, device_graph: DeviceGraph, bounds: NetworkBounds, goals: Sequence[Sequence[Goal]]) -> Stack:
        """The nets of all balls of `bounds` at once, without a net of its own for each; `goals` of each sample."""
        ball, opened = bounds.ball, bounds.opened
        most = max(len(goal.rows) for each in goals for goal in each)
        every = [(k, goal) for k, each in enumerate(goals) for goal in each]
        member = torch.tensor([k for k, _ in every], device=device_graph.device)
        pick = [np.arange(most) * (np.arange(most) < len(goal.rows)) for _, goal in every]
        matrix = np.concatenate([goal.rows[chosen] for (_, goal), chosen in zip(every, pick, strict=True)])
        offset = np.concatenate([goal.offset[chosen] for (_, goal), chosen in zip(every, pick, strict=True)])
        group = Grouping(len(goals), member.repeat_interleave(most))
        last = goal_rows(device_graph, bounds, device_graph.tensor(matrix), group)
        last = replace(last, value=last.value + device_graph.tensor(offset))
        error = row_error(last, opened, ball.travel, device_graph.terms)
        layers = slices_of([layer.entries.shape[1] for layer in opened.values()])
        places, total, count = dict(zip(opened, layers, strict=True)), open_count(opened), len(goals)
        z = device_graph.zeros(count, total, total)
        goal_z = device_graph.zeros(len(matrix), total)
        for position, layer in opened.items():
            for i, inner in layer.z.items():
                z[:, places[position], places[i]] = inner
            if position in last.z:
                goal_z[:, places[position]] = last.z[position]
        none = device_graph.zeros(count, 0)
        rows = {
            name: torch.cat([none, *(getattr(layer, name) for layer in opened.values())], dim=1)
            for name in ("value", "error", "lower", "upper")
        }
        absent = torch.cat([none.bool(), *(~layer.present for layer in opened.values())], dim=1)
        size = torch.maximum(rows["lower"].abs(), rows["upper"].abs()) + chords(rows["lower"], rows["upper"])[1]
        sizes = [len(each) for each in goals]
        everything = torch.arange(total, device=device_graph.device)
        return cls(
            norm=ball.norm,
            x=torch.cat(
                [device_graph.zeros(count, 0, device_graph.graph.input_size), *(o.x for o in opened.values())], dim=1
            ),
            z=z,
            constant=rows["value"],
            error=rows["error"],
            relu_error=4.0 * gamma(total) * size,
            lower=rows["lower"],
            upper=rows["upper"],
            padding=absent,
            below=ball.below,
            above=ball.above,
            layers=layers,
            member=member,
            rows=torch.arange(len(matrix), device=device_graph.device).view(len(every), most),
            goal_x=last.x.view(len(every), most, last.x.shape[1]),
            goal_z=goal_z.view(len(every), most, total),
            goal_constant=last.value.view(len(every), most),
            goal_error=error.view(len(every), most),
            columns=(everything,) * count,
            goals=slices_of(sizes),
        )

    def grouped(self, goal: Tensor) -> Grouping:
        """Nodes by the nets of their goals."""
        return Grouping(self.count, self.member[goal])

    @property
    def open_phases(self) -> int:
        """Of the largest net, rather more where the layers of one are wider and of another elsewhere."""
        return int(self.x.shape[1])


def _goal_rows(net: Reduced, most: int) -> Tensor:
    return torch.stack([torch.cat([rows, rows[:1].expand(most - len(rows))]) for rows in net.goal_rows])
