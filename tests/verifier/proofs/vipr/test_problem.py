"""The program that a certificate states: by hand, at points, and its optimum against brute force."""

from __future__ import annotations

from fractions import Fraction
from itertools import permutations, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.claims import Claim, Network, claim_of, distance
from tests.exact_pieces import Point, box, difference, pieces
from tests.small_files import f32, node, written
from tests.verifier.checker.small_proofs import Layers, Line, fully_connected, hexadecimal, random_layers, statement
from tests.verifier.proofs.vipr.programs import breaks, executed, optimum, program
from tests.vipr_checker import Vipr

LAYERS: Layers = [([[1, 1], [1, -1]], [0, 0]), ([[0, 1], [0, -1]], [0.5, 0])]
KINDS: list[Line] = [
    {},
    {"targets": [2, 1]},
    {"rivals": [2]},
    {"margin": hexadecimal(0.25)},
    {"margin": hexadecimal(-0.25), "rivals": [1]},
    {"scale": hexadecimal([2, 0.375])},
    {"constraints": [[[0, 1], hexadecimal([1, -3]), hexadecimal(0.25)], [[1], hexadecimal([-1]), hexadecimal(0.5)]]},
    {"box": [hexadecimal([-0.5, -1]), hexadecimal([0.75, 0.25])]},
]


def test_by_hand(tmp_path: Path) -> None:
    """Class 1 has relu(x0 + x1) - relu(x0 - x1), class 0 has 1/2; within 1 of (0, 0) each neuron is in [-2, 2]."""
    first = statement(fully_connected(tmp_path / "net.onnx", LAYERS), [0, 0], 1.0)
    found = program(first, tmp_path / "net.onnx")
    assert found.variables == [
        "x_0", "x_1", "r", "h_0_0", "h_0_1", "z_0_0", "z_0_1", "y_0_0", "y_0_1", "f_0", "f_1", "g_1",
    ]  # fmt: skip
    said: dict[str, Any] = {
        name: ({found.variables[at]: number for at, number in line.row.items()}, line.sense, line.side)
        for name, line in zip(found.names, found.constraints, strict=True)
    }
    assert said["x_1_low"] == ({"x_1": 1}, 1, -10)
    assert said["r_high"] == ({"r": 1}, -1, 1)
    assert said["x_1_falls"] == ({"x_1": 1, "r": 1}, 1, 0)
    assert said["x_1_rises"] == ({"x_1": 1, "r": -1}, -1, 0)
    assert said["h_0_1_is"] == ({"h_0_1": 1, "x_0": -1, "x_1": 1}, 0, 0)
    assert said["y_0_1_low"] == ({"y_0_1": 1}, 1, 0)
    assert said["y_0_1_high"] == ({"y_0_1": 1}, -1, 2)
    assert said["y_0_1_above"] == ({"y_0_1": 1, "h_0_1": -1}, 1, 0)
    assert said["y_0_1_off"] == ({"y_0_1": 1, "z_0_1": -2}, -1, 0)
    assert said["y_0_1_on"] == ({"y_0_1": 1, "h_0_1": -1, "z_0_1": 2}, -1, 2)
    assert said["f_1_is"] == ({"f_1": 1, "y_0_0": -1, "y_0_1": 1}, 0, 0)
    assert said["goal_1_0"] == ({"f_0": 1, "f_1": -1, "g_1": Fraction(5, 2)}, -1, Fraction(5, 2))
    assert said["one_goal"] == ({"g_1": 1}, 0, 1)
    assert optimum(found) == pytest.approx(0.25)  # x0 = x1 = 1/4


@pytest.mark.parametrize("norm", ["linf", "l1"])
@pytest.mark.parametrize("kind", range(len(KINDS)))
def test_the_optimum_is_the_least_distance(tmp_path: Path, kind: int, norm: str) -> None:
    """Of random nets of two layers, over all of their linear pieces in fractions."""
    seen = 0
    for seed in range(4):
        layers = random_layers(np.random.default_rng([kind, seed]), (2, 3, 2, 3))
        path = fully_connected(tmp_path / f"{seed}.onnx", layers)
        first = statement(path, [0.125, -0.25], 3.0, **{"norm": norm, "box": hexadecimal([-1, 1]), **KINDS[kind]})
        least = distance(claim_of(first), Network(path, tiny=True))
        found = optimum(program(first, path))
        if least is None or least > 3:
            assert found is None
        else:
            seen += 1
            assert found == pytest.approx(float(least), abs=1e-6)
    assert seen


