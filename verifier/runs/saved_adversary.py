"""Adversaries on the disk: the arrays, and a strip to look at (original | adversary | difference, magnified)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoders.arrays import Inputs
from encoders.files import replacing
from verifier.question.input_shape import image_shape
from verifier.question.model import Model
from verifier.question.results import Adversary, PerturbedAdversary

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
    """Write NAME-INDEX.npz, and NAME-INDEX.png where the input looks like an image; returns what it wrote.

    Of a perturbation the variables are written too.
    """
    directory.mkdir(parents=True, exist_ok=True)
    arrays, picture = (directory / f"{name}-{index}.{kind}" for kind in ("npz", "png"))
    held = arrays_of(original, adversary)
    with replacing(arrays) as file:
        np.savez_compressed(file, **held)
    changed = held["adversary"]
    return (arrays, picture) if save_strips(picture, [original], [changed], box) else (arrays,)


def arrays_of(original: Inputs, adversary: Adversary) -> dict[str, Any]:
    """What an adversary's .npz holds; of a perturbation the variables, too."""
    changed = adversary.input.reshape(original.shape)
    more = {"variables": adversary.variables} if isinstance(adversary, PerturbedAdversary) else {}
    return {
        "original": original, "adversary": changed, "difference": changed.astype(np.float64) - original,
        "scores": adversary.scores, "label": adversary.label, "distance": adversary.distance, **more,
    }  # fmt: skip


def save_joint(
    directory: Path, index: int, original: Inputs, found: Adversary, models: Sequence[Model], box: tuple[float, float]
) -> None:
    """Write perturbation-INDEX.npz: a perturbation that fools all models, and what it makes of each original.

    The original is the sample that all models read, or one for each; the perturbation is then the variables. Beside it
    perturbation-INDEX.png where inputs look like images: a strip for each original.
    """
    if isinstance(found, PerturbedAdversary):
        originals = read = original
        changed, moved = found.input.reshape(original.shape), found.variables.reshape(original.shape[1:])
    else:
        originals, read = original[None], np.broadcast_to(original, (len(models), *original.shape))
        changed = found.input.reshape(originals.shape)
        moved = changed[0].astype(np.float64) - original
    ends = np.cumsum([model.classes for model in models])[:-1]
    with replacing(directory / f"perturbation-{index}.npz") as file:
        np.savez_compressed(
            file,
            perturbation=moved,
            originals=originals,
            witnesses=changed,
            classes=[int(np.argmax(m.scores(x.reshape(1, -1))[0])) for m, x in zip(models, read, strict=True)],
            fooled=[int(np.argmax(part)) for part in np.split(found.scores, ends)],
            distance=found.distance,
        )
    save_strips(directory / f"perturbation-{index}.png", list(originals), list(changed), box)


def save_difference(directory: Path, index: int, original: Inputs, found: Adversary, box: tuple[float, float]) -> None:
    """Write difference-INDEX.npz and .png: where two networks differ most, and both networks' scores there."""
    worst, scores = found.input.reshape(original.shape), found.scores.reshape(2, -1)
    apart = np.abs(scores[0] - scores[1])
    with replacing(directory / f"difference-{index}.npz") as file:
        np.savez_compressed(
            file, original=original, worst=worst, scores=scores, output=apart.argmax(), difference=apart.max()
        )
    save_strips(directory / f"difference-{index}.png", [original], [worst], box)


def save_strips(path: Path, originals: Sequence[Inputs], changed: Sequence[Inputs], box: tuple[float, float]) -> bool:
    """A strip for each pair, one below the other; False where inputs look like no images."""
    shape = image_shape(originals[0].shape)
    if shape is None:
        return False
    from PIL import Image

    strips = [
        strip(as_image(before, shape), as_image(after, shape), box)
        for before, after in zip(originals, changed, strict=True)
    ]
    gap = np.full((GAP, *strips[0].shape[1:]), 255, dtype=np.uint8)
    picture = Image.fromarray(np.concatenate([strips[0], *(part for one in strips[1:] for part in (gap, one))]))
    with replacing(path) as file:
        picture.save(file, format="png")
    return True


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
