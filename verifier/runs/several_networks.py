"""Questions about several networks, or one at several samples: what is asked of each row, and its line in a journal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, TypeVar

from encoders.arrays import Inputs
from encoders.deadline import Clock
from verifier.greatest_value import UNKNOWN, KnownValue
from verifier.network_difference import GreatestDifference, difference_asked
from verifier.question.model import Model
from verifier.question.problem import NOTHING, Known, Progress, Running
from verifier.question.results import Adversary, Basis
from verifier.question.side_by_side import SideBySide
from verifier.runs.job import Asking, Given, Outcome, known_of
from verifier.runs.journal import Record, number
from verifier.runs.journalled import Run, run_of
from verifier.runs.samples import Samples, origin_of
from verifier.runs.saved_adversary import save_difference, save_joint
from verifier.several_networks import (
    JointDistance,
    transfer_asked,
    universal_asked,
)

F = TypeVar("F")
PERTURBATION, DIFFERENCE = "perturbation", "difference"


@dataclass(frozen=True, eq=False)
class Row(Generic[F]):
    """What was found of one row, and the label of the sample that it is about, if it is about one."""

    index: int
    label: int | None
    found: F


def _told(progress: Progress, given: Given) -> Progress:
    """What is told on the way, as an answer to the row."""

    def told(running: Running) -> None:
        progress(replace(running, answer=Row(given.index, given.label, running.answer)))

    return told


@dataclass(frozen=True, eq=False)
class JointJob(Asking[Row[JointDistance]]):
    """A least perturbation that fools all `models`, each at what it reads."""

    models: tuple[Model, ...] = field(kw_only=True)

    def record(self, answer: Row[JointDistance], run: Mapping[str, Any]) -> Record:
        found = answer.found
        return {
            "index": answer.index,
            **self.about(answer),
            "classes": list(found.classes),
            "fooled": None if found.fooled is None else list(found.fooled),
            "norm": str(found.norm),
            "verdict": str(found.verdict),
            "lower": number(found.lower),
            "upper": number(found.upper),
            "seconds": round(found.seconds, 6),
            "engine": found.engine,
            "basis": str(found.basis),
            "nodes": found.nodes,
            "open_phases": found.open_phases,
            **({} if found.why_open is None else {"why_open": found.why_open}),
            "run": dict(run),
        }

    def about(self, answer: Row[JointDistance]) -> Record:
        """Which input a row is about, beside its index."""
        return {"label": answer.label}

    def witnesses(self, answer: Row[JointDistance]) -> dict[str, Adversary]:
        return {} if answer.found.adversary is None else {PERTURBATION: answer.found.adversary}

    def save(self, folder: Path, index: int, original: Inputs, name: str, witness: Adversary) -> None:
        save_joint(folder, index, original, witness, self.models, self.options.box)

    def known(self, record: Record, witnesses: Mapping[str, Adversary]) -> Known:
        return known_of(record, witnesses, PERTURBATION)


@dataclass(frozen=True, eq=False)
class TransferJob(JointJob):
    """The least perturbation of every sample that fools all networks."""

    async def outcome(
        self, model: Model, given: Given, progress: Progress, clock: Clock, share: int
    ) -> Outcome[Row[JointDistance]]:
        networks, about = SideBySide(self.models), (given.x, self.options, self.mask)
        found = await transfer_asked(networks, *about, _told(progress, given), clock, given.known or NOTHING)
        return Outcome(given.index, Row(given.index, given.label, found))


@dataclass(frozen=True, eq=False)
class UniversalJob(JointJob):
    """The least perturbation that fools all of some samples: one row, whose input holds them all."""

    samples: tuple[int, ...] = field(kw_only=True)

    @property
    def identity(self) -> Record:
        return {**super().identity, "samples": list(self.samples)}

    def about(self, answer: Row[JointDistance]) -> Record:
        return {"samples": list(self.samples)}

    async def outcome(
        self, model: Model, given: Given, progress: Progress, clock: Clock, share: int
    ) -> Outcome[Row[JointDistance]]:
        about = (given.x, self.options, self.mask)
        found = await universal_asked(model, *about, _told(progress, given), clock, given.known or NOTHING)
        return Outcome(given.index, Row(given.index, None, found))


@dataclass(frozen=True, eq=False)
class DifferenceJob(Asking[Row[GreatestDifference]]):
    """The greatest difference of two networks around every sample."""

    models: tuple[Model, Model] = field(kw_only=True)

    async def outcome(
        self, model: Model, given: Given, progress: Progress, clock: Clock, share: int
    ) -> Outcome[Row[GreatestDifference]]:
        networks, about = SideBySide(self.models), (given.x, self.radius, self.options, self.mask)
        found = await difference_asked(networks, *about, _told(progress, given), clock, given.known or UNKNOWN)
        return Outcome(given.index, Row(given.index, None, found))

    def record(self, answer: Row[GreatestDifference], run: Mapping[str, Any]) -> Record:
        found = answer.found
        return {
            "index": answer.index,
            "norm": str(found.norm),
            "radius": found.radius,
            "verdict": str(found.verdict),
            "lower": number(found.lower),
            "upper": number(found.upper),
            "output": found.output,
            "seconds": round(found.seconds, 6),
            "basis": str(found.basis),
            "nodes": found.nodes,
            **({} if found.why_open is None else {"why_open": found.why_open}),
            "run": dict(run),
        }

    def witnesses(self, answer: Row[GreatestDifference]) -> dict[str, Adversary]:
        return {} if answer.found.worst is None else {DIFFERENCE: answer.found.worst}

    def save(self, folder: Path, index: int, original: Inputs, name: str, witness: Adversary) -> None:
        save_difference(folder, index, original, witness, self.options.box)

    def known(self, record: Record, witnesses: Mapping[str, Adversary]) -> KnownValue:
        found = witnesses.get(DIFFERENCE)
        inputs = None if found is None else found.input.reshape(1, -1)
        return KnownValue(float(record["upper"]), Basis(record["basis"]), inputs)


@dataclass(frozen=True, eq=False)
class RunOfSeveral(Run):
    """What is done with several models; `data` is the digest of what was read, if anything was."""

    models: tuple[Model, ...] = field(kw_only=True)
    data: str | None = field(kw_only=True)

    @property
    def path(self) -> str:
        return ", ".join(str(model.path) for model in self.models)

    @cached_property
    def record(self) -> Record:
        models = [model.description for model in self.models]
        return {"command": self.command, "models": models, "data": self.data, **self.options}


def run_of_several(
    command: str, models: tuple[Model, ...], samples: Samples, job: Asking[Any], data: Samples | None
) -> RunOfSeveral:
    """The run of a command about several models; `samples` has a row for each that is asked about, made of `data`."""
    origin, digest = ({}, None) if data is None else (origin_of(data.name), data.digest)
    run = run_of(command, models[0], samples, job, origin)
    return RunOfSeveral(command, run.model, samples, run.options, run.effort, models=models, data=digest)
