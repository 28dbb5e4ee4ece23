"""Samples as a model takes them: numbers in its type and its shape, or a refusal in one line."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from encoders.arrays import Inputs, InputType
from encoders.errors import DataError
from verifier.question.input_shape import channels_placed

Array = NDArray[Any]


def array_of(source: str, values: ArrayLike) -> Array:
    """Arrays, nested lists and tensors, on whatever device, as an array."""
    if hasattr(values, "detach"):
        values = values.detach().cpu()
    try:
        return np.asarray(values)
    except (ValueError, TypeError, RuntimeError) as error:
        raise DataError(f"{source}: no array of numbers ({' '.join(str(error).split())})") from None


def numbers_of(source: str, x: Array, kind: InputType) -> Inputs:
    """uint8 is a pixel and divided by 255; floats stay as they are; anything else says too little about its scale."""
    if x.dtype == np.uint8:
        return np.asarray(x.astype(kind) / kind(255), dtype=kind)
    if x.dtype.kind != "f":
        raise DataError(f"{source}: x holds {x.dtype}; store pixels as uint8 (divided by 255 here) or values as floats")
    with np.errstate(over="ignore"):
        values: Inputs = x.astype(kind)
    if not np.isfinite(values).all():
        where = np.argwhere(~np.isfinite(values))[0]
        raise DataError(f"{source}: x holds a NaN or infinite value at {tuple(int(i) for i in where)}")
    return values


def batch_of(source: str, x: Inputs, input_shape: tuple[int, ...]) -> Inputs:
    """x as [N, *input_shape]; a single sample may come without its N, an image with its channels last or first."""
    size = math.prod(input_shape)
    if x.ndim == 0 or x.size == 0:
        raise DataError(f"{source}: x is empty (shape {x.shape}); the model's input is {input_shape}")
    alone = x.size == size and x.ndim <= len(input_shape)  # also an image of one row, which could be a batch of one
    if not alone and math.prod(x.shape[1:]) == size and (x.ndim > 1 or size == 1):
        batch = x
    elif x.size == size:
        batch = x[None]
    else:
        raise DataError(f"{source}: samples of shape {x.shape[1:]} do not fit the model's input {input_shape}")
    if batch.ndim == 4:
        batch = channels_placed(batch, input_shape)
    return np.ascontiguousarray(batch.reshape(len(batch), *input_shape))


def sample_of(x: ArrayLike, input_shape: tuple[int, ...], kind: InputType) -> Inputs:
    """One sample [*input_shape]; whole numbers count as floats here, but for uint8, which is divided by 255."""
    values = array_of("x", x)
    if values.dtype.kind in "bi":
        values = values.astype(kind)
    if values.shape[1:] != input_shape and values.size != math.prod(input_shape):
        raise DataError(f"x: a sample of shape {values.shape} does not fit the model's input {input_shape}")
    batch = batch_of("x", numbers_of("x", values, kind), input_shape)
    if len(batch) != 1:
        raise DataError(f"x: shape {values.shape} holds {len(batch)} samples; ask about one, or give all to distances")
    sample: Inputs = batch[0]
    return sample


def mask_of(source: str, mask: Array, input_shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Which inputs may move [*input_shape]; a mask of an image's pixels holds for every channel."""
    if mask.dtype != np.bool_ and not (mask.dtype.kind in "ui" and np.isin(mask, (0, 1)).all()):
        raise DataError(f"{source}: a mask holds true and false (or 1 and 0), this holds {mask.dtype}")
    size = math.prod(input_shape)
    if mask.size != size and len(input_shape) == 3 and mask.size == size // input_shape[0]:
        mask = np.broadcast_to(mask.reshape(input_shape[1:]), input_shape)
    if mask.size != size:
        raise DataError(f"{source}: a mask of shape {mask.shape} does not fit the model's input {input_shape}")
    return channels_placed(mask, input_shape).reshape(input_shape).astype(np.bool_)
