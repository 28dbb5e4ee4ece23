"""Errors as problem details (RFC 9457), each with the sentence that the command line would say."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from encoders.errors import PlumblineError, SoundnessError
from verifier.service.errors import ServiceError

MEDIA_TYPE = "application/problem+json"
REFUSED = 422  # what Plumbline itself refuses: a model, data or a question


class Problem(BaseModel):
    """What went wrong: `detail` is one line that says what to do next."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str


def problem(status: int, detail: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """A response that says what went wrong."""
    told = Problem(title=HTTPStatus(status).phrase, status=status, detail=" ".join(detail.split()))
    more = {"Retry-After": "1"} if status in (429, 503) else {}
    return JSONResponse(told.model_dump(), status, {**(headers or {}), **more}, MEDIA_TYPE)


def status_of(error: PlumblineError) -> int:
    """The HTTP status of an error of ours."""
    if isinstance(error, ServiceError):
        return error.status
    return 500 if isinstance(error, SoundnessError) else REFUSED


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What the OpenAPI document says of an operation's problems."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    everywhere = (400, 401, 403, 404, 413, 422, 429, 503)
    return {
        status: {"description": HTTPStatus(status).phrase, "content": content}
        for status in sorted({*statuses, *everywhere})
    }


def add_problems(app: FastAPI) -> None:
    """Every error of the application is told as a problem."""

    @app.exception_handler(PlumblineError)
    def ours(request: Request, error: Exception) -> JSONResponse:
        del request
        return problem(status_of(error) if isinstance(error, PlumblineError) else 500, str(error))

    @app.exception_handler(HTTPException)
    def refused(request: Request, error: Exception) -> JSONResponse:
        if not isinstance(error, HTTPException):
            return problem(500, str(error))
        detail = str(error.detail)
        if error.status_code == 404:
            detail = f"{request.url.path[:200]}: there is no such page"
        if error.status_code == 405:
            detail = f"{request.method} means nothing here; see /openapi.json"
        return problem(error.status_code, detail, dict(error.headers or {}))

    @app.exception_handler(RequestValidationError)
    def invalid(request: Request, error: Exception) -> JSONResponse:
        del request
        first = error.errors()[0] if isinstance(error, RequestValidationError) else {"loc": (), "msg": str(error)}
        where = ".".join(str(part) for part in first["loc"] if part not in ("body", "query", "path", "header"))
        return problem(REFUSED, f"{where or 'body'}: {first['msg']}")

    @app.exception_handler(Exception)
    def unforeseen(request: Request, error: Exception) -> JSONResponse:
        del request
        return problem(500, f"{type(error).__name__}: an error inside plumbline; the server's log says where")
