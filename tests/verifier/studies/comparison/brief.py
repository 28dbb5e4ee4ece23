"""Comparisons in tests, without what takes most of their time and is judged elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import pytest

from bounds.attacks import AttackOptions
from tests.draws import thorough


@contextmanager
def brief_comparison() -> Iterator[pytest.MonkeyPatch]:
    """The attacks beside the distances of this process try less, where no test asks how near they come.

    In a thorough run they are what users have.
    """
    with pytest.MonkeyPatch.context() as patched:
        if not thorough():
            few = partial(AttackOptions, restarts=4, steps=6)
            patched.setattr("verifier.studies.comparison.drawn_attacks.AttackOptions", few)
            patched.setattr("verifier.studies.comparison.drawn_attacks.STEPS", 10)
            patched.setattr("bounds.attacks.ball_search.BALLS", 2)
        yield patched
