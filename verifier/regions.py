"""The sample, the box around it, and what else is said of where inputs may move: checked, and made a region."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from encoders.arrays import FloatArray, Inputs
from encoders.errors import DataError
from encoders.input_constraints import InputConstraints
from encoders.question import Region
from encoders.validation import Whole, checked
from verifier.options import Options
from verifier.question.input_shape import channels_placed, levels_for, pixels_of
from verifier.question.model import Model
from verifier.question.model_views import ConstrainedModel, PerturbedModel, ScaledModel
from verifier.question.sample_values import array_of, mask_of, sample_of


def viewed(model: Model, region: Region, options: Options) -> tuple[Model, Region, FloatArray]:
    """The model and the region as constraints and units have them, and what rounding an input does to each constraint.

    Where there are neither, the model and the region themselves.
    """
    rooms = np.zeros(0)
    if options.constraints is not None:
        model = constrained(model, options.constraints)
        rooms = options.constraints.rounded_by(np.abs(region.center), model.input_type)
    if options.scale is not None:
        scaled = ScaledModel(model, region, scale_of(model, options.scale))
        model, region = scaled, scaled.region
    return model, region, rooms


def constrained(model: Model, constraints: InputConstraints) -> ConstrainedModel:
    """The model with constraints on its inputs."""
    size = int(np.prod(model.input_shape))
    if constraints.matrix.shape[1] != size:
        raise DataError(f"constraints on {constraints.matrix.shape[1]} inputs do not fit the model's {size}")
    return ConstrainedModel(model, constraints)


def scale_of(model: Model, scale: FloatArray) -> FloatArray:
    """The unit of each input, flat; an image's go where its entries go."""
    size = int(np.prod(model.input_shape))
    if scale.size != size:
        raise DataError(f"a scale of {scale.size} entries does not fit the model's {size} inputs")
    return np.ascontiguousarray(channels_placed(scale, model.input_shape).reshape(-1))


def region_for(model: Model, x: ArrayLike, mask: ArrayLike | None, options: Options) -> Region:
    """The sample and the box around it, flat; what the mask rules out may not move.

    The sample is in the type that the file takes. On a grid it is a float32 number, as all levels are.
    """
    sample = sample_of(x, model.input_shape, model.input_type if options.grid is None else np.float32)
    center = sample.reshape(-1).astype(np.float64)
    lower, upper = np.full(center.size, options.box[0]), np.full(center.size, options.box[1])
    if isinstance(model, PerturbedModel):
        lower, upper = model.limits
    if mask is not None:
        free = mask_of("mask", array_of("mask", mask), model.input_shape).reshape(-1)
        outside = ((center < lower) | (center > upper)) & free
        if outside.any():
            raise DataError("the sample lies outside the box; give a wider box")
        lower, upper = np.where(free, lower, center), np.where(free, upper, center)
    largest = max(float(np.abs(side).max(initial=0.0)) for side in (center, lower, upper))
    if largest > model.reach:
        raise DataError(
            f"inputs of size {largest:.3g} could meet the limits of a Clip in {model.path} that are read as none: up "
            f"to {model.reach:.3g} they cannot; give a smaller box"
        )
    return Region(center, lower, upper, pixels_of(model.input_shape) if options.count == "pixels" else None)


def checked_label(label: int | None) -> int | None:
    """A class, or none."""
    found: int | None = checked("label", Whole | None, label)
    return found


def check_classes(model: Model, label: int | None, targets: Sequence[int] | None) -> None:
    """Labels and targets must be classes of the model."""
    for name, value in [("label", label), *(("target", t) for t in targets or ())]:
        if value is not None and not 0 <= value < model.classes:
            raise DataError(f"{name} {value} is not a class of {model.path}: it has classes 0 to {model.classes - 1}")


def middle_of_box(model: Model, options: Options) -> Inputs:
    """The middle of the box, on the grid where there is one."""
    low, high = options.box
    middle = np.full(model.input_shape, low + 0.5 * (high - low))
    if options.grid is not None:
        levels = np.broadcast_to(levels_for(model.input_shape, options.grid), middle.size).reshape(middle.shape)
        middle = np.where(levels > 0, np.rint(middle * levels) / np.maximum(levels, 1), middle)
    return middle.astype(model.input_type)
