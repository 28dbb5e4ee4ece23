"""Shares, parabolas and products close in few lines what chords close in many, and both arithmetics accept them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import verifier
from bounds.propagation.neuron_bounds import device_graph_for
from encoders.deadline import Deadline
from encoders.question import Norm, goals_for
from tests.encoders.nets import unit_box
from tests.verifier.checker.small_proofs import fully_connected, random_layers
from tests.verifier.proofs.accepted import accepted_lines
from verifier.engines.phase_search.program_choice import ProgramChoice
from verifier.proofs import parabola_lines, product_lines, shared_lines
from verifier.proofs.proof import proof_lines, write_proof

pytestmark = pytest.mark.usefixtures("quick_attacks")


@pytest.mark.slow
def test_upper_lines_by_shares_close_what_chords_leave_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With lines the same ball takes fewer nodes, and both arithmetics accept what is written."""
    layers = random_layers(np.random.default_rng(2), (6, 24, 2))
    model = verifier.load(fully_connected(tmp_path / "net.onnx", layers))
    x = np.full(6, 0.5, dtype=np.float32)
    distance = verifier.distance(model, x)
    result = verifier.verify(model, x, 0.95 * distance.lower)
    counts = []
    for few in (1000, 1):
        monkeypatch.setattr(shared_lines, "FEW", few)
        found = write_proof(tmp_path / f"{few}.proof", model, x, result)
        lines = accepted_lines(found, model)
        counts.append((len(lines), any("shares" in line for line in lines)))
    assert counts[1][0] < counts[0][0]
    assert [shared for _, shared in counts] == [False, True]


@pytest.mark.release
def test_parabolas_close_what_chords_leave_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line in place of a tree, which both arithmetics accept; a ball beyond the nearest adversary has neither."""
    model = verifier.load(sizes_of_sums(tmp_path / "net.onnx", 12.0))
    x = np.full(8, 0.5, dtype=np.float32)
    result = verifier.verify(model, x, 0.48)
    counts = []
    for few in (1000, 1):
        monkeypatch.setattr(parabola_lines, "FEW", few)
        found = write_proof(tmp_path / f"{few}.proof", model, x, result)
        lines = accepted_lines(found, model)
        counts.append((len(lines), any("parabolas" in line for line in lines)))
    assert counts[0][0] > 10
    assert counts == [(counts[0][0], False), (4, True)]
    model = verifier.load(sizes_of_sums(tmp_path / "less.onnx", 7.5))
    goals = goals_for(0, 2, None, 0.0)
    graph_here = device_graph_for(model.graph)
    assert proof_lines(graph_here, unit_box(x.astype(np.float64)), Norm.LINF, goals, 0.48, Deadline(10)) is None


@pytest.mark.slow
@pytest.mark.parametrize("scaled", [False, True])
def test_products_close_what_chords_leave_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scaled: bool) -> None:
    """One line in place of a tree, which both arithmetics accept; none of moves in units, which inputs are not."""
    model = verifier.load(sizes_behind_relus(tmp_path / "net.onnx"))
    x = np.full(4, 0.5, dtype=np.float32)
    of_inputs: dict[str, Any] = {"scale": np.full(4, 0.5)} if scaled else {}
    monkeypatch.setattr(ProgramChoice, "next", lambda choice: True)  # a clock decides, else
    result = verifier.verify(model, x, 0.9 if scaled else 0.45, **of_inputs)
    counts = []
    for few in (1000, 1):
        monkeypatch.setattr(product_lines, "FEW", few)
        found = write_proof(tmp_path / f"{few}.proof", model, x, result, **of_inputs)
        lines = accepted_lines(found, model)
        counts.append((len(lines), any("products" in line for line in lines)))
    assert counts[0][0] > 10
    assert counts == [(counts[0][0], False), counts[0] if scaled else (5, True)]


@pytest.mark.slow
def test_products_close_nodes_below_a_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a ball on which the root stays open, after a split or two, in place of dozens."""
    model = verifier.load(sizes_behind_relus(tmp_path / "net.onnx"))
    x = np.full(4, 0.5, dtype=np.float32)
    result = verifier.verify(model, x, 0.496)
    splits = []
    for few in (1000, 1):
        monkeypatch.setattr(product_lines, "FEW", few)
        found = write_proof(tmp_path / f"{few}.proof", model, x, result)
        lines = accepted_lines(found, model)
        splits.append((sum("split" in line for line in lines), sum("products" in line for line in lines)))
    assert splits[0][0] > 10
    assert splits[0][1] == 0
    assert 1 <= splits[1][0] < splits[1][1] <= 4


def sizes_behind_relus(path: Path) -> Path:
    """Class 1 has Σ |h| for four sums ± of four neurons that are barely open at one half, less 3.25."""
    rows = np.array([[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]])
    rows = np.concatenate([rows, -rows], axis=1)
    layers = [(np.eye(4), np.full(4, -0.3)), (rows, -rows.sum(axis=0) / 4), ([[0, 1]] * 8, [3.25, 0])]
    return fully_connected(path, layers)


def sizes_of_sums(path: Path, against: float) -> Path:
    """Class 1 has Σ |h| for eight sums ± of all moves, which cannot all be large: at most 8 √8 times the radius."""
    one = np.ones((1, 1))
    for _ in range(3):
        one = np.block([[one, one], [one, -one]])
    rows = np.concatenate([one, -one], axis=1)
    return fully_connected(path, [(rows, -rows.sum(axis=0) / 2), ([[0, 1]] * 16, [against, 0])])
