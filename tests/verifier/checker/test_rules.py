"""Each rule of docs/reference/proof-format.md on networks of one or two neurons, in both arithmetics, by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from tests.verifier.checker.small_proofs import Line, fully_connected, hexadecimal, packed, ranges, statement
from verifier.checker import Verdict, check

Claim = Callable[..., Line]
CLOSE: Line = {"close": True}


@pytest.fixture(params=["exact", "float"])
def arithmetic(request: pytest.FixtureRequest) -> Literal["exact", "float"]:
    found: Literal["exact", "float"] = request.param
    return found


@pytest.fixture
def sum_of_two(tmp_path: Path) -> Path:
    """Class 1 has the score relu(x0 + x1), class 0 has 1: at 0, the nearest adversary is where x0 + x1 = 1."""
    return fully_connected(tmp_path / "sum.onnx", [([[1], [1]], [0]), ([[0, 1]], [1, 0])])


@pytest.fixture
def difference(tmp_path: Path) -> Path:
    """Class 1 has the score relu(x) - relu(x), which is always 0, of two neurons; class 0 has 1/2."""
    return fully_connected(tmp_path / "difference.onnx", [([[1, 1]], [0, 0]), ([[0, 1], [0, -1]], [0.5, 0])])


@pytest.fixture
def three(tmp_path: Path) -> Path:
    """Three classes with the scores 1, relu(x) and -2."""
    return fully_connected(tmp_path / "three.onnx", [([[1]], [0]), ([[0, 1, 0]], [1, 0, -2])])


def both(lower: float, upper: float) -> Line:
    return ranges(0, [lower, lower], [upper, upper])


def asked(model: Path, arithmetic: Literal["exact", "float"], *lines: Line) -> Verdict:
    return check(packed(*lines), model, arithmetic)


@pytest.mark.parametrize(
    ("norm", "radius", "upper", "accepted"),
    [
        ("linf", 0.484375, 0.96875, True),
        ("linf", 0.5, 1, False),
        ("l1", 0.96875, 0.96875, True),
        ("l1", 1, 1, False),
        ("l2", 0.703125, 0.995, True),
        ("l2", 0.71875, 1.017, False),
        ("linf", 0.484375, 0.96874, False),  # neurons that reach beyond their ranges
        ("l1", 0.96875, 0.96874, False),
        ("l2", 0.703125, 0.9943, False),
        ("l2", 0.703125, 0.9944, True),
    ],
)
def test_each_norm(
    sum_of_two: Path, arithmetic: Literal["exact", "float"], norm: str, radius: float, upper: float, accepted: bool
) -> None:
    proof = (statement(sum_of_two, [0, 0], radius, norm=norm), ranges(0, [-upper], [upper]), {"goal": 1}, CLOSE)
    assert asked(sum_of_two, arithmetic, *proof).whole == accepted


@pytest.mark.parametrize("norm", ["linf", "l1", "l2"])
def test_the_box_holds_inputs_back(sum_of_two: Path, arithmetic: Literal["exact", "float"], norm: str) -> None:
    box = [hexadecimal([-4, -4]), hexadecimal([0.25, 0.5])]
    least = {"linf": -8, "l1": -4, "l2": -5.7}[norm]
    proof = (statement(sum_of_two, [0, 0], 4, norm=norm, box=box), ranges(0, [least], [0.7501]), {"goal": 1}, CLOSE)
    assert asked(sum_of_two, arithmetic, *proof).whole
    wider = statement(sum_of_two, [0, 0], 4, norm=norm, box=[hexadecimal([-4, -4]), hexadecimal([0.25, 0.75])])
    assert not asked(sum_of_two, arithmetic, wider, *proof[1:]).whole


@pytest.mark.parametrize(
    ("norm", "radius", "upper", "accepted"),
    [  # of moves (1 · u, 3 · v): a sum of 1 is 1/4 away in L∞, 1/3 in L1, 1/√10 in L2
        ("linf", 0.2490234375, 0.9961, True),
        ("linf", 0.25, 1, False),
        ("linf", 0.2490234375, 0.996, False),
        ("l1", 0.3330078125, 0.9991, True),
        ("l1", 0.333984375, 1.01, False),
        ("l1", 0.3330078125, 0.9990, False),
        ("l2", 0.3154296875, 0.9975, True),
        ("l2", 0.31640625, 1.01, False),
    ],
)
def test_moves_are_counted_in_units(
    sum_of_two: Path, arithmetic: Literal["exact", "float"], norm: str, radius: float, upper: float, accepted: bool
) -> None:
    first = statement(sum_of_two, [0, 0], radius, norm=norm, scale=hexadecimal([1, 3]))
    proof = (first, ranges(0, [-2], [upper]), {"goal": 1}, CLOSE)
    verdict = asked(sum_of_two, arithmetic, *proof)
    assert verdict.whole == accepted
    assert not accepted or ", in units of a scale" in verdict.proven


@pytest.mark.parametrize("norm", ["linf", "l1", "l2"])
def test_units_and_a_box_that_holds_inputs_back(
    sum_of_two: Path, arithmetic: Literal["exact", "float"], norm: str
) -> None:
    """A third has no exact form: rooms in units are rounded up, and what is proven with them holds."""
    box = [hexadecimal([-4, -4]), hexadecimal([0.25, 0.5])]
    units = hexadecimal([3, 0.3])
    proof = (ranges(0, [-8], [0.7501]), {"goal": 1}, CLOSE)
    first = statement(sum_of_two, [0, 0], 2, norm=norm, box=box, scale=units)
    assert asked(sum_of_two, arithmetic, first, *proof).whole
    wider = [hexadecimal([-4, -4]), hexadecimal([0.25, 0.75])]
    assert not asked(sum_of_two, arithmetic, first | {"box": wider}, *proof).whole


def test_constraints_are_rows(sum_of_two: Path, arithmetic: Literal["exact", "float"]) -> None:
    """Where x0 + x1 is at most 1/2 there is no adversary at all; what that costs is a multiplier."""
    at_most = [[[0, 1], hexadecimal([1, 1]), hexadecimal(0.5)]]
    start = (ranges(0, [-4], [4]), {"goal": 1}, {"split": [0, 0]})
    lines = (*start, CLOSE | {"rows": [1, 1]}, CLOSE | {"rows": [1, 0]})
    first = statement(sum_of_two, [0, 0], 2, constraints=at_most)
    verdict = asked(sum_of_two, arithmetic, first, *lines)
    assert verdict.whole, verdict.told()
    assert verdict.proven == "no adversary within linf 2, under 1 constraint"
    assert not asked(sum_of_two, arithmetic, first, *start, CLOSE | {"rows": [1, 0]}, CLOSE | {"rows": [1, 0]}).whole
    for broken in ([[[0, 1], hexadecimal([1, 1]), hexadecimal(1)]], [[[0, 1], hexadecimal([1, 0.5]), "0x1p-1"]]):
        assert not asked(sum_of_two, arithmetic, first | {"constraints": broken}, *lines).whole
    for rows in ([1], [1, 1, 1], [1, -1]):
        assert not asked(sum_of_two, arithmetic, first, *start, CLOSE | {"rows": rows}, CLOSE | {"rows": [1, 0]}).whole


def test_a_witness_keeps_constraints_and_is_measured_in_units(sum_of_two: Path) -> None:
    def told(distance: float, norm: str = "l1", **changed: Any) -> bool:
        found = {"input": hexadecimal([0.5, 0.75]), "distance": hexadecimal(distance)}
        first = statement(sum_of_two, [0, 0], None, norm=norm, witness=found, scale=hexadecimal([0.5, 3]), **changed)
        return asked(sum_of_two, "exact", first).whole

    assert [told(1.25), told(1.2499)] == [True, False]
    assert [told(1, "linf"), told(0.9999, "linf")] == [True, False]
    assert [told(1.0308, "l2"), told(1.0307, "l2")] == [True, False]
    bound = [[[1], hexadecimal([1]), hexadecimal(0.75)]]
    assert told(1.25, constraints=bound)
    assert not told(1.25, constraints=[*bound, [[0, 1], hexadecimal([-1, 1]), hexadecimal(0.125)]])


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"scale": hexadecimal([1])}, "scale has 1 entries"),
        ({"scale": hexadecimal([1, 0])}, "not above 0"),
        ({"scale": None}, "scale is no list"),
        ({"constraints": []}, "constraints is empty"),
        ({"constraints": [[[0, 0], hexadecimal([1, 1]), "0x1p0"]]}, "an input twice"),
        ({"constraints": [[[2], hexadecimal([1]), "0x1p0"]]}, "one that the sample has not"),
        ({"constraints": [[[0], hexadecimal([1, 1]), "0x1p0"]]}, "a constraint has 2 entries"),
        ({"constraints": [[[0], [[(1 << 60) + 1, 0]], "0x1p0"]]}, "no float64"),
    ],
)
def test_scales_and_constraints_that_are_refused(sum_of_two: Path, changed: Line, why: str) -> None:
    proof = (statement(sum_of_two, [0, 0], 0.25) | changed, ranges(0, [-1], [1]), {"goal": 1}, CLOSE)
    verdict = asked(sum_of_two, "exact", *proof)
    assert why in verdict.why


def test_only_the_lower_end_is_too_high(sum_of_two: Path, arithmetic: Literal["exact", "float"]) -> None:
    first = statement(sum_of_two, [0, 0], 0.25)
    assert asked(sum_of_two, arithmetic, first, ranges(0, [-0.5], [0.5]), {"goal": 1}, CLOSE).whole
    assert not asked(sum_of_two, arithmetic, first, ranges(0, [-0.49], [0.5]), {"goal": 1}, CLOSE).whole


def test_a_slope_closes_what_the_rule_leaves_open(difference: Path, arithmetic: Literal["exact", "float"]) -> None:
    start = (statement(difference, [0], 0.75), both(-0.75, 0.75), {"goal": 1})
    assert not asked(difference, arithmetic, *start, CLOSE).whole
    for bits in ({}, {"slope_bits": 10}):
        assert asked(
            difference, arithmetic, *start, CLOSE | {"slopes": [[0, [1], [128 << 2 * len(bits)]]]} | bits
        ).whole
    verdict = asked(difference, arithmetic, *start, CLOSE | {"slopes": [[0, [1], [40]]]})
    assert "line 4: the node is not closed" in verdict.told()


SPLIT: Line = {"split": [0, 0]}


def cap(side: str, value: int, neuron: int = 1, exponent: int = -20, **multipliers: Any) -> Line:
    return {"cap": [[0, [neuron], side, [value], [1]]], "exponent": exponent, "rows": [0], **multipliers}


DEAD = cap("upper", 1, signs=[[0, [0], [-1]]])  # φ = x: where the first neuron is below 0 the second is


def test_split_and_cap(difference: Path, arithmetic: Literal["exact", "float"]) -> None:
    """Where the first neuron is dead, the second, which is the same, is shown to be dead too."""
    start = (statement(difference, [0], 0.75), both(-0.75, 0.75), {"goal": 1}, SPLIT)
    assert asked(difference, arithmetic, *start, CLOSE, DEAD, CLOSE).whole
    assert not asked(difference, arithmetic, *start, CLOSE, CLOSE).whole
    assert not asked(difference, arithmetic, *start, CLOSE).whole  # the second subtree is missing
    assert not asked(difference, arithmetic, *start, CLOSE, DEAD).whole
    assert not asked(difference, arithmetic, *start, CLOSE, DEAD, CLOSE, CLOSE).whole  # or there is one too many
    assert not asked(difference, arithmetic, *start[:3], DEAD, CLOSE).whole  # the cap is right below the split alone
    lighter = DEAD | {"cap": [[0, [1], "upper", [1], [1]]], "weights_exponent": -1}
    assert not asked(difference, arithmetic, *start, CLOSE, lighter, CLOSE).whole


def test_a_cap_holds_in_its_own_subtree_alone(difference: Path, arithmetic: Literal["exact", "float"]) -> None:
    live = cap("lower", -1, signs=[[0, [0], [1]]])
    start = (statement(difference, [0], 0.75), both(-0.75, 0.75), {"goal": 1}, SPLIT, live, CLOSE)
    assert asked(difference, arithmetic, *start, DEAD, CLOSE).whole
    assert not asked(difference, arithmetic, *start, CLOSE).whole


@pytest.mark.parametrize(("value", "accepted"), [(0, True), (-1, False)])
def test_a_cap_may_be_met_with_equality(difference: Path, value: int, accepted: bool) -> None:
    start = (statement(difference, [0], 0.75), both(-0.75, 0.75), {"goal": 1}, SPLIT, CLOSE)
    dead = cap("upper", value, exponent=-1000, signs=[[0, [0], [-1]]])
    assert asked(difference, "exact", *start, dead, CLOSE).whole == accepted


def test_a_cap_of_a_later_layer_knows_the_entries_before_it(
    tmp_path: Path, arithmetic: Literal["exact", "float"]
) -> None:
    """The second layer is relu(x) - 1/4 of one of two neurons x; where the other is below 0, it is -1/4."""
    model = fully_connected(tmp_path / "two.onnx", [([[1, 1]], [0, 0]), ([[0], [1]], [-0.25]), ([[0, 1]], [-1, 0])])
    layers = both(-1, 1), ranges(1, [-1], [1])
    start = (statement(model, [0], 1), *layers, {"goal": 1}, SPLIT, {"claim": "solver"})
    dead, low = DEAD["cap"][0], [1, [0], "upper", [-(1 << 17)], [0]]  # at most -1/8
    for entries, accepted in (([low], False), ([low, dead], False), ([dead, low], True)):
        verdict = asked(model, arithmetic, *start, DEAD | {"cap": entries}, {"claim": "solver"})
        assert verdict.accepted == accepted


def test_a_range_that_is_empty(difference: Path, arithmetic: Literal["exact", "float"]) -> None:
    """φ = 4 (1/2 - (x/2 + 3/8) + x) = 1/2 + 2 x, so that -x ≥ 1/4 where φ ≤ 0."""
    start = (statement(difference, [0], 0.75), both(-0.75, 0.75), {"goal": 1})
    empty = {"empty": [0, 0]}
    assert not asked(difference, arithmetic, *start, empty).accepted
    assert not asked(difference, arithmetic, *start, SPLIT, SPLIT, CLOSE, empty, DEAD, CLOSE).accepted  # l = u = 0
    low = cap("upper", -1, neuron=0, exponent=-3, weights_exponent=-1, rows=[4])
    assert asked(difference, arithmetic, *start, low, SPLIT, empty, CLOSE | {"slopes": [[0, [1], [0]]]}).whole


def test_a_cap_no_better_than_the_range_changes_nothing(three: Path, arithmetic: Literal["exact", "float"]) -> None:
    start = (statement(three, [0], 0.75), ranges(0, [-0.75], [0.75]), {"goal": 1})
    weak = cap("upper", 5, neuron=0, exponent=0)
    assert asked(three, arithmetic, *start, weak, CLOSE, {"goal": 2}, CLOSE).whole
    assert not asked(three, arithmetic, *start, weak, {"empty": [0, 0]}).accepted
    led = statement(three, [0], 0.75, margin=hexadecimal(-0.5))
    assert not asked(three, arithmetic, led, *start[1:], weak, CLOSE).whole


def test_what_holds_for_one_goal_is_forgotten_at_the_next(
    tmp_path: Path, arithmetic: Literal["exact", "float"]
) -> None:
    """Adversaries of class 1 have x ≥ 1, and those of class 2 have x ≤ -1."""
    model = fully_connected(tmp_path / "two.onnx", [([[1, -1]], [0, 0]), ([[0, 1, 0], [0, 0, 1]], [1, 0, 0])])
    known = {"cap": [[0, [0], "lower", [7], [32]]], "exponent": -4, "weights_exponent": -4}
    start = (statement(model, [0], 1.5), both(-1.5, 1.5), {"goal": 1}, known, {"claim": "solver"}, {"goal": 2})
    relying = CLOSE | {"rows": [2], "signs": [[0, [0], [1]]]}
    assert asked(model, arithmetic, *start, {"claim": "solver"}).claims == 2
    verdict = asked(model, arithmetic, *start, relying)
    assert "line 7: the node is not closed" in verdict.told()


def test_zero_is_not_enough_to_close(three: Path) -> None:
    """Class 1 reaches class 0's score at a corner: the bound there is 0 exactly."""
    start = (ranges(0, [-1], [1], hair=0), {"goal": 1}, CLOSE, {"goal": 2}, CLOSE)
    assert "must be above 0 is 0" in asked(three, "exact", statement(three, [0], 1), *start).told()
    inside = (ranges(0, [-0.875], [0.875]), *start[1:])
    assert asked(three, "exact", statement(three, [0], 0.875), *inside).whole


