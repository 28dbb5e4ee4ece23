"""Properties of several networks against linear programs on every linear piece of both at once, and exact witnesses.

The oracle's network is written down here as one chain of block matrices, over the inputs that differ.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from scipy.linalg import block_diag

from encoders.errors import PlumblineError
from encoders.layer_graph.graph import Graph, affine_chain
from encoders.properties.property import parts_of
from encoders.properties.vnnlib import parse_vnnlib
from encoders.properties.witness import witness_text
from tests.draws import draws
from tests.onnx_builder import to_onnx
from tests.properties_oracle import Array, clearance, satisfied
from tests.small_files import refusal
from tests.witness_reader import tensors
from verifier.property_answer import PropertyOptions, _Question, check_property
from verifier.question.incumbent import Incumbent
from verifier.question.model import Model, load_network

CLEAR, SURE = 1e-4, 1e-6
PATIENT = PropertyOptions(time_limit=20.0)
ENTRY = re.compile(r"([XYUV])\[(\d+)\]")


@dataclass(frozen=True)
class Chain:
    """A net as its weights and biases."""

    weights: tuple[Array, ...]
    biases: tuple[Array, ...]

    @property
    def graph(self) -> Graph:
        return affine_chain(self.weights, self.biases)


def chain(random: np.random.Generator, sizes: tuple[int, ...]) -> Chain:
    """Weights are eighths, which float32 has."""
    weights = tuple(np.rint(random.normal(size=(b, a)) * 8.0) / 8.0 for a, b in itertools.pairwise(sizes))
    return Chain(weights, tuple(np.rint(random.normal(size=size) * 4.0) / 8.0 for size in sizes[1:]))


def together(f: Chain, g: Chain, shared: int) -> Graph:
    """Both outputs, over the inputs of f and those of g that are not shared: the first ones are."""
    size, rest = f.weights[0].shape[1], g.weights[0].shape[1] - shared
    of_f = np.hstack([f.weights[0], np.zeros((len(f.weights[0]), rest))])
    of_g = np.hstack([g.weights[0][:, :shared], np.zeros((len(g.weights[0]), size - shared)), g.weights[0][:, shared:]])
    weights = [np.vstack([of_f, of_g])]
    weights += [block_diag(a, b) for a, b in zip(f.weights[1:], g.weights[1:], strict=True)]
    return affine_chain(weights, [np.concatenate(both) for both in zip(f.biases, g.biases, strict=True)])


@dataclass(frozen=True)
class Drawn:
    """A query of two networks, and the same of the one that the oracle knows."""

    text: str
    of_one: str
    models: dict[str, Chain]
    joined: Graph
    inputs: int


def drawn(seed: int) -> Drawn:
    """Boxes at sixteenths, some inputs shared, and alternatives near what the nets say in the middle."""
    random = np.random.default_rng(seed)
    size, hidden = int(random.integers(1, 3)), int(random.integers(2, 4))
    f = chain(random, (size, hidden, 2))
    equal = seed % 3 == 0
    g = f if equal else chain(random, (size, hidden, 2))
    shared = seed % (size + 1)
    joined = together(f, g, shared)
    count = 2 * size - shared
    low = np.rint(random.uniform(-1.0, 0.5, size=count) * 16.0) / 16.0
    high = low + np.rint(random.uniform(0.125, 1.0, size=count) * 16.0) / 16.0
    middle = (low + high) / 2.0
    outputs = joined.evaluate(middle[None])[0]
    names = [f"X[{k}]" for k in range(size)] + [f"U[{k}]" for k in range(shared, size)]
    of_one = [f"X_{k}" for k in range(count)]
    values = {f"Y[{k}]": outputs[k] for k in range(2)} | {f"V[{k}]": outputs[2 + k] for k in range(2)}
    values |= dict(zip(names, middle, strict=True))
    asked = []
    for _ in range(random.integers(1, 3)):
        rows = []
        for _ in range(random.integers(1, 3)):
            gains = {name: int(random.integers(-2, 3)) for name in values}
            gains["Y[0]"], gains["V[0]"] = int(random.choice([-1, 1])), int(random.choice([-1, 1]))
            limit = sum(gain * values[name] for name, gain in gains.items()) - abs(random.normal()) * 2.0
            term = " ".join(f"(* {gain}.0 {name})" for name, gain in gains.items())
            rows.append(f"({random.choice(['<', '<='])} (+ {term} 0.0) {limit:.4f})")
        asked.append(rows[0] if len(rows) == 1 else f"(and {' '.join(rows)})")
    box = [f"(>= {name} {a:.4f}) (<= {name} {b:.4f})" for name, a, b in zip(names, low, high, strict=True)]
    ties = "".join(f"(assert (== U[{k}] X[{k}]))" for k in range(shared))
    body = f"(assert (and {' '.join(box)}))(assert {asked[0] if len(asked) == 1 else '(or ' + ' '.join(asked) + ')'})"
    of_g = "(equal-to f)" if equal else "(isomorphic-to f)" if seed % 3 == 1 else ""
    head = (
        f"(vnnlib-version <2.0>)(declare-network f (declare-input X float32 [{size}]) (declare-output Y float32 [2]))"
        f"(declare-network g {of_g} (declare-input U float32 [{size}]) (declare-output V float32 [2]))"
    )
    number = dict(zip(names, of_one, strict=True)) | {f"{'YV'[k // 2]}[{k % 2}]": f"Y_{k}" for k in range(4)}
    plain = ENTRY.sub(lambda entry: number[entry[0]], body)
    return Drawn(head + ties + body, plain, {"f": f} if equal else {"f": f, "g": g}, joined, 2 * size)


def models_of(asked: Drawn, folder: Path) -> dict[str, Model]:
    return {name: load_network(to_onnx(one.graph, folder / f"{name}.onnx")) for name, one in asked.models.items()}


def holds(text: str, witness: str) -> bool:
    """Whether what a witness file says satisfies a query of version 2.0, without rounding."""
    found = tensors(witness)
    point, number = {}, {}
    for letter, names in (("X", "XU"), ("Y", "YV")):
        entries = [(f"{name}[{k}]", value) for name in names for k, value in enumerate(found[name][2])]
        for k, (entry, value) in enumerate(entries):
            number[entry], point[f"{letter}_{k}"] = f"{letter}_{k}", value
    return satisfied(ENTRY.sub(lambda entry: number[entry[0]], text), point)


@pytest.mark.slow
def test_agrees_with_every_linear_piece(tmp_path: Path) -> None:
    """No verdict is wrong, and each witness holds for the text as it is written and is what the files give."""
    met, open_questions, count = set(), 0, draws(18, 150)
    for seed in range(count):
        asked = drawn(seed)
        truth = clearance(asked.of_one, asked.joined)
        models = models_of(asked, tmp_path)
        query = parse_vnnlib(asked.text)
        found = check_property(models, query, PATIENT)
        if found.witness is not None and found.outputs is not None:
            assert truth > -CLEAR, seed
            assert holds(asked.text, witness_text(query, found.witness, found.outputs)), seed
            half = asked.inputs // 2
            for model, x, y in (
                (models["f"], found.witness[:half], found.outputs[:2]),
                (models.get("g", models["f"]), found.witness[half:], found.outputs[2:]),
            ):
                np.testing.assert_array_equal(model.scores(x[None])[0], y)
        elif found.verdict.value == "unsat":
            assert truth < SURE, seed
        else:
            open_questions += abs(truth) > CLEAR
        met.add(found.verdict.value)
    assert met >= {"sat", "unsat"}
    assert open_questions <= count / 15


@pytest.mark.slow
@pytest.mark.parametrize("few", [16, 0], ids=["input splits", "phases"])
@pytest.mark.fewer(1)
def test_proofs_by_themselves_are_never_wrong(few: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that attacks or searches offer is taken: what can be satisfied is not called unsat."""
    monkeypatch.setattr("verifier.property_answer.FEW_INPUTS", few)
    monkeypatch.setattr(_Question, "_attack", lambda question: None)
    monkeypatch.setattr(Incumbent, "offer", lambda *given: False)
    closed = 0
    for seed in range(draws(12, 100)):
        asked = drawn(seed)
        truth = clearance(asked.of_one, asked.joined)
        options = PATIENT if truth < -CLEAR else PropertyOptions(time_limit=0.3)  # the others have no end
        found = check_property(models_of(asked, tmp_path), parse_vnnlib(asked.text), options)
        assert found.verdict.value != "sat"
        assert found.verdict.value != "unsat" or truth < SURE, seed
        closed += found.verdict.value == "unsat"
    assert closed


