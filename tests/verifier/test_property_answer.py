"""Verdicts on properties against linear programs on every linear piece, and against what is known of real nets."""

from __future__ import annotations

import csv
import dataclasses
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import helper

from encoders.errors import PlumblineError
from encoders.layer_graph.graph import Affine, Graph, Relu, affine_chain
from encoders.properties.property import Inequality, Property, parts_of
from encoders.properties.vnnlib import parse_vnnlib, read_vnnlib
from tests.draws import draws
from tests.onnx_builder import to_onnx
from tests.properties_oracle import Array, clearance, witnessed
from tests.shared_data import shared_data
from tests.small_files import refusal
from verifier.property_answer import PropertyOptions, _Question, check_property
from verifier.question.model import load_network
from verifier.question.results import Basis

CLEAR = 1e-4  # how far from its boundary a question lies whose answer execution in float32 cannot change
SURE = 1e-6  # what the linear programs of the oracle can be wrong by
PATIENT = PropertyOptions(time_limit=2.0)
OPEN = "no verdict"

Case = tuple[Inequality, ...]


def random_net(random: np.random.Generator) -> Graph:
    """A net of one or two hidden layers; its weights are eighths, which float32 has."""
    sizes = [int(random.integers(1, 4)), *random.integers(2, 4, size=random.integers(1, 3)), int(random.integers(1, 4))]
    weights = [np.rint(random.normal(size=(b, a)) * 8.0) / 8.0 for a, b in itertools.pairwise(sizes)]
    return affine_chain(weights, [np.rint(random.normal(size=size) * 4.0) / 8.0 for size in sizes[1:]])


def declared(graph: Graph) -> str:
    names = [f"X_{place}" for place in range(graph.input_size)] + [f"Y_{place}" for place in range(graph.classes)]
    return "".join(f"(declare-const {name} Real)\n" for name in names)


def random_question(random: np.random.Generator, graph: Graph) -> str:
    """Some boxes, each with inputs that are fixed at a decimal, and alternatives near what the net says in them."""
    boxes, center = [], np.zeros(graph.input_size)
    for _ in range(random.integers(1, 4)):
        bounds = []
        for place in range(graph.input_size):
            low = round(float(random.uniform(-1.0, 1.0)), 1)
            high = low if random.random() < 0.25 else low + round(float(random.uniform(0.1, 1.0)), 2)
            center[place] = (low + high) / 2.0
            bounds.append(f"(>= X_{place} {low:.3f}) (<= X_{place} {high:.3f})")
        boxes.append(f"(and {' '.join(bounds)})")
    outputs = values(graph, center)
    asked = []
    for _ in range(random.integers(1, 4)):
        rows = []
        for _ in range(random.integers(1, 3)):
            gains = {f"Y_{place}": (random.integers(-2, 3), y) for place, y in enumerate(outputs)}
            if random.random() < 0.5:
                gains |= {f"X_{place}": (random.integers(-1, 2), x) for place, x in enumerate(center)}
            gains["Y_0"] = (random.choice([-1, 1]), outputs[0])
            term = " ".join(f"(* {gain}.0 {name})" for name, (gain, _) in gains.items())
            limit = sum(gain * number for gain, number in gains.values()) - abs(random.normal()) * 1.5
            rows.append(f"({random.choice(['<', '<='])} (+ {term} 0.0) {limit:.4f})")
        asked.append(f"(and {' '.join(rows)})")
    return declared(graph) + f"(assert (or {' '.join(boxes)}))\n(assert (or {' '.join(asked)}))\n"


def values(graph: Graph, inputs: Array) -> Array:
    """The outputs at one input."""
    found = [inputs]
    for node in graph.nodes[1:]:
        if isinstance(node, Affine):
            terms = [linear.matrix() @ found[source] for source, linear in zip(node.sources, node.maps, strict=True)]
            found.append(np.asarray(sum(terms, node.bias)))
        elif isinstance(node, Relu):
            found.append(np.maximum(found[node.source], 0.0))
    return found[-1]


