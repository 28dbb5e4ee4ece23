"""The two questions: how far is the nearest adversary, and is everything within a radius classified the same?"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from encoders.deadline import Clock
from encoders.errors import DataError, OptionError
from encoders.grid import Grid
from verifier.batching.request import run_alone
from verifier.options import REAL, Options, check_model, check_quantised, check_radius, checked_radius, output_of
from verifier.question.input_shape import levels_for
from verifier.question.model import Model, opened
from verifier.question.model_views import PerturbedModel
from verifier.question.output_change import OutputChange
from verifier.question.problem import NOTHING, Known, Progress
from verifier.question.results import Result, Verdict
from verifier.regions import check_classes, checked_label, region_for, viewed
from verifier.sample_question import SampleQuestion


def distance(
    model: Model | str | Path,
    x: ArrayLike,
    *,
    norm: str = "linf",
    label: int | None = None,
    index: int = 0,
    mask: ArrayLike | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> Result:
    """The exact minimal perturbation of one sample, bracketed: result.lower ≤ exact ≤ result.upper.

    `x` is one sample in the shape of the model's input; `options` are the fields of `Options`. The nearest adversary
    found is `result.adversary`, None where none was. With `change=D` an adversary moves an output by more than D.
    """
    return ask(model, x, None, Options(**{"norm": norm, **options}), label, index, mask, progress)


def verify(
    model: Model | str | Path,
    x: ArrayLike,
    radius: float,
    *,
    norm: str = "linf",
    label: int | None = None,
    index: int = 0,
    mask: ArrayLike | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> Result:
    """Is every input within `radius` (the closed ball, inside the box) classified like the sample?

    `x` is one sample in the shape of the model's input; `options` are the fields of `Options`. Where the verdict is
    falsified, `result.adversary` is an input within the radius that is not. With `change=D` it is asked whether none
    moves an output by more than D.
    """
    return ask(model, x, checked_radius(radius), Options(**{"norm": norm, **options}), label, index, mask, progress)


def ask(
    model: Model | str | Path,
    x: ArrayLike,
    radius: float | None,
    options: Options,
    label: int | None = None,
    index: int = 0,
    mask: ArrayLike | None = None,
    progress: Progress | None = None,
    workers: int = 1,
    known: Known = NOTHING,
) -> Result:
    """One sample, one question: `distance` where `radius` is None, else `verify`. `workers` are cores it may use.

    What is `known` from an earlier attempt is where this one goes on.
    """
    model = opened(model)
    question = asked(model, x, radius, options, label, index, mask, progress, Clock(), workers, known=known)
    return run_alone(question, workers)


async def asked(
    model: Model,
    x: ArrayLike,
    radius: float | None,
    options: Options,
    label: int | None,
    index: int,
    mask: ArrayLike | None,
    progress: Progress | None,
    clock: Clock,
    workers: int = 1,
    share: int = 1,
    known: Known = NOTHING,
) -> Result:
    """The same in turns, for `share` samples side by side (`verifier/batching/scheduler.py`)."""
    if progress is not None and not callable(progress):
        raise OptionError("progress: give a function of a running bracket, or leave it out")
    radius, label = check_radius(radius), checked_label(label)
    check_quantised(model, options)
    check_model(model, options)
    if label is not None and options.change is not None:
        raise OptionError("a change is of an output, whatever the sample's label: leave label out")
    if isinstance(model, PerturbedModel) and (options.grid is not None or options.execution != REAL):
        raise OptionError("a perturbation has real variables, in real arithmetic: leave out grid and execution")
    region = region_for(model, x, mask, options)
    check_classes(model, label, options.targets)
    model, region, rooms = viewed(model, region, options)
    scores = model.scores(region.center[None])[0][: model.classes]
    if not np.isfinite(scores).all():
        raise DataError(f"sample {index}: the model's scores are not finite: {scores}")
    predicted = int(np.argmax(scores))
    change = None
    if options.change is not None:
        output = output_of(model, options)
        change = OutputChange.around(output, float(scores[output]), options.change, options.direction)
    grid = None
    if options.grid is not None:
        grid = Grid.of(region, options.norm, levels_for(model.input_shape, options.grid))
        region = replace(region, lower=grid.corner(grid.down), upper=grid.corner(grid.up))
    question = SampleQuestion(
        model, region, radius, options, label, index, predicted, clock, grid, workers, share, rooms, change, known
    )
    if label is not None and label != predicted:
        return question.result(Verdict.MISCLASSIFIED, 0.0, 0.0)
    simple = options.margin == 0 and options.constraints is None
    tied = np.count_nonzero(scores == scores[predicted]) > 1  # which is no win, whatever class is named first
    if options.targets is not None and predicted in options.targets and simple and not tied:
        found = question.already_there()
    else:
        found = await question.answer(progress)
    return question.told(found)
