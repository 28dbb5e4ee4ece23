"""Inputs in two parts that are never negative: d = p - q, one for each direction in which an input can move.

Within the box nothing changes: what is linear in d is linear in (p, q), and the lengths of d in L1 and L∞ are those of
p and q together. But upper lines of a ReLU may now be steeper one way than the other, and where nothing moves they can
touch: for d alone, two opposite moves that cancel are a point of the ball like any other, and every concave function
above a ReLU pays for them at the center. What q and p could do together, no adversary needs to, so a function that is
at most zero at every adversary of (p, q) still bounds their distance. Inputs at an end of the box have one part only.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from bounds.reduced_net.reduced_net import Reduced
from bounds.reduced_net.stacked_nets import Stack
from encoders.question import Norm

ONE_SIDED = frozenset({Norm.L1})  # in L∞ tangents over (p, q) closed no more: docs/benchmarks/tried.md


def one_sided(net: Reduced) -> Reduced:
    """The reduced net over (p, q); what cannot move is left out."""
    up, down = torch.nonzero(net.above > 0).flatten(), torch.nonzero(net.below > 0).flatten()
    if not len(up) + len(down):
        up = down.new_zeros(1)  # nothing moves: one input keeps every shape non-empty
    part = torch.cat([up, down])
    room = torch.cat([net.above[up], net.below[down]])
    sign = torch.cat([torch.ones_like(net.above[up]), -torch.ones_like(net.below[down])])
    return replace(
        net,
        center=net.center[part],
        moving=net.moving[part],
        sign=sign,
        below=torch.zeros_like(room),
        above=room,
        x=net.x[:, part] * sign,
    )


def one_sided_stack(stack: Stack) -> Stack:
    """The same for a stack that was not made of nets."""
    return replace(
        stack,
        x=torch.cat([stack.x, -stack.x], dim=-1),
        goal_x=torch.cat([stack.goal_x, -stack.goal_x], dim=-1),
        below=torch.zeros_like(torch.cat([stack.below] * 2, dim=-1)),
        above=torch.cat([stack.above, stack.below], dim=-1),
        one_sided=True,
    )
