"""Iterated FGSM: small signed steps from the center, in the smallest ball in which they win.

Kurakin, Goodfellow & Bengio, Adversarial examples in the physical world, 2017, fix the ball; here it is searched for.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from bounds.attacks.ball_search import BallSearch
from bounds.attacks.base import Runs
from bounds.attacks.pgd import projected_steps
from bounds.attacks.walk import Nearest


class IteratedFgsm(BallSearch):
    """See the module."""

    name: ClassVar[str] = "iterated-fgsm"
    starts: ClassVar[int | None] = 1
    salt: ClassVar[int] = 3

    def descend(self, runs: Runs, start: Tensor, radius: Tensor, seen: Nearest) -> None:
        projected_steps(runs, runs.start, radius, seen)