def executed(path: Path, inputs: NDArray[np.floating[Any]]) -> Array:
    """What onnxruntime makes of one input."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    source = session.get_inputs()[0]
    shape = [side if isinstance(side, int) else 1 for side in source.shape]
    return np.asarray(session.run(None, {source.name: inputs.reshape(shape)})[0], dtype=np.float64).ravel()


def contradiction(text: str, path: Path, asked: Property, truth: float | None = None) -> str:
    """What is wrong with the verdict on a property that the text says, or nothing."""
    result = check_property(load_network(path), asked, PATIENT)
    verdict = str(result.verdict.value)
    if verdict == "sat":
        assert result.witness is not None
        assert result.witness.dtype == np.float32
        outputs = executed(path, result.witness)
        if result.outputs is None or not (np.asarray(result.outputs).ravel() == outputs).all():
            return "other outputs than the file's"
        if not witnessed(text, result.witness, outputs):
            return "a witness that the text does not hold for"
        return "sat far outside" if truth is not None and truth < -CLEAR else ""
    if truth is None:
        return ""
    if verdict == "unsat" and truth > SURE:
        return f"unsat, but clear by {truth}"
    return OPEN if verdict != "unsat" and abs(truth) > CLEAR else ""


@pytest.mark.slow
@pytest.mark.thorough
def test_agrees_with_every_linear_piece(tmp_path: Path) -> None:
    """No verdict is wrong, and few questions that are clear by far stay open."""
    met, open_questions, count = set(), 0, draws(15, 300)
    for seed in range(count):
        random = np.random.default_rng(seed)
        graph = random_net(random)
        text, path = random_question(random, graph), to_onnx(graph, tmp_path / f"{seed}.onnx")
        truth = clearance(text, graph)
        wrong = contradiction(text, path, parse_vnnlib(text), truth)
        if wrong == OPEN:
            open_questions += 1
            continue
        assert not wrong, (seed, text)
        met.add(np.sign(truth))
    assert met == {-1.0, 1.0}
    assert open_questions <= count / 15


IDENTITY = affine_chain([np.array([[1.0], [-1.0]]), np.array([[1.0, -1.0]])], [np.zeros(2), np.zeros(1)])


def identity(path: Path) -> Path:
    """The net y = relu(x) - relu(-x), whose ties float32 meets exactly."""
    return to_onnx(IDENTITY, path)


ONE_OF_EACH = "(declare-const X_0 Real)\n(declare-const Y_0 Real)\n"


@pytest.mark.parametrize(
    ("formula", "verdict"),
    [
        ("(and (>= X_0 0.1) (<= X_0 0.1) (>= Y_0 0.05))", "sat"),
        ("(and (>= X_0 0.1) (<= X_0 0.1) (>= Y_0 0.15))", "unsat"),
        ("(and (>= X_0 0) (<= X_0 1) (>= Y_0 1))", "sat"),
        ("(and (>= X_0 0) (<= X_0 1) (>= Y_0 1.001))", "unsat"),
        ("(and (>= X_0 0) (<= X_0 1) (> X_0 1) (>= Y_0 0))", "unsat"),
        ("(and (>= X_0 1) (<= X_0 0) (>= Y_0 0))", "unsat"),
        ("(and (>= X_0 0) (<= X_0 1) (<= Y_0 (- X_0 0.001)))", "unsat"),
        ("(or (and (>= X_0 0) (<= X_0 1) (>= Y_0 2)) (and (>= X_0 3) (<= X_0 4) (>= Y_0 3.5)))", "sat"),
    ],
)
def test_one_output(formula: str, verdict: str, tmp_path: Path) -> None:
    text, path = f"{ONE_OF_EACH}(assert {formula})", identity(tmp_path / "net.onnx")
    result = check_property(load_network(path), parse_vnnlib(text), PATIENT)
    assert result.verdict.value == verdict
    assert not contradiction(text, path, parse_vnnlib(text))


def test_a_row_that_always_holds_keeps_no_question_open(tmp_path: Path) -> None:
    text = f"{ONE_OF_EACH}(assert (and (>= X_0 0) (<= X_0 1) (>= Y_0 2) (<= Y_0 3)))"
    result = check_property(load_network(identity(tmp_path / "net.onnx")), parse_vnnlib(text), PATIENT)
    assert result.verdict.value == "unsat"


def test_a_tie_is_no_witness_of_a_strict_inequality(tmp_path: Path) -> None:
    """The largest output is exactly 1, at 1."""
    path = identity(tmp_path / "net.onnx")
    text = f"{ONE_OF_EACH}(assert (and (>= X_0 0) (<= X_0 1) (> Y_0 1)))"
    result = check_property(load_network(path), parse_vnnlib(text), PropertyOptions(time_limit=1.0))
    assert result.verdict.value != "sat"


def flipped(one: Inequality) -> Inequality:
    return dataclasses.replace(
        one,
        inputs={place: -gain for place, gain in one.inputs.items()},
        outputs={place: -gain for place, gain in one.outputs.items()},
        constant=-one.constant,
    )


def changed_rows(
    change: Callable[[Inequality], Inequality], where: Callable[[Inequality], bool]
) -> Callable[[Case], Case]:
    return lambda case: tuple(change(one) if where(one) else one for one in case)


FAULTS: dict[str, Callable[[Property], tuple[Case, ...]]] = {
    "a row's sign flipped": lambda asked: tuple(map(changed_rows(flipped, lambda one: bool(one.outputs)), asked.cases)),
    "a box rounded inward": lambda asked: tuple(
        map(
            changed_rows(
                lambda one: dataclasses.replace(one, constant=one.constant + abs(one.constant) / 8),
                lambda one: not one.outputs,
            ),
            asked.cases,
        )
    ),
    "a disjunct dropped": lambda asked: asked.cases[:-1],
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_shows(fault: str, tmp_path: Path) -> None:
    """The judge of these tests sees a property that is not what the text says."""
    text = f"{ONE_OF_EACH}(assert (and (>= X_0 0) (<= X_0 1)))(assert (or (>= Y_0 2) (>= Y_0 0.99)))"
    path = identity(tmp_path / "net.onnx")
    asked = parse_vnnlib(text)
    truth = clearance(text, IDENTITY)
    assert not contradiction(text, path, asked, truth)
    assert contradiction(text, path, dataclasses.replace(asked, cases=FAULTS[fault](asked)), truth)


def test_strict_taken_as_not_strict_shows(tmp_path: Path) -> None:
    text, path = f"{ONE_OF_EACH}(assert (and (>= X_0 1) (<= X_0 1) (> Y_0 1)))", identity(tmp_path / "net.onnx")
    asked = parse_vnnlib(text)
    loose = tuple(tuple(dataclasses.replace(one, strict=False) for one in case) for case in asked.cases)
    assert not contradiction(text, path, asked)
    assert contradiction(text, path, dataclasses.replace(asked, cases=loose))


@pytest.mark.parametrize(("inputs", "outputs"), [(2, 1), (1, 2)])
def test_other_numbers_of_inputs_or_outputs_are_refused(inputs: int, outputs: int, tmp_path: Path) -> None:
    names = [f"X_{place}" for place in range(inputs)] + [f"Y_{place}" for place in range(outputs)]
    text = "".join(f"(declare-const {name} Real)(assert (and (<= {name} 1) (>= {name} 0)))" for name in names)
    with pytest.raises(PlumblineError) as caught:
        check_property(load_network(identity(tmp_path / "net.onnx")), parse_vnnlib(text), PATIENT)
    refusal(caught.value, "inputs" if inputs == 2 else "outputs")


def test_a_softmax_is_refused_by_name(tmp_path: Path) -> None:
    graph = affine_chain([np.ones((2, 1)), np.eye(2)], [np.zeros(2), np.zeros(2)])
    model = onnx.load(str(to_onnx(graph, tmp_path / "scores.onnx")))
    model.graph.node.append(helper.make_node("Softmax", ["scores"], ["shares"]))
    model.graph.output[0].name = "shares"
    onnx.save(model, str(tmp_path / "net.onnx"))
    text = declared(graph) + "(assert (and (<= X_0 1) (>= X_0 0)))(assert (>= Y_0 0.5))"
    with pytest.raises(PlumblineError) as caught:
        check_property(load_network(tmp_path / "net.onnx"), parse_vnnlib(text), PATIENT)
    refusal(caught.value, "Softmax")


KNOWN = [
    ("acasxu_2023", "ACASXU_run2a_2_5_batch_2000", "prop_2"),
    ("acasxu_2023", "ACASXU_run2a_1_8_batch_2000", "prop_3"),
    ("acasxu_2023", "ACASXU_run2a_5_6_batch_2000", "prop_4"),
    ("acasxu_2023", "ACASXU_run2a_3_7_batch_2000", "prop_3"),
    ("collins_rul_cnn_2023", "NN_rul_small_window_20", "robustness_8perturbations_delta20_epsilon10_w20"),
    ("collins_rul_cnn_2023", "NN_rul_small_window_20", "robustness_2perturbations_delta5_epsilon10_w20"),
    ("linearizenn", "AllInOne_10_10", "prop_10_10"),
    ("linearizenn", "AllInOne_10_10", "prop_10_10_1"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("benchmark", "net", "asked"), KNOWN, ids=lambda part: str(part))
def test_known_verdicts_are_not_contradicted(benchmark: str, net: str, asked: str) -> None:
    folder = shared_data(f"vnncomp2024/{benchmark}")
    path, text = folder / "onnx" / f"{net}.onnx", folder / "vnnlib" / f"{asked}.vnnlib"
    pair = (f"onnx/{net}.onnx", f"vnnlib/{asked}.vnnlib")
    with (folder / "instances.csv").open() as rows:
        [known] = [row["verdict"] for row in csv.DictReader(rows) if (row["onnx"], row["vnnlib"]) == pair]
    result = check_property(load_network(path), read_vnnlib(text), PropertyOptions(time_limit=4.0))
    assert result.verdict.value in (known, "timeout", "unknown")
    if result.verdict.value == "sat":
        assert result.witness is not None
        assert witnessed(text.read_text(), result.witness, executed(path, result.witness))


def test_a_bound_written_twice_leaves_its_point(tmp_path: Path) -> None:
    text = f"{ONE_OF_EACH}(assert (<= X_0 1))(assert (<= X_0 1))(assert (>= X_0 1))(assert (>= Y_0 1))"
    result = check_property(load_network(identity(tmp_path / "net.onnx")), parse_vnnlib(text), PATIENT)
    assert result.verdict.value == "sat"


def test_a_knifes_edge_ends_without_a_limit(tmp_path: Path) -> None:
    """The strict inequality misses its set by nothing: no proof closes the last floats, and no float satisfies it."""
    text = f"{ONE_OF_EACH}(assert (and (>= X_0 0) (<= X_0 1) (> Y_0 1)))"
    result = check_property(load_network(identity(tmp_path / "net.onnx")), parse_vnnlib(text), PropertyOptions())
    assert result.verdict.value == "unknown"


def test_an_engine_that_nobody_knows_is_refused_at_once() -> None:
    with pytest.raises(PlumblineError, match="serach"):
        PropertyOptions(engine="serach")


def test_the_phase_search_finds_a_witness_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its polish asks which goals a witness reaches; what replays keeps other numbers than the rows that goals read."""
    monkeypatch.setattr("verifier.property_answer.FEW_INPUTS", 0)
    monkeypatch.setattr(_Question, "_attack", lambda question: None)
    random = np.random.default_rng(16)  # a witness that a dive finds
    graph = random_net(random)
    text, path = random_question(random, graph), to_onnx(graph, tmp_path / "net.onnx")
    assert check_property(load_network(path), parse_vnnlib(text), PATIENT).verdict.value == "sat"
    assert not contradiction(text, path, parse_vnnlib(text))


