"""Transfer at matched radii: whether adversaries of one network fool the others, all moved to the same distance.

The nearest adversary lies a hair beyond its own network's boundary, and nearer for one network than for another: held
against each other as they are, networks differ in how far their adversaries go. Moved along their own direction to
one radius, they do not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from encoders.arrays import FloatArray
from encoders.question import Norm
from verifier.runs.samples import Samples
from verifier.studies.attacks.transfer import fooled, stretched
from verifier.studies.comparison.measure import Measured

BOX = (0.0, 1.0)


@dataclass(frozen=True, eq=False)
class Transfer:
    """shares[a, b]: of network a's adversaries of samples that both classify right, how many fool b; and of how many.

    `radius` is where they were moved to; None: as they were found.
    """

    norm: Norm
    radius: float | None
    names: tuple[str, ...]
    shares: FloatArray
    counts: NDArray[np.int64]


def transfer(measured: Sequence[Measured], samples: Samples, radius: float | None) -> Transfer:
    """Adversaries of each network at the radius (inside [0, 1]) shown to every other; NaN where there is none."""
    shares = np.full((len(measured), len(measured)), np.nan)
    counts = np.zeros_like(shares, dtype=np.int64)
    models = [one.subject.model() for one in measured]
    for a, source in enumerate(measured):
        chosen = [index for index in source.indices if index in source.adversaries]
        if not chosen:
            continue
        original = samples.x[chosen].reshape(len(chosen), -1)
        moved = np.stack([source.adversaries[index] for index in chosen])
        if radius is not None:
            lengths = source.norm.length(moved.astype(np.float64) - original)
            moved = stretched(original, moved, radius / np.maximum(lengths, 1e-30)[:, None], BOX)
        for b, target in enumerate(measured):
            flipped = fooled(models[b], original, moved)
            position = {index: k for k, index in enumerate(target.indices)}
            right = np.array([bool(target.correct[position[index]]) for index in chosen])
            counts[a, b] = int(right.sum())
            if right.any():
                shares[a, b] = float(flipped[right].mean())
    return Transfer(measured[0].norm, radius, tuple(one.subject.variant for one in measured), shares, counts)
