"""Changes of proofs, by hand: which numbers there are, what is below a split, and how what is accepted is counted."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from random import Random

import pytest

from benchmarks.proof_mutations import judging
from benchmarks.proof_mutations.__main__ import Tally
from benchmarks.proof_mutations.judging import BY_A_HAIR, OF_ANOTHER, TWO, Changed, Outcome, Proof, mutated, tried
from benchmarks.proof_mutations.numbers import as_pair, bit, names_changed, places
from benchmarks.proof_mutations.proof_lines import Line, Lines, lines_of, packed
from benchmarks.proof_mutations.trees import TEXT, end_of_node
from tests.claims import Truth, number
from tests.verifier.checker.small_proofs import fully_connected, ranges, statement

ONE: Lines = [
    {"radius": "0x1p-1", "box": ["0x0p0", ["0x1p0"]], "constraints": [[[0], [[1, 0]], "0x1p0"]], "witness": None},
    {"cap": [[0, [1, 2], "lower", [3, 4], [5, 6]]], "exponent": -2, "slopes": [[1, [7], [8]]]},
    {"close": True, "products": {"neurons": [[0, [9]]], "units": [10], "point": [[11, 12], 13]}},
]
TREE: Lines = [{"goal": 1}, {"split": [0, 0]}, {"cap": []}, {"split": [0, 1]}, {}, {"narrow": [1]}, {}, {"close": True}]


def values(lines: Lines) -> dict[str, list[object]]:
    return {name: [holder[at] for holder, at in some] for name, some in places(lines).items()}


def test_every_number_has_a_name() -> None:
    assert values(ONE) == {
        "radius": ["0x1p-1"], "box": ["0x0p0", "0x1p0"],
        "constraints.0": [0], "constraints.1": [1, 0], "constraints.2": ["0x1p0"],
        "cap.0": [0], "cap.1": [1, 2], "cap.2": ["lower"], "cap.3": [3, 4], "cap.4": [5, 6], "exponent": [-2],
        "slopes.0": [1], "slopes.1": [7], "slopes.2": [8], "close": [True],
        "products.neurons.0": [0], "products.neurons.1": [9], "products.units": [10],
        "products.point.0": [11, 12], "products.point.1": [13],
    }  # fmt: skip
    grid: Lines = [{"below": 3, "witness": {"steps": [1, 2], "measure": 2}}, {"lines": 0, "below": [4], "prices": [5]}]
    split: Lines = [{"split": [6], "at": 7}, {"split": [8, 9], "at": 10}]
    assert values([*grid, *split]) == {
        "below": [3], "witness.steps": [1, 2], "witness.measure": [2], "lines": [0], "below.lines": [4], "prices": [5],
        "split": [6], "split.0": [8], "split.1": [9], "at": [7, 10],
    }  # fmt: skip


def test_what_changed_is_named() -> None:
    after = copy.deepcopy(ONE)
    after[1]["cap"][0][3][1] = 9
    after[2]["products"]["point"][1] = 0
    assert names_changed(ONE, after) == {"cap.3", "products.point.1"}
    assert names_changed(ONE, ONE) == set()


def test_numbers_written_as_pairs_are_the_same() -> None:
    for written in ("0x1.8p-3", "-0x1p+4", "0x0p+0"):
        assert number(as_pair(written)) == number(written)
    assert {bit(Random(seed), 5) for seed in range(40)} == {-5, 4, 7, 1, 13}


def test_nodes_end_behind_all_that_is_below_them() -> None:
    assert [end_of_node(TREE, at) for at in (1, 2, 3, 4, 5, 7)] == [8, 7, 7, 5, 7, 8]


def empty_ball(folder: Path) -> Proof:
    """Class 1 leads by x - 1, so that no adversary lies within 1/2 of 0; the nearest is at 1."""
    model = fully_connected(folder / "net.onnx", [([[1.0]], [0.0]), ([[0.0, 1.0]], [1.0, 0.0])])
    first = statement(model, [0.0], 0.5)
    lines = [first, ranges(0, [-0.5], [0.5]), {"goal": 1}, {"close": True}]

    def truth(found: Line) -> Truth:
        return Truth.FALSE if number(found["radius"]) >= 1 else Truth.TRUE

    hairs = (first | {"radius": "0x1p0"},)
    return Proof("digits", "ball", model, lines, truth, lambda found: (truth(found), found == first), hairs)


def test_what_becomes_of_a_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    proof = empty_ball(tmp_path)
    said = [Changed("the radius", packed([one, *proof.lines[1:]]), proof) for one in (proof.lines[0], *proof.hairs)]
    assert [tried(one).column for one in said] == ["accepted, claim as before", "refused"]
    monkeypatch.setattr(judging, "_whole", lambda changed, arithmetic: True)
    tally = Tally()
    assert tally.sound
    for one in said:
        tally.add(one, tried(one))
    assert tally.by_file == {("digits", "accepted, claim as before"): 1, ("digits", "accepted, false"): 1}
    assert not tally.sound
    assert "| all | 2 | 0 | 1 | 0 | 0 | 1 | 0 |" in tally.told()
    monkeypatch.setattr(judging, "_whole", lambda changed, arithmetic: arithmetic == "float")
    assert tried(said[0]) == Outcome(True, Truth.TRUE, True, float_alone=True)


def test_the_proof_itself_stays_what_it_is(tmp_path: Path) -> None:
    proof, rng, kinds = empty_ball(tmp_path), Random(1), set()
    honest = json.dumps(proof.lines)
    for _ in range(900):
        changed = mutated(rng, [proof])
        kinds.add(changed.kind)
        if changed.kind not in TEXT and changed.kind != TWO:
            assert lines_of(changed.data) != proof.lines
    assert json.dumps(proof.lines) == honest
    assert BY_A_HAIR in kinds
    assert OF_ANOTHER not in kinds  # there is none
    assert kinds > set(TEXT)
