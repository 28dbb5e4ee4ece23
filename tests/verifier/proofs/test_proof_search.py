"""The tree of a proof: what closes its nodes, and where it splits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

import verifier
from bounds.nodes.records import Nodes
from bounds.propagation.neuron_bounds import device_graph_for
from encoders.deadline import Deadline
from encoders.question import Norm, goals_for
from tests.encoders.nets import random_chain, unit_box
from tests.onnx_builder import to_onnx
from tests.other_device import other_device
from tests.verifier.proofs.accepted import accepted
from verifier.proofs import proof_search
from verifier.proofs.proof import proof_lines, write_proof
from verifier.proofs.proof_tree import Split
from verifier.question.model import Model
from verifier.question.results import Result

pytestmark = pytest.mark.usefixtures("quick_attacks")

NEVER, ALWAYS = 2.0, -1.0  # of a gap: what programs must gain to be worth it


@pytest.fixture
def programs_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither steps nor caps help."""
    monkeypatch.setattr(proof_search, "STEPS", 0)
    monkeypatch.setattr(proof_search, "TURNS", 1)


def asked(path: Path, seed: int, norm: Norm) -> tuple[Model, NDArray[np.float32], Result]:
    graph, x = random_chain(seed, (3, 12, 10, 3))
    model = verifier.load(to_onnx(graph, path))
    return model, x.astype(np.float32), verifier.distance(model, x.astype(np.float32), norm=norm)


@pytest.mark.usefixtures("programs_alone")
def test_programs_close_what_else_is_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With less than half of the lines."""
    lines = {NEVER: 0, ALWAYS: 0}
    for norm in (Norm.LINF, Norm.L1):
        model, x, found = asked(tmp_path / f"{norm}.onnx", 1, norm)
        goals, region = goals_for(found.predicted, model.classes, None, 0.0), unit_box(x.astype(np.float64))
        for worth in lines:
            monkeypatch.setattr(proof_search, "PROGRAM_WORTH", worth)
            written = proof_lines(
                device_graph_for(model.graph), region, norm, goals, found.lower * (1.0 - 1e-5), Deadline(30)
            )
            assert written is not None
            lines[worth] += len(written)
        assert write_proof(tmp_path / "0.proof", model, x, found, norm=norm).path is not None
        accepted(tmp_path / "0.proof", model.path)
    assert lines[ALWAYS] < 0.5 * lines[NEVER]


def test_a_proof_is_written_whatever_the_device(tmp_path: Path) -> None:
    model, x, found = asked(tmp_path / "net.onnx", 3, Norm.LINF)
    with other_device() as name:
        written = write_proof(tmp_path / "0.proof", model, x, found, device=name)
    assert written.path is not None
    accepted(written.path, model.path)


@pytest.mark.usefixtures("programs_alone")
def test_what_caps_have_fixed_is_not_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program's neuron may be known by the time that its node is split."""
    split: list[bool] = []
    genuine = Nodes.split

    def told(nodes: Nodes, neuron: Tensor) -> Nodes:
        split.extend((nodes.phase[torch.arange(len(nodes)), neuron] == 0).tolist())
        return genuine(nodes, neuron)

    monkeypatch.setattr(Nodes, "split", told)
    monkeypatch.setattr(proof_search, "PROGRAM_WORTH", ALWAYS)
    monkeypatch.setattr(proof_search, "by_program", lambda cost: 0)
    model, x, found = asked(tmp_path / "net.onnx", 3, Norm.LINF)
    split.clear()
    assert write_proof(tmp_path / "0.proof", model, x, found, proof_time_limit=20.0).path is not None
    assert len(split) > 3
    assert all(split)


@pytest.mark.usefixtures("programs_alone")
def test_a_node_is_split_where_its_program_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen: list[int] = []

    def last(cost: NDArray[np.float64] | None) -> int | None:
        costly = np.flatnonzero(cost) if cost is not None else ()
        chosen.extend(map(int, costly[-1:]))
        return chosen[-1] if len(costly) else None

    monkeypatch.setattr(proof_search, "PROGRAM_WORTH", ALWAYS)
    monkeypatch.setattr(proof_search, "by_program", last)
    split: list[int] = []

    def told(neuron: int, active: int, inactive: int) -> Split:
        split.append(neuron)
        return Split(neuron, active, inactive)

    monkeypatch.setattr(proof_search, "Split", told)
    model, x, found = asked(tmp_path / "net.onnx", 3, Norm.LINF)
    assert write_proof(tmp_path / "0.proof", model, x, found).path is not None
    accepted(tmp_path / "0.proof", model.path)
    assert len(split) > 3
    assert set(split) <= set(chosen)
