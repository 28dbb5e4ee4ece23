"""What proofs of int8 nets say of a grid is held against all of its points, executed by onnxruntime."""

from __future__ import annotations

import gzip
import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import verifier
from encoders.deadline import NEVER
from encoders.question import Norm
from tests.draws import draws
from tests.int8_builder import Int8Layer, write_int8
from tests.int8_points import checker_of, random_points
from verifier.checker import check
from verifier.checker.statement import read_question
from verifier.options import Options
from verifier.proofs import int8_search
from verifier.proofs.int8_search import GoalSearch, layer_lines
from verifier.proofs.proof import unprovable, write_proof
from verifier.question.results import Basis

pytestmark = pytest.mark.usefixtures("brief_questions")
NET = Path("trainers/nets/digits-int8.onnx")
Line = dict[str, Any]


def lines_of(proof: Path) -> list[Line]:
    return [json.loads(line) for line in gzip.decompress(proof.read_bytes()).splitlines()]


def packed(lines: list[Line]) -> bytes:
    return gzip.compress("\n".join(map(json.dumps, lines)).encode())


def changed(rng: np.random.Generator, lines: list[Line]) -> list[Line]:
    """The same with a number, or a line, that is another."""
    lines = deepcopy(lines)
    place = int(rng.integers(1, len(lines)))
    line = lines[place]
    if rng.random() < 0.2:
        del lines[place]
    elif "lines" in line:
        side = str(rng.choice([key for key in ("below", "above", "prices") if key in line]))
        at = int(rng.integers(len(line[side])))
        line[side][at] = int(line[side][at] * rng.choice([0, 0.5, 2])) + int(rng.integers(2))
    elif "narrow" in line:
        line["price"] = int(line.get("price", 0) * rng.choice([0.5, 2])) + int(rng.integers(9))
    elif "split" in line:
        line["at"] += int(rng.integers(-2, 3))
    return lines


def test_all_points_of_random_grids(tmp_path: Path) -> None:
    whole = false = 0
    rng = np.random.default_rng(0)
    for seed in range(draws(8, 300)):
        points, proof = random_points(seed, tmp_path), tmp_path / f"{seed}.proof"
        model, nearest = verifier.load(points.path), points.nearest
        result = verifier.distance(model, points.x, **points.asked)
        written = write_proof(proof, model, points.x, result, **points.asked)
        if written.path is None:
            continue
        found, lines = check(proof, points.path), lines_of(proof)
        assert found.accepted, seed
        assert found.claims == written.claims, seed
        whole += found.whole
        first = lines[0]
        assert str(result.verdict) != "exact" or nearest is None or first["below"] in (None, nearest), seed
        assert nearest is None or (first["below"] or 0) <= nearest, seed
        assert first["witness"] is None or first["witness"]["measure"] == nearest, seed
        if nearest is None or first["below"] is None:
            continue
        lines[0] = first | {"below": nearest + 1, "witness": None}  # false by one
        assert not check(packed(lines), points.path).whole, seed
        for _ in range(4):
            assert not check(packed(changed(rng, lines)), points.path).whole, seed
        for step in (-1, 1):
            if (witness := deepcopy(first["witness"])) is not None:
                witness |= {"measure": nearest - 1} if step < 0 else {"steps": [0] * len(witness["steps"])}
                moved = lines[0] | {"below": None, "witness": witness}
                assert nearest == 0 or not check(packed([moved]), points.path).accepted, seed
        false += 1
    assert whole >= 6
    assert false >= 3


@pytest.mark.slow
def test_no_search_closes_what_an_adversary_reaches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same search, of a measure that is one too far: down to single points it must leave the goal open."""
    monkeypatch.setattr(int8_search, "NODES", 30)
    asked = 0
    for seed in range(draws(16, 600)):
        points = random_points(seed, tmp_path)
        if (nearest := points.nearest) is None:
            continue
        checker = checker_of(points, nearest + 1)
        for k in range(len(checker.network.layers)):
            layer_lines(checker.node, k)
        reached = {t for t, wins in points.wins.items() if (points.measures[wins] == nearest).any()}
        for goal in checker.goals:
            if goal.target in reached and checker.lead is not None:
                assert GoalSearch(goal, checker.lead, NEVER).lines(checker.node) is None, seed
                asked += 1
    assert asked >= 6


def tie(folder: Path) -> Path:
    """Level of class 0: 10; of class 1: half of the input's level, halves to even."""
    weight, unit = np.array([[0], [32]]), np.array([1 / 64], np.float32)
    return write_int8([Int8Layer(weight, np.array([640, 0]), unit, 1 / 64)], folder / "tie.onnx", 1 / 64)


