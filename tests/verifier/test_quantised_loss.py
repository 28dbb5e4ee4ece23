"""The greatest loss of int8 nets on a grid: by hand, and against all points of random grids, which are executed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from encoders.deadline import Deadline
from encoders.errors import OptionError, SoundnessError
from tests.draws import draws
from tests.int8_builder import Int8Layer, write_int8
from tests.int8_points import Points, random_points
from verifier.answer import verify
from verifier.cli.main import main
from verifier.margin_answer import Closed, GreatestLoss, margin, output_range
from verifier.quantised_loss import QuantisedLoss
from verifier.question.model import Model, load
from verifier.question.results import Verdict

SAMPLE = np.array([0.75, 0.25], dtype=np.float32)
NORMS = ("linf", "l1", "l2", "l0")


@pytest.fixture
def halves(tmp_path: Path) -> Model:
    """Levels (rint((2a - b) / 2), rint((2b - a) / 2)), halves to even and from 0 on, for inputs a/4 and b/4."""
    layer = Int8Layer(np.array([[2, -1], [-1, 2]]), np.zeros(2), np.array([1.0], np.float32), 0.5)
    return load(write_int8([layer], tmp_path / "halves.onnx", 0.25))


@pytest.fixture
def no_attack(monkeypatch: pytest.MonkeyPatch) -> None:
    """Points that have the greatest value hide what engines prove too much of: no attack and no walk finds any."""
    monkeypatch.setattr(QuantisedLoss, "_attack", lambda self: None)
    monkeypatch.setattr(QuantisedLoss, "_climb", lambda self: None)


# A level is worth 1/2. From (3, 1), where levels are (2, 0), one step in L∞ brings (2, 2) and (1, 1), a tie; two bring
# (1, 3) with (0, 2), a lead of two, and three (0, 4) with (0, 4). In L1 one step brings (3, 2) with (2, 0) and (2, 1)
# with (2, 0); two (1, 1), a tie; three (2, 3) with (0, 2). One moved input brings (0, 1) with (0, 1), and (3, 4) with
# (1, 2): a lead of one.
BY_HAND = [
    ("linf", 0.0, -2), ("linf", 0.3, 0), ("linf", 0.5, 2), ("linf", 0.75, 4), ("linf", 9.0, 4),
    ("l1", 0.25, -2), ("l1", 0.5, 0), ("l1", 0.75, 2), ("l2", 0.36, 0), ("l2", 0.56, 2), ("l0", 1.0, 1), ("l0", 2.0, 4),
]  # fmt: skip


@pytest.mark.usefixtures("no_attack")
@pytest.mark.parametrize("engine", ["auto", "cpsat", "highs"])
@pytest.mark.parametrize(("norm", "radius", "lead"), BY_HAND)
@pytest.mark.fewer
def test_losses_by_hand(halves: Model, engine: str, norm: str, radius: float, lead: int) -> None:
    if (engine, norm) == ("highs", "l2"):
        with pytest.raises(OptionError, match=r"highs knows no quantised network in l2; take auto or cpsat$"):
            margin(halves, SAMPLE, radius, norm=norm, engine=engine, grid=4)
        return
    found = margin(halves, SAMPLE, radius, norm=norm, engine=engine, grid=4)
    assert (found.verdict, found.lower, found.upper, found.target) == (Closed.EXACT, lead / 2, lead / 2, 1)
    assert found.worst is not None
    scores = halves.scores(found.worst.input.reshape(1, -1))[0]
    assert scores[1] - scores[0] == lead / 2
    assert found.worst.distance <= radius


@pytest.mark.parametrize(("norm", "radius", "lead"), BY_HAND)
def test_a_walk_leads_to_the_greatest(
    halves: Model, norm: str, radius: float, lead: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nothing_more(self: QuantisedLoss, lead: int, deadline: Deadline) -> bool:
        self.beyond = lead
        return True

    monkeypatch.setattr(QuantisedLoss, "_attack", lambda self: None)
    monkeypatch.setattr(QuantisedLoss, "_decide", nothing_more)
    found = margin(halves, SAMPLE, radius, norm=norm, grid=4)
    assert (found.lower, found.worst is not None and found.worst.distance <= radius) == (lead / 2, True)


def test_a_tie_is_no_win_of_the_target_that_is_named_first(halves: Model) -> None:
    """Levels at (1, 1) are (0, 0). One step brings (2, 1) with (2, 0) in L1, on which class 0 wins."""
    x = np.array([0.25, 0.25], dtype=np.float32)
    found = verify(halves, x, 0.1, targets=(0,), grid=4)
    assert (found.predicted, found.verdict) == (0, Verdict.CERTIFIED)
    assert verify(halves, x, 0.25, norm="l1", targets=(0,), grid=4).verdict is Verdict.FALSIFIED


def test_a_loss_of_a_label_that_is_not_won(halves: Model) -> None:
    """Of class 1 the loss is positive from the sample on."""
    assert margin(halves, SAMPLE, 0.0, label=1, grid=4).lower == 1.0
    assert margin(halves, SAMPLE, 0.25, label=1, grid=4).lower == 2.0  # (4, 0): levels (4, 0)


def test_what_is_refused(halves: Model, tmp_path: Path) -> None:
    for options, why in (
        ({}, "with grid N"),
        ({"grid": 4, "engine": "search"}, "take auto, cpsat or highs"),
        ({"grid": 4, "margin": 0.5}, "leave margin out"),
        ({"grid": np.array([4, 4])}, "one N for all inputs"),
    ):
        with pytest.raises(OptionError, match=why):
            margin(halves, SAMPLE, 0.25, **options)
    with pytest.raises(OptionError, match="ask for margin, distance or verify"):
        output_range(halves, [1.0, -1.0], x=SAMPLE, radius=0.25, grid=4)


def test_a_proof_that_a_point_denies_is_an_alarm(halves: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(QuantisedLoss, "_above", lambda self, upper: -3)
    with pytest.raises(SoundnessError, match="leads by -2 levels"):
        margin(halves, SAMPLE, 0.25, grid=4)


def wrong(points: Points, radius: int, found: GreatestLoss, targets: tuple[int, ...] | None) -> str | None:
    """What is wrong with an answer, in words."""
    leads = points.leads(found.against, targets, radius)
    truth = float(leads.max())
    if not found.lower <= truth <= found.upper:
        return f"{truth!r} is not in [{found.lower!r}, {found.upper!r}]"
    if found.verdict is Closed.EXACT and not found.upper - truth <= 1e-4 * max(1.0, abs(truth)):
        return f"exact, and {found.upper!r} is far from {truth!r}"
    if found.worst is None or not (leads == found.lower).any():
        return "no point has the lower side"
    return None


def asked(points: Points, seed: int, engine: str, **more: Any) -> tuple[GreatestLoss, int, tuple[int, ...] | None]:
    """A loss of the net and its sample, in the norm of the seed; the measure, and the targets."""
    rng = np.random.default_rng(seed)
    options = {name: points.asked[name] for name in ("norm", "grid", "box", "mask")}
    most = int(rng.integers(0, int(points.measures.max()) + 1))
    label = None if rng.random() < 0.5 else int(rng.integers(points.scores.shape[1]))
    against = points.own if label is None else label
    other = int(rng.choice([t for t in range(points.scores.shape[1]) if t != against]))
    targets = (other,) if rng.random() < 0.3 else None
    radius = {"l2": np.sqrt(most + 0.5) / options["grid"], "l0": most}.get(
        options["norm"], (most + 0.5) / options["grid"]
    )
    loss = margin(
        points.path, points.x, float(radius), label=label, engine=engine, targets=targets, **options, **more
    )  # fmt: skip
    return loss, most, targets


@pytest.mark.slow
@pytest.mark.thorough
@pytest.mark.usefixtures("no_attack")
@pytest.mark.parametrize("engine", ["auto", "cpsat", "highs"])
def test_losses_are_those_of_all_points(engine: str, tmp_path: Path) -> None:
    found = []
    for seed in range(draws(8, 200) if engine != "highs" else draws(6, 60)):
        if engine == "highs" and NORMS[seed % 4] == "l2":
            continue
        points = random_points(seed, tmp_path)
        loss, most, targets = asked(points, seed, engine)
        if text := wrong(points, most, loss, targets):
            found.append((seed, text))
        if loss.verdict is not Closed.EXACT:
            found.append((seed, "open"))
    assert found == []


@pytest.mark.slow
def test_the_bracket_is_true_whenever_time_is_up(tmp_path: Path) -> None:
    found = []
    for seed in range(draws(8, 100)):
        points = random_points(seed, tmp_path)
        for limit in (1e-6, 0.01, 0.05):
            loss, most, targets = asked(points, seed, "auto", time_limit=limit)
            if text := wrong(points, most, loss, targets):
                found.append((seed, limit, text))
    assert found == []


@pytest.fixture
def three(tmp_path: Path) -> Path:
    """Levels of three classes: 10, the input's own, and half of it, halves to even."""
    weight, unit = np.array([[0], [64], [32]]), np.array([1 / 64], np.float32)
    return write_int8([Int8Layer(weight, np.array([640, 0, 0]), unit, 1 / 64)], tmp_path / "3.onnx", 1 / 64)


