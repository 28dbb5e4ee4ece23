"""ONNX's own cases of every operator: each must agree with onnxruntime, or be refused by name.

A case is asked in two ways. VARIABLE: each float input in turn is the network's input, the others are constants.
CONSTANT: all are constants, and the case's output is the slope of a network; folding it wrongly changes every score.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from textwrap import fill
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.reading import IR, Array, Held, Reading, hold, newest_opset

LARGEST = 2000  # elements of an input or output: beyond them a case is only slow
RANDOM_INPUTS = 3
EXPANDED = "(function bodies)"
HALF = {TensorProto.FLOAT16, TensorProto.BFLOAT16}
HALF_ROUGH = 2e-3

# Agreed/refused/onnxruntime cannot, for each operator.
MADE_WITH = "onnx 1.23.2 and onnxruntime 1.31.1"
VARIABLE = """
"""
CONSTANT = """
"""


@dataclass(frozen=True, eq=False)
class Case:
    """One node test of the onnx package: its model, and what it is given and gives."""

    name: str
    operator: str
    model: onnx.ModelProto
    inputs: tuple[Array, ...]
    outputs: tuple[Array, ...]


@dataclass(frozen=True, eq=False)
class Question:
    """One way of asking a case: a file with one input and class scores, and inputs for it."""

    name: str
    operator: str
    proto: onnx.ModelProto
    inputs: Array


@cache
def cases() -> tuple[Case, ...]:
    """The node tests of the ai.onnx domain whose inputs and outputs are plain tensors of numbers."""
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the package's own cases divide by zero on purpose
        found = collect_testcases(None)
    kept = []
    for case in found:
        if case.model is None or not case.data_sets:
            continue
        given, gives = case.data_sets[0]
        if {opset.domain for opset in case.model.opset_import} == {""} and all(map(_plain, [*given, *gives])):
            nodes = case.model.graph.node
            operator = nodes[0].op_type if len(nodes) == 1 else EXPANDED
            name = case.name.removeprefix("test_")
            kept.append(Case(name, operator, case.model, tuple(map(np.asarray, given)), tuple(map(np.asarray, gives))))
    return tuple(kept)


def _plain(value: Any) -> bool:
    """A tensor of numbers or truth values, neither empty nor large."""
    return isinstance(value, np.ndarray | np.generic) and value.dtype.kind in "biuf" and 0 < value.size <= LARGEST


def questions(case: Case, variable: bool) -> Iterator[Question]:
    """Every way of asking the case: for each input that varies, or for all constant, and for each output."""
    for place, value in enumerate(case.outputs):
        if not variable:
            yield _constant(case, place, value)
            continue
        for source, given in enumerate(case.inputs):
            if given.dtype in (np.float32, np.float64) and _reaches(case.model.graph, source, place):
                yield _variable(case, source, place, value)


def _reaches(graph: onnx.GraphProto, source: int, place: int) -> bool:
    """Whether this output is computed from this input at all."""
    moved = {graph.input[source].name}
    for node in graph.node:
        if moved & set(node.input) or any(attribute.HasField("g") for attribute in node.attribute):
            moved |= set(node.output)
    return graph.output[place].name in moved


def _halves(case: Case) -> bool:
    """Whether the case computes in half precision somewhere, where no two implementations round alike."""
    attributes = {attribute.i for node in case.model.graph.node for attribute in node.attribute}
    return bool(HALF & attributes) or any(value.dtype.itemsize == 2 for value in case.inputs if value.dtype.kind == "f")


def _variable(case: Case, source: int, place: int, value: Array) -> Question:
    """scores = the case's output, flat; one class is made two, and what is no float is cast."""
    given, names = case.inputs[source], [each.name for each in case.model.graph.input]
    size, scores = value.size, case.model.graph.output[place].name
    nodes = [*_reshape("wrap_in", names[source], given.shape), *case.model.graph.node]
    if value.dtype != given.dtype:
        nodes.append(helper.make_node("Cast", [scores], ["wrap_cast"], to=helper.np_dtype_to_tensor_dtype(given.dtype)))
        scores = "wrap_cast"
    nodes += _reshape(scores, "wrap_flat" if size == 1 else "wrap_out", (1, size))
    constants = [
        _tensor(name, each) for k, (name, each) in enumerate(zip(names, case.inputs, strict=True)) if k != source
    ]
    if size == 1:
        constants.append(_tensor("wrap_signs", np.array([[1, -1]], dtype=given.dtype)))
        nodes.append(helper.make_node("Mul", ["wrap_flat", "wrap_signs"], ["wrap_out"]))
    proto = _model(case, nodes, constants, given.dtype, given.size, max(size, 2))
    first = np.clip(np.nan_to_num(given.reshape(1, -1)), -LARGEST, LARGEST)
    rng = np.random.default_rng(0)
    others = rng.uniform(first.min() - 0.5, first.max() + 0.5, size=(RANDOM_INPUTS, given.size))
    return Question(
        f"{case.name}: {names[source]} varies", case.operator, proto, np.vstack([first, others.astype(given.dtype)])
    )


