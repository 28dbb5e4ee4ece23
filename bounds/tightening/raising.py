"""A node's bound raised in turns: slopes ascend, then one tightening after the other for as long as that pays."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from bounds.nodes.node_bounds import NodeBounds
from bounds.nodes.records import Nodes, Pass
from bounds.tightening.base import Aim, Effort, Tightening
from bounds.tightening.by_all_layers import ByAllLayers
from bounds.tightening.by_cut import ByCut
from bounds.tightening.by_envelopes import ByEnvelopes
from bounds.tightening.by_one_layer import ByOneLayer
from encoders.deadline import out_of_time

FINE_RATES = (0.05, 0.015, 0.005)
TIGHTENINGS: tuple[type[Tightening], ...] = (ByEnvelopes, ByOneLayer, ByAllLayers, ByCut)  # in the order of a turn


def bounded(engine: NodeBounds, nodes: Nodes, steps: int, target: float | Tensor, effort: Effort) -> tuple[Nodes, Pass]:
    """Raise each bound towards `target` (one, or one for each net), by turns of all tightenings that apply."""
    goal = engine.enough(nodes, target)
    nodes, seen = engine.optimise(nodes, steps, target, effort.rate)
    live = torch.nonzero(seen.distance < goal).flatten()
    tightenings = _applying(Aim(engine, target, effort, steps)) if len(live) else []
    for turn in range(effort.rounds if tightenings else 0):
        if not len(live) or out_of_time():
            break
        before, known = nodes.take(live), seen.take(live)
        part, better = before, known
        for tightening in tightenings:
            part, better = tightening.raised(part, better, effort.calmer ** (turn + 1))
        better = replace(better, distance=torch.maximum(better.distance, known.distance))
        nodes, seen = nodes.put(live, part), seen.put(live, better)
        gap, left = goal[live] - known.distance, goal[live] - better.distance
        going = (better.distance < goal[live]) & (gap - left > effort.worth * gap)
        for tightening in tightenings:
            going &= tightening.again(before, part)
        live = live[going]
    if all(isinstance(one, ByCut) for one in tightenings):  # slopes alone, which a longer ascent can still raise
        near = (seen.distance < goal) & (seen.distance > goal * (1.0 - effort.nearly))
        nodes, seen = ascended(engine, nodes, seen, torch.nonzero(near).flatten(), target, effort)
    return nodes, replace(seen, distance=torch.minimum(seen.distance, goal))


def _applying(aim: Aim) -> list[Tightening]:
    """The tightenings of the table that apply, each knowing those before it."""
    found: list[Tightening] = []
    for kind in TIGHTENINGS:
        if kind.applies(aim.engine, aim.effort):
            found.append(kind(aim, tuple(found)))
    return found


def ascended(
    engine: NodeBounds, nodes: Nodes, seen: Pass, chosen: Tensor, target: float | Tensor, effort: Effort
) -> tuple[Nodes, Pass]:
    """A longer ascent, ever calmer, of nodes that need little more: cheaper than the trees below them."""
    part, better = nodes.take(chosen), seen.take(chosen)
    for rate in FINE_RATES:
        if not len(part) or out_of_time():
            break
        part, finer = engine.optimise(part, effort.fine_steps, target, rate)
        better = finer.after(better)
    return nodes.put(chosen, part), seen.put(chosen, better)
