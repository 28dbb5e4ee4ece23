"""VNN-LIB files against another reading of their text (tests/properties_oracle.py): equal, or refused by name."""

from __future__ import annotations

import gzip
import re
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encoders.errors import PlumblineError
from encoders.properties.property import Property, parts_of
from encoders.properties.vnnlib import parse_vnnlib, read_vnnlib
from tests.draws import examples
from tests.properties_oracle import assertions, coefficients, conditions, satisfied
from tests.small_files import refusal

INPUTS, OUTPUTS = 3, 2
NAMES = (*(f"X_{place}" for place in range(INPUTS)), *(f"Y_{place}" for place in range(OUTPUTS)))
DECLARED = "".join(f"(declare-const {name} Real)\n" for name in NAMES)
BOUNDED = "".join(f"(assert (and (<= {name} 1.0) (>= {name} 0)))\n" for name in NAMES[:INPUTS])
WITH_EXPONENT = re.compile(r"-?[\d.]+[eE][-+]?\d+")
WHOLE = re.compile(r"(?<![\w.-])-?\d+(?![\d.])")

wholes = st.integers(0, 12).map(str)
numbers = st.one_of(
    wholes,
    wholes.map("-{}".format),
    st.tuples(wholes, st.integers(0, 999)).map(lambda parts: f"{parts[0]}.{parts[1]:03}"),
    st.tuples(st.sampled_from(["", "-"]), wholes, st.sampled_from(["e-3", "e2", "E+1", ".5e-05", ".25E1"])).map(
        "".join
    ),
)
constants = st.recursive(
    numbers,
    lambda inner: st.one_of(
        inner.map("(- {})".format),
        st.tuples(st.sampled_from("+-*"), inner, inner).map(lambda parts: f"({parts[0]} {parts[1]} {parts[2]})"),
    ),
    max_leaves=3,
)
terms = st.recursive(
    st.one_of(st.sampled_from(NAMES), st.sampled_from(NAMES), numbers),
    lambda inner: st.one_of(
        inner.map("(- {})".format),
        st.tuples(st.sampled_from("+-"), st.lists(inner, min_size=2, max_size=3)).map(
            lambda parts: f"({parts[0]} {' '.join(parts[1])})"
        ),
        st.tuples(constants, inner).map(lambda parts: f"(* {parts[0]} {parts[1]})"),
        st.tuples(constants, inner, constants).map(lambda parts: f"(* {parts[0]} {parts[1]} {parts[2]})"),
    ),
    max_leaves=5,
)
comparisons = st.tuples(st.sampled_from(["<=", ">=", "<", ">", "=="]), terms, terms).map(
    lambda parts: f"({parts[0]} {parts[1]} {parts[2]})"
)
formulas = st.recursive(
    comparisons,
    lambda inner: st.tuples(st.sampled_from(["and", "or"]), st.lists(inner, min_size=1, max_size=3)).map(
        lambda parts: f"({parts[0]} {' '.join(parts[1])})"
    ),
    max_leaves=6,
)
points = st.lists(st.integers(-4, 4).map(lambda halves: Fraction(halves, 2)), min_size=len(NAMES), max_size=len(NAMES))


def asserted(*formulas: str) -> str:
    """A file that declares the variables and asserts these formulas."""
    return DECLARED + "".join(f"(assert {formula}) ; a comment (\n" for formula in formulas)


def fulfilled(read: Property, point: dict[str, Fraction]) -> bool:
    """Whether a point is in one of the cases, by what the records say of themselves."""

    def left(gains: dict[int, Fraction], letter: str) -> Fraction:
        return sum((gain * point[f"{letter}_{place}"] for place, gain in gains.items()), Fraction(0))

    def true(case: int, number: int) -> bool:
        one = read.cases[case][number]
        total = left(dict(one.inputs), "X") + left(dict(one.outputs), "Y") + one.constant
        return total < 0 if one.strict else total <= 0

    return any(all(true(k, j) for j in range(len(case))) for k, case in enumerate(read.cases))