def test_every_target_has_its_own_loss(three: Path) -> None:
    """At 22, the second class leads by 12 and the third by 1."""
    x = np.array([18 / 64], np.float32)
    found = margin(three, x, 4 / 64, label=0, grid=64, each=True)
    assert found.by_target == {1: (12 / 64, 12 / 64), 2: (1 / 64, 1 / 64)}
    assert (found.lower, found.upper) == (12 / 64, 12 / 64)
    assert margin(three, x, 4 / 64, label=0, grid=64, targets=(2,)).upper == 1 / 64


@pytest.mark.usefixtures("no_attack")
@pytest.mark.parametrize(("home", "lead"), [(16, -1), (14, -2), (18, 0)])
def test_a_level_more_than_at_the_sample_is_found(three: Path, home: int, lead: int) -> None:
    """Of the third class, two steps on."""
    found = margin(three, [home / 64], 2 / 64, label=0, grid=64, targets=(2,), engine="cpsat")
    assert (found.lower, found.upper) == (lead / 64, lead / 64)


def test_a_loss_below_zero_is_a_certified_radius(halves: Model) -> None:
    for radius in (0.0, 0.25, 0.5):
        loss = margin(halves, SAMPLE, radius, grid=4)
        certified = verify(halves, SAMPLE, radius, grid=4).verdict is Verdict.CERTIFIED
        assert certified == (loss.upper <= 0)  # a tie is no win


