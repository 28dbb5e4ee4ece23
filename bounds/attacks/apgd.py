"""Projected gradient descent that sets its own steps, with two losses, in a ball that is searched for.

Croce & Hein, Reliable evaluation of adversarial robustness with an ensemble of diverse parameter-free attacks, 2020:
momentum, and checkpoints at which a row that stopped gaining halves its step and returns to its best point. In L1 the
sparse steps of their Mind the box, 2021: how many entries move follows from how many the best point has changed.
Both attack a ball that is given; here it is searched for (`ball_search.py`).
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from bounds.attacks.ball_search import BallSearch
from bounds.attacks.base import Runs
from bounds.attacks.steps import project, steepest
from bounds.attacks.walk import Nearest
from encoders.question import Norm

MOMENTUM = 0.25
GAINS = 0.75  # of the steps between two checkpoints
FIRST_CHECK, LEAST_CHECK, CHECK_FALL = 0.22, 0.06, 0.03  # of all steps
FIRST_ENTRIES = 0.2  # of the inputs, that an L1 step moves at first
FEWER_ENTRIES = 1.5


class _Apgd(BallSearch):
    """The attack in a ball; a subclass gives the loss."""

    salt: ClassVar[int] = 2

    @abstractmethod
    def loss(self, runs: Runs, scores: Tensor) -> Tensor:
        """What falls as the goals come nearer, of scores [B, classes] → [B]; differentiable."""

    def descend(self, runs: Runs, start: Tensor, radius: Tensor, seen: Nearest) -> None:
        _Ascent(self, runs, radius, seen).run(start)


class ApgdCe(_Apgd):
    """APGD (projected gradients that set their own steps) with the cross-entropy of the goal's class."""

    name: ClassVar[str] = "apgd-ce"

    def loss(self, runs: Runs, scores: Tensor) -> Tensor:
        targets = runs.batch.targets[runs.goal]
        return scores.logsumexp(1) - scores.gather(1, targets.unsqueeze(1)).squeeze(1)


class ApgdDlr(_Apgd):
    """APGD with the difference of logits ratio: how far the goal is, relative to the spread of the leading scores."""

    name: ClassVar[str] = "apgd-dlr"

    def loss(self, runs: Runs, scores: Tensor) -> Tensor:
        worst = runs.worst_of(scores)
        ordered = scores.sort(dim=1, descending=True).values
        if ordered.shape[1] < 3:
            return worst  # the ratio of two scores is a constant
        return worst / (ordered[:, 0] - ordered[:, 2:4].mean(1) + 1e-12)


@dataclass(eq=False)
class _Ascent:
    """One run in a ball per row, noting every adversary on the way."""

    attack: _Apgd
    runs: Runs
    radius: Tensor
    seen: Nearest

    def measure(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The loss at x [B] and its gradient [B, n]."""
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            scores = self.runs.batch.device_graph.forward(x)
            loss = self.attack.loss(self.runs, scores)
            (gradient,) = torch.autograd.grad(loss.sum(), x)
            value = self.runs.worst_of(scores)
        self.seen.see(x.detach(), value.detach())
        return loss.detach(), gradient.nan_to_num()

    def run(self, x: Tensor) -> None:
        runs, steps = self.runs, self.runs.batch.options.steps
        sparse = runs.norm is Norm.L1
        first_step = self.radius if sparse else 2.0 * self.radius
        step = first_step
        entries = torch.full_like(runs.goal, max(1, int(FIRST_ENTRIES * x.shape[1])))
        loss, gradient = self.measure(x)
        best, best_loss, best_gradient = x, loss, gradient
        before, gains = x, torch.zeros_like(loss)
        checked_loss, halved = loss, torch.zeros_like(loss, dtype=torch.bool)
        check, last = FIRST_CHECK, 0.0
        for k in range(steps):
            if runs.batch.time_left <= 0:
                return
            move = -steepest(runs, x, gradient, entries if sparse else None)
            ahead = project(runs, x + step.unsqueeze(1) * move, self.radius)
            if k and not sparse:
                ahead = project(runs, x + (1 - MOMENTUM) * (ahead - x) + MOMENTUM * (x - before), self.radius)
            before, x, old_loss = x, ahead, loss
            loss, gradient = self.measure(x)
            gains = gains + (loss < old_loss)
            better = loss < best_loss
            best = torch.where(better.unsqueeze(1), x, best)
            best_gradient = torch.where(better.unsqueeze(1), gradient, best_gradient)
            best_loss = torch.where(better, loss, best_loss)
            if k + 1 < round(check * steps):
                continue
            if sparse:
                changed = (best != runs.center).sum(1)
                fewer = (changed / FEWER_ENTRIES).long().clamp_min(1)
                settled = fewer >= 0.95 * entries
                step = torch.where(settled, torch.maximum(step / 1.5, first_step / 10.0), first_step)
                back, entries = torch.ones_like(better), fewer
            else:
                too_few = gains < GAINS * (k + 1 - round(last * steps))
                idle = ~halved & (best_loss >= checked_loss)
                back = too_few | idle
                step, halved = torch.where(back, step / 2.0, step), back
            x, before = (torch.where(back.unsqueeze(1), best, other) for other in (x, before))
            gradient = torch.where(back.unsqueeze(1), best_gradient, gradient)
            loss = torch.where(back, best_loss, loss)
            checked_loss, gains = best_loss, torch.zeros_like(gains)
            check, last = check + max(check - last - CHECK_FALL, LEAST_CHECK), check
