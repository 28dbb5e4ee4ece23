"""The integer program of a quantised net is the net: every point of a grid, one by one and all together."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pytest

import encoders.quantised.integer_encoding
from encoders.arrays import IntArray
from encoders.quantised.file import read_quantised
from encoders.quantised.integer_encoding import Ahead, InputLevels, Ranges, Wanted, Written, encode
from encoders.quantised.mixed_integer_encoding import as_program
from encoders.quantised.semantics import QuantisedLayer, QuantisedNet, Scale
from encoders.quantised.staircase import Line, digital_line
from encoders.question import Norm
from encoders.solvers.base import Status
from encoders.solvers.cpsat import satisfy
from tests.draws import draws
from tests.int8_builder import random_int8

STEPS = 5


def ball(net: QuantisedNet, rng: np.random.Generator) -> tuple[InputLevels, Ranges, IntArray]:
    """Every input from 0 to some steps, at levels that rise now and then; ranges that hold for all levels there are."""
    rises = rng.choice([0, 1, 15, 16, 40], (net.inputs, STEPS))
    levels = np.minimum(rng.integers(0, 100, (net.inputs, 1)) + np.cumsum(rises, axis=1), 255)
    down, up = np.zeros(net.inputs, dtype=np.int64), rng.integers(0, STEPS, net.inputs)
    reach = tuple(layer.reach for layer in net.layers)
    points = np.array(list(product(*(range(k + 1) for k in up))))
    return InputLevels(levels, 0), Ranges(down, up, tuple(-r for r in reach), reach), points


def last_levels(net: QuantisedNet, levels: IntArray) -> IntArray:
    for layer in net.layers:
        levels = layer.requantise(layer.accumulate(levels))
    return levels


def wins(net: QuantisedNet, levels: IntArray, wanted: Wanted | Ahead) -> IntArray:
    levels = last_levels(net, levels)
    if isinstance(wanted, Ahead):
        return np.asarray(levels[:, wanted.target] - levels[:, wanted.rival] >= wanted.lead)
    rival = levels[:, list(wanted.rivals)].max(axis=1)
    return np.asarray(levels[:, wanted.target] >= np.array(wanted.winning)[rival])


def decided(written: Written | None) -> bool:
    if written is None:
        return False
    answer = satisfy(written.program, 20.0)
    assert answer.status in (Status.OPTIMAL, Status.INFEASIBLE)
    return answer.status is Status.OPTIMAL


def no_line(y: IntArray, first: int) -> Line | None:
    """Nothing but single thresholds: the form for staircases that no small line goes through."""
    return digital_line(y, first) if len(y) == 1 else None


def disagreements(tmp_path: Path, seeds: range) -> list[tuple[int, list[int]]]:
    found = []
    for seed in seeds:
        rng = np.random.default_rng(seed)
        net = read_quantised(random_int8(rng, tmp_path / f"{seed}.onnx"))
        table, ranges, points = ball(net, rng)
        target = int(rng.integers(net.classes))
        others = [j for j in range(net.classes) if j != target]
        rivals = tuple(others) if rng.random() < 0.5 else (others[0],)
        spread = float(net.output.values(np.array([255]))[0] - net.output.values(np.array([0]))[0])
        wanted: Wanted | Ahead = Wanted(
            target, rivals, tuple(net.winning(float(rng.choice([0.0, spread / 60]))).tolist())
        )
        if rng.random() < 0.4:  # a lead that some point has, or a level more
            some = last_levels(net, table.of(points))[int(rng.integers(len(points)))]
            wanted = Ahead(target, others[0], int(some[target] - some[others[0]] + rng.integers(0, 2)))
        truth = wins(net, table.of(points), wanted)
        for k in rng.choice(len(points), min(3, len(points)), replace=False):
            fixed = Ranges(points[k], points[k], ranges.low, ranges.high)
            if decided(encode(net, table, fixed, Norm.L1, 4 * STEPS, wanted)) != truth[k]:
                found.append((seed, points[k].tolist()))
        costs = points.sum(axis=1)
        nearest = int(costs[truth].min()) if truth.any() else 4 * STEPS
        for measure, any_ in ((nearest - 1, False), (nearest, bool(truth.any()))):
            if measure >= 0 and decided(encode(net, table, ranges, Norm.L1, measure, wanted)) != any_:
                found.append((seed, [measure]))
    return found


@pytest.mark.slow
@pytest.mark.thorough
def test_points_of_the_program_are_the_adversaries(tmp_path: Path) -> None:
    assert disagreements(tmp_path, range(draws(5, 20))) == []


@pytest.mark.release
def test_thresholds_one_by_one_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoders.quantised.integer_encoding, "digital_line", no_line)
    assert disagreements(tmp_path, range(40, 44)) == []


@pytest.mark.slow
def test_the_same_for_solvers_over_doubles(tmp_path: Path) -> None:
    """A point of the integer program satisfies the other form, and its objective is the measure."""
    for seed in range(12):
        rng = np.random.default_rng(seed)
        net = read_quantised(random_int8(rng, tmp_path / f"{seed}.onnx"))
        table, ranges, _ = ball(net, rng)
        wanted = Wanted(0, (1,), tuple(net.winning(0.0).tolist()))
        written = encode(net, table, ranges, Norm.L0, net.inputs, wanted, minimise=True)
        answer = None if written is None else satisfy(written.program, 20.0)
        if written is None or answer is None or answer.point is None:
            continue
        point = np.array(answer.point, dtype=np.float64)
        program = as_program(written)
        assert program.violation(point) < 1e-9
        assert program.objective(point) >= (point[: len(written.inputs)] != 0).sum()
        assert program.inputs(point).tolist() == point[: len(written.inputs)].tolist()


@pytest.mark.slow
def test_large_sums_fall_back_to_single_thresholds() -> None:
    """Sums near 2^24 times any q would be past what a row may sum to."""
    scale = Scale(np.float32(1.0), 0)
    weight = np.full((2, 600), 60)
    weight[1] = -60
    first = QuantisedLayer(
        weight, np.array([0, 9_000_000], dtype=np.int64), scale, np.full(2, 2.7e-5, np.float32), scale
    )
    last = QuantisedLayer(
        np.array([[60, -60], [-60, 60]]), np.zeros(2, dtype=np.int64), scale, np.full(2, 0.031, np.float32), scale
    )
    net = QuantisedNet((first, last))
    table = InputLevels(np.arange(256)[None].repeat(600, axis=0), 0)
    reach = tuple(layer.reach for layer in net.layers)
    ends = np.zeros(600, dtype=np.int64), np.full(600, 255)
    ranges = Ranges(*ends, tuple(-r for r in reach), reach)
    wanted = Wanted(0, (1,), tuple(net.winning(0.0).tolist()))
    # The sums are equal at 75,000 levels in all; some more for rounding.
    written = encode(net, table, ranges, Norm.L1, 80_000, wanted)
    assert written is not None
    answer = satisfy(written.program, 30.0)
    assert answer.point is not None
    steps = np.zeros((1, 600), dtype=np.int64)
    steps[0, written.inputs] = answer.point[: len(written.inputs)]
    assert wins(net, table.of(steps), wanted).all()
    assert not decided(encode(net, table, ranges, Norm.L1, 70_000, wanted))
