"""Comparisons of several models over HTTP."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from fastapi import APIRouter, Response
from fastapi.responses import HTMLResponse

from verifier.service.api.models import Key
from verifier.service.api.parts import PAGE, PAGE_BY_ITSELF, Cursor, Limit, Owner, ServiceHere, by_itself
from verifier.service.api.problems import responses
from verifier.service.api.runs import IdempotencyKey, all_told, digest_of, made_run
from verifier.service.api.schemas import ComparisonItem, ListOf, NewComparison, Resumed, listed
from verifier.service.comparing import Compared, Network, check_compared, comparison_page
from verifier.service.errors import ConflictError, NotThereError
from verifier.service.inspection import isolated
from verifier.service.service import Service
from verifier.service.store.records import RunState, SampleState, StoredComparison, StoredRun, fresh_id

router = APIRouter(tags=["comparisons"])


@router.post("/comparisons", status_code=201, responses=responses(409))
def add_comparison(
    service: ServiceHere, owner: Owner, asked: NewComparison, idempotency_key: IdempotencyKey = None
) -> ComparisonItem:
    """Compare several models: one run for each. The same under the same Idempotency-Key is asked once."""
    request = digest_of(asked)
    known = None if idempotency_key is None else service.store.comparison_of_key(owner, idempotency_key, request)
    if known is not None:
        return told(service, owner, [service.store.comparison(owner, known)])[0]
    models = [service.store.model(owner, key) for key in asked.models]
    data, names = service.data(owner, asked.data), [model.name for model in models]
    isolated(service.settings.limits, service.settings.cache, check_compared, names, asked.options)
    key, now = fresh_id(), time.time()
    made = [made_run(service, model, data, asked, len(models)) for model in models]
    runs = [
        replace(run, title=name, comparison_id=key, created_at=now) for (run, _), name in zip(made, names, strict=True)
    ]
    title = asked.title or f"{len(models)} networks on {data.name}"
    held = StoredComparison(key, owner, title, [run.id for run in runs], now)
    key = service.store.add_comparison(held, runs, idempotency_key, request, made[0][1])
    return _one(service, owner, key)


@router.get("/comparisons", responses=responses())
def comparisons(
    service: ServiceHere, owner: Owner, limit: Limit = PAGE, cursor: Cursor = None
) -> ListOf[ComparisonItem]:
    """The comparisons, the latest first."""
    page = service.store.comparisons(owner, limit, cursor)
    return ListOf[ComparisonItem].model_validate(listed(page, told(service, owner, page.items)))


@router.get("/comparisons/{key}", responses=responses())
def comparison(service: ServiceHere, owner: Owner, key: Key) -> ComparisonItem:
    """One comparison, and how far each of its runs is; their events are those of `/runs/{id}/events`."""
    return _one(service, owner, key)


@router.post("/comparisons/{key}/cancel", responses=responses(409))
def cancel_comparison(service: ServiceHere, owner: Owner, key: Key) -> ComparisonItem:
    """Stop all its runs that are at work; what is known of their samples is kept."""
    _where_possible(service, owner, key, lambda run: service.store.cancel(owner, run))
    return _one(service, owner, key)


@router.post("/comparisons/{key}/resume", responses=responses(409))
def resume_comparison(service: ServiceHere, owner: Owner, key: Key, asked: Resumed) -> ComparisonItem:
    """Go on with the samples that are open in any of its runs, from their brackets."""
    _where_possible(service, owner, key, lambda run: service.store.resume(owner, run, asked.time_limit))
    return _one(service, owner, key)


@router.delete("/comparisons/{key}", status_code=204, responses=responses(409))
def drop_comparison(service: ServiceHere, owner: Owner, key: Key) -> Response:
    """Forget a comparison that is not at work, with its runs and their adversaries."""
    for digest in set(service.store.drop_comparison(owner, key)):
        service.forget(digest)
    return Response(status_code=204)


@router.get("/comparisons/{key}/page", response_class=HTMLResponse, responses={**PAGE_BY_ITSELF, **responses(409)})
def page(service: ServiceHere, owner: Owner, key: Key) -> HTMLResponse:
    """The page that `plumbline compare` writes, of the samples that every network has."""
    (runs,) = service.store.compared([service.store.comparison(owner, key)])
    if not runs:
        raise _gone(key)
    alarmed = next((run for run in runs if run.state == RunState.FAILED), None)
    if alarmed is not None:
        raise ConflictError(f"run {alarmed.id} was stopped by an alarm; nothing is compared: {alarmed.error}")
    longest = max(run.time_limit or math.inf for run in runs)
    data = service.data(owner, runs[0].data_id)
    asked = Compared(
        runs[0].options, longest if math.isfinite(longest) else None,
        runs[0].samples or None, service.data_source(data), data.name, service.settings.files_url,
        [_network(service, owner, run) for run in runs],
    )  # fmt: skip
    with service.incoming() as out:
        written: str = isolated(service.settings.limits, service.settings.cache / "models", comparison_page, asked, out)
    return by_itself(written)


def _network(service: Service, owner: str, run: StoredRun) -> Network:
    """A network with what is known of its samples: answers, and of those that failed their brackets alone."""
    model = service.store.model(owner, run.model_id)
    answers = list(service.store.answers(run.id))
    failed = service.store.samples(run.id, run.total, state=SampleState.FAILED).items
    return Network(
        service.model_folder(model) / model.name, model.facts, [line for _, line in answers],
        {one.number: (one.lower, one.upper, one.basis, one.engine) for one in failed},
        {one.number: one.adversary for one in (*(held for held, _ in answers), *failed) if one.adversary is not None},
    )  # fmt: skip


def _where_possible(service: Service, owner: str, key: str, change: Callable[[str], None]) -> None:
    """Change the runs that can be; refused where none can."""
    refused: list[ConflictError] = []
    held = service.store.comparison(owner, key)
    for run in held.runs:
        try:
            change(run)
        except ConflictError as error:
            refused.append(error)
    if len(refused) == len(held.runs):
        raise refused[0]


def _one(service: Service, owner: str, key: str) -> ComparisonItem:
    found = told(service, owner, [service.store.comparison(owner, key)])
    if not found:
        raise _gone(key)
    return found[0]


def _gone(key: str) -> NotThereError:
    """What is said of a comparison that was deleted while it was looked at."""
    return NotThereError(f"comparison {key[:40]!r}: there is none")


def told(service: Service, owner: str, held: Sequence[StoredComparison]) -> list[ComparisonItem]:
    """Comparisons as they are told, without those that were deleted meanwhile."""
    of_each = service.store.compared(held)
    items = {item.id: item for item in all_told(service, owner, [run for runs in of_each for run in runs])}
    pairs = zip(held, of_each, strict=True)
    return [ComparisonItem.of(one, [items[run.id] for run in runs]) for one, runs in pairs if runs]
