"""What proofs of greatest losses of int8 nets say is held against all points of the grid, executed by onnxruntime."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import verifier
from encoders.deadline import Deadline
from tests.draws import draws
from tests.int8_builder import Int8Layer, write_int8
from tests.int8_points import random_points
from tests.verifier.proofs.test_int8_proofs import Line, changed, digit, lines_of, packed
from verifier.checker import check
from verifier.cli.main import main
from verifier.margin_answer import GreatestLoss
from verifier.options import Options
from verifier.proofs.int8_search import GoalSearch
from verifier.proofs.proof import ProofFile, written_loss
from verifier.question.model import Model
from verifier.question.results import Basis

pytestmark = pytest.mark.usefixtures("brief_questions")
NET = Path("trainers/nets/digits-int8.onnx")
STEP = 1 / 64


@pytest.fixture
def three(tmp_path: Path) -> Model:
    """Levels of three classes: 30, the input's own, and half of it, halves to even; a level is worth 1/64."""
    weight, unit = np.array([[0], [64], [32]]), np.array([STEP], np.float32)
    layer = Int8Layer(weight, np.array([1920, 0, 0]), unit, STEP)
    return verifier.load(write_int8([layer], tmp_path / "three.onnx", STEP))


def asked(model: Model, path: Path, x: Any, radius: float, **more: Any) -> tuple[GreatestLoss, ProofFile]:
    """A greatest loss, and its proof."""
    label, mask = more.pop("label", None), more.pop("mask", None)
    x = np.array(x, np.float32)
    loss = verifier.margin(model, x, radius, label=label, mask=mask, **more)
    return loss, written_loss(path, model, x, loss, Options(**more), mask, Deadline(20))


# From 18, class 1 leads class 0 by -12 levels and class 2 by -21. At 21 they have 21 and 10 (10.5, even), at 22 22 and
# 11; at 64, where the box ends, 64 and 32.
@pytest.mark.parametrize(
    ("norm", "measure", "radius", "targets", "rivals", "lead"),
    [
        ("linf", 0, 0.0, None, [1, 2], -12),
        ("linf", 3, 3 * STEP, None, [1, 2], -9),
        ("linf", 3, 3.9 * STEP, (2,), [2], -20),
        ("l1", 4, 4 * STEP, (2, 1), [1, 2], -8),
        ("l2", 16, 4 * STEP, (0, 2), [2], -19),
        ("l0", 1, 1.0, (2,), [2], 2),
        ("l0", 1, 1.0, None, [1, 2], 34),
    ],
)
def test_a_greatest_loss_by_hand(
    three: Model, tmp_path: Path, norm: str, measure: int, radius: float, targets: Any, rivals: list[int], lead: int
) -> None:
    loss, found = asked(three, tmp_path / "0.proof", [18 * STEP], radius, norm=norm, grid=64, targets=targets, label=0)
    assert (loss.lower, loss.upper) == (lead * STEP, lead * STEP)
    assert found.claims == 0
    first, *rest = lines_of(tmp_path / "0.proof")
    assert (first["rivals"], first["targets"], first["against"]) == (rivals, None, 0)
    assert (first["below"], first["witness"]) == (measure + 1, None)
    assert float.fromhex(first["margin"]) == np.nextafter(lead * STEP, 9.0)  # the strongest claim that is true
    assert check(tmp_path / "0.proof", three.path).whole
    named = ", ".join(map(str, rivals))
    assert f"no rival (class {named}) leads class 0 by" in check(tmp_path / "0.proof", three.path).proven
    false = first | {"margin": (lead * STEP).hex()}
    assert not check(packed([false, *rest]), three.path).accepted
    farther = first | {"below": 4 * measure + 4}
    assert norm == "l0" or not check(packed([farther, *rest]), three.path).accepted


def test_a_loss_of_a_label_that_is_not_won(three: Model, tmp_path: Path) -> None:
    """Of class 2, which both others lead: class 0 by 21 levels at 18, and by 22 at 15 (7.5, even) to 17 (8.5, even)."""
    loss, found = asked(three, tmp_path / "0.proof", [18 * STEP], 3 * STEP, label=2, grid=64)
    assert (found.claims, loss.upper) == (0, 22 * STEP)
    first = lines_of(tmp_path / "0.proof")[0]
    assert (first["against"], first["rivals"]) == (2, [0, 1])


def test_other_rivals_are_another_claim(three: Model, tmp_path: Path) -> None:
    """What is shown of class 2 holds neither of class 1, nor against class 2 or 1."""
    asked(three, tmp_path / "0.proof", [18 * STEP], 3 * STEP, label=0, grid=64, targets=(2,))
    first, *rest = lines_of(tmp_path / "0.proof")
    assert check(packed([first, *rest]), three.path).whole
    for other in (
        {"rivals": [1]},
        {"rivals": [1, 2]},
        {"rivals": [2, 1]},
        {"against": 1},
        {"rivals": [1], "against": 2},
    ):
        named: Line = first | other
        assert not check(packed([named, *rest]), three.path).accepted
        goals = [{"goal": named["rivals"][0]} if "goal" in line else line for line in rest]
        assert named == first | {"against": 1} or not check(packed([named, *goals]), three.path).accepted
    del first["rivals"]
    assert not check(packed([first, *rest]), three.path).accepted


