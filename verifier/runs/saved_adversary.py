"""Adversaries on the disk: the arrays, and a strip to look at (original | adversary | difference, magnified)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoders.arrays import Inputs
from verifier.question.input_shape import image_shape
from verifier.question.results import Adversary

FloatImage = NDArray[np.float64]
SIDE = 192  # pixels that the shorter side of a panel is enlarged to
GAP = 8


def save_adversary(
    directory: Path,
    index: int,
    original: Inputs,
    adversary: Adversary,
    box: tuple[float, float],
    name: str = "adversary",
) -> tuple[Path, ...]:
    """Write NAME-INDEX.npz, and NAME-INDEX.png where the input looks like an image; returns what it wrote."""
    directory.mkdir(parents=True, exist_ok=True)
    changed = adversary.input.reshape(original.shape)
    difference = changed.astype(np.float64) - original
    arrays = directory / f"{name}-{index}.npz"
    np.savez_compressed(
        arrays,
        original=original,
        adversary=changed,
        difference=difference,
        scores=adversary.scores,
        label=adversary.label,
        distance=adversary.distance,
    )
    shape = image_shape(original.shape)
    if shape is None:
        return (arrays,)
    from PIL import Image

    picture = directory / f"{name}-{index}.png"
    panels = strip(as_image(original, shape), as_image(changed, shape), box)
    Image.fromarray(panels).save(picture)
    return (arrays, picture)


def save_perturbation(path: Path, perturbation: NDArray[Any]) -> bool:
    """One perturbation as a picture, mid-grey where it is zero; False where the input looks like no image."""
    shape = image_shape(perturbation.shape)
    if shape is None:
        return False
    from PIL import Image

    Image.fromarray(_enlarged(_magnified(as_image(perturbation, shape)))).save(path)
    return True


def as_image(values: NDArray[Any], shape: tuple[int, ...]) -> FloatImage:
    """Values as [H, W, 3]."""
    image = np.asarray(values, dtype=np.float64).reshape(shape)
    if image.ndim == 2:
        image = image[:, :, None]
    elif shape[0] in (1, 3):
        image = np.moveaxis(image, 0, 2)
    return np.broadcast_to(image, (*image.shape[:2], 3))


def strip(original: FloatImage, adversary: FloatImage, box: tuple[float, float]) -> NDArray[np.uint8]:
    """The three panels side by side; in the last, mid-grey is no change and the largest change is black or white."""
    low, high = box
    span = high - low if high > low else 1.0
    magnified = _magnified(adversary - original)
    panels = [_enlarged((original - low) / span), _enlarged((adversary - low) / span), _enlarged(magnified)]
    gap = np.full((panels[0].shape[0], GAP, 3), 255, dtype=np.uint8)
    return np.concatenate([panels[0], gap, panels[1], gap, panels[2]], axis=1)


def _magnified(difference: FloatImage) -> FloatImage:
    largest = float(np.abs(difference).max())
    return 0.5 + 0.5 * difference / largest if largest > 0 else np.full(difference.shape, 0.5)


def _enlarged(image: FloatImage) -> NDArray[np.uint8]:
    pixels = np.rint(np.clip(image, 0.0, 1.0) * 255).astype(np.uint8)
    factor = max(1, SIDE // min(image.shape[:2]))
    return np.repeat(np.repeat(pixels, factor, axis=0), factor, axis=1)
