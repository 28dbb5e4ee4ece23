"""Forms of operators found in public nets and exports: each is read, and agrees with onnxruntime; or is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from encoders.errors import ModelError, UnsupportedOperatorError
from verifier.question.model import Model, load

Array = NDArray[Any]
RNG = np.random.default_rng(3)


def f32(*shape: int) -> Array:
    return RNG.normal(size=shape).astype(np.float32)


def i64(*values: int) -> Array:
    return np.array(values, dtype=np.int64)


def floats(*values: float) -> Array:
    return np.array(values, dtype=np.float32)


def scalar(value: float) -> Array:
    return np.array(value, dtype=np.float32)


def saved(path: Path, shape: list[int], nodes: list[onnx.NodeProto], constants: dict[str, Array], opset: int) -> Path:
    """A file from `x` to `y`, flattened to `z`."""
    nodes = [*nodes, helper.make_node("Flatten", ["y"], ["z"], axis=0)]
    sides = [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape), onnx.ValueInfoProto(name="z")]
    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "net", sides[:1], sides[1:], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    model = onnx.shape_inference.infer_shapes(model)
    if not model.graph.output[0].type.tensor_type.HasField("elem_type"):
        model.graph.output[0].CopyFrom(helper.make_tensor_value_info("z", TensorProto.FLOAT, [1, "C"]))
    onnx.save(model, str(path))
    return path


def node(operator: str, inputs: str, **attributes: Any) -> onnx.NodeProto:
    """A node from the named inputs ("-" for one left out) to `y`."""
    names = ["" if name == "-" else name for name in inputs.split()]
    return helper.make_node(operator, names, ["y"], name="it", **attributes)


Form = tuple[list[int], onnx.NodeProto, dict[str, Array], int]
FORMS: dict[str, Form] = {
    "constant matrix on the left": ([1, 6, 1], node("MatMul", "w x"), {"w": f32(4, 6)}, 17),
    "constant stack on the left": ([2, 6, 2], node("MatMul", "w x"), {"w": f32(2, 4, 6)}, 17),
    "constant vector on the left": ([1, 6, 2], node("MatMul", "w x"), {"w": f32(6)}, 17),
    "stack on the right": ([1, 3, 6], node("MatMul", "x w"), {"w": f32(2, 6, 4)}, 17),
    "one matrix as a stack": ([1, 6], node("MatMul", "x w"), {"w": f32(1, 6, 4)}, 17),
    "gemm with the constant first": ([1, 3], node("Gemm", "w x c", alpha=0.5), {"w": f32(4, 1), "c": f32(3)}, 17),
    "transposed convolution": ([1, 2, 4, 5],
        node("ConvTranspose", "x w b", strides=[2, 1], pads=[1, 0, 0, 1]),
        {"w": f32(2, 3, 3, 2), "b": f32(3)}, 17),
    "transposed, padded out": ([1, 2, 4],
        node("ConvTranspose", "x w", strides=[3], output_padding=[2]), {"w": f32(2, 3, 3)}, 17),
    "transposed in groups": ([1, 4, 3, 3],
        node("ConvTranspose", "x w", group=2, dilations=[2, 1]), {"w": f32(4, 2, 2, 2)}, 17),
    "transposed to a shape": ([1, 1, 3, 3],
        node("ConvTranspose", "x w", strides=[3, 2], output_shape=[10, 8]), {"w": f32(1, 2, 3, 3)}, 17),
    "transposed as large": ([1, 1, 3, 4],
        node("ConvTranspose", "x w", strides=[2, 2], auto_pad="SAME_UPPER"), {"w": f32(1, 2, 3, 3)}, 17),
    "resize to nearest": ([1, 2, 3, 3], node("Resize", "x - s"), {"s": floats(1, 1, 2, 1.5)}, 13),
    "resize linearly": ([1, 2, 3, 4], node("Resize", "x - s", mode="linear"), {"s": floats(1, 1, 2, 1.7)}, 13),
    "resize to sizes": ([1, 2, 3, 4],
        node("Resize", "x - - n", mode="linear", coordinate_transformation_mode="align_corners"),
        {"n": i64(1, 2, 5, 6)}, 17),
    "resize, opset 10": ([1, 1, 3, 3], node("Resize", "x s", mode="nearest"), {"s": floats(1, 1, 2, 2)}, 10),
    "upsample": ([1, 2, 2, 3], node("Upsample", "x s", mode="nearest"), {"s": floats(1, 1, 2, 3)}, 9),
    "upsample linearly": ([1, 1, 2, 3], node("Upsample", "x s", mode="linear"), {"s": floats(1, 1, 2, 3)}, 9),
    "tile": ([1, 2, 3], node("Tile", "x n"), {"n": i64(1, 3, 2)}, 13),
    "einsum": ([1, 3, 4], node("Einsum", "x w", equation="bij,jk->bik"), {"w": f32(4, 2)}, 17),
    "einsum, constant first": ([1, 4, 3], node("Einsum", "w x", equation="kj,bji->bki"), {"w": f32(2, 4)}, 17),
    "einsum of one": ([1, 3, 4], node("Einsum", "x", equation="bij->bji"), {}, 17),
    "cumulative sum": ([1, 5], node("CumSum", "x a"), {"a": np.array(1)}, 14),
    "cumulative sum backwards": ([1, 2, 5], node("CumSum", "x a", reverse=1, exclusive=1), {"a": np.array(-1)}, 14),
    "pad by reflection": ([1, 2, 4, 4], node("Pad", "x p", mode="reflect"), {"p": i64(0, 0, 1, 2, 0, 0, 3, 1)}, 17),
    "pad by the edge": ([1, 2, 3, 3], node("Pad", "x p", mode="edge"), {"p": i64(0, 0, 1, 2, 0, 0, 3, 1)}, 17),
    "pad around": ([1, 2, 3, 3], node("Pad", "x p", mode="wrap"), {"p": i64(0, 0, 1, 2, 0, 0, 3, 1)}, 19),
    "pad by less than nothing": ([1, 2, 4, 4],
        node("Pad", "x p v"), {"p": i64(0, 0, -1, 2, 0, 0, 1, -2), "v": scalar(0.5)}, 17),
    "pad by an attribute": ([1, 2, 4], node("Pad", "x", pads=[0, 0, 1, 0, 0, 2], value=0.5), {}, 10),
    "pad some axes": ([1, 2, 4], node("Pad", "x p v a"), {"p": i64(1, 2), "v": scalar(-0.5), "a": i64(-1)}, 18),
    "convolution in space": ([1, 2, 3, 4, 3],
        node("Conv", "x w b", pads=[1, 0, 1, 0, 1, 1], strides=[1, 2, 1]),
        {"w": f32(3, 2, 2, 2, 2), "b": f32(3)}, 17),
    "pooling in space": ([1, 2, 4, 4, 4], node("MaxPool", "x", kernel_shape=[2, 2, 2], strides=[2, 1, 2]), {}, 17),
    "averages in space": ([1, 1, 4, 4, 4],
        node("AveragePool", "x", kernel_shape=[2, 3, 2], pads=[1, 0, 0, 0, 1, 1]), {}, 17),
    "greatest along an axis": ([1, 3, 4], node("ReduceMax", "x", axes=[1], keepdims=0), {}, 17),
    "least along axes": ([1, 3, 4], node("ReduceMin", "x a"), {"a": i64(-1)}, 18),
    "sum of sizes": ([1, 3, 4], node("ReduceL1", "x", axes=[2]), {}, 17),
    "max of several": ([1, 3, 4], node("Max", "x c d x"), {"c": f32(4), "d": f32(3, 1)}, 17),
    "min of several": ([1, 3, 4], node("Min", "c x d"), {"c": f32(4), "d": f32(1)}, 17),
    "mean of several": ([1, 4], node("Mean", "x c x"), {"c": f32(4)}, 13),
    "pixel shuffle": ([1, 8, 2, 3], node("DepthToSpace", "x", blocksize=2, mode="CRD"), {}, 17),
    "pixels to depth": ([1, 2, 4, 6], node("SpaceToDepth", "x", blocksize=2), {}, 17),
    "scatter by index": ([1, 3, 4], node("ScatterND", "x i u"), {"i": i64(0, 1)[None], "u": f32(1, 4)}, 17),
    "scatter into a constant": ([1, 2], node("ScatterND", "c i x"), {"c": f32(3, 2), "i": np.array([[2]])}, 17),
    "scatter elements": ([1, 4],
        node("ScatterElements", "x i u", axis=1), {"i": np.array([[3, 1]]), "u": f32(1, 2)}, 17),
    "gather by index": ([1, 3, 4], node("GatherND", "x i"), {"i": np.array([[0, 2], [0, 0]])}, 17),
    "gather elements": ([1, 3, 2], node("GatherElements", "x i", axis=1), {"i": np.array([[[2, 0], [1, 1]]])}, 17),
    "where": ([1, 2, 3], node("Where", "b x c"), {"b": np.array([True, False, True]), "c": f32(1)}, 17),
    "where not": ([1, 2, 3], node("Where", "b c x"), {"b": np.array([[True], [False]]), "c": f32(2, 3)}, 17),
    "upper triangle": ([1, 3, 3], node("Trilu", "x", upper=0), {}, 17),
    "compress": ([1, 4], node("Compress", "x b", axis=1), {"b": np.array([True, False, True, True])}, 17),
    "slope after a ReLU": ([1, 4], node("LeakyRelu", "x", alpha=1e-10), {}, 17),
}  # fmt: skip

REFUSED: dict[str, tuple[list[int], onnx.NodeProto, dict[str, Array], int, str]] = {
    "elu": ([1, 4], node("Elu", "x"), {}, 17, "smooth"),
    "selu": ([1, 4], node("Selu", "x"), {}, 17, "smooth"),
    "celu": ([1, 4], node("Celu", "x"), {}, 17, "smooth"),
    "hard swish": ([1, 4], node("HardSwish", "x"), {}, 17, "x times a hard sigmoid"),
    "product": ([1, 4], node("Mul", "x x"), {}, 17, "product of two values"),
    "quotient": ([1, 4], node("Div", "c x"), {"c": f32(4)}, 17, "division by a value"),
    "cubic": ([1, 1, 4, 4], node("Resize", "x - s", mode="cubic"), {"s": floats(1, 1, 2, 2)}, 13, "cubic"),
    "jump": ([1, 4], node("Sign", "x"), {}, 17, "jumps"),
    "scatter sums": ([1, 4], node("ScatterElements", "x i u", axis=1, reduction="add"), {"i": np.array([[3, 1]]), "u": f32(1, 2)}, 17, "reduction"),  # noqa: E501
    "einsum of two": ([1, 3, 3], node("Einsum", "x x", equation="bij,bjk->bik"), {}, 17, "depend on the input"),
    "einsum that cancels": ([1, 3], node("Einsum", "x w", equation="bi,jk->bi"), {"w": np.array([[1.0, -1.0], [1e-8, 1.0]], dtype=np.float32)}, 17, "cancel"),  # noqa: E501
}  # fmt: skip


@pytest.mark.parametrize("name", FORMS)
def test_a_form_is_read_and_agrees(name: str, tmp_path: Path) -> None:
    shape, made, constants, opset = FORMS[name]
    model: Model = load(saved(tmp_path / "net.onnx", shape, [made], constants, opset))
    x = RNG.uniform(-2.0, 2.0, size=(20, int(np.prod(shape)))).astype(np.float32)
    real, executed = model.real(x.astype(np.float64)), model.scores(x)
    assert np.abs(real - executed).max() <= 1e-5 * max(1.0, float(np.abs(executed).max()))


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_piecewise_linear_is_refused_as_such(name: str, tmp_path: Path) -> None:
    shape, made, constants, opset, why = REFUSED[name]
    with pytest.raises(UnsupportedOperatorError, match=why) as caught:
        load(saved(tmp_path / "net.onnx", shape, [made], constants, opset))
    assert made.op_type in str(caught.value)


@pytest.mark.parametrize("operator", ["MaxPool", "AveragePool"])
def test_windows_too_large_to_build_are_refused_with_their_size(operator: str, tmp_path: Path) -> None:
    made = node(operator, "x", kernel_shape=[60, 80], pads=[59, 79, 59, 79])
    with pytest.raises(ModelError, match=r"windows of \(60, 80\).*entries"):
        load(saved(tmp_path / "net.onnx", [1, 1, 60, 80], [made], {}, 17))
