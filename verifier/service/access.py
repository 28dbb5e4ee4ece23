"""Who may ask: tokens, of which only digests are kept, and how often."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from encoders.errors import OptionError
from verifier.service.settings import LOCAL

NAME = re.compile(r"[A-Za-z0-9_.@-]{1,80}")
LINE = re.compile(r"([A-Za-z0-9_.@-]{1,80}) ([0-9a-f]{64})")


@dataclass(frozen=True)
class Tokens:
    """The owners by the digests of their tokens; none where only this machine is answered."""

    digests: dict[str, str] | None

    @classmethod
    def read(cls, path: Path | None) -> Tokens:
        """A token file: `NAME SHA-256` in each line."""
        if path is None:
            return cls(None)
        try:
            lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
        except OSError as error:
            raise OptionError(f"{path}: cannot be read ({error.strerror}); make one with --new-token NAME") from None
        found = [LINE.fullmatch(line) for line in lines]
        if not found or not all(found):
            raise OptionError(f"{path}: each line is NAME and a SHA-256; add one with --new-token NAME")
        return cls({one[1]: one[2] for one in found if one is not None})

    @property
    def needed(self) -> bool:
        return self.digests is not None

    def owner(self, token: str | None) -> str | None:
        """Whose token it is; every one is compared, and each in the same time."""
        if self.digests is None:
            return LOCAL
        given = hashlib.sha256((token or "").encode()).hexdigest()
        owner = None
        for name, digest in self.digests.items():
            if hmac.compare_digest(given, digest):
                owner = name
        return owner


def new_token(path: Path, name: str) -> str:
    """Add a token of that name to a file, which keeps its digest alone; returns the token, said once."""
    if not NAME.fullmatch(name):
        raise OptionError(f"token name {name!r}: give letters, digits, dots, dashes and underscores")
    held = path.read_text() if path.exists() else ""
    if any(line.split(" ")[0] == name for line in held.splitlines()):
        raise OptionError(f"{path}: there is a token of {name!r} already; remove its line first")
    token = secrets.token_urlsafe(32)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with open(descriptor, "w") as file:
        file.write(f"{name} {hashlib.sha256(token.encode()).hexdigest()}\n")
    return token


@dataclass(eq=False)
class Rate:
    """How many requests each owner has left: a minute's worth at most, filling up evenly."""

    per_minute: int
    _left: dict[str, tuple[float, float]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, who: str) -> bool:
        """Whether one more may be answered."""
        with self._lock:
            now = time.monotonic()
            left, since = self._left.get(who, (float(self.per_minute), now))
            left = min(float(self.per_minute), left + (now - since) * self.per_minute / 60.0)
            if len(self._left) > 10_000:
                self._left.clear()
            self._left[who] = (left - 1.0 if left >= 1.0 else left, now)
            return left >= 1.0