def boundary_points(text: str, point: dict[str, Fraction]) -> list[dict[str, Fraction]]:
    """The point, and it moved along one variable of each comparison to where both sides are equal, and beside it."""
    found, hair = [point], Fraction(1, 10**15)
    for formula in assertions(text):
        for comparison in conditions(formula):
            gains, constant = coefficients(comparison)
            if not gains:
                continue
            name = next(iter(gains))
            rest = constant + sum(gain * point[other] for other, gain in gains.items() if other != name)
            root = -rest / gains[name]
            found += [point | {name: at} for at in (root - hair, root, root + hair)]
    return found


@pytest.mark.slow
@examples(60)
@given(st.lists(formulas, min_size=1, max_size=2), points)
def test_reads_what_the_text_says(asked: list[str], place: list[Fraction]) -> None:
    """At random points and on the boundary of every comparison, the cases hold exactly where the text does."""
    text = asserted(*asked)
    read = parse_vnnlib(text)
    assert (read.input_size, read.output_size) == (INPUTS, OUTPUTS)
    for point in boundary_points(text, dict(zip(NAMES, place, strict=True))):
        assert fulfilled(read, point) == satisfied(text, point), (asked, point)


@examples(12)
@given(st.lists(formulas, min_size=1, max_size=2), points)
def test_version_two_says_the_same(asked: list[str], place: list[Fraction]) -> None:
    """The same formulas over tensors of shape [1, n], where numbers have a point and no exponent."""
    text = WITH_EXPONENT.sub(lambda number: f"{float(number[0]):.9f}", asserted(*asked))
    body = WHOLE.sub(lambda number: f"{number[0]}.0", text[len(DECLARED) :])
    for name in NAMES:
        body = body.replace(name, f"{name[0]}[0,{name[2:]}]")
    head = "(vnnlib-version <2.0>)\n(declare-network net\n"
    sides = f"(declare-input X float32 [1,{INPUTS}])\n(declare-output Y float32 [1,{OUTPUTS}]))\n"
    read = parse_vnnlib(head + sides + body)
    for point in boundary_points(text, dict(zip(NAMES, place, strict=True))):
        assert fulfilled(read, point) == satisfied(text, point), (asked, point)


def test_a_file_may_be_compressed(tmp_path: Path) -> None:
    text = asserted("(or (<= (+ X_0 Y_1) 0.1) (> Y_0 3))")
    plain, packed = tmp_path / "asked.vnnlib", tmp_path / "asked.vnnlib.gz"
    plain.write_text(text)
    packed.write_bytes(gzip.compress(text.encode()))
    assert read_vnnlib(str(plain)) == read_vnnlib(packed) == parse_vnnlib(text)


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path) -> None:
    text = asserted("(<= Y_0 1)") + "; declare-network, é\n"
    path = tmp_path / "asked.vnnlib"
    path.write_text(text, encoding="utf-8-sig")
    assert read_vnnlib(path) == parse_vnnlib(text)


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    packed = bytearray(gzip.compress(asserted("(<= Y_0 1)").encode()))
    packed[10] = 0xFF  # the first block's type
    path = tmp_path / "asked.vnnlib.gz"
    path.write_bytes(packed)
    with pytest.raises(PlumblineError) as caught:
        read_vnnlib(path)
    refusal(caught.value, "cannot read it")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (asserted("(>= (* Y_0 Y_1) 1)"), "product"),
        (asserted("(>= (* 2 X_0 (+ X_0 1)) 1)"), "product"),
        (asserted("(>= H_0 1)"), "H_0"),
        (asserted("(>= (+ Z 1) 1)"), "Z"),
        (asserted(f"(>= Y_{OUTPUTS} 1)"), "Y"),
        ("(declare-const Z_0 Real)\n(assert (<= Z_0 0))", "Z_0"),
        ("(assert (<= X_0 0))", "declares"),
        ("(declare-const X_0 Real)\n(assert (<= X_0 0))", "declares"),
        (asserted("(>= Y_0 1"), "syntax"),
        (asserted("(>= Y_0 1))"), "syntax"),
        (asserted("(<= Y_0 1/3)"), "1/3"),
        (asserted("(<= Y_0 nan)"), "nan"),
        ("", "declares"),
        ("; nothing but a comment\n", "declares"),
        (asserted(*(f"(or (>= Y_0 {k}) (<= Y_1 {k}))" for k in range(20))), "cases"),
        (
            "(vnnlib-version <2.0>)\n(declare-network net (declare-input X float32 [1])"
            '(declare-hidden H float32 [1] "h") (declare-output Y float32 [1]))\n(assert (<= H[0] 1.0))',
            "H is a hidden",
        ),
    ],
    ids=lambda part: part if len(part) < 20 else "",
)
def test_what_has_no_reading_is_refused(text: str, named: str) -> None:
    with pytest.raises(PlumblineError) as caught:
        parse_vnnlib(text)
    refusal(caught.value, named)


