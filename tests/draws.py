"""How many cases a random test draws: few in an ordinary run, many and fresh ones in a thorough one.

PLUMBLINE_TRUST_EXAMPLES scales the number of nets in the trust tests, PLUMBLINE_TRUST_FIRST is the first seed of those
that are held against brute force. A failure names its seed, and the same two variables replay it.
"""

from __future__ import annotations

import os

from hypothesis import settings

TRUST_EXAMPLES = int(os.environ.get("PLUMBLINE_TRUST_EXAMPLES", "12"))
TRUST_FIRST = int(os.environ.get("PLUMBLINE_TRUST_FIRST", "0"))


def thorough() -> bool:
    """Whether this is a thorough run."""
    return settings().max_examples > 100


def draws(few: int, many: int) -> int:
    """How many cases a loop draws: `few` in an ordinary run, `many` in a thorough one."""
    return many if thorough() else few


def examples(count: int) -> settings:
    """Settings of a test that draws `count` cases in an ordinary run, ten times as many in a thorough one."""
    return settings(max_examples=count * settings().max_examples // 100)