ONE = affine_chain([np.array([[1.0], [-1.0]]), np.array([[1.0, 1.0]])], [np.zeros(2), np.zeros(1)])  # abs(x)
DOUBLE = affine_chain([np.array([[2.0]])], [np.zeros(1)])
EQUAL = "(equal-to f)"
F = "(declare-network f (declare-input X float32 [1]) (declare-output Y float32 [1]))"
G = "(declare-network g {} (declare-input U float32 [1]) (declare-output V float32 [1]))"
BOX = "(assert (and (>= X[0] -1.0) (<= X[0] 2.0)))"


def asked(assertion: str, kind: str = "", box: str = BOX) -> str:
    return f"(vnnlib-version <2.0>){F}{G.format(kind)}{box}(assert {assertion})"


@pytest.mark.parametrize(
    ("assertion", "kind", "verdict"),
    [
        # U has no bound of its own: it is X.
        ("(and (== U[0] X[0]) (>= (- Y[0] V[0]) 2.99))", "", "sat"),  # abs(x) - 2 x = 3 at -1
        ("(and (== X[0] U[0]) (>= (- Y[0] V[0]) 3.01))", "", "unsat"),
        ("(and (<= U[0] X[0]) (<= X[0] U[0]) (>= (- Y[0] V[0]) 3.01))", "", "unsat"),
        ("(and (<= U[0] X[0]) (< X[0] U[0]) (>= U[0] 0.0) (<= U[0] 1.0))", "", "unsat"),
        ("(and (>= U[0] -1.0) (<= U[0] 2.0) (>= (- Y[0] V[0]) 3.99))", "", "sat"),  # 2 - 2 · -1 = 4
        ("(and (>= U[0] -1.0) (<= U[0] 2.0) (>= (- Y[0] V[0]) 4.01))", "", "unsat"),
        ("(and (>= U[0] -1.0) (<= U[0] 2.0) (<= (+ X[0] U[0]) -1.0) (>= Y[0] 1.5))", EQUAL, "unsat"),
        ("(and (== U[0] X[0]) (> Y[0] (+ V[0] 0.1)))", EQUAL, "unsat"),
        ("(and (>= X[0] 0.0) (<= X[0] U[0]) (<= U[0] 1.0) (>= U[0] 0.0) (>= Y[0] (+ V[0] 0.1)))", EQUAL, "unsat"),
        ("(or (and (== U[0] X[0]) (>= Y[0] 3.0)) (and (>= U[0] 2.0) (<= U[0] 2.0) (>= V[0] 4.0)))", "", "sat"),
    ],
)  # fmt: skip
def test_by_hand(assertion: str, kind: str, verdict: str, tmp_path: Path) -> None:
    models = {"f": load_network(to_onnx(ONE, tmp_path / "f.onnx"))}
    if not kind:
        models["g"] = load_network(to_onnx(DOUBLE, tmp_path / "g.onnx"))
    assert check_property(models, parse_vnnlib(asked(assertion, kind)), PATIENT).verdict.value == verdict


