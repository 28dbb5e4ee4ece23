"""Greatest losses to chosen targets and on a grid: what a proof says of them, and where there is none."""

from __future__ import annotations

import itertools
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import verifier
from encoders.deadline import Deadline
from encoders.layer_graph.graph import affine_chain
from encoders.question import Norm
from tests.claims import Network, Truth, claim_of, truth
from tests.draws import draws
from tests.encoders.nets import random_chain
from tests.onnx_builder import to_onnx
from tests.verifier.checker.small_proofs import hexadecimal, packed
from tests.verifier.proofs.accepted import accepted_lines
from tests.verifier.proofs.test_grid_proofs_by_enumeration import case, reading, scores
from verifier.checker import check
from verifier.margin_answer import TOLERANCE, GreatestLoss
from verifier.options import Options
from verifier.proofs.proof import ProofFile, write_proof, written_loss
from verifier.proofs.why_none import BETWEEN_LEVELS, RADIUS_ZERO
from verifier.question.model import Model

pytestmark = pytest.mark.usefixtures("quick_attacks")

SLACK = 1e-4


@pytest.fixture
def tent(tmp_path: Path) -> Model:
    """Of one input x, classes with the scores 1, relu(x - 1/4), and a tent: 0 at 0 and from 1/4 on, 1/8 at 1/8.

    From 0, within 1/2, class 1 leads by -3/4 at most; class 2 by -7/8, and by -1 at whole quarters.
    """
    first = np.ones((3, 1)), np.array([0.0, -0.125, -0.25])
    second = np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 1.0], [1.0, -2.0, 1.0]]), np.array([1.0, 0.0, 0.0])
    graph = affine_chain([first[0], second[0]], [first[1], second[1]])
    return verifier.load(to_onnx(graph, tmp_path / "tent.onnx"))


def asked(
    model: Model, path: Path, radius: float, x: Any = (0.0,), label: int | None = None, **options: Any
) -> tuple[GreatestLoss, ProofFile]:
    """A greatest loss and its proof."""
    x = np.array(x, np.float32)
    loss = verifier.margin(model, x, radius, label=label, **options)
    chosen = Options(**{"tolerance": TOLERANCE, **options})
    return loss, written_loss(path, model, x, loss, chosen, None, Deadline(20))


@pytest.mark.parametrize(
    ("targets", "rivals", "lead"),
    [((1,), [1], -0.75), ((2,), [2], -0.875), ((1, 2), [1, 2], -0.75), ((0, 2), [2], -0.875)],
)
def test_a_loss_to_chosen_targets(
    tent: Model, tmp_path: Path, targets: tuple[int, ...], rivals: list[int], lead: float
) -> None:
    loss, found = asked(tent, tmp_path / "0.proof", 0.5, targets=targets)
    assert loss.upper == pytest.approx(lead, abs=SLACK)
    first, *rest = accepted_lines(found, tent)
    assert (first["rivals"], first["targets"], first["against"], found.radius) == (rivals, None, 0, 0.5)
    assert lead < loss.upper < float.fromhex(first["margin"]) < lead + 2 * SLACK
    assert "no rival (class " in check(found.path or "", tent.path).proven
    for arithmetic in ("exact", "float"):
        false = packed(first | {"margin": hexadecimal(lead)}, *rest)
        assert not check(false, tent.path, arithmetic).accepted


def test_a_loss_of_a_label_to_the_class_that_wins(tent: Model, tmp_path: Path) -> None:
    """Of class 1, which 0 leads by 1 everywhere up to 1/4: the target 1 is the label itself, and no rival."""
    _, found = asked(tent, tmp_path / "0.proof", 0.125, label=1, targets=(0, 1))
    first = accepted_lines(found, tent)[0]
    assert (first["rivals"], first["against"]) == ([0], 1)
    assert 1.0 < float.fromhex(first["margin"]) < 1.0 + 2 * SLACK


def test_in_python_a_loss_is_proven_like_any_result(tent: Model, tmp_path: Path) -> None:
    """With the tolerance that losses have: half of it beyond `upper`."""
    x = np.zeros(1, np.float32)
    loss = verifier.margin(tent, x, 0.5, targets=(2,))
    first = accepted_lines(write_proof(tmp_path / "0.proof", tent, x, loss, targets=(2,)), tent)[0]
    assert (first["rivals"], float.fromhex(first["margin"])) == ([2], loss.upper + TOLERANCE / 2)


def test_a_ball_of_the_sample_alone_is_named_as_the_reason(tent: Model, tmp_path: Path) -> None:
    """Both sides are known there, of a loss and of a verdict."""
    assert asked(tent, tmp_path / "0.proof", 0.0)[1].why == RADIUS_ZERO
    x = np.zeros(1, np.float32)
    assert write_proof(tmp_path / "0.proof", tent, x, verifier.verify(tent, x, 0.0)).why == RADIUS_ZERO


