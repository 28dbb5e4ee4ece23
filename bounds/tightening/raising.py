"""A node's bound raised in turns: slopes ascend, with envelopes too, and neurons are bounded again on the cap."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from bounds.envelopes.base import Envelope
from bounds.envelopes.cube import CubeEnvelope
from bounds.envelopes.simplex import SimplexEnvelope
from bounds.nodes.node_bounds import NodeBounds
from bounds.nodes.output_constrained import on_the_cap
from bounds.nodes.records import Nodes, Pass, either, handing_on
from bounds.nodes.slope_ascent import SlopeAscent
from bounds.rounding import UNIT_ROUNDOFF
from bounds.semidefinite.all_layers_bound import with_products
from bounds.semidefinite.one_layer_bound import with_moments
from bounds.semidefinite.parabolas import Parabolas
from encoders.deadline import out_of_time
from encoders.question import Norm

FINE_RATES = (0.05, 0.015, 0.005)
FEW = 40  # open neurons: below, a few splits cost less than moments
FEWEST, MOST = 400, 4000  # open neurons, and inputs with them, for products
INHERITED = 4.0  # how many passes a mean counts for that a node has from the one it was split from


@dataclass(frozen=True)
class Effort:
    """How hard to try; none of it can make a bound wrong."""

    rate: float = 0.15  # of the ascent's steps
    calmer: float = 0.7  # each round of tightening takes steps this much smaller
    rounds: int = 8  # of tightening on the cap, at most
    worth: float = 0.1  # part of the gap that a round must have closed for another one
    nearly: float = 0.002  # a node whose gap is this part of the target gets a longer ascent
    fine_steps: int = 50  # at each of FINE_RATES
    tangents: int = 8  # steps of a round with envelopes, where there are any; 0 for chords only
    tangent_rate: float = 0.3
    moments: int = 24  # steps of a descent, where one layer has all open neurons; 0 for no moments
    products: int = 60  # the same where several layers have many; 0 for no products


def bounded(engine: NodeBounds, nodes: Nodes, steps: int, target: float | Tensor, effort: Effort) -> tuple[Nodes, Pass]:
    """Raise each bound towards `target` (one, or one for each net); tighten on the cap for as long as that pays."""
    goal = engine.enough(nodes, target)
    nodes, seen = engine.optimise(nodes, steps, target, effort.rate)
    live = torch.nonzero(seen.distance < goal).flatten()
    parabolas = parabolas_of(engine, target) if len(live) and effort.moments else None
    envelope = envelope_of(engine, target) if len(live) and effort.tangents else None
    products = bool(len(live)) and effort.products > 0 and products_apply(engine)
    plain = envelope is None and parabolas is None and not products
    for turn in range(effort.rounds):
        if not len(live) or not engine.stack.open_phases or out_of_time():
            break
        gap = goal[live] - seen.distance[live]
        part, better = nodes.take(live), seen.take(live)
        calm, phases_before = effort.calmer ** (turn + 1), part.phase
        if envelope is not None:
            part, better = enveloped(
                engine, envelope, part, better, effort.tangents, target, effort.tangent_rate * calm
            )
        if parabolas is not None:
            part, better = with_moments(engine, parabolas, part, better, effort.moments, target)
        if products:
            part, better = with_products(engine, part, better, effort.products, target)
        short = torch.nonzero(better.distance < goal[live]).flatten()
        if len(short):
            tight, higher = _tightened(
                engine, envelope, part.take(short), better.take(short), steps, target, effort.rate * calm, plain
            )
            if products:  # what the descent saw says best where to split
                higher = replace(higher, behind=better.behind[short])
            part, better = part.put(short, tight), better.put(short, higher)
        better = replace(better, distance=torch.maximum(better.distance, seen.distance[live]))
        nodes, seen = nodes.put(live, part), seen.put(live, better)
        gained = gap - (goal[live] - better.distance)
        again_worth = gained > effort.worth * gap
        if products:
            break
        if parabolas is not None:  # moments gain all that they can at once, but where the cap fixed phases
            again_worth &= (part.phase != phases_before).any(-1)
        live = live[(better.distance < goal[live]) & again_worth]
    if plain:
        near = (seen.distance < goal) & (seen.distance > goal * (1.0 - effort.nearly))
        nodes, seen = ascended(engine, nodes, seen, torch.nonzero(near).flatten(), target, effort)
    return nodes, replace(seen, distance=torch.minimum(seen.distance, goal))


def _tightened(
    engine: NodeBounds,
    envelope: Envelope | None,
    nodes: Nodes,
    seen: Pass,
    steps: int,
    target: float | Tensor,
    rate: float,
    plain: bool,
) -> tuple[Nodes, Pass]:
    """Neurons bounded again on the cap, and slopes that ascend with what is left of them, by `rate`.

    `plain` says that slopes alone made the function that is there: then the new one stands for it, lower or not.
    """
    nodes = on_the_cap(engine, nodes, seen, target, None if envelope is None else envelope.everywhere)
    empty = (nodes.lower > nodes.upper).any(-1)
    nodes, again = engine.optimise(nodes, steps, target, rate)
    seen = again.after(seen) if plain else _higher(seen, again)
    return nodes, replace(seen, distance=torch.where(empty, engine.enough(nodes, target), seen.distance))


def parabolas_of(engine: NodeBounds, target: float | Tensor) -> Parabolas | None:
    """Parabolas on balls of `target`, where one layer has all open neurons, and not too few: else tangents do more."""
    stack = engine.stack
    return parabolas_on(engine, target) if len(stack.layers) == 1 and stack.open_phases >= FEW else None


def products_apply(engine: NodeBounds) -> bool:
    """Whether products are worth their price: where several layers have open neurons, and many."""
    stack = engine.stack
    return len(stack.layers) > 1 and stack.open_phases >= FEWEST and products_fit(engine)


def products_fit(engine: NodeBounds) -> bool:
    """Whether there are products at all, in L∞, and no more of them than a factorisation is good for."""
    return engine.stack.norm is Norm.LINF and engine.stack.open_phases + engine.stack.x.shape[2] <= MOST


def parabolas_on(engine: NodeBounds, target: float | Tensor) -> Parabolas | None:
    """Of the first layer, where inputs can pay for their curvature: in L∞, on balls of `target`."""
    stack = engine.stack
    if stack.norm is not Norm.LINF or not stack.open_phases:
        return None
    radius = torch.as_tensor(target, dtype=stack.x.dtype, device=stack.x.device).expand(stack.count)
    return Parabolas.of(stack, radius)


def envelope_of(engine: NodeBounds, target: float | Tensor) -> Envelope | None:
    """Where one is known for the ball and some neuron is open: on balls of `target`."""
    stack = engine.stack
    if not stack.open_phases:
        return None
    radius = torch.as_tensor(target, dtype=stack.x.dtype, device=stack.x.device).expand(stack.count)
    if stack.norm is Norm.LINF:
        return CubeEnvelope.of(stack, radius)
    return SimplexEnvelope.of(stack, radius) if stack.one_sided else None


def enveloped(
    engine: NodeBounds,
    envelope: Envelope,
    nodes: Nodes,
    seen: Pass,
    steps: int,
    target: float | Tensor,
    rate: float,
) -> tuple[Nodes, Pass]:
    """Ascend with tangents for upper lines, drawn where the bounds were attained on average.

    A bound is attained in a corner, where every tangent is sharp; near the optimum of the relaxation, inputs stand
    between their ends, and the mean of the corners comes there. What each pass proves is averaged likewise: no single
    choice of lines is the best, but a mean of valid functions is valid. Where a pass alone says more than the mean, the
    mean begins anew.
    """
    goal = engine.enough(nodes, target)
    known = nodes.height > -torch.inf
    inherited = engine.through(nodes, seen, nodes.normal, nodes.height)
    best = either(known & (inherited.distance >= seen.distance), inherited, seen)
    nodes = replace(nodes, point=torch.where(known.unsqueeze(-1), nodes.point, best.shift))
    live = torch.nonzero(best.distance < goal).flatten()
    if not len(live):
        return nodes, best
    wanted = ((nodes.phase == 0) & (seen.behind < 0)).any(0)
    envelope = envelope.on(torch.nonzero(wanted).flatten())
    current, last, mean = nodes.take(live), seen.take(live), best.take(live)
    lines, goal, age = current.lines, goal[live], INHERITED * known[live].to(goal.dtype)
    climb = SlopeAscent.start(engine.stack, current)
    travel = torch.maximum(envelope.down, envelope.up)[engine.stack.member[current.goal]]
    for step in range(1, steps + 1):
        if out_of_time():
            break
        share = 2.0 / (age + step + 2.0)
        current = replace(current, point=torch.lerp(current.point, mean.shift, share.unsqueeze(-1)))
        touching = engine.touching(current, envelope, last.behind, lines)
        current = climb.step(current, last, goal, rate * (1.0 - 0.6 * step / steps))
        last = engine.evaluate(current, lines, touching)
        mean = _averaged(engine, current, mean, last, share, travel)
        now, before = replace(mean, mean_before=touching.preactivation, mean_behind=touching.relu), best.take(live)
        kept = either(now.distance > before.distance, now, before, of=now)
        best, nodes = best.put(live, kept), nodes.put(live, current)
        going = torch.nonzero(kept.distance < goal).flatten()
        if len(going) < len(live):
            live, current, last, mean = live[going], current.take(going), last.take(going), mean.take(going)
            lines, goal, age = (lines[0][going], lines[1][going]), goal[going], age[going]
            climb, travel = climb.take(going), travel[going]
            if not len(live):
                break
    nodes = replace(nodes, normal=best.normal, height=best.height)
    return handing_on(nodes, best), best


def _averaged(engine: NodeBounds, nodes: Nodes, mean: Pass, last: Pass, share: Tensor, travel: Tensor) -> Pass:
    """The mean with the last pass taken in by `share` [N], rounding included; the last alone where that says more."""
    between = last.normal - mean.normal
    normal = mean.normal + share.unsqueeze(-1) * between
    # Where the two nearly cancel, rounding is not small beside what is left.
    lost = ((between.abs() + normal.abs()) * travel).sum(-1) + mean.height.abs() + last.height.abs()
    height = mean.height + share * (last.height - mean.height) - 8.0 * UNIT_ROUNDOFF * lost
    found = engine.through(nodes, last, normal, height)
    sound = torch.isfinite(height) & torch.isfinite(normal).all(-1)
    return either(sound & (found.distance >= last.distance), found, last)


def _higher(before: Pass, now: Pass) -> Pass:
    """The pass now, with the function of the one before where that says more, and always with its means."""
    of = replace(now, mean_before=before.mean_before, mean_behind=before.mean_behind)
    return either(before.distance > now.distance, before, now, of)


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
