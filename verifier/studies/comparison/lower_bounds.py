"""Lower bounds of one sample beside its exact distance: the cross-Lipschitz one that compare shows, and CROWN's.

A search that has little time may end before it proves anything of a deep net, where one backward pass does.
A value above the exact distance raises the alarm (`verifier.question.results.check_order`).
"""

from __future__ import annotations

import numpy as np

from bounds.lower import LowerBound, LowerBoundProblem
from bounds.lower.cross_lipschitz import LocalCrossLipschitz
from bounds.lower.relaxations import Crown
from bounds.propagation.neuron_bounds import device_graph_for
from encoders.question import Region
from verifier.question.model import Model
from verifier.question.results import ORDER_TOLERANCE, Result


def cross_lipschitz_lower(model: Model, region: Region, result: Result) -> float:
    """A proven lower bound on the distance: the local cross-Lipschitz one, over all targets."""
    return _lower(LocalCrossLipschitz(), model, region, result)


def crown_lower(model: Model, region: Region, result: Result) -> float:
    """A proven lower bound on the distance by backward passes on a few balls."""
    return _lower(Crown(), model, region, result)


def _lower(technique: LowerBound, model: Model, region: Region, result: Result) -> float:
    reach = min(result.upper, region.reach(result.norm))
    problem = LowerBoundProblem(device_graph_for(model.graph), (region,), (result.predicted,), result.norm, (reach,))
    known = np.full((1, model.classes), np.inf)
    if result.adversary is not None:
        known[0, result.adversary.label] = result.upper * (1.0 + ORDER_TOLERANCE)
    return float(technique.run(problem, known).nearest[0])
