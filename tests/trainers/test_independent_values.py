"""Every regulariser against values computed otherwise: numpy, central differences, corners, and programs of SciPy.

A table of the regularisers, each with its value on a tiny net as a function of that net's weights alone, sharing no
code with `trainers/`. Derivatives of scores and pre-activations are central differences, distances to hyperplanes the
optima of small programs, bounds over a box the extremes at its corners. What `penalty` returns must be that value, and
its gradient in every single weight the central difference of `penalty`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import fmean

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.optimize import linprog, minimize
from torch import nn

from trainers.regularisers import REGULARISERS, Batch, regulariser

Array = NDArray[np.float64]
INPUTS, HIDDEN, CLASSES, STEP, RADIUS = 3, 4, 3, 1e-6, 0.1


@dataclass(frozen=True, eq=False)
class Net:
    """One hidden layer, and three samples of it."""

    w: Array
    b: Array
    u: Array
    c: Array
    x: Array
    y: tuple[int, ...]

    def before(self, x: Array) -> Array:
        return np.asarray(self.w @ x + self.b)

    def scores(self, x: Array) -> Array:
        return np.asarray(self.u @ np.maximum(self.before(x), 0) + self.c)

    def strongest(self, x: Array, y: int) -> int:
        scores = self.scores(x)
        return max((k for k in range(CLASSES) if k != y), key=lambda k: float(scores[k]))

    def corners(self, x: Array) -> list[Array]:
        """Those of the L∞ ball within [0, 1]."""
        sides = zip((x - RADIUS).clip(0, 1), (x + RADIUS).clip(0, 1), strict=True)
        return [np.array(corner) for corner in itertools.product(*sides)]

    def ranges(self, x: Array) -> tuple[Array, Array]:
        """The least and the greatest pre-activations on that ball."""
        values = np.array([self.before(corner) for corner in self.corners(x)])
        return values.min(0), values.max(0)


def slope(function: Callable[[Array], Array], x: Array) -> Array:
    """Rows of derivatives by central differences."""
    return np.array([(function(x + d) - function(x - d)) / (2 * STEP) for d in STEP * np.eye(len(x))]).T


def distance(row: Array, value: float, norm: str) -> float:
    """The least ‖d‖ with row·d + value = 0, as a program."""
    n = len(row)
    if norm == "l2":
        held = {"type": "eq", "fun": lambda d: row @ d + value}
        start = np.full(n, 0.1)
        found = minimize(lambda d: d @ d, start, constraints=[held], options={"ftol": 1e-14, "maxiter": 200})
        return math.sqrt(found.fun)
    if norm == "linf":  # d, and t above every |d|
        above = np.vstack([np.c_[sign * np.eye(n), -np.ones(n)] for sign in (1, -1)])
        found = linprog([0] * n + [1], above, np.zeros(2 * n), [[*row, 0]], [-value], [(None, None)] * (n + 1))
    else:  # d = p - q
        found = linprog([1] * (2 * n), A_eq=[[*row, *-row]], b_eq=[-value])
    return float(found.fun)


def cross_lipschitz(net: Net) -> float:
    total = 0.0
    for x in net.x:
        rows = slope(net.scores, x)
        total += sum(float(((a - b) ** 2).sum()) for a in rows for b in rows)
    return total / len(net.x) / CLASSES**2


def margin_form(net: Net, order: float, power: int) -> float:
    total = 0.0
    for x, y in zip(net.x, net.y, strict=True):
        s, scores, rows = net.strongest(x, y), net.scores(x), slope(net.scores, x)
        total += float(np.linalg.norm(rows[y] - rows[s], order)) ** power / max(float(scores[y] - scores[s]), 0.1)
    return total / len(net.x)


def maximum_margin(net: Net, norm: str, reach: float) -> float:
    """The nearest two of the four hyperplanes, and all decision planes."""
    total = 0.0
    for x, y in zip(net.x, net.y, strict=True):
        rows, before = slope(net.before, x), net.before(x)
        near = sorted(distance(row, float(h), norm) for row, h in zip(rows, before, strict=True))[:2]
        scores, of_scores = net.scores(x), slope(net.scores, x)
        planes = []
        for k in set(range(CLASSES)) - {y}:
            lead = float(scores[y] - scores[k])
            planes.append(math.copysign(distance(of_scores[y] - of_scores[k], lead, norm), lead))
        total += sum(fmean(max(0.0, 1 - d / reach) for d in part) for part in (near, planes))
    return total / len(net.x)


def relu_stability(net: Net) -> float:
    return -sum(float(np.tanh(1 + low * high).sum()) for low, high in map(net.ranges, net.x)) / len(net.x)


def worst_entropy(net: Net, least: Callable[[Array, Array], float]) -> float:
    """Cross-entropy of the least margins, at half weight; least(row of the last layer, sample) without the bias."""
    total = 0.0
    for x, y in zip(net.x, net.y, strict=True):
        margins = [0.0 if k == y else least(net.u[y] - net.u[k], x) + net.c[y] - net.c[k] for k in range(CLASSES)]
        total += math.log(sum(math.exp(-margin) for margin in margins))
    return 0.5 * total / len(net.x)


def interval(net: Net) -> float:
    def least(row: Array, x: Array) -> float:
        low, high = net.ranges(x)
        outputs = itertools.product(*np.maximum([low, high], 0).T)
        return min(float(row @ np.array(z)) for z in outputs)

    return worst_entropy(net, least)


def crown(net: Net) -> float:
    def least(row: Array, x: Array) -> float:
        low, high = net.ranges(x)

        def below(corner: Array) -> float:
            total = 0.0
            for part, h, lo, hi in zip(row, net.before(corner), low, high, strict=True):
                if lo >= 0 or hi <= 0:
                    total += part * max(h, 0.0)
                else:
                    total += part * (hi * (h - lo) / (hi - lo) if part < 0 else h * (hi > -lo))
            return float(total)

        return min(below(corner) for corner in net.corners(x))

    return worst_entropy(net, least)


REACHES: dict[str, object] = {"boundary_reach": 1.5, "decision_reach": 1.5, "last_share": 0.5}
ROWS: list[tuple[str, dict[str, object], Callable[[Net], float]]] = [
    ("none", {}, lambda net: 0.0),
    ("dropout", {}, lambda net: 0.0),
    ("weight-decay", {}, lambda net: float((net.w**2).sum() + (net.u**2).sum()) / 2),
    ("l1-sparsity", {}, lambda net: float(abs(net.w).sum() + abs(net.u).sum())),
    ("cross-lipschitz", {}, cross_lipschitz),
    ("cross-lipschitz-margin", {}, lambda net: margin_form(net, 2, 2)),
    ("cross-lipschitz-margin", {"norm": "linf"}, lambda net: margin_form(net, 1, 2)),
    ("cross-lipschitz-margin", {"norm": "l1", "power": 1}, lambda net: margin_form(net, np.inf, 1)),
    ("mmr", {**REACHES, "norm": "linf"}, lambda net: maximum_margin(net, "linf", 1.5)),
    ("mmr", {**REACHES, "norm": "l1"}, lambda net: maximum_margin(net, "l1", 1.5)),
    ("mmr", {**REACHES, "norm": "l2"}, lambda net: maximum_margin(net, "l2", 1.5)),
    ("mmr-universal", {"reach_l1": 2.0, "reach_linf": 0.8, "last_share": 0.5},
     lambda net: maximum_margin(net, "l1", 2.0) + maximum_margin(net, "linf", 0.8)),
    ("relu-stability", {"radius": RADIUS}, relu_stability),
    ("ibp", {"radius": RADIUS}, interval),
    ("crown-ibp", {"radius": RADIUS, "last_crown_share": 1.0}, crown),
]  # fmt: skip


def nets() -> tuple[Net, nn.Sequential]:
    torch.manual_seed(3)
    module = nn.Sequential(nn.Linear(INPUTS, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, CLASSES)).double()
    w, b, u, c = (parameter.detach().numpy() for parameter in module.parameters())
    x = torch.rand(3, INPUTS, dtype=torch.float64).numpy()
    net = Net(w, b, u, c, x, ())
    first = [int(net.scores(row).argmax()) for row in x]
    return Net(w, b, u, c, x, (first[0], first[1], (first[2] + 1) % CLASSES)), module  # the last is misclassified


def penalty(name: str, options: dict[str, object], net: Net, module: nn.Sequential) -> torch.Tensor:
    x = torch.tensor(net.x, requires_grad=True)
    return regulariser(name, **options).penalty(Batch(module, x, torch.tensor(net.y), module(x)))


def test_the_table_has_every_regulariser() -> None:
    assert {row[0] for row in ROWS} == set(REGULARISERS)


@pytest.mark.slow
@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row[0]} {row[1]}")
def test_a_penalty_is_its_independent_value_and_its_gradient_the_difference_in_every_weight(
    row: tuple[str, dict[str, object], Callable[[Net], float]],
) -> None:
    name, options, independent = row
    net, module = nets()
    found = penalty(name, options, net, module)
    assert found.item() == pytest.approx(independent(net), rel=2e-5, abs=1e-9)
    if not found.requires_grad:
        return
    parameters = list(module.parameters())
    for parameter, gradient in zip(parameters, torch.autograd.grad(found, parameters, allow_unused=True), strict=True):
        flat, told = parameter.data.view(-1), torch.zeros(parameter.numel()) if gradient is None else gradient.view(-1)
        for k in range(len(flat)):
            sides = []
            for sign in (1, -1):
                flat[k] += sign * STEP
                sides.append(penalty(name, options, net, module).item())
                flat[k] -= sign * STEP
            assert told[k].item() == pytest.approx((sides[0] - sides[1]) / (2 * STEP), rel=1e-5, abs=1e-7)