def test_equal_inputs_are_one_input_of_the_part() -> None:
    tied, apart = (
        parts_of(parse_vnnlib(asked(f"(and {row} (>= U[0] 0.0) (<= U[0] 1.0) (>= Y[0] V[0]))")))
        for row in ("(== U[0] X[0])", "(<= X[0] U[0])")
    )
    assert [part.places.tolist() for part in (*tied, *apart)] == [[0, 0], [0, 1]]
    assert (tied[0].lower.tolist(), tied[0].upper.tolist()) == ([0.0], [1.0])
    assert [len(part.rows[0]) for part in (*tied, *apart)] == [1, 2]
    # Three in a row are one, and what they are together is a side of it.
    text = "(and (== X[0] U[0]) (<= (+ X[0] U[0]) 1.0) (>= Y[0] V[0]))"
    (part,) = parts_of(parse_vnnlib(asked(text)))
    assert part.upper.tolist() == [0.5]


@pytest.mark.parametrize(
    ("given", "kind", "named"),
    [
        (["f"], "", "give the file of g too"),
        (["g"], "(isomorphic-to f)", "give the file of f too"),
        (["f", "g"], "(equal-to f)", "g: the property says that it is f"),
        (["f", "g", "h"], "", "h: the property declares no such network, but f and g"),
        (["f", "wide"], "", "the number of its inputs is 2"),
        (["f", "double"], "", "in float32, float64"),
    ],
)
def test_files_that_do_not_fit_the_declarations_are_refused(
    given: list[str], kind: str, named: str, tmp_path: Path
) -> None:
    files = {name: to_onnx(ONE, tmp_path / f"{name}.onnx") for name in "fgh"}
    files["wide"] = to_onnx(affine_chain([np.ones((1, 2))], [np.zeros(1)]), tmp_path / "wide.onnx")
    files["double"] = to_onnx(ONE, tmp_path / "double.onnx", kind=np.float64)
    models = {name if name in "fgh" else "g": load_network(files[name]) for name in given}
    with pytest.raises(PlumblineError) as caught:
        check_property(models, parse_vnnlib(asked("(>= Y[0] V[0])", kind)), PATIENT)
    refusal(caught.value, named)


