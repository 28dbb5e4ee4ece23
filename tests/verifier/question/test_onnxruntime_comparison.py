"""The comparison at load: what reads right passes, and a reader with a fault injected is caught by it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from encoders.errors import ModelError
from encoders.onnx import operators
from encoders.onnx.node import Call, Operator, Value
from verifier.question.model import load

Array = NDArray[Any]
RNG = np.random.default_rng(11)


def f32(*shape: int) -> Array:
    return RNG.normal(size=shape).astype(np.float32)


def i64(*values: int) -> Array:
    return np.array(values, dtype=np.int64)


def net(
    path: Path, shape: list[int | str], operator: str, constants: list[Array], opset: int = 17, **more: Any
) -> Path:
    """One operator between an affine layer that leaves no entry special, and a flattening."""
    size = int(np.prod([n for n in shape if isinstance(n, int)]))
    held = {"scale": 1.0 + 0.1 * np.arange(size, dtype=np.float32).reshape([n for n in shape if isinstance(n, int)])}
    names = []
    for k, value in enumerate(constants):
        held[f"c{k}"] = value
        names.append(f"c{k}")
    nodes = [
        helper.make_node("Mul", ["x", "scale"], ["a"], name="first"),
        helper.make_node(operator, ["a", *names], ["b"], name="suspect", **more),
        helper.make_node("Flatten", ["b"], ["y"], name="last"),
    ]
    sides = [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape), onnx.ValueInfoProto(name="y")]
    tensors = [numpy_helper.from_array(value, name) for name, value in held.items()]
    graph = helper.make_graph(nodes, "net", sides[:1], sides[1:], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.save(onnx.shape_inference.infer_shapes(model), str(path))
    return path


IMAGE: list[int | str] = [1, 2, 6, 6]
NETS: dict[str, tuple[list[int | str], str, list[Array], dict[str, Any]]] = {
    "gemm": ([1, 6], "Gemm", [f32(6, 6), f32(6)], {"alpha": 0.5}),
    "conv": (IMAGE, "Conv", [f32(4, 1, 3, 3), f32(4)], {"group": 2, "pads": [0, 1, 1, 0], "strides": [2, 1]}),
    "transposed": (IMAGE, "ConvTranspose", [f32(2, 3, 2, 3)], {"strides": [2, 1], "pads": [1, 0, 0, 1]}),
    "average": (IMAGE, "AveragePool", [], {"kernel_shape": [3, 2], "pads": [1, 0, 0, 1], "strides": [1, 2]}),
    "largest": (IMAGE, "MaxPool", [], {"kernel_shape": [3, 2], "pads": [1, 0, 0, 1], "strides": [1, 2]}),
    "norm": (IMAGE, "BatchNormalization", [f32(2), f32(2), f32(2), np.abs(f32(2)) + 0.1], {"epsilon": 0.03125}),
    "leaky": ([1, 6], "LeakyRelu", [], {"alpha": 0.3}),
    "leaky default": ([1, 6], "LeakyRelu", [], {}),
    "hard": ([1, 6], "HardSigmoid", [], {"alpha": 0.3, "beta": 0.25}),
    "transpose": ([1, 3, 4], "Transpose", [], {"perm": [0, 2, 1]}),
    "reduce": ([1, 3, 4], "ReduceMean", [], {"axes": [1]}),
    "greatest": ([1, 3, 4], "ReduceMax", [], {"axes": [2]}),
    "gather": ([1, 3, 4], "Gather", [i64(2, 0)], {"axis": 1}),
    "space": ([1, 8, 2, 2], "DepthToSpace", [], {"blocksize": 2, "mode": "CRD"}),
    "sum": ([1, 6], "CumSum", [np.array(1)], {"reverse": 1}),
}

Change = Callable[[dict[str, Any]], dict[str, Any]]


def attribute(**changed: Any) -> Change:
    return lambda given: {**given, **changed}


FAULTS: list[tuple[str, Change]] = [
    ("gemm", attribute(alpha=-0.5)),
    ("gemm", attribute(transB=1)),
    ("gemm", attribute(alpha=0.500001)),
    ("conv", attribute(pads=[1, 0, 0, 1])),
    ("conv", attribute(pads=[0, 1, 0, 1])),
    ("conv", attribute(strides=[1, 2])),
    ("conv", attribute(dilations=[1, 2])),
    ("conv", attribute(auto_pad="SAME_UPPER")),
    ("transposed", attribute(pads=[0, 1, 1, 0])),
    ("transposed", attribute(strides=[1, 2])),
    ("average", attribute(count_include_pad=1)),
    ("average", attribute(pads=[0, 1, 1, 0])),
    ("average", attribute(strides=[2, 1])),
    ("average", attribute(kernel_shape=[2, 3])),
    ("largest", attribute(pads=[0, 1, 1, 0])),
    ("largest", attribute(strides=[2, 1])),
    ("norm", attribute(epsilon=1e-5)),
    ("leaky", attribute(alpha=0.01)),
    ("leaky", attribute(alpha=-0.3)),
    ("leaky default", attribute(alpha=0.0100001)),
    ("hard", attribute(beta=0.5)),
    ("hard", attribute(alpha=0.2)),
    ("transpose", attribute(perm=[0, 1, 2])),
    ("reduce", attribute(axes=[2])),
    ("greatest", attribute(axes=[1])),
    ("gather", attribute(axis=2)),
    ("space", attribute(mode="DCR")),
    ("sum", attribute(reverse=0)),
    ("sum", attribute(exclusive=1)),
]


@pytest.mark.parametrize("name", NETS)
def test_what_is_read_right_passes(name: str, tmp_path: Path) -> None:
    shape, operator, constants, more = NETS[name]
    compared = load(net(tmp_path / "net.onnx", shape, operator, constants, **more)).comparison
    assert compared is not None
    assert compared.difference <= compared.allowed < 1e-2


@pytest.mark.parametrize("fault", range(len(FAULTS)), ids=lambda k: f"{FAULTS[k][0]}{k}")
def test_an_operator_read_wrong_is_caught(fault: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name, change = FAULTS[fault]
    shape, operator, constants, more = NETS[name]
    genuine: Operator = operators.OPERATORS[operator]

    def wrong(call: Call) -> Value | tuple[Value, ...]:
        changed = change(dict(call.attributes))
        node = helper.make_node(operator, list(call.node.input), list(call.node.output), name=call.node.name)
        known = onnx.defs.get_schema(operator, call.opset).attributes
        given = {key: value for key, value in changed.items() if key in known and value is not None}
        node.attribute.extend(helper.make_attribute(key, value) for key, value in given.items())
        return genuine(replace(call, node=node, attributes=changed))

    monkeypatch.setitem(operators.OPERATORS, operator, wrong)
    with pytest.raises(ModelError, match="suspect") as caught:
        load(net(tmp_path / f"net{fault}.onnx", shape, operator, constants, **more))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("operator", "swapped"), [("Max", "Min"), ("Add", "Sub"), ("Mul", "Div"), ("Sub", "Add")])
def test_an_operator_taken_for_another_is_caught(
    operator: str, swapped: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(operators.OPERATORS, operator, operators.OPERATORS[swapped])
    if operator == "Mul":  # the first node of every net here: it is the one that is named
        with pytest.raises(ModelError, match="first"):
            load(net(tmp_path / "net.onnx", [1, 6], "Relu", []))
        return
    with pytest.raises(ModelError, match="suspect"):
        load(net(tmp_path / "net.onnx", [1, 6], operator, [f32(6)]))


def test_a_fault_behind_dead_neurons_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong tensor that the scores do not show: every operator is compared by itself."""
    nodes = [
        helper.make_node("Transpose", ["x"], ["a"], name="suspect", perm=[0, 2, 1]),
        helper.make_node("Add", ["a", "low"], ["b"], name="down"),
        helper.make_node("Relu", ["b"], ["c"], name="dead"),
        helper.make_node("Flatten", ["c"], ["y"], name="last"),
    ]
    sides = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (("x", [1, 2, 3]), ("y", [1, 6]))
    ]
    low = numpy_helper.from_array(np.array(-1e6, dtype=np.float32), "low")
    graph = helper.make_graph(nodes, "net", sides[:1], sides[1:], [low])
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(tmp_path / "a.onnx")
    )
    assert load(tmp_path / "a.onnx").comparison is not None
    straight = operators.OPERATORS["Identity"]
    monkeypatch.setitem(operators.OPERATORS, "Transpose", straight)
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 16)], ir_version=8), str(tmp_path / "b.onnx")
    )
    with pytest.raises(ModelError, match="suspect"):
        load(tmp_path / "b.onnx")


