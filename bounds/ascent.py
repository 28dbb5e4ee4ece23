"""A node's bound raised in turns: its slopes ascend, and neurons are bounded again on the cap that this leaves."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from bounds.cap import on_the_cap
from bounds.phases import Nodes, Pass, PhaseBounds

FINE_RATES = (0.05, 0.015, 0.005)


@dataclass(frozen=True)
class Effort:
    """How hard to try; none of it can make a bound wrong."""

    rate: float = 0.15  # of the ascent's steps
    calmer: float = 0.7  # each round of tightening takes steps this much smaller
    rounds: int = 8  # of tightening on the cap, at most
    worth: float = 0.1  # part of the gap that a round must have closed for another one
    nearly: float = 0.002  # a node whose gap is this part of the target gets a longer ascent
    fine_steps: int = 50  # at each of FINE_RATES


def bounded(
    engine: PhaseBounds, nodes: Nodes, steps: int, target: float | Tensor, effort: Effort
) -> tuple[Nodes, Pass]:
    """Raise each bound towards `target` (one, or one for each net); tighten on the cap for as long as that pays."""
    goal = engine.enough(nodes, target)
    nodes, seen = engine.optimise(nodes, steps, target, effort.rate)
    live = torch.nonzero(seen.distance < goal).flatten()
    for turn in range(effort.rounds):
        if not len(live) or not engine.stack.open_phases:
            break
        gap = goal[live] - seen.distance[live]
        part = on_the_cap(engine, nodes.take(live), seen.take(live), target)
        part, better = engine.optimise(part, steps, target, effort.rate * effort.calmer ** (turn + 1))
        empty = (part.lower > part.upper).any(-1)
        better = replace(better, distance=torch.where(empty, goal[live], better.distance))
        better = replace(better, distance=torch.maximum(better.distance, seen.distance[live]))
        better = better.after(seen.take(live))
        nodes, seen = nodes.put(live, part), seen.put(live, better)
        gained = gap - (goal[live] - better.distance)
        live = live[(better.distance < goal[live]) & (gained > effort.worth * gap)]
    near = (seen.distance < goal) & (seen.distance > goal * (1.0 - effort.nearly))
    nodes, seen = ascended(engine, nodes, seen, torch.nonzero(near).flatten(), target, effort)
    return nodes, replace(seen, distance=torch.minimum(seen.distance, goal))


def ascended(
    engine: PhaseBounds, nodes: Nodes, seen: Pass, chosen: Tensor, target: float | Tensor, effort: Effort
) -> tuple[Nodes, Pass]:
    """A longer ascent, ever calmer, of nodes that need little more: cheaper than the trees below them."""
    part, better = nodes.take(chosen), seen.take(chosen)
    for rate in FINE_RATES:
        if not len(part):
            break
        part, finer = engine.optimise(part, effort.fine_steps, target, rate)
        better = finer.after(better)
    return nodes.put(chosen, part), seen.put(chosen, better)
