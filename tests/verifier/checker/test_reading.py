"""Files as the checker reads them: against onnxruntime, against a loop of fractions, and what must be refused."""

from __future__ import annotations

import hashlib
from fractions import Fraction
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.small_files import f32, i64, node, written
from tests.verifier.checker.small_proofs import fully_connected, packed, random_layers, statement
from verifier.checker import Exact, UncheckableError, check
from verifier.checker.network import Network
from verifier.checker.onnx_file import read_network
from verifier.checker.witness import scores

RNG = np.random.default_rng(7)


def drawn(*shape: int) -> np.ndarray:
    return f32(RNG.normal(size=shape))


def evaluated(network: Network, x: np.ndarray) -> list[Fraction]:
    exact = Exact()
    return list(exact.compared(scores(network, exact.exactly([Fraction(float(one)) for one in x.reshape(-1)]))))


def agrees(path: Path, shape: tuple[int, ...]) -> None:
    """The same scores as onnxruntime's at random inputs, but for float32's rounding."""
    network = read_network(path.read_bytes(), {})
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    for _ in range(3):
        x = drawn(*shape)
        found = np.array([float(one) for one in evaluated(network, x)])
        np.testing.assert_allclose(found, session.run(None, {"x": x})[0].reshape(-1), rtol=1e-4, atol=1e-4)


Case = tuple[list[onnx.NodeProto], dict[str, Any], tuple[int, ...]]


def conv(name: str, weights: np.ndarray, shape: tuple[int, ...], bias: bool = True, **attributes: Any) -> Case:
    constants = {"w": weights} | ({"b": drawn(len(weights))} if bias else {})
    nodes = [node(name, ["x", *constants], ["h"], **attributes), node("Relu", ["h"], ["z"])]
    return [*nodes, node("Flatten", ["z"], ["y"])], constants, shape


def unary(shape: tuple[int, ...], *steps: tuple[str, list[Any], dict[str, Any]]) -> Case:
    """Operators one after the other, each with constants beside the last result, and a Flatten at the end."""
    nodes: list[onnx.NodeProto] = []
    constants: dict[str, Any] = {}
    last = "x"
    for k, (name, values, attributes) in enumerate(steps):
        names = []
        for j, value in enumerate(values):
            names.append(f"c{k}_{j}" if value is not None else "")
            constants |= {f"c{k}_{j}": value} if value is not None else {}
        nodes.append(node(name, [last, *names], [f"v{k}"], **attributes))
        last = f"v{k}"
    return [*nodes, node("Flatten", [last], ["y"])], constants, shape


WHOLE: tuple[str, list[Any], dict[str, Any]] = ("Reshape", [i64(1, -1)], {})

