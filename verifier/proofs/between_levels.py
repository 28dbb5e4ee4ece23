"""Whether a class leads by more between a grid's levels than at any point: why the real ball has no proof then."""

from __future__ import annotations

from dataclasses import replace

from numpy.typing import ArrayLike

from encoders.deadline import Clock, Deadline
from verifier.batching.request import run_alone
from verifier.margin_answer import GreatestLoss, margin_asked
from verifier.options import Options
from verifier.question.model import Model

ASKED_FOR = 10.0  # seconds, at most


def leads_between(
    model: Model,
    x: ArrayLike,
    loss: GreatestLoss,
    lead: float,
    radius: float,
    options: Options,
    mask: ArrayLike | None,
    deadline: Deadline,
) -> bool:
    """Whether a real input within the radius is found at which a class leads by as much; else nothing is known."""
    left = deadline.left
    if left <= 0.0:
        return False
    asked = replace(options, grid=None, engine="auto", time_limit=min(ASKED_FOR, left))
    clock = Clock(deadline.clock.stop)
    real = run_alone(margin_asked(model, x, radius, asked, loss.against, loss.index, mask, clock=clock))
    return real.lower >= lead