def test_margins_and_targets(three: Path, arithmetic: Literal["exact", "float"]) -> None:
    start = (ranges(0, [-1.5], [1.5]), {"goal": 1}, CLOSE)
    led = statement(three, [0], 1.5, margin=hexadecimal(0.75))
    assert asked(three, arithmetic, led, *start, {"goal": 2}, CLOSE).whole  # class 1 leads by 1/2, and not by 3/4
    assert not asked(three, arithmetic, statement(three, [0], 1.5), *start, {"goal": 2}, CLOSE).whole
    rows = {"rows": [1, 0]}  # of classes 0 and 1, for the target 2
    target = statement(three, [0], 9, targets=[2])
    assert asked(three, arithmetic, target, ranges(0, [-9], [9]), {"goal": 2}, CLOSE | rows).whole
    assert not asked(three, arithmetic, target, ranges(0, [-9], [9]), {"goal": 2}, CLOSE | {"rows": [0, 0]}).whole
    ordered = statement(three, [0], 0.5, targets=[2, 1])
    near = ranges(0, [-0.5], [0.5])
    assert asked(three, arithmetic, ordered, near, {"goal": 2}, CLOSE, {"goal": 1}, CLOSE | rows).whole
    assert not asked(three, arithmetic, ordered, near, {"goal": 1}, CLOSE | rows, {"goal": 2}, CLOSE).whole


