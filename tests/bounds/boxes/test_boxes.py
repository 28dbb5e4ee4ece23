"""Boxes that are cut again and again: what is said of each is held against points of it, and against fractions."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import Tensor

from bounds.boxes.box_bounds import Below, Bounded, BoxBounds, Boxes
from bounds.boxes.cuts import halves
from bounds.boxes.mixtures import mixture
from bounds.boxes.narrowing import narrowed
from bounds.propagation.device_graph import DeviceGraph
from encoders.layer_graph.graph import affine_chain
from encoders.question import Region
from tests.draws import draws
from tests.encoders.nets import random_chain

INSIDE = 1e-12  # what float64 makes of the values that bounds are held against
LEVELS = 4
CASES = ((0, 1), (2,), (1, 2))


def drawn(seed: int) -> tuple[BoxBounds, np.random.Generator]:
    """A net with three outputs, asked about on a box in which one of four inputs stays."""
    random = np.random.default_rng(seed)
    graph, center = random_chain(seed, (4, 6, 5, 5, 3))
    half = random.random(4) * 0.8 * (np.arange(4) != seed % 4)
    region = Region(center, center - half, center + half * random.random(4))
    return BoxBounds(DeviceGraph(graph), region, CASES), random


def points_of(boxes: Boxes, random: np.random.Generator, count: int = 40) -> Tensor:
    """Steps [count, B, n] inside each box, many at corners."""
    share = np.clip(random.uniform(-0.5, 1.5, size=(count, *boxes.lower.shape)), 0.0, 1.0)
    found = boxes.lower + torch.as_tensor(share) * (boxes.upper - boxes.lower)
    return torch.minimum(torch.maximum(found, boxes.lower), boxes.upper)


def values_of(bounds: BoxBounds, steps: Tensor) -> tuple[Tensor, Tensor]:
    """What all neurons and all outputs are at steps [..., n]."""
    values = bounds.device_graph.values(bounds.inputs(steps.flatten(0, -2)))
    neurons = torch.cat([values[bounds.device_graph.graph.nodes[i].sources[0]] for i in bounds.places], dim=1)
    return neurons.view(*steps.shape[:-1], -1), values[-1].view(*steps.shape[:-1], -1)


def at(below: Below, steps: Tensor) -> Tensor:
    """The functions' values [count, B, K] at steps [count, B, n]."""
    return (below.normal * steps.unsqueeze(2)).sum(-1) + below.value


def hold(bounds: BoxBounds, bounded: Bounded, steps: Tensor) -> None:
    """Every range and every function holds at points of the boxes."""
    neurons, outputs = values_of(bounds, steps)
    assert (neurons >= bounded.boxes.least - INSIDE).all()
    assert (neurons <= bounded.boxes.most + INSIDE).all()
    for layer in bounded.neurons:
        of = neurons.gather(2, layer.entries.expand(len(steps), -1, -1))
        assert (torch.where(layer.present, at(layer.under, steps) - of, 0.0) <= INSIDE).all()
        assert (torch.where(layer.present, at(layer.over, steps) + of, 0.0) <= INSIDE).all()
    single = bounds.device_graph.graph.classes
    assert (at(bounded.rows, steps)[..., :single] <= outputs + INSIDE).all()
    reached = (outputs[..., bounds.of_goal[:, :-1]] <= 0).all(-1)  # [count, B, cases]
    mixed = at(bounded.rows, steps)[..., single:]
    assert (torch.where(reached, mixed, -1.0) <= INSIDE).all()


def test_what_is_said_of_boxes_holds_in_them() -> None:
    opened, closed = 0, 0
    for seed in range(draws(12, 200)):
        bounds, random = drawn(seed)
        boxes = bounds.whole
        for _ in range(LEVELS):
            bounded = bounds.bounded(boxes)
            steps = points_of(boxes, random)
            hold(bounds, bounded, steps)
            lower, upper, left = narrowed(bounded.rows, bounds.of_goal, boxes.lower, boxes.upper, boxes.left)
            _, outputs = values_of(bounds, steps)
            reached = (outputs[..., bounds.of_goal[:, :-1]] <= -INSIDE).all(-1)
            assert not (reached & ~left).any(), seed
            inside = (steps >= lower).all(-1) & (steps <= upper).all(-1)
            assert (inside | ~reached.any(-1)).all(), seed
            closed += int((~left).sum())
            left_over = left.any(1)
            if not left_over.any():
                break
            bounded, lower, upper, left = (part[left_over] if isinstance(part, Tensor) else part.take(left_over)
                                           for part in (bounded, lower, upper, left))  # fmt: skip
            parts = bounded.on(lower, upper, left)
            inner = points_of(parts, random)
            neurons, _ = values_of(bounds, inner)
            assert (neurons >= parts.least - INSIDE).all(), seed
            assert (neurons <= parts.most + INSIDE).all(), seed
            boxes = halves(bounded, parts, bounds.hardest(bounded.rows.least(parts), left)).boxes
            within = (inner.unsqueeze(2) >= boxes.lower).all(-1) & (inner.unsqueeze(2) <= boxes.upper).all(-1)
            assert within.any(-1).all(), seed
            opened += len(boxes)
    assert opened
    assert closed


