"""Data-set scale and transfer: how far apart the data lie, and whether one network's adversaries fool another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from encoders.arrays import FloatArray
from encoders.question import Norm
from verifier.runs.samples import Samples
from verifier.studies.attacks.transfer import fooled, stretched
from verifier.studies.comparison.measure import Measured

REFERENCE = 2000  # samples at most, that the nearest is looked for among


@dataclass(frozen=True, eq=False)
class Scale:
    """Each sample's distance to the nearest sample of its own class, and of another one."""

    norm: Norm
    same: FloatArray
    other: FloatArray


def scale(samples: Samples, indices: Sequence[int], norm: Norm) -> Scale:
    """Nearest neighbours of the chosen samples among the data set's first ones (itself left out)."""
    if samples.y is None:
        return Scale(norm, np.zeros(0), np.zeros(0))
    flat = samples.x.reshape(samples.count, -1)[:REFERENCE].astype(np.float64)
    labels = samples.y[:REFERENCE]
    same, other = [], []
    for index in indices:
        distance = norm.length(flat - samples.x[index].reshape(-1))
        if index < len(distance):
            distance[index] = np.inf
        alike = labels == samples.y[index]
        same.append(distance[alike].min(initial=np.inf))
        other.append(distance[~alike].min(initial=np.inf))
    return Scale(norm, np.array(same), np.array(other))


@dataclass(frozen=True, eq=False)
class Transfer:
    """shares[a, b]: of network a's exact adversaries of samples that both classify right, how many fool b."""

    norm: Norm
    stretch: float
    names: tuple[str, ...]
    shares: FloatArray


def transfer(measured: Sequence[Measured], samples: Samples, stretch: float) -> Transfer:
    """Adversaries of each network, `stretch` times as far from their sample (inside [0, 1]), shown to every other."""
    shares = np.full((len(measured), len(measured)), np.nan)
    models = [one.subject.model() for one in measured]
    for a, source in enumerate(measured):
        chosen = [index for index in source.indices if index in source.adversaries]
        if not chosen:
            continue
        original = samples.x[chosen].reshape(len(chosen), -1)
        moved = stretched(original, np.stack([source.adversaries[i] for i in chosen]), stretch, (0.0, 1.0))
        for b, target in enumerate(measured):
            flipped = fooled(models[b], original, moved)
            position = {index: k for k, index in enumerate(target.indices)}
            right = np.array([bool(target.correct[position[index]]) for index in chosen])
            if right.any():
                shares[a, b] = float(flipped[right].mean())
    return Transfer(measured[0].norm, stretch, tuple(one.subject.variant for one in measured), shares)