def test_a_batch_that_scrambles_its_samples_is_run_one_by_one(tmp_path: Path) -> None:
    nodes = [helper.make_node("Gemm", ["x", "w"], ["h"]), helper.make_node("Transpose", ["h"], ["y"])]
    sides = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 1]),
        helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, "N"]),
    ]
    weight = numpy_helper.from_array(np.array([[-1.0, 1.0]], dtype=np.float32), "w")
    graph = helper.make_graph(nodes, "net", sides[:1], sides[1:], [weight])
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(tmp_path / "a.onnx")
    )
    model = load(tmp_path / "a.onnx")
    assert model.comparison is not None
    assert not model.comparison.batched
    np.testing.assert_array_equal(model.scores(np.array([[0.0], [1.0], [0.25]])), [[0, 0], [-1, 1], [-0.25, 0.25]])


def test_a_batch_that_mixes_its_samples_out_of_the_probes_sight_is_run_one_by_one(tmp_path: Path) -> None:
    # GatherElements makes as many rows as there are indices: one, the first sample's, which counts where it is large.
    nodes = [
        helper.make_node("GatherElements", ["x", "i"], ["first"], axis=1),
        helper.make_node("Sub", ["first", "large"], ["over"]),
        helper.make_node("Relu", ["over"], ["counts"]),
        helper.make_node("Add", ["x", "counts"], ["y"]),
    ]
    sides = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 2]) for name in "xy"]
    constants = {"i": np.array([[0, 1]], dtype=np.int64), "large": np.float32(100.0)}
    held = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "net", sides[:1], sides[1:], held)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "a.onnx")
    model = load(tmp_path / "a.onnx")
    assert model.comparison is not None
    assert not model.comparison.batched
    np.testing.assert_array_equal(model.scores(np.array([[200.0, 0.0], [1.0, 2.0]])), [[300, 0], [1, 2]])


def test_what_optimisation_makes_another_network_of_is_refused(tmp_path: Path) -> None:
    # onnxruntime multiplies quantised inputs by quantised weights where the file dequantises the weights first.
    held = {"w": RNG.integers(-100, 100, size=(4, 3)).astype(np.int8), "s": np.float32(0.1)}
    nodes = [helper.make_node("DequantizeLinear", ["w", "s"], ["d"]), helper.make_node("MatMul", ["x", "d"], ["y"])]
    sides = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["N", k]) for n, k in (("x", 4), ("y", 3))]
    constants = [numpy_helper.from_array(np.asarray(value), name) for name, value in held.items()]
    graph = helper.make_graph(nodes, "net", sides[:1], sides[1:], constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "q.onnx")
    told = ""
    try:
        load(tmp_path / "q.onnx")  # where onnxruntime has no such fusion, it is read
    except ModelError as error:
        told = str(error)
    assert not told or "float weights" in told
