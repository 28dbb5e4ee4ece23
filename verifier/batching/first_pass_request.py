"""One backward pass over a ball: what a question requests for before anything else, and often all it needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bounds.lower.base import samples_together
from bounds.propagation.device_graph import DeviceGraph
from bounds.tightening.first_pass import nearest_together
from encoders.deadline import NEVER, Deadline, OutOfTimeError
from encoders.question import Goal, Norm, Region
from verifier.batching.request import BuildCache, Request, SampleRequest


@dataclass(frozen=True, eq=False)
class FirstPassRequest(SampleRequest[float]):
    """How far the nearest adversary of any goal must be, as one pass proves it; at most `radius`."""

    device_graph: DeviceGraph
    region: Region
    norm: Norm
    goals: tuple[Goal, ...]
    radius: float
    deadline: Deadline = NEVER

    @property
    def kind(self) -> tuple[object, ...]:
        return id(self.device_graph), self.norm

    @property
    def most(self) -> int:
        return samples_together(self.device_graph)

    def together(self, requests: Sequence[Request[float]], kept: BuildCache) -> list[float]:
        del kept
        own = [request for request in requests if isinstance(request, FirstPassRequest)]
        regions, goals, radii = ([getattr(request, name) for request in own] for name in ("region", "goals", "radius"))
        try:
            return nearest_together(self.device_graph, regions, self.norm, goals, radii)
        except OutOfTimeError:
            return [0.0] * len(own)