@pytest.mark.parametrize("missing", ["lower", "upper", "one case"])
def test_an_input_without_a_bound_is_refused(missing: str) -> None:
    bound = {"lower": "(<= X_0 1)", "upper": "(>= X_0 1)", "one case": "(or (<= X_0 1) (and (<= X_0 1) (>= X_0 0)))"}
    text = DECLARED + BOUNDED.replace("(and (<= X_0 1.0) (>= X_0 0))", bound[missing])
    with pytest.raises(PlumblineError) as caught:
        parts_of(parse_vnnlib(text))
    refusal(caught.value, "input 0")


ABOVE_3, BELOW_3 = (float(np.nextafter(np.float32(3), np.float32(to))) for to in (9, 0))
LARGEST = float(np.finfo(np.float32).max)
VERSION_2 = "(vnnlib-version <2.0>)(declare-network N (declare-input X real [2,2]) (declare-output Y real [1]))"
ONE_OF_EACH = "(declare-const X_0 Real)(declare-const Y_0 Real)"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"{ONE_OF_EACH}(assert (>= Y_0 1e400))", "beyond float64"),
        (f"{ONE_OF_EACH}(assert (>= Y_0 1e999999999))", "beyond float64"),
        (f"{ONE_OF_EACH}(assert (>= Y_0 {'9' * 401}))", "beyond float64"),
        (f"{ONE_OF_EACH}(assert (>= Y_0 {'(+ 0 ' * 3000}1{')' * 3000}))", "nested too deeply"),
        (f"{ONE_OF_EACH}(assert (>= Y_0 1_000))", "no number"),
        ("(declare-const X_0 Int)(declare-const Y_0 Real)(assert (>= Y_0 1))", "declared as Int"),
        ("(declare-const X_0 Real)(declare-const X_2 Real)(declare-const Y_0 Real)(assert (>= Y_0 1))", "X_1 is due"),
        (f"{ONE_OF_EACH}(assert (>= Y_0 0))\0(assert (>= Y_0 9))", "x00' outside a comment"),
        (f"{ONE_OF_EACH}(assert (>= Y_0 \u0661))", "u0661' outside a comment"),
        ("(declare-const X_0 Real", "no declaration"),
        ("(declare-fun X_0", "no declaration"),
        (f"{VERSION_2}(assert (<= X[1,-1] 0.0))", "index that is not in"),
        (f"{VERSION_2}(assert (<= X[-1,1] 0.0))", "index that is not in"),
        ("(declare-const X_0 Real)(declare-const X_0 Real)(declare-const Y_0 Real)(assert (>= Y_0 1))", "X_1 is due"),
    ],
)
def test_what_cannot_be_meant_is_refused(text: str, said: str) -> None:
    with pytest.raises(PlumblineError, match=said):
        parse_vnnlib(text)


