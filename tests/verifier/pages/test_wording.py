"""Shares and distances in words: what is shown never claims more than what is known."""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifier.pages.wording import in_decimals, share, share_ends


@given(st.integers(1, 5000), st.data())
def test_the_ends_of_a_share_are_rounded_outward(samples: int, data: st.DataObject) -> None:
    low = data.draw(st.integers(0, samples))
    high = data.draw(st.integers(low, samples))
    shown = [float(end.rstrip("%")) / 100 for end in share_ends(low / samples, high / samples)]
    if low < high:
        assert shown[0] <= low / samples + 1e-12
        assert shown[1] >= high / samples - 1e-12
    assert (shown[0] == 1.0) == (low == samples)
    assert (shown[1] == 0.0) == (high == 0)


@pytest.mark.parametrize(
    ("low", "high", "told"),
    [
        (2999, 2999, "99.9%"), (1, 1, "0.1%"), (3000, 3000, "100.0%"), (0, 1, "0.0% to 0.1%"),
        (2999, 3000, "99.9% to 100.0%"),
    ],
)  # fmt: skip
def test_all_and_none_are_said_of_all_and_none_alone(low: int, high: int, told: str) -> None:
    assert share(low / 3000, high / 3000) == told


def test_rounding_of_a_mean_is_no_undecided_sample() -> None:
    assert share(0.1 + 0.2, 0.3) == "30.0%"


@given(st.floats(-1e6, 1e6))
def test_decimals_are_rounded_to_the_side_that_is_asked_for(value: float) -> None:
    assert float(in_decimals(value, 6, ROUND_FLOOR)) <= value <= float(in_decimals(value, 6, ROUND_CEILING))


def test_decimals_of_what_is_nothing_or_endless() -> None:
    assert in_decimals(-1e-9, 6, ROUND_CEILING) == "0.000000"
    assert in_decimals(float("inf"), 6, ROUND_FLOOR) == "inf"
