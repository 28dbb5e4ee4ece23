"""The pages' addresses: a router that the application includes.

Everything is rendered here and readable without a script; the script lets numbers run, sorts, filters and takes files.
`?part=…` of an address is that part of its page alone, for the script to put in place.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from functools import cache
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, Response
from fastapi.routing import APIRoute
from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.concurrency import run_in_threadpool

from verifier.service.pages import drawing, static_files, wording
from verifier.service.pages.asking import Item, Listing, RefusedError, asked, listed
from verifier.service.pages.comparing import leads, paired

ROWS = 300  # samples in one table
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
FILTERS = ("exact", "certified", "falsified", "unresolved", "misclassified")  # verdicts that most runs have


class PageRoute(APIRoute):
    """An address whose refusals are pages, too."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler, and what is shown where the interface refused it something."""
        shown = super().get_route_handler()

        async def handled(request: Request) -> Response:
            try:
                return await shown(request)
            except (RefusedError, RequestValidationError) as error:
                refused = error if isinstance(error, RefusedError) else _nothing_here()
                template = "sign_in.html" if refused.status == NOT_KNOWN else "refused.html"
                return await _page(template, status=refused.status, refused=refused)

        return handled


router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse, route_class=PageRoute)


@router.get("/")
async def home(request: Request, part: str = "", state: str | None = None, cursor: str | None = None) -> Response:
    """Ask a question; and the runs there are."""
    runs = await listed(request, "/runs", RUNS, state=state or None, cursor=cursor)
    if part == "runs":
        return await _page("parts/runs.html", runs=runs, state=state)
    models, data = await listed(request, "/models"), await listed(request, "/data")
    return await _page("home.html", runs=runs, state=state, models=models.items, data=data.items)


@router.get("/sign-in")
async def sign_in() -> Response:
    """Where a token is given."""
    return await _page("sign_in.html", refused="This server answers those who have a token.")


@router.get("/view/models/{model}")
async def model_page(request: Request, model: str, part: str = "") -> Response:
    """One network: `inspect`'s facts, and its layers as a picture."""
    found = await asked(request, f"/models/{model}")
    if part:
        return await _page("parts/model.html", model=found)
    runs = await listed(request, "/runs", RUNS, model=model)
    return await _page("model.html", model=found, runs=runs, state=None)


@router.get("/view/data/{data}")
async def data_part(request: Request, data: str) -> Response:
    """The first samples of a data set, as pictures where they are; a part of the first page."""
    return await _page("parts/data.html", data=await asked(request, f"/data/{data}"))


@router.get("/view/runs/{run}")
async def run_page(
    request: Request,
    run: str,
    sample: int | None = None,
    verdict: str | None = None,
    sort: str = "index",
    order: str = "asc",
    cursor: str | None = None,
) -> Response:
    """One run while it goes on, and after."""
    found = await asked(request, f"/runs/{run}")
    rows = await listed(
        request, f"/runs/{run}/samples", ROWS, verdict=verdict or None, sort=sort, order=order, cursor=cursor
    )
    curve = None if _signed(found) else await asked(request, f"/runs/{run}/curve")
    shown = _chosen(rows, sample)
    if shown is None and sample is not None:
        shown = await asked(request, f"/runs/{run}/samples/{sample}")
    return await _page(
        "run.html",
        run=found, data=await asked(request, f"/data/{found['data']['id']}"), rows=rows, curve=curve, sample=shown,
        whole=len(rows.items) == found["counts"]["total"], followed=sample is None,
        verdict=verdict, sort=sort, order=order, filters=FILTERS, **_measured(found, rows.items),
    )  # fmt: skip


@router.get("/view/runs/{run}/samples/{index}")
async def sample_page(request: Request, run: str, index: int, part: str = "") -> Response:
    """One sample, large: its pictures, its bracket over time, and how to check its proof."""
    found = await asked(request, f"/runs/{run}")
    sample = await asked(request, f"/runs/{run}/samples/{index}")
    data = await asked(request, f"/data/{found['data']['id']}")
    held = {"run": found, "sample": sample, "data": data, **_measured(found, [sample])}
    if part:
        return await _page("parts/sample.html", large=False, **held)
    before, after = [await _there(request, f"/runs/{run}/samples/{other}") for other in (index - 1, index + 1)]
    return await _page("sample.html", large=True, before=before, after=after, **held)


