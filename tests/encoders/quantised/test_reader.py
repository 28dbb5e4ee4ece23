"""Every form that onnxruntime's quantiser writes, read and replayed to the bit; what has another form is refused."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from encoders.errors import ModelError, UnsupportedOperatorError
from encoders.onnx.model_file import read_model_file
from encoders.quantised.file import is_quantised, read_quantised
from tests.int8_builder import Int8Layer, random_int8, write_int8
from tests.test_trust_int8 import scores_of
from trainers.digits_nets import DIRECTORY
from verifier.checker import UncheckableError
from verifier.checker.int8_file import read_int8

Edit = Callable[[onnx.ModelProto], None]


def plain(kind: str, path: Path, rng: np.random.Generator) -> tuple[int, ...]:
    """A small float net: `gemm`, `matmul`, `conv` or `pool`. Returns the input's shape."""
    shapes = {"gemm": (6,), "matmul": (6,), "conv": (2, 4, 4), "pool": (2, 4, 4)}
    layers: dict[str, list[tuple[str, list[str], dict[str, Any]]]] = {
        "gemm": [("Gemm", ["input", "A", "a"], {"transB": 1}), ("Relu", [], {}), ("Gemm", ["B", "b"], {"transB": 1})],
        "matmul": [("MatMul", ["input", "C"], {}), ("Relu", [], {}), ("MatMul", ["D"], {})],
        "conv": [
            ("Conv", ["input", "K", "k"], {"pads": [1, 0, 1, 1], "strides": [2, 1], "group": 2}),
            ("Relu", [], {}), ("Flatten", [], {}), ("Gemm", ["E", "b"], {"transB": 1}),
        ],
        "pool": [
            ("Conv", ["input", "K", "k"], {"pads": [1, 1, 1, 1], "group": 2}),
            ("MaxPool", [], {"kernel_shape": [2, 2], "strides": [2, 2]}),
            ("Flatten", [], {}), ("Gemm", ["F", "b"], {"transB": 1}),
        ],
    }  # fmt: skip
    nodes = layers[kind]
    sizes = {"A": (5, 6), "a": (5,), "B": (3, 5), "b": (3,), "C": (6, 5), "D": (5, 3), "K": (4, 1, 3, 3), "k": (4,)}
    sizes |= {"E": (3, 24), "F": (3, 16)}
    made, before = [], "input"
    for k, (operator, inputs, attributes) in enumerate(nodes):
        after = "scores" if k == len(nodes) - 1 else f"t{k}"
        inputs = inputs if inputs[:1] == ["input"] else [before, *inputs]
        made.append(helper.make_node(operator, inputs, [after], name=f"n{k}", **attributes))
        before = after
    used = {name for node in made for name in node.input}
    held = [numpy_helper.from_array(rng.normal(size=s).astype(np.float32), n) for n, s in sizes.items() if n in used]
    sides = [
        helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", *shapes[kind]]),
        helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", 3]),
    ]
    graph = helper.make_graph(made, "plain", sides[:1], sides[1:], held)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), str(path))
    return shapes[kind]


class Calibration:
    def __init__(self, rows: NDArray[np.float32]) -> None:
        self.rows: Iterator[NDArray[np.float32]] = iter(rows)

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        row = next(self.rows, None)
        return None if row is None else {"input": row[None]}


def quantised(kind: str, folder: Path, form: str, levels: str, per_channel: bool, narrow: bool = True) -> Path:
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    rng = np.random.default_rng(3)
    before, path = folder / "plain.onnx", folder / "int8.onnx"
    shape = plain(kind, before, rng)
    rows = rng.random((20, *shape)).astype(np.float32)
    logging.disable(logging.WARNING)
    try:
        quantize_static(
            before, path, Calibration(rows), quant_format=QuantFormat[form], activation_type=QuantType[levels],
            weight_type=QuantType.QInt8, per_channel=per_channel, reduce_range=narrow,
        )  # fmt: skip
    finally:
        logging.disable(logging.NOTSET)
    return path


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("levels", ["QUInt8", "QInt8"])
@pytest.mark.parametrize("form", ["QDQ", "QOperator"])
@pytest.mark.parametrize("kind", ["gemm", "matmul", "conv"])
@pytest.mark.fewer
def test_each_form_replays_to_the_bit(kind: str, form: str, levels: str, per_channel: bool, tmp_path: Path) -> None:
    path = quantised(kind, tmp_path, form, levels, per_channel)
    net = read_quantised(path)
    assert len(np.unique(net.layers[0].factor)) == (1 if not per_channel else (4 if kind == "conv" else 5))
    rng = np.random.default_rng(0)
    x = rng.uniform(-0.3, 1.3, (2000, net.inputs)).astype(np.float32)
    shape = (-1, 2, 4, 4) if kind == "conv" else (-1, net.inputs)
    np.testing.assert_array_equal(net.scores(x), scores_of(path, x.reshape(shape)))


def test_random_nets_replay_to_the_bit(tmp_path: Path) -> None:
    """Scales that are powers of two (halves), saturation at both ends, zero points anywhere, ReLUs before a scale."""
    for seed in range(60):
        rng = np.random.default_rng(seed)
        path = random_int8(rng, tmp_path / f"{seed}.onnx")
        net = read_quantised(path)
        low, high = net.layers[0].source.values(np.array([-20, 275])).tolist()
        x = rng.uniform(low, high, (300, net.inputs)).astype(np.float32)
        np.testing.assert_array_equal(net.scores(x), scores_of(path, x))


def test_what_is_quantised() -> None:
    assert is_quantised(read_model_file(DIRECTORY / "digits-int8.onnx"))
    assert not is_quantised(read_model_file(DIRECTORY / "digits-64-32-32-10.onnx"))


