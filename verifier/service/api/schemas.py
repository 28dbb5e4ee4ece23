"""What goes over HTTP, as the OpenAPI document describes it."""

from __future__ import annotations

import math
from collections.abc import Sequence, Set
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Generic, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints
from pydantic_core import PydanticCustomError

from verifier.service.reportable import why_none
from verifier.service.store.records import (
    Counts,
    Page,
    RunState,
    SampleState,
    StoredArray,
    StoredComparison,
    StoredData,
    StoredModel,
    StoredRun,
    StoredSample,
)

T = TypeVar("T")
Bound = float | Literal["inf", "-inf"]
Text = Annotated[str, StringConstraints(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]
Id = Annotated[str, StringConstraints(max_length=40, pattern=r"^[a-z0-9-]+$")]
Option = bool | int | float | str | list[int] | list[float] | list[str] | None
FEWEST, MOST = 2, 100  # networks of one comparison
ANSWERED = ("exact", "certified", "falsified", "misclassified", "empty")


def bound(value: float) -> Bound:
    """A side of a bracket; strict JSON has no infinity."""
    if math.isfinite(value):
        return value
    return "inf" if value > 0 else "-inf"


def moment(value: float) -> str:
    """A time as ISO 8601 has it."""
    return datetime.fromtimestamp(value, UTC).isoformat(timespec="milliseconds")


class ListOf(BaseModel, Generic[T]):
    """Part of a list; `next` is the cursor of the rest."""

    items: list[T]
    next: str | None
    total: int


def listed(page: Page[Any], items: list[Any]) -> dict[str, Any]:
    """A page with its items as they are told."""
    return {"items": items, "next": page.next, "total": page.total}


class ModelItem(BaseModel):
    """A model: its digest with all that belongs to it, and what `plumbline inspect` says of it."""

    id: str
    name: str
    sha256: str
    external: dict[str, str]
    facts: dict[str, Any]
    created_at: str

    @classmethod
    def of(cls, model: StoredModel) -> ModelItem:
        return cls(
            id=model.id, name=model.name, sha256=model.sha256, external=model.external, facts=model.facts,
            created_at=moment(model.created_at),
        )  # fmt: skip


class DataItem(BaseModel):
    """A data set: how many samples of which shape."""

    id: str
    name: str
    sha256: str
    count: int
    shape: list[int]
    labelled: bool
    builtin: bool
    created_at: str

    @classmethod
    def of(cls, data: StoredData) -> DataItem:
        return cls(
            id=data.id, name=data.name, sha256=data.sha256, count=data.count, shape=list(data.shape),
            labelled=data.labelled, builtin=data.builtin, created_at=moment(data.created_at),
        )  # fmt: skip


class ArrayItem(BaseModel):
    """A file that options `mask`, `scale`, `constraints` or `grid` may name by its id."""

    id: str
    name: str
    sha256: str
    created_at: str

    @classmethod
    def of(cls, array: StoredArray) -> ArrayItem:
        return cls(id=array.id, name=array.name, sha256=array.sha256, created_at=moment(array.created_at))


class AboutSamples(BaseModel):
    """What every question says. `options` are those of the command line, by the names of their fields.

    Where the command line takes a file, as `mask`, it is the id of an array.
    """

    model_config = ConfigDict(extra="forbid")

    data: Id
    samples: Annotated[str, StringConstraints(max_length=10_000)] | None = Field(None, examples=["0:10", "3,8,11"])
    options: dict[str, Option] = {}
    title: Text = ""


class NewRun(AboutSamples):
    """A question about samples. `options` are those of the command line, by the names of their fields.

    Where the command line takes a file (`mask`, `scale`, `constraints`, `grid`), it is the id of an array.
    """

    model: Id
    question: Literal["distance", "verify", "margin", "report"]
    radius: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    proofs: bool = False


def _several(models: Any) -> Any:
    """As many as can be compared; refused in our words before pydantic counts them."""
    if isinstance(models, list) and not FEWEST <= len(models) <= MOST:
        told = f"a comparison takes two networks or more, at most {MOST}; name as many, in place of {len(models)}"
        raise PydanticCustomError("several", "{told}", {"told": told})
    return models


class NewComparison(AboutSamples):
    """Which models are compared, on what. `options` are those of `plumbline compare`, in one norm."""

    models: Annotated[list[Id], BeforeValidator(_several), Field(min_length=FEWEST, max_length=MOST)]
    question: ClassVar[str] = "compare"
    radius: ClassVar[float | None] = None
    proofs: ClassVar[bool] = False


class Resumed(BaseModel):
    """How long each open sample is worked on from now; null for as long as it takes."""

    model_config = ConfigDict(extra="forbid")

    time_limit: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None


class CountsItem(BaseModel):
    """How many samples of a run are where, and what is known of them."""

    total: int
    done: int
    open: int
    running: int
    failed: int
    exact: int
    certified: int
    falsified: int
    unresolved: int
    misclassified: int
    empty: int

    @classmethod
    def of(cls, total: int, counts: Counts) -> CountsItem:
        verdicts = {name: counts.verdicts.get(name, 0) for name in (*ANSWERED, "unresolved")}
        return cls(
            total=total, done=counts.done, open=counts.open, running=counts.running, failed=counts.failed, **verdicts
        )


class Named(BaseModel):
    """What a run is about, in short."""

    id: str
    name: str
    sha256: str


class RunItem(BaseModel):
    """A run, and how far it is; `arrays` are the files that its options name."""

    id: str
    title: str
    model: Named
    data: Named
    samples: str | None
    question: str
    comparison: str | None
    radius: float | None
    options: dict[str, Any]
    arrays: dict[str, Named]
    proofs: bool
    has_report: bool
    state: RunState
    error: str | None
    counts: CountsItem
    created_at: str
    started_at: str | None
    finished_at: str | None
    seconds_left: float | None
    versions: dict[str, str]
    record: dict[str, Any]

    @classmethod
    def of(
        cls, run: StoredRun, counts: Counts, model: Named, data: Named, arrays: dict[str, Named], now: float
    ) -> RunItem:
        return cls(
            id=run.id, title=run.title, model=model, data=data, samples=run.samples or None, question=run.question,
            comparison=run.comparison_id, radius=run.radius, options=run.options, arrays=arrays, proofs=run.proofs,
            has_report=why_none(run) is None, state=RunState(run.state), error=run.error,
            counts=CountsItem.of(run.total, counts), created_at=moment(run.created_at),
            started_at=None if run.started_at is None else moment(run.started_at),
            finished_at=None if run.finished_at is None else moment(run.finished_at),
            seconds_left=seconds_left(run, counts, now), versions=run.versions, record=run.record,
        )  # fmt: skip


class ComparisonItem(BaseModel):
    """Runs of several models, of the same question about the same samples; what happens is told of each run."""

    id: str
    title: str
    state: RunState
    runs: list[RunItem]
    created_at: str

    @classmethod
    def of(cls, held: StoredComparison, runs: list[RunItem]) -> ComparisonItem:
        return cls(
            id=held.id, title=held.title, state=state_of({run.state for run in runs}), runs=runs,
            created_at=moment(held.created_at),
        )  # fmt: skip


def state_of(states: Set[RunState]) -> RunState:
    """Where several runs are together: at work as long as one is, and finished where all have."""
    if RunState.FAILED in states:
        return RunState.FAILED
    if RunState.RUNNING in states or (RunState.QUEUED in states and len(states) > 1):
        return RunState.RUNNING
    return next(state for state in (RunState.QUEUED, RunState.CANCELLED, RunState.FINISHED) if state in states)


def seconds_left(run: StoredRun, counts: Counts, now: float) -> float | None:
    """As long as the rest takes if it takes as long a sample as the first ones did; None where nobody knows."""
    ended = counts.done + counts.failed
    if run.state != RunState.RUNNING or run.started_at is None or not ended:
        return None
    return round((now - run.started_at) / ended * (counts.waiting + counts.running), 1)


class SampleItem(BaseModel):
    """One sample: the best bracket that was proven and replayed, and how it came about."""

    index: int
    label: int | None
    predicted: int | None
    state: SampleState
    verdict: str | None
    lower: Bound
    upper: Bound
    basis: str | None
    target: int | None
    found_by: str | None
    engine: str | None
    technique: str | None
    nodes: int
    open_phases: int | None
    seconds: float
    attempt: int
    why_open: str | None
    has_adversary: bool
    has_proof: bool
    history: list[tuple[float, Bound, Bound]]

    @classmethod
    def of(cls, sample: StoredSample, over_time: Sequence[Sequence[float | str]]) -> SampleItem:
        history: list[Any] = [tuple(point) for point in over_time]
        return cls(
            index=sample.number, label=sample.label, predicted=sample.predicted, state=SampleState(sample.state),
            verdict=sample.verdict or None, lower=bound(sample.lower), upper=bound(sample.upper), basis=sample.basis,
            target=sample.target, found_by=sample.found_by, engine=sample.engine, technique=sample.technique,
            nodes=sample.nodes, open_phases=sample.open_phases, seconds=sample.seconds, attempt=sample.attempt,
            why_open=sample.why, has_adversary=sample.adversary is not None, has_proof=sample.proof is not None,
            history=history,
        )  # fmt: skip


class Curve(BaseModel):
    """Robust accuracy over the radius: the share proven (lower > r), and the share not falsified (upper > r)."""

    radii: list[float]
    certified: list[float]
    not_falsified: list[float]


class LimitsItem(BaseModel):
    """The most that a request, a question and an owner may take."""

    upload_bytes: int
    inputs: int
    neurons: int
    data_bytes: int
    samples: int
    open_runs: int
    open_samples: int
    seconds_per_sample: float
    memory_per_worker: int
    reading_seconds: float
    reading_memory: int
    requests_per_minute: int
    request_seconds: float
    attempts: int


class Health(BaseModel):
    """That the server and its database answer."""

    status: Literal["ok"]
    version: str
