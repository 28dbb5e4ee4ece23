"""Lines through staircases: exact where there is one, none where there is not."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from encoders.quantised.staircase import digital_line


@given(st.integers(1, 5000), st.integers(1, 60), st.integers(-900, 900), st.integers(1, 200), st.integers(-20, 20))
def test_a_line_is_found_again(p: int, q: int, r: int, count: int, first: int) -> None:
    x = np.arange(first, first + count)
    y = -((-(p * x + r)) // q)
    line = digital_line(y, first)
    assert line is not None
    rest = line.q * y - line.p * x - line.r
    assert ((rest >= 0) & (rest < line.q)).all()
    assert line.p > 0


def test_no_line() -> None:
    assert digital_line(np.array([0, 1, 5, 6, 7]), 1) is None
    assert digital_line(np.array([7]), 3) is not None
