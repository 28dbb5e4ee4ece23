"""Adversaries of one network shown to others: a matrix of the shares that are fooled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from encoders.arrays import FloatArray
from verifier.question.model import Model

Inputs = NDArray[np.float32]


def stretched(original: Inputs, adversaries: Inputs, factor: float | FloatArray, box: tuple[float, float]) -> Inputs:
    """Adversaries [B, n] moved to `factor` times their way from the original, in the box; one for all, or [B, 1]."""
    moved = original + np.asarray(factor, dtype=np.float32) * (adversaries - original)
    return np.asarray(np.clip(moved, *box), dtype=np.float32)


def fooled(model: Model, original: Inputs, moved: Inputs) -> NDArray[np.bool_]:
    """Which rows the model, in onnxruntime, classifies otherwise than their original."""
    before, after = (model.scores(inputs).argmax(1) for inputs in (original, moved))
    return np.asarray(before != after)


@dataclass(frozen=True, eq=False)
class Source:
    """One network's adversaries [B, n], and which samples they belong to; `right` over all samples asked for."""

    model: Model
    right: NDArray[np.bool_]
    rows: NDArray[np.int64]
    adversaries: Inputs


def matrix(
    sources: Sequence[Source], original: Inputs, factor: float, box: tuple[float, float]
) -> tuple[FloatArray, NDArray[np.int64]]:
    """[a, b]: of network a's adversaries of samples that both classify right, the share that fools b; and of how many.

    NaN where there is no such sample. A diagonal below one means that clipping undid an adversary.
    """
    shares = np.full((len(sources), len(sources)), np.nan)
    counts = np.zeros_like(shares, dtype=np.int64)
    for a, source in enumerate(sources):
        if not len(source.rows):
            continue
        here = original[source.rows]
        moved = source.adversaries if factor == 1.0 else stretched(here, source.adversaries, factor, box)
        for b, target in enumerate(sources):
            both = source.right[source.rows] & target.right[source.rows]
            counts[a, b] = int(both.sum())
            if both.any():
                shares[a, b] = float(fooled(target.model, here[both], moved[both]).mean())
    return shares, counts
