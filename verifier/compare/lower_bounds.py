"""The cross-Lipschitz lower bound of one sample, as compare shows it beside the exact distance.

A value above the exact distance raises the alarm in verifier/compare/measure.py.
"""

from __future__ import annotations

from bounds.lower import LowerBoundProblem
from bounds.lower.cross_lipschitz import LocalCrossLipschitz
from bounds.network import lowered_for
from encoders.question import Norm, Region
from verifier.model import Model


def cross_lipschitz_lower(model: Model, region: Region, norm: Norm, predicted: int, radius: float) -> float:
    """A proven lower bound on the distance: the local cross-Lipschitz one, over all targets, at most `radius`."""
    reach = min(radius, region.reach(norm))
    problem = LowerBoundProblem(lowered_for(model.graph), (region,), (predicted,), norm, (reach,))
    return float(LocalCrossLipschitz().run(problem).nearest[0])
