"""Relaxations of quantised nets against every point of small balls: nothing that is there may be cut off."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pytest

from bounds.discrete.int8_input_gains import LevelBall
from bounds.discrete.int8_ranges import Relaxation, ranges_of
from encoders.quantised.file import read_quantised
from encoders.quantised.integer_encoding import Ahead, InputLevels, Wanted
from encoders.question import Norm
from tests.int8_builder import random_int8

STEPS = 4


def random_ball(rng: np.random.Generator, inputs: int, norm: Norm) -> tuple[InputLevels, LevelBall, np.ndarray]:
    """Steps to both sides, levels that rise unevenly, and all points of the ball."""
    rises = rng.choice([0, 1, 15, 16, 40], (inputs, 2 * STEPS + 1))
    levels = np.minimum(rng.integers(0, 60, (inputs, 1)) + np.cumsum(rises, axis=1), 255)
    table = InputLevels(levels, -STEPS)
    down, up = -rng.integers(0, STEPS + 1, inputs), rng.integers(0, STEPS + 1, inputs)
    most = {Norm.LINF: STEPS, Norm.L0: inputs}.get(norm, STEPS * inputs)
    measure = int(rng.integers(0, most + 1))
    ball = LevelBall(norm, measure, levels - levels[:, [STEPS]], -STEPS, down, up)
    points = np.array(list(product(*(range(a, b + 1) for a, b in zip(down, up, strict=True)))))
    size = np.abs(points)
    measures = {
        Norm.LINF: size.max(axis=1), Norm.L1: size.sum(axis=1),
        Norm.L2: (size * size).sum(axis=1), Norm.L0: (size > 0).sum(axis=1),
    }[norm]  # fmt: skip
    return table, ball, points[measures <= measure]


def test_gains_and_steps_hold_at_every_point() -> None:
    for seed in range(300):
        rng = np.random.default_rng(seed)
        norm = list(Norm)[seed % 4]
        table, ball, points = random_ball(rng, int(rng.integers(1, 4)), norm)
        w = rng.normal(size=(3, len(table.levels))) * rng.choice([0.0, 1.0, 100.0], (3, len(table.levels)))
        rises = table.of(points) - table.of(np.zeros(points.shape[1], dtype=np.int64))
        gains = rises @ w.T
        assert (gains.max(axis=0) <= ball.most(w)).all()
        needed = float(rng.choice(gains[:, 0]))
        down, up = ball.narrowed(w[0], needed)
        kept = points[gains[:, 0] >= needed]
        assert ((kept >= down) & (kept <= up)).all()


def test_knapsacks_are_tight_where_steps_are_even() -> None:
    """Two inputs of three steps of 16 levels, worth 1 and 2 a level: four steps in L1 bring 3 · 32 + 16."""
    levels = 16 * np.arange(7)[None].repeat(2, axis=0)
    ball = LevelBall(Norm.L1, 4, levels - 48, -3, np.array([-3, -3]), np.array([3, 3]))
    assert 112.0 <= float(ball.most(np.array([[1.0, 2.0]]))[0]) < 112.001
    down, up = ball.narrowed(np.array([1.0, 2.0]), 112.0)
    assert (down.tolist(), up.tolist()) == ([1, 2], [1, 3])  # (the knapsack counts the second input twice)
    down, up = ball.narrowed(np.array([1.0, 2.0]), 113.0)
    assert (down > up).any()


@pytest.mark.slow
def test_ranges_hold_at_every_point(tmp_path: Path) -> None:
    some = 0
    for seed in range(160):
        rng = np.random.default_rng(seed)
        norm = list(Norm)[seed % 4]
        net = read_quantised(random_int8(rng, tmp_path / f"{seed}.onnx"))
        table, ball, points = random_ball(rng, net.inputs, norm)
        relaxation = Relaxation(net, table, ball)
        assert not relaxation.empty
        levels = table.of(points)
        for k, layer in enumerate(net.layers):
            sums = layer.accumulate(levels)
            assert ((sums >= relaxation.low[k]) & (sums <= relaxation.high[k])).all()
            levels = layer.requantise(sums)
        wanted = Wanted(0, (1,), tuple(net.winning(0.0).tolist()))
        won = points[levels[:, 0] >= np.array(wanted.winning)[levels[:, 1]]]
        led = levels[:, 0] - levels[:, 1]
        lead = int(led[int(rng.integers(len(led)))])
        for goal, points_of in ((wanted, won), (Ahead(0, 1, lead), points[led >= lead])):
            ranges = ranges_of(net, table, norm, ball.measure, ball.down, ball.up, goal)
            some += ranges is None
            assert ranges is not None or not len(points_of)
            if ranges is not None:
                assert ((points_of >= ranges.down) & (points_of <= ranges.up)).all()
    assert some > 10  # and not everything is let through
