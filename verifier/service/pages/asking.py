"""What pages know: answers of this same application's HTTP interface, asked as the reader of the page.

Who that is was found out before, and goes along. A page therefore shows nothing that its reader could not ask for, and
there is one place that decides what that is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx
from fastapi import Request
from starlette.types import Receive, Scope, Send

from encoders.errors import PlumblineError

Item = dict[str, Any]
PASSED_ON = ("authorization", "cookie")  # who asks
AT_ONCE = 200  # items of a list in one answer


class RefusedError(PlumblineError):
    """The interface refused: a status, and the sentence that says what to do next."""

    def __init__(self, status: int, title: str, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status
        self.title = title


@dataclass(frozen=True)
class Listing:
    """A part of a list: items, where the rest begins, and how many there are in all."""

    items: list[Item]
    next: str | None
    total: int


async def asked(request: Request, path: str, **parameters: Any) -> Any:
    """What `GET path` answers; raises what it refuses."""
    headers = {name: request.headers[name] for name in PASSED_ON if name in request.headers}
    sent = {name: str(value) for name, value in parameters.items() if value is not None}
    client = (request.client.host, request.client.port) if request.client else ("127.0.0.1", 0)
    reader = request.scope.get("state", {})

    async def as_the_reader(scope: Scope, receive: Receive, send: Send) -> None:
        await request.app({**scope, "state": dict(reader)}, receive, send)

    transport = httpx.ASGITransport(app=as_the_reader, client=client)
    address = str(request.base_url)
    async with httpx.AsyncClient(transport=transport, base_url=address, headers=headers, trust_env=False) as asking:
        answer = await asking.get(path, params=sent)
    if answer.is_success:
        return answer.json()
    raise _refusal(answer)


async def listed(request: Request, path: str, most: int = AT_ONCE, **parameters: Any) -> Listing:
    """At most so many items of a list, from `cursor` on."""
    items: list[Item] = []
    cursor, total = parameters.pop("cursor", None), 0
    while len(items) < most:
        asks: Mapping[str, Any] = {**parameters, "limit": min(AT_ONCE, most - len(items)), "cursor": cursor}
        answer = await asked(request, path, **asks)
        items += answer["items"]
        cursor, total = answer["next"], answer["total"]
        if cursor is None:
            break
    return Listing(items, cursor, total)


def _refusal(answer: httpx.Response) -> RefusedError:
    try:
        problem = answer.json()
    except ValueError:
        problem = {}
    told = problem if isinstance(problem, dict) else {}
    title = str(told.get("title") or answer.reason_phrase)
    return RefusedError(answer.status_code, title, str(told.get("detail") or title))
