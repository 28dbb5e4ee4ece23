"""Each rule of docs/reference/proof-format-int8.md: by hand on one neuron, and against all points of random grids."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.draws import draws
from tests.int8_builder import Int8Layer, write_int8
from tests.int8_points import checker_of, random_points
from tests.verifier.checker.small_proofs import Line, hexadecimal, packed, statement
from verifier.checker import (
    Grid,
    Int8Checker,
    RefusedError,
    UncheckableError,
    Verdict,
    check,
    load_int8,
    read_grid_statement,
)
from verifier.checker.int8_network import TOP
from verifier.checker.int8_rules import Node

STEP = 1 / 64  # an input's level on the grid of 64 is its number


def two_scores(folder: Path) -> Path:
    """Level of class 0: 10; of class 1: half of the input's level, halves to even."""
    weight, bias, unit = np.array([[0], [32]]), np.array([640, 0]), np.array([STEP], np.float32)
    return write_int8([Int8Layer(weight, bias, unit, STEP)], folder / "two.onnx", STEP)


def first_line(model: Path, home: int, below: int | None, witness: Line | None = None, **changed: Any) -> Line:
    """A statement about one input on the grid of 64."""
    line = statement(model, [home * STEP], None, box=hexadecimal([0, 1]), rests_on="", **changed)
    del line["radius"]
    return line | {"grid": 64, "below": below, "witness": witness}


FLAT: Line = {"lines": 0, "bits": 0, "below": [0, 0], "above": [0, 0]}
PROOF = (FLAT, {"goal": 1}, {"narrow": [1]}, {"close": True})


def verdict(model: Path, first: Line, *lines: Line) -> Verdict:
    return check(packed(first, *lines), model)


def test_a_proof_by_hand(tmp_path: Path) -> None:
    """From the level 18 class 1 wins at 22, where it has the level 11: four steps; at 21 it is 10.5, even, a tie."""
    model = two_scores(tmp_path)
    found = verdict(model, first_line(model, 18, 4, {"steps": [4], "measure": 4}), *PROOF)
    assert found.whole, found.told()
    assert found.told() == (
        "accepted: no adversary nearer than linf 4/64; one at 4/64 on the grid of 64 (exact arithmetic)"
    )
    assert verdict(model, first_line(model, 18, 4), *PROOF).whole
    assert "something is left" in verdict(model, first_line(model, 18, 5), *PROOF).why


def test_prices_of_any_size_where_nothing_moves(tmp_path: Path) -> None:
    model = two_scores(tmp_path)
    first, prices = first_line(model, 18, 1, norm="l1"), {"prices": [1 << 100, 0, 0, 1 << 2000]}
    assert verdict(model, first, FLAT | prices, {"goal": 1}, {"narrow": [1], "price": 1 << 63}, {"close": True}).whole


@pytest.mark.parametrize(
    ("witness", "why"),
    [
        ({"steps": [3], "measure": 3}, "is no adversary"),  # a tie
        ({"steps": [4], "measure": 3}, "farther away"),
        ({"steps": [47], "measure": 47}, "outside the box"),
        ({"steps": [5], "measure": 5}, ""),
    ],
)
def test_witnesses(witness: Line, why: str, tmp_path: Path) -> None:
    model = two_scores(tmp_path)
    found = verdict(model, first_line(model, 18, None, witness))
    assert found.accepted == (not why)
    assert why in found.why


