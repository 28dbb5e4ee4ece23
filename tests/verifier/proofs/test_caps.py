"""What is written of neurons on caps: values that a checker with another arithmetic finds, too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import Tensor

import verifier
from bounds.nodes.output_constrained import AnyCap
from bounds.propagation.neuron_bounds import device_graph_for
from encoders.deadline import Deadline
from encoders.question import Norm, goals_for
from tests.encoders.nets import unit_box
from tests.verifier.checker.small_proofs import fully_connected, random_layers
from verifier.proofs import proof_search
from verifier.proofs.proof import proof_lines
from verifier.proofs.proof_tree import Bounded

ROOM = 2.0**-10


def test_a_value_leaves_room_for_what_its_price_may_differ_by(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A neuron's value is what a row says plus a price of φ: what φ is off by counts as often as the price says."""
    monkeypatch.setattr(proof_search, "MARGIN", ROOM)
    genuine, seen = AnyCap.priced, 0
    least: list[dict[int, float]] = []

    def priced(self: Any, pairs: Any, rows: Any, weight: Tensor) -> Tensor:
        value = genuine(self, pairs, rows, weight)
        least[:] = [
            {
                int(j): float(v - ROOM * w * self.reach[i])
                for i, j, v, w in zip(pairs.node, pairs.neuron, value, weight, strict=True)
            }
        ]
        return value

    def bounded(sign: float, neurons: Tensor, values: Tensor, weights: Tensor) -> Bounded:
        nonlocal seen
        for neuron, value, weight in zip(neurons, values, weights, strict=True):
            assert sign * float(value) <= least[0][int(neuron)]
            seen += bool(weight > 0)
        return Bounded(sign, neurons, values, weights)

    monkeypatch.setattr(AnyCap, "priced", priced)
    monkeypatch.setattr(proof_search, "Bounded", bounded)
    monkeypatch.setattr(proof_search, "BATCH", 1)
    for seed in range(6):
        layers = random_layers(np.random.default_rng(seed), (4, 12, 2))
        model = verifier.load(fully_connected(tmp_path / f"{seed}.onnx", layers))
        x = np.full(4, 0.5, dtype=np.float32)
        found = verifier.distance(model, x)
        goals = goals_for(found.predicted, 2, None, 0.0)
        region = unit_box(x.astype(np.float64))
        proof_lines(device_graph_for(model.graph), region, Norm.L2, goals, 0.9 * found.lower, Deadline(10))
    assert seen > 10