CASES: dict[str, tuple[int, Case]] = {
    "gemm": (17, unary((1, 4), ("Gemm", [drawn(3, 4), drawn(3)], {"transB": 1, "alpha": 0.5}), ("Relu", [], {}))),
    "gemm, broadcast": (17, unary((1, 4), ("Gemm", [drawn(4, 3), drawn(1)], {}))),
    "gemm, transposed": (13, unary((1, 4), ("Transpose", [], {}), ("Gemm", [drawn(4, 3)], {"transA": 1}))),
    "matmul of rows": (17, unary((1, 3, 4), ("MatMul", [drawn(4, 2)], {}), ("Relu", [], {}))),
    "pads": (17, conv("Conv", drawn(3, 2, 3, 2), (1, 2, 5, 6), pads=[1, 0, 2, 1], strides=[2, 1])),
    "groups": (17, conv("Conv", drawn(6, 2, 3, 3), (1, 4, 6, 6), group=2, dilations=[2, 1], kernel_shape=[3, 3])),
    "depthwise": (11, conv("Conv", drawn(3, 1, 2, 2), (1, 3, 4, 4), group=3, strides=[2, 2], bias=False)),
    "same upper": (17, conv("Conv", drawn(2, 2, 4, 3), (1, 2, 7, 6), auto_pad="SAME_UPPER", strides=[2, 2])),
    "same lower": (17, conv("Conv", drawn(2, 2, 4, 3), (1, 2, 7, 6), auto_pad="SAME_LOWER", strides=[2, 1])),
    "valid": (17, conv("Conv", drawn(2, 2, 4, 3), (1, 2, 7, 6), auto_pad="VALID")),
    "one dimension": (17, conv("Conv", drawn(2, 3, 3), (1, 3, 7), pads=[1, 1])),
    "three dimensions": (17, conv("Conv", drawn(2, 1, 2, 2, 2), (1, 1, 3, 4, 3))),
    "pool": (17, unary((1, 2, 5, 6), ("AveragePool", [], {"kernel_shape": [2, 2], "strides": [2, 1]}))),
    "pool, pads count": (
        17,
        unary(
            (1, 2, 4, 4), ("AveragePool", [], {"kernel_shape": [2, 4], "pads": [1, 0, 1, 1], "count_include_pad": 1})
        ),
    ),
    "global pool": (17, unary((1, 3, 4, 2), ("GlobalAveragePool", [], {}))),
    "sums": (17, unary((1, 3, 2), ("Add", [drawn(3, 1)], {}), ("Sub", [drawn(1, 2)], {}), ("Neg", [], {}))),
    "multiples": (17, unary((1, 3, 2), ("Mul", [drawn(2)], {}), ("Div", [f32([[2], [-0.25], [8]])], {}))),
    "reshapes": (
        14,
        unary((1, 2, 3, 4), ("Reshape", [i64(0, -1, 2)], {}), ("Transpose", [], {"perm": [0, 2, 1]}), ("Relu", [], {})),
    ),
    "axes": (
        13,
        unary((1, 2, 3), ("Unsqueeze", [i64(-1, 0)], {}), ("Squeeze", [i64(-1)], {}), ("Squeeze", [], {}), WHOLE),
    ),
    "axes before 13": (11, unary((1, 2, 3), ("Unsqueeze", [], {"axes": [1]}), ("Squeeze", [], {"axes": [1]}))),
    "flatten": (13, unary((1, 2, 3), ("Flatten", [], {"axis": -1}), ("MatMul", [drawn(3, 2)], {}), WHOLE)),
    "slices": (17, unary((1, 5, 6), ("Slice", [i64(1, -5), i64(9, -1), i64(1, 2), i64(2, 3)], {}))),
    "slices before 10": (9, unary((1, 5, 6), ("Slice", [], {"starts": [1, 0], "ends": [-1, 3], "axes": [1, 2]}))),
    "padding": (17, unary((1, 2, 3), ("Pad", [i64(0, 1, 0, 0, 2, 1)], {}), ("MatMul", [drawn(4, 2)], {}))),
    "padding before 11": (10, unary((1, 2, 3), ("Pad", [], {"pads": [0, 1, 0, 0, 2, 1]}), ("Relu", [], {}))),
    "dropout": (17, unary((1, 3), ("Dropout", [f32(0.5)], {"seed": 3}), ("Identity", [], {}))),
    "dropout before 12": (10, unary((1, 3), ("Dropout", [], {"ratio": 0.25}))),
    "concat": (
        17,
        (
            [
                node("Slice", ["x", "from", "to"], ["s"]),
                node("Relu", ["x"], ["z"]),
                node("Concat", ["s", "c", "z", "s"], ["y"], axis=-1),
            ],
            {"c": drawn(1, 2), "from": i64(0, 1), "to": i64(1, 3)},
            (1, 4),
        ),
    ),
    "two paths": (
        17,
        (
            [
                node("Gemm", ["x", "w", "b"], ["h"]),
                node("Relu", ["h"], ["z"]),
                node("Relu", ["x"], ["unused"]),
                node("MatMul", ["z", "w"], ["again"]),
                node("Add", ["again", "h"], ["sum"]),
                node("Sub", ["sum", "x"], ["y"]),
            ],
            {"w": drawn(3, 3), "b": drawn(3)},
            (1, 3),
        ),
    ),
    "constants in nodes": (
        17,
        (
            [
                node("Constant", [], ["t"], value=numpy_helper.from_array(drawn(2, 3))),
                node("Transpose", ["t"], ["w"]),
                node("Constant", [], ["c"], value_floats=[0.5, -1.5]),
                node("Constant", [], ["shape"], value_ints=[1, 2]),
                node("MatMul", ["x", "w"], ["h"]),
                node("Reshape", ["c", "shape"], ["bias"]),
                node("Gemm", ["x", "w", "bias"], ["g"]),
                node("Add", ["g", "h"], ["y"]),
            ],
            {},
            (1, 3),
        ),
    ),
    "the output is a relu": (17, ([node("Relu", ["x"], ["y"])], {}, (1, 3))),
}


@pytest.mark.parametrize("name", CASES)
def test_as_onnxruntime_has_it(tmp_path: Path, name: str) -> None:
    opset, (nodes, constants, shape) = CASES[name]
    sizes: tuple[int | str, ...] = ("N", *shape[1:])
    path = written(tmp_path / "case.onnx", nodes, constants, inputs=sizes, outputs={"y": ("M", "K")}, opset=opset)
    agrees(path, shape)


