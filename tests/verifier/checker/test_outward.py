"""Which fractions float64 has, as the float checker takes them: exactly, or not at all."""

from __future__ import annotations

from fractions import Fraction

import pytest

from verifier.checker.errors import RefusedError
from verifier.checker.outward import Float

TINY = Fraction(1, 1 << 1074)  # the least float64 above zero


@pytest.mark.parametrize(
    "number",
    [Fraction(0), Fraction(-3, 8), Fraction((1 << 53) - 1, 1 << 899), Fraction(1 << 1023), TINY, 3 * TINY],
)
def test_what_float64_has_is_taken_exactly(number: Fraction) -> None:
    assert Fraction(float(Float().exactly([number])[0])) == number


@pytest.mark.parametrize(
    "number",
    [Fraction(1, 3), Fraction(3, 7 << 60), Fraction((1 << 53) + 1), TINY / 2, 3 * TINY / 2, Fraction(1 << 1024)],
)
def test_what_float64_has_not_is_refused(number: Fraction) -> None:
    with pytest.raises(RefusedError, match="no float64"):
        Float().exactly([Fraction(1), number])
