"""Everything that is finished of a run, at once: lines, a table, proofs, its curve, its report."""

from __future__ import annotations

import csv
import io
import json
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse, StreamingResponse

from verifier.service.api.models import Key, streamed
from verifier.service.api.parts import PAGE_BY_ITSELF, Owner, ServiceHere, answered, by_itself, content
from verifier.service.api.problems import responses
from verifier.service.api.schemas import Curve
from verifier.service.errors import NotThereError
from verifier.service.inspection import isolated
from verifier.service.reportable import why_none
from verifier.service.reports import Reported, report_page
from verifier.service.service import Service
from verifier.service.store.records import StoredData, StoredModel

router = APIRouter(tags=["runs"])
POINTS = 101  # of a curve
COLUMNS = (
    "index", "label", "predicted", "verdict", "lower", "upper", "target", "found_by", "seconds", "engine", "basis",
    "nodes",
)  # fmt: skip


@router.get(
    "/runs/{key}/export.jsonl",
    response_class=StreamingResponse,
    responses=responses() | content("application/jsonl", "A line for each finished sample"),
)
def export_lines(service: ServiceHere, owner: Owner, key: Key) -> StreamingResponse:
    """The finished samples as the command line's `--json` writes them."""
    service.store.run(owner, key)
    lines = (json.dumps(record, allow_nan=False) + "\n" for _, record in service.store.answers(key))
    return StreamingResponse(lines, media_type="application/jsonl")


@router.get(
    "/runs/{key}/export.csv",
    response_class=StreamingResponse,
    responses=responses() | content("text/csv", "A row for each finished sample"),
)
def export_table(service: ServiceHere, owner: Owner, key: Key) -> StreamingResponse:
    """The finished samples as a table."""
    service.store.run(owner, key)

    def rows() -> Iterator[str]:
        yield _row(COLUMNS)
        for _, record in service.store.answers(key):
            yield _row([record.get(name) for name in COLUMNS])

    return StreamingResponse(rows(), media_type="text/csv")


def _row(values: Sequence[Any]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow(values)
    return out.getvalue()


@router.get(
    "/runs/{key}/proofs.zip",
    response_class=StreamingResponse,
    responses=responses() | content("application/zip", "INDEX.proof for each sample that has one"),
)
def proofs(service: ServiceHere, owner: Owner, key: Key) -> StreamingResponse:
    """All proofs as one archive."""
    service.store.run(owner, key)
    held = tempfile.TemporaryFile()  # noqa: SIM115 (closed when it has been sent)
    with zipfile.ZipFile(held, "w", zipfile.ZIP_STORED) as archive:
        for one, _ in service.store.answers(key):
            if one.proof is not None:
                with service.files.open(one.proof) as file:
                    archive.writestr(f"{one.number}.proof", file.read())
    held.seek(0)
    return streamed(held, "application/zip", f"proofs-{key}.zip")


@router.get("/runs/{key}/curve", response_model=Curve, responses=responses())
def curve(request: Request, service: ServiceHere, owner: Owner, key: Key) -> Response:
    """Robust accuracy over the radius, between what is proven and what is not falsified."""

    def now() -> str:
        if service.store.run(owner, key).question == "margin":
            raise NotThereError("a margin is no distance, and has no curve; ask distance or verify")
        return _curve(service.store.brackets(key)).model_dump_json()

    return answered(request, service, owner, key, now)


def _curve(brackets: Sequence[tuple[float, float, str]]) -> Curve:
    import numpy as np

    sides = np.array([(low, high) for low, high, _ in brackets]).reshape(-1, 2)
    lower, upper = np.sort(sides[:, 0]), np.sort(sides[:, 1])
    known = upper[np.isfinite(upper)]
    most = float(known[-1]) if known.size else 1.0
    # Of four digits, so that pages show the very radius that a share is of.
    radii = np.array([float(f"{radius:.4g}") for radius in np.linspace(0.0, 1.1 * most or 1.0, POINTS)])

    def beyond(ordered: Any) -> list[float]:
        return [float(share) for share in 1.0 - np.searchsorted(ordered, radii, side="right") / max(1, ordered.size)]

    return Curve(radii=radii.tolist(), certified=beyond(lower), not_falsified=beyond(upper))


@router.get(
    "/runs/{key}/report",
    response_class=HTMLResponse,
    responses=PAGE_BY_ITSELF,
)
def report(service: ServiceHere, owner: Owner, key: Key) -> HTMLResponse:
    """The report of a run, of what is finished, as one page."""
    held = service.store.run(owner, key)
    why = why_none(held)
    if why is not None:
        raise NotThereError(why)
    model, data = service.store.model(owner, held.model_id), service.data(owner, held.data_id)
    answers = list(service.store.answers(key))
    if not answers:
        raise NotThereError("no sample has finished; wait for the first")
    adversaries = {one.number: one.adversary for one, _ in answers if one.adversary is not None}
    reported = Reported(
        held.question, held.radius, held.options, held.samples or None, data.name, [line for _, line in answers],
        adversaries,
    )  # fmt: skip
    page = _report(service, reported, model, data)
    return by_itself(page)


def _report(service: Service, reported: Reported, model: StoredModel, data: StoredData) -> str:
    folder, source = service.model_folder(model), service.data_source(data)
    with service.incoming() as out:
        page: str = isolated(
            service.settings.limits, folder, report_page, folder / model.name, model.facts, source,
            service.settings.files_url, reported, out,
        )  # fmt: skip
        return page
