"""The best adversary so far: anything may be offered, and only what replays through onnxruntime counts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from encoders.arrays import FloatArray, Inputs, InputType
from encoders.question import Norm, Region
from verifier.question.results import Adversary

By = str | NDArray[np.str_]
"""Who offers candidates: an attack or an engine, one for all or one for each."""


@dataclass(eq=False)
class Incumbent:
    """The best replayed adversary so far. Anything may be offered; only what replays counts.

    `replay` runs onnxruntime on a batch [B, n] in the file's own `type` and returns the scores in float64 [B, classes];
    `real` is the same network in float64, as the proofs see it. `wins(scores)` says which rows are adversaries
    (strictly, by the margin asked for). A witness must win in both: a flip that the file's rounding alone brings about
    says nothing about the network that the proofs are about.
    Where a Softmax, Sigmoid or ArgMax stands behind the scores, `shown(inputs)` says which rows the file's own output
    classifies otherwise: it may make different scores equal, and who runs the file would see no adversary.
    """

    region: Region
    norm: Norm
    replay: Callable[[Inputs], FloatArray]
    real: Callable[[FloatArray], FloatArray]
    wins: Callable[[FloatArray], NDArray[np.bool_]]
    type: InputType = np.float32
    best: Adversary | None = None
    shown: Callable[[Inputs], NDArray[np.bool_]] | None = None
    rounded: Callable[[FloatArray], FloatArray] | None = None  # candidates, to where the file's numbers are

    @property
    def upper(self) -> float:
        return float("inf") if self.best is None else self.best.distance

    @property
    def enough(self) -> float:
        """The distance up to which a proof matters."""
        return self.upper

    def offer(self, candidates: FloatArray, by: By) -> bool:
        """Clip candidates [B, n] to the box, round to the file's type inside it, replay, keep the nearest.

        True if that improved.

        `by` says who offers them: all of them, or each.
        """
        candidates = np.atleast_2d(np.asarray(candidates, dtype=np.float64))
        finite = np.isfinite(candidates).all(axis=1)
        candidates, names = candidates[finite], np.broadcast_to(by, len(candidates))[finite]
        if not len(candidates):
            return False
        inputs = round_into_box(candidates, self.region, self.type)
        if self.rounded is not None:
            inputs = self.rounded(inputs.astype(np.float64))
        distances = self.region.length(self.norm, inputs.astype(np.float64) - self.region.center)
        nearer = distances < self.upper
        if not nearer.any():
            return False
        inputs, distances, names = inputs[nearer], distances[nearer], names[nearer]
        found = self.nearest(inputs, distances)
        if found is None:
            return False
        pick, scores = found
        self.best = Adversary(inputs[pick], float(distances[pick]), int(np.argmax(scores)), scores, str(names[pick]))
        return True

    def nearest(self, inputs: Inputs, distances: FloatArray) -> tuple[int, FloatArray] | None:
        """The nearest row that is an adversary, and its scores; None where none is.

        All are replayed in one batch, and those that win by themselves again: what a file makes of a batch must not
        make an adversary.
        """
        won = self.wins(self.replay(inputs))
        if won.any():
            won[won] = self.genuine(inputs[won])
        good = np.flatnonzero(won)
        for pick in good[np.argsort(distances[good], kind="stable")]:
            alone = inputs[pick : pick + 1]
            scores = self.replay(alone)
            if bool(self.wins(scores)[0]) and (self.shown is None or bool(self.shown(alone)[0])):
                return int(pick), scores[0]
        return None

    def genuine(self, inputs: Inputs) -> NDArray[np.bool_]:
        """Which of the inputs that win in the replay count."""
        won = self.wins(self.real(inputs.astype(np.float64)))
        if self.shown is not None and won.any():
            won[won] = self.shown(inputs[won])
        return won

    def offer_near(self, points: FloatArray, by: By) -> bool:
        """Offer points that lie on the class boundary: each as it is, and a hair beyond it as seen from the center."""
        points = np.atleast_2d(points)
        steps = (points - self.region.center)[None] * (1.0 + HAIRS[:, None, None])
        names = np.tile(np.broadcast_to(by, len(points)), len(HAIRS))
        return self.offer((self.region.center + steps).reshape(-1, self.region.center.size), names)


HAIRS = np.array([0.0, 1e-8, 1e-7, 3e-7, 1e-6, 3e-6, 1e-5, 1e-4, 1e-3])


def round_into_box(points: FloatArray, region: Region, kind: InputType = np.float32) -> Inputs:
    """Nearest inputs of the file's type that are still inside the box and keep what may not move."""
    inputs = np.clip(points, region.lower, region.upper).astype(kind)
    inputs = np.where(inputs.astype(np.float64) > region.upper, np.nextafter(inputs, kind(-np.inf)), inputs)
    inputs = np.where(inputs.astype(np.float64) < region.lower, np.nextafter(inputs, kind(np.inf)), inputs)
    frozen = region.lower == region.upper
    return np.asarray(np.where(frozen, region.center.astype(kind), inputs), dtype=kind)
