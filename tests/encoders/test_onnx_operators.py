"""Every operator against onnxruntime, on random inputs; refusals by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from encoders.errors import ModelError, PlumblineError, UnsupportedOperatorError
from encoders.onnx.model_file import read_model_file
from encoders.onnx.reader import describe, read
from tests.draws import examples
from verifier.question.model import Model, load

RNG = np.random.default_rng(7)
Array = NDArray[Any]
Step = tuple[str, list[Array | None], dict[str, Any]]


def f32(*shape: int) -> Array:
    return RNG.normal(size=shape).astype(np.float32)


def scalar(value: float) -> Array:
    return np.array(value, dtype=np.float32)


def i64(*values: int) -> Array:
    return np.array(values, dtype=np.int64)


def save(path: Path, shape: list[int | str], steps: list[Step], opset: int = 17, kind: int = TensorProto.FLOAT) -> Path:
    """A chain of nodes; each reads the one before it and its constants."""
    nodes, constants, name = [], [], "input"
    for k, (operator, inputs, attributes) in enumerate(steps):
        names = [name]
        for j, value in enumerate(inputs):
            if value is None:
                names.append("")
                continue
            constants.append(numpy_helper.from_array(np.ascontiguousarray(value), f"constant{k}_{j}"))
            names.append(f"constant{k}_{j}")
        name = f"value{k}"
        nodes.append(helper.make_node(operator, names, [name], name=f"step{k}", **attributes))
    sides = [helper.make_tensor_value_info("input", kind, shape), onnx.ValueInfoProto(name=name)]
    graph = helper.make_graph(nodes, "test", sides[:1], sides[1:], constants)
    return write(graph, path, opset)


def write(graph: onnx.GraphProto, path: Path, opset: int = 17) -> Path:
    """The file, with the output's shape inferred."""
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    model = onnx.shape_inference.infer_shapes(model)
    output = model.graph.output[0]
    if not output.type.tensor_type.HasField("shape"):  # the model is broken on purpose
        output.CopyFrom(helper.make_tensor_value_info(output.name, TensorProto.FLOAT, ["A", "B"]))
    onnx.save(model, str(path))
    return path


def check(path: Path, spread: float = 3.0) -> Model:
    """The graph in float64 and onnxruntime give the same scores."""
    model = load(path)
    inputs = RNG.uniform(-spread, spread, size=(20, model.graph.input_size)).astype(np.float32)
    expected, found = model.scores(inputs), model.graph.evaluate(inputs.astype(np.float64))
    assert np.abs(expected - found).max() <= 1e-4 * max(1.0, float(np.abs(expected).max()))
    assert np.abs(model.real(inputs.astype(np.float64)) - found).max() <= 1e-9 * max(1.0, float(np.abs(found).max()))
    return model


