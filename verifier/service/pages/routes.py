"""The pages' addresses: a router that the application includes.

Everything is rendered here and readable without a script; the script lets numbers run, sorts, filters and takes files.
`?part=…` of an address is that part of its page alone, for the script to put in place.
"""

from __future__ import annotations

import json
import shlex
from functools import cache
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, Response
from jinja2 import Environment, PackageLoader, StrictUndefined

from verifier.service.pages import drawing, static_files, wording
from verifier.service.pages.asking import Item, Listing, RefusedError, asked, listed
from verifier.service.pages.comparing import leads, paired

ROWS = 600  # samples in one table
COMPARED = 5000  # samples that two runs are compared on
RUNS = 25
NOT_KNOWN = 401
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Cache-Control": "no-store",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
FILTERS = ("exact", "certified", "falsified", "unresolved", "misclassified")

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)


@router.get("/")
async def home(request: Request, part: str = "", state: str | None = None, cursor: str | None = None) -> Response:
    """Ask a question; and the runs there are."""
    try:
        runs = await listed(request, "/runs", RUNS, state=state or None, cursor=cursor)
        if part == "runs":
            return _page("parts/runs.html", runs=runs, state=state)
        models = await listed(request, "/models")
        data = await listed(request, "/data")
    except RefusedError as refused:
        return _refused(refused)
    return _page("home.html", runs=runs, state=state, models=models.items, data=data.items)


@router.get("/view/models/{model}")
async def model_page(request: Request, model: str, part: str = "") -> Response:
    """One network: `inspect`'s facts, and its layers as a picture."""
    try:
        found = await asked(request, f"/models/{model}")
        runs = None if part else await listed(request, "/runs", RUNS, model=model)
    except RefusedError as refused:
        return _refused(refused)
    return _page("parts/model.html" if part else "model.html", model=found, runs=runs, state=None)


@router.get("/view/data/{data}")
async def data_part(request: Request, data: str) -> Response:
    """The first samples of a data set, as pictures where they are; a part of the first page."""
    try:
        found = await _data_set(request, data)
    except RefusedError as refused:
        return _refused(refused)
    return _page("parts/data.html", data=found)


@router.get("/view/runs/{run}")
async def run_page(
    request: Request,
    run: str,
    part: str = "",
    sample: int | None = None,
    verdict: str | None = None,
    sort: str = "index",
    order: str = "asc",
    cursor: str | None = None,
) -> Response:
    """One run while it goes on, and after."""
    try:
        found = await asked(request, f"/runs/{run}")
        rows = await listed(
            request, f"/runs/{run}/samples", ROWS, verdict=verdict or None, sort=sort, order=order, cursor=cursor
        )
        whole = rows.total == len(rows.items) == found["counts"]["total"]
        curve = None if found["question"] == "margin" else await asked(request, f"/runs/{run}/curve")
        shown = _chosen(rows, sample)
        if shown is None and sample is not None:
            shown = await asked(request, f"/runs/{run}/samples/{sample}")
    except RefusedError as refused:
        return _refused(refused)
    return _page(
        "parts/samples.html" if part == "samples" else "run.html",
        run=found, rows=rows, whole=whole, curve=curve, sample=shown, followed=sample is None,
        verdict=verdict, sort=sort, order=order, filters=FILTERS, **_measured(found, rows.items),
    )  # fmt: skip


@router.get("/view/runs/{run}/samples/{index}")
async def sample_page(request: Request, run: str, index: int, part: str = "") -> Response:
    """One sample, large: its pictures, its bracket over time, and how to check its proof."""
    try:
        found = await asked(request, f"/runs/{run}")
        sample = await asked(request, f"/runs/{run}/samples/{index}")
        beside = None if part else await listed(request, f"/runs/{run}/samples", ROWS)
    except RefusedError as refused:
        return _refused(refused)
    indices = [item["index"] for item in beside.items] if beside else []
    place = indices.index(index) if index in indices else 0
    return _page(
        "parts/sample.html" if part else "sample.html",
        run=found, sample=sample, large=not part,
        before=indices[place - 1] if place > 0 else None,
        after=indices[place + 1] if place + 1 < len(indices) else None,
        **_measured(found, [sample]),
    )  # fmt: skip