def test_one_row_of_a_target_is_what_its_multiplier_says(three: Path, arithmetic: Literal["exact", "float"]) -> None:
    """Class 1 beats class 2 always: only the row of class 0 holds it back, and both together do not."""
    start = (statement(three, [0], 0.5, targets=[1]), ranges(0, [-0.5], [0.5]), {"goal": 1})
    assert not asked(three, arithmetic, *start, CLOSE).whole
    for rows in ({"rows": [1, 0]}, {"rows": [1024, 1], "rows_exponent": -500}, {"rows": [2**60, 3]}):
        assert asked(three, arithmetic, *start, CLOSE | rows).whole


def test_all_rows_of_a_target_together(three: Path, arithmetic: Literal["exact", "float"]) -> None:
    """a (1 - z) + b (-2 - z) is positive for z up to 3/10 with a = 7 and b = 2, and not with a = 6."""
    start = (statement(three, [0.25], 0.046875, targets=[1]), ranges(0, [0.203125], [0.296875]), {"goal": 1})
    assert asked(three, arithmetic, *start, CLOSE | {"rows": [7, 2]}).whole
    assert not asked(three, arithmetic, *start, CLOSE | {"rows": [6, 2]}).whole


def test_claims_are_counted_and_not_believed(three: Path, arithmetic: Literal["exact", "float"]) -> None:
    start = (statement(three, [0], 5), ranges(0, [-5], [5]), {"goal": 1})
    verdict = asked(three, arithmetic, *start, {"split": [0, 0]}, {"claim": "a"}, {"claim": "b"}, {"goal": 2}, CLOSE)
    assert verdict.accepted
    assert not verdict.whole
    assert verdict.told().startswith("accepted but for 2 claims")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({2: None}, "the ranges of each layer come first"),
        ({2: ranges(1, [-0.5], [0.5])}, "the ranges of each layer come first"),
        ({2: ranges(0, [-0.5, -0.5], [0.5, 0.5])}, "lower has 2 entries"),
        ({3: None}, "a tree begins with its goal"),
        ({3: {"goal": 2}}, "goal 2 is not the next one"),
        ({4: None}, "a tree begins with its goal"),
        ({4: ranges(0, [-0.5], [0.5])}, "the ranges of each layer come first"),
        ({4: {"close": 1}}, "close is not true"),
        ({4: {"closed": True}}, "the line is none of"),
        ({4: CLOSE | {"exponent": 3}}, "'exponent' is not known"),
        ({4: CLOSE | {"slopes": [[0, [0], [257]]]}}, "a slope is outside"),
        ({4: CLOSE | {"slopes": [[0, [0], [-1]]]}}, "a slope is outside"),
        ({4: CLOSE | {"slopes": [[0, [0, 0], [1, 1]]]}}, "lists a neuron twice"),
        ({4: CLOSE | {"signs": [[0, [0], [1]], [0, [0], [1]]]}}, "signs lists layer 0 twice"),
        ({4: CLOSE | {"signs": [[1, [0], [1]]]}}, "a layer of signs is 1"),
        ({4: CLOSE | {"signs": [[0, [1], [1]]]}}, "or one that layer 0 has not"),
        ({4: CLOSE | {"signs": [[0, [-1], [1]]]}}, "less than 0"),
        ({4: CLOSE | {"rows": [-1]}}, "rows holds -1, less than 0"),
        ({4: CLOSE | {"rows": [1, 1]}}, "rows has 2 entries"),
        ({4: {"split": [0, 1]}}, "names a neuron that the model has not"),
        ({4: {"split": [0, -1]}}, "less than 0"),
        ({4: cap("both", 1, neuron=0)}, "neither lower nor upper"),
        ({4: cap("upper", -1, neuron=0)}, "the cap of neuron 0 of layer 0 does not follow (upper)"),
        ({4: cap("lower", 1, neuron=0)}, "the cap of neuron 0 of layer 0 does not follow (lower)"),
        ({4: cap("upper", 9)}, "cap lists a neuron that layer 0 has not"),
        ({4: {"cap": [[0, [0], "upper", [9], [-1]]], "exponent": 0}}, "the weights of cap holds -1"),
        ({4: {"cap": [[0, [0], "upper", [9, 9], [1]]], "exponent": 0}}, "the values of cap has 2 entries"),
        ({4: {"cap": [[0, [0], "upper", [9]]], "exponent": 0}}, "an entry of cap has 4 entries"),
        ({4: {"cap": [[1, [0], "upper", [9], [1]]], "exponent": 0}}, "a layer of cap is 1"),
        ({4: {"cap": []}}, "'exponent' is missing"),
        ({4: {"empty": [0, 0]}}, "is not empty"),
        ({4: {"claim": 3}}, "claim is no name"),
        ({5: None}, "a tree begins with its goal"),
        ({6: None}, "the file ends before the last node"),
        ({5: None, 6: None}, "the file ends before the last node"),
        ({7: {"goal": 2}}, "goal 2 is not the next one"),
        ({7: CLOSE}, "a tree begins with its goal"),
    ],
)
def test_what_breaks_a_rule_is_refused(three: Path, change: dict[int, Line | None], why: str) -> None:
    proof: dict[int, Line] = {
        1: statement(three, [0], 0.5),
        2: ranges(0, [-0.5], [0.5]),
        3: {"goal": 1},
        4: CLOSE,
        5: {"goal": 2},
        6: CLOSE,
    }
    assert asked(three, "exact", *proof.values()).whole
    changed: dict[int, Any] = proof | change
    verdict = asked(three, "exact", *(line for _, line in sorted(changed.items()) if line))
    assert not verdict.accepted
    assert why in verdict.why


