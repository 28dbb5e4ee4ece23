"""The three attacks of Carlini & Wagner: a distance plus a weight times how far the goal is from holding.

Towards evaluating the robustness of neural networks, 2017. In L2 (and in L1, which they do not speak of) it is the
squared distance; the weight of each goal is searched for: more while it is not reached, then bisection. Their forms in
L∞ and L0 are `carlini_wagner_linf.py` and `carlini_wagner_l0.py`. The goal's value is taken in units of its gradient at
the center, so that one set of constants serves any net.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from bounds.attacks.base import Attack, AttackBatch, Candidates, Runs
from bounds.attacks.carlini_wagner_l0 import fewest
from bounds.attacks.carlini_wagner_linf import least_largest
from bounds.attacks.penalty_descent import penalised, square
from bounds.attacks.walk import Nearest, linear_rate
from encoders.question import Norm

WEIGHTS = 9  # tried one after the other
GROW = 10.0
RATE = 0.05  # of Adam
LONGER = 4  # times the steps of the other attacks: each of Adam's is short


class CarliniWagner(Attack):
    """See the module."""

    name: ClassVar[str] = "carlini-wagner"
    norms: ClassVar[frozenset[Norm]] = frozenset({Norm.LINF, Norm.L2, Norm.L0})

    def search(self, batch: AttackBatch, known: Candidates) -> Candidates:
        runs = batch.every_goal()
        nearest = Nearest.of(runs)
        value, gradient = runs.linearised(runs.start)
        nearest.see(runs.start, value)
        scale = linear_rate(gradient)
        # Where the goal is linear, the least square reaches it from the weight 2 · distance on.
        weight = (2.0 * value.clamp_min(0.0) / scale).clamp_min(1e-6)
        form = {Norm.LINF: least_largest, Norm.L0: fewest}.get(batch.norm, least_square)
        form(runs, weight, scale, nearest)
        return nearest.proposals()


def least_square(runs: Runs, weight: Tensor, scale: Tensor, nearest: Nearest) -> None:
    """The form in L2: `weight` is where the search for one begins, the goal's value is divided by `scale`."""
    low, high = torch.zeros_like(weight), torch.full_like(weight, torch.inf)
    steps = LONGER * runs.batch.options.steps
    for _ in range(WEIGHTS):
        if runs.batch.time_left <= 0:
            break
        won, _ = penalised(runs, runs.start, weight / scale, square, RATE, steps, nearest)
        high = torch.where(won, torch.minimum(high, weight), high)
        low = torch.where(won, low, torch.maximum(low, weight))
        weight = torch.where(high.isfinite(), (low + high) / 2.0, weight * GROW)