def test_where_no_phase_is_open_functions_are_the_net() -> None:
    graph = affine_chain([np.array([[1.0, 2.0]]), np.array([[3.0], [-1.0]])], [np.array([9.0]), np.zeros(2)])
    bounds = BoxBounds(DeviceGraph(graph), Region(np.zeros(2), -np.ones(2), np.ones(2)), ((0,), (1,)))
    rows = bounds.bounded(bounds.whole).rows
    assert rows.normal.tolist() == [[[3.0, 6.0], [-1.0, -2.0]]]
    assert rows.least(bounds.whole).tolist()[0] == pytest.approx([18.0, -12.0])


def test_rounding_is_in_a_row() -> None:
    # 3·0.1 - 0.3 is 2.8e-17 of these numbers; added up in float64, 5.6e-17 in one order of the two terms.
    center = np.array([0.1, 0.3, 0.1])
    rows = np.array([[3.0, -1.0, 0.0], [0.0, -1.0, 3.0]])
    graph = affine_chain([rows, np.eye(2)], [np.zeros(2), np.zeros(2)])
    bounds = BoxBounds(DeviceGraph(graph), Region(center, center, center), ((0,), (1,)))
    least = bounds.bounded(bounds.whole).rows.least(bounds.whole)
    exact = 3 * Fraction(0.1) - Fraction(0.3)
    assert all(Fraction(one) <= exact for one in least[0].tolist())


def test_two_rows_that_exclude_each_other_only_together() -> None:
    """x + 1/10 and 1/10 - x are never both at most zero, though each is somewhere in [-1, 1]."""
    normal, value = torch.tensor([[[[1.0], [-1.0]]]]).double(), torch.full((1, 1, 2), 0.1, dtype=torch.float64)
    lower, upper = -torch.ones(1, 1, dtype=torch.float64), torch.ones(1, 1, dtype=torch.float64)
    share = mixture(normal, value, lower, upper)
    assert share[0, 0].tolist() == pytest.approx([0.5, 0.5])
    graph = affine_chain([np.array([[1.0], [-1.0]])], [np.full(2, 0.1)])
    bounds = BoxBounds(DeviceGraph(graph), Region(np.zeros(1), -np.ones(1), np.ones(1)), ((0, 1),))
    whole = bounds.whole
    rows = bounds.bounded(whole).rows
    assert (rows.least(whole)[0, :2] < 0).all()
    assert not narrowed(rows, bounds.of_goal, whole.lower, whole.upper, whole.left)[2].any()


def test_shares_are_parts_of_one() -> None:
    random = np.random.default_rng(0)
    for _ in range(draws(5, 50)):
        normal, value = (
            torch.as_tensor(random.normal(size=(3, 2, 4, 3))),
            torch.as_tensor(random.normal(size=(3, 2, 4))),
        )
        lower = torch.as_tensor(random.normal(size=(3, 3)))
        share = mixture(normal, value, lower, lower + 1.0)
        assert (share >= 0).all()
        assert share.sum(-1).numpy() == pytest.approx(np.ones((3, 2)))


def test_the_input_that_counts_is_cut() -> None:
    """abs(x2) / 2 behind two neurons, and nothing of x1, whose range is wider."""
    weights = [np.array([[0.0, 1.0], [0.0, -1.0]]), np.array([[0.5, 0.5]])]
    bounds = BoxBounds(DeviceGraph(affine_chain(weights, [np.zeros(2), np.array([-0.1])])),
                       Region(np.zeros(2), np.array([-4.0, -1.0]), np.array([4.0, 1.0])), ((0,),))  # fmt: skip
    bounded = bounds.bounded(bounds.whole)
    found = halves(bounded, bounds.whole, torch.zeros(1, dtype=torch.int64))
    assert found.whole == 0
    assert sorted(found.boxes.upper[:, 1].tolist()) == pytest.approx([0.0, 1.0])
    assert found.boxes.upper[:, 0].tolist() == pytest.approx([4.0, 4.0])


def test_what_no_number_halves_is_counted() -> None:
    graph = affine_chain([np.array([[1.0]]), np.array([[1.0]])], [np.zeros(1), np.zeros(1)])
    bounds = BoxBounds(DeviceGraph(graph), Region(np.zeros(1), np.zeros(1), np.zeros(1)), ((0,),))
    found = halves(bounds.bounded(bounds.whole), bounds.whole, torch.zeros(1, dtype=torch.int64))
    assert (len(found.boxes), found.whole) == (0, 1)
