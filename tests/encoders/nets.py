"""Tiny nets and plain interval bounds that several tests share."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from benchmarks.textbook import whole_box_intervals
from encoders.arrays import FloatArray
from encoders.layer_graph.graph import Graph, affine_chain
from encoders.question import NeuronBounds, Norm, Region


def interval_bounds(graph: Graph, region: Region, norm: Norm = Norm.LINF, radius: float = np.inf) -> NeuronBounds:
    """Interval bounds over ball ∩ box."""
    low, high = region.clipped(norm, radius)
    spans = whole_box_intervals(graph, Region(region.center, low, high))
    sources = {i: graph.nodes[i].sources[0] for i in graph.relus}
    return NeuronBounds({i: spans[s][0] for i, s in sources.items()}, {i: spans[s][1] for i, s in sources.items()})


def unit_box(center: FloatArray | list[float]) -> Region:
    center = np.asarray(center, dtype=np.float64)
    return Region(center, np.zeros(center.size), np.ones(center.size))


def two_two_two() -> tuple[Graph, FloatArray]:
    """A net whose distances are worked out by hand, and the sample they start from.

    x1 ─┬─► a = relu(x1 - x2)     ─► f0 = a
    x2 ─┴─► b = relu(x1 + x2 - 1) ─► f1 = b/2 + 1/4            at (3/4, 1/4): a = 1/2, b = 0, f0 - f1 = 1/4

    Move by (d1, d2). While d1 + d2 ≥ 0 (b open):  f0 - f1 = 1/4 + d1/2 - 3 d2/2;  otherwise 1/4 + d1 - d2.
    L∞: (-1/8, 1/8) closes it on either branch: 1/8.   L1: (0, 1/6) closes it on the first: 1/6 (the second needs 1/4).
    """
    graph = affine_chain(
        [np.array([[1.0, -1.0], [1.0, 1.0]]), np.array([[1.0, 0.0], [0.0, 0.5]])],
        [np.array([0.0, -1.0]), np.array([0.0, 0.25])],
    )
    return graph, np.array([0.75, 0.25])


def random_chain(seed: int, sizes: tuple[int, ...], spread: float = 1.0) -> tuple[Graph, FloatArray]:
    """A random dense net with a few zero weights, and a random sample in the unit box."""
    random = np.random.default_rng(seed)
    weights, biases = [], []
    for source, size in pairwise(sizes):
        weight = random.normal(size=(size, source)) * spread
        weight[random.random(weight.shape) < 0.15] = 0.0
        weights.append(weight)
        biases.append(random.normal(size=size) * 0.3 * spread)
    return affine_chain(weights, biases), random.random(sizes[0])
