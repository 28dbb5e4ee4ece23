"""The exact local cross-Lipschitz constant of small nets, as a mixed-integer program on HiGHS.

On the reduced net of the ball, per goal row: maximise the dual norm of  X_g + Σ_j v_j X_j  over the states that some
input of the ball really brings about,

    h = X d + Z z + c,   z = relu(h) (big-M, states s binary),   u_j = Z_gj + Σ_k v_k Z_kj,   v_j = s_j u_j,

each product s_j u_j exact between the bounds of `bounds/lower/jacobian.py`. A binary per gradient entry whose sign is
open gives its magnitude (L∞ balls), or one per entry and sign picks the largest (L1 balls). What it says rests on the
solver's word (two agreeing runs of it), and it costs a program per target and ball: it is there for comparison.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from scipy import sparse

from bounds.lower.base import LowerBound, Sample
from bounds.lower.cross_lipschitz import margins, quotient, reduced_on
from bounds.lower.jacobian import Jacobian, jacobian, steepest
from bounds.reduced_net.reduced_net import Reduced
from encoders.arrays import FloatArray
from encoders.errors import SolverError
from encoders.layer_graph.graph import Graph, Relu
from encoders.programs.mixed_integer_program import Program
from encoders.question import Norm
from encoders.solvers.base import SolverOptions
from encoders.solvers.highs import HighsSolver

MOST_NEURONS, MOST_INPUTS = 32, 64
SECONDS = 20.0  # per program; what is proven until then counts
MARGIN = 1e-6  # relative: HiGHS's tolerances


class ExactCrossLipschitz(LowerBound):
    """See the module."""

    name: ClassVar[str] = "exact-cross-lipschitz"
    norms: ClassVar[frozenset[Norm]] = frozenset({Norm.LINF, Norm.L1})
    rests_on_solver: ClassVar[bool] = True

    def unsupported(self, graph: Graph) -> str | None:
        neurons = sum(node.size for node in graph.nodes if isinstance(node, Relu))
        if neurons > MOST_NEURONS or graph.input_size > MOST_INPUTS:
            return f"it has {neurons} ReLUs and {graph.input_size} inputs; at most {MOST_NEURONS} and {MOST_INPUTS}"
        return None

    def _on_balls(self, samples: Sequence[Sample], radii: Sequence[float]) -> list[FloatArray]:
        answers = []
        for net, margin, radius in zip(reduced_on(samples, radii), margins(samples), radii, strict=True):
            found = jacobian(net)
            slope = steepest(net, found)
            for goal in range(len(slope)):
                slope[goal] = min(slope[goal], exact_slope(net, found, goal, radius))
            answers.append(quotient(margin - found.slack, slope))
        return answers


def exact_slope(net: Reduced, found: Jacobian, goal: int, radius: float) -> float:
    """The greatest dual norm of one goal row's gradient over the ball, as HiGHS vouches for it; inf where it cannot."""
    try:
        solution = HighsSolver().solve(_Encoding(net, found, goal, radius).program(), SolverOptions(SECONDS))
    except SolverError:
        return float("inf")
    if not solution.lower <= 0.0:  # a magnitude is never negative, and the ball is never empty: the solver is wrong
        return float("inf")
    return float(-solution.lower * (1.0 + 2.0 * MARGIN))


