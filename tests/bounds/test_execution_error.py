"""Bounds on what execution can change: by hand, then against executions in every order and exact rationals."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch

from bounds.execution_error import FLOAT32, FLOAT64, SPARE, Arithmetic, error_at_points, execution_error
from bounds.propagation.device_graph import DeviceGraph
from bounds.propagation.neuron_bounds import network_bounds
from encoders.layer_graph.graph import Affine, Graph, Input, Relu, affine_chain
from encoders.layer_graph.linear_maps import Convolution, Dense, Gather, Scale
from encoders.question import Norm, Region
from tests.executions import exact, executed, pairwise_sum, sums

UNIT = 2.0**-24


def at(graph: Graph, *points: list[float], arithmetic: Arithmetic = FLOAT32, rows: torch.Tensor | None = None) -> Any:
    return error_at_points(DeviceGraph(graph), torch.tensor(points, dtype=torch.float64), arithmetic, rows).tolist()


def roundings(terms: int, maps: int = 1) -> float:
    return (terms + maps + SPARE) * UNIT


def test_one_sum_by_hand() -> None:
    # 3·2 + 1·4 + 5: three terms, sizes 15. Where an input is zero there is a term less.
    graph = affine_chain([np.array([[3.0, -1.0]])], [np.array([5.0])])
    assert at(graph, [2.0, 4.0], [2.0, 0.0]) == [
        [pytest.approx(roundings(2) * 15.0, rel=1e-4)],
        [pytest.approx(roundings(1) * 11.0, rel=1e-4)],
    ]


def test_signs_cancel_on_the_way_to_a_row() -> None:
    # One neuron h = 4x that both scores read: their difference has 3h - 2h, so h's own error counts once, not 5 times.
    graph = affine_chain([np.array([[4.0]]), np.array([[3.0], [2.0]])], [np.zeros(1), np.zeros(2)])
    rows = torch.tensor([[1.0, -1.0]], dtype=torch.float64)
    hidden, last = roundings(1) * 4.0, roundings(1) * (12.0 + 8.0)
    assert at(graph, [1.0], rows=rows) == [[pytest.approx(hidden + last, rel=1e-4)]]


def test_a_neuron_that_is_off_passes_nothing_and_one_in_between_up_to_all() -> None:
    # h = 1000(x - 1), y = relu(h): off at 1/2, on at 3/2, and at 1 either.
    graph = affine_chain([np.array([[1000.0]]), np.array([[1.0]])], [np.array([-1000.0]), np.zeros(1)])
    own = roundings(1)
    off, on, between = (row[0] for row in at(graph, [0.5], [1.5], [1.0]))
    assert off == pytest.approx(0.0, abs=1e-30)
    assert on == pytest.approx(own * 2500.0 + own * 500.0, rel=1e-4)
    assert between == pytest.approx(own * 2000.0, rel=1e-3)


def test_two_neurons_in_between_one_behind_the_other_still_pass_all() -> None:
    weights = [np.array([[1000.0]]), np.array([[1.0]]), np.array([[1.0]])]
    graph = affine_chain(weights, [np.array([-1000.0]), np.zeros(1), np.zeros(1)])
    assert at(graph, [1.0]) == [[pytest.approx(roundings(1) * 2000.0, rel=1e-3)]]


def test_moving_values_about_costs_nothing() -> None:
    dense = Affine((1,), (Dense(np.array([[1.0, 2.0]])),), np.zeros(1))
    moved = Graph((Input(2), Affine((0,), (Gather(np.array([1, 0]), 2),), np.zeros(2)), dense), (2,))
    plain = affine_chain([np.array([[2.0, 1.0]])], [np.zeros(1)])
    assert at(moved, [0.3, 0.7]) == [[pytest.approx(at(plain, [0.3, 0.7])[0][0], rel=1e-9)]]


def test_what_was_folded_counts_with_its_own_size() -> None:
    # A bias 0 that was folded of 1e6 and -1e6, by two roundings.
    nodes = (Input(1), Affine((0,), (Dense(np.ones((1, 1))),), np.zeros(1), bias_size=np.array([2e6]), roundings=2))
    assert at(Graph(nodes, (1,)), [1.0])[0][0] >= (roundings(1) + 2 * UNIT) * 2e6


@pytest.mark.parametrize(("weight", "arithmetic"), [(1e20, FLOAT32), (1e160, FLOAT64)])
def test_what_leaves_the_range_of_the_type_has_no_bound(weight: float, arithmetic: Arithmetic) -> None:
    graph = affine_chain([np.array([[weight]]), np.array([[weight], [1.0]])], [np.zeros(1), np.zeros(2)])
    assert at(graph, [1.0], arithmetic=arithmetic)[0] == [float("inf")] * 2
    assert at(graph, [0.0], arithmetic=arithmetic)[0][1] < 1e-10
    assert at(graph, [float("nan")], arithmetic=arithmetic)[0] == [float("inf")] * 2


def test_numbers_too_small_are_lost_whole() -> None:
    # A product of 1e-45 is no float32 number, and where subnormal numbers are flushed neither is 1e-39.
    graph = affine_chain([np.array([[1e-20]]), np.array([[1.0]])], [np.zeros(1), np.zeros(1)])
    assert at(graph, [1e-19])[0][0] >= 1e-39
    assert at(graph, [1e-25])[0][0] >= 1e-45


def draw(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.normal(size=shape).astype(np.float32).astype(np.float64)


def random_graph(rng: np.random.Generator, kind: str) -> Graph:
    if kind == "dense":
        return affine_chain([draw(rng, 6, 4), draw(rng, 5, 6), draw(rng, 3, 5)], [draw(rng, n) for n in (6, 5, 3)])
    if kind == "residual":
        return Graph(
            (Input(4), Affine((0,), (Dense(draw(rng, 5, 4)),), draw(rng, 5)), Relu(1, 5),
             Affine((2, 1), (Dense(draw(rng, 5, 5)), Scale(draw(rng, 5))), draw(rng, 5)), Relu(3, 5),
             Affine((4,), (Dense(draw(rng, 3, 5)),), draw(rng, 3))), (4,))  # fmt: skip
    convolution = Convolution(draw(rng, 2, 1, 2, 2), (1, 2, 2), (1, 1), (1, 1, 0, 0))
    return Graph(
        (Input(4), Affine((0,), (convolution,), np.repeat(draw(rng, 2), 4)), Relu(1, 8),
         Affine((2,), (Dense(draw(rng, 3, 8)),), draw(rng, 3))), (4,))  # fmt: skip


@pytest.mark.parametrize("kind", ["dense", "residual", "convolution"])
@pytest.mark.fewer(1)
def test_no_execution_is_farther_off(kind: str) -> None:
    rng = np.random.default_rng(0)
    nearest = np.inf
    for _ in range(12):
        graph, device_graph = (graph := random_graph(rng, kind)), DeviceGraph(graph)
        center = rng.uniform(size=4).astype(np.float32).astype(np.float64)
        radius = float(rng.choice([0.0, 1e-4, 0.1]))
        bounds = network_bounds(device_graph, Region(center, np.zeros(4), np.ones(4)), Norm.LINF, radius)
        rows = torch.tensor([[1.0, -1.0, 0.0], [0.0, 1.0, -1.0]], dtype=torch.float64)
        on_ball = execution_error(device_graph, bounds, FLOAT32)[0].tolist()
        of_rows = execution_error(device_graph, bounds, FLOAT32, rows)[0].tolist()
        for _ in range(3):
            point = np.clip(center + rng.uniform(-radius, radius, size=4), 0.0, 1.0).astype(np.float32)
            point = np.clip(point, bounds.ball.lower[0].numpy(), bounds.ball.upper[0].numpy()).astype(np.float32)
            there = error_at_points(device_graph, torch.as_tensor(point.astype(np.float64))[None], FLOAT32)[0].tolist()
            truth = exact(graph, point.tolist())
            for fused, add in [(False, add) for add in sums(rng)] + [(True, pairwise_sum)]:
                off = [
                    Fraction(float(v)) - t for v, t in zip(executed(graph, point, add, fused=fused), truth, strict=True)
                ]
                assert all(abs(o) <= e for o, e in zip(off, there, strict=True))
                assert all(abs(o) <= e for o, e in zip(off, on_ball, strict=True))
                assert abs(off[0] - off[1]) <= of_rows[0]
                assert abs(off[1] - off[2]) <= of_rows[1]
                seen = max((abs(o) for o in off), default=Fraction(0))
                nearest = min(nearest, max(there) / max(float(seen), 1e-300))
    assert nearest < 100.0  # it says something


def test_double_precision() -> None:
    rng = np.random.default_rng(1)
    graph = random_graph(rng, "dense")
    points = rng.uniform(size=(4, 4))
    bound = error_at_points(DeviceGraph(graph), torch.as_tensor(points), FLOAT64).tolist()
    for point, most in zip(points, bound, strict=True):
        truth = exact(graph, point.tolist())
        for add in sums(rng):
            off = [Fraction(float(v)) - t for v, t in zip(executed(graph, point, add, np.float64), truth, strict=True)]
            assert all(abs(o) <= e for o, e in zip(off, most, strict=True))
            assert max(most) < 1e-12


def test_scales_folded_in_single_precision() -> None:
    """scale · (W x + b - mean) + shift, as it stands and with weights and bias made one in float32 beforehand."""
    rng = np.random.default_rng(2)
    for size in (1.0, 1e4):
        w, v = draw(rng, 3, 4), draw(rng, 2, 3)
        b, mean, scale, shift = (draw(rng, 3) for _ in range(4))
        mean = (mean + size).astype(np.float32).astype(np.float64)
        b = (b + size).astype(np.float32).astype(np.float64)
        normalised = Affine(
            (0,), (Dense(scale[:, None] * w),), scale * (b - mean) + shift,
            bias_size=np.abs(scale) * (np.abs(b) + np.abs(mean)) + np.abs(shift), roundings=4,
        )  # fmt: skip
        graph = Graph((Input(4), normalised, Relu(1, 3), Affine((2,), (Dense(v),), np.zeros(2))), (4,))
        x = rng.uniform(size=4).astype(np.float32)
        most = at(graph, x.tolist())[0]
        hidden = []
        for row, *numbers in zip(*(a.tolist() for a in (w, scale, b, mean, shift)), strict=True):
            s, plus, minus, t = (Fraction(number) for number in numbers)
            total = sum((Fraction(a) * Fraction(float(c)) for a, c in zip(row, x, strict=True)), plus - minus)
            hidden.append(max(Fraction(0), s * total + t))
        truth = [sum((Fraction(a) * h for a, h in zip(row, hidden, strict=True)), Fraction(0)) for row in v.tolist()]
        w32, v32, b32, mean32, scale32, shift32 = (a.astype(np.float32) for a in (w, v, b, mean, scale, shift))
        apart = scale32 * ((w32 @ x + b32) - mean32) + shift32
        folded = (scale32[:, None] * w32) @ x + (scale32 * (b32 - mean32) + shift32)
        spread = scale32 * (w32 @ x) + (scale32 * b32 + (shift32 - scale32 * mean32))
        for way in (apart, folded, spread):
            off = [abs(Fraction(float(y)) - t) for y, t in zip(v32 @ np.maximum(way, 0), truth, strict=True)]
            assert all(o <= e for o, e in zip(off, most, strict=True))
