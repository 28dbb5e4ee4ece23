"""Holds what the verifier reads in a file against what onnxruntime computes from it.

A file must either agree, or be refused by a sentence that names what is not supported; everything else is a failure.
onnxruntime runs here without its optimisations, so that its own fusions are under test as well.
"""

from __future__ import annotations

import itertools
import re
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper

import verifier
from encoders.errors import PlumblineError, SoundnessError

Array = NDArray[Any]
IR = 10  # a version of the file format that every onnxruntime in use reads
ORDERLY = {"Softmax", "LogSoftmax", "Sigmoid", "Hardmax", "Tanh", "Exp", "Softplus"}  # they keep the scores' order
CLEAR = 1e-3  # a winner by more than this must win behind a softmax or a sigmoid too
SATURATED = 8.0  # beyond it a float32 sigmoid may round to one
_counter = itertools.count()


class Reading(Enum):
    """What became of one file."""

    AGREED = "agreed"
    REFUSED = "refused"
    CANNOT = "onnxruntime cannot"  # so there is nothing to hold it against
    MISREAD = "MISREAD"
    UNNAMED = "REFUSED WITHOUT A NAME"
    CRASHED = "CRASHED"


@dataclass(frozen=True)
class Held:
    """The reading of one file, and in a line how it was found out."""

    reading: Reading
    why: str = ""

    @property
    def failed(self) -> bool:
        return self.reading in (Reading.MISREAD, Reading.UNNAMED, Reading.CRASHED)


@cache
def newest_opset() -> int:
    """The newest opset of the ai.onnx domain that both onnx and onnxruntime know."""
    for opset in range(onnx.defs.onnx_opset_version(), 0, -1):
        side = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("x", "y")]
        graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "opset", side[:1], side[1:])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=IR)
        if not isinstance(session_for(model), str):
            return opset
    raise LookupError("onnxruntime loads no opset that onnx knows")


def session_for(proto: onnx.ModelProto) -> onnxruntime.InferenceSession | str:
    """onnxruntime on the file just as it stands, or why it cannot load it."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises its own family of exceptions
        return _line(error)


def run(session: onnxruntime.InferenceSession, inputs: Array) -> Array | str:
    """The file's first output for each row, one row at a time, flat; or why onnxruntime cannot run it."""
    source = session.get_inputs()[0]
    shape = [side if isinstance(side, int) else 1 for side in source.shape]
    kind = np.float64 if source.type == "tensor(double)" else np.float32
    try:
        found = [session.run(None, {source.name: row.astype(kind).reshape(shape)})[0] for row in inputs]
    except Exception as error:  # onnxruntime raises its own family of exceptions
        return _line(error)
    return np.stack([np.asarray(each, dtype=np.float64).ravel() for each in found])


