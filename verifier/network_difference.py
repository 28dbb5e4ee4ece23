"""The greatest difference of two networks' scores, in a ball around a sample or over the whole box."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from encoders.deadline import Clock, Deadline
from encoders.errors import DataError, OptionError
from encoders.question import Norm
from verifier.batching.request import run_alone
from verifier.greatest_value import UNKNOWN, GreatestValue, KnownValue
from verifier.options import Options, check_radius, check_several
from verifier.question.model import Model, load
from verifier.question.problem import Progress, Running
from verifier.question.results import Adversary, Basis, Verdict
from verifier.question.side_by_side import SideBySide
from verifier.regions import middle_of_box, region_for


@dataclass(frozen=True, eq=False)
class GreatestDifference:
    """lower ≤ greatest abs(f_j - g_j) ≤ upper, over the ball and all outputs j; `lower` is attained at `worst`.

    `why_open` says in a sentence what stands in the way of an unresolved one.
    """

    norm: Norm
    radius: float | None
    verdict: Verdict
    lower: float
    upper: float
    basis: Basis
    seconds: float
    output: int | None
    worst: Adversary | None
    nodes: int = 0
    why_open: str | None = None


def difference(
    first: Model | str | Path,
    second: Model | str | Path,
    *,
    x: ArrayLike | None = None,
    radius: float | None = None,
    norm: str = "linf",
    mask: ArrayLike | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> GreatestDifference:
    """The greatest difference of two networks' scores, abs(f_j - g_j) over all outputs j, in a ball or the whole box.

    Without `x` the box is all there is, and without `radius` the ball has no end. `options` are the fields of
    `Options`.
    """
    chosen = Options(**{"norm": norm, **options})
    check_radius(radius)
    _check_difference(chosen)
    networks = SideBySide(tuple(model if isinstance(model, Model) else load(model) for model in (first, second)))
    check_outputs(*networks.models)
    if x is None:
        if radius is not None:
            raise OptionError("a radius is around a sample; give x, or leave radius out")
        x = middle_of_box(networks.models[0], chosen)
    return run_alone(difference_asked(networks, x, radius, chosen, mask, progress))


async def difference_asked(
    networks: SideBySide,
    x: ArrayLike,
    radius: float | None,
    options: Options,
    mask: ArrayLike | None = None,
    progress: Progress | None = None,
    clock: Clock | None = None,
    known: KnownValue = UNKNOWN,
) -> GreatestDifference:
    """The same in turns, of two networks, with a clock that may have started before."""
    clock = Clock() if clock is None else clock
    _check_difference(options)
    region, _ = (region_for(model, x, mask, options) for model in networks.models)
    networks.finite_scores(region.center)
    identity = np.eye(networks.models[0].classes)
    rows = np.concatenate([identity, -identity], axis=1)
    far = region.reach(options.norm) if radius is None else float(radius)

    def found() -> GreatestDifference:
        """What is known by now."""
        output = None if value.best is None else int(np.argmax(np.abs(rows @ value.best.scores)))
        verdict = Verdict.EXACT if value.exact else Verdict.UNRESOLVED
        return GreatestDifference(
            options.norm, radius, verdict, value.lower, value.upper, value.basis, clock.now(), output, value.best,
            value.nodes, value.why_open,
        )  # fmt: skip

    def told(running: Running) -> None:
        if progress is not None:
            progress(replace(running, answer=found()))

    deadline, both = Deadline(options.time_limit, clock), np.concatenate([rows, -rows])
    value = GreatestValue(networks, region, far, both, options, deadline, progress=told, known=known)
    await value.close()
    return found()


def check_outputs(first: Model, second: Model) -> None:
    """Refuse two networks whose outputs cannot be compared one by one."""
    if first.classes != second.classes:
        counts = f"{first.classes}, {second.classes}"
        raise DataError(f"networks that are compared have as many outputs; these have {counts}")


def _check_difference(options: Options) -> None:
    check_several(options)
    if options.margin:
        raise OptionError("a difference is asked for without a margin; leave margin out")
