"""ONNX's own cases of every operator: each must agree with onnxruntime, or be refused by name.

A case is asked in two ways. VARIABLE: each float input in turn is the network's input, the others are constants.
CONSTANT: all are constants, and the case's output is the slope of a network; folding it wrongly changes every score.
"""

from __future__ import annotations

import math
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

from encoders.onnx.operators import OPERATORS
from tests.reading import IR, Array, Held, Reading, hold, newest_opset

LARGEST = 2000  # elements of an input or output: beyond them a case is only slow
RANDOM_INPUTS = 3
FEW = 1  # asked of the files that one rule answers
EXPANDED = "(function bodies)"
HALF = {TensorProto.FLOAT16, TensorProto.BFLOAT16}
HALF_ROUGH = 2e-3

# Agreed/refused/onnxruntime cannot, for each operator.
MADE_WITH = "onnx 1.23.2 and onnxruntime 1.31.1"
VARIABLE = """
Abs:1/0/0  Acos:0/2/0  Acosh:0/2/0  Add:4/0/0  AffineGrid:0/4/0  ArgMax:0/16/0  ArgMin:0/16/0  Asin:0/2/0  Asinh:0/2/0
Atan:0/2/0  Atanh:0/2/0  Attention:0/591/52  AveragePool:9/0/0  BatchNormalization:2/38/0  Bernoulli:0/0/3
BitCast:0/4/0  CausalConvWithState:0/0/54  Ceil:0/2/0  Celu:0/1/0  CenterCropPad:6/0/0  Clip:9/14/0  Col2Im:0/5/0
Compress:4/0/0  Concat:24/0/0  Conv:6/6/0  ConvTranspose:10/12/0  Cos:0/2/0  Cosh:0/2/0  CumProd:0/7/0  CumSum:7/0/0
DFT:0/10/0  DeformConv:0/14/0  DepthToSpace:2/0/0  DequantizeLinear:0/5/0  Det:0/2/0  Div:3/3/0  Dropout:4/19/6
DynamicQuantizeLinear:0/9/0  Einsum:8/0/0  Elu:0/3/0  Exp:0/2/0  Expand:2/0/0  Flatten:9/0/0  Floor:0/2/0  GRU:0/23/6
Gather:4/0/0  GatherElements:3/0/0  GatherND:1/0/0  Gelu:0/4/0  Gemm:32/0/0  GlobalAveragePool:2/0/0
GlobalMaxPool:2/0/0  Greater:0/4/0  GreaterOrEqual:0/4/0  GridSample:0/36/0  GroupNormalization:0/6/0
HardSigmoid:3/0/0  HardSwish:0/1/0  Hardmax:0/7/0  Identity:2/0/0  InstanceNormalization:0/6/0  IsInf:0/3/0
IsNaN:0/1/0  LRN:0/2/0  LSTM:0/26/6  LayerNormalization:0/171/0  LeakyRelu:3/0/0  Less:0/4/0  LessOrEqual:0/4/0
LinearAttention:0/0/122  Log:0/2/0  LogSoftmax:1/6/0  Loop:0/2/0  LpNormalization:0/6/0  LpPool:0/2/0  MatMul:14/0/0
Max:10/0/0  MaxPool:9/4/0  MaxUnpool:0/2/0  Mean:6/0/0  MeanVarianceNormalization:0/1/0  MelWeightMatrix:0/1/1
Min:10/0/0  Mod:0/4/8  Mul:6/0/0  Neg:2/0/0  NegativeLogLikelihoodLoss:0/23/0  NonMaxSuppression:0/32/8  OneHot:0/6/5
OptionalGetElement:0/2/0  OptionalHasElement:0/2/0  PRelu:2/2/0  Pad:6/0/0  Pow:0/12/2  QLinearConv:0/3/0
QLinearMatMul:0/12/0  QuantizeLinear:0/10/0  RMSNormalization:0/38/0  RNN:0/17/6  Range:0/0/3  Reciprocal:0/2/0
ReduceL1:6/0/0  ReduceL2:0/6/0  ReduceLogSum:0/3/0  ReduceLogSumExp:0/6/0  ReduceMax:8/0/0  ReduceMean:6/0/0
ReduceMin:8/0/0  ReduceProd:0/8/0  ReduceSum:6/0/0  ReduceSumSquare:0/6/0  Relu:1/0/0  Reshape:9/0/0  Resize:28/15/19
ReverseSequence:2/0/0  RoiAlign:0/0/6  RotaryEmbedding:0/24/0  Round:0/1/0  STFT:0/3/0  Scan:0/21/0  Scatter:4/0/0
ScatterElements:6/8/0  ScatterND:2/12/0  Selu:0/3/0  Shape:0/10/0  Shrink:0/2/0  Sigmoid:2/0/0  Sign:0/1/0  Sin:0/2/0
Sinh:0/2/0  Size:0/2/0  Slice:7/0/0  Softmax:1/6/0  SoftmaxCrossEntropyLoss:0/63/0  Softplus:2/0/0  Softsign:0/2/0
SpaceToDepth:2/0/2  Split:35/0/0  Sqrt:0/2/0  Squeeze:2/0/0  Sub:6/0/0  Sum:6/0/0  SwiGLU:0/0/4  Swish:0/1/0
Tan:0/2/0  Tanh:0/2/0  TensorScatter:0/6/0  ThresholdedRelu:0/3/0  Tile:1/0/0  TopK:0/6/0  Transpose:7/0/0
Unique:0/5/15  Unsqueeze:7/0/0  Upsample:1/0/1  Where:2/0/0
"""
CONSTANT = """
Abs:1/0/0  Acos:2/0/0  Acosh:2/0/0  Add:8/0/0  AffineGrid:4/0/0  And:8/0/0  ArgMax:16/0/0  ArgMin:16/0/0  Asin:2/0/0
Asinh:2/0/0  Atan:2/0/0  Atanh:2/0/0  Attention:131/2/15  AveragePool:9/0/0  BatchNormalization:2/6/0  Bernoulli:0/0/3
BitCast:9/0/1  BitShift:6/0/22  BitwiseAnd:4/0/0  BitwiseNot:3/0/0  BitwiseOr:4/0/0  BitwiseXor:4/0/0
BlackmanWindow:2/0/0  CausalConvWithState:0/0/24  Ceil:2/0/0  Celu:1/0/1  CenterCropPad:6/0/0  Clip:12/0/0
Col2Im:5/0/0  Compress:4/0/0  Concat:12/0/0  Constant:1/0/0  ConstantOfShape:2/0/0  Conv:6/0/0  ConvInteger:1/0/1
ConvTranspose:11/0/0  Cos:2/0/0  Cosh:2/0/0  CumProd:9/0/0  CumSum:9/0/0  DFT:10/0/0  DeformConv:4/0/0
DepthToSpace:2/0/0  DequantizeLinear:5/0/0  Det:2/0/0  Div:10/0/0  Dropout:8/9/0  DynamicQuantizeLinear:9/0/0
Einsum:6/0/0  Elu:3/0/0  Equal:8/0/0  Exp:2/0/0  Expand:2/0/0  EyeLike:3/0/0  Flatten:9/0/0  Floor:2/0/0  GRU:7/0/2
Gather:4/0/0  GatherElements:3/0/0  GatherND:3/0/0  Gelu:4/0/0  Gemm:11/0/0  GlobalAveragePool:2/0/0
GlobalMaxPool:2/0/0  Greater:8/0/0  GreaterOrEqual:8/0/0  GridSample:18/0/0  GroupNormalization:2/0/0
HammingWindow:2/0/0  HannWindow:2/0/0  HardSigmoid:3/0/0  HardSwish:1/0/0  Hardmax:7/0/0  Identity:3/0/0  If:0/1/0
ImageDecoder:0/0/1  InstanceNormalization:2/0/0  IsInf:4/0/0  IsNaN:2/0/0  LRN:2/0/0  LSTM:7/0/2
LayerNormalization:57/0/0  LeakyRelu:3/0/0  Less:8/0/0  LessOrEqual:8/0/0  LinearAttention:0/0/28  Log:2/0/0
LogSoftmax:7/0/0  Loop:0/2/0  LpNormalization:6/0/0  LpPool:2/0/0  MatMul:7/0/0  MatMulInteger:1/0/0  Max:12/0/2
MaxPool:14/0/0  MaxUnpool:2/0/0  Mean:3/0/0  MeanVarianceNormalization:1/0/0  MelWeightMatrix:1/0/0  Min:12/0/2
Mod:13/0/6  Mul:9/0/0  Neg:2/0/0  NegativeLogLikelihoodLoss:15/0/0  NonMaxSuppression:10/0/0  NonZero:1/0/0  Not:0/0/3
OneHot:5/0/0  OptionalGetElement:2/0/0  OptionalHasElement:6/0/0  Or:8/0/0  PRelu:2/0/0  Pad:6/0/0  Pow:10/0/2
QLinearConv:1/0/0  QLinearMatMul:8/0/0  QuantizeLinear:5/0/0  RMSNormalization:19/0/0  RNN:5/0/2  Range:2/0/1
Reciprocal:2/0/0  ReduceL1:6/0/0  ReduceL2:6/0/0  ReduceLogSum:3/0/0  ReduceLogSumExp:6/0/0  ReduceMax:9/0/0
ReduceMean:6/0/0  ReduceMin:9/0/0  ReduceProd:8/0/0  ReduceSum:6/0/0  ReduceSumSquare:6/0/0  Relu:1/0/0  Reshape:9/0/0
Resize:39/0/0  ReverseSequence:2/0/0  RoiAlign:0/0/3  RotaryEmbedding:8/0/0  Round:1/0/0  STFT:2/0/0  Scan:0/9/0
Scatter:2/0/0  ScatterElements:7/0/0  ScatterND:7/0/0  Selu:3/0/0  Shape:10/0/0  Shrink:2/0/0  Sigmoid:2/0/0
Sign:1/0/0  Sin:2/0/0  Sinh:2/0/0  Size:2/0/0  Slice:7/0/0  Softmax:7/0/0  SoftmaxCrossEntropyLoss:42/0/0
Softplus:2/0/0  Softsign:2/0/0  SpaceToDepth:2/0/2  Split:35/0/0  Sqrt:2/0/0  Squeeze:2/0/0  Sub:9/0/0  Sum:3/0/0
SwiGLU:0/0/3  Swish:1/0/0  Tan:2/0/0  Tanh:2/0/0  TensorScatter:3/0/0  TfIdfVectorizer:7/0/0  ThresholdedRelu:3/0/0
Tile:1/0/0  TopK:12/0/2  Transpose:7/0/0  Trilu:16/0/0  Unique:24/0/0  Unsqueeze:7/0/0  Upsample:1/0/0  Where:2/0/0
Xor:8/0/0
"""


