"""Few variables that move many inputs at once: brightness, contrast, haze, a patch, a bias field.

Each is a layer in front of the network, x' = clip(x + P v), with v = 0 for the sample. How far v must move for another
class, and whether any v within a radius does it, is then asked of the variables as it is of inputs, and proven alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from encoders.arrays import FloatArray
from encoders.errors import DataError, OptionError
from encoders.question import Norm
from verifier import answer
from verifier.question.input_shape import image_shape
from verifier.question.model import Model
from verifier.question.model_views import PerturbedModel
from verifier.question.results import Result
from verifier.question.sample_values import sample_of

Box = tuple[float, float]


@dataclass(frozen=True, eq=False)
class Perturbation:
    """One perturbation of one sample. Distances are lengths of its variables; an adversary's input is their values."""

    model: PerturbedModel

    @property
    def start(self) -> FloatArray:
        """The variables of the sample itself: zero."""
        return np.zeros(self.model.input_shape)

    def distance(self, norm: str = "linf", **options: Any) -> Result:
        """The least variables, in the norm, whose image has another class, bracketed: `plumbline.distance`."""
        return answer.distance(self.model, self.start, norm=norm, **_without_box(options))

    def verify(self, radius: float | None = None, norm: str = "linf", **options: Any) -> Result:
        """Whether all variables within the radius keep the class: `plumbline.verify`; None for all that there are."""
        if radius is None:
            radius = float(Norm(norm).length(np.maximum(*np.abs(self.model.limits))))
        return answer.verify(self.model, self.start, radius, norm=norm, **_without_box(options))

    def image(self, variables: ArrayLike) -> NDArray[Any]:
        """The image of the variables, rounded to the file's numbers: what the file is run at."""
        values = np.asarray(variables, dtype=np.float64).reshape(1, -1)
        if values.size != self.model.input_shape[0]:
            raise DataError(f"{values.size} values do not fit a perturbation of {self.model.input_shape[0]} variables")
        return np.asarray(self.model.images(values)[0].reshape(self.model.image_shape))


def brightness(model: Model, x: ArrayLike, box: Box = (0.0, 1.0)) -> Perturbation:
    """One variable that is added to every input: x' = clip(x + v)."""
    sample, span = _sample(model, x, box), box[1] - box[0]
    return _perturbation(model, sample, np.ones((sample.size, 1)), (-span, span), box)


def contrast(
    model: Model, x: ArrayLike, box: Box = (0.0, 1.0), about: float | None = None, most: float = 1.0
) -> Perturbation:
    """One variable that stretches values away from `about` (the box's middle): x' = clip(about + (1 + v)(x - about)).

    At v = -1 the image is flat; `most` is the largest v.
    """
    sample = _sample(model, x, box)
    middle = (box[0] + box[1]) / 2 if about is None else about
    if not (np.isfinite(middle) and np.isfinite(most) and most >= 0):
        raise OptionError(
            "contrast: give a number about which values are stretched, and a largest stretch of 0 or more"
        )
    return _perturbation(model, sample, (sample - middle)[:, None], (-1.0, float(most)), box)


def haze(model: Model, x: ArrayLike, box: Box = (0.0, 1.0), colour: ArrayLike | None = None) -> Perturbation:
    """One variable in [0, 1] that fades the image into a colour: x' = (1 - v) x + v · colour.

    The colour is one number (the box's upper end), or an array that numpy can broadcast to the model's input.
    """
    sample = _sample(model, x, box)
    try:
        full = np.broadcast_to(np.asarray(box[1] if colour is None else colour, dtype=np.float64), model.input_shape)
    except (TypeError, ValueError):
        raise OptionError(
            f"haze: give a colour that numpy can broadcast to the model's input {model.input_shape}"
        ) from None
    flat = full.reshape(-1)
    if not ((flat >= box[0]) & (flat <= box[1])).all():
        raise OptionError(f"haze: give a colour inside the box {box[0]:g},{box[1]:g}")
    return _perturbation(model, sample, (flat - sample)[:, None], (0.0, 1.0), box)


