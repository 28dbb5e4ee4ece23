"""The engines on int8 nets against brute force over all inputs, by onnxruntime alone.

`tests/draws.py` says how many, and from which seed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray

import bounds.discrete.int8_ranges
import encoders.quantised.integer_encoding
from bounds.discrete.int8_input_gains import LevelBall
from encoders.arrays import IntArray
from encoders.errors import SolverError, SoundnessError
from encoders.quantised.semantics import QuantisedLayer, QuantisedNet
from encoders.quantised.staircase import Line, digital_line
from encoders.question import Norm
from tests.draws import TRUST_EXAMPLES, TRUST_FIRST
from tests.int8_builder import random_int8
from verifier.answer import ask
from verifier.options import Options
from verifier.question.model import load
from verifier.question.results import Result, Verdict

INFINITY = float("inf")


@dataclass(frozen=True, eq=False)
class Question:
    """One net, one sample, and the length of every point of the grid that is an adversary."""

    path: Path
    x: NDArray[np.float32]
    mask: NDArray[np.bool_]
    n: int
    norm: Norm
    targets: tuple[int, ...] | None
    margin: float
    nearest: float

    def ask(self, engine: str, radius: float | None = None) -> Result:
        options = Options(norm=self.norm, targets=self.targets, margin=self.margin, engine=engine, grid=self.n)
        return ask(load(self.path), self.x, radius, options, mask=self.mask)


def scores_of(path: Path, inputs: NDArray[np.float32]) -> NDArray[np.float64]:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"input": inputs})[0]).astype(np.float64)


def question(seed: int, norm: Norm, folder: Path) -> Question:
    rng = np.random.default_rng(seed)
    path = random_int8(rng, folder / f"net{seed}.onnx")
    size = load(path).input_shape[0]
    n = int(rng.choice([1, 2, 3, 4, 7] if size < 4 else [1, 2, 3]))
    home = rng.integers(0, n + 1, size)
    mask = rng.random(size) < 0.7 if rng.random() < 0.3 else np.ones(size, dtype=np.bool_)
    levels = np.array(list(product(*(range(n + 1) if free else [h] for free, h in zip(mask, home, strict=True)))))
    inputs = (levels / n).astype(np.float32)
    x = (home / n).astype(np.float32)
    scores, own = scores_of(path, inputs), scores_of(path, x[None])[0]
    predicted = int(np.argmax(own))
    targets = None
    if rng.random() < 0.3:
        targets = (int(rng.choice([t for t in range(len(own)) if t != predicted])),)
    spread = np.unique(np.abs(scores - scores[:, :1]))
    margin = float(rng.choice([0.0, 0.0, float(rng.choice(spread)), float(spread.max() / 3)]))
    steps = np.abs(levels - home)
    lengths = {
        Norm.LINF: steps.max(axis=1) / n, Norm.L1: steps.sum(axis=1) / n,
        Norm.L2: np.sqrt((steps * steps).sum(axis=1).astype(np.float64)) / n, Norm.L0: (steps > 0).sum(axis=1),
    }[norm]  # fmt: skip
    won = np.zeros(len(scores), dtype=np.bool_)
    for target in targets or [t for t in range(len(own)) if t != predicted]:
        rest = np.delete(scores, target, axis=1).max(axis=1) if targets else scores[:, predicted]
        lead = scores[:, target] - rest
        won |= (lead > 0) & (lead >= margin)
    nearest = float(lengths[won].min()) if won.any() else INFINITY
    return Question(path, x, mask, n, norm, targets, margin, nearest)


def wrong(asked: Question, result: Result) -> bool:
    closed = result.verdict is Verdict.EXACT
    return not closed or result.lower != asked.nearest or result.upper != asked.nearest


CASES = [("auto", norm) for norm in Norm] + [("cpsat", norm) for norm in Norm]
CASES += [("highs", norm) for norm in (Norm.LINF, Norm.L1, Norm.L0)]


@pytest.mark.slow
@pytest.mark.thorough
@pytest.mark.parametrize(("engine", "norm"), CASES)
@pytest.mark.fewer
def test_distances(engine: str, norm: Norm, tmp_path: Path) -> None:
    found = []
    share = TRUST_EXAMPLES // (30 if engine == "highs" else 10)
    for seed in range(TRUST_FIRST, TRUST_FIRST + max(2, share)):
        asked = question(seed, norm, tmp_path)
        result = asked.ask(engine)
        if wrong(asked, result):
            found.append((seed, asked.nearest, result.verdict, result.lower, result.upper))
    assert found == []


@pytest.mark.slow
@pytest.mark.thorough
@pytest.mark.parametrize(("engine", "norm"), [("auto", norm) for norm in Norm])
@pytest.mark.fewer(1)
def test_radii(engine: str, norm: Norm, tmp_path: Path) -> None:
    found = []
    first = TRUST_FIRST + 1000
    for seed in range(first, first + max(2, TRUST_EXAMPLES // 20)):
        asked = question(seed, norm, tmp_path)
        step = 1.0 if norm is Norm.L0 else 1.0 / asked.n
        for radius in (0.0, step, 1.001 * step, 2 * step, asked.nearest, 0.999 * asked.nearest):
            if np.isfinite(radius):
                expected = Verdict.FALSIFIED if asked.nearest <= radius else Verdict.CERTIFIED
                if asked.ask(engine, radius).verdict is not expected:
                    found.append((seed, radius, expected))
    assert found == []


# -- faults: each must be seen by the comparison above or by an alarm ----------------------------------------------


def caught(engine: str, folder: Path, seen: int, count: int = 30) -> bool:
    """Whether some question shows the fault: that of the seed `seen`, which once did, is asked first."""
    for seed in (seen, *range(count)):
        asked = question(seed, Norm.L1, folder)
        try:
            if wrong(asked, asked.ask(engine)):
                return True
        except (SoundnessError, SolverError):
            return True
    return False


@pytest.mark.slow
def test_a_staircase_one_too_far_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def shifted(y: IntArray, first: int) -> Line | None:
        line = digital_line(y, first)
        return None if line is None else replace(line, r=line.r + line.q)

    monkeypatch.setattr(encoders.quantised.integer_encoding, "digital_line", shifted)
    assert caught("cpsat", tmp_path, 7)


def test_ties_taken_for_wins_are_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(QuantisedNet, "winning", lambda self, margin: np.arange(256))
    assert caught("cpsat", tmp_path, 0)


def test_lines_through_the_middle_of_stairs_are_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    genuine = bounds.discrete.int8_ranges._lines

    def narrow(layer: QuantisedLayer, low: IntArray, high: IntArray) -> bounds.discrete.int8_ranges._Lines:
        found = genuine(layer, low, high)
        return replace(found, above=(found.above[0], found.above[1] - 3.0))

    monkeypatch.setattr(bounds.discrete.int8_ranges, "_lines", narrow)
    assert caught("auto", tmp_path, 21)


def test_steps_narrowed_too_far_are_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    genuine = LevelBall.narrowed
    monkeypatch.setattr(LevelBall, "narrowed", lambda self, w, need: genuine(self, w, need + 0.2 * abs(need) + 50.0))
    assert caught("auto", tmp_path, 21)