IMAGE: list[int | str] = ["N", 2, 6, 6]
CASES: dict[str, tuple[list[int | str], list[Step], int]] = {
    "gemm": (["N", 4], [("Gemm", [f32(4, 3), f32(3)], {"alpha": 0.5, "beta": 2.0})], 17),
    "gemm transposed": (["N", 4], [("Gemm", [f32(3, 4), f32(3)], {"transB": 1})], 17),
    "matmul add": (["N", 4], [("MatMul", [f32(4, 3)], {}), ("Add", [f32(3)], {})], 17),
    "matmul on rows": (["N", 3, 4], [("MatMul", [f32(4, 2)], {}), ("Flatten", [], {})], 17),
    "conv": (IMAGE, [("Conv", [f32(3, 2, 3, 3), f32(3)], {"pads": [1, 0, 2, 1], "strides": [2, 1]})], 17),
    "conv groups": (IMAGE, [("Conv", [f32(4, 1, 2, 2)], {"group": 2, "dilations": [2, 1]})], 17),
    "conv same": (IMAGE, [("Conv", [f32(3, 2, 3, 3)], {"auto_pad": "SAME_LOWER", "strides": [2, 2]})], 17),
    "conv 1d": (["N", 2, 9], [("Conv", [f32(3, 2, 3), f32(3)], {"pads": [1, 1], "strides": [2]})], 17),
    "batch norm": (IMAGE, [("Conv", [f32(3, 2, 3, 3)], {}), ("BatchNormalization", [f32(3), f32(3), f32(3), abs(f32(3)) + 0.1], {})], 17),  # noqa: E501
    "batch norm alone": (IMAGE, [("BatchNormalization", [f32(2), f32(2), f32(2), abs(f32(2)) + 0.1], {})], 9),
    "relu": (["N", 5], [("Relu", [], {}), ("Neg", [], {}), ("Relu", [], {})], 17),
    "leaky": (["N", 5], [("LeakyRelu", [], {"alpha": 0.3})], 7),
    "leaky negative": (["N", 5], [("LeakyRelu", [], {"alpha": -1.7})], 17),
    "prelu": (IMAGE, [("PRelu", [f32(2, 1, 1)], {})], 17),
    "clip inputs": (["N", 5], [("Clip", [scalar(-0.5), scalar(0.7)], {})], 17),
    "clip upper": (["N", 5], [("Clip", [None, scalar(0.7)], {})], 13),
    "clip attributes": (["N", 5], [("Clip", [], {"min": 0.0, "max": 6.0})], 7),
    "clip crossed": (["N", 5], [("Clip", [scalar(1.0), scalar(-1.0)], {}), ("Add", [f32(5)], {})], 17),
    "abs": (["N", 5], [("Abs", [], {})], 17),
    "hard sigmoid": (["N", 5], [("HardSigmoid", [], {"alpha": 0.3})], 17),
    "max constant": (["N", 5], [("Max", [f32(5)], {}), ("Min", [f32(1, 5), f32(5)], {})], 17),
    "max pool": (IMAGE, [("MaxPool", [], {"kernel_shape": [3, 2], "strides": [2, 2], "pads": [1, 0, 1, 1]})], 17),
    "max pool ceil": (IMAGE, [("MaxPool", [], {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1})], 17),
    "max pool dilated": (IMAGE, [("MaxPool", [], {"kernel_shape": [2, 2], "dilations": [2, 3]})], 17),
    "average pool": (IMAGE, [("AveragePool", [], {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "strides": [2, 2]})], 17),  # noqa: E501
    "average pool pads": (IMAGE, [("AveragePool", [], {"kernel_shape": [3, 3], "pads": [1, 1, 0, 0], "count_include_pad": 1})], 17),  # noqa: E501
    "global average": (IMAGE, [("GlobalAveragePool", [], {}), ("Flatten", [], {})], 17),
    "global max": (IMAGE, [("GlobalMaxPool", [], {}), ("Flatten", [], {})], 17),
    "normalisation": (IMAGE, [("Sub", [f32(2, 1, 1)], {}), ("Div", [abs(f32(1, 2, 1, 1)) + 0.5], {}), ("Mul", [f32(1)], {})], 17),  # noqa: E501
    "flatten": (IMAGE, [("Flatten", [], {"axis": 1}), ("Gemm", [f32(72, 3), f32(3)], {})], 9),
    "reshape": (IMAGE, [("Reshape", [i64(0, -1, 3)], {}), ("Transpose", [], {"perm": [0, 2, 1]})], 17),
    "squeeze": (["N", 1, 4, 1], [("Squeeze", [i64(1, 3)], {}), ("Unsqueeze", [i64(1)], {})], 13),
    "squeeze attributes": (["N", 1, 4, 1], [("Squeeze", [], {"axes": [1, 3]}), ("Unsqueeze", [], {"axes": [1]})], 11),
    "slice": (IMAGE, [("Slice", [i64(1, -1), i64(5, -7), i64(2, 3), i64(2, -2)], {})], 17),
    "slice attributes": (IMAGE, [("Slice", [], {"starts": [1], "ends": [4], "axes": [2]})], 9),
    "pad": (IMAGE, [("Pad", [i64(0, 0, 1, 0, 0, 0, 2, 1), scalar(0.75)], {})], 13),
    "pad attributes": (IMAGE, [("Pad", [], {"pads": [0, 0, 1, 0, 0, 0, 2, 1], "value": -1.0})], 9),
    "reduce mean": (IMAGE, [("ReduceMean", [], {"axes": [2, 3], "keepdims": 0})], 13),
    "reduce sum": (IMAGE, [("ReduceSum", [i64(1)], {}), ("Flatten", [], {})], 13),
    "gather": (IMAGE, [("Gather", [i64(1, 0, 3)], {"axis": 3})], 17),
    "identity": (["N", 5], [("Identity", [], {}), ("Dropout", [], {}), ("Cast", [], {"to": TensorProto.FLOAT})], 17),
    "no batch": ([5], [("Mul", [f32(5)], {}), ("Relu", [], {})], 17),
    "batch of one": ([1, 5], [("Gemm", [f32(5, 3)], {}), ("Reshape", [i64(1, 3)], {})], 17),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_operator(name: str, tmp_path: Path) -> None:
    shape, steps, opset = CASES[name]
    check(save(tmp_path / "net.onnx", shape, steps, opset))


@examples(60)
@given(
    st.integers(1, 3), st.integers(1, 3), st.integers(1, 2), st.integers(1, 2), st.integers(0, 2), st.integers(0, 2),
    st.sampled_from(["Conv", "MaxPool", "AveragePool"]),
)  # fmt: skip
def test_windows(
    tmp_path_factory: pytest.TempPathFactory,
    height: int, width: int, stride: int, dilation: int, top: int, right: int, operator: str,
) -> None:  # fmt: skip
    top, right = min(top, height - 1), min(right, width - 1)
    attributes: dict[str, Any] = {"strides": [stride, 1], "pads": [top, 0, 0, right], "dilations": [dilation, 1]}
    inputs: list[Array | None] = []
    if operator == "Conv":
        inputs.append(f32(2, 2, height, width))
    else:
        attributes["kernel_shape"] = [height, width]
    if operator == "AveragePool":
        del attributes["dilations"]
    check(save(tmp_path_factory.mktemp("nets") / "net.onnx", IMAGE, [(operator, inputs, attributes)]))


def test_residual_concat_split(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["a"]),
        helper.make_node("Split", ["a"], ["b", "c"], axis=1),
        helper.make_node("Sub", ["b", "c"], ["d"]),
        helper.make_node("Max", ["b", "d"], ["e"]),
        helper.make_node("Concat", ["e", "x", "k"], ["f"], axis=1),
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Gather", ["s", "zero"], ["n"]),
        helper.make_node("Concat", ["n", "minus"], ["t"], axis=0),
        helper.make_node("Reshape", ["f", "t"], ["y"]),
    ]
    constants = [
        numpy_helper.from_array(f32(1, 1), "k"),
        numpy_helper.from_array(i64(0), "zero"),
        numpy_helper.from_array(i64(-1), "minus"),
    ]
    sides = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4]), helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]  # fmt: skip  # noqa: E501
    graph = helper.make_graph(nodes, "test", sides[:1], sides[1:], constants)
    assert check(write(graph, tmp_path / "net.onnx")).classes == 7


