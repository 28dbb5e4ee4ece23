"""Greatest losses and output ranges of many samples: what is asked of each, and its line in a journal."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from encoders.arrays import Inputs
from encoders.deadline import Clock
from verifier.greatest_value import UNKNOWN, KnownValue
from verifier.margin_answer import NO_LOSS, Closed, GreatestLoss, KnownLoss, OutputRange, margin_asked, range_asked
from verifier.question.model import Model
from verifier.question.problem import Progress, Running
from verifier.question.results import Adversary, Basis, weakest
from verifier.runs.job import Asking, Given, Outcome
from verifier.runs.journal import Record, number
from verifier.runs.proven import loss_proof


@dataclass(frozen=True, eq=False)
class MarginJob(Asking[GreatestLoss]):
    """The greatest adversarial loss of every sample within the radius."""

    each: bool = field(default=False, kw_only=True)  # every target's own bracket, too
    proofs: bool = field(default=False, kw_only=True)  # written into the folder

    async def outcome(
        self, model: Model, given: Given, progress: Progress, clock: Clock, share: int
    ) -> Outcome[GreatestLoss]:
        about = (given.x, float(self.radius or 0.0), self.options, given.label, given.index, self.mask)
        answer = await margin_asked(
            model, *about, self.each, progress, clock, self.workers, share, given.known or NO_LOSS
        )
        beside = loss_proof(model, self, given.x, answer) if self.proofs else None
        return Outcome(given.index, answer, beside=beside)

    def record(self, answer: GreatestLoss, run: Mapping[str, Any]) -> Record:
        targets = {} if answer.by_target is None else {"by_target": _by_target(answer.by_target)}
        return {
            "index": answer.index,
            "label": answer.label,
            "predicted": answer.predicted,
            "against": answer.against,
            "norm": str(answer.norm),
            "radius": answer.radius,
            "verdict": str(answer.verdict),
            "lower": number(answer.lower),
            "upper": number(answer.upper),
            "target": answer.target,
            "found_by": None if answer.worst is None else answer.worst.found_by,
            **targets,
            "seconds": round(answer.seconds, 6),
            "engine": answer.engine,
            "basis": str(answer.basis),
            "nodes": answer.nodes,
            **({} if answer.why_open is None else {"why_open": answer.why_open}),
            "run": dict(run),
        }

    def witnesses(self, answer: GreatestLoss) -> dict[str, Adversary]:
        return {} if answer.worst is None else {"worst": answer.worst}

    def known(self, record: Record, witnesses: Mapping[str, Adversary]) -> KnownLoss:
        upper, basis = float(record["upper"]), Basis(record["basis"])
        by_target = {int(target): float(sides[1]) for target, sides in record.get("by_target", {}).items()}
        return KnownLoss(KnownValue(upper, basis, _inputs(witnesses.get("worst"))), by_target)


@dataclass(frozen=True, eq=False)
class Ranges:
    """The ranges of several combinations of the outputs around one sample."""

    index: int
    label: int | None
    predicted: int
    ranges: tuple[OutputRange, ...]
    seconds: float


@dataclass(frozen=True, eq=False)
class RangeJob(Asking[Ranges]):
    """The ranges of combinations of the outputs around every sample; without a radius, over the whole box."""

    combinations: Sequence[tuple[float, ...]] = field(kw_only=True)

    async def outcome(
        self, model: Model, given: Given, progress: Progress, clock: Clock, share: int
    ) -> Outcome[Ranges]:
        predicted = int(model.scores(given.x.reshape(1, -1))[0].argmax())
        found: list[OutputRange] = []

        def ranges(*more: OutputRange) -> Ranges:
            return Ranges(given.index, given.label, predicted, (*found, *more), clock.now())

        def of(k: int) -> tuple[KnownValue, KnownValue]:
            return (UNKNOWN, UNKNOWN) if given.known is None else tuple(given.known[k])

        def told(running: Running) -> None:
            begun = len(found) + 1
            open_still = (_before(row, of(k)) for k, row in enumerate(self.combinations[begun:], begun))
            progress(replace(running, answer=ranges(running.answer, *open_still)))

        about = (given.x, self.radius, given.index, self.mask, told, clock, self.workers, share)
        for k, row in enumerate(self.combinations):
            found.append(await range_asked(model, row, self.options, *about, of(k)))
        return Outcome(given.index, ranges())

    def record(self, answer: Ranges, run: Mapping[str, Any]) -> Record:
        verdicts = {one.verdict for one in answer.ranges}  # all are empty where one is
        return {
            "index": answer.index,
            "label": answer.label,
            "predicted": answer.predicted,
            "norm": str(self.options.norm),
            "radius": self.radius,
            "verdict": str(verdicts.pop() if len(verdicts) == 1 else Closed.UNRESOLVED),
            "ranges": [
                {
                    "combination": list(one.combination),
                    "least": [number(side) for side in one.least],
                    "greatest": [number(side) for side in one.greatest],
                    "verdict": str(one.verdict),
                    "basis": str(one.basis),
                    "seconds": round(one.seconds, 6),
                    "nodes": one.nodes,
                    **({} if one.why_open is None else {"why_open": one.why_open}),
                }
                for one in answer.ranges
            ],
            "seconds": round(answer.seconds, 6),
            "engine": self.options.engine,
            "basis": str(weakest(one.basis for one in answer.ranges)),
            "nodes": sum(one.nodes for one in answer.ranges),
            "run": dict(run),
        }

    def witnesses(self, answer: Ranges) -> dict[str, Adversary]:
        found = {}
        for k, one in enumerate(answer.ranges):
            for name, witness in (("lowest", one.lowest), ("highest", one.highest)):
                if witness is not None:
                    found[f"{name}-{k}"] = witness
        return found

    def known(self, record: Record, witnesses: Mapping[str, Adversary]) -> list[tuple[KnownValue, KnownValue]]:
        return [
            (
                KnownValue(-float(one["least"][0]), Basis(one["basis"]), _inputs(witnesses.get(f"lowest-{k}"))),
                KnownValue(float(one["greatest"][1]), Basis(one["basis"]), _inputs(witnesses.get(f"highest-{k}"))),
            )
            for k, one in enumerate(record["ranges"])
        ]


def _inputs(found: Adversary | None) -> Inputs | None:
    return None if found is None else found.input.reshape(1, -1)


def _before(combination: Sequence[float], known: tuple[KnownValue, KnownValue]) -> OutputRange:
    """What is known of a range before it is asked about; what attained its inner ends is not replayed yet."""
    least, greatest = known
    sides = (-least.upper, math.inf), (-math.inf, greatest.upper)
    basis = weakest((least.basis, greatest.basis))
    return OutputRange(tuple(combination), *sides, Closed.UNRESOLVED, basis, 0.0, None, None)


def _by_target(brackets: Mapping[int, tuple[float, float]]) -> dict[str, list[float | str]]:
    return {str(target): [number(side) for side in bracket] for target, bracket in brackets.items()}