class _Encoding:
    """Columns d (or its two parts, in L1), z, s, v, then what measures the gradient; rows `matrix · v ≥ least`."""

    def __init__(self, net: Reduced, found: Jacobian, goal: int, radius: float) -> None:
        self.net, self.radius = net, radius
        self.x, self.z, self.c = (t.cpu().numpy() for t in (net.x, net.z, net.constant))
        self.below, self.above = (np.minimum(t.cpu().numpy(), radius) for t in (net.below, net.above))
        self.u = (found.u[0][goal], found.u[1][goal])
        self.gradient = (found.gradient[0][goal], found.gradient[1][goal])
        self.row = int(net.goal_rows[goal][0])
        self.count, self.size = net.open_phases, self.x.shape[1]
        self.width = 0
        self.low: list[FloatArray] = []
        self.high: list[FloatArray] = []
        self.integral: list[bool] = []
        self.rows: list[tuple[dict[int, float], float]] = []

    def program(self) -> Program:
        shift = self._columns(-self.below, self.above)
        if self.net.norm is Norm.L1:
            size = self._columns(np.zeros(self.size), np.full(self.size, self.radius))
            for k in range(self.size):
                self._at_least({size[k]: 1.0, shift[k]: 1.0}, 0.0)
                self._at_least({size[k]: 1.0, shift[k]: -1.0}, 0.0)
            self._at_least(dict.fromkeys(size.tolist(), -1.0), -self.radius)
        states, v = self._neurons(shift)
        del states
        measure = self._magnitudes(v) if self.net.norm is Norm.LINF else self._largest(v)
        costs = np.zeros(self.width)
        costs[measure] = -1.0
        matrix = sparse.lil_array((len(self.rows), self.width))
        for k, (row, _) in enumerate(self.rows):
            for column, value in row.items():
                matrix[k, column] = value
        return Program(
            costs, 1.0, sparse.csr_array(matrix), np.array([least for _, least in self.rows]),
            np.full(len(self.rows), np.inf), np.concatenate(self.low), np.concatenate(self.high),
            np.array(self.integral), np.zeros(self.size), sparse.csr_array((self.size, self.width)), {},
            np.ones(self.width),
        )  # fmt: skip

    def _columns(self, low: FloatArray, high: FloatArray, integral: bool = False) -> np.ndarray:
        first, self.width = self.width, self.width + len(low)
        self.low.append(np.asarray(low, dtype=np.float64))
        self.high.append(np.asarray(high, dtype=np.float64))
        self.integral += [integral] * len(low)
        return np.arange(first, self.width)

    def _at_least(self, row: dict[int, float], least: float) -> None:
        self.rows.append((row, least))

    def _neurons(self, shift: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        lower, upper = (t.cpu().numpy() for t in (self.net.lower, self.net.upper))
        count = self.count
        z = self._columns(np.zeros(count), np.maximum(upper, 0.0))
        s = self._columns(np.zeros(count), np.ones(count), integral=True)
        low, high = self.u
        v = self._columns(np.minimum(low, 0.0), np.maximum(high, 0.0))
        for j in range(count):
            h = _row(shift, self.x[j]) | _row(z, self.z[j])
            c = float(self.c[j])
            self._at_least(_plus({z[j]: 1.0}, h, -1.0), c)  # z ≥ h
            self._at_least({s[j]: upper[j], z[j]: -1.0}, 0.0)  # z ≤ u s
            self._at_least(_plus({z[j]: -1.0, s[j]: lower[j]}, h, 1.0), lower[j] - c)  # z ≤ h - l (1 - s)
            own = _row(v, self.z[: self.count, j])  # u_j = constant + Σ v_k Z_kj
            constant = float(self.z[self.row, j])
            self._at_least({v[j]: 1.0, s[j]: -low[j]}, 0.0)
            self._at_least({v[j]: -1.0, s[j]: high[j]}, 0.0)
            self._at_least(_plus({v[j]: -1.0, s[j]: low[j]}, own, 1.0), low[j] - constant)
            self._at_least(_plus({v[j]: 1.0, s[j]: -high[j]}, own, -1.0), constant - high[j])
        return s, v

    def _magnitudes(self, v: np.ndarray) -> np.ndarray:
        """A column per entry, at most its magnitude."""
        low, high = self.gradient
        t = self._columns(np.full(self.size, -np.inf), np.maximum(-low, high))
        for i in range(self.size):
            entry, constant = _row(v, self.x[: self.count, i]), float(self.x[self.row, i])
            if low[i] >= 0 or high[i] <= 0:
                sign = 1.0 if low[i] >= 0 else -1.0
                self._at_least(_plus({t[i]: -1.0}, entry, sign), -sign * constant)
                continue
            (b,) = self._columns(np.zeros(1), np.ones(1), integral=True)
            self._at_least(_plus({t[i]: -1.0, b: 2.0 * low[i]}, entry, 1.0), 2.0 * low[i] - constant)
            self._at_least(_plus({t[i]: -1.0, b: 2.0 * high[i]}, entry, -1.0), constant)
        return t

    def _largest(self, v: np.ndarray) -> np.ndarray:
        """One column, at most the entry and sign that a binary picks."""
        low, high = self.gradient
        most = float(np.maximum(-low, high).max(initial=0.0))
        t = self._columns(np.array([-np.inf]), np.array([most]))
        picks: list[int] = []
        for i in range(self.size):
            entry, constant = _row(v, self.x[: self.count, i]), float(self.x[self.row, i])
            for sign, least in ((1.0, low[i]), (-1.0, -high[i])):
                (b,) = self._columns(np.zeros(1), np.ones(1), integral=True)
                room = most - least  # how far t may lie above an entry that is not picked
                self._at_least(_plus({t[0]: -1.0, b: -room}, entry, sign), -sign * constant - room)
                picks.append(int(b))
        self._at_least(dict.fromkeys(picks, 1.0), 1.0)
        return t


def _row(columns: np.ndarray, values: FloatArray) -> dict[int, float]:
    return {int(column): float(value) for column, value in zip(columns, values, strict=True) if value}


def _plus(row: dict[int, float], other: dict[int, float], factor: float) -> dict[int, float]:
    total = {int(column): float(value) for column, value in row.items()}
    for column, value in other.items():
        total[column] = total.get(column, 0.0) + factor * value
    return total