@pytest.mark.parametrize("norm", ["linf", "l1"])
@pytest.mark.parametrize("kind", range(len(KINDS)))
def test_no_adversary_is_lost(tmp_path: Path, kind: int, norm: str) -> None:
    """Corners of linear pieces, and of ties on their edges, are points of the program if and only if adversaries."""
    seen = [0, 0]
    for seed in range(6):
        layers = random_layers(np.random.default_rng([kind, seed]), (2, 3, 3))
        path = fully_connected(tmp_path / f"{seed}.onnx", layers)
        first = statement(path, [0.125, -0.25], 8.0, **{"norm": norm, "box": hexadecimal([-1, 1]), **KINDS[kind]})
        claim, found = claim_of(first), program(first, path)
        for x in _corners(claim, path):
            by_name, leads = executed(layers, x), _leads(claim, layers, x)
            kept = all(sum(a * x[i] for i, a in row) <= limit for row, limit in claim.constraints)
            for goal, lead in leads.items():
                point = by_name | _moves(claim, x) | {f"g_{t}": Fraction(int(t == goal)) for t in leads}
                reached = kept and lead >= claim.margin
                assert bool(breaks(found, point)) != reached
                seen[reached] += 1
                if reached and seen[1] % 5 == 1:
                    _no_other_value(found, point)
    assert min(seen) > 3


def _corners(claim: Claim, path: Path) -> set[Point]:
    """Where pieces end, and where ties lie on their edges."""
    found: set[Point] = set()
    for part, scores in pieces(path, box(claim.lower, claim.upper)):
        found |= set(part.corners)
        for t, j in permutations(range(3), 2):
            found |= set(part.cut(difference(scores[j], scores[t], claim.margin)).corners)
    return found


def _no_other_value(found: Vipr, point: dict[str, Fraction]) -> None:
    """With neither a larger nor a smaller y it is a point, whatever z says."""
    for name in (one for one in point if one.startswith("y_")):
        for step, z in product((Fraction(1, 1 << 40), -Fraction(1, 1 << 40)), (0, 1)):
            other = point | {name: point[name] + step, name.replace("y_", "z_"): Fraction(z)}
            assert any(one.startswith(name) for one in breaks(found, other))


def _leads(claim: Claim, layers: Layers, x: Any) -> dict[int, Fraction]:
    """By how much each class that counts leads."""
    scores = [executed(layers, x)[f"f_{j}"] for j in range(3)]
    if claim.targets is not None:
        which = list(claim.targets)
    else:
        which = list(claim.rivals or [t for t in range(3) if t != claim.against])
    return dict(zip(which, claim.won(tuple(scores)), strict=True))


def _moves(claim: Claim, x: Any) -> dict[str, Fraction]:
    """r, and in L1 t."""
    moves = [abs(one - c) / s for one, c, s in zip(x, claim.sample, claim.units, strict=True)]
    found = {"r": claim.far(x)}
    return found | ({f"t_{i}": move for i, move in enumerate(moves)} if claim.norm == "l1" else {})


def test_a_bracket_is_told_by_a_binary(tmp_path: Path) -> None:
    """With a witness at 1/2 and a radius of 1/8, r may be anything up to 1/2, and the least is 1/4 all the same."""
    path = fully_connected(tmp_path / "net.onnx", LAYERS)
    witness = {"input": hexadecimal([0.25, 0.5]), "distance": hexadecimal(0.5)}
    for radius, least in ((0.125, 0.25), (None, 0.25)):
        found = program(statement(path, [0, 0], radius, witness=witness), path)
        assert optimum(found) == pytest.approx(least)
        assert ("b" in found.variables) == (radius is not None)
        assert found.asked == ["range", "-inf" if radius is None else "1/8", "1/2"]
        if radius is None:
            assert found.check() == "within [-inf, 1/2]"
    shared = statement(path, [0, 0], 0.375, witness=witness)  # a radius that is too large changes no point
    assert optimum(program(shared, path)) == pytest.approx(0.25)


def test_relus_in_a_row(tmp_path: Path) -> None:
    """relu(relu(b - relu(x))): a ReLU of the input, one of a ReLU, and scores that are one."""
    nodes = [
        node("Relu", ["x"], ["a"]),
        node("Neg", ["a"], ["b"]),
        node("Add", ["b", "one"], ["c"]),
        node("Relu", ["c"], ["d"]),
        node("Relu", ["d"], ["y"]),
    ]
    path = written(tmp_path / "net.onnx", nodes, {"one": f32([[0.5, 1]])}, inputs=(1, 2), outputs={"y": (1, 2)})
    first = statement(path, [0, 1], 4.0)  # scores 1/2 and 0
    found = program(first, path)
    assert {"x_0", "y_0_0", "h_1_1", "y_1_1", "y_2_1"} <= set(found.variables)
    assert not {"h_0_0", "h_2_0", "f_0"} & set(found.variables)
    assert optimum(found) == pytest.approx(0.25)  # relu(1/2 - 1/4) = relu(1 - 3/4)
