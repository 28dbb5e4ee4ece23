"""How many cases a random test draws.

PLUMBLINE_TRUST_EXAMPLES scales the number of nets in the trust tests, PLUMBLINE_TRUST_FIRST is the first seed of those
that are held against brute force. A failure names its seed, and the same two variables replay it.
"""

from __future__ import annotations

import os

from hypothesis import settings

TRUST_EXAMPLES = int(os.environ.get("PLUMBLINE_TRUST_EXAMPLES", "120"))
TRUST_FIRST = int(os.environ.get("PLUMBLINE_TRUST_FIRST", "0"))


def examples(count: int) -> settings:
    """Settings of a test that draws `count` cases in an ordinary run, ten times as many in a thorough one."""
    return settings(max_examples=count * settings().max_examples // 100)
