"""Projected gradient descent from the center and from random points, in the smallest ball in which it wins.

Madry et al., Towards deep learning models resistant to adversarial attacks, 2018: signed steps of one size, projected
back into a ball that is given. Here the ball is searched for (`ball_search.py`), and what falls is the goal's margin.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from torch import Tensor

from bounds.attacks.ball_search import BallSearch
from bounds.attacks.base import Runs
from bounds.attacks.steps import project, steepest
from bounds.attacks.walk import Nearest

REACH = 2.5  # radii that all steps together could go


Slope = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Points [B, n] → the worst row value of each, and the gradient that its step goes down."""


def projected_steps(runs: Runs, x: Tensor, radius: Tensor, seen: Nearest, slope: Slope | None = None) -> None:
    """Steepest steps of one size in balls of `radius` [B], down the goals or a `slope`; `seen` is shown every point."""
    slope = slope or runs.linearised
    steps = runs.batch.options.steps
    size = (REACH * radius / steps).unsqueeze(1)
    for step in range(steps + 1):
        value, gradient = slope(x)
        seen.see(x, value)
        if step == steps or runs.batch.time_left <= 0:
            return
        x = project(runs, x - size * steepest(runs, x, gradient), radius)


class Pgd(BallSearch):
    """See the module."""

    name: ClassVar[str] = "pgd"
    salt: ClassVar[int] = 1

    def descend(self, runs: Runs, start: Tensor, radius: Tensor, seen: Nearest) -> None:
        projected_steps(runs, start, radius, seen)
