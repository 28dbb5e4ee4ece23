"""What a report requests for of each sample, to be answered with other samples in one batch: a lower bound, attacks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bounds.lower import LOWER_BOUNDS, LowerBoundOptions, LowerBoundProblem
from bounds.lower.base import samples_together
from bounds.propagation.device_graph import DeviceGraph
from encoders.arrays import FloatArray, Inputs
from encoders.question import Norm, Region
from verifier.batching.request import BuildCache, Request, SampleRequest
from verifier.studies.attacks.replayed import Attacked, Attacking, Sample

Timed = tuple[float, float]
"""A bound, and the sample's part of the seconds that it took."""


@dataclass(frozen=True, eq=False)
class BoundRequest(SampleRequest[Timed]):
    """One lower bound of one sample; `known` [classes] are distances of adversaries to hold it against."""

    technique: str
    device_graph: DeviceGraph
    region: Region
    predicted: int
    norm: Norm
    radius: float
    effort: LowerBoundOptions
    known: FloatArray

    @property
    def kind(self) -> tuple[object, ...]:
        return self.technique, id(self.device_graph), self.norm, self.effort

    @property
    def most(self) -> int:
        return samples_together(self.device_graph)

    def together(self, requests: Sequence[Request[Timed]], kept: BuildCache) -> list[Timed]:
        del kept
        own = [request for request in requests if isinstance(request, BoundRequest)]
        regions, predicted, radii = (
            tuple(getattr(request, name) for request in own) for name in ("region", "predicted", "radius")
        )
        problem = LowerBoundProblem(self.device_graph, regions, predicted, self.norm, radii, self.effort)
        found = LOWER_BOUNDS.found(self.technique)().run(problem, np.array([request.known for request in own]))
        return [(float(bound), found.seconds / len(own)) for bound in found.nearest]


@dataclass(frozen=True, eq=False)
class AttacksRequest(SampleRequest[Attacked]):
    """All attacks on one sample."""

    attacking: Attacking
    x: Inputs
    mask: NDArray[np.bool_] | None

    @property
    def kind(self) -> tuple[object, ...]:
        attacking = self.attacking
        return id(attacking.model), attacking.options.norm, attacking.attacks, attacking.effort, id(self.mask)

    @property
    def most(self) -> int:
        return self.attacking.fitting

    def together(self, requests: Sequence[Request[Attacked]], kept: BuildCache) -> list[Attacked]:
        del kept
        samples = [Sample(request.x) for request in requests if isinstance(request, AttacksRequest)]
        return self.attacking.together(samples, self.mask)