LOWERED = {name for name, _, counts in (word.partition(":") for word in VARIABLE.split()) if counts[:2] != "0/"}
LOWERED |= set(OPERATORS)  # and those that the end of a file may hold


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
    from onnx.backend.test.case import base
    from onnx.reference.ops import op_pool_common

    genuine = op_pool_common.pool

    def pool(padded: Array, shape: tuple[int, ...], *more: Any, **named: Any) -> Array:
        return genuine(padded, shape, *more, **named) if math.prod(shape) <= LARGEST else padded

    with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patched:
        warnings.simplefilter("ignore")  # the package's own cases divide by zero on purpose
        # Most of the package's time goes to outputs of large inputs, and to its documentation: neither is kept.
        patched.setattr(op_pool_common, "pool", pool)
        patched.setattr(base, "process_snippet", lambda *told: ("", ""))
        from onnx.backend.test.case.node import collect_testcases

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


def lowered(operator: str, variable: bool) -> bool:
    """Whether its attributes mean something here."""
    return variable and operator in LOWERED


def answers(
    variable: bool, folder: Path, expanded: bool = False, most: int | None = None
) -> list[tuple[Question, Held]]:
    """Every case asked in one way: of the operators themselves, or of the function bodies that stand for some.

    At most `most` files, evenly chosen, of an operator that is not lowered, or whose inputs are all constant: one rule
    refuses it or has onnxruntime compute it, whatever its attributes say.
    """
    asked: dict[str, list[tuple[Question, bool]]] = {}
    for case in cases():
        if (case.operator == EXPANDED) is expanded:
            asked.setdefault(case.operator, []).extend((each, _halves(case)) for each in questions(case, variable))
    found = []
    for operator, files in asked.items():
        step = 1 if most is None or lowered(operator, variable) else max(1, math.ceil(len(files) / most))
        for question, halves in files[::step]:
            rough = HALF_ROUGH if halves else None
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
    return {name: counts for name, _, counts in (word.partition(":") for word in text.split())}


