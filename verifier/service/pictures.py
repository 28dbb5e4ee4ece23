"""Inputs as pictures, without the libraries that questions need: a server starts before those are there."""

from __future__ import annotations

import io
from typing import Any

SIDE = 192  # pixels that the shorter side is enlarged to, at least


def png(values: Any, signed: bool = False) -> bytes | None:
    """An input as a PNG; None where it looks like no picture. `signed`: grey is nothing, black and white the most."""
    import numpy as np
    from PIL import Image

    from verifier.question.input_shape import image_shape

    shape = image_shape(tuple(values.shape))
    if shape is None:
        return None
    image = np.asarray(values, dtype=np.float64).reshape(shape)
    if image.ndim == 3 and shape[0] in (1, 3):
        image = np.moveaxis(image, 0, 2)
    if values.dtype == np.uint8:
        image = image / 255.0
    if signed:
        most = float(np.abs(image).max()) or 1.0
        image = 0.5 + 0.5 * image / most
    pixels = np.rint(np.clip(image, 0.0, 1.0) * 255).astype(np.uint8)
    factor = max(1, SIDE // min(pixels.shape[:2]))
    pixels = np.repeat(np.repeat(pixels, factor, axis=0), factor, axis=1)
    out = io.BytesIO()
    Image.fromarray(pixels[:, :, 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels).save(out, "PNG")
    return out.getvalue()
