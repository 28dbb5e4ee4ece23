"""Small pictures inside a page's tables."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from verifier.question.input_shape import image_shape
from verifier.runs.saved_adversary import as_image


@dataclass(frozen=True)
class Picture:
    """An image as a data URI, with a line below it."""

    uri: str
    caption: str = ""


def picture(values: NDArray[Any], shape: tuple[int, ...], caption: str = "") -> Picture | str:
    """Values in [0, 1] of an input of this shape as a picture; a dash where it does not read as an image."""
    form = image_shape(shape)
    if form is None:
        return "–"
    return _encoded(as_image(values, form), caption)


def signed_picture(values: NDArray[Any], shape: tuple[int, ...], caption: str = "") -> Picture | str:
    """Values around zero as a picture: mid-grey is zero, the largest magnitude black or white."""
    largest = float(np.abs(values).max())
    return picture(0.5 + 0.5 * np.asarray(values, np.float64) / (largest or 1.0), shape, caption)


def _encoded(image: NDArray[np.float64], caption: str) -> Picture:
    from PIL import Image

    out = io.BytesIO()
    pixels = np.rint(np.clip(image, 0.0, 1.0) * 255).astype(np.uint8)
    grey = bool((pixels == pixels[:, :, :1]).all())
    Image.fromarray(pixels[:, :, 0] if grey else pixels).save(out, "PNG", optimize=True)
    return Picture(f"data:image/png;base64,{base64.b64encode(out.getvalue()).decode()}", caption)
