"""What is asked of many samples, how one of them ends, and what an executor is, wherever it works on them."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from encoders.arrays import Inputs, digest
from encoders.deadline import Clock
from verifier.answer import asked
from verifier.batching.request import Work
from verifier.options import Options, check_radius
from verifier.question.model import Model
from verifier.question.problem import NOTHING, Known, Progress, Running
from verifier.question.results import Adversary, Basis, PerturbedAdversary, Result
from verifier.runs.journal import SLACK, Record, record_of
from verifier.runs.saved_adversary import save_adversary


class Answer(Protocol):
    """What an answer of any kind says of itself."""

    @property
    def index(self) -> int:
        """Which sample it is about."""


A = TypeVar("A", bound=Answer)
SampleProgress = Callable[[int, Running], None]
"""Called with a sample's index and its bracket on the way."""
Beside = Callable[[Model, "Job", Inputs, Result], Work[dict[str, Any]]]
"""What else is measured of a sample, in turns, once its result is there and where it was computed; must pickle."""


@dataclass(frozen=True, eq=False)
class Given:
    """One sample as it is handed to an executor, with what an earlier attempt at the same question left.

    What can be known is the job's own: a `Known` where a distance or a radius is asked about.
    """

    index: int
    x: Inputs
    label: int | None
    known: Any = None


@dataclass(frozen=True, eq=False)
class Outcome(Generic[A]):
    """How one sample ended: with its result, or with the error that kept it from having one."""

    index: int
    result: A | None = None
    error: Exception | None = None
    beside: dict[str, Any] | None = None


@dataclass(frozen=True, eq=False)
class Asking(ABC, Generic[A]):
    """What is asked of every sample, and how an answer is written down; must pickle."""

    options: Options
    radius: float | None = None
    mask: NDArray[np.bool_] | None = None
    workers: int = field(default=1, kw_only=True)  # cores for each sample
    folder: Path | None = field(default=None, kw_only=True)  # where answers write files, if they write any

    def __post_init__(self) -> None:
        check_radius(self.radius)

    @property
    def identity(self) -> Record:
        """What runs that are resumed must have in common, beside the options."""
        return {"radius": self.radius, "mask": None if self.mask is None else digest(self.mask)}

    @abstractmethod
    async def outcome(self, model: Model, given: Given, progress: Progress, clock: Clock, share: int) -> Outcome[A]:
        """One sample's answer in turns, on a clock of its own, for `share` samples side by side."""

    @abstractmethod
    def record(self, answer: A, run: Mapping[str, Any]) -> Record:
        """The answer as a line of a journal; `run` is what it depends on."""

    @abstractmethod
    def witnesses(self, answer: A) -> dict[str, Adversary]:
        """The inputs that an answer shows, by what each is called where it is saved."""

    def save(self, folder: Path, index: int, original: Inputs, name: str, witness: Adversary) -> None:
        """Write one of the witnesses, and a picture of it."""
        save_adversary(folder, index, original, witness, self.options.box, name)

    def known(self, record: Record, witnesses: Mapping[str, Adversary]) -> Any:
        """What a line of a journal, and the inputs kept beside it, let the next attempt take as given."""
        del record, witnesses

    def tells_of(self, record: Record, witness: Adversary) -> bool:
        """Whether an input that lies beside a journal is one that its line tells of, and no other file's."""
        del record, witness
        return True


@dataclass(frozen=True, eq=False)
class Job(Asking[Result]):
    """The distance of every sample (radius None), or whether the radius is free of adversaries."""

    beside: Beside | None = None

    async def outcome(
        self, model: Model, given: Given, progress: Progress, clock: Clock, share: int
    ) -> Outcome[Result]:
        about = (given.x, self.radius, self.options, given.label, given.index, self.mask)
        result = await asked(model, *about, progress, clock, self.workers, share, given.known or NOTHING)
        beside = None if self.beside is None else await self.beside(model, self, given.x, result)
        return Outcome(given.index, result, beside=beside)

    def record(self, answer: Result, run: Mapping[str, Any]) -> Record:
        return record_of(answer, run)

    def witnesses(self, answer: Result) -> dict[str, Adversary]:
        return {} if answer.adversary is None else {"adversary": answer.adversary}

    def known(self, record: Record, witnesses: Mapping[str, Adversary]) -> Known:
        return known_of(record, witnesses)

    def tells_of(self, record: Record, witness: Adversary) -> bool:
        return is_nearest(record, witness)


def known_of(record: Record, witnesses: Mapping[str, Adversary], name: str = "adversary") -> Known:
    """What the line of a distance or a radius leaves; its adversary is called `name`."""
    lower, basis, found = float(record["lower"]), Basis(record["basis"]), witnesses.get(name)
    prover = str(record.get("proven_by") or record["engine"])
    if found is None:
        return Known(lower, basis, proven_by=prover)
    own = found.variables if isinstance(found, PerturbedAdversary) else found.input
    return Known(lower, basis, own, found.found_by, prover)


def is_nearest(record: Record, found: Adversary) -> bool:
    """Whether an adversary is the one that the line of a distance or a radius tells of."""
    upper = float(record["upper"])
    return found.label == record["target"] and math.isclose(found.distance, upper, rel_tol=SLACK, abs_tol=SLACK)


class Executor(Protocol):
    """Where samples are worked on, and how many at once: in this process, in several, or on a cluster."""

    def outcomes(
        self, model: Model, job: Asking[A], samples: Sequence[Given], progress: SampleProgress
    ) -> Generator[Outcome[A], None, None]:
        """One outcome for each sample, as it finishes, an error being one too. Closing early stops what still runs."""
