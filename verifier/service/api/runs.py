"""Runs and their samples over HTTP."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi import Path as InPath
from fastapi.responses import StreamingResponse

from encoders.errors import DataError
from verifier.service.api.models import Key, bytes_of, original, picture_of, streamed
from verifier.service.api.parts import PAGE, Cursor, Limit, Owner, ServiceHere, answered, content
from verifier.service.api.problems import responses
from verifier.service.api.schemas import ListOf, Named, NewComparison, NewRun, Resumed, RunItem, SampleItem, listed
from verifier.service.errors import NotThereError, TooManyError
from verifier.service.inspection import check_question, isolated
from verifier.service.merging import told as line_of
from verifier.service.service import Service
from verifier.service.store.records import (
    Details,
    Event,
    RunState,
    SampleState,
    StoredData,
    StoredModel,
    StoredRun,
    StoredSample,
    arrays_named,
    fresh_id,
)
from verifier.service.store.runs import Samples

router = APIRouter(tags=["runs"])
Index = Annotated[int, InPath(ge=0, le=2**31 - 1)]
IdempotencyKey = Annotated[str | None, Header(max_length=200, pattern="^[!-~]+$")]
Sort = Literal["index", "lower", "upper", "gap", "seconds", "verdict"]
Verdict = Literal["exact", "certified", "falsified", "unresolved", "misclassified", "empty"]
TITLE = 200  # letters, at most
PACKAGES = ("numpy", "torch", "onnxruntime", "highspy")


@router.post("/runs", status_code=201, responses=responses(409))
def add_run(
    service: ServiceHere,
    owner: Owner,
    asked: NewRun,
    idempotency_key: IdempotencyKey = None,
) -> RunItem:
    """Ask a question of samples. The same question under the same Idempotency-Key is asked once."""
    request = digest_of(asked)
    known = None if idempotency_key is None else service.store.run_of_key(owner, idempotency_key, request)
    if known is not None:
        return told(service, owner, service.store.run(owner, known))
    run, labelled = made_run(service, service.store.model(owner, asked.model), service.data(owner, asked.data), asked)
    key = service.store.add_run(run, idempotency_key, request, labelled)
    return told(service, owner, service.store.run(owner, key))


def made_run(
    service: Service, model: StoredModel, data: StoredData, asked: NewRun | NewComparison, runs: int = 1
) -> tuple[StoredRun, Samples]:
    """A run with its samples, checked and not kept yet; one of several `runs` that are asked for at once."""
    owner = model.owner
    limits, (opened, samples) = service.settings.limits, service.store.open_of(owner)
    if opened + runs > limits.open_runs:
        raise TooManyError(
            f"{opened} runs are open, and {limits.open_runs} may be; wait for one to finish, or cancel one"
        )
    folder, source = service.model_folder(model), service.data_source(data)
    try:
        found = isolated(
            limits, folder, check_question, folder / model.name, model.facts, source, asked.samples, asked.question,
            asked.radius, asked.options, asked.proofs, service.arrays(owner, asked.options),
        )  # fmt: skip
    except DataError as error:  # as `--data` would name it, and not as it lies here
        raise DataError(str(error).replace(source, data.name)) from None
    count = len(found.samples)
    if count > limits.samples or samples + runs * count > limits.open_samples:
        raise TooManyError(
            f"{runs * count:,} samples beside {samples:,} that are open; at most {limits.samples:,} a run and "
            f"{limits.open_samples:,} open are taken here"
        )
    title = (asked.title or f"{asked.question} of {model.name}")[:TITLE]
    run = StoredRun(
        fresh_id(), owner, title, model.id, data.id, asked.samples or "",
        asked.question, asked.radius, dict(asked.options), asked.proofs, found.time_limit, found.tolerance,
        RunState.QUEUED, None, count, found.record, versions(found.record), time.time(), None, None,
    )  # fmt: skip
    return run, found.samples


def digest_of(asked: NewRun | NewComparison) -> str:
    """What tells two requests apart under one Idempotency-Key."""
    return hashlib.sha256(json.dumps(asked.model_dump(), sort_keys=True).encode()).hexdigest()


def versions(record: dict[str, Any]) -> dict[str, str]:
    """What answers were computed with."""
    from importlib.metadata import version

    return {"plumbline": str(record["version"]), **{name: version(name) for name in PACKAGES}}


@router.get("/runs", responses=responses())
def runs(
    service: ServiceHere,
    owner: Owner,
    limit: Limit = PAGE,
    cursor: Cursor = None,
    state: RunState | None = None,
    question: Literal["distance", "verify", "margin", "report", "compare"] | None = None,
    model: Annotated[str | None, Query(max_length=40)] = None,
) -> ListOf[RunItem]:
    """The runs, the latest first."""
    page = service.store.runs(owner, limit, cursor, state, question, model)
    return ListOf[RunItem].model_validate(listed(page, all_told(service, owner, page.items)))


@router.get("/runs/{key}", response_model=RunItem, responses=responses())
def run(request: Request, service: ServiceHere, owner: Owner, key: Key) -> Response:
    """One run, and how far it is."""

    def now() -> str:
        return told(service, owner, service.store.run(owner, key)).model_dump_json()

    return answered(request, service, owner, key, now)


@router.post("/runs/{key}/cancel", responses=responses(409))
def cancel(service: ServiceHere, owner: Owner, key: Key) -> RunItem:
    """Stop a run; what is known of its samples is kept."""
    service.store.cancel(owner, key)
    return told(service, owner, service.store.run(owner, key))


@router.post("/runs/{key}/resume", responses=responses(409))
def resume(service: ServiceHere, owner: Owner, key: Key, asked: Resumed) -> RunItem:
    """Go on with the samples that are open, from their brackets."""
    service.store.resume(owner, key, asked.time_limit)
    return told(service, owner, service.store.run(owner, key))


@router.delete("/runs/{key}", status_code=204, responses=responses(409))
def drop_run(service: ServiceHere, owner: Owner, key: Key) -> Response:
    """Forget a run that is not at work, with its adversaries and proofs."""
    for digest in set(service.store.drop_run(owner, key)):
        service.forget(digest)
    return Response(status_code=204)


def told(service: Service, owner: str, held: StoredRun) -> RunItem:
    """A run as it is told."""
    return all_told(service, owner, [held])[0]


def all_told(service: Service, owner: str, held: Sequence[StoredRun]) -> list[RunItem]:
    """Several at once."""
    counts = service.store.counts([one.id for one in held])
    models = {key: service.store.model(owner, key) for key in {one.model_id for one in held}}
    data = {key: service.data(owner, key) for key in {one.data_id for one in held}}
    now = time.time()
    return [
        RunItem.of(
            one, counts[one.id], _named(models[one.model_id]), _named(data[one.data_id]),
            {name: _named(service.store.array(owner, key)) for name, key in arrays_named(one.options).items()}, now,
        )
        for one in held
    ]  # fmt: skip


def _named(held: Any) -> Named:
    return Named(id=held.id, name=held.name, sha256=held.sha256)


@router.get("/runs/{key}/samples", response_model=ListOf[SampleItem], responses=responses())
def samples(
    request: Request,
    service: ServiceHere,
    owner: Owner,
    key: Key,
    limit: Limit = PAGE,
    cursor: Cursor = None,
    state: SampleState | None = None,
    verdict: Verdict | None = None,
    sort: Sort = "index",
    order: Literal["asc", "desc"] = "asc",
) -> Response:
    """The samples of a run."""

    def now() -> str:
        page = service.store.samples(key, limit, cursor, state, verdict, sort, order == "desc")
        found = ListOf[SampleItem].model_validate(listed(page, _items(service, key, page.items)))
        return found.model_dump_json()

    return answered(request, service, owner, key, now)


def _items(service: Service, key: str, held: Sequence[StoredSample]) -> list[SampleItem]:
    histories = service.store.histories(key, [one.number for one in held])
    return [SampleItem.of(one, histories[one.number]) for one in held]


@router.get("/runs/{key}/samples/{index}", responses=responses())
def sample(service: ServiceHere, owner: Owner, key: Key, index: Index) -> SampleItem:
    """One sample of a run."""
    held, details = _sample(service, owner, key, index)
    return SampleItem.of(held, details.history)


def _sample(service: Service, owner: str, key: str, index: int) -> tuple[StoredSample, Details]:
    service.store.run(owner, key)
    return service.store.sample(key, index)


@router.get("/runs/{key}/samples/{index}/record", responses=responses())
def record(service: ServiceHere, owner: Owner, key: Key, index: Index) -> dict[str, Any]:
    """The sample's line of the command line's `--json`."""
    held, details = _sample(service, owner, key, index)
    if details.record is None:
        raise NotThereError(f"sample {index}: it has no answer yet; wait until it has finished")
    return line_of(details.record, held)


@router.get(
    "/runs/{key}/samples/{index}/adversary.npz",
    response_class=StreamingResponse,
    responses=responses() | content("application/octet-stream", "original, adversary, difference, scores"),
)
def adversary(service: ServiceHere, owner: Owner, key: Key, index: Index) -> StreamingResponse:
    """The adversary's arrays, as `--out` saves them."""
    digest = _adversary(service, owner, key, index)
    return streamed(service.files.open(digest), "application/octet-stream", f"adversary-{index}.npz")