@pytest.mark.slow
def test_all_points_of_random_grids(tmp_path: Path) -> None:
    """What is accepted is true of every point; at the lead that one has, or a measure farther, it is refused."""
    whole = false = 0
    for seed in range(draws(8, 300)):
        rng, points, proof = np.random.default_rng(seed), random_points(seed, tmp_path), tmp_path / f"{seed}.proof"
        model, norm = verifier.load(points.path), points.asked["norm"]
        options = {name: points.asked[name] for name in ("norm", "grid", "box", "mask")}
        most = int(rng.integers(0, int(points.measures.max()) // 2 + 1))
        radius = {"l2": np.sqrt(most + 0.5) / options["grid"], "l0": most}.get(norm, (most + 0.5) / options["grid"])
        label = None if rng.random() < 0.5 else int(rng.integers(model.classes))
        against = points.own if label is None else label
        others = [t for t in range(model.classes) if t != against]
        targets = (int(rng.choice(others)),) if rng.random() < 0.5 else None
        loss, found = asked(model, proof, points.x, float(radius), label=label, targets=targets, **options)
        assert found.path is not None or loss.basis is Basis.RIGOROUS, (seed, found.why)
        if found.path is None:
            continue
        checked, (first, *rest) = check(proof, points.path), lines_of(proof)
        assert checked.accepted, seed
        assert checked.claims == found.claims, seed
        whole += checked.whole
        leads = points.leads(against, targets, first["below"] - 1)
        greatest, margin = float(leads.max()), float.fromhex(first["margin"])
        assert len(leads) == len(points.leads(against, targets, most)), seed
        assert greatest < margin <= greatest + 1e-4 * max(1.0, abs(greatest)), seed
        if not checked.whole:
            continue
        first |= {"margin": greatest.hex()}
        assert not check(packed([first, *rest]), points.path).whole, seed
        for _ in range(4):
            assert not check(packed(changed(rng, [first, *rest])), points.path).whole, seed
        farther = range(most + 1, int(points.measures.max()) + 1)
        beyond = next((m for m in farther if points.leads(against, targets, m).max() > greatest), None)
        if beyond is not None:
            first |= {"margin": margin.hex(), "below": beyond + 1}
            assert not check(packed([first, *rest]), points.path).whole, seed
            false += 1
    assert whole >= 6
    assert false >= 2


def test_what_a_solver_closed_is_its_claim(three: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(GoalSearch, "lines", lambda self, node: None)
    loss, found = asked(three, tmp_path / "0.proof", [18 * STEP], 3 * STEP, grid=64)
    assert (loss.basis, found.why) == (Basis.RIGOROUS, "no proof was found")
    claimed = replace(loss, basis=Basis.INTEGER), Options(grid=64), None, Deadline(20)
    assert written_loss(tmp_path / "0.proof", three, np.array([18 * STEP], np.float32), *claimed).claims == 2
    verdict = check(tmp_path / "0.proof", three.path)
    assert verdict.accepted
    assert not verdict.whole
    assert lines_of(tmp_path / "0.proof")[-1] == {"claim": "cpsat"}


def test_a_lead_of_which_nothing_is_known_is_none_of_the_levels(three: Model, tmp_path: Path) -> None:
    """Stopped before anything is proven, a loss is at most 255 levels: a true claim, and no goal can reach more."""
    loss, found = asked(three, tmp_path / "0.proof", [18 * STEP], 3 * STEP, grid=64, time_limit=1e-9)
    assert (loss.upper, found.claims) == (255 * STEP, 0)
    assert check(tmp_path / "0.proof", three.path).whole


def test_the_command_writes_and_checks(three: Model, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, folder = tmp_path / "x.npy", tmp_path / "proofs"
    np.save(data, np.array([[40 * STEP], [18 * STEP]], np.float32))
    command = ["margin", str(three.path), "--data", str(data), "--radius", str(3 * STEP), "--grid", "64"]
    assert main([*command, "--proof", str(folder), "--target", "0,2"]) == 0
    assert "proofs: 2" in capsys.readouterr().out
    assert main(["check", str(folder), "--model", str(three.path), "--data", str(data)]) == 0
    said = capsys.readouterr().out
    assert "no rival (class 0, 2) leads class 1 by" in said
    assert "no rival (class 2) leads class 0 by" in said
    range_ = ["range", *command[1:], "--samples", "0"]
    assert main(range_) == 2


@pytest.mark.slow
@pytest.mark.parametrize("norm", ["linf", "l1", "l2", "l0"])
def test_a_digit_has_a_whole_proof_in_every_norm(norm: str, tmp_path: Path) -> None:
    model, radius = verifier.load(NET), {"linf": 0.0625, "l1": 0.125, "l2": 0.09, "l0": 1.0}[norm]
    _, found = asked(model, tmp_path / "3.proof", digit(3), radius, norm=norm, grid=16)
    assert (found.why, found.claims) == ("", 0)
    assert check(tmp_path / "3.proof", NET).whole
