"""One perturbation for many samples: rounded so that it is no longer than asked for, and replayed on each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bounds.attacks.universal import UniversalOptions, UniversalProblem, universal_perturbation
from bounds.device import pick_device
from bounds.propagation.neuron_bounds import device_graph_for
from encoders.arrays import FloatArray
from encoders.errors import SoundnessError
from encoders.question import Norm
from verifier.options import Options
from verifier.question.model import Model

Inputs = NDArray[np.float32]
BATCH = 1000


@dataclass(frozen=True)
class Shares:
    """Of some samples: how many change their class, by the perturbation and by noise of the same length."""

    samples: int
    fooled: float
    noise: float
    clean_accuracy: float | None
    accuracy: float | None


def find_universal(model: Model, x: Inputs, radius: float, options: Options, effort: UniversalOptions) -> Inputs:
    """A perturbation [n] of at most `radius` that changes the class of as many rows of x [N, n] as can be found."""
    size = x.shape[1]
    problem = UniversalProblem(
        device_graph_for(model.graph, pick_device(options.device)),
        x.astype(np.float64),
        classes_of(model, x),
        np.full(size, options.box[0]),
        np.full(size, options.box[1]),
        options.norm,
        radius,
    )
    return rounded_down(universal_perturbation(problem, effort), options.norm, radius)


def rounded_down(delta: FloatArray, norm: Norm, radius: float) -> Inputs:
    """float32 with no entry longer than before, so that no norm of it is."""
    single = delta.astype(np.float32)
    single = np.where(np.abs(single.astype(np.float64)) > np.abs(delta), np.nextafter(single, np.float32(0)), single)
    shrink = np.float32(1 - 2**-20)
    for _ in range(3):  # a projection onto the ball may itself be a rounding error too long
        if float(norm.length(single.astype(np.float64))) <= radius:
            return np.asarray(single, dtype=np.float32)
        single = single * shrink
    raise SoundnessError(f"a universal perturbation is longer than the {radius!r} it was projected to; report this")


def moved_by(x: Inputs, delta: Inputs, box: tuple[float, float]) -> Inputs:
    """x + delta in the box, rounded towards x: no entry moves further than delta says."""
    exact = np.clip(x.astype(np.float64) + delta, *box)
    moved = exact.astype(np.float32)
    too_far = np.abs(moved.astype(np.float64) - x) > np.abs(delta.astype(np.float64))
    return np.asarray(np.where(too_far, np.nextafter(moved, x), moved), dtype=np.float32)


def shares_of(model: Model, x: Inputs, y: NDArray[np.int64] | None, delta: Inputs, options: Options) -> Shares:
    """Replayed in onnxruntime; the noise has the perturbation's own entries with random signs and places."""
    rng = np.random.default_rng(options.seed)
    noise = rng.permutation(delta) * rng.choice(np.array([-1, 1], dtype=np.float32), len(delta))
    before = classes_of(model, x)
    after, random = (classes_of(model, moved_by(x, shift, options.box)) for shift in (delta, noise))
    return Shares(
        len(x),
        float((before != after).mean()),
        float((before != random).mean()),
        None if y is None else float((before == y).mean()),
        None if y is None else float((after == y).mean()),
    )


def classes_of(model: Model, x: Inputs) -> NDArray[np.int64]:
    """The classes that the file gives, by onnxruntime."""
    parts = [model.scores(part).argmax(1) for part in np.array_split(x, 1 + len(x) // BATCH)]
    return np.concatenate(parts)
