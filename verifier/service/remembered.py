"""Answers that were made once are given to everyone who asks the same before anything else happens."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, field

MOST = 64 * 2**20  # bytes of all answers together


@dataclass(eq=False)
class Remembered:
    """The latest answers, by what was asked and when."""

    most: int = MOST
    _held: OrderedDict[str, bytes] = field(default_factory=OrderedDict)
    _size: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def get(self, asked: str) -> bytes | None:
        """The answer that is known."""
        with self._lock:
            if asked in self._held:
                self._held.move_to_end(asked)
            return self._held.get(asked)

    def put(self, asked: str, made: bytes) -> bytes:
        """The answer that was made now, known from now on."""
        with self._lock:
            self._size += len(made) - len(self._held.pop(asked, b""))
            self._held[asked] = made
            while self._size > self.most:
                self._size -= len(self._held.popitem(last=False)[1])
        return made
