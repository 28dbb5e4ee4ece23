"""L-BFGS in the box: squared distance plus a weight times the cross-entropy of the goal's class.

Szegedy, Zaremba, Sutskever, Bruna, Erhan, Goodfellow & Fergus, Intriguing properties of neural networks, 2014: the
first attack there was. The weight is searched for: more while the class is not reached, then bisection of its
logarithm. SciPy's L-BFGS-B takes one function at a time, so goals take turns.
"""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
import torch
from scipy.optimize import minimize

from bounds.attacks.base import Attack, AttackBatch, Candidates, Runs
from bounds.attacks.walk import Nearest
from encoders.arrays import FloatArray
from encoders.question import Norm

WEIGHTS = 10  # tried one after the other
FIRST, GROW = 1.0, 10.0


class Lbfgs(Attack):
    """See the module."""

    name: ClassVar[str] = "l-bfgs"
    only_named: ClassVar[bool] = True  # goals take turns: some seconds a sample with ten classes
    norms: ClassVar[frozenset[Norm]] = frozenset({Norm.L2})

    def search(self, batch: AttackBatch, known: Candidates) -> Candidates:
        found = []
        for goal in range(len(batch.goals)):
            runs = batch.runs(torch.tensor([goal], device=batch.rows.device))
            nearest = Nearest.of(runs)
            self._walk(runs, nearest)
            found.append(nearest.proposals())
        return Candidates.merged(found)

    def _walk(self, runs: Runs, nearest: Nearest) -> None:
        """All weights for one goal, every point that is evaluated shown to `nearest`."""
        low, high, weight = 0.0, math.inf, FIRST
        for _ in range(WEIGHTS):
            if runs.batch.time_left <= 0:
                return
            seen = Nearest.of(runs)
            self._minimise(runs, weight, seen)
            won = bool(seen.distance.isfinite())
            nearest.see(seen.best, torch.where(seen.distance.isfinite(), -1.0, 1.0).to(seen.distance))
            low, high = (low, weight) if won else (weight, high)
            weight = weight * GROW if math.isinf(high) else math.sqrt(low * high) if low else high / GROW

    @staticmethod
    def _minimise(runs: Runs, weight: float, seen: Nearest) -> None:
        """One run from the center."""
        device_graph, center = runs.batch.device_graph, runs.center[0]
        target = runs.batch.targets[runs.goal]

        def value_and_slope(point: FloatArray) -> tuple[float, FloatArray]:
            with torch.enable_grad():
                x = device_graph.tensor(point[None].copy()).requires_grad_()
                scores = device_graph.forward(x)
                loss = (x - center).square().sum() + weight * torch.nn.functional.cross_entropy(scores, target)
                (gradient,) = torch.autograd.grad(loss, x)
            seen.see(x.detach(), runs.worst_of(scores.detach()))
            return float(loss.detach()), gradient[0].nan_to_num().cpu().numpy()

        sides = np.stack([runs.lower[0].cpu().numpy(), runs.upper[0].cpu().numpy()], axis=1)
        steps = runs.batch.options.steps
        minimize(
            value_and_slope, center.cpu().numpy(), jac=True, method="L-BFGS-B", bounds=sides,
            options={"maxiter": steps, "maxfun": 2 * steps},
        )  # fmt: skip