def test_command_line_and_resume(halves: Model, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, out = tmp_path / "x.npy", tmp_path / "out.jsonl"
    np.save(data, np.stack([SAMPLE, SAMPLE[::-1]]))
    command = ["margin", str(halves.path), "--data", str(data), "--grid", "4", "--json", str(out)]
    assert main([*command, "--samples", "0:1", "--norm", "l0", "--radius", "1"]) == 0
    assert (json.loads(out.read_text())["lower"], json.loads(out.read_text())["upper"]) == (0.5, 0.5)
    out.unlink()
    command += ["--radius", "0.5"]
    assert main([*command, "--samples", "0:1", "--time-limit", "1e-9"]) == 1
    opened = json.loads(out.read_text().splitlines()[-1])
    assert (opened["verdict"], opened["upper"]) == ("unresolved", 127.5)  # of 255 levels
    assert opened["lower"] < 1.0
    assert main(command) == 0
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert {(line["index"], line["lower"], line["upper"]) for line in lines[-2:]} == {(0, 1.0, 1.0), (1, 1.0, 1.0)}
    capsys.readouterr()


def test_an_attack_beyond_the_radius_is_no_point(halves: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two steps to (1, 3) are offered where one is allowed."""
    monkeypatch.setattr(QuantisedLoss, "_attack", lambda self: self._offer(np.array([[0.25, 0.75]]), "too far"))
    assert margin(halves, SAMPLE, 0.25, grid=4).upper == 0.0
