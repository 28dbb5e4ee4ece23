"""Everything that brackets one sample, beside its exact distance: each lower bound and each attack, with its seconds.

    every lower bound  ≤  exact  ≤  every attack

The best of them is the sample's bracket. Whatever is out of order is a contradiction between a proof and a replayed
adversary, and raises the alarm.
"""

from __future__ import annotations

import base64
import time
from dataclasses import dataclass

import numpy as np

from bounds.attacks import AttackOptions
from bounds.device import pick_device
from bounds.lower import LOWER_BOUNDS
from bounds.lower.sampled_estimate import sampled_distance
from bounds.propagation.neuron_bounds import device_graph_for
from encoders.arrays import FloatArray, Inputs
from encoders.question import Region, goals_for
from verifier.question.merging import Proven, merged, strict
from verifier.question.model import Model
from verifier.question.results import ORDER_TOLERANCE, Basis, Result, Verdict, check_order
from verifier.regions import region_for
from verifier.runs.job import Job
from verifier.runs.journal import Record
from verifier.studies.attacks.replayed import Attacked, Attacking
from verifier.studies.gap_report.options import ReportOptions, default_bounds
from verifier.studies.gap_report.requests import AttacksRequest, BoundRequest

SAMPLED = "sampled-cross-lipschitz"


@dataclass(frozen=True)
class Brackets:
    """Measures all chosen techniques of one sample; what a report's journal holds besides the exact bracket."""

    options: ReportOptions

    async def __call__(self, model: Model, job: Job, x: Inputs, result: Result) -> Record:
        told: Record = {"bounds": {}, "attacks": {}, "estimates": {}, "adversary": None, "proven_by": result.engine}
        if result.verdict is Verdict.MISCLASSIFIED:
            return told
        region, tolerance = region_for(model, x, job.mask, job.options), job.options.tolerance
        attacked = await self._attacks(model, job, x)
        told["attacks"] = {one.attack: _timed(one.distance, one.seconds) for one in attacked.found}
        check_order(result, {}, {one.attack: one.distance for one in attacked.found})
        adversaries = [one.adversary for one in attacked.found if one.adversary is not None]
        nearest = merged(result, {}, adversaries, tolerance).result
        told["bounds"] = await self._bounds(model, job, region, nearest)
        told["estimates"] = self._estimates(model, job, region, nearest)
        bounds = {name: float(one["distance"]) for name, one in told["bounds"].items()}
        check_order(nearest, bounds, {})
        proven = {name: Proven(distance, _basis(name)) for name, distance in bounds.items()}
        whole = merged(result, proven, adversaries, tolerance)
        if whole.result.adversary is not None:
            told["adversary"] = base64.b64encode(whole.result.adversary.input.astype("<f4").tobytes()).decode()
        return told | whole.record()

    def _estimates(self, model: Model, job: Job, region: Region, result: Result) -> Record:
        device_graph = device_graph_for(model.graph, pick_device(job.options.device))
        goals = goals_for(result.predicted, model.classes, None, 0.0)
        started = time.monotonic()
        # Within twice the nearest adversary: the estimate is not told where the distance lies.
        radius = min(2.0 * result.upper, region.reach(result.norm))
        found = sampled_distance(device_graph, region, result.norm, goals, radius, job.options.seed)
        return {SAMPLED: _timed(found, time.monotonic() - started)}

    async def _bounds(self, model: Model, job: Job, region: Region, result: Result) -> Record:
        device_graph = device_graph_for(model.graph, pick_device(job.options.device))
        radius = min(result.upper, region.reach(result.norm))
        known = np.full(model.classes, np.inf)
        if result.adversary is not None:
            known[result.adversary.label] = result.upper * (1.0 + ORDER_TOLERANCE)  # a float32 input, replayed
        found: Record = {}
        for name in self.options.bounds or default_bounds():
            technique = LOWER_BOUNDS.found(name)()
            if result.norm not in technique.norms or technique.unsupported(model.graph) is not None:
                continue
            ask = BoundRequest(
                name, device_graph, region, result.predicted, result.norm, radius, self.options.effort, known
            )
            bound, seconds = await ask
            found[name] = _timed(bound, seconds)
        return found

    async def _attacks(self, model: Model, job: Job, x: Inputs) -> Attacked:
        names = self.options.attacks_for(job.options.norm)
        attacking = Attacking(model, job.options, names, AttackOptions(seed=job.options.seed))
        return await AttacksRequest(attacking, x, job.mask)


def _timed(distance: float, seconds: float) -> Record:
    return {"distance": strict(distance), "seconds": round(seconds, 6)}


def _basis(bound: str) -> Basis:
    return Basis.SOLVER if LOWER_BOUNDS.found(bound).rests_on_solver else Basis.RIGOROUS


def adversary_of(record: Record) -> FloatArray | None:
    """The nearest adversary that a journal's line holds, flat."""
    if record["adversary"] is None:
        return None
    return np.frombuffer(base64.b64decode(record["adversary"]), "<f4").astype(np.float64)