@pytest.mark.parametrize("made", [False, True], ids=["while parts are made", "between parts"])
def test_a_limit_holds_for_many_boxes(made: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With no time at all the boxes of a property are not gone through one by one."""
    looked: list[_Question] = []
    answer = _Question.answer

    def counted(question: _Question) -> tuple[bool, int, Basis]:
        looked.append(question)
        return answer(question)

    monkeypatch.setattr(_Question, "answer", counted)
    if made:
        monkeypatch.setattr("verifier.property_answer.in_time", lambda deadline, work, otherwise: work())
    boxes = " ".join(f"(and (>= X_0 0) (<= X_0 {k}) (>= Y_0 9999))" for k in range(1, 9))
    asked = parse_vnnlib(f"{ONE_OF_EACH}(assert (or {boxes}))")
    network = load_network(identity(tmp_path / "net.onnx"))
    assert check_property(network, asked, PropertyOptions(time_limit=1e-9)).verdict.value == "timeout"
    assert len(looked) == int(made)


def test_parts_of_one_box_leave_no_case_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("encoders.properties.property.MOST_TOGETHER", 2)
    network = load_network(identity(tmp_path / "net.onnx"))
    for last, verdict in (("0.5", "sat"), ("1.5", "unsat")):
        limits = " ".join(f"(>= Y_0 {limit})" for limit in ("2", "3", "4", "5", last))
        text = f"{ONE_OF_EACH}(assert (and (>= X_0 0) (<= X_0 1)))(assert (or {limits}))"
        assert len(parts_of(parse_vnnlib(text))) == 3
        assert check_property(network, parse_vnnlib(text), PATIENT).verdict.value == verdict


@pytest.mark.parametrize("formula", ["(<= (* 1e308 1e308 Y_0) 1)", "(<= Y_0 (* 1e200 1e200))"])
def test_products_beyond_float64_are_refused(formula: str, tmp_path: Path) -> None:
    asked = parse_vnnlib(f"{ONE_OF_EACH}(assert (and (>= X_0 0) (<= X_0 1) {formula}))")
    with pytest.raises(PlumblineError) as caught:
        check_property(load_network(identity(tmp_path / "net.onnx")), asked, PATIENT)
    refusal(caught.value, "beyond what is computed with")
