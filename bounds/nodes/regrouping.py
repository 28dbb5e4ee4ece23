"""Nodes carried from one reduced net to another: into a stack and back, and onto the net of a smaller ball."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from bounds.nodes.node_bounds import NodeBounds
from bounds.nodes.records import Nodes, Pass
from bounds.nodes.starts import NONE
from bounds.propagation.neuron_bounds import NetworkBounds
from bounds.reduced_net.reduced_net import Reduced
from bounds.reduced_net.stacked_nets import Stack

PER_NEURON = ("phase", "slope", "multiplier", "lower", "upper")
PER_INPUT = ("point", "normal")


def gathered(stack: Stack, parts: Sequence[Nodes]) -> Nodes:
    """One batch of the nodes of each net of the stack, in order."""
    if stack.count == 1:
        return parts[0]
    batches = [_at_home(stack, k, nodes) for k, nodes in enumerate(parts)]
    return Nodes(**{name: torch.cat([getattr(part, name) for part in batches]) for name in vars(parts[0])})


def _at_home(stack: Stack, k: int, nodes: Nodes) -> Nodes:
    place, count = stack.columns[k], len(nodes)
    wide = {}
    for name in PER_NEURON:
        value = getattr(nodes, name)
        wide[name] = value.new_zeros(count, stack.open_phases).index_copy(1, place, value)
    wide["phase"] -= stack.padding[k].to(nodes.phase.dtype)
    for name in PER_INPUT:
        value = getattr(nodes, name)
        missing = stack.x.shape[2] - value.shape[1] if value.shape[1] else 0
        wide[name] = torch.nn.functional.pad(value, (0, missing))
    return replace(nodes, goal=nodes.goal + stack.goals[k].start, **wide)


def parted(engine: NodeBounds, nodes: Nodes, seen: Pass, counts: Sequence[int]) -> list[tuple[Nodes, Pass]]:
    """The batch that `gathered` made, with what was seen of it, as the parts it was made from."""
    stack = engine.stack
    if stack.count == 1:
        return [(nodes, seen)]
    found, start = [], 0
    for k, (net, count) in enumerate(zip(engine.nets, counts, strict=True)):
        rows = torch.arange(start, start + count, device=nodes.goal.device)
        part, view = nodes.take(rows), seen.take(rows)
        place, size = stack.columns[k], net.x.shape[1]
        narrow = {name: getattr(part, name)[:, place] for name in PER_NEURON}
        narrow |= {name: getattr(part, name)[:, :size] for name in PER_INPUT}
        part = replace(part, goal=part.goal - stack.goals[k].start, **narrow)
        view = replace(
            view,
            shift=view.shift[:, :size],
            normal=view.normal[:, :size],
            preactivation=view.preactivation[:, place],
            mean_before=view.mean_before[:, place],
            mean_behind=view.mean_behind[:, place],
            behind=view.behind[:, place],
            before=view.before[:, place],
        )
        found.append((part, view))
        start += count
    return found


def carry_over(old: Reduced, new: Reduced, bounds: NetworkBounds, nodes: Nodes, bound: Tensor) -> tuple[Nodes, Tensor]:
    """Nodes of the old reduced net in the order of the new one, made from `bounds` that are nowhere looser.

    A neuron that the smaller ball made stable drops out, and so does a node that had fixed it the other way: what is
    left of that node, h = 0, belongs to its sibling too.
    """
    low = torch.cat([bounds.lower[i][0, entries] for i, entries in old.neurons])
    high = torch.cat([bounds.upper[i][0, entries] for i, entries in old.neurons])
    still_open = (low < 0) & (high > 0)
    stable = torch.where(still_open, 0, torch.where(low >= 0, 1, -1)).to(nodes.phase.dtype)
    kept = torch.nonzero(~(nodes.phase * stable < 0).any(-1)).flatten()
    place = torch.nonzero(still_open).flatten()
    point, normal, height = nodes.point, nodes.normal, nodes.height
    if point.shape[1] and not torch.equal(old.moving, new.moving):  # other inputs: what was known is not written anew
        point = normal = point.new_zeros(len(nodes), len(new.moving))
        height = torch.full_like(height, -torch.inf)
    carried = Nodes(
        nodes.phase[:, place],
        nodes.slope[:, place],
        nodes.multiplier[:, place],
        torch.maximum(nodes.lower, low)[:, place],
        torch.minimum(nodes.upper, high)[:, place],
        nodes.goal,
        nodes.row_weight,
        point,
        normal,
        height,
        torch.full_like(nodes.start, NONE),
        nodes.least,
        nodes.share,
    )
    return carried.take(kept), bound[kept.to(bound.device)]
