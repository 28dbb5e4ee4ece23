"""What the shape of a model's input says: which levels go with which input, and which inputs make up a pixel."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoders.arrays import IntArray
from encoders.errors import OptionError


def channels_placed(values: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """An image, or a batch of them, with its channels first or last as the model's input has them."""
    last = values.shape[-3:]
    if len(shape) == len(last) == 3 and last != shape:
        if (last[2], *last[:2]) == shape:
            return np.moveaxis(values, -1, -3)
        if (*last[1:], last[0]) == shape:
            return np.moveaxis(values, -3, -1)
    return values


def levels_for(shape: tuple[int, ...], levels: int | IntArray) -> int | IntArray:
    """Levels per unit, of all inputs or flat for each; an array may be broadcast to the model's input."""
    if not isinstance(levels, np.ndarray):
        return levels
    if levels.size == math.prod(shape):
        return channels_placed(levels, shape).reshape(-1)
    try:
        return np.broadcast_to(levels, shape).reshape(-1)
    except ValueError:
        raise OptionError(
            f"grid: levels of shape {levels.shape} do not fit the model's input {shape}; give one number, "
            f"or an array of that shape or one that numpy can broadcast to it"
        ) from None


def image_shape(shape: tuple[int, ...]) -> tuple[int, ...] | None:
    """How an input of this shape reads as an image: (H, W), (C, H, W) or (H, W, C), C of 1 or 3; None if it does not.

    A flat input is an image when it is a square.
    """
    if len(shape) == 3 and (shape[0] in (1, 3) or shape[2] in (1, 3)):
        return shape
    if len(shape) == 2 and min(shape) > 1:
        return shape
    size = math.prod(shape)
    side = math.isqrt(size)
    return (side, side) if side > 1 and side * side == size and max(shape) == size else None


def pixels_of(shape: tuple[int, ...]) -> IntArray:
    """Which pixel each input belongs to; refuses an input that is no image."""
    image = image_shape(shape) if len(shape) > 1 else None
    if image is None:
        raise OptionError(
            f"count pixels: the model's input {shape} is no image of shape (H, W), (C, H, W) or (H, W, C) with 1 or 3 "
            f"channels; count inputs instead"
        )
    if len(image) == 2 or image[0] in (1, 3):
        pixels = np.broadcast_to(np.arange(image[-2] * image[-1]).reshape(image[-2:]), image)
    else:
        pixels = np.broadcast_to(np.arange(image[0] * image[1]).reshape(*image[:2], 1), image)
    return pixels.reshape(-1)
