"""What is left of boxes where goals can be reached: goals are excluded, and boxes cut down to where the others are.

A goal is excluded from a box where one of its rows is positive there. Where its rows' linear functions leave a part of
the box, nothing else of it matters: the box shrinks to what is left of it by the goals together.
"""

from __future__ import annotations

import torch
from torch import Tensor

from bounds.boxes.box_bounds import Below
from bounds.geometry.box import cut_to_halfspace, least_over

ROUNDS = 3  # an input that has less room leaves the others less


def narrowed(rows: Below, of_goal: Tensor, lower: Tensor, upper: Tensor, left: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The boxes that hold every input of [B, n] boxes at which a goal of those `left` [B, goals] can be reached.

    Lower and upper sides, and which goals are left; sides of boxes without a goal mean nothing.
    """
    for _ in range(ROUNDS):
        low, high = lower.unsqueeze(1), upper.unsqueeze(1)
        least = least_over(rows.normal, rows.value, low, high)
        low, high = cut_to_halfspace(rows.normal, least.clamp_max(0.0), low, high)
        # [B, goals, rows of a goal, n]: all rows of a goal hold at once.
        goal_low, goal_high = low[:, of_goal].amax(2), high[:, of_goal].amin(2)
        reached = (least[:, of_goal] <= 0).all(2) & (goal_low <= goal_high).all(2)
        left = left & reached
        none = ~left.unsqueeze(2)
        closed = ~left.any(1, keepdim=True)
        lower = torch.where(closed, lower, goal_low.masked_fill(none, torch.inf).amin(1))
        upper = torch.where(closed, upper, goal_high.masked_fill(none, -torch.inf).amax(1))
    return lower, upper, left