@pytest.mark.parametrize(("norm", "distance"), [("linf", 0.5), ("l1", 0.75), ("l2", 0.5625)])
def test_witness(sum_of_two: Path, norm: str, distance: float) -> None:
    """(1/2, 1/4) from the sample (1/8, 1/8) … by three eighths and an eighth, and relu(3/4 + …) is above 1 or not."""
    model = sum_of_two

    def verdict(x: list[float], distance: float, **changed: Any) -> Verdict:
        witness = {"input": hexadecimal(x), "distance": hexadecimal(distance)}
        return asked(model, "exact", statement(model, [0.25, 0.5], None, norm=norm, witness=witness, **changed))

    near = [0.75, 0.75]  # moved by a half and a quarter
    assert verdict(near, distance).whole
    assert verdict(near, distance).proven == f"one adversary within {norm} {distance}"
    just_short = float(np.nextafter({"linf": 0.5, "l1": 0.75, "l2": np.sqrt(0.3125)}[norm], 0) - 1e-12)
    assert "farther away" in verdict(near, just_short).why
    assert "no adversary" in verdict([0.5, 0.5], 4).why  # a tie is none
    assert "no adversary" in verdict(near, 4, margin=hexadecimal(0.75)).why
    assert "outside the box" in verdict(near, 4, box=hexadecimal([-1, 0.5])).why
    assert "negative" in verdict(near, -distance).why


