"""Nodes whose bounds are to be raised: what a search requests for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from bounds.nodes.node_bounds import NodeBounds
from bounds.nodes.records import Nodes, Pass, one_after_the_other
from bounds.nodes.regrouping import gathered, parted
from bounds.tightening.base import Effort
from bounds.tightening.raising import bounded
from encoders.deadline import NEVER, Deadline
from verifier.batching.request import BuildCache, Request

MOST_NODES = 1024  # in one batch, unless one ask alone has more
WORTH_A_CORE = 3_000_000  # multiplications of a pass: what takes less is done sooner than it is handed over
SMALL = {"cpu": 20_000, "cuda": 4_000_000}  # entries of a net's rows: below, several nets side by side pay

Bounded = tuple[Nodes, Pass]


@dataclass(frozen=True, eq=False)
class NodeRequest(Request[Bounded]):
    """Nodes of one net whose bounds are to be raised to `target`."""

    engine: NodeBounds
    nodes: Nodes
    steps: int
    target: float
    effort: Effort
    deadline: Deadline = NEVER

    @property
    def kind(self) -> tuple[object, ...]:
        stack = self.engine.stack
        return stack.norm, stack.x.device, self.engine.width, self.effort

    @property
    def size(self) -> int:
        return len(self.nodes)

    @property
    def most(self) -> int:
        """A net with many rows fills a device by itself."""
        entries = self.engine.stack.x
        return 0 if entries.numel() > SMALL[entries.device.type] else MOST_NODES

    @property
    def order(self) -> int:
        """Padded to one size, nets of similar size waste least."""
        return self.engine.stack.open_phases

    def alone(self) -> Bounded:
        return bounded(self.engine, self.nodes, self.steps, self.target, self.effort)

    def parts(self, count: int) -> Sequence[NodeRequest]:
        stack, every = self.engine.stack, torch.arange(len(self.nodes), device=self.nodes.goal.device)
        pass_costs = len(every) * stack.open_phases * (stack.x.shape[2] + stack.open_phases)
        count = min(count, len(every), pass_costs // WORTH_A_CORE)
        if count < 2 or stack.x.device.type != "cpu":
            return (self,)
        return [replace(self, nodes=self.nodes.take(every[k::count])) for k in range(count)]

    def joined(self, answers: Sequence[Bounded]) -> Bounded:
        every = torch.arange(len(self.nodes), device=self.nodes.goal.device)
        place = torch.argsort(torch.cat([every[k :: len(answers)] for k in range(len(answers))]))
        nodes, passes = zip(*answers, strict=True)
        return one_after_the_other(nodes).take(place), one_after_the_other(passes).take(place)

    def together(self, requests: Sequence[Request[Bounded]], kept: BuildCache) -> list[Bounded]:
        """Nets stand side by side; they are kept for as long as they are the same."""
        own = [request for request in requests if isinstance(request, NodeRequest)]
        engines = tuple(request.engine for request in own)
        engine = kept.get(engines, lambda: NodeBounds(*(one.net for one in engines)))
        nodes = gathered(engine.stack, [request.nodes for request in own])
        target = torch.tensor([request.target for request in own], dtype=nodes.slope.dtype, device=nodes.slope.device)
        nodes, seen = bounded(engine, nodes, max(request.steps for request in own), target, self.effort)
        return list(parted(engine, nodes, seen, [len(request.nodes) for request in own]))