@pytest.mark.parametrize("opset", [11, 17])
@pytest.mark.parametrize("kind", ["Softmax", "LogSoftmax"])
def test_a_last_softmax_is_left_out(tmp_path: Path, kind: str, opset: int) -> None:
    weights = drawn(3, 4)
    nodes = [node("MatMul", ["x", "w"], ["s"]), node(kind, ["s"], ["y"], axis=1)]
    path = written(tmp_path / "soft.onnx", nodes, {"w": weights}, inputs=("N", 3), opset=opset)
    x = drawn(1, 3)
    found = [float(one) for one in evaluated(read_network(path.read_bytes(), {}), x)]
    np.testing.assert_allclose(found, (x @ weights)[0], rtol=1e-5)


@pytest.mark.parametrize("kind", [np.float16, np.float64, ml_dtypes.bfloat16])
def test_every_kind_of_number_is_read_exactly(tmp_path: Path, kind: Any) -> None:
    """Scores are fractions, the same as a loop finds."""
    rng = np.random.default_rng(3)
    layers = [(w.astype(kind), b.astype(kind)) for w, b in random_layers(rng, (3, 4, 2))]
    path = fully_connected(tmp_path / "net.onnx", layers)
    model = onnx.load(str(path))
    tensors = {f"{name}{k}": array for k, pair in enumerate(layers) for name, array in zip("wb", pair, strict=True)}
    for tensor in model.graph.initializer:
        tensor.CopyFrom(numpy_helper.from_array(tensors[tensor.name], tensor.name))
    x = rng.normal(size=3)
    values = [Fraction(float(one)) for one in x]
    for k, (weights, bias) in enumerate(layers):
        exact = [[Fraction(float(one)) for one in row] for row in weights]
        values = [
            Fraction(float(b)) + sum(v * row[j] for v, row in zip(values, exact, strict=True))
            for j, b in enumerate(bias)
        ]
        values = [max(one, Fraction(0)) for one in values] if k == 0 else values
    assert evaluated(read_network(model.SerializeToString(), {}), x) == values


def refused(model: onnx.ModelProto | Path, why: str) -> None:
    data = model.read_bytes() if isinstance(model, Path) else model.SerializeToString()
    with pytest.raises(UncheckableError) as raised:
        read_network(data, {})
    assert why in str(raised.value)
    assert "\n" not in str(raised.value)


