"""Where descents ended at nodes, for their children to go on from.

Guidance alone: any start is as valid as any other, so the oldest are forgotten where memory is short, and a key that
is not known means no start.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from threading import Lock

from torch import Tensor

NONE = -1
MOST_BYTES = 128 * 2**20  # of one net
KEYS = itertools.count()  # of all nets, so that a key of another net is not known in this one

Start = Mapping[str, Tensor]


class Starts:
    """The starts of one net's nodes, by keys."""

    def __init__(self) -> None:
        self.known: dict[int, Start] = {}
        self.bytes = 0
        self.lock = Lock()  # nodes are bounded on several cores

    def keep(self, start: Start) -> int:
        """The key of a new start; what is no number is none, or all descendants would have it."""
        if any(bool(part.isnan().any()) for part in start.values()):
            return NONE
        with self.lock:
            key = next(KEYS)
            self.known[key] = start
            self.bytes += _bytes(start)
            while self.bytes > MOST_BYTES:
                self.bytes -= _bytes(self.known.pop(next(iter(self.known))))
        return key

    def of(self, keys: Tensor) -> list[Start] | None:
        """The starts of all these keys [N]; None where one is not known."""
        found = [self.known.get(key) for key in keys.tolist()]
        known = [start for start in found if start is not None]
        return known if len(known) == len(found) else None


def _bytes(start: Start) -> int:
    return sum(part.numel() * part.element_size() for part in start.values())
