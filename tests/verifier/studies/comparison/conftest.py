"""What comparisons of small networks have in common."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest

from bounds.attacks import AttackOptions
from tests.draws import thorough


@pytest.fixture(scope="module")
def brief_comparison() -> Iterator[None]:
    """The attacks beside the distances try less: no test asks how near they come, and they take most of the time.

    In a thorough run they are what users have.
    """
    with pytest.MonkeyPatch.context() as patched:
        if not thorough():
            few = partial(AttackOptions, restarts=4, steps=6)
            patched.setattr("verifier.studies.comparison.drawn_attacks.AttackOptions", few)
            patched.setattr("verifier.studies.comparison.drawn_attacks.STEPS", 10)
            patched.setattr("bounds.attacks.ball_search.BALLS", 2)
        yield