REFUSED: dict[str, tuple[int, Case, str]] = {
    "an operator": (17, unary((1, 3), ("Sigmoid", [], {})), "Sigmoid v0: the operator is not known here"),
    "an attribute": (17, unary((1, 3), ("Relu", [], {"alpha": 1.0})), "attribute 'alpha' is not known"),
    "an input": (17, unary((1, 3), ("Relu", [drawn(3)], {})), "more inputs"),
    "beta": (17, unary((1, 3), ("Gemm", [drawn(3, 2), drawn(2)], {"beta": 0.5})), "beta 0.5"),
    "a division": (17, unary((1, 3), ("Div", [f32([3])], {})), "no power of two"),
    "a product of values": (17, ([node("Mul", ["x", "x"], ["y"])], {}, (1, 3)), "is not made of constants"),
    "allowzero": (14, unary((1, 3), ("Reshape", [i64(0, 3)], {"allowzero": 1})), "an empty tensor"),
    "allowzero too early": (13, unary((1, 3), ("Reshape", [i64(0, 3)], {"allowzero": 1})), "'allowzero'"),
    "axes too late": (13, unary((1, 3), ("Unsqueeze", [], {"axes": [0]})), "it has no axes"),
    "training": (17, unary((1, 3), ("Dropout", [f32(0.5), np.array(True)], {})), "training mode"),
    "padding with ones": (17, unary((1, 3), ("Pad", [i64(0, 0, 0, 1), f32(1)], {})), "anything but zeros"),
    "reflected": (17, unary((1, 3), ("Pad", [i64(0, 0, 0, 1)], {"mode": "reflect"})), "anything but zeros"),
    "a pool of three": (17, unary((1, 1, 3), ("AveragePool", [], {"kernel_shape": [3]})), "no power of two"),
    "uneven windows": (
        17,
        unary((1, 1, 4), ("AveragePool", [], {"kernel_shape": [2], "pads": [1, 1]})),
        "windows of several sizes",
    ),
    "rounding up": (17, unary((1, 1, 5), ("AveragePool", [], {"kernel_shape": [2], "ceil_mode": 1})), "ceil_mode"),
    "backwards": (17, unary((1, 3), ("Slice", [i64(3), i64(0), i64(1), i64(-1)], {})), "a step below 1"),
    "shapes that do not fit": (17, unary((1, 3), ("MatMul", [drawn(4, 2)], {})), "a product of the shapes"),
    "a kernel that is another": (17, conv("Conv", drawn(1, 1, 2), (1, 1, 4), kernel_shape=[3]), "kernel_shape"),
    "a softmax of rows": (17, ([node("Softmax", ["x"], ["y"], axis=1)], {}, (1, 3, 2)), "not run over all"),
    "a softmax inside": (17, unary((1, 3), ("Softmax", [], {})), "Softmax v0: the operator is not known"),
    "a constant output": (17, ([node("Identity", ["c"], ["y"])], {"c": drawn(1, 2)}, (1, 3)), "no function"),
    "an output of no list": (17, ([node("Relu", ["x"], ["y"])], {}, (1, 2, 2)), "no list of class scores"),
    "an infinity": (17, unary((1, 3), ("Add", [f32([np.inf])], {})), "holds an infinity"),
    "an early opset": (6, unary((1, 3), ("Relu", [], {})), "opsets 7 to"),
    "a name twice": (17, ([node("Relu", ["x"], ["y"]), node("Neg", ["x"], ["y"])], {}, (1, 3)), "two tensors"),
    "what comes later": (17, ([node("Relu", ["z"], ["y"]), node("Neg", ["x"], ["z"])], {}, (1, 3)), "nothing before"),
    "a domain": (17, ([node("Relu", ["x"], ["y"], domain="com.microsoft")], {}, (1, 3)), "the domain"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_known_is_refused(tmp_path: Path, name: str) -> None:
    opset, (nodes, constants, shape), why = REFUSED[name]
    refused(written(tmp_path / "case.onnx", nodes, constants, inputs=shape, opset=opset), why)


def small(tmp_path: Path) -> onnx.ModelProto:
    path = written(tmp_path / "small.onnx", [node("MatMul", ["x", "w"], ["y"])], {"w": drawn(3, 2)}, inputs=("N", 3))
    return onnx.load(str(path))


def test_graphs_that_are_refused(tmp_path: Path) -> None:
    (tmp_path / "no.onnx").write_bytes(b"no model")
    refused(tmp_path / "no.onnx", "no ONNX file")
    model = small(tmp_path)
    model.graph.output.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, (3, 2)))
    refused(model, "exactly one input and one output")
    model = small(tmp_path)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 2
    refused(model, "first dimension")
    model = small(tmp_path)
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "n"
    refused(model, "first dimension")
    model = small(tmp_path)
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.INT64
    refused(model, "element type")
    model = small(tmp_path)
    model.opset_import.append(helper.make_opsetid("ai.onnx", 13))
    refused(model, "opsets")
    model = small(tmp_path)
    model.graph.initializer[0].raw_data += b"0000"
    refused(model, "no meaning")
    for kind in ("float_data", "double_data", "int64_data", "uint64_data"):
        model = small(tmp_path)
        getattr(model.graph.initializer[0], kind).append(1)
        refused(model, "holds its numbers twice")


def test_an_initializer_that_is_listed_as_an_input_is_a_constant(tmp_path: Path) -> None:
    model = small(tmp_path)
    model.graph.input.insert(0, helper.make_tensor_value_info("w", TensorProto.FLOAT, (3, 2)))
    assert read_network(model.SerializeToString(), {}).inputs == 3


def test_external_data_is_what_the_statement_names(tmp_path: Path) -> None:
    model = small(tmp_path)
    weights = numpy_helper.to_array(model.graph.initializer[0])
    path = tmp_path / "net.onnx"
    onnx.save(model, str(path), save_as_external_data=True, location="net.data", size_threshold=0)
    digest = hashlib.sha256((tmp_path / "net.data").read_bytes()).hexdigest()
    x = [1.0, 2.0, -1.0]
    y = np.asarray(x) @ weights
    witness = {"input": [one.hex() for one in x], "distance": "0x0p0"}
    claim = statement(path, x, None, against=int(y.argmin()), witness=witness)
    with pytest.raises(UncheckableError, match="does not name"):
        check(packed(claim), path)
    named = claim | {"model": claim["model"] | {"external": {"net.data": digest}}}
    assert check(packed(named), path).whole
    for external in (
        {"net.data": "0" * 64},
        {"../net.data": digest},
        {"net.data\0": digest},
        {str(tmp_path / "net.data"): digest},
    ):
        assert not check(packed(claim | {"model": claim["model"] | {"external": external}}), path).accepted
    (tmp_path / "net.data").write_bytes(b"\0" * 24)
    assert "net.data" in check(packed(named), path).why
