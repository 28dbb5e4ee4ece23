"""Interval bounds on the gradients of goal rows over a ball, on the reduced net of that ball.

With  (h, g) = X·d + Z·relu(h) + c  the gradient of a goal row is  X_g + Σ_j v_j X_j,  v_j = s_j u_j,  s_j ∈ [0, 1] the
state of open neuron j and  u_j = Z_gj + Σ_k v_k Z_kj  over later layers. Stable neurons are inside X and Z already, so
that intervals are needed for open ones alone. For one hidden layer every entry's bounds are attained by some states.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bounds.reduced_net.reduced_net import Reduced
from encoders.arrays import FloatArray
from encoders.question import Norm

LOST = 1e-150  # more than an entry can be whose square is too small for a float64
ROUNDING = 1e-11  # relative to the sum of magnitudes: far more than a product of these lengths can lose


@dataclass(frozen=True, eq=False)
class Jacobian:
    """Bounds for J goal rows: [J, P] of u and v, [J, n] of the gradient; `slack` [J]: see `margins_left`."""

    u: tuple[FloatArray, FloatArray]
    v: tuple[FloatArray, FloatArray]
    gradient: tuple[FloatArray, FloatArray]
    slack: FloatArray


def jacobian(net: Reduced) -> Jacobian:
    """All goal rows at once, layer by layer from the back."""
    count = net.open_phases
    x, z, error = (t.cpu().numpy() for t in (net.x, net.z, net.error))
    rows = np.concatenate([positions.cpu().numpy() for positions in net.goal_rows])
    u_low, u_high = z[rows].copy(), z[rows].copy()
    v_low, v_high = np.zeros_like(u_low), np.zeros_like(u_high)
    for layer in reversed(net.layers):
        v_low[:, layer] = np.minimum(u_low[:, layer], 0.0)
        v_high[:, layer] = np.maximum(u_high[:, layer], 0.0)
        if layer.start:
            before = slice(0, layer.start)
            low, high = product(v_low[:, layer], v_high[:, layer], z[layer, before])
            u_low[:, before] += low
            u_high[:, before] += high
    low, high = product(v_low, v_high, x[:count])
    widest = np.maximum(-v_low, v_high)
    slack = 2.0 * (error[rows] + widest @ error[:count]) * (1.0 + 1e-9)
    return Jacobian((u_low, u_high), (v_low, v_high), (x[rows] + low, x[rows] + high), slack)


def product(low: FloatArray, high: FloatArray, matrix: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Bounds of v · matrix for low ≤ v ≤ high, rounded outward."""
    size = np.abs(matrix)
    middle, spread = (low + high) / 2.0, (high - low) / 2.0
    center, reach = middle @ matrix, spread @ size
    reach += ROUNDING * ((np.abs(middle) + spread) @ size)
    return center - reach, center + reach


def steepest(net: Reduced, found: Jacobian) -> FloatArray:
    """Per goal row, an upper bound of the gradient's dual norm over the ball."""
    entries = np.maximum(-found.gradient[0], found.gradient[1])
    bound = dual_length(entries, net.norm)
    return np.minimum(bound, by_pairs(net, found)) if net.norm is Norm.L2 else bound


def by_pairs(net: Reduced, found: Jacobian) -> FloatArray:
    """The L2 norm bounded pair by pair: ‖Σ_a v_a X_a‖² = Σ_ab v_a v_b ⟨X_a, X_b⟩, each product at its greatest.

    Hein & Andriushchenko's bound for one hidden layer. Neither this nor the bound by entries is always the tighter.
    """
    count = net.open_phases
    x = net.x.cpu().numpy()
    rows = np.concatenate([positions.cpu().numpy() for positions in net.goal_rows])
    one = np.ones(1)
    return np.array([
        longest_sum(
            np.concatenate([x[row][None], x[:count]]),
            np.concatenate([one, found.v[0][k]]), np.concatenate([one, found.v[1][k]]),
        )
        for k, row in enumerate(rows)
    ])  # fmt: skip


def longest_sum(vectors: FloatArray, low: FloatArray, high: FloatArray) -> float:
    """An upper bound of ‖Σ_a v_a · vector_a‖₂ over low ≤ v ≤ high, pair by pair."""
    return Pairs.of(vectors).longest(low, high)


@dataclass(frozen=True, eq=False)
class Pairs:
    """Vectors [P, n] that a sum is made of, with all their products."""

    vectors: FloatArray  # each over its unit
    unit: FloatArray
    gram: FloatArray

    @classmethod
    def of(cls, vectors: FloatArray) -> Pairs:
        """Vectors of any length: squares of the largest would overflow, and of the smallest vanish."""
        unit = np.abs(vectors).max(axis=1, initial=0.0)
        unit = np.where((unit > 0) & np.isfinite(unit), unit, 1.0)
        with np.errstate(over="ignore", invalid="ignore"):
            vectors = vectors / unit[:, None]
            return cls(vectors, unit, vectors @ vectors.T)

    def longest(self, low: FloatArray, high: FloatArray) -> float:
        """An upper bound of ‖Σ_a v_a · vector_a‖₂ over low ≤ v ≤ high."""
        with np.errstate(over="ignore", invalid="ignore"):
            low, high = low * self.unit, high * self.unit
            # v_a v_b over a box is greatest and least at corners; on the diagonal v_a² is never negative.
            corners = [np.outer(a, b) for a in (low, high) for b in (low, high)]
            most, least = np.maximum.reduce(corners), np.minimum.reduce(corners)
            size = np.maximum(np.abs(low), np.abs(high))
            widest = (size * np.linalg.norm(self.vectors, axis=1)).sum()
            square = np.where(self.gram > 0, self.gram * most, self.gram * least).sum() + ROUNDING * widest * widest
            lost = LOST * (1.0 + size).sum() * self.vectors.shape[1]
        return float(np.sqrt(max(0.0, square)) + lost) if np.isfinite(square) else float("inf")


def dual_length(rows: FloatArray, norm: Norm) -> FloatArray:
    """Norm dual to `norm` of each row of magnitudes."""
    if norm is Norm.LINF:
        return np.asarray(rows.sum(axis=1))
    if norm is Norm.L1:
        return np.asarray(rows.max(axis=1, initial=0.0))
    return np.asarray(np.sqrt((rows * rows).sum(axis=1)) + LOST * np.sqrt(rows.shape[1]))
