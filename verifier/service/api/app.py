"""The application: all routers behind the guard."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Annotated, Any

from fastapi import APIRouter, FastAPI, Form, Response
from fastapi.openapi.utils import get_openapi
from starlette.types import ASGIApp

from verifier import __version__
from verifier.service.api import arrays, comparisons, events, exports, models, runs
from verifier.service.api.guard import COOKIE, Guard
from verifier.service.api.parts import ServiceHere
from verifier.service.api.problems import Problem, add_problems, responses
from verifier.service.api.schemas import Health, LimitsItem
from verifier.service.api.unchanged import Unchanged
from verifier.service.errors import NoTokenError
from verifier.service.service import Service
from verifier.service.settings import shown

router = APIRouter(tags=["service"])
DESCRIPTION = """\
Exact verification of neural networks: upload a model, ask, watch the bracket close, keep the proof.

Every answer is a bracket: `lower` is proven, `upper` is a real adversary that was replayed, and the exact distance lies
between the two; of a margin it is the other way round. Lists come in pages: `next` is the `cursor` of the rest.
"""


@router.get("/healthz", responses=responses())
def healthz(service: ServiceHere) -> Health:
    """Whether the server and its database answer."""
    service.store.ping()
    return Health(status="ok", version=__version__)


@router.get("/limits", responses=responses())
def limits(service: ServiceHere) -> LimitsItem:
    """The most that a request, a question and an owner may take."""
    return LimitsItem(**shown(service.settings.limits))


@router.get(
    "/metrics",
    response_class=Response,
    responses=responses() | {200: {"description": "For Prometheus", "content": {"text/plain": {}}}},
)
def metrics(service: ServiceHere) -> Response:
    """Runs and samples in each state, workers and listeners, for Prometheus."""
    from prometheus_client import CollectorRegistry, Gauge, generate_latest

    registry = CollectorRegistry()
    for name, held in service.store.tally().items():
        gauge = Gauge(f"plumbline_{name}", f"{name.capitalize()} in each state.", ["state"], registry=registry)
        for state, count in held.items():
            gauge.labels(state).set(count)
    Gauge("plumbline_listeners", "Lines of events that are open.", registry=registry).set(service.feed.listeners)
    return Response(generate_latest(registry), media_type="text/plain; version=0.0.4")


@router.post("/session", status_code=204, responses=responses())
def session(service: ServiceHere, token: Annotated[str, Form(max_length=200, pattern="^[!-~]+$")]) -> Response:
    """Sign a browser in: the token becomes a cookie that no script and no other site can use."""
    if service.tokens.owner(token) is None:
        raise NoTokenError("this token is not known; look at how it was written down")
    response = Response(status_code=204)
    if service.tokens.needed:
        response.set_cookie(COOKIE, token, httponly=True, samesite="strict", max_age=30 * 86400)
    return response


def create_app(service: Service, with_workers: bool = True) -> ASGIApp:
    """The application of a service; its workers begin and end with it."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        service.sweep()
        service.feed.render = runs.rendered(service)
        if with_workers:
            service.supervisor.start()
        reading = asyncio.create_task(service.feed.run())
        yield
        service.feed.close()
        reading.cancel()
        with suppress(asyncio.CancelledError):
            await reading
        if with_workers:
            await asyncio.to_thread(service.supervisor.stop)
        service.store.close()

    app = FastAPI(
        title="Plumbline", version=__version__, description=DESCRIPTION, lifespan=lifespan, docs_url=None,
        redoc_url=None, openapi_url="/openapi.json", separate_input_output_schemas=False,
    )  # fmt: skip
    app.state.service = service
    add_problems(app)
    for one in (router, models.router, arrays.router, runs.router, exports.router, comparisons.router, events.router):
        app.include_router(one)
    _add_pages(app)

    def described() -> dict[str, object]:
        if app.openapi_schema is None:
            schema = get_openapi(title=app.title, version=app.version, description=DESCRIPTION, routes=app.routes)
            schema["components"]["schemas"]["Problem"] = Problem.model_json_schema()
            for operations in schema["paths"].values():
                for operation in operations.values():
                    for parameter in operation.get("parameters", []):
                        parameter["schema"] = _without_null(parameter["schema"])
            if service.tokens.needed:
                schema["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
                schema["security"] = [{"token": []}]
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = described  # type: ignore[method-assign]
    return Guard(Unchanged(app, service), service.tokens, service.settings.limits)


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """A parameter that may be left out; no text in a query or a header is null."""
    rest = [one for one in schema.get("anyOf", []) if one != {"type": "null"}]
    if len(rest) != 1:
        return schema
    return {**{name: value for name, value in schema.items() if name != "anyOf"}, **rest[0]}


def _add_pages(app: FastAPI) -> None:
    """The pages that people look at, where they are there."""
    from importlib.util import find_spec

    if find_spec("verifier.service.pages") is not None:
        from importlib import import_module

        app.include_router(import_module("verifier.service.pages.routes").router, include_in_schema=False)
