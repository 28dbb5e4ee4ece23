"""Distances by splitting what few inputs move, against sweeps and linear pieces, with and without witnesses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from encoders.layer_graph.graph import affine_chain
from encoders.question import Norm, Region, goals_for
from tests.draws import draws
from tests.encoders.nets import random_chain
from tests.exact_distances import exact_distance
from tests.onnx_builder import to_onnx
from verifier.answer import distance, verify
from verifier.perturbations import brightness
from verifier.question.incumbent import Incumbent
from verifier.question.model import Model, load
from verifier.question.results import Verdict

pytestmark = pytest.mark.usefixtures("brief_questions")
PIXELS = 6


def swept(model: Model, x: np.ndarray, predicted: int) -> float:
    """The least shift of a fine sweep at which another class wins or ties."""
    shifts = np.linspace(-1.0, 1.0, 40001)
    scores = model.graph.evaluate(np.clip(x + shifts[:, None], 0.0, 1.0))
    others = np.delete(scores, predicted, axis=1).max(axis=1)
    return float(np.abs(shifts[others >= scores[:, predicted]]).min(initial=np.inf))


def net(folder: Path, seed: int) -> tuple[Model, np.ndarray]:
    graph, x = random_chain(seed, (PIXELS, 7, 5, 3))
    return load(to_onnx(graph, folder / f"net{seed}.onnx")), x.astype(np.float32)


def test_agrees_with_a_sweep(tmp_path: Path) -> None:
    finite = 0
    for seed in range(draws(5, 40)):
        model, x = net(tmp_path, seed)
        asked = brightness(model, x)
        found = asked.distance()
        nearest = swept(model, x, found.predicted)
        assert found.verdict is Verdict.EXACT, seed
        assert found.lower <= nearest + 1e-9, seed
        assert found.upper >= nearest - 1e-4 if nearest < np.inf else found.upper == np.inf, seed
        assert found.basis == "rigorous"
        finite += found.upper < np.inf
        if 0 < found.upper < np.inf:
            assert asked.verify(0.99 * found.upper).verdict is Verdict.CERTIFIED
            assert asked.verify(1.01 * found.upper).verdict is Verdict.FALSIFIED
    assert finite


@pytest.mark.release
def test_proofs_by_themselves_stop_where_an_adversary_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is offered is refused: boxes that hold an adversary must stay, and end the search at its distance."""
    monkeypatch.setattr(Incumbent, "offer", lambda *given: False)
    reached = 0
    for seed in range(draws(5, 40)):
        model, x = net(tmp_path, seed)
        found = brightness(model, x).distance(engine="splits")
        nearest = swept(model, x, found.predicted)
        assert found.adversary is None
        assert found.lower <= nearest + 1e-9, seed
        if nearest < np.inf:
            assert found.lower >= nearest - 1e-4, seed
            reached += 1
    assert reached


@pytest.mark.parametrize("norm", ["linf", "l1", "l2"])
@pytest.mark.fewer
def test_two_inputs_in_every_norm(norm: str, tmp_path: Path) -> None:
    for seed in range(draws(3, 20)):
        graph, x = random_chain(seed + 50, (2, 5, 4, 2))
        model = load(to_onnx(graph, tmp_path / "net.onnx"))
        found = distance(model, x.astype(np.float32), norm=norm, engine="splits", tolerance=1e-4)
        region = Region(x.astype(np.float32).astype(np.float64), np.zeros(2), np.ones(2))
        truth = exact_distance(model.graph, region, Norm(norm), goals_for(found.predicted, 2, None, 0.0))
        assert found.lower <= truth * (1 + 1e-6) + 1e-9, seed
        assert found.upper >= truth * (1 - 1e-6) - 1e-9, seed
        assert found.verdict is Verdict.EXACT, seed


def test_a_tie_that_lasts_ends_the_search_where_it_begins(tmp_path: Path) -> None:
    """Scores (x1, x2) from (3/4, 1/4): both stop at 1, where they tie; no box there closes, and no class changes."""
    graph = affine_chain([np.eye(2)], [np.zeros(2)])
    model = load(to_onnx(graph, tmp_path / "tie.onnx"))
    found = brightness(model, np.array([0.75, 0.25], dtype=np.float32)).distance(engine="splits")
    assert found.lower == pytest.approx(0.75, abs=1e-6)
    assert found.upper == np.inf
    assert found.verdict is Verdict.UNRESOLVED


def test_a_tie_at_one_point_is_not_lost(tmp_path: Path) -> None:
    """Scores (abs(x - 1/2), 0): no other class wins, and no proof gets past 1/2 from 1/4."""
    graph = affine_chain(
        [np.array([[1.0], [-1.0]]), np.array([[1.0, 1.0], [0.0, 0.0]])], [np.array([-0.5, 0.5]), np.zeros(2)]
    )
    found = distance(load(to_onnx(graph, tmp_path / "point.onnx")), np.array([0.25], dtype=np.float32), engine="splits")
    assert found.lower == pytest.approx(0.25, abs=1e-6)
    assert found.lower <= 0.25
    assert found.upper == np.inf


def test_no_time_leaves_what_is_true(tmp_path: Path) -> None:
    model, x = net(tmp_path, 1)
    found = verify(model, x, 0.5, engine="splits", time_limit=1e-6)
    assert found.lower < 0.5
    assert found.verdict is not Verdict.CERTIFIED