def test_an_equation_is_two_inequalities() -> None:
    (case,) = parse_vnnlib(f"{ONE_OF_EACH}(assert (= X_0 0.1))").cases
    assert [(row.inputs[0], row.constant) for row in case] == [
        (Fraction(1), Fraction("-0.1")),
        (Fraction(-1), Fraction("0.1")),
    ]


@pytest.mark.parametrize(
    ("bounds", "inner"),
    [
        ("(<= X_0 1) (<= X_0 1) (>= X_0 1)", (1.0, 1.0)),  # the same bound twice is that bound
        ("(>= X_0 1) (<= X_0 1) (>= X_0 1) (<= X_0 1) (<= X_0 1)", (1.0, 1.0)),
        ("(>= X_0 0) (<= X_0 3) (<= X_0 5)", (0.0, 3.0)),
        ("(>= X_0 0) (<= X_0 5) (<= X_0 3) (<= X_0 4)", (0.0, 3.0)),
        ("(>= X_0 0) (< X_0 3) (<= X_0 5)", (0.0, BELOW_3)),
        ("(>= X_0 0) (<= X_0 5) (< X_0 3) (<= X_0 3)", (0.0, BELOW_3)),  # of equal ones the strict one holds
        ("(> X_0 3) (>= X_0 3) (>= X_0 1) (<= X_0 5)", (ABOVE_3, 5.0)),
        ("(>= X_0 1) (> X_0 3) (>= X_0 2) (<= X_0 5)", (ABOVE_3, 5.0)),
        (
            "(>= X_0 -340282346638528859811704183484516925440) (<= X_0 340282346638528859811704183484516925440)",
            (-LARGEST, LARGEST),
        ),
    ],
)
def test_the_tightest_of_several_bounds_holds(bounds: str, inner: tuple[float, float]) -> None:
    (part,) = parts_of(parse_vnnlib(f"{ONE_OF_EACH}(assert (and {bounds} (>= Y_0 0)))"))
    assert [float(side[0]) for side in part.inner] == list(inner)
    assert part.lower[0] <= inner[0] <= inner[1] <= part.upper[0]


@pytest.mark.parametrize(("steps", "even"), [(1, 0), (3, 4), (5, 4), (7, 8)])
@pytest.mark.parametrize("sign", [1, -1])
def test_halfway_between_two_numbers_the_even_one_stands_for_an_input(sign: int, steps: int, even: int) -> None:
    """As readers of decimals round."""
    fixed, expected = (sign * (1 + half * 2.0**-24) for half in (steps, even))
    (part,) = parts_of(parse_vnnlib(f"{ONE_OF_EACH}(assert (and (= X_0 {Decimal(fixed)}) (>= Y_0 0)))"))
    assert [float(side[0]) for side in part.inner] == [expected, expected]


@pytest.mark.parametrize("bounds", ["(>= X_0 1) (< X_0 1)", "(> X_0 1) (<= X_0 1) (<= X_0 2)", "(>= X_0 2) (<= X_0 1)"])
def test_a_box_that_its_bounds_leave_empty_has_no_part(bounds: str) -> None:
    assert not parts_of(parse_vnnlib(f"{ONE_OF_EACH}(assert (and {bounds} (>= Y_0 0)))"))


@pytest.mark.parametrize("bounds", ["(>= X_0 0) (<= X_0 1e39)", "(>= X_0 -1e200) (<= X_0 0)"])
def test_a_bound_beyond_the_files_numbers_is_refused(bounds: str) -> None:
    with pytest.raises(PlumblineError, match=r"input 0 is beyond 3\.4e\+38"):
        parts_of(parse_vnnlib(f"{ONE_OF_EACH}(assert (and {bounds} (>= Y_0 0)))"))


def test_whole_numbers_are_refused() -> None:
    text = "(vnnlib-version <2.0>)(declare-network N (declare-input X int8 [1]) (declare-output Y int8 [1]))"
    with pytest.raises(PlumblineError, match="X is declared as"):
        parse_vnnlib(f"{text}(assert (<= X[0] 1))")