def patch(
    model: Model, x: ArrayLike, top: int, left: int, height: int, width: int, box: Box = (0.0, 1.0)
) -> Perturbation:
    """One variable for each input of a rectangle, whatever its channel: anything at all may be pasted there.

    `verify()` asks about every content, `verify(radius)` and `distance` about how far it moves.
    """
    sample = _sample(model, x, box)
    rows, columns, shape = _places(model)
    if top < 0 or left < 0 or height < 1 or width < 1 or top + height > shape[0] or left + width > shape[1]:
        raise OptionError(f"patch: give a rectangle inside the image of {shape[0]} rows and {shape[1]} columns")
    inside = (rows >= top) & (rows < top + height) & (columns >= left) & (columns < left + width)
    free = np.flatnonzero(inside)
    directions = np.zeros((sample.size, len(free)))
    directions[free, np.arange(len(free))] = 1.0
    return _perturbation(model, sample, directions, (box[0] - sample[free], box[1] - sample[free]), box)


def bias_field(model: Model, x: ArrayLike, degree: int = 2, box: Box = (0.0, 1.0), most: float = 1.0) -> Perturbation:
    """A smooth factor over the image: x' = clip(x · (1 + Σ v_ab · r^a · c^b)), a + b up to the degree.

    Rows r and columns c run from -1 to 1, and each variable from -`most` to `most`.
    """
    sample = _sample(model, x, box)
    if isinstance(degree, bool) or not isinstance(degree, int | np.integer) or degree < 0:
        raise OptionError(f"bias field: degree {degree!r}: give a whole number, 0 or more")
    if not (np.isfinite(most) and most > 0):
        raise OptionError("bias field: give a largest size of its variables above 0")
    rows, columns, shape = _places(model)
    down, along = (2.0 * place / max(length - 1, 1) - 1.0 for place, length in ((rows, shape[0]), (columns, shape[1])))
    fields = [down**a * along ** (total - a) for total in range(degree + 1) for a in range(total, -1, -1)]
    return _perturbation(model, sample, sample[:, None] * np.stack(fields, axis=1), (-most, most), box)


def _perturbation(
    model: Model, sample: FloatArray, directions: FloatArray, limits: tuple[ArrayLike, ArrayLike], box: Box
) -> Perturbation:
    count = directions.shape[1]
    low, high = (np.broadcast_to(np.asarray(limit, dtype=np.float64), (count,)).copy() for limit in limits)
    return Perturbation(PerturbedModel(model, sample, directions, (low, high), box))


def _sample(model: Model, x: ArrayLike, box: Box) -> FloatArray:
    """The sample, flat, in the file's numbers; refused where it or the model cannot be perturbed."""
    if model.quantised is not None:
        raise OptionError(f"{model.path}: a quantised network is asked on its levels, not about perturbations")
    low, high = (float(side) for side in box)
    if not (np.isfinite(low) and np.isfinite(high) and low < high):
        raise OptionError("perturbation: give a box of two numbers, the lower one first")
    sample = sample_of(x, model.input_shape, model.input_type).astype(np.float64).reshape(-1)
    if not ((sample >= low) & (sample <= high)).all():
        raise DataError("the sample lies outside the box; give the box that its values may take")
    if max(abs(low), abs(high)) > model.reach:
        raise DataError(f"inputs of the box {low:g},{high:g} could meet limits that {model.path} was not read for")
    return sample


def _places(model: Model) -> tuple[FloatArray, FloatArray, tuple[int, int]]:
    """The row and the column of each input, and how many of both the image has."""
    shape = image_shape(model.input_shape)
    if shape is None:
        raise OptionError(
            f"the model's input {model.input_shape} is no image: (H, W), (C, H, W) or (H, W, C) with C of 1 or 3"
        )
    first = 1 if len(shape) == 3 and shape[0] in (1, 3) else 0
    places = np.indices(shape)
    rows, columns = (places[first + k].reshape(-1).astype(np.float64) for k in (0, 1))
    return rows, columns, (shape[first], shape[first + 1])


def _without_box(options: dict[str, Any]) -> dict[str, Any]:
    if "box" in options:
        raise OptionError("the box of a perturbation is that of its images; give it where the perturbation is made")
    return options
