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

DIVERGING = ("#2166ac", "#f7f7f7", "#b2182b")  # lowered, unchanged, raised


@dataclass(frozen=True)
class Picture:
    """An image as a data URI, with a line below it; `scale` is what both ends of its colours stand for."""

    uri: str
    caption: str = ""
    scale: tuple[str, str] | None = None


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


def difference_picture(values: NDArray[Any], shape: tuple[int, ...], caption: str = "") -> Picture | str:
    """Values around zero in colours: white is zero, the ends are plus and minus the largest magnitude.

    The picture's scale says how much that is. Of several channels a pixel shows the value of largest magnitude.
    """
    form = image_shape(shape)
    if form is None:
        return "–"
    held = as_image(values, form)
    strongest = np.take_along_axis(held, np.abs(held).argmax(2)[:, :, None], 2)
    largest = float(np.abs(strongest).max())
    share = strongest / (largest or 1.0)
    low, middle, high = (np.array([int(one[k : k + 2], 16) for k in (1, 3, 5)]) / 255 for one in DIVERGING)
    coloured = middle + np.where(share < 0, -share * (low - middle), share * (high - middle))
    return _encoded(coloured, caption, (f"−{largest:.3g}", f"+{largest:.3g}"))


def _encoded(image: NDArray[np.float64], caption: str, scale: tuple[str, str] | None = None) -> Picture:
    from PIL import Image

    out = io.BytesIO()
    pixels = np.rint(np.clip(image, 0.0, 1.0) * 255).astype(np.uint8)
    grey = bool((pixels == pixels[:, :, :1]).all())
    Image.fromarray(pixels[:, :, 0] if grey else pixels).save(out, "PNG", optimize=True)
    return Picture(f"data:image/png;base64,{base64.b64encode(out.getvalue()).decode()}", caption, scale)
