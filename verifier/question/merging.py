"""The best of everything that was computed of one sample becomes its bracket.

A study asks for a distance, and beside it for lower bounds and attacks. Any of these may know more than an answer that
ran out of time: the highest proven bound is the lower side, the nearest replayed adversary the upper one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from verifier.question.results import ORDER_TOLERANCE, Adversary, Basis, Result, Verdict, meet


@dataclass(frozen=True, eq=False)
class Proven:
    """A lower bound on a sample's distance, and what it rests on."""

    distance: float
    basis: Basis = Basis.RIGOROUS


@dataclass(frozen=True, eq=False)
class Merged:
    """A sample's answer after all that was computed; `proven_by` names the engine or bound of its lower side."""

    result: Result
    proven_by: str

    def record(self) -> dict[str, Any]:
        """What of a journal's line it replaces, and who proved the lower side."""
        found = self.result
        return {
            "verdict": str(found.verdict), "lower": strict(found.lower), "upper": strict(found.upper),
            "target": found.target, "found_by": found.found_by, "basis": str(found.basis), "proven_by": self.proven_by,
        }  # fmt: skip


def merged(result: Result, bounds: Mapping[str, Proven], adversaries: Iterable[Adversary], tolerance: float) -> Merged:
    """The answer to a distance with the highest of the bounds and the nearest of the adversaries.

    A sample is exact where the two meet within the tolerance, as `verifier/answer.py` judges it.
    """
    prover = result.proven_by or result.engine
    if result.verdict is Verdict.MISCLASSIFIED:
        return Merged(result, prover)
    found = [one for one in (result.adversary, *adversaries) if one is not None]
    nearest = min(found, key=lambda one: one.distance, default=None)
    upper = result.upper if nearest is None else min(result.upper, nearest.distance)
    proven = [(prover, Proven(result.lower, result.basis)), *bounds.items()]
    highest = max(one.distance for _, one in proven)
    # What rests on a solver is named only where it says more than the rest, by more than rounding.
    near = [one for one in proven if one[1].distance >= highest * (1.0 - ORDER_TOLERANCE)]
    name, best = max(near, key=lambda one: (one[1].basis is Basis.RIGOROUS, one[1].distance))
    lower = best.distance if best.distance == float("inf") else min(best.distance, upper)
    verdict = Verdict.EXACT if meet(lower, upper, tolerance) else Verdict.UNRESOLVED
    changed = replace(result, verdict=verdict, lower=lower, upper=upper, basis=best.basis, adversary=nearest)
    return Merged(changed, name)


def strict(value: float) -> float | str:
    """The value as strict JSON has it: an infinity is the string "inf"."""
    return float(value) if np.isfinite(value) else str(float(value))
