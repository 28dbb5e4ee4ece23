"""What pages load beside themselves: one style sheet, four scripts, one drawing; by name, never by path."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

TYPES = {
    "service.css": "text/css; charset=utf-8",
    **dict.fromkeys(("words.js", "charts.js", "runs.js", "service.js"), "text/javascript; charset=utf-8"),
    "plumbline.svg": "image/svg+xml",
}


@dataclass(frozen=True)
class StaticFile:
    """Bytes, what they are, and a digest that changes with them."""

    content: bytes
    media_type: str
    digest: str


@cache
def static_file(name: str) -> StaticFile | None:
    """The file of that name, if there is one."""
    if name not in TYPES:
        return None
    content = (files("verifier.service.pages") / "static" / name).read_bytes()
    return StaticFile(content, TYPES[name], hashlib.sha256(content).hexdigest()[:16])


def address(name: str) -> str:
    """Where pages load it from; another address for other bytes, so that browsers may keep it for good."""
    found = static_file(name)
    return f"/static/{name}?v={found.digest}" if found else f"/static/{name}"
