"""Steps that are ruled out are taken by no point of the half-space: all points, one by one."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from bounds.discrete.step_ranges import narrowed
from encoders.programs.integer_encoding import Steps
from encoders.question import Norm


def measure(steps: Steps, t: np.ndarray) -> np.ndarray:
    size = np.abs(t) * steps.stride
    names = np.arange(t.shape[1]) if steps.pixels is None else steps.pixels
    moved = [np.any(size[:, names == name] > 0, axis=1) for name in np.unique(names)]
    return np.asarray({
        Norm.LINF: size.max(axis=1), Norm.L1: size.sum(axis=1),
        Norm.L2: (size * size).sum(axis=1), Norm.L0: np.sum(moved, axis=0),
    }[steps.norm])  # fmt: skip


@pytest.mark.parametrize("norm", list(Norm))
def test_no_point_is_lost(norm: Norm) -> None:
    rng = np.random.default_rng(1)
    removed = empty = 0
    for _ in range(400):
        size, n = int(rng.integers(1, 4)), int(rng.choice([1, 2, 5]))
        down, up = -rng.integers(0, 4, size), rng.integers(0, 4, size)
        a = rng.normal(size=size) * rng.choice([0.0, 1.0, 1.0, 3.0], size=size)
        most, drift = int(rng.integers(0, 8)), float(rng.choice([0.0, 1e-2]))
        k = float(rng.uniform(0.0, 1.2) * (np.abs(a) * np.maximum(-down, up)).sum() / n)
        stride = rng.integers(1, 4, size) if rng.random() < 0.5 else np.ones(size, dtype=np.int64)
        pixels = rng.integers(0, 2, size) if rng.random() < 0.5 else None
        k *= float(stride.mean())
        steps = Steps(norm, n, stride, down, up, np.full(size, drift), most, pixels)
        left = narrowed(steps, a, k)
        points = np.array(list(product(*[range(x, y + 1) for x, y in zip(down, up, strict=True)])))
        points = points[measure(steps, points) <= most]
        lowest = points @ (a * stride) / n - np.abs(a).sum() * drift
        hits = points[lowest + k <= 0]
        if not left.possible:
            empty += 1
            assert not len(hits)
            continue
        assert ((hits >= left.down) & (hits <= left.up)).all()
        removed += int((left.down > down).sum() + (left.up < up).sum())
        kept = ((points >= left.down) & (points <= left.up)).all(axis=1)
        assert kept.sum() >= len(hits)
    assert removed > 50
    assert empty > 20


@pytest.mark.parametrize("norm", list(Norm))
@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
def test_a_function_that_overflowed_says_nothing(norm: Norm, broken: float) -> None:
    down, up = np.array([-2, -2]), np.array([2, 2])
    for a, k in ((np.array([broken, 1.0]), 1.0), (np.array([1.0, 1.0]), broken)):
        steps = Steps(norm, 4, np.ones(2, dtype=np.int64), down, up, np.zeros(2), 2)
        with np.errstate(invalid="ignore"):
            found = narrowed(steps, a, k)
        assert found.possible
        free = narrowed(steps, np.zeros(2), -1.0)
        assert (found.down <= free.down).all()
        assert (found.up >= free.up).all()
