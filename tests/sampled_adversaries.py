"""Holds a verdict against adversaries found by plain sampling: none may be nearer than the proven distance."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx

import verifier
from encoders.errors import PlumblineError, SoundnessError
from tests.reading import Array, Held, Reading, hold
from verifier.question.results import Result

POINTS = 3000  # of a grid over the whole box; as many again near the sample
SECONDS = 0.5  # for one verdict
STRAY = 2e-5  # what float32 may do to a score, relative to the largest
SLACK = 1e-6
ORDER = {"linf": np.inf, "l1": 1, "l2": 2, "l0": 0}


def judge(proto: onnx.ModelProto, folder: Path, rng: np.random.Generator) -> Held:
    """Ask for the distance of a random sample in [0, 1]^n, and look for what contradicts the answer."""
    size = int(np.prod([side.dim_value or 1 for side in proto.graph.input[0].type.tensor_type.shape.dim]))
    sample = rng.uniform(size=size).astype(np.float32)
    held = hold(proto, folder, np.vstack([sample, rng.uniform(size=(3, size)).astype(np.float32)]))
    if held.reading is not Reading.AGREED:
        return held
    norm = str(rng.choice(["linf", "linf", "l1", "l2"]))
    path = folder / "judged.onnx"
    onnx.save(proto, str(path))
    try:
        model = verifier.load(path)
        result = verifier.distance(model, sample, norm=norm, time_limit=SECONDS)
        why = _contradiction(model, result, sample, norm, rng)
    except SoundnessError as error:
        return Held(Reading.MISREAD, str(error))
    except PlumblineError as error:
        return Held(Reading.REFUSED, str(error))
    finally:
        path.unlink()
    return Held(Reading.MISREAD, f"{norm} from {sample.tolist()}: {why}") if why else Held(Reading.AGREED, norm)


def _contradiction(model: verifier.Model, result: Result, sample: Array, norm: str, rng: np.random.Generator) -> str:
    points = _points(sample, result.lower, rng)
    scores = model.scores(points)
    stray = STRAY * max(1.0, float(np.abs(scores).max()))
    if not np.allclose(model.real(points.astype(np.float64)), scores, rtol=0.0, atol=10.0 * stray):
        return "real scores and onnxruntime's are not the same"
    others = np.delete(scores, result.predicted, axis=1).max(axis=1, initial=-np.inf)
    adversaries = points[others > scores[:, result.predicted] + stray].astype(np.float64)
    distances = [float(np.linalg.norm(each - sample.astype(np.float64), ORDER[norm])) for each in adversaries]
    if distances and min(distances) < result.lower - SLACK:
        return f"an adversary at {min(distances)}, nearer than the proven {result.lower}"
    if result.adversary is None:
        return "" if np.isinf(result.upper) else f"an upper of {result.upper} without an adversary"
    found = np.asarray(result.adversary.input, dtype=np.float64).ravel()
    scored = model.scores(found[None])[0]
    if (found < 0.0).any() or (found > 1.0).any():
        return f"the adversary {found.tolist()} lies outside the box"
    if scored.argmax() == result.predicted:
        return f"the adversary {found.tolist()} is classified as the sample is"
    if abs(np.linalg.norm(found - sample.astype(np.float64), ORDER[norm]) - result.upper) > SLACK:
        return f"the adversary {found.tolist()} is not at the distance {result.upper}"
    return ""


def _points(sample: Array, lower: float, rng: np.random.Generator) -> Array:
    """A grid over the box and, within twice the proven distance of the sample, random points and corners."""
    size = len(sample)
    steps = np.linspace(0.0, 1.0, max(2, int(POINTS ** (1.0 / size))))
    grid = np.stack([each.ravel() for each in np.meshgrid(*[steps] * size)], axis=1)
    reach = min(1.0, 2.0 * lower if lower > 0.0 else 0.1)
    moves = rng.uniform(-reach, reach, size=(POINTS, size))
    moves[::2] = np.where(rng.random(moves[::2].shape) < 0.5, moves[::2], np.sign(moves[::2]) * reach * rng.random())
    return np.vstack([grid, np.clip(sample + moves, 0.0, 1.0)]).astype(np.float32)