@router.get("/view/compare")
async def compare_page(request: Request, runs: Annotated[list[str] | None, Query()] = None) -> Response:
    """Two runs beside each other."""
    names = [name for part in runs or [] for name in part.split(",") if name]
    if len(names) != 2:
        refused = RefusedError(400, "Two runs are compared", "Choose two runs in the list, then compare them.")
        return _refused(refused)
    try:
        both = [await asked(request, f"/runs/{name}") for name in names]
        samples = [await listed(request, f"/runs/{name}/samples", COMPARED) for name in names]
        curves = [
            None if run["question"] == "margin" else await asked(request, f"/runs/{run['id']}/curve") for run in both
        ]
    except RefusedError as refused:
        return _refused(refused)
    same_data = both[0]["data"]["id"] == both[1]["data"]["id"]
    pairs = paired(samples[0].items, samples[1].items) if same_data else []
    alike = all(both[0].get(name) == both[1].get(name) for name in ("question", "radius"))
    differing = [pair for pair in pairs if pair.differs(verdicts=alike)]
    of_pairs = [item for pair in differing for item in (pair.first, pair.second)]
    return _page(
        "compare.html",
        runs=both, curves=curves, same_data=same_data, pairs=pairs, differing=differing, leads=leads(pairs),
        comparable=_asks(both[0]) == _asks(both[1]), **_measured(both[0], of_pairs),
    )  # fmt: skip


@router.get("/static/{name}")
async def static(name: str) -> Response:
    """The style sheet, the script and the drawing."""
    found = static_files.static_file(name)
    if found is None:
        return _refused(RefusedError(404, "Not here", "There is no such file; go back to the list of runs."))
    headers = {"Cache-Control": "public, max-age=31536000, immutable", "X-Content-Type-Options": "nosniff"}
    return Response(found.content, media_type=found.media_type, headers=headers)


def _chosen(rows: Listing, sample: int | None) -> Item | None:
    """The sample that is shown large: the one asked for, else one that is running, else the first."""
    if sample is not None:
        return next((item for item in rows.items if item["index"] == sample), None)
    running = (item for item in rows.items if item["state"] == "running")
    return next(running, rows.items[0] if rows.items else None)


def _measured(run: Item, samples: list[Item]) -> dict[str, Any]:
    signed = run["question"] == "margin"
    return {"scale": drawing.scale(samples, run.get("radius"), signed), "signed": signed}


def _asks(run: Item) -> tuple[Any, ...]:
    """What must be the same for two runs' numbers to be held against each other."""
    options = run.get("options") or {}
    return run["question"] == "margin", options.get("norm") or "linf", options.get("margin") or 0


async def _data_set(request: Request, data: str) -> Item:
    for item in (await listed(request, "/data", COMPARED)).items:
        if item["id"] == data:
            return item
    raise RefusedError(404, "Not here", "There is no such data set; drop its file on the first page.")


def _refused(refused: RefusedError) -> Response:
    template = "sign_in.html" if refused.status == NOT_KNOWN else "refused.html"
    return _page(template, status=refused.status, refused=refused)


def _page(template: str, status: int = 200, **values: object) -> Response:
    text = _templates().get_template(template).render(**values)
    return HTMLResponse(text, status, HEADERS)


@cache
def _templates() -> Environment:
    found = Environment(
        loader=PackageLoader("verifier.service.pages"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    words = ("value", "duration", "remaining", "share", "moment", "status", "number", "counted", "sentence", "command")
    found.filters |= {name: getattr(wording, name) for name in words}
    found.filters |= {"run_name": wording.name, "json": json.dumps, "quoted": shlex.quote}
    found.filters |= {name: getattr(drawing, name) for name in ("segments", "layers", "is_picture")}
    found.globals |= {name: getattr(wording, name) for name in ("gap", "QUESTIONS", "MEASURES", "BASES")}
    found.globals["static"] = static_files.address
    return found