def _constant(case: Case, place: int, value: Array) -> Question:
    """scores = output * x + x, where x has a number for each of the output's."""
    names, size = [each.name for each in case.model.graph.input], max(value.size, 2)
    kind = np.dtype(np.float64 if value.dtype == np.float64 else np.float32)
    slope = case.model.graph.output[place].name
    nodes = list(case.model.graph.node)
    if value.dtype != kind:
        nodes.append(helper.make_node("Cast", [slope], ["wrap_cast"], to=helper.np_dtype_to_tensor_dtype(kind)))
        slope = "wrap_cast"
    nodes += _reshape(slope, "wrap_slope", (1, value.size))
    nodes.append(helper.make_node("Mul", ["wrap_in", "wrap_slope"], ["wrap_product"]))
    nodes.append(helper.make_node("Add", ["wrap_product", "wrap_in"], ["wrap_out"]))
    proto = _model(case, nodes, [_tensor(*pair) for pair in zip(names, case.inputs, strict=True)], kind, size, size)
    inputs = np.random.default_rng(0).uniform(-1.0, 1.0, size=(RANDOM_INPUTS, size)).astype(kind)
    return Question(f"{case.name}: all constant", case.operator, proto, inputs)


def _model(
    case: Case,
    nodes: list[onnx.NodeProto],
    constants: list[onnx.TensorProto],
    kind: np.dtype[Any],
    n: int,
    classes: int,
) -> onnx.ModelProto:
    of = helper.np_dtype_to_tensor_dtype(kind)
    sides = [
        helper.make_tensor_value_info(name, of, [1, size]) for name, size in (("wrap_in", n), ("wrap_out", classes))
    ]
    graph = helper.make_graph(nodes, "case", sides[:1], sides[1:], constants)
    opset = min(case.model.opset_import[0].version, newest_opset())
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=IR)
    made.functions.extend(case.model.functions)
    return made


def _reshape(source: str, result: str, shape: tuple[int, ...]) -> list[onnx.NodeProto]:
    wanted = _tensor("", np.array(shape, dtype=np.int64))
    return [
        helper.make_node("Constant", [], [f"{result}_shape"], value=wanted),
        helper.make_node("Reshape", [source, f"{result}_shape"], [result]),
    ]


def _tensor(name: str, value: Array) -> onnx.TensorProto:
    return numpy_helper.from_array(np.ascontiguousarray(value).reshape(value.shape), name)


def answers(variable: bool, folder: Path, expanded: bool = False) -> list[tuple[Question, Held]]:
    """Every case asked in one way: of the operators themselves, or of the function bodies that stand for some."""
    found = []
    for case in cases():
        if (case.operator == EXPANDED) is not expanded:
            continue
        rough = HALF_ROUGH if _halves(case) else None
        for question in questions(case, variable):
            found.append((question, hold(question.proto, folder, question.inputs, rough)))
    return found


def _failures(found: list[tuple[Question, Held]]) -> str:
    return "\n".join(f"{question.name}: {held.reading.value}: {held.why}" for question, held in found if held.failed)


def _counts(found: list[tuple[Question, Held]]) -> dict[str, str]:
    """For each operator how many files agree, are refused, and cannot be run by onnxruntime."""
    kinds = (Reading.AGREED, Reading.REFUSED, Reading.CANNOT)
    readings: dict[str, list[Reading]] = {}
    for question, held in found:
        readings.setdefault(question.operator, []).append(held.reading)
    return {name: "/".join(str(readings[name].count(kind)) for kind in kinds) for name in sorted(readings)}


def _table(text: str) -> dict[str, str]:
    words = text.split()
    return dict(zip(words[::2], words[1::2], strict=True))


@pytest.mark.parametrize(("variable", "expected"), [(True, VARIABLE), (False, CONSTANT)], ids=["variable", "constant"])
def test_every_case_agrees_or_is_refused_by_name(variable: bool, expected: str, tmp_path: Path) -> None:
    found = answers(variable, tmp_path)
    assert not _failures(found)
    assert _counts(found) == _table(expected), f"made with {MADE_WITH}; see the module's main part for how to renew it"