def test_without_targets_the_statement_has_no_rivals(tent: Model, tmp_path: Path) -> None:
    _, found = asked(tent, tmp_path / "0.proof", 0.5)
    assert "rivals" not in accepted_lines(found, tent)[0]


@pytest.mark.parametrize(
    ("radius", "ball", "targets", "lead"),
    [(0.5, 0.5, None, -0.75), (0.3, 0.25, (1,), -1.0), (0.7, 0.5, (1,), -0.75), (0.1, 0.0, None, -1.0)],
)
def test_on_a_grid_the_real_ball_of_all_points_is_proven(
    tent: Model, tmp_path: Path, radius: float, ball: float, targets: tuple[int, ...] | None, lead: float
) -> None:
    """The radius is that of the last quarter within the one asked for, and a hair: at 3/10, class 1 leads by more."""
    loss, found = asked(tent, tmp_path / "0.proof", radius, targets=targets, grid=4)
    assert loss.upper == pytest.approx(lead, abs=SLACK)
    first = accepted_lines(found, tent)[0]
    assert found.radius is not None
    assert ball < found.radius < ball + 1e-8
    assert float.fromhex(first["radius"]) == found.radius
    assert loss.upper < float.fromhex(first["margin"]) < lead + 2 * SLACK
    assert first["about"]["grid"] == 4


def test_real_inputs_between_levels_that_lead_by_more_leave_no_proof(tent: Model, tmp_path: Path) -> None:
    """The tent is 0 at whole quarters, and 1/8 between them."""
    for radius, targets in ((0.5, (2,)), (0.3, None)):
        loss, found = asked(tent, tmp_path / "0.proof", radius, targets=targets, grid=4)
        assert loss.upper == pytest.approx(-1.0, abs=SLACK)
        assert (found.path, found.why) == (None, BETWEEN_LEVELS)
    assert not (tmp_path / "0.proof").exists()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(draws(6, 60)))
@pytest.mark.fewer
def test_losses_of_random_nets_are_what_all_linear_pieces_say(tmp_path: Path, seed: int) -> None:
    """What is accepted is true in fractions; at the value that an input attains, it is false, and refused."""
    graph, x = random_chain(seed, (2, 4, 3, 4))
    path = to_onnx(graph, tmp_path / "net.onnx")
    model, norm = verifier.load(path), ["linf", "l1", "l2"][seed % 3]
    targets = tuple(np.random.default_rng(seed).permutation(4)[: 1 + seed % 2].tolist())
    predicted = int(np.argmax(model.scores(x.astype(np.float32)[None])[0]))
    label = next(t for t in (predicted, *range(4)) if t not in targets)
    loss, found = asked(model, tmp_path / "0.proof", 0.2, x, label, norm=norm, targets=targets)
    first, *rest = accepted_lines(found, model)
    network = Network(path, tiny=True)
    assert truth(claim_of(first), network) is Truth.TRUE
    assert loss.worst is not None
    point = tuple(Fraction(float(v)) for v in loss.worst.input.reshape(-1))
    lead = max(claim_of(first).won(network.scores(point)))
    false = first | {"margin": float(np.nextafter(float(lead), -np.inf)).hex()}
    assert truth(claim_of(false), network) is Truth.FALSE
    assert not check(packed(false, *rest), path, "exact").accepted
    assert not check(packed(false, *rest), path, "float").accepted


@pytest.mark.slow
def test_losses_on_random_grids_are_what_all_points_say(tmp_path: Path) -> None:
    """Every point within the radius is in the ball of a proof, and leads by less than its margin, in fractions."""
    proven = 0
    for seed in range(draws(30, 300)):
        path = tmp_path / f"{seed}.onnx"
        layers, levels, home, (low, high), about = case(seed, path)
        options = {name: about[name] for name in ("norm", "grid", "box")}
        radius = [0.7, 1.0, 1.5][seed // 3 % 3] / levels
        model = verifier.load(path)
        loss, found = asked(model, tmp_path / "0.proof", radius, [float(reading(k, levels)) for k in home], **options)
        axis = [k for k in range(-2 * levels, 2 * levels + 1) if low <= reading(k, levels) <= high]
        near = [
            steps
            for steps in itertools.product(axis, repeat=len(home))
            if float(Norm(about["norm"]).length(np.subtract(steps, home))) / levels <= radius
        ]
        points = [tuple(reading(k, levels) for k in steps) for steps in near]
        rivals = [t for t in range(model.classes) if t != loss.against]
        leads = [
            max(values[t] - values[loss.against] for t in rivals) for values in (scores(layers, p) for p in points)
        ]
        assert max(leads) <= loss.upper, seed
        if found.path is None:
            continue
        proven += 1
        claim = claim_of(accepted_lines(found, model)[0])
        assert claim.radius is not None
        assert all(claim.within(point, claim.radius) for point in points), seed
        assert max(leads) < claim.margin < loss.upper + 2 * SLACK, seed
    assert proven >= 10
