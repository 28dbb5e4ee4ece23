"""Witnesses where a file counts as it is executed: what wins in onnxruntime's replay is an adversary, and that is all.

Proofs are then about *eased* goals, which every input reaches that wins in some execution. An input may reach them and
win in none: no proof goes beyond the nearest of those that is known, so nothing more is asked of one (`enough`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from encoders.arrays import FloatArray, Inputs
from encoders.question import Goal, Norm
from verifier.question.incumbent import By, Incumbent

SHORT = 0.1  # of the tolerance: so far short of the nearest possible adversary a proof may end
NEARLY = 1e-3  # of the easing: a point that misses an eased goal by less is taken for one that reaches it


@dataclass(eq=False)
class ExecutedIncumbent(Incumbent):
    """The nearest input that wins in the replay; `possible` is how near one is that reaches an eased goal."""

    goals: tuple[Goal, ...] = ()
    error: float = 0.0
    tolerance: float = 0.0
    possible: float = float("inf")

    @property
    def enough(self) -> float:
        if self.norm is Norm.L0 or self.possible == float("inf"):
            return min(self.upper, self.possible)
        return min(self.upper, max(0.0, self.possible - SHORT * self.tolerance * max(1.0, self.possible)))

    def ease(self, goals: tuple[Goal, ...], error: float, tolerance: float) -> None:
        """What proofs are about from now on: goals that are `error` easier to reach, at the most."""
        self.goals, self.error, self.tolerance, self.possible = goals, error, tolerance, float("inf")
        found = [] if self.best is None else [self.best.input.astype(np.float64)]
        self._note(np.array([self.region.center, *found]))

    def genuine(self, inputs: Inputs) -> NDArray[np.bool_]:
        return np.ones(len(inputs), dtype=bool)

    def offer(self, candidates: FloatArray, by: By) -> bool:
        points = np.atleast_2d(np.asarray(candidates, dtype=np.float64))
        self._note(points[np.isfinite(points).all(axis=1)])
        return super().offer(candidates, by)

    def _note(self, points: FloatArray) -> None:
        """Which of the points [B, n] reach an eased goal in real arithmetic; guides the search, and proves nothing."""
        points = np.clip(points, self.region.lower, self.region.upper)
        distances = self.region.length(self.norm, points - self.region.center)
        nearer = distances < self.possible
        if not (self.goals and nearer.any()):
            return
        scores, miss = self.real(points[nearer]), NEARLY * self.error
        reached = np.any([((scores @ g.rows.T + g.offset) <= miss).all(axis=1) for g in self.goals], axis=0)
        self.possible = min(self.possible, float(distances[nearer][reached].min(initial=np.inf)))
