"""What a report asks for of each sample, to be answered with other samples in one batch: a lower bound, attacks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bounds.lower import LOWER_BOUNDS, LowerBoundOptions, LowerBoundProblem
from bounds.lower.base import samples_together
from bounds.propagation.device_graph import DeviceGraph
from encoders.layer_graph.linear_maps import FloatArray, Inputs
from encoders.question import Norm, Region
from verifier.batching.request import Ask, BuildCache, SampleRequest
from verifier.studies.attacks.replayed import Attacked, Attacking, Sample

Timed = tuple[float, float]
"""A bound, and the sample's part of the seconds that it took."""


@dataclass(frozen=True, eq=False)
class BoundRequest(SampleRequest[Timed]):
    """One lower bound of one sample; `known` [classes] are distances of adversaries to hold it against."""

    technique: str
    lowered: DeviceGraph
    region: Region
    predicted: int
    norm: Norm
    radius: float
    effort: LowerBoundOptions
    known: FloatArray

    @property
    def kind(self) -> tuple[object, ...]:
        return self.technique, id(self.lowered), self.norm, self.effort

    @property
    def most(self) -> int:
        return samples_together(self.lowered)

    def together(self, asks: Sequence[Ask[Timed]], kept: BuildCache) -> list[Timed]:
        del kept
        own = [ask for ask in asks if isinstance(ask, BoundRequest)]
        regions, predicted, radii = (
            tuple(getattr(ask, name) for ask in own) for name in ("region", "predicted", "radius")
        )
        problem = LowerBoundProblem(self.lowered, regions, predicted, self.norm, radii, self.effort)
        found = LOWER_BOUNDS[self.technique]().run(problem, np.array([ask.known for ask in own]))
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

    def together(self, asks: Sequence[Ask[Attacked]], kept: BuildCache) -> list[Attacked]:
        del kept
        samples = [Sample(ask.x) for ask in asks if isinstance(ask, AttacksRequest)]
        return self.attacking.together(samples, self.mask)