def test_a_margin_is_part_of_a_win(tmp_path: Path) -> None:
    """Two levels are 2/64: at 23 class 1 has the level 11.5, even, which is 12."""
    model = two_scores(tmp_path)
    margin = hexadecimal(2 * STEP)
    near, far = ({"steps": [t], "measure": t} for t in (4, 5))
    assert "is no adversary" in verdict(model, first_line(model, 18, None, near, margin=margin)).why
    assert verdict(model, first_line(model, 18, None, far, margin=margin)).whole
    assert verdict(model, first_line(model, 18, 5, margin=margin), *PROOF).whole
    assert not verdict(model, first_line(model, 18, 6, margin=margin), *PROOF).accepted
    never = first_line(model, 18, 60, margin=hexadecimal(5))
    assert verdict(model, never, {"goal": 1}, {"close": True}).proven.startswith(
        "no adversary that leads by 5 or more anywhere"
    )


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        (PROOF[:-1], "the file ends before"),
        (PROOF[1:], "something is left"),  # without ranges
        ((*PROOF, PROOF[0]), "begins with its goal"),
        ((*PROOF, {"goal": 1}), "not the next one"),
        ((PROOF[0], {"goal": 0}), "not the next one"),
        ((*PROOF[:3], {"claim": "cpsat"}), "which is then closed"),
        (({**FLAT, "above": [0, -1]}, *PROOF[1:]), "less than 0"),
        (({**FLAT, "above": [0, 1 << 24]}, *PROOF[1:]), "a slope is"),
        (({**FLAT, "bits": 41}, *PROOF[1:]), "bits is 41"),
        (({**FLAT, "prices": [0, 0, 0, -1]}, *PROOF[1:]), "less than 0"),
        ((*PROOF[:2], {"narrow": [-1]}), "less than 0"),
        ((*PROOF[:2], {"narrow": [1], "price": -1}), "price is -1"),
        ((*PROOF[:2], {"narrow": [1], "signs": [[0, [2], [1]]]}), "signs names"),
        ((*PROOF[:2], {"narrow": [1], "signs": [[0, [1], [1]], [0, [0], [1]]]}), "signs names"),
        ((*PROOF[:2], {"split": [1], "at": 0}), "split names"),
        ((*PROOF[:2], {"split": [0, 2], "at": 0}), "split names"),
        ((*PROOF[:2], {"split": [0], "at": 2}, {"narrow": [1]}, {"close": True}), "the file ends before"),
        ((*PROOF[:2], {"other": 1}), "the line is none of"),
        ((*PROOF[:2], {"narrow": [1], "radius": 1}), "'radius' is not known"),
    ],
)
def test_what_does_not_follow_is_refused(lines: tuple[Line, ...], why: str, tmp_path: Path) -> None:
    model = two_scores(tmp_path)
    found = verdict(model, first_line(model, 18, 4), *lines)
    assert not found.accepted
    assert why in found.why


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"grid": 0}, "grid is 0"),
        ({"below": 0}, "below is 0"),
        ({"below": None}, "nothing is claimed"),
        ({"witness": {"steps": [4], "measure": 3}}, "lies below"),
        ({"witness": {"steps": [4, 0], "measure": 4}}, "has 2 entries"),
        ({"sample": [[1, -30]]}, ""),  # a little off its level, as a float32 number
        ({"sample": [[18 * 4 + 1, -8]]}, ""),  # a quarter of a step off
        ({"sample": [[18 * 4 + 2, -8]]}, "on no level"),
        ({"sample": [[1 + 2**24, -26]]}, "no float32 number"),
        ({"sample": hexadecimal([0.25, 0.25])}, "has 2 entries"),
        ({"radius": None}, "'radius' is not known"),
        ({"scale": ["0x1p+0"]}, "'scale' is not known"),
        ({"norm": "l3"}, "norm is none"),
    ],
)
def test_statements(changed: Line, why: str, tmp_path: Path) -> None:
    model = two_scores(tmp_path)
    found = verdict(model, first_line(model, 18, 4) | changed, *PROOF)
    assert found.accepted == (not why)
    assert why in found.why


def test_a_checker_without_these_rules_refuses_the_file(tmp_path: Path) -> None:
    model = two_scores(tmp_path)
    line = first_line(model, 18, 4)
    del line["grid"]
    assert "missing" in verdict(model, line, *PROOF).why
    with pytest.raises(UncheckableError, match="not known here"):
        verdict(model, statement(model, [0.25], 0.0, box=hexadecimal([0, 1])))


