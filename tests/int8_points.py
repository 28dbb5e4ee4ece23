"""All points of a small grid around a sample of an int8 network: executed by onnxruntime, and who wins there."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from tests.int8_builder import random_int8
from tests.verifier.checker.small_proofs import hexadecimal, statement
from verifier.checker import Grid, Int8Checker, load_int8, read_grid_statement
from verifier.question.model import load


@dataclass(frozen=True, eq=False)
class Points:
    """A question about one net and sample, the steps of all its points, and which of them are adversaries."""

    path: Path
    x: NDArray[np.float32]
    own: int  # the sample's class
    asked: dict[str, Any]  # options, and the mask
    steps: NDArray[np.int64]
    wins: dict[int, NDArray[np.bool_]]  # of each goal's class
    scores: NDArray[np.float64]  # of each point

    @property
    def won(self) -> NDArray[np.bool_]:
        """At which points any goal is reached."""
        return np.asarray(np.any([*self.wins.values()], axis=0))

    @property
    def measures(self) -> NDArray[np.int64]:
        """The measure of each point."""
        return measured(self.steps, self.asked["norm"])

    @property
    def nearest(self) -> int | None:
        """The least measure of an adversary."""
        return int(self.measures[self.won].min()) if self.won.any() else None

    def leads(self, against: int, targets: tuple[int, ...] | None, most: int) -> NDArray[np.float64]:
        """The greatest lead of a target over a class at each point of at most a measure."""
        others = [t for t in targets or range(self.scores.shape[1]) if t != against]
        near = self.scores[self.measures <= most]
        return np.asarray(near[:, others].max(axis=1) - near[:, against])


def measured(steps: NDArray[np.int64], norm: str) -> NDArray[np.int64]:
    """The measure of each row of steps."""
    sizes = np.abs(steps)
    return np.asarray(
        {
            "linf": sizes.max(axis=1),
            "l1": sizes.sum(axis=1),
            "l2": (sizes**2).sum(axis=1),
            "l0": (sizes > 0).sum(axis=1),
        }[norm]
    )


def random_points(seed: int, folder: Path) -> Points:
    """A random net of `random_int8`, and a question in the norm of the seed."""
    rng = np.random.default_rng(seed)
    path = random_int8(rng, folder / f"{seed}.onnx")
    size = load(path).input_shape[0]
    n = int(rng.choice([1, 2, 3, 4, 7] if size < 4 else [1, 2, 3]))
    home = rng.integers(0, n + 1, size)
    box = [(0.0, 1.0), (-0.4, 1.0), (0.0, 1.0 + 1.2 / n)][int(rng.integers(3))]
    mask = rng.random(size) < 0.7 if rng.random() < 0.3 else np.ones(size, dtype=np.bool_)
    axis = [k for k in range(-n, 2 * n + 1) if box[0] <= float(np.float32(k / n)) <= box[1]]
    levels = np.array(list(product(*(axis if free else [h] for free, h in zip(mask, home, strict=True)))))
    scores = executed(path, (levels / n).astype(np.float32))
    own = scores[(levels == home).all(axis=1)][0]
    predicted = int(np.argmax(own))
    others = [t for t in range(len(own)) if t != predicted]
    targets = (int(rng.choice(others)),) if rng.random() < 0.3 else None
    spread = np.unique(np.abs(scores - scores[:, :1]))
    margin = float(rng.choice([0.0, 0.0, float(rng.choice(spread)), float(spread.max() / 3)]))
    wins = {}
    for target in targets or others:
        rest = np.delete(scores, target, axis=1).max(axis=1) if targets else scores[:, predicted]
        wins[target] = (scores[:, target] > rest) & (scores[:, target] - rest >= margin)
    asked = {"norm": ["linf", "l1", "l2", "l0"][seed % 4], "grid": n, "box": box, "margin": margin}
    asked |= {"mask": mask} | ({} if targets is None else {"targets": targets})
    return Points(path, (home / n).astype(np.float32), predicted, asked, levels - home, wins, scores)


def executed(path: Path, inputs: NDArray[np.float32]) -> NDArray[np.float64]:
    """The scores that onnxruntime gives."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"input": inputs})[0]).astype(np.float64)


def checker_of(points: Points, below: int) -> Int8Checker:
    """A checker of what is claimed of a question's grid."""
    low, high = points.asked["box"]
    mask, targets = points.asked["mask"], points.asked.get("targets")
    x = points.x.astype(np.float64)
    own = points.own
    line = statement(
        points.path, x.tolist(), None, norm=points.asked["norm"], against=own, targets=targets and list(targets),
        margin=hexadecimal(points.asked["margin"]),
        box=[hexadecimal(np.where(mask, side, x).tolist()) for side in (low, high)],
    )  # fmt: skip
    del line["radius"]
    claim = read_grid_statement(line | {"grid": points.asked["grid"], "below": below})
    network = load_int8(points.path, claim)
    return Int8Checker(claim, network, Grid(claim, network))