def test_an_input_without_a_bound_is_called_by_its_network() -> None:
    with pytest.raises(PlumblineError, match="input 0 of g has no lower bound"):
        parts_of(parse_vnnlib(asked("(and (<= U[0] 1.0) (>= Y[0] V[0]))")))


def test_a_witness_is_in_the_numbers_of_the_files(tmp_path: Path) -> None:
    """An input that is fixed to a decimal is that decimal's nearest number, in every network that shares it."""
    models = {name: load_network(to_onnx(ONE, tmp_path / f"{name}.onnx")) for name in "fg"}
    text = asked("(and (== U[0] X[0]) (>= (+ Y[0] V[0]) 0.1))", box="(assert (and (>= X[0] 0.1) (<= X[0] 0.1)))")
    found = check_property(models, parse_vnnlib(text), PATIENT)
    assert found.verdict.value == "sat"
    assert found.witness is not None
    assert [Fraction(float(x)) for x in found.witness] == [Fraction(float(np.float32(0.1)))] * 2


@pytest.mark.parametrize(
    ("declared", "file", "refused"),
    [
        (("float32", "float32"), np.float32, ""),
        (("real", "real"), np.float32, ""),
        (("real", "float64"), np.float64, ""),
        (("float64", "real"), np.float32, "X is declared as float64, the file of f computes in float32"),
        (("float64", "float32"), np.float64, "Y is declared as float32, the file of f computes in float64"),
    ],
)
def test_types_are_the_files_own(
    declared: tuple[str, str], file: type[np.float32 | np.float64], refused: str, tmp_path: Path
) -> None:
    model = load_network(to_onnx(ONE, tmp_path / "f.onnx", kind=file))
    x, y = declared
    network = f"(declare-network f (declare-input X {x} [1]) (declare-output Y {y} [1]))"
    query = parse_vnnlib(f"(vnnlib-version <2.0>){network}{BOX}(assert (>= Y[0] 1.5))")
    if refused:
        with pytest.raises(PlumblineError) as caught:
            check_property(model, query, PATIENT)
        refusal(caught.value, refused)
    else:
        assert check_property(model, query, PATIENT).verdict.value == "sat"
