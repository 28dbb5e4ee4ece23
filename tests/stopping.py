"""Commands that are stopped at chosen moments, and what their journals hold, for tests of going on."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

Record = dict[str, Any]
SIGNALS = (signal.SIGINT, signal.SIGTERM)


def lines(path: Path) -> list[Record]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def last(path: Path) -> dict[int, Record]:
    """The line of each sample that counts."""
    return {record["index"]: record for record in lines(path)}


@contextmanager
def signalled(number: int, seconds: float) -> Iterator[None]:
    """The signal comes after so many seconds."""
    before = signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(number))
    handlers = [(one, signal.signal(one, signal.default_int_handler)) for one in SIGNALS]
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    except KeyboardInterrupt:  # before the command listens
        pass
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        for one, handler in [(signal.SIGALRM, before), *handlers]:
            signal.signal(one, handler)


def true(found: Record, exact: Record) -> bool:
    """Whether two brackets of one number can both be."""
    slack = 1e-6
    return bool(
        float(found["lower"]) <= float(exact["upper"]) + slack
        and float(exact["lower"]) <= float(found["upper"]) + slack
    )
