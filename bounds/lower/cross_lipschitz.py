"""Cross-Lipschitz bounds (Hein & Andriushchenko 2017): how fast can the difference of two scores fall?

    distance to class j  ≥  min(R, (f_c - f_j)(x) / L_j(R)),    L_j(R) ≥ sup over ball(x, R) ∩ box of ‖∇(f_c - f_j)‖_q,

q dual to p. `global` bounds the gradient everywhere by products of operator norms; `local` by an interval Jacobian
over the activation states that the ball leaves open, which for one hidden layer is each coordinate's exact maximum.
The gradients are those of the reduced net, from which the real one strays by no more than its stated error anywhere
in the ball: that much is taken off the margin at both ends. Norms are inflated by far more than their rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from scipy import sparse

from bounds.lower.base import LowerBound, Sample
from bounds.lower.jacobian import dual_length, jacobian, steepest
from bounds.propagation.neuron_bounds import bounds_together, goal_bounds
from bounds.propagation.sample_groups import Grouping
from bounds.reduced_net.reduced_net import Reduced, reduce
from encoders.arrays import FloatArray
from encoders.layer_graph.graph import Affine, Graph, Input
from encoders.question import Norm

INFLATION = 1.0 + 1e-9
LARGEST_GRAM = 1500  # side of a matrix whose spectral norm is bounded by powers of its Gram matrix


def margins(samples: Sequence[Sample]) -> list[FloatArray]:
    """Proven lower bounds of the goals' rows at each sample itself."""
    device_graph = samples[0].device_graph
    bounds = bounds_together(device_graph, [s.region for s in samples], samples[0].norm, [0.0] * len(samples))
    rows = [np.concatenate([goal.rows for goal in sample.goals]) for sample in samples]
    member = np.repeat(np.arange(len(samples)), [len(part) for part in rows])
    group = Grouping(len(samples), torch.as_tensor(member, device=device_graph.device))
    function = goal_bounds(device_graph, bounds, device_graph.tensor(np.concatenate(rows)), group)
    values = (function.value - function.slack).cpu().numpy()
    offsets = np.concatenate([goal.offset for sample in samples for goal in sample.goals])
    proven = values + offsets - 1e-15 * (np.abs(values) + np.abs(offsets))
    return [proven[member == k] for k in range(len(samples))]


@lru_cache(maxsize=16)
def matrices(graph: Graph) -> dict[int, tuple[sparse.csr_array, ...]]:
    """Every Affine node's maps as sparse matrices."""
    return {i: tuple(m.matrix() for m in node.maps) for i, node in enumerate(graph.nodes) if isinstance(node, Affine)}


def operator_norm(matrix: sparse.csr_array, norm: Norm) -> float:
    """An upper bound of max ‖M v‖_p / ‖v‖_p."""
    size = abs(matrix)
    rows, columns = float(size.sum(axis=1).max(initial=0.0)), float(size.sum(axis=0).max(initial=0.0))
    if norm is Norm.LINF:
        return rows * INFLATION
    if norm is Norm.L1:
        return columns * INFLATION
    best = float(np.sqrt(rows) * np.sqrt(columns))
    if min(matrix.shape) <= LARGEST_GRAM:
        dense = matrix if matrix.shape[1] <= matrix.shape[0] else matrix.T
        gram = (dense.T @ dense).toarray()
        whole = float(np.linalg.norm(gram))  # ‖M‖₂⁸ ≤ ‖(MᵀM)⁴‖_F; rounding in the powers is far below 1e-9 of whole⁴
        if 1e-200 < whole < 1e60:
            unit = gram / whole
            fourth = float(np.linalg.norm(np.linalg.matrix_power(unit, 4))) + 1e-9
            best = min(best, float(np.sqrt(whole * fourth**0.25)))
    return best * INFLATION


@lru_cache(maxsize=64)
def node_constants(graph: Graph, norm: Norm) -> tuple[float, ...]:
    """A Lipschitz constant of every node but the last as a function of the input, in `norm` on both sides."""
    found: list[float] = []
    for position, node in enumerate(graph.nodes[:-1]):
        if isinstance(node, Input):
            found.append(1.0)
        elif isinstance(node, Affine):
            parts = zip(matrices(graph)[position], node.sources, strict=True)
            found.append(sum(operator_norm(m, norm) * found[source] for m, source in parts) * INFLATION)
        else:
            found.append(found[node.source])
    return tuple(found)


class GlobalCrossLipschitz(LowerBound):
    """The margin over a product of operator norms: one constant for each net, and no ball."""

    name = "global-cross-lipschitz"

    def unsupported(self, graph: Graph) -> str | None:
        return None if isinstance(graph.nodes[-1], Affine) else "its last node is not affine"

    def _on_balls(self, samples: Sequence[Sample], radii: Sequence[float]) -> list[FloatArray]:
        del radii
        slopes = [self._slope(sample) * INFLATION for sample in samples]
        return [quotient(margin, slope) for margin, slope in zip(margins(samples), slopes, strict=True)]

    @staticmethod
    def _slope(sample: Sample) -> FloatArray:
        graph = sample.device_graph.graph
        last = graph.nodes[-1]
        rows = np.concatenate([goal.rows for goal in sample.goals])
        constants = node_constants(graph, sample.norm)
        slope = np.zeros(len(rows))
        for matrix, source in zip(matrices(graph)[len(graph.nodes) - 1], last.sources, strict=True):
            gradient = np.asarray(np.abs(rows) @ abs(matrix)) * 1e-12 + np.abs(rows @ matrix)
            slope += dual_length(gradient, sample.norm) * constants[source]
        return slope


class LocalCrossLipschitz(LowerBound):
    """The margin over a bound on the gradient in the ball: intervals over the states that the ball leaves open.

    A few products (`bounds/lower/jacobian.py`).
    """

    name = "local-cross-lipschitz"

    def _on_balls(self, samples: Sequence[Sample], radii: Sequence[float]) -> list[FloatArray]:
        answers = []
        for net, margin in zip(reduced_on(samples, radii), margins(samples), strict=True):
            found = jacobian(net)
            answers.append(quotient(margin - found.slack, steepest(net, found) * INFLATION))
        return answers


def reduced_on(samples: Sequence[Sample], radii: Sequence[float]) -> list[Reduced]:
    """The reduced net of each sample's ball; their neurons are bounded in one batch."""
    device_graph = samples[0].device_graph
    bounds = bounds_together(device_graph, [s.region for s in samples], samples[0].norm, radii)
    return [reduce(device_graph, bounds.of_sample(k), sample.goals) for k, sample in enumerate(samples)]


def quotient(margin: FloatArray, slope: FloatArray) -> FloatArray:
    """margin / slope rounded down; inf where the margin is positive and nothing can change it."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        found = margin / slope * (1.0 - 1e-12)
    return np.asarray(np.where(margin > 0, np.where(slope > 0, found, np.where(slope == 0, np.inf, 0.0)), 0.0))
