"""Operators whose meaning is easily mistaken: the verdict is true, or the file is refused by name.

Every net is small enough for its distance to be worked out by hand, in the comment above it.
"""

from __future__ import annotations

from fractions import Fraction
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import verifier
from encoders.errors import PlumblineError
from tests.small_files import bracketed, f32, gemm, head, i64, node, refusal, refused, single, written

MINUS, PLUS = ([[-1], [1]], [1, 0])  # scores 1 - x and x: a tie at 1/2
HALF = Fraction(1, 2)


def like_onnxruntime(path: Path, size: int, *named: str) -> None:
    """The graph that proofs are about computes what onnxruntime does, or the file is refused."""
    try:
        model = verifier.load(path)
    except PlumblineError as error:
        refusal(error, *named)
        return
    inputs = np.random.default_rng(0).normal(size=(4, size)).astype(np.float32)
    np.testing.assert_allclose(model.real(inputs.astype(np.float64)), model.scores(inputs), rtol=1e-5, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(("first", "second"), [(0, 5), (5, 0), (-1, 5)])
def test_two_pads_keep_their_own_numbers(first: int, second: int, tmp_path: Path) -> None:
    # The values are [second, first, x, first, second]: 1 + first/8 - x against x + second/8.
    zero = ["x", "p"] if first == 0 else ["x", "p", "v1"]
    nodes = [node("Pad", zero, ["a"]), node("Pad", ["a", "p", "v2"], ["t"]), gemm()]
    constants = {"p": i64(0, 1, 0, 1), "v1": f32(first), "v2": f32(second)}
    constants |= head([[0, 0.125, -1, 0, 0], [0, 0, 1, 0, 0.125]], [1, 0])
    path = written(tmp_path / "net.onnx", nodes, constants)
    bracketed(path, [0.0], Fraction(8 + first - second, 16), "Pad")


def test_softmax_over_samples_makes_all_classes_equal(tmp_path: Path) -> None:
    # Over axis 0 of [1, 2] every entry is one: a tie everywhere.
    nodes = [gemm("x", "t"), node("Softmax", ["t"], ["y"], axis=0)]
    bracketed(written(tmp_path / "net.onnx", nodes, head(MINUS, PLUS)), [0.0], Fraction(0), "Softmax")


def test_log_softmax_over_samples_makes_all_classes_equal(tmp_path: Path) -> None:
    nodes = [gemm("x", "t"), node("LogSoftmax", ["t"], ["y"], axis=-2)]
    bracketed(written(tmp_path / "net.onnx", nodes, head(MINUS, PLUS)), [0.0], Fraction(0), "LogSoftmax")


@pytest.mark.parametrize(("operator", "axis"), [("Softmax", -1), ("LogSoftmax", 1)])
def test_a_last_softmax_over_classes_is_read(operator: str, axis: int, tmp_path: Path) -> None:
    nodes = [gemm("x", "t"), node(operator, ["t"], ["y"], axis=axis)]
    assert bracketed(written(tmp_path / "net.onnx", nodes, head(MINUS, PLUS)), [0.0], HALF) is not None


@pytest.mark.parametrize("operator", ["Softmax", "LogSoftmax"])
def test_softmax_row_by_row_is_not_the_order_of_the_logits(operator: str, tmp_path: Path) -> None:
    # Two rows of two logits, [5, 4.9] and [x - 5, 0], with a softmax each: [.525, .475] and [at most .02, .98].
    nodes = [gemm("x", "h"), node("Reshape", ["h", "s"], ["r"])]
    nodes += [node(operator, ["r"], ["z"], axis=-1), node("Flatten", ["z"], ["y"])]
    constants = {"s": i64(1, 2, 2), **head([[0], [0], [1], [0]], [5, 4.9, -5, 0])}
    result = bracketed(written(tmp_path / "net.onnx", nodes, constants, outputs={"y": (1, 4)}), [0.0], None, operator)
    assert result is None or result.predicted == 3


@pytest.mark.parametrize("operator", ["Softmax", "LogSoftmax", "Hardmax"])
def test_softmax_before_the_end_is_not_left_out(operator: str, tmp_path: Path) -> None:
    # 1 - x and x in [0, 1]: negated, the smaller logit wins; class 1 up to 1/2, then class 0.
    nodes = [gemm("x", "t"), node(operator, ["t"], ["s"], axis=1), node("Neg", ["s"], ["y"])]
    path = written(tmp_path / "net.onnx", nodes, head(MINUS, PLUS))
    result = bracketed(path, [0.25], Fraction(1, 4), operator)
    assert result is None or result.predicted == 1


@pytest.mark.parametrize("attributes", [{"axis": 0}, {"axis": 0, "keepdims": 0}, {}])
def test_argmax_over_samples_is_refused(attributes: dict[str, Any], tmp_path: Path) -> None:
    # The best sample of one is sample 0, for every class; axis 0 is the default.
    nodes = [gemm("x", "t"), node("ArgMax", ["t"], ["y"], **attributes)]
    refused(argmax_file(tmp_path, nodes, attributes), "ArgMax")


@pytest.mark.parametrize("attributes", [{"axis": 1}, {"axis": -1, "keepdims": 0}])
def test_argmax_over_classes_is_read(attributes: dict[str, Any], tmp_path: Path) -> None:
    nodes = [gemm("x", "t"), node("ArgMax", ["t"], ["y"], **attributes)]
    assert bracketed(argmax_file(tmp_path, nodes, attributes), [0.0], HALF) is not None


@pytest.mark.parametrize(
    ("kind", "read"), [(onnx.TensorProto.INT32, True), (onnx.TensorProto.BOOL, False), (onnx.TensorProto.INT8, False)]
)
def test_a_class_keeps_its_number_in_a_wide_type(kind: int, read: bool, tmp_path: Path) -> None:
    # A BOOL knows no class but 0 and "another"; 8 bits know 128 classes.
    nodes = [gemm("x", "t"), node("ArgMax", ["t"], ["c"], axis=1), node("Cast", ["c"], ["y"], to=kind)]
    path = argmax_file(tmp_path, nodes, {"axis": 1})
    model = onnx.load(str(path))
    model.graph.output[0].type.tensor_type.elem_type = kind
    onnx.save(model, str(path))
    if read:
        assert bracketed(path, [0.0], HALF) is not None
    else:
        refused(path, "Cast")


def argmax_file(folder: Path, nodes: list[onnx.NodeProto], attributes: dict[str, Any]) -> Path:
    """A file whose output is the number of a class."""
    path = written(folder / "net.onnx", nodes, head(MINUS, PLUS))
    model = onnx.load(str(path))
    shape = [2] if attributes.get("axis", 0) == 0 else [1]
    shape = shape if attributes.get("keepdims", 1) == 0 else [1, *shape]
    model.graph.output[0].CopyFrom(onnx.helper.make_tensor_value_info("y", onnx.TensorProto.INT64, shape))
    onnx.save(model, str(path))
    return path


@pytest.mark.parametrize("opset", [9, 11])
@pytest.mark.parametrize("attributes", [{"axis": 1}, {}])
def test_old_softmax_of_a_constant_runs_over_all_further_axes(
    opset: int, attributes: dict[str, Any], tmp_path: Path
) -> None:
    # Four equal entries of [1, 2, 2]: before opset 13 they share one softmax, so each is 1/4, not 1/2.
    # 3/4 - (x - 1/4) against x - 1/4: a tie at x = 5/8.
    nodes = [node("Softmax", ["c"], ["k"], **attributes), node("Reshape", ["k", "s"], ["kk"])]
    nodes += [node("Sub", ["x", "kk"], ["t"]), gemm()]
    constants = {"c": f32(np.zeros((1, 2, 2))), "s": i64(1, 4), **head([[-1, 0, 0, 0], [1, 0, 0, 0]], [0.75, 0])}
    path = written(tmp_path / "net.onnx", nodes, constants, inputs=(1, 4), opset=opset)
    bracketed(path, np.zeros(4), Fraction(5, 8), "Softmax")


def test_old_hardmax_of_a_constant_has_one_winner(tmp_path: Path) -> None:
    # Of [[1, 2], [4, 3]] the 4 alone wins before opset 13; row by row the 2 would win too, in entry 1.
    # Class 0 has 1 - t0, class 1 t0 + t1/2, where t is x: 1 - d against 3d/2.
    nodes = [node("Hardmax", ["c"], ["k"], axis=1), node("Reshape", ["k", "s"], ["kk"])]
    nodes += [node("Add", ["x", "kk"], ["t"]), gemm()]
    constants = {"c": f32([[[1, 2], [4, 3]]]), "s": i64(1, 4), **head([[-1, 0, 0, 0], [1, 0.5, 0, 0]], [1, 0])}
    path = written(tmp_path / "net.onnx", nodes, constants, inputs=(1, 4), opset=11)
    bracketed(path, np.zeros(4), Fraction(2, 5), "Hardmax")


def test_old_log_softmax_of_a_constant(tmp_path: Path) -> None:
    # Each of four equal entries is -ln 4, not -ln 2. Times x: 1 - x against -x ln(1/4), a tie at 1 / (1 + ln 4).
    nodes = [node("LogSoftmax", ["c"], ["k"], axis=1), node("Reshape", ["k", "s"], ["kk"])]
    nodes += [node("Mul", ["x", "kk"], ["m"]), node("Concat", ["x", "m"], ["t"], axis=1), gemm()]
    weight = [[-1, 0, 0, 0, 0, 0, 0, 0], [0, 0, 0, 0, -1, 0, 0, 0]]
    constants = {"c": f32(np.zeros((1, 2, 2))), "s": i64(1, 4), **head(weight, [1, 0])}
    path = written(tmp_path / "net.onnx", nodes, constants, inputs=(1, 4), opset=9)
    try:
        result = verifier.distance(path, np.zeros(4))
    except PlumblineError as error:
        refusal(error, "LogSoftmax")
        return
    assert result.lower == pytest.approx(1 / (1 + np.log(4)), rel=1e-5)


RANDOM = {
    "RandomNormal": node("RandomNormal", [], ["r"], shape=[1, 2]),
    "RandomUniform": node("RandomUniform", [], ["r"], shape=[1, 2]),
    "RandomNormalLike": node("RandomNormalLike", ["c"], ["r"], dtype=1),
    "RandomUniformLike": node("RandomUniformLike", ["c"], ["r"], dtype=1),
    "Bernoulli": node("Bernoulli", ["c"], ["r"]),
    "Dropout": node("Dropout", ["c", "ratio", "training"], ["r"]),
    "BatchNormalization": node("BatchNormalization", ["c", "k", "k", "k", "k"], ["r", "m", "v"], training_mode=1),
}


@pytest.mark.parametrize("operator", RANDOM)
def test_chance_is_refused_where_constants_meet_it(operator: str, tmp_path: Path) -> None:
    nodes = [gemm("x", "h"), RANDOM[operator], node("Add", ["h", "r"], ["y"])]
    constants = {"c": f32([[0.5, 0.25]]), "k": f32([1, 2]), "ratio": f32(0.5), "training": np.array(True)}
    refused(written(tmp_path / "net.onnx", nodes, {**constants, **head(MINUS, PLUS)}), operator)


@pytest.mark.parametrize("operator", ["RandomNormalLike", "Bernoulli", "Dropout", "BatchNormalization"])
def test_chance_is_refused_on_the_way(operator: str, tmp_path: Path) -> None:
    on_the_way = onnx.NodeProto()
    on_the_way.CopyFrom(RANDOM[operator])
    on_the_way.input[0] = "h"
    nodes = [gemm("x", "h"), on_the_way, node("Add", ["h", "r"], ["y"])]
    constants = {"k": f32([1, 2]), "ratio": f32(0.5), "training": np.array(True)}
    refused(written(tmp_path / "net.onnx", nodes, {**constants, **head(MINUS, PLUS)}), operator)


@pytest.mark.parametrize("training", [None, False])
def test_dropout_that_drops_nothing_is_read(training: bool | None, tmp_path: Path) -> None:
    inputs = ["h", "ratio"] if training is None else ["h", "ratio", "training"]
    nodes = [gemm("x", "h"), node("Dropout", inputs, ["y"])]
    constants = {"ratio": f32(0.5), "training": np.array(False), **head(MINUS, PLUS)}
    assert bracketed(written(tmp_path / "net.onnx", nodes, constants), [0.0], HALF) is not None


def test_old_batch_normalization_in_training_is_refused(tmp_path: Path) -> None:
    # Before opset 14 four further outputs mean training: the batch's own mean is taken off.
    normal = node("BatchNormalization", ["h", "one", "zero", "zero", "one"], ["y", "m", "v", "sm", "sv"])
    constants = {"one": f32([1, 1]), "zero": f32([0, 0]), **head(MINUS, PLUS)}
    path = written(tmp_path / "net.onnx", [gemm("x", "h"), normal], constants, opset=8)
    refused(path, "BatchNormalization")


REDUCTIONS: list[tuple[str, int, list[str], dict[str, Any], bool]] = [
    # operator, opset, inputs beside x, attributes, and whether it reduces at all
    ("ReduceSum", 13, ["none"], {}, True),
    ("ReduceSum", 13, [], {}, True),
    ("ReduceSum", 13, ["none"], {"noop_with_empty_axes": 1}, False),
    ("ReduceSum", 13, [], {"noop_with_empty_axes": 1}, False),
    ("ReduceSum", 11, [], {}, True),
    ("ReduceMean", 13, [], {}, True),
    ("ReduceMean", 18, ["none"], {}, True),
    ("ReduceMean", 18, [], {}, True),
    ("ReduceMean", 18, ["none"], {"noop_with_empty_axes": 1}, False),
    ("ReduceMean", 18, [], {"noop_with_empty_axes": 1}, False),
    ("ReduceMax", 18, ["none"], {}, True),
    ("ReduceMax", 18, [], {"noop_with_empty_axes": 1}, False),
]


@pytest.mark.parametrize("constant", [False, True])
@pytest.mark.parametrize(("operator", "opset", "extra", "attributes", "reduces"), REDUCTIONS)
@pytest.mark.fewer(7)
def test_reductions_over_no_axes(
    operator: str,
    opset: int,
    extra: list[str],
    attributes: dict[str, Any],
    reduces: bool,
    constant: bool,
    tmp_path: Path,
) -> None:
    # Times [1, 1] a reduced value stands twice. Class 0 has 1 - x0 + 3/8 of the second value, class 1 has x0.
    # Of a constant: [1/2, 1/4] reduced, or its second entry as it is.
    source = ["c" if constant else "x", *extra]
    nodes = [node(operator, source, ["r"], keepdims=1, **attributes), node("Mul", ["r", "ones"], ["m"])]
    nodes += [node("Concat", ["x", "m"], ["t"], axis=1), gemm()]
    constants = {"none": i64(), "c": f32([[0.5, 0.25]]), "ones": f32([[1, 1]])}
    constants |= head([[-1, 0, 0, 0.375], [1, 0, 0, 0]], [1, 0])
    path = written(tmp_path / "net.onnx", nodes, constants, inputs=(1, 2), opset=opset)
    reduced = {"ReduceSum": Fraction(3, 4), "ReduceMean": Fraction(3, 8), "ReduceMax": HALF}[operator]
    if constant:
        value = reduced if reduces else Fraction(1, 4)
        truth = (1 + Fraction(3, 8) * value) / 2
    elif reduces:  # x0 alone moves: of sum and maximum it is all, of the mean it is half
        truth = 1 / (2 - Fraction(3, 16 if operator == "ReduceMean" else 8))
    else:
        truth = HALF
    bracketed(path, np.zeros(2), truth, operator)
    like_onnxruntime(path, 2, operator)


BEYOND = (-9, -6, -4, -1, 0, 3, 5, 6, 9)


@pytest.mark.parametrize("constant", [False, True])
@pytest.mark.parametrize(("start", "step"), [*product(BEYOND, (-3, -2, -1, 1, 2))])
@pytest.mark.fewer
def test_slices_beyond_the_ends(start: int, step: int, constant: bool, tmp_path: Path) -> None:
    # The specification clamps: starts to 0..6 (0..5 when going down), ends to 0..6 (-1..5 when going down).
    nodes, names, constants, taken = [], [], {"axis": i64(1), "step": i64(step), "start": i64(start)}, []
    source = "c" if constant else "x"
    for k, end in enumerate((*BEYOND, -(2**63), 2**63 - 1)):
        first, last = start + 6 * (start < 0), end + 6 * (end < 0)
        first = min(max(first, 0), 6 if step > 0 else 5)
        last = min(max(last, 0 if step > 0 else -1), 6 if step > 0 else 5)
        where = list(range(first, last, step))
        if where:
            constants[f"end{k}"] = i64(end)
            nodes.append(node("Slice", [source, "start", f"end{k}", "axis", "step"], [f"s{k}"]))
            names.append(f"s{k}")
            taken += where
    nodes.append(node("Concat", ["x", *names] if constant else [*names, "x"], ["y"], axis=1))
    constants["c"] = f32([[0, 1, 2, 3, 4, 5]])
    path = written(tmp_path / "net.onnx", nodes, constants, inputs=(1, 6), outputs={"y": (1, 6 + len(taken))})
    try:
        model = verifier.load(path)
    except PlumblineError as error:
        refusal(error, "Slice")
        return
    x = np.arange(6.0)[None]
    expected = [*range(6), *taken] if constant else [*taken, *range(6)]
    assert model.scores(x)[0].tolist() == expected
    assert model.real(x)[0].tolist() == expected


def test_matmul_by_a_stack_of_one_keeps_its_axis(tmp_path: Path) -> None:
    # [1, 2] times [1, 2, 2] is [1, 1, 2]: the sum over axis 1 changes nothing. [x0, -x1] then;
    # Class 0 has 1/2 - x0 - x1 against 0, a tie at (1/4, 1/4).
    nodes = [node("MatMul", ["x", "m"], ["a"]), node("ReduceSum", ["a", "axis"], ["r"], keepdims=1)]
    nodes += [node("Mul", ["r", "v"], ["q"]), node("Reshape", ["q", "s"], ["t"]), gemm()]
    constants = {"m": f32([[[1, 0], [0, -1]]]), "axis": i64(1), "v": f32([1, 1]), "s": i64(1, 2)}
    constants |= head([[-1, 1], [0, 0]], [0.5, 0])
    path = written(tmp_path / "net.onnx", nodes, constants, inputs=(1, 2))
    assert bracketed(path, np.zeros(2), Fraction(1, 4)) is not None
    like_onnxruntime(path, 2)


@pytest.mark.parametrize("shape", [(2,), (1, 2, 3), (3, 2, 2)])
def test_matmul_follows_the_rules_of_numpy(shape: tuple[int, ...], tmp_path: Path) -> None:
    weight = f32(np.arange(1, np.prod(shape) + 1)).reshape(shape)
    size = int((np.zeros((1, 2)) @ weight).size)
    nodes = [
        node("MatMul", ["x", "m"], ["a"]),
        node("Reshape", ["a", "s"], ["h"]),
        node("Concat", ["h", "x"], ["y"], axis=1),
    ]
    constants = {"m": weight, "s": i64(1, size)}
    outputs = {"y": (1, size + 2)}
    like_onnxruntime(written(tmp_path / "net.onnx", nodes, constants, inputs=(1, 2), outputs=outputs), 2, "MatMul")


SLOPES = (2.0**53, 1e16, 3e16, 1e17, 1e30, -1e17, 1e10, 1e-10, -1e-10, -3.0, 0.0, 1.0)


@pytest.mark.slow
@pytest.mark.parametrize("operator", ["PRelu", "LeakyRelu"])
@pytest.mark.parametrize("slope", SLOPES)
@pytest.mark.fewer(4)
def test_slopes_behind_a_relu_do_nothing(operator: str, slope: float, tmp_path: Path) -> None:
    nodes = [node("Relu", ["x"], ["r"]), leaky(operator, "r", slope), gemm()]
    path = written(tmp_path / "net.onnx", nodes, {"slope": f32([slope]), **head(MINUS, PLUS)})
    bracketed(path, [0.0], HALF, operator)


@pytest.mark.parametrize("operator", ["PRelu", "LeakyRelu"])
@pytest.mark.parametrize("slope", SLOPES)
@pytest.mark.fewer(5)
def test_slopes_left_of_zero(operator: str, slope: float, tmp_path: Path) -> None:
    # Left of 1/2 the value is slope·(x - 1/2): with 3/8 of the slope added, it ties with 0 at x = 1/8.
    nodes = [gemm("x", "h"), leaky(operator, "h", short(slope)), node("Gemm", ["t", "v", "c"], ["y"], transB=1)]
    constants = {"slope": f32([short(slope)]), "v": f32([[0], [1]]), "c": f32([0, 0.375 * short(slope)])}
    path = written(tmp_path / "net.onnx", nodes, {**constants, **head([[1]], [-0.5])})
    bracketed(path, [0.0], Fraction(1, 8) if slope else Fraction(0), operator)


def short(number: float) -> float:
    """A number of twelve bits, so that 3/8 of it is a float32 too."""
    mantissa, exponent = np.frexp(number)
    return float(np.ldexp(np.round(mantissa * 4096), exponent - 12))


def leaky(operator: str, source: str, slope: float) -> onnx.NodeProto:
    """Either operator with one slope."""
    if operator == "PRelu":
        return node("PRelu", [source, "slope"], ["t"])
    return node("LeakyRelu", [source], ["t"], alpha=slope)


def test_two_opsets_at_once_are_refused(tmp_path: Path) -> None:
    # A Softmax runs along one axis by the one, along all further axes by the other.
    path = written(tmp_path / "net.onnx", [gemm("x")], head(MINUS, PLUS))
    model = onnx.load(str(path))
    model.opset_import.append(onnx.helper.make_opsetid("ai.onnx", 12))
    onnx.save(model, str(path))
    refused(path, "12 and 17")


def test_a_local_function_named_relu_is_what_the_file_says(tmp_path: Path) -> None:
    opset = onnx.helper.make_opsetid("", 17)
    negated = onnx.helper.make_function("", "Relu", ["X"], ["Y"], [node("Neg", ["X"], ["Y"])], [opset])
    nodes = [gemm("x", "h"), node("Relu", ["h"], ["y"])]
    path = written(tmp_path / "net.onnx", nodes, head(MINUS, PLUS), functions=[negated])
    like_onnxruntime(path, 1, "Relu")


def calling(folder: Path, domain: str, function: onnx.FunctionProto) -> Path:
    """A file whose scores, negated so that a ReLU's slope shows, go through a local function."""
    nodes = [gemm("x", "h"), node(function.name, ["h"], ["y"], domain=domain)]
    path = written(folder / "net.onnx", nodes, head([[1], [-1]], [-1, 0]), functions=[function])
    model = onnx.load(str(path))
    model.opset_import.append(onnx.helper.make_opsetid(domain, 1))
    onnx.save(model, str(path))
    return path


def referring(attribute: str, kind: onnx.AttributeProto.AttributeType) -> onnx.AttributeProto:
    return onnx.AttributeProto(name=attribute, type=kind, ref_attr_name="given")


def test_a_function_by_the_name_of_an_operator_of_onnxruntime(tmp_path: Path) -> None:
    # onnxruntime executes its own QuickGelu, whatever the file says of it.
    opset = onnx.helper.make_opsetid("", 17)
    body = [node("Relu", ["X"], ["Y"])]
    refused(calling(tmp_path, "com.microsoft", onnx.helper.make_function(
        "com.microsoft", "QuickGelu", ["X"], ["Y"], body, [opset]
    )), "QuickGelu")  # fmt: skip


def test_a_default_of_a_functions_attribute(tmp_path: Path) -> None:
    # Written out, the default is lost and LeakyRelu's own slope takes its place.
    body = node("LeakyRelu", ["X"], ["Y"])
    body.attribute.append(referring("alpha", onnx.AttributeProto.FLOAT))
    function = onnx.helper.make_function(
        "own", "Leaky", ["X"], ["Y"], [body], [onnx.helper.make_opsetid("", 17)],
        attribute_protos=[onnx.helper.make_attribute("given", 0.75)],
    )  # fmt: skip
    refused(calling(tmp_path, "own", function), "Leaky")


def test_a_tensor_that_a_function_is_called_with(tmp_path: Path) -> None:
    # (x - 1, -x) + (2, 1): the scores 1 + x and 1 - x tie at 0, half a unit from the sample.
    made = node("Constant", [], ["C"])
    made.attribute.append(referring("value", onnx.AttributeProto.TENSOR))
    body = [made, node("Add", ["X", "C"], ["Y"])]
    opset = onnx.helper.make_opsetid("", 17)
    function = onnx.helper.make_function("own", "Shift", ["X"], ["Y"], body, [opset], attributes=["given"])
    path = calling(tmp_path, "own", function)
    model = onnx.load(str(path))
    model.graph.node[1].attribute.append(
        onnx.helper.make_attribute("given", onnx.numpy_helper.from_array(f32([2, 1]), "given"))
    )
    onnx.save(model, str(path))
    assert bracketed(path, [0.5], HALF, box=(-1.0, 1.0)) is not None


def test_functions_that_are_written_out_wrongly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    body = [node("Neg", ["X"], ["Y"])]
    function = onnx.helper.make_function("own", "Turn", ["X"], ["Y"], body, [onnx.helper.make_opsetid("", 17)])
    path = calling(tmp_path, "own", function)
    assert verifier.load(path).classes == 2

    def wrong(proto: onnx.ModelProto) -> onnx.ModelProto:
        found = onnx.ModelProto()
        found.CopyFrom(proto)
        del found.functions[:]
        found.graph.node[1].CopyFrom(node("Identity", ["h"], ["y"]))
        return found

    monkeypatch.setattr(onnx.inliner, "inline_local_functions", wrong)
    other = tmp_path / "other.onnx"
    other.write_bytes(path.read_bytes())
    refused(other, "local functions")


def test_subnormal_biases(tmp_path: Path) -> None:
    # 1e-40 - x against x.
    path = written(tmp_path / "net.onnx", [gemm("x")], head(MINUS, [1e-40, 0]))
    bracketed(path, [0.0], single(1e-40) / 2)


@pytest.mark.parametrize("first", [1e-30, 1e30])
def test_products_that_leave_the_range(first: float, tmp_path: Path) -> None:
    # Twelve times 1e-30, then twelve times 1e30, or the other way round: both scores alike, so the tie stays.
    nodes = [gemm("x", "h0")]
    nodes += [node("Mul", [f"h{k}", "a" if k < 12 else "c"], [f"h{k + 1}" if k < 23 else "y"]) for k in range(24)]
    constants = {"a": f32(first), "c": f32(1 / first), **head(MINUS, [0.6, 0])}
    path = written(tmp_path / "net.onnx", nodes, constants)
    bracketed(path, f32([0.1]), single(0.6) / 2 - single(0.1), "Mul", "finite", "range", "small")


def test_products_that_leave_the_range_under_a_relu(tmp_path: Path) -> None:
    # relu of 1e-360·(x - 1/2), scaled up again, is x - 1/2 right of 1/2: against 1/4 a tie at 3/4.
    nodes = [gemm("x", "h0")]
    nodes += [node("Mul", [f"h{k}", "a"], [f"h{k + 1}"]) for k in range(12)] + [node("Relu", ["h12"], ["r12"])]
    nodes += [node("Mul", [f"r{k}", "c"], [f"r{k + 1}"]) for k in range(12, 24)]
    nodes += [node("Gemm", ["r24", "v", "d"], ["y"], transB=1)]
    constants = {"a": f32(1e-30), "c": f32(1e30), **head([[1]], [-0.5]), "v": f32([[0], [1]]), "d": f32([0.25, 0])}
    path = written(tmp_path / "net.onnx", nodes, constants)
    scale = (single(1e-30) * single(1e30)) ** 12
    bracketed(path, [0.0], HALF + Fraction(1, 4) / scale, "Mul", "Relu", "finite", "range", "small")


@pytest.mark.parametrize("opset", [10, 17])
def test_a_limit_at_the_end_of_float32_is_none_where_no_value_is_as_large(opset: int, tmp_path: Path) -> None:
    # clip(1e10 x) 1e-38 + 1/10 against 5e-29 x: below the limit class 0 leads for ever; at 3.4e38 it stays, and loses.
    largest = float(np.finfo(np.float32).max)
    sides: dict[str, Any] = {"min": -largest, "max": largest} if opset < 11 else {}
    nodes = [
        node("Mul", ["x", "k"], ["t"]),
        node("Clip", ["t"] if opset < 11 else ["t", "low", "high"], ["u"], **sides),
        node("Concat", ["u", "x"], ["c"], axis=1),
        node("Gemm", ["c", "w", "b"], ["y"], transB=1),
    ]
    constants = {"k": f32(1e10), "low": f32(-largest), "high": f32(largest), **head([[1e-38, 0], [0, 5e-29]], [0.1, 0])}
    path = written(tmp_path / "net.onnx", nodes, constants, opset=opset)
    assert verifier.verify(path, [0.0], 1.0).verdict is verifier.Verdict.CERTIFIED
    with pytest.raises(PlumblineError, match="limits of a Clip"):
        verifier.verify(path, [0.0], 1e30, box=(0.0, 1e30))
