"""The greatest adversarial loss of a sample in a ball, and the range of an output over a ball or the whole box."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from encoders.arrays import FloatArray
from encoders.deadline import Clock, Deadline
from encoders.errors import DataError, OptionError, SoundnessError
from encoders.grid import Grid
from encoders.question import Norm, Region
from verifier.batching.request import run_alone
from verifier.engines.registry import engine_for
from verifier.greatest_value import UNKNOWN, GreatestValue, KnownValue
from verifier.options import REAL, Options, check_convex, check_quantised, check_radius, checked_radius
from verifier.quantised_loss import QuantisedLoss
from verifier.question.input_shape import levels_for
from verifier.question.model import Model, opened
from verifier.question.model_views import View
from verifier.question.problem import Progress, Running
from verifier.question.results import Adversary, Basis, weakest
from verifier.question.sample_values import array_of
from verifier.regions import check_classes, checked_label, middle_of_box, region_for, viewed

TOLERANCE = 1e-4  # relative for values above 1: the greatest value at float32 inputs is no nearer to the real one


class Closed(StrEnum):
    """What is known of a greatest value."""

    EXACT = "exact"
    UNRESOLVED = "unresolved"
    EMPTY = "empty"


@dataclass(frozen=True, eq=False)
class GreatestLoss:
    """Of one sample:  lower ≤ max over the ball of f_t - f_c ≤ upper,  over all targets t.

    `lower` is attained by `worst`, an input of the ball, in onnxruntime and in real numbers; `upper` is proven. Where
    it is negative, no input of the ball is classified as a target. `target` is the one that `worst` comes nearest to,
    or goes farthest beyond. `by_target` has each target's own bracket, where that was asked; `basis` is then what all
    of them rest on. `why_open` says in a sentence what stands in the way of an unresolved one. Where no input of the
    ball is allowed by the constraints the verdict is `empty`, and both sides are -inf.
    """

    index: int
    label: int | None
    predicted: int
    against: int  # c: the label, or the predicted class where there is none
    norm: Norm
    radius: float
    verdict: Closed
    lower: float
    upper: float
    basis: Basis
    engine: str
    seconds: float
    worst: Adversary | None
    target: int | None = None
    nodes: int = 0
    by_target: Mapping[int, tuple[float, float]] | None = None
    why_open: str | None = None

    def __post_init__(self) -> None:
        _check_order(self.lower, self.upper)


@dataclass(frozen=True, eq=False)
class OutputRange:
    """Brackets of the least and the greatest value of a combination of the outputs: [lower, upper] of each.

    The inner ends are attained by inputs that replay, the outer ends are proven; `why_open` is of the wider one.
    Where no input is allowed by the constraints the verdict is `empty`: `least` is then inf and `greatest` -inf.
    """

    combination: tuple[float, ...]
    least: tuple[float, float]
    greatest: tuple[float, float]
    verdict: Closed
    basis: Basis
    seconds: float
    lowest: Adversary | None
    highest: Adversary | None
    nodes: int = 0
    why_open: str | None = None

    def __post_init__(self) -> None:
        _check_order(*self.least)
        _check_order(*self.greatest)


def _check_order(lower: float, upper: float) -> None:
    if not lower <= upper:
        raise SoundnessError(f"soundness alarm: a value of {lower!r} replays, above the proven {upper!r}")


@dataclass(frozen=True, eq=False)
class KnownLoss:
    """What an earlier attempt at a greatest loss left: of all targets together, and what each was proven to stay below.

    What targets were proven rests on the whole's basis.
    """

    whole: KnownValue = UNKNOWN
    by_target: Mapping[int, float] = field(default_factory=dict)


NO_LOSS = KnownLoss()


def margin(
    model: Model | str | Path,
    x: ArrayLike,
    radius: float,
    *,
    norm: str = "linf",
    label: int | None = None,
    index: int = 0,
    mask: ArrayLike | None = None,
    each: bool = False,
    progress: Progress | None = None,
    **options: Any,
) -> GreatestLoss:
    """The exact greatest adversarial loss of one sample: max of f_t - f_c over the ball and the targets t, bracketed.

    `each` closes every target's own bracket, too. `options` are the fields of `Options`; `tolerance` is 1e-4 here.
    """
    model = opened(model)
    chosen = Options(**{"norm": norm, "tolerance": TOLERANCE, **options})
    return run_alone(margin_asked(model, x, radius, chosen, label, index, mask, each, progress))


async def margin_asked(
    model: Model,
    x: ArrayLike,
    radius: float,
    options: Options,
    label: int | None = None,
    index: int = 0,
    mask: ArrayLike | None = None,
    each: bool = False,
    progress: Progress | None = None,
    clock: Clock | None = None,
    workers: int = 1,
    share: int = 1,
    known: KnownLoss = NO_LOSS,
) -> GreatestLoss:
    """The same in turns, with a clock that may have started before, for `share` samples side by side."""
    clock = Clock() if clock is None else clock
    radius, label = checked_radius(radius), checked_label(label)
    check_askable(model, options, loss=True)
    model.check_classifier()
    check_classes(model, label, None)
    view, region, grid, rooms = _viewed(model, x, mask, options)
    predicted = int(np.argmax(_finite_scores(view, region, index)))
    against = predicted if label is None else label
    targets = tuple(t for t in options.targets or range(model.classes) if t != against)
    if not targets:
        why = f"class {against} is the only target; a loss is over another class"
        raise OptionError(f"{why}: name one more target, or leave such samples out")
    identity, deadline = np.eye(model.classes), Deadline(options.time_limit, clock)

    def value(targets: Sequence[int], known: KnownValue) -> GreatestValue | QuantisedLoss:
        if model.quantised is not None and grid is not None:
            return QuantisedLoss(
                model, model.quantised, region, grid, float(radius), targets, against, options, deadline, workers,
                share, told, known,
            )  # fmt: skip
        rows = np.stack([identity[t] - identity[against] for t in targets])
        return GreatestValue(
            view, region, float(radius), rows, options, deadline, grid, workers, share, told, rooms=rooms, known=known
        )

    parts: list[GreatestValue | QuantisedLoss] = []

    def found() -> GreatestLoss:
        """What is known by now."""
        best, basis = whole.best, weakest(one.basis for one in (whole, *parts))
        target = None if best is None else max(targets, key=lambda t: float(best.scores[t]))
        return GreatestLoss(
            index, label, predicted, against, options.norm, float(radius), _verdict(whole), whole.lower,
            whole.upper, basis, whole.engine.name, clock.now(), _told(view, best), target,
            whole.nodes + sum(part.nodes for part in parts),
            {t: (part.lower, part.upper) for t, part in zip(targets, parts, strict=True)} if parts else None,
            None if whole.exact else whole.why_open,
        )  # fmt: skip

    def told(running: Running) -> None:
        if progress is not None:
            progress(replace(running, lower=whole.lower, upper=whole.upper, answer=found()))

    whole = value(targets, known.whole)
    await whole.close()
    if each:
        uppers = [min(whole.upper, known.by_target.get(t, np.inf)) for t in targets]
        resting = weakest((whole.basis, known.whole.basis if known.by_target else whole.basis))
        parts = [value((t,), KnownValue(upper, resting)) for t, upper in zip(targets, uppers, strict=True)]
        for part in parts:
            await part.close()
        whole.join(parts)
    return found()


def output_range(
    model: Model | str | Path,
    combination: Sequence[float],
    *,
    x: ArrayLike | None = None,
    radius: float | None = None,
    norm: str = "linf",
    mask: ArrayLike | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> OutputRange:
    """The least and the greatest value of combination · scores over a ball around `x`, or over the whole box.

    Without `x` the box is all there is, and without `radius` the ball has no end. `options` are the fields of
    `Options`; `tolerance` is 1e-4 here. Each of the two sides has half of the time limit.
    """
    model = opened(model)
    chosen = Options(**{"norm": norm, "tolerance": TOLERANCE, **options})
    return run_alone(range_asked(model, combination, chosen, x, radius, 0, mask, progress))


async def range_asked(
    model: Model,
    combination: Sequence[float],
    options: Options,
    x: ArrayLike | None = None,
    radius: float | None = None,
    index: int = 0,
    mask: ArrayLike | None = None,
    progress: Progress | None = None,
    clock: Clock | None = None,
    workers: int = 1,
    share: int = 1,
    known: tuple[KnownValue, KnownValue] = (UNKNOWN, UNKNOWN),
) -> OutputRange:
    """The same in turns, with a clock that may have started before, for `share` samples side by side.

    What is `known` is of the negated least value, and of the greatest.
    """
    clock = Clock() if clock is None else clock
    radius = check_radius(radius)
    check_askable(model, options)
    if options.targets is not None:
        raise OptionError("a range is of a combination of the outputs; leave targets out")
    row = array_of("combination", combination)
    row = row.astype(np.float64) if row.dtype.kind in "fui" else np.full(0, np.nan)
    if row.shape != (model.classes,) or not np.isfinite(row).all():
        raise DataError(f"combination: give one finite number for each of the {model.classes} outputs of {model.path}")
    if x is None:
        if radius is not None:
            raise OptionError("a radius is around a sample; give x, or leave radius out")
        x = middle_of_box(model, options)
    view, region, grid, rooms = _viewed(model, x, mask, options)
    _finite_scores(view, region, index)
    far = region.reach(options.norm) if radius is None else float(radius)
    started, limit = clock.now(), options.time_limit

    def found() -> OutputRange:
        """What is known by now."""
        return OutputRange(
            tuple(map(float, row)), (-least.upper, -least.lower), (greatest.lower, greatest.upper),
            _verdict(least, greatest), weakest((least.basis, greatest.basis)), clock.now() - started,
            _told(view, least.best), _told(view, greatest.best), least.nodes + greatest.nodes,
            _why_open({"least": least, "greatest": greatest}),
        )  # fmt: skip

    def told(running: Running) -> None:
        if progress is not None:
            progress(replace(running, answer=found()))

    def told_of_least(running: Running) -> None:
        told(replace(running, lower=-running.upper, upper=-running.lower))

    def side(part: int, sign: float, told: Progress) -> GreatestValue:
        deadline = Deadline(None if limit is None else started + 0.5 * part * limit, clock)
        return GreatestValue(
            view, region, far, sign * row[None], options, deadline, grid, workers, share, told, rooms=rooms,
            known=known[part - 1], negated=sign < 0,
        )  # fmt: skip

    least, greatest = side(1, -1.0, told_of_least), side(2, 1.0, told)
    await least.close()
    if least.empty:  # no input is allowed, whatever is asked of it
        greatest.upper, greatest.basis = least.upper, least.basis
    await greatest.close()
    return found()


def check_askable(model: Model, options: Options, loss: bool = False) -> None:
    """Refuse what greatest values are not asked of, or not so; of a quantised network there is no other than a loss."""
    if model.quantised is None:
        check_convex(options)
    elif loss:
        check_quantised(model, options)
    else:
        raise OptionError(
            f"{model.path}: no engine bounds the outputs of a quantised network; ask for margin, distance or verify"
        )
    check_classes(model, None, options.targets)
    engine_for(options.engine).check(options.norm, options.grid is not None, model.quantised is not None)
    if options.execution != REAL:
        raise OptionError("greatest values are about real arithmetic; leave out execution")
    if options.change is not None:
        raise OptionError("a greatest value is of the ball, whatever the sample's own; leave change out")
    if options.margin:
        raise OptionError("a greatest loss is asked for without a margin; leave margin out")


def _viewed(
    model: Model, x: ArrayLike, mask: ArrayLike | None, options: Options
) -> tuple[Model, Region, Grid | None, FloatArray]:
    """The model and the box around the sample as constraints, units and a grid have them; the constraints' rooms."""
    view, region, rooms = viewed(model, region_for(model, x, mask, options), options)
    if options.grid is None:
        return view, region, None, rooms
    grid = Grid.of(region, options.norm, levels_for(model.input_shape, options.grid))
    return view, Region(region.center, grid.corner(grid.down), grid.corner(grid.up), region.pixels), grid, rooms


def _finite_scores(model: Model, region: Region, index: int) -> FloatArray:
    scores = model.scores(region.center[None])[0][: model.classes]
    if not np.isfinite(scores).all():
        raise DataError(f"sample {index}: the model's scores are not finite: {scores}")
    return np.asarray(scores)


def _told(model: Model, found: Adversary | None) -> Adversary | None:
    """An input that was found, as the file has it."""
    if found is None:
        return None
    return (model.told(found) if isinstance(model, View) else found).shaped(model.input_shape)


def _why_open(values: Mapping[str, GreatestValue]) -> str | None:
    """Why the wider of those that are open is, by its name."""
    said = {name: value for name, value in values.items() if value.why_open is not None and not value.exact}
    if not said:
        return None
    name = max(said, key=lambda name: said[name].upper - said[name].lower)
    return f"of the {name} value, {said[name].why_open}"


def _verdict(*values: GreatestValue | QuantisedLoss) -> Closed:
    if any(value.empty for value in values):
        return Closed.EMPTY
    return Closed.EXACT if all(value.exact for value in values) else Closed.UNRESOLVED