PICTURE = responses() | content("image/png", "A picture")


@router.get("/runs/{key}/samples/{index}/adversary.png", response_class=Response, responses=PICTURE)
def adversary_picture(service: ServiceHere, owner: Owner, key: Key, index: Index) -> Response:
    """The adversary as a picture."""
    return _picture(service, _adversary(service, owner, key, index), "adversary")


@router.get("/runs/{key}/samples/{index}/difference.png", response_class=Response, responses=PICTURE)
def difference_picture(service: ServiceHere, owner: Owner, key: Key, index: Index) -> Response:
    """What the adversary changed; grey is nothing, black or white the largest change."""
    return _picture(service, _adversary(service, owner, key, index), "difference", signed=True)


@router.get("/runs/{key}/samples/{index}/original.png", response_class=Response, responses=PICTURE)
def original_picture(service: ServiceHere, owner: Owner, key: Key, index: Index) -> Response:
    """The sample itself as a picture."""
    held = service.store.run(owner, key)
    service.store.sample(key, index)
    return picture_of(original(service, service.data(owner, held.data_id))[index])


def _adversary(service: Service, owner: str, key: str, index: int) -> str:
    held, _ = _sample(service, owner, key, index)
    if held.adversary is None:
        raise NotThereError(f"sample {index}: no adversary is known")
    return held.adversary