@router.get("/view/compare")
async def compare_page(request: Request, runs: Annotated[list[str] | None, Query()] = None) -> Response:
    """Two runs beside each other."""
    names = [name for part in runs or [] for name in part.split(",") if name]
    if len(names) != 2:
        raise RefusedError(400, "Two runs are compared", "Choose two runs in the list, then compare them.")
    both = [await asked(request, f"/runs/{name}") for name in names]
    samples = [await listed(request, f"/runs/{name}/samples", COMPARED) for name in names]
    curves = [None if _signed(run) else await asked(request, f"/runs/{run['id']}/curve") for run in both]
    same_data = both[0]["data"]["id"] == both[1]["data"]["id"]
    pairs = paired(samples[0].items, samples[1].items) if same_data else []
    alike = all(both[0][name] == both[1][name] for name in ("question", "radius"))
    differing = [pair for pair in pairs if pair.differs(verdicts=alike)]
    of_pairs = [item for pair in differing for item in (pair.first, pair.second)]
    return await _page(
        "compare.html",
        runs=both, curves=curves, same_data=same_data, pairs=pairs, differing=differing, leads=leads(pairs),
        comparable=_measures(both[0]) == _measures(both[1]), **_measured(both[0], of_pairs),
    )  # fmt: skip


@router.get("/view/comparisons/{comparison}")
async def comparison_page(request: Request, comparison: str, part: str = "") -> Response:
    """Several networks side by side."""
    found = await asked(request, f"/comparisons/{comparison}")
    runs = Listing(found["runs"], None, len(found["runs"]))
    if part == "runs":
        return await _page("parts/runs.html", runs=runs, state=None)
    curves = [await asked(request, f"/runs/{run['id']}/curve") for run in runs.items]
    return await _page(
        "comparison.html",
        comparison=found, title=found["title"], runs=runs, state=None, curves=curves,
        end=max(curve["radii"][-1] for curve in curves),
        going=any(run["state"] in ("queued", "running") for run in runs.items),
        answered=all(run["counts"]["done"] for run in runs.items),
        open=any(run["counts"]["open"] for run in runs.items),
    )  # fmt: skip


@router.get("/static/{name}")
async def static(name: str) -> Response:
    """The style sheet, the scripts and the drawing."""
    found = static_files.static_file(name)
    if found is None:
        raise _nothing_here()
    headers = {"Cache-Control": "public, max-age=31536000, immutable", "X-Content-Type-Options": "nosniff"}
    return Response(found.content, media_type=found.media_type, headers=headers)


@router.get("/view/{rest:path}")
async def nothing(rest: str) -> Response:
    """What is not there is a page, too."""
    raise _nothing_here()


def _nothing_here() -> RefusedError:
    return RefusedError(404, "Not here", "There is no such page; go on from the list of runs.")


def _chosen(rows: Listing, sample: int | None) -> Item | None:
    """The sample that is shown large: the one asked for, else one that is running, else the first."""
    if sample is not None:
        return next((item for item in rows.items if item["index"] == sample), None)
    running = (item for item in rows.items if item["state"] == "running")
    return next(running, rows.items[0] if rows.items else None)


async def _there(request: Request, path: str) -> int | None:
    """A sample's index, if the run has it."""
    try:
        return int((await asked(request, path))["index"])
    except RefusedError:
        return None


def _signed(run: Item) -> bool:
    """Whether a run brackets leads, which may be below zero, and not distances."""
    return bool(run["question"] == "margin")


def _measured(run: Item, samples: list[Item]) -> dict[str, Any]:
    return {"scale": drawing.scale(samples, run["radius"], _signed(run)), "signed": _signed(run)}


def _measures(run: Item) -> tuple[Any, ...]:
    """What must be the same for two runs' numbers to be held against each other."""
    return _signed(run), run["options"].get("norm") or "linf", run["options"].get("margin") or 0


async def _page(template: str, status: int = 200, **values: object) -> Response:
    """Rendered beside the loop: a long table would hold up everybody's events."""
    text = await run_in_threadpool(_templates().get_template(template).render, **values)
    return HTMLResponse(text, status, HEADERS)


@cache
def _templates() -> Environment:
    found = Environment(
        loader=PackageLoader("verifier.service.pages"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    words = (
        "below", "above", "as_given", "duration", "remaining", "moment", "status", "number", "counted",
        "sentence", "command",
    )  # fmt: skip
    found.filters |= {name: getattr(wording, name) for name in words}
    found.filters |= {"run_name": wording.name, "json": json.dumps}
    found.filters |= {name: getattr(drawing, name) for name in ("segments", "layers", "is_picture")}
    found.globals |= {name: getattr(wording, name) for name in ("gap", "shares", "QUESTIONS", "MEASURES", "BASES")}
    found.globals["static"] = static_files.address
    return found