def test_another_file_is_refused(tmp_path: Path) -> None:
    model = two_scores(tmp_path)
    line = first_line(model, 18, 4)
    weight, bias, unit = np.array([[0], [33]]), np.array([640, 0]), np.array([STEP], np.float32)
    write_int8([Int8Layer(weight, bias, unit, STEP)], model, STEP)
    assert "their sha256 differ" in verdict(model, line, *PROOF).why


LONG = (1 << 60, 1 << 3000, [1 << 1500])
JUNK: tuple[Any, ...] = (None, True, -1, 1.5, "x", [], {}, [None], [-1], [[0]], [[0, [0], []]], [[9, [9], [9]]], *LONG)


def test_whatever_a_line_holds_is_refused_or_true(tmp_path: Path) -> None:
    """Adversaries lie four steps away, and six are denied: no junk makes that right, or stops the checker otherwise."""
    model = two_scores(tmp_path)
    prices = {"prices": [0, 1, 2, 3]}
    part = ({"narrow": [1], "signs": [[0, [0, 1], [3, -3]]], "price": 1}, {"claim": "nobody"})
    lines = [first_line(model, 18, 6, {"steps": [6], "measure": 6}, norm="l1"), FLAT | prices, {"goal": 1},
             {"split": [0], "at": 0}, *part, {"split": [0, 1], "at": 640}, *part, *part]  # fmt: skip
    assert verdict(model, *lines).claims == 3
    for place, line in enumerate(lines):
        for at, key in enumerate(line):
            for junk in JUNK[at % 6 :: draws(6, 1)]:
                changed = [*lines[:place], {**line, key: junk}, *lines[place + 1 :]]
                assert not verdict(model, *changed).whole, (line, key, junk)


# -- what holds at every point must hold at every point ---------------------------------------------------------------


def run_of(node: Node, steps: Any) -> list[tuple[Any, Any]]:
    """The sums and the levels of each layer after some steps, by exact rounding."""
    every = np.arange(len(steps))
    before, found = node.table.levels[every, steps - node.table.steps[0]], []
    for layer in node.network.layers:
        sums = layer.sums(before)
        found.append((sums, layer.levels(sums)))
        before = found[-1][1] - layer.scale.zero
    return found


def holds(node: Node, steps: Any, run: list[tuple[Any, Any]]) -> bool:
    """Whether an adversary is in all that the node says of adversaries."""
    if node.empty or (steps < node.down).any() or (steps > node.up).any():
        return False
    for lines, (sums, levels) in zip(node.lines, run, strict=True):
        below, above = lines.constants
        scaled = levels << lines.bits
        if (sums < lines.low).any() or (sums > lines.high).any():
            return False
        if (lines.below * sums + below > scaled).any() or (lines.above * sums + above < scaled).any():
            return False
    return True


def random_line(rng: np.random.Generator, node: Node, rivals: int) -> Line:
    """A line with random numbers, good and bad."""
    prices = [int(price) for price in rng.integers(0, 2 ** int(rng.integers(1, 30)), 64)]
    k = int(rng.integers(len(node.lines)))
    size = node.network.layers[k].size
    if rng.random() < 0.6:
        bits = int(rng.integers(0, 20))
        steep = max(1, int(2.0**bits * float(node.network.layers[k].factors[0]) * 2))
        below, above = rng.integers(0, steep + 1, (2, size)).tolist()
        return {"lines": k, "bits": bits, "below": below, "above": above, "prices": prices[: 2 * size]}
    signs = [[k, list(range(size)), rng.integers(-100, 100, size).tolist()]] if rng.random() < 0.5 else []
    return {"narrow": rng.integers(0, 5, rivals).tolist(), "signs": signs, "price": prices[0]}


