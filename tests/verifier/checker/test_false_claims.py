"""Nobody gets a false claim accepted: by odd numbers, by what holds elsewhere, by the tightest steps that are allowed.

The hardest claims are false by nothing: an input is chosen, the margin is exactly its lead and the radius exactly its
distance. It is an adversary then, at the end of the ball, and every step of a proof has to leave it where it is.
"""

from __future__ import annotations

import contextlib
import gzip
import json
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from tests.claims import Network
from tests.draws import draws
from tests.small_files import f32, node, written
from tests.verifier.checker.small_proofs import (
    Line,
    fully_connected,
    hexadecimal,
    packed,
    random_layers,
    ranges,
    statement,
)
from verifier.checker import Checker, Exact, Float, RefusedError, UncheckableError, check, load, read_statement

CLOSE: Line = {"close": True}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Scores 1 and relu(x): an adversary from 1 on."""
    return fully_connected(tmp_path / "small.onnx", [([[1]], [0]), ([[0, 1]], [1, 0])])


def never(of: Path, *lines: Line | bytes) -> None:
    """Neither arithmetic accepts a proof of these lines."""
    texts = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
    arithmetic: Literal["exact", "float"]
    for arithmetic in ("exact", "float"):
        verdict = check(gzip.compress(b"\n".join(texts) + b"\n"), of, arithmetic)
        assert not verdict.accepted, verdict.told()
        verdict.told().encode()


def too_far(of: Path, radius: float = 2) -> list[Line]:
    return [statement(of, [0], radius), ranges(0, [-radius], [radius]), {"goal": 1}]


@pytest.mark.parametrize(
    "close",
    [
        {"rows": [0]},
        {"rows": [0], "signs": [[0, [0], [0]]]},
        {"rows": [1e400]},
        {"rows": [-0.0]},
        {"rows": [True]},
        {"rows": [[1]]},
        {"rows": ["1"]},
        {"rows": [1], "rows_exponent": 5000},
        {"rows": [1], "rows_exponent": 1023},
        {"rows": [1], "rows_exponent": -5000},
        {"rows": [1], "rows_exponent": -1074},
        {"rows": [(1 << 2048) - 1], "rows_exponent": 5000},
        {"rows": [(1 << 2048) - 1], "rows_exponent": -1100},
        {"slopes": [[0, [0], [0]]], "slope_bits": 0},
        {"slopes": [[0, [0], [1]]], "slope_bits": 0},
        {"slopes": [[0, [0], [1]]], "slope_bits": 5000},
        {"signs": [[0, [0], [1]]], "signs_exponent": 5000},
        {"signs": [[0, [0], [-1]]], "signs_exponent": 5000},
        {"signs": [[0, [0], [1 << 53]]], "signs_exponent": 970},
        {"signs": [[0, [0], [-(1 << 53)]]], "signs_exponent": 970},
        {"rows": [1], "rows_exponent": 400, "signs": [[0, [0], [-1]]], "signs_exponent": 400},
        {"signs": [[0, [], []]]},
        {"signs": []},
        {"cl\u043ese": True},
        {"\ud800": True},
    ],
)
def test_numbers_that_close_nothing(model: Path, close: Line) -> None:
    never(model, *too_far(model), CLOSE | close)


@pytest.mark.parametrize("weight", [(0, 0), (1, 0), (1, -60), (1, 60), (1, 900), (1, 4000), ((1 << 2048) - 1, 5000)])
@pytest.mark.parametrize("rows", [[0], [1], [1 << 60], [(1 << 1023)]])
@pytest.mark.fewer
def test_no_weight_makes_a_cap_that_cuts_off_an_adversary(model: Path, weight: tuple[int, int], rows: Any) -> None:
    """Where an adversary can be, from 1 to 2, no lower end is above 1, and no upper end below 2."""
    for side, value in (("lower", 1 + (1 << 30)), ("upper", (2 << 30) - 1)):
        cap = {"cap": [[0, [0], side, [value], [weight[0]]]], "exponent": -30, "weights_exponent": weight[1]}
        never(model, *too_far(model), cap | {"rows": rows}, {"split": [0, 0]}, {"empty": [0, 0]}, CLOSE)
        for end in ({"empty": [0, 0]}, CLOSE):
            never(model, *too_far(model), cap | {"rows": rows}, end)


@pytest.fixture
def two_sides(tmp_path: Path) -> Path:
    """Neurons x and -x; class 0 has relu(x) + 1, class 1 has 4 relu(-x), class 2 has -1: from 1, x ≤ -1/4 is far."""
    return fully_connected(tmp_path / "sides.onnx", [([[1, -1]], [0, 0]), ([[1, 0, 0], [0, 4, 0]], [1, 0, -1])])


DEAD: Line = {
    "cap": [[0, [1], "upper", [1], [1]]],
    "exponent": -20,
    "weights_exponent": 0,
    "rows": [0],
    "signs": [[0, [0], [1]]],
}


def of_sides(of: Path, **changed: Any) -> list[Line]:
    return [statement(of, [1], 2, **changed), ranges(0, [-1, -3], [3, 1]), {"goal": 1}]


def test_what_holds_in_one_subtree_does_not_in_the_other(two_sides: Path) -> None:
    start, split = of_sides(two_sides), {"split": [0, 0]}
    rest = ({"goal": 2}, CLOSE)
    close = CLOSE | {"signs": [[0, [0], [1]]]}
    assert check(packed(*start, split, DEAD, close, {"claim": "none"}, *rest), two_sides).accepted
    for end in (close, CLOSE, CLOSE | {"signs": [[0, [0], [-1]]]}):
        never(two_sides, *start, split, DEAD, close, end, *rest)
        never(two_sides, *start, split, DEAD, close, DEAD, end, *rest)
        never(two_sides, *start, DEAD, end, *rest)
        never(two_sides, *start, split, DEAD, {"split": [0, 1]}, close, close, end, *rest)


def test_an_emptied_range_is_whole_again_in_the_sibling_and_at_the_next_goal(two_sides: Path) -> None:
    """Class 2 never wins: on its caps, and nowhere else, every range is empty."""
    nowhere = {"cap": [[0, [0, 1], "lower", [9, 9], [12, 12]]], "exponent": 0, "rows": [1, 0]}
    empty: Line = {"empty": [0, 0]}
    start = [statement(two_sides, [1], 2, targets=[2, 1]), ranges(0, [-1, -3], [3, 1]), {"goal": 2}]
    both = {"split": [0, 1]}
    first = [*start, both, nowhere, empty, nowhere, empty, {"goal": 1}]
    assert check(packed(*first, {"claim": "none"}), two_sides).accepted
    never(two_sides, *start, both, nowhere, empty, empty, {"goal": 1}, {"claim": "none"})
    for end in (empty, {"empty": [0, 1]}, CLOSE, CLOSE | {"rows": [0, 1]}, nowhere | {"rows": [0, 1]}):
        never(two_sides, *first, end)
        never(two_sides, *first, both, end, end)


def test_neurons_of_one_entry_do_not_lean_on_each_other(two_sides: Path) -> None:
    """Each value follows from the ranges before its entry, whatever stands beside it, twice or once."""
    start = of_sides(two_sides)
    for neurons, values in (([1, 1], [0, 0]), ([0, 1], [0, 0]), ([0, 0, 1], [3, 0, 0])):
        cap = {"cap": [[0, neurons, "upper", values, [1] * len(values)]], "exponent": 0}
        never(two_sides, *start, cap, CLOSE, {"goal": 2}, CLOSE)


@pytest.mark.parametrize(
    "line",
    [
        ranges(0, [2], [-2]),
        ranges(0, [-2], [-2]),
        ranges(0, [0], [0]),
        {"ranges": 0, "exponent": 5000, "lower": [0], "upper": [0]},
        {"ranges": 0, "exponent": -5000, "lower": [-1], "upper": [1]},
        ranges(0, [1], [2]),
    ],
)
def test_ranges_that_hold_nowhere(model: Path, line: Line) -> None:
    never(model, statement(model, [0], 2), line, {"goal": 1}, CLOSE)
    never(model, statement(model, [0], 2), line, {"goal": 1}, {"empty": [0, 0]})


ODD_RADII = ["inf", "nan", "0x1p600", "0x1p5001", "-0x0.1p0", "0x", "0x1p0 ", "0x\uff11p0", [1, 4000]]


@pytest.mark.parametrize("norm", ["linf", "l1", "l2"])
@pytest.mark.parametrize("radius", ODD_RADII)
def test_odd_radii(model: Path, radius: Any, norm: str) -> None:
    for low, high in ((-2, 2), (0, 0), (-(2**900), 2**900)):
        never(
            model,
            statement(model, [0], 0, norm=norm) | {"radius": radius},
            ranges(0, [low], [high]),
            {"goal": 1},
            CLOSE,
        )


@pytest.mark.parametrize("norm", ["linf", "l1", "l2"])
@pytest.mark.parametrize("end", [CLOSE, {"empty": [0, 0]}])
def test_a_sample_that_is_an_adversary_has_no_radius(model: Path, norm: str, end: Line) -> None:
    """A range that is a single point is not empty."""
    for box in ([-10, 10], [1, 1]):
        first = statement(model, [1], 0, norm=norm, box=hexadecimal(box))
        never(model, first, ranges(0, [1], [1], hair=0), {"goal": 1}, end)


def test_an_upper_line_is_nowhere_below_the_end_of_a_range(model: Path) -> None:
    """From -1 to 2 its slope is 2/3, which no number of forty bits is: at 2 there is a lead of 1."""
    proof = [ranges(0, [-1], [2], hair=0), {"goal": 1}, CLOSE]
    first = statement(model, [0.5], 1.5)
    never(model, first | {"margin": hexadecimal(1)}, *proof)
    assert check(packed(first | {"margin": [(1 << 50) + 1, -50]}, *proof), model, "exact").whole


def test_a_margin_between_two_floats_is_told_to_the_side_that_claims_less(model: Path) -> None:
    """The greatest lead within 2 is 1: that none of 1 + 2^-70 is reached does not say that none of 1 is."""
    margin = {"margin": [(1 << 70) + 1, -70]}
    lines = [statement(model, [0], 2) | margin, ranges(0, [-2], [2], hair=0), {"goal": 1}, CLOSE]
    assert check(packed(*lines), model, "exact").proven == "no class leads by 1.00001 or more within linf 2"
    witness = {"witness": {"input": hexadecimal([2.5]), "distance": hexadecimal(2.5)}}
    told = check(packed(statement(model, [0], None) | margin | witness), model).proven
    assert told == "one adversary that leads by 1.00000 or more within linf 2.5"
    told = check(packed(lines[0] | witness, *lines[1:]), model, "exact").proven
    assert told.endswith("within linf 2; one that leads by 1.00000 or more at 2.5")


def of_all_kinds(of: Path, radius: float, **changed: Any) -> None:
    """In each norm, with ranges that hold and ones that do not; constraints count for nothing, as rows do, and more."""
    count = len(changed.get("constraints", []))
    prices = [[1] + [0] * count, [1] * (1 + count), [0] + [1 << 1000] * count] if count else [[1]]
    for norm in ("linf", "l1", "l2"):
        first = statement(of, [0], None, norm=norm) | {"radius": hexadecimal(radius)} | changed
        for reach in (2, 0.5):
            for rows in prices:
                never(of, first, ranges(0, [-reach], [reach]), {"goal": 1}, CLOSE | {"rows": rows})


@pytest.mark.parametrize(
    ("units", "radius"),
    [
        ([hexadecimal(2)], 0.5),
        ([hexadecimal(3)], 0.34),
        ([[1, 1000]], 2.0**-1000),
        ([[1, -1000]], 2.0**1000),
        ([[1, 5000]], 2),
        ([hexadecimal(-1)], 2),
        ([[0, 0]], 2),
        (["-0x0p0"], 2),
        (["inf"], 2),
        (["nan"], 2),
        ([], 2),
        ([hexadecimal(1)] * 2, 2),
        (hexadecimal(1), 2),
        (None, 2),
        ([None], 2),
    ],
)
def test_units_in_which_an_adversary_is_near_or_that_are_none(model: Path, units: Any, radius: float) -> None:
    of_all_kinds(model, radius, scale=units)


@pytest.mark.parametrize(
    "constraint",
    [
        [[0], [1], 1],
        [[0], [-1], -1],
        [[0], [-1], 0],
        [[0], [0], 0],
        [[0], [1], 1.5],
        [[0], [2.0**-1074], 2.0**-1074],
        [[0], [1e308], 1e308],
        [[0], [-1e308], -1e308],
        [[], [], 0],
    ],
)
def test_constraints_that_an_adversary_keeps(model: Path, constraint: Any) -> None:
    one = hexadecimal(constraint[1:])
    for copies in (1, 2):
        of_all_kinds(model, 2, constraints=[[constraint[0], *one]] * copies)


@pytest.mark.parametrize(
    "constraint",
    [
        [[0, 0], ["0x1p0", "-0x1p0"], "-0x1p0"],
        [[1], ["0x1p0"], "-0x1p0"],
        [[-1], ["0x1p0"], "-0x1p0"],
        [[0.0], ["0x1p0"], "-0x1p0"],
        [[False], ["0x1p0"], "-0x1p0"],
        [[0], ["nan"], "-0x1p0"],
        [[0], ["-inf"], "-0x1p0"],
        [[0], ["0x1p0"], "-inf"],
        [[0], ["0x1p0"], "nan"],
        [[0], ["0x1p0"], None],
        [[0], [], "-0x1p0"],
        [[0], ["0x1p0"]],
        [[0], ["0x1p0"], "-0x1p0", 0],
        [[0], [[1, 3000]], "-0x1p0"],
        {"0": "-0x1p0"},
        [],
    ],
)
def test_what_is_no_constraint(model: Path, constraint: Any) -> None:
    of_all_kinds(model, 2, constraints=[constraint])


@pytest.mark.parametrize("name", ["\0", "\ud800", "", ".", "a" * 5000])
def test_names_of_external_data_that_are_no_files(model: Path, name: str) -> None:
    first = statement(model, [0], 0.5)
    lines = [first | {"model": first["model"] | {"external": {name: "0" * 64}}}, *too_far(model)[1:], CLOSE]
    with contextlib.suppress(UncheckableError):
        assert not check(packed(*lines), model).accepted


# Files of an odd shape: the witness leads by exactly what it leads, and no more

W, V = f32([[1, -2, 0.5], [0.25, 3, -1]]), f32([[1, -1], [2, 0.5], [-3, 1]])
MATMUL, OUT = node("MatMul", ["x", "w"], ["h"]), node("MatMul", ["z", "v"], ["y"])
ODD: dict[str, tuple[list[Any], dict[str, Any]]] = {
    "no ReLU": ([MATMUL, node("MatMul", ["h", "v"], ["y"])], {}),
    "scores before the last ReLU": ([MATMUL, node("Relu", ["h"], ["z"]), OUT, node("Relu", ["y"], ["unused"])], {}),
    "a ReLU of the scores": ([MATMUL, node("MatMul", ["h", "v"], ["s"]), node("Relu", ["s"], ["y"])], {}),
    "a ReLU of a ReLU": ([MATMUL, node("Relu", ["h"], ["r"]), node("Relu", ["r"], ["z"]), OUT], {}),
    "a ReLU read twice": (
        [MATMUL, node("Relu", ["h"], ["r"]), node("Add", ["r", "r"], ["s"]), node("Add", ["s", "r"], ["z"]), OUT],
        {},
    ),
    "two ReLUs of one value": (
        [MATMUL, node("Relu", ["h"], ["r"]), node("Relu", ["h"], ["s"]), node("Add", ["r", "s"], ["z"]), OUT],
        {},
    ),
    "the deeper ReLU is not the later one": (
        [
            MATMUL,
            node("Relu", ["h"], ["r"]),
            node("MatMul", ["r", "u"], ["g"]),
            node("Relu", ["g"], ["s"]),
            node("MatMul", ["x", "w2"], ["f"]),
            node("Relu", ["f"], ["t"]),
            node("Add", ["s", "t"], ["z"]),
            OUT,
        ],
        {"u": f32([[1, 2, -1], [0, 1, 1], [-1, 0.5, 2]]), "w2": f32([[-1, 1, 2], [1, 0, -1]])},
    ),
    "one constant for two layers": (
        [
            MATMUL,
            node("Relu", ["h"], ["r"]),
            node("MatMul", ["r", "u"], ["g"]),
            node("Relu", ["g"], ["s"]),
            node("MatMul", ["s", "u"], ["z"]),
            OUT,
        ],
        {"u": f32([[1, 2, -1], [0, 1, 1], [-1, 0.5, 2]])},
    ),
    "denormal weights": ([MATMUL, node("Relu", ["h"], ["z"]), OUT], {"w": W * f32(2.0**-148)}),
    "huge weights": ([MATMUL, node("Relu", ["h"], ["z"]), OUT], {"w": W * f32(1e38), "v": V * f32(1e38)}),
    "half precision": ([MATMUL, node("Relu", ["h"], ["z"]), OUT], {"w": np.float16(W / 3), "v": np.float16(V / 7)}),
}


def odd(path: Path, name: str) -> Path:
    nodes, constants = ODD[name]
    return written(path / "odd.onnx", nodes, {"w": W, "v": V} | constants, inputs=(1, 2), outputs={"y": (1, 2)})


@pytest.mark.parametrize("name", ODD)
def test_odd_files_are_read_as_they_are(tmp_path: Path, name: str) -> None:
    path, x = odd(tmp_path, name), (Fraction(-3, 4), Fraction(5, 16))
    one, two = Network(path, tiny=True).scores(x)
    loser, lead = (0, two - one) if two > one else (1, one - two)
    assert lead > 0
    witness = {"input": hexadecimal(list(x)), "distance": hexadecimal(1)}
    for more, whole in ((Fraction(0), True), (lead / 2**60, False)):
        first = statement(path, [0, 0], None, against=loser, witness=witness) | {"margin": pair(lead + more)}
        assert check(packed(first), path).whole == whole


def pair(number: Fraction) -> list[int]:
    """A dyadic number as a proof may write it."""
    return [number.numerator, 1 - number.denominator.bit_length()]


# Claims that are false by nothing


class Attacker:
    """Walks down a tree where a known adversary is, tightening whatever the checker lets it, as far as it lets it."""

    def __init__(
        self, checker: Checker, hidden: Sequence[Sequence[Fraction]], constraints: int, rng: np.random.Generator
    ) -> None:
        self.checker, self.hidden, self.constraints, self.rng = checker, hidden, constraints, rng
        self.exact = isinstance(checker.arithmetic, Exact)

    def ranges(self) -> None:
        """Ranges as tight as the checker lets them be, or looser."""
        for k, values in enumerate(self.hidden):
            ends = []
            for side in ("lower", "upper"):
                ways = [self.checker.node.least_by_intervals, self.checker.node.least_of_neurons]
                least = ways[int(self.rng.integers(2))](k, range(len(values)), side)
                ends.append([self._value(one, side) for one in least])
            exponent = min(end[1] for side in ends for end in side)
            lower, upper = ([m << e - exponent for m, e in side] for side in ends)
            self.checker.take({"ranges": k, "exponent": exponent, "lower": lower, "upper": upper})

    def node(self) -> None:
        """One step down, after which the adversary is still there, and nothing is closed."""
        node = self.checker.node
        for _ in range(3):
            line = self._multipliers()
            assert not node.least(self.checker.multipliers(line)) > 0
            self._cap(line)
            self._is_there()
        k = int(self.rng.integers(len(self.hidden)))
        j = int(self.rng.integers(len(self.hidden[k])))
        with pytest.raises(RefusedError, match="not empty"):
            self.checker.take({"empty": [k, j]})
        self.checker.take({"split": [k, j]})
        if self.hidden[k][j] < 0:
            self.checker.take({"claim": "none"})
        self._is_there()

    def _is_there(self) -> None:
        for k, values in enumerate(self.hidden):
            for j, value in enumerate(values):
                assert self.checker.node.bound(k, j, "lower") <= value <= self.checker.node.bound(k, j, "upper")

    def _cap(self, line: Line) -> None:
        """Better ends of neurons of one layer, each the best that its weight shows."""
        node, k = self.checker.node, int(self.rng.integers(len(self.hidden)))
        neurons, side = list(range(len(self.hidden[k]))), str(self.rng.choice(["lower", "upper"]))
        mantissas = [int(one) for one in self.rng.integers(0, 64, len(neurons))]
        power = int(self.rng.choice([-3, -6, 0, -20]))
        phi = node.function(self.checker.multipliers(line))
        weights = self.checker.arithmetic.scaled(mantissas, power)
        found = [self._value(one, side) for one in node.least_of_neurons(k, neurons, side, phi, weights)]
        exponent = min(e for _, e in found)
        values = [m << e - exponent for m, e in found]
        told = {key: line[key] for key in line if key != "close"}
        entry = [k, neurons, side, values, mantissas]
        self.checker.take({"cap": [entry], "exponent": exponent, "weights_exponent": power, **told})

    def _value(self, least: Any, side: str) -> tuple[int, int]:
        """The tightest end that follows from a least value of h, or of -h, as m · 2^e."""
        if self.exact:
            bits = max(0, 200 - abs(least.numerator).bit_length() + least.denominator.bit_length())
            down = (least * 2**bits).__floor__()
            return (down if side == "lower" else -down), -bits
        top, below = float(least if side == "lower" else -least).as_integer_ratio()
        return top, 1 - below.bit_length()

    def _multipliers(self) -> Line:
        """Random ones, of which each is right."""
        goal = self.checker.node.goal
        assert goal is not None
        layers = range(len(self.hidden))
        pick = self.rng.integers
        signs = [[k, list(range(len(self.hidden[k]))), pick(-9, 10, len(self.hidden[k])).tolist()] for k in layers]
        slopes = [[k, list(range(len(self.hidden[k]))), pick(0, 9, len(self.hidden[k])).tolist()] for k in layers]
        rows = pick(0, 9, len(goal.others) + self.constraints).tolist()
        bins = pick(0, 3, self.checker.network.inputs).tolist()
        shares = [[k, list(range(len(self.hidden[k]))), pick(0, 9, (len(self.hidden[k]), 3)).tolist()] for k in layers]
        return self._multiplied(
            {"close": True, "rows": rows, "slopes": slopes, "slope_bits": 3}
            | ({"signs": signs, "signs_exponent": int(pick(-9, 1))} if pick(2) else {})
            | ({"bins": bins, "shares": shares, "share_bits": 3} if pick(2) else {})
        )

    def _multiplied(self, line: Line) -> Line:
        """The same with parabolas, with products, or with both."""
        return self._paid(self._paid(line, "parabolas", self._parabolas()), "products", self._products())

    def _paid(self, line: Line, key: str, given: Line) -> Line:
        """The same with what is given, where its random prices pay."""
        try:
            self.checker.node.function(self.checker.multipliers(line | {key: given}))
        except RefusedError as error:
            assert "do not pay" in str(error)  # noqa: PT017 — many do not, and nothing else may be wrong
            return line
        return line | {key: given}

    def _products(self) -> Line:
        """Of some neurons of some layers, near the adversary or not, in units about the size of the numbers there."""
        pick, inputs, layers = self.rng.integers, self.checker.network.inputs, self.rng.permutation(len(self.hidden))
        neurons = [
            [int(k), self.rng.permutation(len(self.hidden[k]))[: pick(1, 5)].tolist()] for k in layers[: pick(1, 3)]
        ]
        flat = [(k, j) for k, listed in neurons for j in listed]
        count, near, power = len(flat), bool(pick(2)), int(pick(-8, 3))
        sizes = [max(float(self.checker.node.bound(k, j, "upper")), 2.0**-190) for k, j in flat]
        units = [*pick(-3, 4, inputs).tolist(), *(max(-180, min(180, 1 - int(np.frexp(one)[1]))) for one in sizes)]
        most = max([2.0**-180, *(float(self.hidden[k][j]) for k, j in flat)])
        unit = max(-200, min(200, int(np.frexp(most)[1]) - 13))
        at = [min(int(max(float(self.hidden[k][j]), 0.0) * 2.0**-unit), (1 << 14) - 1) for k, j in flat]
        crossed = int(pick(10, 30))
        return {
            "neurons": neurons,
            "units": units,
            "prices": pick(1 << 15, 1 << int(pick(16, 28)), inputs + count).tolist(),
            "point": [pick(-9, 10, inputs).tolist(), int(pick(-8, 1))],
            "values": [at if near else pick(0, 1 << 13, count).tolist(), unit],
            "scales": [pick(0, 9, count).tolist(), min(max(units[-1] + power - 4, -200), 200)],
            "crossed": pick(-(1 << crossed), 1 << crossed, count).tolist(),
            "others": pick(0, 2, count).tolist(),
        }

    def _parabolas(self) -> Line:
        pick, inputs, k = self.rng.integers, self.checker.network.inputs, int(self.rng.integers(len(self.hidden)))
        count, power = int(pick(1, len(self.hidden[k]) + 1)), int(pick(-8, 3))
        return {
            "layer": k,
            "neurons": self.rng.permutation(len(self.hidden[k]))[:count].tolist(),
            "weights": [pick(0, 9, count).tolist(), power - 2],
            "spreads": [pick(0, 9, count).tolist(), int(pick(-8, 3))],
            "prices": [pick(0, int(self.rng.choice([25, 200])), inputs).tolist(), power],
            "point": [pick(-9, 10, inputs).tolist(), int(pick(-8, 1))],
        }


def moved(rng: np.random.Generator, norm: str, size: int) -> tuple[list[Fraction], Fraction]:
    """A move of two or three entries, and its length, which is a number of few bits."""
    lengths = [3, 4] if norm == "l2" else [int(one) for one in rng.integers(1, 9, 2)]
    signs = [int(one) for one in rng.choice([-1, 1], 2)]
    unit = Fraction(1, 2 ** int(rng.integers(2, 6)))
    move = [Fraction(0)] * size
    for at, length, sign in zip(rng.permutation(size)[:2], lengths, signs, strict=True):
        move[int(at)] = unit * length * sign
    return move, unit * {"linf": max(lengths), "l1": sum(lengths), "l2": 5}[norm]


def kept_by(point: Sequence[Fraction], rng: np.random.Generator) -> list[Any]:
    """A constraint that the point keeps, by as little as a float64 limit lets it."""
    inputs = [int(one) for one in rng.permutation(len(point))[: rng.integers(1, len(point) + 1)]]
    weights = [int(one) for one in rng.integers(-4, 5, len(inputs))]
    least = sum((point[i] * a for i, a in zip(inputs, weights, strict=True)), Fraction(0))
    limit = float(least)
    return [inputs, hexadecimal(weights), hexadecimal(limit if limit >= least else float(np.nextafter(limit, np.inf)))]


@pytest.mark.parametrize("kind", [Exact, Float])
@pytest.mark.parametrize("norm", ["linf", "l1", "l2"])
def test_an_adversary_at_the_end_of_the_ball_is_never_lost(tmp_path: Path, norm: str, kind: Any) -> None:
    for seed in range(draws(6, 120)):
        rng = np.random.default_rng(seed)
        scale = float(rng.choice([1, 1, 2.0**-60, 2.0**30, 2.0**100]))
        layers = [(w * scale, b * scale) for w, b in random_layers(rng, (3, 4, 3, 3))]
        path = fully_connected(tmp_path / f"{seed}.onnx", layers, double=True)
        sample = [Fraction(int(one), 64) for one in rng.integers(-64, 65, 3)]
        move, radius = moved(rng, norm, 3)
        units = [Fraction(float(one)) for one in rng.choice([1, 3, 0.75, 2.0**-40, 5 * 2.0**30, 1 / 3], 3)]
        units = units if seed % 3 else [Fraction(1)] * 3
        adversary = tuple(at + by * s for at, by, s in zip(sample, move, units, strict=True))
        hidden, scores = forward(layers, adversary)
        against, target = (int(one) for one in rng.permutation(3)[:2])
        targets = [target] if seed % 2 else None
        lead = min(scores[target] - s for j, s in enumerate(scores) if j == against or (targets and j != target))
        first = statement(path, [float(one) for one in sample], float(radius), norm=norm, against=against)
        rooms = [[Fraction(int(one), 4) for one in rng.integers(0, 3, 3)] for _ in range(2)]
        ends = list(zip(sample, adversary, strict=True))
        first |= {"margin": pair(lead), "targets": targets, "scale": [pair(one) for one in units]}
        lower = [pair(min(two) - room) for two, room in zip(ends, rooms[0], strict=True)]
        first["box"] = [lower, [pair(max(two) + room) for two, room in zip(ends, rooms[1], strict=True)]]
        if seed % 4:
            first["constraints"] = [kept_by(adversary, rng) for _ in range(2)]
        claim = read_statement(first)
        checker = Checker(claim, load(path, claim), kind())
        attacker = Attacker(checker, hidden, len(first.get("constraints", [])), rng)
        attacker.ranges()
        for goal in checker.goals:
            checker.take({"goal": goal.target})
            if goal.target == target:
                break
            checker.take({"claim": "none"})
        for _ in range(4):
            attacker.node()


def forward(layers: Any, x: Sequence[Fraction]) -> tuple[list[list[Fraction]], list[Fraction]]:
    """What stands before each ReLU, and the scores."""
    hidden: list[list[Fraction]] = []
    values = list(x)
    for weights, bias in layers:
        values = [max(v, Fraction(0)) for v in values] if hidden else values
        columns = zip(*np.asarray(weights, np.float64).tolist(), strict=True)
        values = [
            sum((v * Fraction(w) for v, w in zip(values, column, strict=True)), Fraction(float(b)))
            for column, b in zip(columns, bias, strict=True)
        ]
        hidden.append(values)
    return hidden[:-1], hidden[-1]
