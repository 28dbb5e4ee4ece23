"""A sample to be attacked: what a question requests for before its search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bounds.attacks import AttackProblem, Candidates
from bounds.attacks.batch import fitting
from bounds.attacks.portfolio import walked
from encoders.deadline import NEVER, Deadline
from verifier.batching.request import BuildCache, Request, SampleRequest


@dataclass(frozen=True, eq=False)
class AttackRequest(SampleRequest[Candidates]):
    """The walks of the portfolio; its linear programs are each sample's own affair (`portfolio.polished`)."""

    problem: AttackProblem
    deadline: Deadline = NEVER

    @property
    def kind(self) -> tuple[object, ...]:
        return self.problem.kind

    @property
    def most(self) -> int:
        return fitting(self.problem.device_graph, len(self.problem.goals), self.problem.options)

    def together(self, requests: Sequence[Request[Candidates]], kept: BuildCache) -> list[Candidates]:
        del kept
        return walked([request.problem for request in requests if isinstance(request, AttackRequest)])
