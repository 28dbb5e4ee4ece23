"""Numbers are written exactly, and files whole or not at all."""

from __future__ import annotations

import gzip
from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from verifier.proofs.proof_file import dyadic, packed, ranges_line


def test_numbers_by_hand() -> None:
    assert dyadic([0.75, -2.0, 0.0]) == ([3, -8, 0], -2)
    assert dyadic([]) == ([], 0)
    line = ranges_line(1, np.array([-0.5, 0.0]), np.array([1.0, 0.25]))
    assert line == {"ranges": 1, "exponent": -2, "lower": [-2, 0], "upper": [4, 1]}


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False, width=32), max_size=8))
def test_numbers_are_exact(values: list[float]) -> None:
    whole, exponent = dyadic(values)
    assert [Fraction(m) * Fraction(2) ** exponent for m in whole] == [Fraction(value) for value in values]


def test_the_same_lines_are_the_same_bytes() -> None:
    assert packed([{"goal": 1}]) == packed([{"goal": 1}])
    assert gzip.decompress(packed([{"goal": 1}, {"close": True}])) == b'{"goal":1}\n{"close":true}\n'