def test_both_sides_of_a_distance_and_of_a_verdict(tmp_path: Path) -> None:
    model, x = verifier.load(tie(tmp_path)), np.array([18 / 64], np.float32)
    result = verifier.distance(model, x, norm="l1", grid=64)
    written = write_proof(tmp_path / "0.proof", model, x, result, grid=64)
    assert (result.lower, written.radius) == (4 / 64, 3 / 64)
    assert check(tmp_path / "0.proof", model.path).told() == (
        "accepted: no adversary nearer than l1 4/64; one at 4/64 on the grid of 64 (exact arithmetic)"
    )
    first = lines_of(tmp_path / "0.proof")[0]
    assert [float(value) for value in read_question(first).sample] == x.tolist()
    for radius, says in ((3.5 / 64, "no adversary nearer than linf 4/64 on"), (0.5, "one adversary at linf 4/64 on")):
        result = verifier.verify(model, x, radius, norm="linf", grid=64)
        write_proof(tmp_path / "1.proof", model, x, result, grid=64)
        assert says in check(tmp_path / "1.proof", model.path).told()


def test_what_no_point_reaches_has_no_adversary_anywhere(tmp_path: Path) -> None:
    model, x = verifier.load(tie(tmp_path)), np.array([18 / 64], np.float32)
    asked: Line = {"norm": "l2", "grid": 64, "box": (0.0, 21 / 64)}
    result = verifier.distance(model, x, **asked)
    assert result.lower == float("inf")
    written = write_proof(tmp_path / "0.proof", model, x, result, **asked)
    assert written.radius == 18 / 64
    assert "no adversary anywhere on the grid of 64" in check(tmp_path / "0.proof", model.path).told()


def test_what_a_solver_closed_is_its_claim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = verifier.load(tie(tmp_path)), np.array([18 / 64], np.float32)
    result = verifier.distance(model, x, grid=64, engine="cpsat")
    assert result.basis is Basis.INTEGER
    assert write_proof(tmp_path / "0.proof", model, x, result, grid=64, engine="cpsat").claims == 0
    monkeypatch.setattr(GoalSearch, "lines", lambda self, node: None)
    assert write_proof(tmp_path / "0.proof", model, x, result, grid=64, engine="cpsat").claims == 1
    found = check(tmp_path / "0.proof", model.path)
    assert found.accepted
    assert not found.whole
    assert lines_of(tmp_path / "0.proof")[-1] == {"claim": "cpsat"}
    by_bounds = verifier.distance(model, x, grid=64)
    assert by_bounds.basis is Basis.RIGOROUS
    assert write_proof(tmp_path / "1.proof", model, x, by_bounds, grid=64).why == "no proof was found"


@pytest.mark.slow
@pytest.mark.parametrize("norm", ["linf", "l1", "l2", "l0"])
def test_a_digit_has_a_whole_proof_in_every_norm(norm: str, tmp_path: Path) -> None:
    model = verifier.load(NET)
    x = digit(4)
    result = verifier.verify(model, x, {"linf": 0.0625, "l1": 0.25, "l2": 0.13, "l0": 1.0}[norm], norm=norm, grid=16)
    assert str(result.verdict) == "certified"
    assert write_proof(tmp_path / "4.proof", model, x, result, grid=16).claims == 0
    assert check(tmp_path / "4.proof", NET).whole


def digit(row: int) -> Any:
    from verifier.runs.samples import load_samples

    return load_samples("digits", (64,), None).x[row]


def test_what_has_no_rules_is_refused() -> None:
    model = verifier.load(NET)
    assert unprovable(model, Options(norm=Norm.L0, grid=16)) is None
    assert "no rules for changes" in str(unprovable(model, Options(change=0.5)))


@pytest.mark.slow
def test_a_deadline_leaves_no_proof(tmp_path: Path) -> None:
    model, x = verifier.load(tie(tmp_path)), np.array([18 / 64], np.float32)
    result = verifier.distance(model, x, grid=64)
    written = write_proof(tmp_path / "0.proof", model, x, result, grid=64, proof_time_limit=0.0)
    assert "in time" in written.why
