"""What every request passes before it is read: where it comes from, whose it is, how large and how slow it is."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from verifier.service.access import Rate, Tokens
from verifier.service.api.problems import problem
from verifier.service.errors import (
    ForbiddenError,
    NoTokenError,
    ServiceError,
    SlowError,
    TooLargeError,
    TooManyError,
)
from verifier.service.settings import MEBIBYTE, Limits

COOKIE = "plumbline"
OPEN = ("/healthz", "/session", "/openapi.json", "/sign-in")  # answered without a token
UPLOADS = ("/models", "/data")
SMALL = MEBIBYTE  # bytes of a body that is no upload
READING = ("GET", "HEAD", "OPTIONS")
HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


class Guard:
    """The application behind its checks."""

    def __init__(self, app: ASGIApp, tokens: Tokens, limits: Limits) -> None:
        self.app, self.tokens, self.limits = app, tokens, limits
        self.rate = Rate(limits.requests_per_minute)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        body = _Body(receive, self._most(scope["path"]), self.limits.request_seconds)
        answered = False

        async def sending(message: Message) -> None:
            nonlocal answered
            if body.refused is not None and not answered:  # whatever the application made of it
                return
            if message["type"] == "http.response.start":
                answered = True
                held = {name.lower() for name, _ in message.get("headers", [])}
                more = [(k.encode(), v.encode()) for k, v in HEADERS.items() if k.encode() not in held]
                message["headers"] = [*message.get("headers", []), *more]
            await send(message)

        try:
            self._admit(scope, headers)
            body.check_length(headers.get("content-length"))
            await self.app(scope, body.receive, sending)
        except ServiceError as error:
            body.refused = body.refused or error
        if body.refused is not None and not answered:
            refused, body.refused = body.refused, None
            told = {"WWW-Authenticate": "Bearer"} if refused.status == 401 else {}
            if refused.status in (408, 413):
                told["Connection"] = "close"  # the rest of the body is not waited for
            answer: Response = problem(refused.status, str(refused), told)
            if refused.status == 401 and scope["method"] == "GET" and "text/html" in headers.get("accept", ""):
                answer = RedirectResponse("/sign-in", 303)  # a person, not a program
            await answer(scope, receive, sending)

    def _most(self, path: str) -> int:
        return self.limits.upload_bytes if path in UPLOADS else SMALL

    def _admit(self, scope: Scope, headers: Headers) -> None:
        """Set whose request it is; refuse what comes from a page of somebody else's."""
        state_changing = scope["method"] not in READING
        bearer = headers.get("authorization", "")
        cookie = _cookie(headers)
        if not self.tokens.needed:
            _check_host(headers)
        if state_changing:
            _check_origin(headers)
        token = bearer[7:].strip() if bearer[:7].lower() == "bearer " else cookie
        owner = self.tokens.owner(token)
        client = scope.get("client")
        if not self.rate.take(owner or f"address {client[0] if client else ''}"):
            raise TooManyError(f"more than {self.limits.requests_per_minute} requests a minute; ask more slowly")
        open_to_all = scope["path"] in OPEN or scope["path"].startswith("/static/")
        if owner is None and not open_to_all:
            raise NoTokenError("a token is needed: send Authorization: Bearer TOKEN, or sign in at /sign-in")
        by_cookie = self.tokens.needed and not bearer and cookie is not None
        if state_changing and by_cookie and scope["path"] != "/session" and headers.get("x-plumbline") != "1":
            raise ForbiddenError("a page has to send X-Plumbline: 1 with what changes something")
        scope.setdefault("state", {})["owner"] = owner


class _Body:
    """A request's body, as far as it is not too large and not too slow."""

    def __init__(self, receive: Receive, most: int, patience: float) -> None:
        self._receive, self._most, self._patience = receive, most, patience
        self._read, self._whole = 0, False
        self.refused: ServiceError | None = None

    def check_length(self, length: str | None) -> None:
        if length is not None and length.isdecimal() and int(length) > self._most:
            raise self._too_large()

    def _too_large(self) -> TooLargeError:
        return TooLargeError(f"a request of more than {self._most:,} bytes is not taken here; see /limits")

    async def receive(self) -> Message:
        if self._whole:
            return await self._receive()  # waits until the client leaves
        try:
            message = await asyncio.wait_for(self._receive(), self._patience)
        except TimeoutError:
            self.refused = SlowError(f"nothing came for {self._patience:g} s; send the request again")
            raise self.refused from None
        self._read += len(message.get("body", b""))
        self._whole = not message.get("more_body", False)
        if self._read > self._most:
            self.refused = self._too_large()
            raise self.refused
        return message


def _cookie(headers: Headers) -> str | None:
    try:
        held = SimpleCookie(headers.get("cookie", ""))
    except CookieError:
        return None
    return held[COOKIE].value if COOKIE in held else None


def _check_host(headers: Mapping[str, str]) -> None:
    """A name that somebody else's page gave to this machine's address is not ours."""
    host = urlsplit(f"//{headers.get('host', '')}").hostname or ""
    try:
        ours = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        ours = False
    if not ours:
        raise ForbiddenError(f"host {host[:80]!r}: this server is at localhost; to serve others give --token-file")


def _check_origin(headers: Mapping[str, str]) -> None:
    """A form or script of another site may not change anything."""
    origin = headers.get("origin")
    site = headers.get("sec-fetch-site", "none")
    if site not in ("none", "same-origin") or (origin is not None and urlsplit(origin).netloc != headers.get("host")):
        raise ForbiddenError("a page of another site may not change anything here")
