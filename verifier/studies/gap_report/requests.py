"""What a report requests of each sample, to be answered with other samples in one batch: a lower bound, an attack.

What is ended by the sample's deadline answers with what is true without it: no bound, no adversary.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bounds.lower import LOWER_BOUNDS, LowerBoundOptions, LowerBoundProblem
from bounds.lower.base import samples_together
from bounds.propagation.device_graph import DeviceGraph
from encoders.arrays import FloatArray, Inputs
from encoders.deadline import NEVER, Deadline, OutOfTimeError
from encoders.question import Norm, Region
from verifier.batching.request import BuildCache, Request, SampleRequest
from verifier.studies.attacks.replayed import Attacking, Found, Sample

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
    deadline: Deadline = NEVER

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
        started = time.monotonic()
        try:
            found = LOWER_BOUNDS.found(self.technique)().run(problem, np.array([request.known for request in own]))
        except OutOfTimeError:
            return [(0.0, (time.monotonic() - started) / len(own))] * len(own)
        return [(float(bound), found.seconds / len(own)) for bound in found.nearest]


@dataclass(frozen=True, eq=False)
class AttackRequest(SampleRequest[Found]):
    """One attack on one sample."""

    attacking: Attacking
    x: Inputs
    mask: NDArray[np.bool_] | None
    deadline: Deadline = NEVER

    @property
    def kind(self) -> tuple[object, ...]:
        attacking = self.attacking
        return id(attacking.model), attacking.options.norm, attacking.attacks, attacking.effort, id(self.mask)

    @property
    def most(self) -> int:
        return self.attacking.fitting

    def together(self, requests: Sequence[Request[Found]], kept: BuildCache) -> list[Found]:
        del kept
        samples = [Sample(request.x) for request in requests if isinstance(request, AttackRequest)]
        started = time.monotonic()
        try:
            return [one.found[0] for one in self.attacking.together(samples, self.mask)]
        except OutOfTimeError:
            (name,) = self.attacking.attacks
            return [Found(name, (time.monotonic() - started) / len(samples), None)] * len(samples)
