"""Products of neurons and inputs: by hand, and against the truth at random inputs, in both arithmetics."""

from __future__ import annotations

from fractions import Fraction
from itertools import product
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from tests.verifier.checker.sampled_node import sampled_inputs
from tests.verifier.checker.small_proofs import Line, fully_connected, hexadecimal, packed, ranges, statement
from tests.verifier.checker.test_parabolas import sum_of_two
from verifier.checker import Checker, Exact, Float, Multipliers, Products, RefusedError, check, load, read_statement
from verifier.checker.backward_pass import Functions
from verifier.checker.eigenvalues import no_negative_eigenvalue
from verifier.checker.products import ROOM, add_products

HAIR = 2.0**-18
UNIT = 1 << 26
HALF = UNIT // 2
# Σ z (z - h) / 2 + Σ (x² - 1) / 2, drawn at its least point x = (1, 0), z = 3/2, where z0 + z1 is at most 11/4
PLAIN: Line = {
    "neurons": [[0, [0, 1]]],
    "units": [0, 0, 0, 0],
    "prices": [HALF, HALF, 0, 0],
    "point": [[1, 0], 0],
    "values": [[3, 3], -1],
    "scales": [[1, 1], 0],
    "crossed": [HALF, HALF],
    "others": [0, 0],
}
# and Σ z (z - 2) / 2, at z = 5/4
BOUNDED = PLAIN | {"prices": [HALF] * 4, "values": [[5, 5], -2]}
# 3/4 Σ z (z - h), Σ (z - h) (z - h - 2) / 4 and Σ (x² - 1) / 2, at z = 11/8
OTHERS = PLAIN | {
    "values": [[11, 11], -3],
    "scales": [[1, 1], -1],
    "crossed": [3 * HALF, 3 * HALF],
    "others": [1, 1],
}
# Σ (z - h) (z - h - 2) / 4, less Σ z (z - h) / 4, Σ z (z - 2) and Σ (x² - 1), drawn at 0
NEGATIVE = PLAIN | {
    "prices": [UNIT, UNIT, UNIT, UNIT],
    "point": [[0, 0], 0],
    "values": [[0, 0], 0],
    "scales": [[1, 1], -1],
    "crossed": [-HALF, -HALF],
    "others": [1, 1],
}
Arithmetic = Literal["exact", "float"]


def told(model: Path, arithmetic: Arithmetic, products: Any, radius: float = 1, **changed: Any) -> bool:
    """Whether a proof that closes its one node with these is accepted; the box is [-1, 1] for each input."""
    first = statement(model, [0, 0], radius, box=hexadecimal([-1, 1]), **changed)
    close = {"close": True} | ({} if products is None else {"products": products})
    return check(packed(first, ranges(0, [-2, -2], [2, 2]), {"goal": 1}, close), model, arithmetic).whole