@pytest.mark.thorough
@pytest.mark.parametrize("variable", [True, False], ids=["variable", "constant"])
def test_every_function_body_agrees_or_is_refused_by_name(variable: bool, tmp_path: Path) -> None:
    assert not _failures(answers(variable, tmp_path, expanded=True))


RANDOM = {
    "RandomNormal": [helper.make_node("RandomNormal", [], ["r"], shape=[1, 4])],
    "RandomNormal, seeded": [helper.make_node("RandomNormal", [], ["r"], shape=[1, 4], seed=7.0)],
    "RandomUniform": [helper.make_node("RandomUniform", [], ["r"], shape=[1, 4])],
    "RandomNormalLike": [helper.make_node("RandomNormalLike", ["x"], ["r"])],
    "RandomUniformLike": [helper.make_node("RandomUniformLike", ["x"], ["r"], seed=7.0)],
    "Bernoulli": [helper.make_node("Bernoulli", ["x"], ["r"])],
    "Multinomial": [
        helper.make_node("Multinomial", ["x"], ["drawn"], sample_size=4),
        helper.make_node("Cast", ["drawn"], ["r"], to=TensorProto.FLOAT),
    ],
    "Dropout, training": [
        helper.make_node("Constant", [], ["ratio"], value_float=0.5),
        helper.make_node("Constant", [], ["yes"], value=helper.make_tensor("", TensorProto.BOOL, [], [True])),
        helper.make_node("Dropout", ["x", "ratio", "yes"], ["r"]),
    ],
    "BatchNormalization, training": [
        helper.make_node("Constant", [], ["ones"], value_floats=[1.0, 2.0, 1.0, 1.0]),
        helper.make_node("BatchNormalization", ["x", *["ones"] * 4], ["r", "mean", "var"], training_mode=1),
    ],
}


@pytest.mark.parametrize("place", ["constant", "variable", "branch", "function"])
@pytest.mark.parametrize("name", RANDOM)
def test_what_is_random_or_trains_is_refused_wherever_it_stands(name: str, place: str, tmp_path: Path) -> None:
    nodes, functions = list(RANDOM[name]), []
    if place == "branch":
        yes, no = (
            helper.make_graph(body, side, [], [helper.make_tensor_value_info(result, TensorProto.FLOAT, [1, 4])])
            for side, body, result in (
                ("yes", nodes, "r"),
                ("no", [helper.make_node("Identity", ["x"], ["same"])], "same"),
            )
        )
        nodes = [helper.make_node("If", ["condition"], ["r"], then_branch=yes, else_branch=no)]
    if place == "function":
        opsets = [helper.make_opsetid("", 17)]
        functions = [helper.make_function("local", "Hidden", ["x"], ["r"], nodes, opsets)]
        nodes = [helper.make_node("Hidden", ["x"], ["r"], domain="local")]
    if place == "variable":
        nodes = [helper.make_node("Identity", ["wrap_in"], ["x"]), *nodes]
    nodes.append(helper.make_node("Mul", ["half" if place == "variable" else "wrap_in", "r"], ["product"]))
    nodes.append(helper.make_node("Add", ["product", "wrap_in"], ["wrap_out"]))
    constants = [_tensor("half", np.array(0.5, dtype=np.float32)), _tensor("condition", np.array(True))]
    if place != "variable":
        constants.append(_tensor("x", np.array([[0.1, 0.2, 0.3, 0.4]], dtype=np.float32)))
    sides = [helper.make_tensor_value_info(side, TensorProto.FLOAT, [1, 4]) for side in ("wrap_in", "wrap_out")]
    graph = helper.make_graph(nodes, "random", sides[:1], sides[1:], constants)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
    proto = helper.make_model(graph, opset_imports=opsets, functions=functions, ir_version=IR)
    held = hold(proto, tmp_path, np.random.default_rng(0).uniform(0.0, 1.0, size=(2, 4)).astype(np.float32))
    assert held.reading is Reading.REFUSED, held


if __name__ == "__main__":  # prints the tables anew: python -m tests.encoders.test_onnx_node_cases
    with TemporaryDirectory() as made:
        for way, title in ((True, "VARIABLE"), (False, "CONSTANT")):
            asked = answers(way, Path(made))
            print(f"{title}\n{fill('  '.join(f'{a} {b}' for a, b in _counts(asked).items()), 118)}\n{_failures(asked)}")
