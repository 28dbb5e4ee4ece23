"""A sample to be attacked: what a question asks for before its search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bounds.attacks import AttackProblem, Candidates
from bounds.attacks.batch import fitting
from bounds.attacks.portfolio import walked
from verifier.engines.turns import Ask, Kept


@dataclass(frozen=True, eq=False)
class AttackAsk(Ask[Candidates]):
    """The walks of the portfolio; its linear programs are each sample's own affair (`portfolio.polished`)."""

    problem: AttackProblem

    @property
    def kind(self) -> tuple[object, ...]:
        return self.problem.kind

    @property
    def size(self) -> int:
        return 1

    @property
    def most(self) -> int:
        return fitting(self.problem.lowered, len(self.problem.goals), self.problem.options)

    def alone(self) -> Candidates:
        return walked([self.problem])[0]

    def together(self, asks: Sequence[Ask[Candidates]], kept: Kept) -> list[Candidates]:
        del kept
        return walked([ask.problem for ask in asks if isinstance(ask, AttackAsk)])
