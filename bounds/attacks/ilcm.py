"""The iterative least-likely class method: small signed steps towards the class that the net holds least likely.

Kurakin, Goodfellow & Bengio, Adversarial machine learning at scale, 2017: steps down the cross-entropy of the class
with the least score, in a ball that is given; here the ball is searched for. Of a question's targets it is the least
likely. Whatever other goal is reached on the way there counts too.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from bounds.attacks.ball_search import BallSearch
from bounds.attacks.base import Candidates, Runs
from bounds.attacks.fgsm import one_step
from bounds.attacks.pgd import projected_steps
from bounds.attacks.walk import Nearest


class Ilcm(BallSearch):
    """See the module."""

    name: ClassVar[str] = "ilcm"
    starts: ClassVar[int | None] = 1
    salt: ClassVar[int] = 4

    def one_step(self, goals: Runs, gradient: Tensor) -> Candidates:
        del gradient  # of the goals; this attack has one way down for all of them
        return one_step(goals, towards(goals, least_likely(goals), goals.start)[1])

    def descend(self, runs: Runs, start: Tensor, radius: Tensor, seen: Nearest) -> None:
        chosen = least_likely(runs)
        projected_steps(runs, runs.start, radius, seen, lambda x: towards(runs, chosen, x))


def least_likely(runs: Runs) -> Tensor:
    """Of each row's sample the target with the least score [B]."""
    batch = runs.batch
    targets = batch.targets.reshape(-1, batch.each)
    least = batch.device_graph.forward(batch.center).gather(1, targets).argmin(1, keepdim=True)
    return targets.gather(1, least).repeat_interleave(batch.each)[runs.goal]


def towards(runs: Runs, chosen: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """The worst row values at x [B, n], and the gradients of the cross-entropy of the `chosen` classes [B]."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        scores = runs.batch.device_graph.forward(x)
        loss = torch.nn.functional.cross_entropy(scores, chosen, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, x)
    return runs.worst_of(scores.detach()), gradient.nan_to_num()
