"""Reads of runs to which nothing has happened since somebody read the same, answered before anything else is looked at.

Many who watch a run read the same of it again and again. What routes, checks of parameters and the making of an answer
cost is spent once; whose request it is the guard has looked at, and whose run it is the database is asked each time.
"""

from __future__ import annotations

import re

from fastapi import Response
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from verifier.service.api.parts import asked_for, tag_of, told_again
from verifier.service.errors import ServiceError
from verifier.service.service import Service

PATH = re.compile("/runs/([a-z0-9-]{1,40})(?:/[a-z]+)?")  # of answers that may be remembered, and of some that are not


class Unchanged:
    """The application behind what it has answered before."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self.app, self.service = app, service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        found = PATH.fullmatch(scope["path"]) if scope["type"] == "http" and scope["method"] == "GET" else None
        owner = scope.get("state", {}).get("owner")
        answer = None
        if found is not None and owner is not None:
            answer = await run_in_threadpool(self._known, owner, found[1], scope)
        await (self.app if answer is None else answer)(scope, receive, send)

    def _known(self, owner: str, key: str, scope: Scope) -> Response | None:
        """The answer as it was given before; None where it is not known, or is an error to be told."""
        try:
            tag = tag_of(self.service, owner, key)
        except ServiceError:
            return None
        content = self.service.remembered.get(asked_for(tag, scope))
        return None if content is None else told_again(tag, content, Headers(scope=scope))