def test_a_witness_of_targets_leads_every_class(three: Path) -> None:
    def verdict(x: float, targets: list[int]) -> Verdict:
        witness = {"input": hexadecimal([x]), "distance": hexadecimal(4)}
        return asked(three, "exact", statement(three, [0], None, targets=targets, witness=witness))

    assert verdict(2, [2, 1]).whole
    assert not verdict(2, [2]).whole
    assert not verdict(0.5, [1]).whole


def test_a_bracket_in_words(three: Path, arithmetic: Literal["exact", "float"]) -> None:
    witness = {"input": hexadecimal([1.25]), "distance": hexadecimal(1.25)}
    rest = (ranges(0, [-0.5], [0.5]), {"goal": 1}, CLOSE, {"goal": 2}, CLOSE)
    verdict = asked(three, arithmetic, statement(three, [0], 0.5, witness=witness), *rest)
    assert verdict.told() == f"accepted: no adversary within linf 0.5; one at 1.25 ({arithmetic} arithmetic)"
    contradicting = statement(three, [0], 0.5, witness=witness | {"distance": hexadecimal(0.5)})
    assert not asked(three, arithmetic, contradicting, *rest).accepted


def test_lines_without_a_radius_are_refused(three: Path) -> None:
    witness = {"input": hexadecimal([1.25]), "distance": hexadecimal(1.25)}
    claim = statement(three, [0], None, witness=witness)
    assert asked(three, "exact", claim).whole
    assert not asked(three, "exact", claim, ranges(0, [-0.5], [0.5])).accepted
