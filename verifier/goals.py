"""What counts as an adversary of a question: its goals, for proofs, and the test that witnesses must pass."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoders.arrays import FloatArray, Inputs
from encoders.grid import Grid
from encoders.question import Goal, Region, goals_for
from verifier.options import REAL, Options
from verifier.question.float_execution_incumbent import ExecutedIncumbent
from verifier.question.grid_incumbent import GridIncumbent
from verifier.question.incumbent import Incumbent
from verifier.question.model import Model
from verifier.question.model_views import ScaledModel
from verifier.question.output_change import OutputChange


def goals_of(model: Model, predicted: int, options: Options, change: OutputChange | None = None) -> tuple[Goal, ...]:
    """The goals of a question, about classes or a `change`, each with a row for every constraint."""
    if change is None:
        goals = goals_for(predicted, model.classes, options.targets, options.margin)
    else:
        goals = change.goals(model.classes)
    return goals if options.constraints is None else constrained_goals(goals, options.constraints.count)


def constrained_goals(goals: tuple[Goal, ...], count: int) -> tuple[Goal, ...]:
    """The goals with a row for each of `count` constraints, whose values stand behind the scores."""

    def own(goal: Goal) -> FloatArray:
        return np.concatenate([np.zeros((count, goal.rows.shape[1])), np.eye(count)], axis=1)

    return tuple(
        Goal(
            goal.target,
            np.concatenate([np.pad(goal.rows, ((0, 0), (0, count))), own(goal)]),
            np.concatenate([goal.offset, np.zeros(count)]),
        )
        for goal in goals
    )


def inside(goals: tuple[Goal, ...], rooms: FloatArray) -> tuple[Goal, ...]:
    """The goals inside every constraint by its room: where adversaries are looked for, since inputs are rounded."""
    if not len(rooms):
        return goals
    return tuple(
        replace(goal, offset=goal.offset + np.pad(rooms, (len(goal.offset) - len(rooms), 0))) for goal in goals
    )


def incumbent_for(
    model: Model,
    region: Region,
    options: Options,
    predicted: int,
    grid: Grid | None = None,
    change: OutputChange | None = None,
) -> Incumbent:
    """An empty incumbent of the question: only what replays, and wins strictly and by the margin, will count.

    Of a `change`, what replays strictly beyond it. Where the file counts as it is executed, the replay is all that
    counts.
    """

    def another(scores: FloatArray, margin: float) -> NDArray[np.bool_]:
        targets = options.targets or tuple(t for t in range(scores.shape[1]) if t != predicted)
        won = np.zeros(len(scores), dtype=bool)
        for t in targets:
            against = np.delete(scores, t, axis=1) if options.targets else scores[:, [predicted]]
            lead = scores[:, t] - against.max(axis=1, initial=-np.inf)
            won |= (lead > 0) & (lead >= margin)
        return won

    def wins(both: FloatArray, margin: float = options.margin) -> NDArray[np.bool_]:
        scores, allowed = both[:, : model.classes], (both[:, model.classes :] <= 0).all(axis=1)
        won = another(scores, margin) if change is None else change.beyond(scores)
        return np.asarray(won & allowed & np.isfinite(scores).all(axis=1))

    def shown(inputs: Inputs) -> NDArray[np.bool_]:
        return wins(model.outputs(inputs), 0.0)  # a margin is one of scores

    def miss(scores: FloatArray) -> FloatArray:
        """By how much each row of scores misses being an adversary; negative where it is one."""
        goals = goals_of(model, predicted, options, change)
        misses = [(scores @ goal.rows.T + goal.offset).max(axis=1) for goal in goals]
        return np.min(misses, axis=0) if misses else np.ones(len(scores))

    replay: dict[str, Any] = {"replay": model.scores, "real": model.real, "wins": wins, "type": model.input_type}
    replay["shown"] = shown if model.left_out else None
    if isinstance(model, ScaledModel):
        replay["rounded"] = model.rounded
    if options.execution != REAL:
        return ExecutedIncumbent(region, options.norm, **replay)
    if grid is None:
        return Incumbent(region, options.norm, **replay)
    return GridIncumbent(region, options.norm, grid=grid, value=miss, **replay)
