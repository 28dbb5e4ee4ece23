"""Witnesses in the words of both versions, as other readers of them read them."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from encoders.errors import OptionError
from encoders.properties.vnnlib import parse_vnnlib
from encoders.properties.witness import witness_text
from tests.witness_reader import pairs, tensors

FIRST = "(declare-const X_0 Real)(declare-const X_1 Real)(declare-const Y_0 Real)(assert (<= Y_0 0))"
ONE = "(declare-network f (declare-input A float32 [1,2]) (declare-output B float32 []))"
TWO = "(declare-network g (declare-input C float64 [3]) (declare-output D float64 [2,1]))"
X = np.array([0.1, -1e-30], dtype=np.float32)
Y = np.array([np.float64(np.float32(3e7))])


def second(*networks: str) -> str:
    return f"(vnnlib-version <2.0>){''.join(networks)}(assert (<= B 0.0))"


def exactly(*values: float) -> list[Fraction]:
    return [Fraction(float(value)) for value in values]


@pytest.mark.parametrize("text", [FIRST, second(ONE)], ids=["of 1.0", "of 2.0"])
def test_both_forms_hold_every_number_to_the_last_digit(text: str) -> None:
    asked = parse_vnnlib(text)
    said = pairs(witness_text(asked, X, Y, "1.0"))
    assert {name: np.float64(float(value)) for name, value in said.items()} == dict(
        zip(("X_0", "X_1", "Y_0"), [*X.astype(np.float64), *Y], strict=True)
    )
    (_, _, inputs), (_, _, outputs) = tensors(witness_text(asked, X, Y, "2.0")).values()
    assert [float(value) for value in inputs + outputs] == [*X.astype(np.float64), *Y]


def test_each_property_has_the_form_of_its_own_version() -> None:
    assert list(pairs(witness_text(parse_vnnlib(FIRST), X, Y))) == ["X_0", "X_1", "Y_0"]
    found = tensors(witness_text(parse_vnnlib(second(ONE)), X, Y))
    assert [(name, kind, shape) for name, (kind, shape, _) in found.items()] == [
        ("A", "float32", (1, 2)),
        ("B", "float32", ()),
    ]
    assert witness_text(parse_vnnlib(FIRST), X[:0], Y[:0], "2.0").startswith("X real [2]")


def test_tensors_of_several_networks_stand_in_the_order_of_their_declarations() -> None:
    asked = parse_vnnlib(second(ONE, TWO))
    found = tensors(witness_text(asked, np.arange(5.0), np.arange(5.0, 8.0)))
    assert list(found) == ["A", "B", "C", "D"]
    assert [values for _, _, values in found.values()] == [
        exactly(0, 1), exactly(5), exactly(2, 3, 4), exactly(6, 7)
    ]  # fmt: skip


def test_what_a_form_has_no_words_for_is_refused() -> None:
    with pytest.raises(OptionError, match=r"version 1\.0 has no words for a witness of several networks"):
        witness_text(parse_vnnlib(second(ONE, TWO)), np.zeros(5), np.zeros(3), "1.0")
    with pytest.raises(OptionError, match=r"version 3 of witnesses; choose from 1\.0, 2\.0"):
        witness_text(parse_vnnlib(FIRST), X, Y, "3")