@pytest.mark.parametrize(("operator", "opset"), [("Softmax", 17), ("LogSoftmax", 11), ("ArgMax", 13)])
def test_what_keeps_the_class_is_left_out(operator: str, opset: int, tmp_path: Path) -> None:
    attributes = {"axis": 1} | ({"keepdims": 0} if operator == "ArgMax" else {})
    path = save(tmp_path / "net.onnx", ["N", 4], [("Gemm", [f32(4, 3)], {}), (operator, [], attributes)], opset)
    model = check(path)
    assert model.classes == 3
    assert operator in model.graph.notes[0]


def test_double_precision(tmp_path: Path) -> None:
    weight = RNG.normal(size=(4, 3))
    check(save(tmp_path / "net.onnx", ["N", 4], [("MatMul", [weight], {})], kind=TensorProto.DOUBLE))


def test_every_refusal_is_listed(tmp_path: Path) -> None:
    path = save(tmp_path / "net.onnx", ["N", 4], [("Sigmoid", [], {}), ("Gemm", [f32(4, 3)], {})])
    with pytest.raises(UnsupportedOperatorError, match=r"step0.*Sigmoid.*\[input\]"):
        read(path)
    assert "Sigmoid" in describe(read_model_file(path)).unsupported[0]


def bad_weight(value: float) -> list[Step]:
    weight = f32(4, 3)
    weight[1, 2] = value
    return [("Gemm", [weight], {})]


@pytest.mark.parametrize(
    ("shape", "steps", "words"),
    [
        (["N", 4], bad_weight(np.nan), "NaN or infinite"),
        (["N", 4], bad_weight(np.inf), "NaN or infinite"),
        (["N", "M"], [("Relu", [], {})], "only the leading"),
        (["N", 4], [("Expand", [i64(1 << 20, 1 << 20, 4)], {})], "entries allowed"),
        (["N", 4], [("Gemm", [f32(5, 3)], {})], "do not multiply"),
        (["N", 4], [("Expand", [i64(3, 5)], {})], "Incompatible dimensions"),
        ([7, 4], [("Relu", [], {})], "samples at a time"),
    ],
)
def test_bad_models(shape: list[int | str], steps: list[Step], words: str, tmp_path: Path) -> None:
    path = save(tmp_path / "net.onnx", shape, steps)
    with pytest.raises(ModelError, match=words) as caught:
        read(path)
    assert "\n" not in str(caught.value)
    assert "net.onnx" in str(caught.value)


def test_broken_files(tmp_path: Path) -> None:
    whole = save(tmp_path / "whole.onnx", ["N", 4], [("Gemm", [f32(4, 3)], {})]).read_bytes()
    for name, content in {"empty": b"", "text": b"hello", "cut": whole[:-40], "half": whole[: len(whole) // 2]}.items():
        path = tmp_path / f"{name}.onnx"
        path.write_bytes(content)
        with pytest.raises(PlumblineError) as caught:
            read(path)
        assert "\n" not in str(caught.value)
    for path in (tmp_path, tmp_path / "missing.onnx"):
        with pytest.raises(ModelError, match="no such model file"):
            load(path)


@pytest.mark.parametrize(
    ("location", "words"), [("../secret.bin", "outside the model's folder"), ("gone.bin", "missing"), ("short.bin", "holds")]  # noqa: E501
)  # fmt: skip
def test_external_data(location: str, words: str, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "secret.bin").write_bytes(bytes(48))
    (folder / "short.bin").write_bytes(bytes(8))
    path = save(folder / "net.onnx", ["N", 4], [("Gemm", [f32(4, 3)], {})])
    proto = onnx.load(str(path))
    tensor = proto.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    path.write_bytes(proto.SerializeToString())
    with pytest.raises(ModelError, match=words):
        read(path)


def test_a_tensor_that_lies_about_its_size(tmp_path: Path) -> None:
    path = save(tmp_path / "net.onnx", ["N", 4], [("Gemm", [f32(4, 3)], {})])
    proto = onnx.load(str(path))
    proto.graph.initializer[0].dims[:] = [1 << 30, 1 << 30]
    path.write_bytes(proto.SerializeToString())
    with pytest.raises(ModelError, match="larger than"):
        read(path)
