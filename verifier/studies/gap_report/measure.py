"""Everything that brackets one sample, beside its exact distance: each lower bound and each attack, with its seconds.

    every lower bound  ≤  exact  ≤  every attack

The best of them is the sample's bracket. Whatever is out of order is a contradiction between a proof and a replayed
adversary, and raises the alarm. Under a time limit or a budget techniques that would not fit are left out, by name.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from bounds.attacks import AttackOptions
from bounds.device import pick_device
from bounds.lower import LOWER_BOUNDS
from bounds.lower.sampled_estimate import sampled_distance
from bounds.propagation.neuron_bounds import device_graph_for
from encoders.arrays import FloatArray
from encoders.deadline import Clock, Deadline
from encoders.question import Region, goals_for
from verifier.question.merging import Proven, merged, strict
from verifier.question.model import Model
from verifier.question.problem import Progress, Running
from verifier.question.results import ORDER_TOLERANCE, Adversary, Basis, Result, Verdict, check_order
from verifier.regions import region_for
from verifier.runs.job import Given, Job, Outcome
from verifier.runs.journal import Record
from verifier.runs.proven import proof_beside
from verifier.runs.saved_adversary import save_adversary
from verifier.studies.attacks.replayed import Attacking
from verifier.studies.gap_report.budget import LEAST, OF_THE_QUESTION, Budget
from verifier.studies.gap_report.options import ReportOptions, default_bounds
from verifier.studies.gap_report.requests import AttackRequest, BoundRequest

SAMPLED = "sampled-cross-lipschitz"
FIRST = ("crown", "fgsm")  # one pass each, where time is short
OF_THE_ATTACKS = 0.5  # of the time beside the exact distance, where it is limited
OF_THE_PROOF = 0.5  # of a budget's, where proofs are asked for


@dataclass(frozen=True, eq=False)
class ReportJob(Job):
    """The distance of every sample, and beside it all chosen techniques: what a line of a report's journal holds.

    Adversaries become files in `folder`, and proofs where they are asked for. `costs` are the most seconds that each
    technique took of a sample so far, in this process.
    """

    report: ReportOptions = field(default_factory=ReportOptions)
    folder: Path = field(default=Path(), kw_only=True)
    budget: Budget | None = None
    proofs: bool = False
    costs: dict[str, float] = field(default_factory=dict)

    async def outcome(
        self, model: Model, given: Given, progress: Progress, clock: Clock, share: int
    ) -> Outcome[Result]:
        limit = self.options.time_limit
        whole = None if self.budget is None else self.budget.share(given.index, share)
        if whole is not None:
            limit = min(OF_THE_QUESTION * whole, limit or np.inf)
        limited = replace(self, options=replace(self.options, time_limit=limit))
        found = await Job.outcome(limited, model, given, progress, clock, share)
        if found.result is None:
            return found
        # A time limit is for the exact distance; what is measured beside it has as much again, and so has the proof.
        techniques, until = limit, None
        if whole is not None and limit is not None:
            until = max(0.0, min(limit, whole - clock.now()))
            techniques = until * (1.0 - OF_THE_PROOF * self.proofs)
        limits = Deadline.after(techniques, clock), Deadline.after(until, clock)
        told, best = await _Beside(self, model, given, found.result, progress, *limits).measured()
        return replace(found, result=best, beside=told)


@dataclass(frozen=True, eq=False)
class _Beside:
    """One sample's techniques, under what its exact distance has left of the time."""

    job: ReportJob
    model: Model
    given: Given
    result: Result
    progress: Progress
    deadline: Deadline  # of the techniques
    until: Deadline  # of all, the proof after them included, where there is a budget
    left_out: dict[str, dict[str, str]] = field(default_factory=lambda: {"bounds": {}, "attacks": {}, "estimates": {}})

    async def measured(self) -> tuple[Record, Result]:
        """What the record holds beside the answer, and the answer with all that was measured."""
        result, options = self.result, self.job.options
        told: Record = {
            "bounds": {}, "attacks": {}, "estimates": {}, "left_out": {}, "adversary": None,
            "proven_by": result.proven_by or result.engine,
        }  # fmt: skip
        if result.verdict is Verdict.MISCLASSIFIED:
            return told, result
        region = region_for(self.model, self.given.x, self.job.mask, options)
        told["attacks"], adversaries = await self._attacks()
        check_order(result, {}, {name: float(one["distance"]) for name, one in told["attacks"].items()})
        nearest = merged(result, {}, adversaries, options.tolerance).result
        told["bounds"], bounds = await self._bounds(region, nearest)
        told["estimates"] = self._estimates(region, nearest)
        check_order(nearest, bounds, {})
        proven = {name: Proven(distance, _basis(name)) for name, distance in bounds.items()}
        whole = merged(result, proven, adversaries, options.tolerance)
        told["left_out"] = {kind: why for kind, why in self.left_out.items() if why}
        if whole.result.adversary is not None:
            told["adversary"] = self._saved(whole.result.adversary)
        if self.job.proofs:
            told["proof"] = await self._proof(whole.result)
        return told | whole.record(), whole.result

    async def _attacks(self) -> tuple[Record, list[Adversary]]:
        options, given = self.job.options, self.given
        share = self._deadline(self.job.report.attacks is not None)
        if share.moment is not None:
            share = share.within(OF_THE_ATTACKS * share.left)
        effort = AttackOptions(seed=options.seed)
        found, adversaries = Record(), list[Adversary]()
        for name in self._cheapest_first(self.job.report.attacks_for(options.norm)):
            if not self._fits(name, "attacks", share):
                continue
            attacking = Attacking(self.model, options, (name,), effort)
            one = await AttackRequest(attacking, given.x, self.job.mask, share)
            if one.adversary is not None:
                adversaries.append(one.adversary)
            if self._finished(name, "attacks", one.seconds, share):
                found[name] = _timed(one.distance, one.seconds)
        return found, adversaries

    async def _bounds(self, region: Region, nearest: Result) -> tuple[Record, Mapping[str, float]]:
        """What is shown of each bound, and what each proves: one that was stopped proves something, too."""
        options, effort = self.job.options, self.job.report.effort
        device_graph = device_graph_for(self.model.graph, pick_device(options.device))
        radius = min(nearest.upper, region.reach(nearest.norm))
        known = np.full(self.model.classes, np.inf)
        if nearest.adversary is not None:
            known[nearest.adversary.label] = nearest.upper * (1.0 + ORDER_TOLERANCE)  # a float32 input, replayed
        deadline = self._deadline(self.job.report.bounds is not None)
        found, proven = Record(), dict[str, float]()
        for name in self._cheapest_first(self.job.report.bounds or default_bounds()):
            technique = LOWER_BOUNDS.found(name)()
            if nearest.norm not in technique.norms or technique.unsupported(self.model.graph) is not None:
                continue
            if not self._fits(name, "bounds", deadline):
                continue
            bound, seconds = await BoundRequest(
                name, device_graph, region, nearest.predicted, nearest.norm, radius, effort, known, deadline
            )
            proven[name] = bound
            if self._finished(name, "bounds", seconds, deadline):
                found[name] = _timed(bound, seconds)
        return found, proven

    def _estimates(self, region: Region, nearest: Result) -> Record:
        if not self._fits(SAMPLED, "estimates", self.deadline):
            return {}
        device_graph = device_graph_for(self.model.graph, pick_device(self.job.options.device))
        goals = goals_for(nearest.predicted, self.model.classes, None, 0.0)
        started = time.monotonic()
        # Within twice the nearest adversary: the estimate is not told where the distance lies.
        radius = min(2.0 * nearest.upper, region.reach(nearest.norm))
        found = sampled_distance(device_graph, region, nearest.norm, goals, radius, self.job.options.seed)
        return {SAMPLED: _timed(found, time.monotonic() - started)}

    def _cheapest_first(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """In the order of the table; under a limit what proves most for its time, then by cost as far as it is known.

        What has run before comes before what has not, so that few techniques run on many samples.
        """
        if self.deadline.moment is None:
            return names
        return tuple(sorted(names, key=lambda name: (name not in FIRST, self.job.costs.get(name, np.inf))))

    def _deadline(self, named: bool) -> Deadline:
        """Until when techniques may work: what a reader named is ended by a budget alone."""
        return Deadline(None, self.deadline.clock) if named and self.job.budget is None else self.deadline

    def _fits(self, name: str, kind: str, deadline: Deadline) -> bool:
        """Whether there is time for the technique, as far as its cost is known."""
        cost = self.job.costs.get(name, 0.0)
        if deadline.left > cost:
            running = Running(self.result.lower, self.result.upper, self.result.basis, technique=name)
            self.progress(replace(running, answer=self.result))
            return True
        self.left_out[kind][name] = f"left out: {cost:.2g} s" if cost else "left out"
        return False

    def _finished(self, name: str, kind: str, seconds: float, deadline: Deadline) -> bool:
        """Whether the technique came to its end; its cost is remembered, of one that was stopped as at least that."""
        self.job.costs[name] = max(self.job.costs.get(name, 0.0), seconds)
        if deadline.passed:
            self.left_out[kind][name] = f"stopped: {seconds:.2g} s"
            return False
        return True

    def _saved(self, adversary: Adversary) -> str:
        """The adversary as files; where they are, from the report's folder."""
        place = Path("adversaries") / str(self.job.options.norm)
        options = self.job.options
        first, *_ = save_adversary(self.job.folder / place, self.given.index, self.given.x, adversary, options.box)
        return (place / first.name).as_posix()

    async def _proof(self, result: Result) -> Record:
        """What became of the proof, in a time of its own; where its file is, from the report's folder."""
        place = Path("proofs") / str(self.job.options.norm)
        limit = min(self.job.options.time_limit or np.inf, max(self.until.left, LEAST))
        options = replace(self.job.options, time_limit=None if np.isinf(limit) else limit)
        job = replace(self.job, options=options, folder=self.job.folder / place)
        told = await proof_beside(self.model, job, self.given.x, result)
        proof: Record = told["proof"]
        return proof if proof["file"] is None else proof | {"file": (place / proof["file"]).as_posix()}


def _timed(distance: float, seconds: float) -> Record:
    return {"distance": strict(distance), "seconds": round(seconds, 6)}


def _basis(bound: str) -> Basis:
    return Basis.SOLVER if LOWER_BOUNDS.found(bound).rests_on_solver else Basis.RIGOROUS


def adversary_of(folder: Path, record: Record) -> tuple[FloatArray, FloatArray] | None:
    """The nearest adversary that a journal's line names, flat, and the scores that it was replayed to; None without."""
    path = folder / str(record.get("adversary"))
    if record.get("adversary") is None or not path.is_file():
        return None
    with np.load(path, allow_pickle=False) as held:
        return held["adversary"].astype(np.float64).reshape(-1), held["scores"].astype(np.float64).reshape(-1)