def test_an_adversary_survives_every_line(tmp_path: Path) -> None:
    """Random lines, each as far as the checker goes: what an adversary of the ball is must stay in all that is said."""
    survived = closed = 0
    for seed in range(draws(24, 400)):
        rng, points = np.random.default_rng(seed), random_points(seed, tmp_path)
        for target, wins in points.wins.items():
            if not wins.any():
                continue
            at = rng.choice(np.flatnonzero(wins))
            steps, below = points.steps[at], int(points.measures[at]) + 1
            checker = checker_of(points, below)
            run = run_of(checker.node, steps)
            for goal in checker.goals:
                while not checker.node.empty and rng.random() < 0.7:
                    line = random_line(rng, checker.node, len(goal.others))
                    if "lines" in line and not checker.claims:
                        checker.take(line)
                checker.take({"goal": goal.target})
                if goal.target == target:
                    break
                checker.take({"close": True} if checker.node.empty else {"claim": "nobody"})
            for _ in range(12):
                assert holds(checker.node, steps, run), seed
                if rng.random() < 0.3:
                    split = random_split(rng, checker.node)
                    checker.take(split)
                    place, at_least = split["split"], split["at"]
                    value = steps[place[0]] if len(place) == 1 else run[place[0]][0][place[1]]
                    if value < at_least:  # the second subtree is the one that it is in
                        checker.take({"close": True} if checker.node.empty else {"claim": "nobody"})
                        closed += 1
                else:
                    checker.take(random_line(rng, checker.node, len(goal.others)))
            with pytest.raises(RefusedError, match="something is left"):
                checker.take({"close": True})
            survived += 1
    assert survived >= 10
    assert closed >= 10


def random_split(rng: np.random.Generator, node: Node) -> Line:
    if rng.random() < 0.5:
        i = int(rng.integers(len(node.down)))
        return {"split": [i], "at": int(rng.integers(node.down[i], node.up[i] + 2))}
    k = int(rng.integers(len(node.lines)))
    j = int(rng.integers(node.network.layers[k].size))
    return {"split": [k, j], "at": int(rng.integers(node.lines[k].low[j], node.lines[k].high[j] + 2))}


def checker_by_hand(model: Path, below: int, **changed: Any) -> Int8Checker:
    claim = read_grid_statement(first_line(model, 18, below, **changed))
    network = load_int8(model, claim)
    return Int8Checker(claim, network, Grid(claim, network))


def test_a_step_with_which_nothing_is_lost_stays(tmp_path: Path) -> None:
    """By two levels class 1 wins from 23 on, where its level jumps from 11 to 12, on its line: five steps."""
    checker = checker_by_hand(two_scores(tmp_path), 7, margin=hexadecimal(2 * STEP))
    checker.take(FLAT | {"bits": 6, "above": [0, 1]})
    checker.take({"goal": 1})
    checker.take({"narrow": [1]})
    assert (checker.node.down[0], checker.node.up[0]) == (5, 6)


def test_the_parts_of_a_split_are_all_of_it(tmp_path: Path) -> None:
    checker = checker_by_hand(two_scores(tmp_path), 7)
    checker.take({"goal": 1})
    checker.take({"split": [0], "at": 5})
    assert (checker.node.down[0], checker.node.up[0]) == (5, 6)
    checker.take({"claim": "nobody"})
    assert (checker.node.down[0], checker.node.up[0]) == (-6, 4)
    checker.take({"split": [0, 1], "at": 700})
    assert checker.node.lines[0].low[1] == 700
    checker.take({"claim": "nobody"})
    assert checker.node.lines[0].high[1] == 699
    assert (checker.node.down[0], checker.node.up[0], checker.claims) == (-6, 4, 2)


def test_lines_touch_the_staircase(tmp_path: Path) -> None:
    """Of all sums of a range, the constants are those that hold, and no better ones do."""
    checker = checker_by_hand(two_scores(tmp_path), 9)
    checker.take(FLAT | {"bits": 6, "below": [3, 1], "above": [0, 1]})
    lines = checker.node.lines[0]
    sums = np.arange(lines.low[1], lines.high[1] + 1)
    levels = np.array([lines.layer.level(int(h), 1) for h in sums]) << lines.bits
    assert (lines.low[1], lines.high[1]) == (32 * 10, 32 * 26)
    assert lines.constants[0][1] == (levels - 1 * sums).min()
    assert lines.constants[1][1] == (levels - 1 * sums).max()
    assert levels.max() < TOP << lines.bits
