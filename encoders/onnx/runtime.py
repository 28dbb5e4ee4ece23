"""onnxruntime as the reader asks it: constants, rearrangements and linear operators, computed by what runs the file.

A second implementation of ONNX can differ from the first; here there is only one. It runs in a process of its own
(`runtime_worker.py`), so that a file on which onnxruntime crashes costs one line.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from encoders.errors import ModelError, SolverError
from encoders.onnx.runtime_worker import Execution, Reply, Table, UnitResponses
from encoders.solvers.process import running

Array = NDArray[Any]
PATIENCE = 300.0  # seconds for one request: more than any file took that is small enough to be verified


class ExecutionError(ModelError):
    """onnxruntime cannot run what it was given; the text is its own first line."""


def execute(
    model: bytes, feeds: Sequence[Mapping[str, Array]], outputs: Sequence[str], optimised: bool = False
) -> list[list[Array]]:
    """The named outputs of a model for each of the feeds."""
    found: list[list[Array]] = _ask(Execution(model, feeds, outputs, optimised))
    return found


def run_node(
    node: onnx.NodeProto,
    opset: int,
    constants: Mapping[str, Array],
    feeds: Mapping[str, Array] | None = None,
    functions: Sequence[onnx.OperatorSetIdProto] = (),
) -> list[Array]:
    """The outputs of one node, in the file's own opset; those left out are missing from the list."""
    feeds = feeds or {}
    model = node_model(node, opset, constants, feeds, functions)
    return execute(model.SerializeToString(), [feeds], [name for name in node.output if name])[0]


def unit_responses(
    node: onnx.NodeProto, opset: int, constants: Mapping[str, Array], name: str, shape: tuple[int, ...], dtype: Any
) -> Table:
    """A node that is linear in its input `name`, as a table of its entries."""
    probe = np.zeros(shape, dtype=dtype)
    model = node_model(node, opset, constants, {name: probe})
    found: Table = _ask(
        UnitResponses(model.SerializeToString(), name, shape, np.dtype(dtype), next(n for n in node.output if n))
    )
    return found


def node_model(
    node: onnx.NodeProto,
    opset: int,
    constants: Mapping[str, Array],
    feeds: Mapping[str, Array],
    others: Sequence[onnx.OperatorSetIdProto] = (),
) -> onnx.ModelProto:
    """A model of one node: `constants` are initializers, `feeds` its inputs."""
    sides = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
        for name, value in feeds.items()
    ]
    held = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    outputs = [onnx.ValueInfoProto(name=name) for name in node.output if name]
    graph = helper.make_graph([node], "node", sides, outputs, held)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset), *others], ir_version=10)


def _ask(request: Execution | UnitResponses) -> Any:
    try:
        worker = running("encoders.onnx.runtime_worker", "onnxruntime", "onnxruntime")
        worker.connection.send(request)
        if not worker.connection.poll(PATIENCE):
            worker.end()
            raise ExecutionError(f"onnxruntime takes more than {PATIENCE:g} s")
        reply: Reply = worker.connection.recv()
    except (EOFError, OSError) as error:
        worker.end()
        raise ExecutionError("onnxruntime crashes on it (its process died)") from error
    except SolverError as error:
        raise ExecutionError(str(error)) from None
    except BaseException:
        worker.end()  # an answer that nobody waits for must not be the next one's
        raise
    if reply.error:
        raise ExecutionError(reply.error)
    return reply.value