def _picture(service: Service, digest: str, name: str, signed: bool = False) -> Response:
    import numpy as np

    with np.load(bytes_of(service.files.open(digest)), allow_pickle=False) as arrays:
        return picture_of(arrays[name], signed)


@router.get(
    "/runs/{key}/samples/{index}/proof",
    response_class=StreamingResponse,
    responses=responses() | content("application/octet-stream", "A proof that `plumbline check` takes"),
)
def proof(service: ServiceHere, owner: Owner, key: Key, index: Index) -> StreamingResponse:
    """The sample's proof, for `plumbline check`."""
    held, _ = _sample(service, owner, key, index)
    if held.proof is None:
        raise NotThereError(f"sample {index}: it has no proof; ask with proofs, or wait until it has finished")
    return streamed(service.files.open(held.proof), "application/octet-stream", f"{index}.proof")


def rendered(service: Service) -> Any:
    """What the feed tells of events, as JSON."""

    def render(key: str, events: Sequence[Event]) -> list[tuple[Event, str]]:
        held = service.store.any_run(key)
        numbers = sorted({event.number for event in events if event.kind == "sample" and event.number is not None})
        found = {one.index: one for one in _items(service, key, service.store.some(key, numbers))}
        run_now = told(service, held.owner, held) if any(event.kind == "run" for event in events) else None
        texts: list[tuple[Event, str]] = []
        for event in events:
            if event.kind == "bracket" and event.told is not None:
                left = None if held.time_limit is None else max(0.0, held.time_limit - event.told["seconds"])
                texts.append((event, json.dumps({**event.told, "seconds_left": left})))
            elif event.kind == "sample" and event.number in found:
                texts.append((event, found[event.number].model_dump_json()))
            elif event.kind == "run" and run_now is not None:
                texts.append((event, run_now.model_dump_json()))
        return texts

    return render
