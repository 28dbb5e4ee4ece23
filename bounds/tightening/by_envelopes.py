"""Bounds raised by envelopes: slopes ascend over upper lines that are better than chords."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from bounds.envelopes.base import Envelope
from bounds.envelopes.cube import CubeEnvelope
from bounds.envelopes.simplex import SimplexEnvelope
from bounds.nodes.node_bounds import NodeBounds
from bounds.nodes.records import Nodes, Pass, either, handing_on
from bounds.nodes.slope_ascent import SlopeAscent
from bounds.rounding import UNIT_ROUNDOFF
from bounds.tightening.base import Aim, Effort, Tightening
from encoders.deadline import out_of_time
from encoders.question import Norm

INHERITED = 4.0  # how many passes a mean counts for that a node has from the one it was split from


class ByEnvelopes(Tightening):
    """`enveloped`, with the envelopes of the target's balls."""

    def __init__(self, aim: Aim, earlier: Sequence[Tightening] = ()) -> None:
        super().__init__(aim, earlier)
        stack = aim.engine.stack
        kind = CubeEnvelope if stack.norm is Norm.LINF else SimplexEnvelope
        self.envelope: Envelope = kind.of(stack, aim.radii)
        self.lines = self.envelope.everywhere

    @classmethod
    def possible(cls, engine: NodeBounds) -> bool:
        """In L∞, and in L1 over one-sided inputs."""
        stack = engine.stack
        return stack.open_phases > 0 and (stack.norm is Norm.LINF or stack.one_sided)

    @classmethod
    def applies(cls, engine: NodeBounds, effort: Effort) -> bool:
        return effort.envelope_steps > 0 and cls.possible(engine)

    def _raised(self, nodes: Nodes, seen: Pass, calm: float) -> tuple[Nodes, Pass]:
        aim, effort = self.aim, self.aim.effort
        rate = effort.envelope_rate * calm
        return enveloped(aim.engine, self.envelope, nodes, seen, effort.envelope_steps, aim.target, rate)


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