def nodes(proto: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    """Every node of the file, those of nested graphs and functions included."""
    waiting = [*proto.graph.node, *(node for function in proto.functions for node in function.node)]
    while waiting:
        node = waiting.pop()
        yield node
        for attribute in node.attribute:
            waiting += attribute.g.node


def hold(proto: onnx.ModelProto, folder: Path, inputs: Array, rough: float | None = None) -> Held:
    """Load the file and compare its scores with onnxruntime's output on every row of `inputs` [B, n].

    `rough` is how far they may be apart, relative to the largest score; by default what the input's type allows.
    Where an operator that keeps the scores' order is in the file, the order is all that must agree.
    """
    session = session_for(proto)
    expected = session if isinstance(session, str) else run(session, inputs)
    if isinstance(expected, str):
        return Held(Reading.CANNOT, expected)
    path = folder / f"{next(_counter)}.onnx"
    onnx.save(proto, str(path))
    try:
        model = verifier.load(path)
        real = np.asarray(model.real(inputs.astype(np.float64)))
        scores = np.asarray(model.scores(inputs))
    except SoundnessError as error:
        return Held(Reading.MISREAD, str(error))
    except PlumblineError as error:
        still = bool((expected == expected[0]).all())  # no node is to blame where the output never moves
        sides = proto.graph.input[0].type.tensor_type.shape.dim
        several = (
            not sides or sides[0].dim_value > 1
        )  # nor where the file takes several samples, or one without an axis
        one = "with threshold T" in str(error)  # a single output is refused by its own name
        named = _names(proto, str(error), still or several or one)
        return Held(Reading.REFUSED if named else Reading.UNNAMED, str(error))
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{Path(where.filename).name}:{where.lineno}"
        return Held(Reading.CRASHED, f"{type(error).__name__} in {place}: {_line(error)}")
    finally:
        path.unlink()
    allowed = (rough or _roughness(proto)) * max(1.0, float(np.abs(scores).max()))
    why = _difference(real, scores, expected, allowed, {node.op_type for node in nodes(proto)})
    return Held(Reading.MISREAD, why) if why else Held(Reading.AGREED)


def _roughness(proto: onnx.ModelProto) -> float:
    """How far rounding may part two readings: little only where nothing is computed in single precision."""
    single = proto.graph.input[0].type.tensor_type.elem_type == TensorProto.FLOAT
    cast = any(attribute.i == TensorProto.FLOAT for node in nodes(proto) for attribute in node.attribute)
    return 1e-4 if single or cast else 1e-8


def _line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0]


def _names(proto: onnx.ModelProto, text: str, sides: bool) -> bool:
    """Whether a refusal is one line that points at an operator, a node or a tensor of the file."""
    known = {name for node in nodes(proto) for name in (node.op_type, node.name, *node.output)}
    if sides:
        known |= {side.name for side in (*proto.graph.input, *proto.graph.output)}
    return "\n" not in text and any(re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text) for name in known - {""})


def _difference(real: Array, scores: Array, expected: Array, allowed: float, operators: set[str]) -> str:
    """How the readings of one file differ, or nothing."""
    if not np.isfinite(expected).all():
        return "onnxruntime's output is not finite, and the file was not refused"
    if real.shape != scores.shape:
        return f"real scores have the shape {real.shape}, onnxruntime's {scores.shape}"
    agrees = real.shape == expected.shape and np.allclose(real, expected, rtol=0.0, atol=allowed)
    if not np.allclose(real, scores, rtol=0.0, atol=allowed):
        alone = ", which is what onnxruntime gives for each alone" if agrees else ""
        return f"of {len(real)} at once: real {real[-1][:6]}{alone}, scores {scores[-1][:6]}"
    if agrees:
        return ""
    if "ArgMax" in operators and _is_index(real, expected[:, :1], allowed):
        return ""
    if real.shape == expected.shape and operators & ORDERLY:
        return _order_differs(real, expected, allowed)
    worst = f", worst by {np.abs(real - expected).max():.3g}" if real.shape == expected.shape else ""
    return f"real {real[0][:6]}, onnxruntime {expected[0][:6]}{worst}"


def _is_index(real: Array, expected: Array, allowed: float) -> bool:
    """Whether the file's output is the class with the highest score, and the scores know as many classes."""
    winners = expected.astype(np.int64)
    if (winners != expected).any() or (winners < 0).any() or (winners >= real.shape[1]).any():
        return False
    return bool((np.take_along_axis(real, winners, axis=1)[:, 0] >= real.max(axis=1) - allowed).all())


def _order_differs(real: Array, expected: Array, allowed: float) -> str:
    for row, given in zip(real, expected, strict=True):
        winners, clear = np.flatnonzero(given == given.max()), int(row.argmax())  # several where they are saturated
        if row[winners].max() < row[clear] - allowed:
            return f"onnxruntime predicts {winners.tolist()}, the real scores are {row[:6]}"
        others = np.delete(np.arange(len(row)), clear)
        decided = len(others) > 0 and row[clear] > row[others].max() + CLEAR and np.abs(row).max() < SATURATED
        if decided and given[clear] <= given[others].max():
            return f"real scores {row[:6]} have a winner, onnxruntime's output {given[:6]} has none"
    return ""