WAYS = pytest.mark.parametrize(
    ("variable", "expected"), [(True, VARIABLE), (False, CONSTANT)], ids=["variable", "constant"]
)


@pytest.mark.slow
@WAYS
def test_every_operator_agrees_or_is_refused_by_name(variable: bool, expected: str, tmp_path: Path) -> None:
    found = answers(variable, tmp_path, most=FEW)
    failures = _failures(found)
    assert not failures, failures
    counts, wanted = _counts(found), _table(expected)
    assert counts.keys() == wanted.keys()
    for operator, count in counts.items():
        if lowered(operator, variable):
            assert count == wanted[operator], operator
        else:
            some, every = ([int(n) for n in each.split("/")] for each in (count, wanted[operator]))
            assert all(n <= of for n, of in zip(some, every, strict=True)), operator


@pytest.mark.exhaustive
@WAYS
def test_every_case_agrees_or_is_refused_by_name(variable: bool, expected: str, tmp_path: Path) -> None:
    found = answers(variable, tmp_path)
    failures = _failures(found)
    assert not failures, failures
    assert _counts(found) == _table(expected), f"made with {MADE_WITH}; see the module's main part for how to renew it"


@pytest.mark.exhaustive
@pytest.mark.parametrize("variable", [True, False], ids=["variable", "constant"])
def test_every_function_body_agrees_or_is_refused_by_name(variable: bool, tmp_path: Path) -> None:
    failures = _failures(answers(variable, tmp_path, expanded=True))
    assert not failures, failures


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
            words = (f"{name}:{counts}" for name, counts in _counts(asked).items())
            print(f"{title}\n{fill('  '.join(words), 118)}\n{_failures(asked)}")
