"""Random operator graphs: read as onnxruntime computes them, or refused by name; `make fuzz` runs more of them."""

from __future__ import annotations

import os
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import verifier
from encoders.errors import ModelError
from tests.draws import draws
from tests.fuzz_graphs import DONE, JUDGED, Outcome, check, explained, fuzz, line, summary
from tests.generated_graphs import generate
from tests.graph_shrinking import shrunk
from tests.reading import IR, Array, Held, Reading, hold, run, session_for
from tests.sampled_adversaries import judge

AGREED = Held(Reading.AGREED)
BLOCK = 50
SMALL_GRAPHS = range(0, draws(8, 80) * JUDGED, JUDGED)


@pytest.mark.slow
@pytest.mark.thorough
@pytest.mark.parametrize("first", range(0, draws(100, 800), BLOCK))
@pytest.mark.fewer(1)
def test_graphs_agree_or_are_refused_by_name(first: int, tmp_path: Path) -> None:
    held = {seed: check(seed, tmp_path) for seed in range(first + 1, first + 1 + BLOCK) if seed % JUDGED}
    failures = [
        line(Outcome(seed, made.operators, explained(made, each, tmp_path, tmp_path / "failed")))
        for seed, (made, each) in held.items()
        if each.failed
    ]
    assert not failures, "\n".join(failures)


@pytest.mark.slow
@pytest.mark.thorough
@pytest.mark.parametrize("part", range(4))
@pytest.mark.fewer(1)
def test_no_sampled_adversary_is_nearer_than_the_proven_distance(part: int, tmp_path: Path) -> None:
    found = {seed: check(seed, tmp_path)[1] for seed in SMALL_GRAPHS[part::4]}
    assert not [line(Outcome(seed, held=held)) for seed, held in found.items() if held.failed]
    assert any(held.reading is Reading.AGREED for held in found.values())


def test_a_seed_makes_the_same_graph_again() -> None:
    made, again = generate(12), generate(12)
    assert made.proto.SerializeToString() == again.proto.SerializeToString()
    assert np.array_equal(made.inputs, again.inputs)
    assert made.proto.SerializeToString() != generate(13).proto.SerializeToString()


def test_a_failing_graph_is_cut_down_to_the_node_at_fault(tmp_path: Path) -> None:
    def fails(proto: onnx.ModelProto, inputs: Array) -> bool:
        session = session_for(proto)
        runs = not isinstance(session, str) and not isinstance(run(session, inputs), str)
        return runs and any(node.op_type == "MatMul" for node in proto.graph.node)

    made = next(made for made in map(generate, range(100)) if "MatMul" in made.operators and len(made.values) > 4)
    small, inputs = shrunk(made, fails)
    assert fails(small, inputs)
    kept = {node.op_type for node in small.graph.node} - {"Constant", "Identity", "Neg", "Cast", "Add", "Transpose"}
    assert kept <= {"MatMul", "Reshape", "ConstantOfShape"}


def test_a_misreading_is_told_from_an_agreement(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = next(made for made in map(generate, range(99)) if hold(made.proto, tmp_path, made.inputs) == AGREED)
    monkeypatch.setattr(verifier.Model, "real", lambda model, inputs: model.scores(inputs) + 0.01)
    assert hold(made.proto, tmp_path, made.inputs).reading is Reading.MISREAD
    monkeypatch.setattr(verifier.Model, "real", lambda model, inputs: model.scores(inputs)[:, ::-1] / 0)
    assert hold(made.proto, tmp_path, made.inputs).reading is Reading.MISREAD
    monkeypatch.setattr(verifier.Model, "real", lambda model, inputs: inputs["missing"])
    assert hold(made.proto, tmp_path, made.inputs).reading is Reading.CRASHED
    monkeypatch.setattr(verifier, "load", refuse)
    assert hold(made.proto, tmp_path, made.inputs).reading is Reading.UNNAMED


@pytest.mark.slow
def test_a_wrong_verdict_is_contradicted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = numpy_helper.from_array(np.array([[1.0, -1.0], [0.5, -2.0]], dtype=np.float32), "weights")
    bias = numpy_helper.from_array(np.array([-1.0, 1.0], dtype=np.float32), "bias")
    sides = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 2]) for name in ("image", "scores")]
    nodes = [helper.make_node("Gemm", ["image", "weights", "bias"], ["scores"])]
    graph = helper.make_graph(nodes, "two", sides[:1], sides[1:], [weights, bias])
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=IR)
    assert judge(proto, tmp_path, np.random.default_rng(0)).reading is Reading.AGREED

    right = verifier.distance
    for wrong, why in (
        ({"lower": np.inf, "upper": np.inf, "adversary": None}, "nearer than the proven inf"),
        ({"lower": 0.0, "adversary": None}, "without an adversary"),
        ({"lower": 0.0, "upper": 0.9}, "is not at the distance 0.9"),
    ):
        monkeypatch.setattr(verifier, "distance", lambda *a, wrong=wrong, **k: replace(right(*a, **k), **wrong))
        held = judge(proto, tmp_path, np.random.default_rng(0))
        assert held.reading is Reading.MISREAD
        assert why in held.why


def refuse(path: Path) -> None:
    raise ModelError(f"{path}: it is not supported")


@pytest.mark.release
def test_the_fuzzer_counts_what_it_ran(tmp_path: Path) -> None:
    outcomes = fuzz(first=1, count=3, seconds=300.0, out=tmp_path)
    assert [outcome.seed for outcome in outcomes] == [1, 2, 3]
    assert summary(outcomes, 60.0).startswith("3 graphs (3 a minute), seeds 1 to 3: ")


def dies_at_two(seeds: range, out: Path, pipe: Connection) -> None:
    """What onnxruntime does to a child now and then."""
    for seed in seeds:
        pipe.send(seed)
        if seed == 2:
            os._exit(1)
        pipe.send(Outcome(seed, held=AGREED))
    pipe.send(DONE)


@pytest.mark.slow
def test_a_graph_that_kills_its_process_is_a_failure_and_the_others_run(tmp_path: Path) -> None:
    outcomes = fuzz(first=1, count=4, seconds=300.0, out=tmp_path, worker=dies_at_two)
    assert [(outcome.seed, outcome.failed) for outcome in outcomes] == [(1, False), (2, True), (3, False), (4, False)]
    assert line(outcomes[1]) == "seed 2: THE PROCESS DIED OR HANGS"
