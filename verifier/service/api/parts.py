"""What the routers share: the service, whose request it is, pages of lists, uploaded files."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, Query, Request, Response, UploadFile
from fastapi.responses import HTMLResponse
from starlette.datastructures import Headers
from starlette.types import Scope

from encoders.errors import DataError
from verifier.service.api.problems import responses
from verifier.service.errors import NoTokenError
from verifier.service.files import CHUNK, plain_name
from verifier.service.service import Service
from verifier.service.store.records import RunState

PAGE = 50
LONGEST_PAGE = 1000
FRESH = 5  # seconds after which what moves without an event, as the nodes of a sample, is told anew


async def service_of(request: Request) -> Service:  # no thread is needed for it
    """The service that answers."""
    found: Service = request.app.state.service
    return found


async def owner_of(request: Request) -> str:
    """Whose request it is; the guard has looked at the token."""
    owner: str | None = getattr(request.state, "owner", None)
    if owner is None:
        raise NoTokenError("a token is needed: send Authorization: Bearer TOKEN, or sign in at /sign-in")
    return owner


ServiceHere = Annotated[Service, Depends(service_of)]
Owner = Annotated[str, Depends(owner_of)]
Limit = Annotated[int, Query(ge=1, le=LONGEST_PAGE)]
Cursor = Annotated[str | None, Query(max_length=400)]
Digest = Annotated[str | None, Query(pattern="^[0-9a-f]{64}$")]


def saved(uploads: Sequence[UploadFile], folder: Path) -> list[Path]:
    """Uploaded files in a folder of their own, under names that stay in it."""
    paths = []
    for upload in uploads:
        path = folder / plain_name(upload.filename or "")
        if path.exists():
            raise DataError(f"file name {path.name!r}: two files have it; give each one of its own")
        with open(path, "xb") as out:
            shutil.copyfileobj(upload.file, out, CHUNK)
        paths.append(path)
    return paths


# A page by itself has its style, charts and small script in it, and nothing else may run or be fetched.
PAGE_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'unsafe-inline'; sandbox allow-scripts"
)
PAGE_BY_ITSELF = responses() | {200: {"description": "A page by itself", "content": {"text/html": {}}}}


def by_itself(page: str) -> HTMLResponse:
    """A page that was written here, as a browser may have it."""
    return HTMLResponse(page, headers={"Content-Security-Policy": PAGE_POLICY})


BINARY: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}


def content(media_type: str, description: str) -> dict[int | str, dict[str, Any]]:
    """What the OpenAPI document says of an answer that is a file."""
    return {200: {"description": description, "content": {media_type: BINARY}}}


def answered(request: Request, service: Service, owner: str, key: str, make: Callable[[], str]) -> Response:
    """The JSON that `make` tells of a run, made once for all who ask before anything else happens to it."""
    tag = tag_of(service, owner, key)
    asked = asked_for(tag, request.scope)
    content = service.remembered.get(asked) or service.remembered.put(asked, make().encode())
    return told_again(tag, content, request.headers)


def tag_of(service: Service, owner: str, key: str) -> str:
    """What changes whenever anything is told of an owner's run that was not told before."""
    event, state = service.store.latest(owner, key)
    return f'W/"{event}.{int(time.time()) // FRESH if state == RunState.RUNNING else ""}"'


def asked_for(tag: str, scope: Scope) -> str:
    """What is asked for, and when, for answers that were made before."""
    return f"{tag} {scope['path']}?{scope['query_string'].decode('latin-1')}"


def told_again(tag: str, content: bytes, headers: Headers) -> Response:
    """An answer of that time; nothing, where the reader has it already."""
    again = {"ETag": tag, "Cache-Control": "private, no-cache"}
    if headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=again)
    return Response(content, media_type="application/json", headers=again)
