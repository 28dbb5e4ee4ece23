"""Whether real inputs between a grid's levels reach what no point of the grid does: their ball has no proof then."""

from __future__ import annotations

import numpy as np

from bounds.attacks import AttackOptions, AttackProblem
from bounds.attacks.ball_minimum import lowest_in_ball
from bounds.device import pick_device
from bounds.propagation.neuron_bounds import device_graph_for
from encoders.deadline import Deadline, in_time
from encoders.question import Goal, Region
from verifier.options import Options
from verifier.question.model import Model

TRIED_FOR = 10.0  # seconds, at most


def leads_between(
    model: Model, region: Region, goals: tuple[Goal, ...], radius: float, options: Options, deadline: Deadline
) -> bool:
    """Whether an attack finds a real input of the ball that reaches a goal; where it finds none, nothing is known."""
    if not all(np.isfinite(goal.offset).all() for goal in goals):
        return False
    limit = min(TRIED_FOR, deadline.left)
    problem = AttackProblem(
        device_graph_for(model.guide, pick_device(options.device)), region, options.norm, goals,
        min(radius, region.reach(options.norm)), AttackOptions(seed=options.seed, time_limit=limit),
    )  # fmt: skip
    return in_time(deadline, lambda: bool((lowest_in_ball(problem).values <= 0.0).any()), False)