@pytest.mark.parametrize("arithmetic", ["exact", "float"])
@pytest.mark.parametrize(("norm", "radius"), [("linf", 1), ("l1", 2), ("l2", 2)])
@pytest.mark.parametrize(
    ("products", "most"),
    [
        (None, 3.0),  # chords: each neuron is at most 1 + h / 2
        (PLAIN, 2.75),
        (PLAIN | {"point": [[0, 0], 0], "values": [[0, 0], 0]}, 4.0),  # 1, and z0 + z1 by chords
        (PLAIN | {"point": [[3, 0], 0]}, 6.75),  # with x0 from -1 to 3: 17/4 - x0 / 2, and z0 + z1 by chords
        (PLAIN | {"units": [1, 0, 0, 0], "prices": [HALF // 4, HALF, 0, 0]}, 2.75),
        (PLAIN | {"units": [0, 0, 0, 1], "crossed": [HALF, HALF // 2]}, 2.75),  # κ is counted in units, too
        (BOUNDED, 3.625),
        (OTHERS, 2.78125),
        (NEGATIVE, 11.5),  # 2, and 7/2 Σ z - 1/2 Σ h by chords
    ],
)
def test_two_neurons_by_hand(
    tmp_path: Path, norm: str, radius: float, arithmetic: Arithmetic, products: Line | None, most: float
) -> None:
    """The sum is at most 2 where both inputs are at most 1, and closes against anything above the bound."""
    for against, accepted in ((most + HAIR, True), (most - HAIR, False)):
        model = sum_of_two(tmp_path / f"{accepted}.onnx", against)
        assert told(model, arithmetic, products, radius, norm=norm) == accepted


def test_float_rounds_down_at_the_limits(tmp_path: Path) -> None:
    """S is (2 c p - 1) z - c p x - c p² - 1/2, with c = κ s and p below 1 by a little: no float64 holds c p or c p²."""
    model = fully_connected(tmp_path / "net.onnx", [([[1]], [0]), ([[0, 1]], [0, 0])])
    claim = read_statement(statement(model, [0], 1))
    checkers = [Checker(claim, load(model, claim), kind()) for kind in (Exact, Float)]
    for checker, line in product(checkers, (ranges(0, [-1], [1]), {"goal": 1})):
        checker.take(line)
    given = {"neurons": [[0, [0]]], "units": [0, 0], "prices": [HALF, 0], "point": [[0], 0], "others": [0]}
    for slope, less in product((0, 1), range(40)):
        value, scale, crossed = (1 << 18) - 1 - less, (1 << 18) - 1, (1 << 34) - 1
        p, c = Fraction(value, 1 << 18), Fraction(crossed * scale, 1 << 52)
        least = -c * p**2 - Fraction(1, 2) + ((c * p - 1) if slope else -c * p)
        found = {"values": [[value], -18], "scales": [[scale], -26], "crossed": [crossed]}
        close = {"slopes": [[0, [0], [slope << 8]]], "products": given | found}
        exact, rounded = (checker.node.least(checker.multipliers(close)) for checker in checkers)
        assert exact == least
        assert least - Fraction(1, 1 << 40) < Fraction(float(rounded)) <= least


@pytest.mark.parametrize("arithmetic", ["exact", "float"])
def test_prices_that_do_not_pay_are_refused(tmp_path: Path, arithmetic: Arithmetic) -> None:
    """Each input has c x² - x (z0 ± z1) / 2, each neuron z² / 2: c = 1/4 is needed, whatever else is said."""
    model = sum_of_two(tmp_path / "net.onnx", 99)
    for price, accepted in ((1 / 4 + 2.0**-12, True), (1 / 4 - 2.0**-20, False), (0, False)):
        prices = [int(price * UNIT), int(price * UNIT), 0, 0]
        assert told(model, arithmetic, PLAIN | {"prices": prices}) == accepted
        assert told(model, arithmetic, PLAIN | {"prices": [HALF, *prices[1:]]}) == accepted
    for crossed, accepted in ((HALF, True), (UNIT - (1 << 18), True), (UNIT + (1 << 10), False), (-1, False)):
        assert told(model, arithmetic, PLAIN | {"crossed": [crossed, crossed]}) == accepted
    for units in ([-1, 0, 0, 0], [0, 0, -2, 0], [0, 0, -200, -200], [-200, 0, -200, 0]):
        assert not told(model, arithmetic, PLAIN | {"units": units})
    assert not told(model, arithmetic, PLAIN | {"scales": [[3, 3], 0], "others": [1, 1], "prices": [UNIT << 3] * 4})


def behind_a_layer(path: Path, against: float) -> Path:
    """The same sum behind relu(x + 1) - 1 = x, and once more behind a relu(· + 1) - 1 of itself."""
    first = ([[1, 0], [0, 1]], [1, 1])
    second = ([[1, 1], [1, -1]], [-2, 0])
    third = ([[1], [1]], [0])
    return fully_connected(path, [first, second, third, ([[0, 1]], [against, 0])])


@pytest.mark.parametrize("arithmetic", ["exact", "float"])
@pytest.mark.parametrize(
    "neurons", [[[1, [0, 1]]], [[1, [1]], [0, [0, 1]]], [[2, [0]], [1, [0, 1]]], [[1, [1, 0]], [0, [0]], [2, [0]]]]
)
def test_stable_neurons_may_be_listed_or_not(tmp_path: Path, arithmetic: Arithmetic, neurons: Any) -> None:
    """Neurons of the first layer are their inputs, and the last is what it reads, so that the
    bound is that of the second alone, less what the others' prices cost."""
    flat = [(layer, j) for layer, listed in neurons for j in listed]
    of_second = [layer == 1 for layer, _ in flat]
    products = {
        "neurons": neurons,
        "units": [0] * (2 + len(flat)),
        "prices": [HALF, HALF] + [(HALF, 0, 1 << 16)[layer] for layer, _ in flat],
        "point": [[1, 0], 0],
        "values": [[(4 - 2 * j, 3, 6)[layer] for layer, j in flat], -1],
        "scales": [[int(one) for one in of_second], 0],
        "crossed": [HALF * one for one in of_second],
        "others": [0] * len(flat),
    }
    model = behind_a_layer(tmp_path / "net.onnx", 9)
    first = statement(model, [0, 0], 1, box=hexadecimal([-1, 1]))
    lines = (ranges(0, [0, 0], [2, 2]), ranges(1, [-2, -2], [2, 2]), ranges(2, [0], [4]), {"goal": 1})
    assert check(packed(first, *lines, {"close": True, "products": products}), model, arithmetic).whole
    assert not check(packed(first, *lines, {"close": True, "rows": [0], "products": products}), model, arithmetic).whole


@pytest.mark.parametrize("kind", [Exact, Float])
@pytest.mark.parametrize(("crossed", "most"), [(UNIT, 0.0), (-UNIT, -3 / 4)])
def test_behind_an_open_neuron_that_is_not_listed(tmp_path: Path, kind: Any, crossed: int, most: float) -> None:
    """Of relu(relu(x) - 1/4), h has x / 2 in ν, by a chord: from x = 1 on it loses 0 to 1, as far as the rule sees."""
    model = fully_connected(tmp_path / "net.onnx", [([[1]], [0]), ([[1]], [-0.25]), ([[0, 1]], [9, 0])])
    claim = read_statement(statement(model, [0], 1))
    checker = Checker(claim, load(model, claim), kind())
    for line in (ranges(0, [-1], [1]), ranges(1, [-0.25], [0.75]), {"goal": 1}):
        checker.take(line)
    prices = [UNIT // 2, UNIT // 8 if crossed > 0 else 3 * UNIT // 2]
    given = Products({1: [0]}, [0, 0], prices, ([1], 0), ([3], -2), ([1], 0), [crossed], [0])
    found = Functions(checker.node.setting, 1)
    add_products(found, given, checker.node.ranges)
    x = np.linspace(-1, 1, 65)
    places = {0: x, checker.network.relus[1]: np.maximum(np.maximum(x, 0) - 0.25, 0)}
    constant, rows = rational(checker, found.constants), found.coefficients
    f = constant + sum(rational(checker, row[0]) * places[index] for index, row in rows.items())
    assert np.max(f) == pytest.approx(most, abs=1e-6)


def rational(checker: Checker, numbers: Any) -> float:
    """The one number there is."""
    return float(checker.arithmetic.fraction(numbers[0]))


@pytest.mark.parametrize("arithmetic", ["exact", "float"])
def test_units_and_constraints(tmp_path: Path, arithmetic: Arithmetic) -> None:
    model = sum_of_two(tmp_path / "net.onnx", 2.875)
    assert told(model, arithmetic, PLAIN, 0.5, scale=hexadecimal([2, 2]))
    assert not told(model, arithmetic, None, 0.5, scale=hexadecimal([2, 2]))
    first = statement(model, [0, 0], 1, box=hexadecimal([-1, 1]), constraints=[[[0], hexadecimal([1]), hexadecimal(9)]])
    lines = (first, ranges(0, [-2, -2], [2, 2]), {"goal": 1}, {"close": True, "rows": [1, 0], "products": PLAIN})
    assert check(packed(*lines), model, arithmetic).whole


@pytest.mark.parametrize("arithmetic", ["exact", "float"])
def test_the_function_of_a_cap_may_have_products(tmp_path: Path, arithmetic: Arithmetic) -> None:
    """φ > 0 with them: no adversary is left, and any value of any neuron follows."""
    model = sum_of_two(tmp_path / "net.onnx", 2.875)
    start = (statement(model, [0, 0], 1, box=hexadecimal([-1, 1])), ranges(0, [-2, -2], [2, 2]), {"goal": 1})
    cap = {"cap": [[0, [0], "lower", [3], [1 << 20]]], "exponent": 0}
    for products, accepted in (({"products": PLAIN}, True), ({}, False)):
        assert check(packed(*start, cap | products, {"empty": [0, 0]}), model, arithmetic).whole == accepted


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"neurons": [[1, [0, 1]]]}, "a layer of products is 1"),
        ({"neurons": [[0, [0, 2]]]}, "or one that layer 0 has not"),
        ({"neurons": [[0, [0, 0]]]}, "lists a neuron twice"),
        ({"neurons": [[0, [0]], [0, [1]]]}, "lists layer 0 twice"),
        ({"neurons": []}, "a layer without neurons"),
        ({"neurons": [[0, []]]}, "a layer without neurons"),
        ({"neurons": [[0, [0, 1], []]]}, "the neurons of products has 3 entries"),
        ({"neurons": [[0, [0]]]}, "units has 4 entries"),
        ({"units": [0, 0, 0]}, "units has 3 entries"),
        ({"units": [0, 0, 0, 201]}, "units holds a whole number outside"),
        ({"prices": [0, 0, 0, -1]}, "prices holds a whole number outside"),
        ({"prices": [0, 0, 0, 1 << 30]}, "prices holds a whole number outside"),
        ({"point": [[0], 0]}, "point has 1 entries"),
        ({"values": [[1, -1], 0]}, "values holds -1"),
        ({"values": [[1, 1 << 18], 0]}, "more than 18 bits"),
        ({"values": [[1, 1], 201]}, "the exponent of values"),
        ({"scales": [[1, -1], 0]}, "scales holds -1"),
        ({"scales": [[1, 1 << 24], 0]}, "more than 24 bits"),
        ({"crossed": [1, 1 << 34]}, "crossed holds a whole number outside"),
        ({"crossed": [1, 0.5]}, "crossed holds what is no whole number"),
        ({"others": [0, 2]}, "others holds a whole number outside"),
        ({"others": [0, True]}, "others holds what is no whole number"),
        ({"more": 1}, "'more' is not known"),
    ],
)
def test_what_breaks_the_rule_is_refused(tmp_path: Path, changed: Line, why: str) -> None:
    model = sum_of_two(tmp_path / "net.onnx", 99)
    first = statement(model, [0, 0], 1, box=hexadecimal([-1, 1]))
    for products, told_why in ((PLAIN | changed, why), ([], "is no JSON object"), ({}, "'neurons' is missing")):
        close: Line = {"close": True, "products": products}
        assert told_why in check(packed(first, ranges(0, [-2, -2], [2, 2]), {"goal": 1}, close), model, "exact").why


def test_a_list_may_not_be_too_long(tmp_path: Path) -> None:
    """With all that it holds as long as it would have to be."""
    layers = [(np.zeros((2050, 4)), np.ones(4)), (np.zeros((4, 2050)), np.ones(2050)), (np.zeros((2050, 2)), [0, 0])]
    model = fully_connected(tmp_path / "net.onnx", layers)
    first = statement(model, [0] * 2050, 1)
    for count in (2049, 2047):
        of_neurons = {key: [[0] * count, 0] for key in ("values", "scales")} | {
            key: [0] * count for key in ("crossed", "others")
        }
        every = {key: [0] * (2050 + count) for key in ("units", "prices")}
        products = {"neurons": [[1, list(range(count))]], "point": [[0] * 2050, 0], **every, **of_neurons}
        lines = (ranges(0, [1] * 4, [1] * 4), ranges(1, [1] * 2050, [1] * 2050), {"goal": 1})
        told_why = check(packed(first, *lines, {"close": True, "products": products}), model, "float").why
        assert "more than 2048" in told_why


@pytest.mark.parametrize("kind", [np.int64, np.float64])
def test_a_negative_eigenvalue_is_never_missed(kind: type[np.generic]) -> None:
    """Matrices whose least eigenvalue is just above 0 and just below, and such as no factor is found of."""
    rng = np.random.default_rng(3)
    for size in (1, 2, 7, 30):
        rows = rng.normal(size=(size, size))
        rows = rows @ rows.T
        rows -= np.linalg.eigvalsh(rows)[0] * np.eye(size)
        rows /= max(1.0, float(np.linalg.norm(rows, 2)))
        for least, held in ((2 * ROOM, True), (-(2.0**-20), False), (-0.5, False), (8.0, False)):
            whole = np.rint((rows + least * np.eye(size)) * 2.0**53).astype(np.int64)
            assert no_negative_eigenvalue((whole + whole.T) // 2, ROOM, kind) == held  # 8: a factor that is too large


def sampled_products(rng: np.random.Generator, hidden: list[np.ndarray], inputs: np.ndarray) -> Products:
    """Random numbers, drawn near a point of the node, so that F is near 0 there."""
    listed = {int(k): [int(j) for j in rng.permutation(len(hidden[k][0]))[: rng.integers(1, 5)]] for k in (0, 1)}
    if rng.integers(2):
        del listed[int(rng.integers(2))]
    at, count = int(rng.integers(len(inputs))), sum(map(len, listed.values()))
    z = [max(float(hidden[k][at, j]), 0.0) for k, neurons in listed.items() for j in neurons]
    small = int(rng.integers(14, 27))
    scale = min(26, small + int(rng.integers(6)))
    return Products(
        listed,
        rng.integers(-1, 2, 3 + count).tolist(),
        rng.integers(1 << small, 3 << small, 3 + count).tolist(),
        ([round(float(one) * 2**30) for one in inputs[at]], -30),
        ([round(one * 2**10) for one in z], -10),
        (rng.integers(0, 12, count).tolist(), int(rng.integers(-8, -3))),
        rng.integers(-(1 << scale), 1 << scale, count).tolist(),
        rng.integers(0, 2, count).tolist(),
    )


@pytest.mark.parametrize("norm", ["linf", "l1", "l2"])
def test_any_numbers_are_right_and_float_is_never_above_exact(tmp_path: Path, norm: str) -> None:
    """F is nowhere above 0 at random points of the region and of the node, and S nowhere below what is said of it."""
    rng = np.random.default_rng(11)
    checkers, hidden, x = sampled_inputs(tmp_path / "net.onnx", rng, norm, classes=2, points=2000)
    values, s, paid, nearest = [x, *(np.maximum(h, 0) for h in hidden)], hidden[2][:, 0] - hidden[2][:, 1], 0, -np.inf
    for _ in range(100):
        given = sampled_products(rng, hidden, x)
        node, setting = checkers[1].node, checkers[1].node.setting
        found = Functions(setting, 1)
        try:
            add_products(found, given, node.ranges)
            exact, rounded = (checker.node.least(Multipliers([1], products=given)) for checker in checkers)
        except RefusedError as error:
            assert "do not pay" in str(error)  # noqa: PT017 — nothing else may be wrong
            continue
        paid += 1
        assert Fraction(float(rounded)) <= exact
        assert float(rounded) >= float(exact) - 1e-8
        assert float(exact) <= s.min() + 1e-9
        places = dict(zip([0, *setting.network.relus], values, strict=False))
        f = found.constants[0] + sum(places[index] @ rows[0] for index, rows in found.coefficients.items())
        assert f.max() <= 1e-12
        nearest = max(nearest, f.max())
    assert paid > 40
    assert nearest > -0.01