def test_pooling_and_wide_weights_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedOperatorError, match=r"'n1' \(MaxPool\)"):
        read_quantised(quantised("pool", tmp_path, "QDQ", "QUInt8", False))
    with pytest.raises(
        UnsupportedOperatorError, match=r"'n0' \(Gemm\).*may be computed with saturating 16-bit sums on some CPUs"
    ):
        read_quantised(quantised("gemm", tmp_path, "QDQ", "QUInt8", False, narrow=False))


def rescaled(name: str, factor: float) -> Edit:
    def edit(model: onnx.ModelProto) -> None:
        for tensor in model.graph.initializer:
            if tensor.name == name:
                value = numpy_helper.to_array(tensor)
                tensor.CopyFrom(numpy_helper.from_array((value * factor).astype(value.dtype), name))

    return edit


def redirected(k: int, place: int, name: str) -> Edit:
    def edit(model: onnx.ModelProto) -> None:
        model.graph.node[k].input[place] = name

    return edit


@pytest.mark.parametrize(
    ("edit", "match"),
    [
        (rescaled("c1", 1.5), "bias has another scale"),
        (rescaled("u1", 0.0), "another scale|range"),
        (redirected(1, 1, "s1"), "another scale than it was quantised by"),
        (redirected(1, 2, "s1"), "zero point is float32"),
        (redirected(4, 2, "x0"), "read more than once"),
    ],
)
def test_other_forms_are_refused(edit: Edit, match: str, tmp_path: Path) -> None:
    ones = Int8Layer(np.array([[3, 1], [1, 2]]), np.array([1, 0]), np.array([0.5], np.float32), 0.5)
    path = write_int8([ones, ones], tmp_path / "net.onnx", 1 / 4)
    model = onnx.load(path)
    edit(model)
    onnx.save(model, path)
    with pytest.raises((UnsupportedOperatorError, ModelError), match=match):
        read_quantised(path)


def without_zero_points(model: onnx.ModelProto) -> None:
    del model.graph.node[2].input[2]


def with_constants_among_inputs(model: onnx.ModelProto) -> None:
    for one in model.graph.initializer:
        model.graph.input.append(helper.make_tensor_value_info(one.name, one.data_type, one.dims))


def with_flattened_levels(model: onnx.ModelProto) -> None:
    nodes = model.graph.node
    nodes[0].output[0] = "before"
    nodes.insert(1, helper.make_node("Flatten", ["before"], ["q0"]))


def with_levels_of_two_types(model: onnx.ModelProto) -> None:
    nodes = model.graph.node
    nodes[5].output[0] = "before"
    nodes.insert(6, helper.make_node("Flatten", ["before"], ["q1"]))
    zero = next(one for one in model.graph.initializer if one.name == "z0")
    zero.CopyFrom(numpy_helper.from_array(np.array(128, np.uint8), "z0"))


def with_both_forms(model: onnx.ModelProto) -> None:
    nodes = model.graph.node
    first, last = [*nodes[:6]], nodes[-1]
    second = helper.make_node(
        "QGemm", ["q1", "s1", "z1", "W2", "u2", "v2", "B2", "s2", "z2"], ["q2"], domain="com.microsoft", transB=1
    )
    del nodes[:]
    nodes.extend([*first, second, last])


UNFUSED = [
    without_zero_points, with_constants_among_inputs, with_flattened_levels, with_levels_of_two_types,
    with_both_forms,
]  # fmt: skip


def unfused(edit: Edit, folder: Path) -> Path:
    """A QDQ file of int8 levels in which onnxruntime executes a layer in float32."""
    layer = Int8Layer(np.array([[3, 1], [1, 2]]), np.array([1, 0]), np.array([0.5], np.float32), 0.5, -128)
    relu = edit is with_constants_among_inputs  # which is fused as well, where its zero point is a constant
    path = write_int8([layer, layer], folder / "net.onnx", 1 / 4, kind="int8", relu=relu)
    model, optimised = onnx.load(path), folder / "optimised.onnx"
    edit(model)
    onnx.save(model, path)
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(optimised)
    onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    assert {"Gemm", "FusedGemm"}.intersection(node.op_type for node in onnx.load(optimised).graph.node)
    return path


@pytest.mark.parametrize("edit", UNFUSED)
def test_what_is_not_fused_is_refused(edit: Edit, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedOperatorError, match=r"float32|may not fuse"):
        read_quantised(unfused(edit, tmp_path))


@pytest.mark.parametrize(("name", "by", "match"), [("s0", 2.0**122, "below 2"), ("u1", 2.0**-126, "range")])
def test_scales_of_which_products_leave_float32_are_refused(name: str, by: float, match: str, tmp_path: Path) -> None:
    layer = Int8Layer(np.array([[3, 1], [1, 2]]), np.array([1, 0]), np.array([0.5], np.float32), 0.5)
    path = write_int8([layer], tmp_path / "net.onnx", 1 / 4, form="QOperator")
    model = onnx.load(path)
    rescaled(name, by)(model)
    onnx.save(model, path)
    with pytest.raises(UnsupportedOperatorError, match=match):
        read_quantised(path)
    with pytest.raises(UncheckableError, match=f"{match}|product"):
        read_int8(path.read_bytes(), {})


def test_sums_that_float32_would_round_are_refused(tmp_path: Path) -> None:
    large = Int8Layer(np.array([[3, 1]]), np.array([2**24]), np.array([0.5], np.float32), 0.25)
    with pytest.raises(UnsupportedOperatorError, match=r"2\^24"):
        read_quantised(write_int8([large], tmp_path / "net.onnx", 1 / 4))
