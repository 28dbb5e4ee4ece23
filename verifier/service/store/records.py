"""What the store holds, as records."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Generic, TypeVar

T = TypeVar("T")
Json = dict[str, Any]


def fresh_id() -> str:
    """A short name that nobody guesses."""
    return secrets.token_hex(8)


class RunState(StrEnum):
    """Where a run is."""

    QUEUED = "queued"
    RUNNING = "running"
    FINISHED = "finished"
    CANCELLED = "cancelled"
    FAILED = "failed"


class SampleState(StrEnum):
    """Where one sample of a run is."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


AT_WORK = (RunState.QUEUED, RunState.RUNNING)


@dataclass(frozen=True)
class Page(Generic[T]):
    """Part of a list: where the next part begins, and how long the whole is."""

    items: tuple[T, ...]
    next: str | None
    total: int


@dataclass(frozen=True)
class StoredModel:
    """A model: its files by name, the model's own first, and what `inspect` says of it."""

    id: str
    owner: str
    name: str
    sha256: str
    files: Mapping[str, str]
    facts: Json
    created_at: float

    @property
    def external(self) -> dict[str, str]:
        """The digests of its external data, by name."""
        return {name: digest for name, digest in self.files.items() if name != self.name}


@dataclass(frozen=True)
class StoredData:
    """A data set: one file of arrays, or one that is built in."""

    id: str
    owner: str
    name: str
    sha256: str
    kind: str
    count: int
    shape: Sequence[int]
    labelled: bool
    created_at: float

    @property
    def builtin(self) -> bool:
        return self.kind == BUILT_IN


BUILT_IN = "built-in"


@dataclass(frozen=True)
class StoredArray:
    """A file that an option names: a mask, a scale, constraints, a grid."""

    id: str
    owner: str
    name: str
    sha256: str
    created_at: float


OF_ARRAYS = ("mask", "scale", "constraints", "grid")


def arrays_named(options: Mapping[str, Any]) -> dict[str, str]:
    """The ids of arrays by the options that name them."""
    return {name: options[name] for name in OF_ARRAYS if isinstance(options.get(name), str)}


@dataclass(frozen=True)
class StoredRun:
    """One question of one model about samples of one data set."""

    id: str
    owner: str
    title: str
    model_id: str
    data_id: str
    samples: str
    question: str
    radius: float | None
    options: Json
    proofs: bool
    time_limit: float | None
    tolerance: float
    state: str
    error: str | None
    total: int
    record: Json
    versions: Json
    created_at: float
    started_at: float | None
    finished_at: float | None
    comparison_id: str | None = None


@dataclass(frozen=True)
class StoredComparison:
    """Runs of several models, of the same question about the same samples, in the order that was asked for."""

    id: str
    owner: str
    title: str
    runs: Sequence[str]
    created_at: float


@dataclass(frozen=True)
class StoredSample:
    """One sample of a run: how far it is, and the best bracket that anybody proved and replayed."""

    run_id: str
    number: int
    place: int
    state: str
    attempt: int
    lost: int
    worker: str | None
    label: int | None
    predicted: int | None
    verdict: str
    lower: float
    upper: float
    gap: float
    basis: str | None
    target: int | None
    found_by: str | None
    engine: str | None
    technique: str | None
    nodes: int
    open_phases: int | None
    seconds: float
    adversary: str | None
    proof: str | None
    why: str | None


@dataclass(frozen=True)
class Details:
    """What is wide of a sample: its bracket over time, its line of the journal, and what contradicted it."""

    history: Sequence[Sequence[float | str]] = ()
    record: Json | None = None
    claims: Sequence[Json] = ()


@dataclass(frozen=True)
class Finding:
    """What somebody found of a sample: a bracket so far, or with a `record` an answer."""

    lower: float
    upper: float
    seconds: float = 0.0
    nodes: int = 0
    open_phases: int | None = None
    basis: str | None = None
    engine: str | None = None
    technique: str | None = None
    predicted: int | None = None
    target: int | None = None
    found_by: str | None = None
    adversary: str | None = None
    proof: str | None = None
    why: str | None = None
    record: Json | None = None


@dataclass(frozen=True)
class Claimed:
    """A sample that a worker has taken."""

    run_id: str
    number: int
    attempt: int
    lost: int
    lower: float
    upper: float
    basis: str | None
    adversary: str | None


@dataclass(frozen=True)
class Event:
    """Something that happened to a run, in the order of its ids."""

    id: int
    run_id: str
    kind: str
    number: int | None
    told: Json | None


@dataclass(frozen=True)
class Counts:
    """How many samples of a run are where."""

    waiting: int = 0
    running: int = 0
    done: int = 0
    failed: int = 0
    verdicts: Mapping[str, int] = field(default_factory=dict)

    @property
    def open(self) -> int:
        """Those that no answer has closed yet."""
        return self.waiting + self.running + self.verdicts.get("unresolved", 0)
