"""Holds what the verifier reads in a file against what onnxruntime computes from it.

A file must either agree, or be refused by a sentence that names what is not supported; everything else is a failure.
onnxruntime runs here without its optimisations, so that its own fusions are under test as well.
"""

from __future__ import annotations

import itertools
import re
import traceback
from dataclasses import dataclass
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper
from numpy.typing import NDArray

import verifier
from encoders.errors import PlumblineError

Array = NDArray[Any]
IR = 10  # a version of the file format that every onnxruntime in use reads
CLEAR = 1e-3  # a winner by more than this must win behind a softmax or a sigmoid too
SATURATED = 8.0  # beyond it a float32 sigmoid may round to one
_counter = itertools.count()


class Reading(Enum):
    """What became of one file."""

    AGREED = "agreed"
    REFUSED = "refused"
    CANNOT = "onnxruntime cannot"  # neither can it be held against anything
    MISREAD = "MISREAD"
    UNNAMED = "REFUSED WITHOUT A NAME"
    CRASHED = "CRASHED"


class Tail(Enum):
    """What stands between the class scores and the file's output."""

    NONE = "the output is the scores"
    ORDER = "the output has the order of the scores"
    INDEX = "the output is the predicted class"


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
        return str(error).splitlines()[0]


def run(session: onnxruntime.InferenceSession, inputs: Array) -> Array | str:
    """The file's first output for each row, one row at a time, flat; or why onnxruntime cannot run it."""
    source = session.get_inputs()[0]
    shape = [side if isinstance(side, int) else 1 for side in source.shape]
    kind = np.float64 if source.type == "tensor(double)" else np.float32
    try:
        found = [session.run(None, {source.name: row.astype(kind).reshape(shape)})[0] for row in inputs]
    except Exception as error:  # onnxruntime raises its own family of exceptions
        return str(error).splitlines()[0]
    return np.stack([np.asarray(each, dtype=np.float64).ravel() for each in found])


def names(proto: onnx.ModelProto) -> set[str]:
    """Operators and node names of the file, nested graphs and functions included: what a refusal may point at."""
    found: set[str] = set()
    waiting = [*proto.graph.node, *(node for function in proto.functions for node in function.node)]
    while waiting:
        node = waiting.pop()
        found |= {node.op_type, node.name}
        for attribute in node.attribute:
            waiting += attribute.g.node
    return found - {""}


def hold(
    proto: onnx.ModelProto, folder: Path, inputs: Array, tail: Tail = Tail.NONE, rough: float | None = None
) -> Held:
    """Load the file and compare its scores with onnxruntime's output on every row of `inputs` [B, n].

    `rough` is how far they may be apart, relative to the largest score; by default what the input's type allows.
    """
    session = session_for(proto)
    expected = session if isinstance(session, str) else run(session, inputs)
    if isinstance(expected, str):
        return Held(Reading.CANNOT, expected)
    path = folder / f"{next(_counter)}.onnx"
    onnx.save(proto, str(path))
    try:
        model = verifier.load(path)
        real = model.real(inputs.astype(np.float64))
        scores = model.scores(inputs)
    except PlumblineError as error:
        text = str(error)
        still = bool((expected == expected[0]).all())  # no node is to blame where the output never moves
        known = names(proto) | ({side.name for side in (*proto.graph.input, *proto.graph.output)} if still else set())
        named = any(re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text) for name in known)
        return Held(Reading.REFUSED if named and "\n" not in text else Reading.UNNAMED, text)
    except Exception:
        return Held(Reading.CRASHED, traceback.format_exc())
    finally:
        path.unlink()
    allowed = rough or (1e-4 if model.input_type is np.float32 else 1e-8)
    why = _difference(np.asarray(real), np.asarray(scores), expected, tail, allowed)
    return Held(Reading.MISREAD, why) if why else Held(Reading.AGREED)


def _difference(real: Array, scores: Array, expected: Array, tail: Tail, rough: float) -> str:
    """How the readings of one file differ, or nothing."""
    if not np.isfinite(expected).all():
        return "onnxruntime's output is not finite, and the file was not refused"
    if real.shape != scores.shape or (tail is not Tail.INDEX and real.shape != expected.shape):
        return f"shapes {real.shape} (real), {scores.shape} (scores), {expected.shape} (onnxruntime)"
    allowed = rough * max(1.0, float(np.abs(scores).max(initial=0.0)))
    if tail is Tail.NONE and not np.allclose(real, expected, rtol=0.0, atol=allowed):
        return f"real {real[0][:6]}, onnxruntime {expected[0][:6]}, worst by {np.abs(real - expected).max():.3g}"
    if not np.allclose(real, scores, rtol=0.0, atol=allowed):
        return f"real {real[0][:6]}, scores {scores[0][:6]}, worst by {np.abs(real - scores).max():.3g}"
    for row, given in zip(real, expected, strict=True):
        winner = int(given[0]) if tail is Tail.INDEX else int(given.argmax())
        if not 0 <= winner < len(row) or row[winner] < row.max() - allowed:
            return f"onnxruntime predicts {winner}, the real scores are {row[:6]}"
        clear = int(row.argmax())
        second = float(np.delete(row, clear).max(initial=-np.inf))
        if tail is Tail.ORDER and np.abs(row).max() < SATURATED and row[clear] > second + CLEAR:
            others = np.delete(given, clear)
            if len(others) and given[clear] <= others.max():
                return f"real scores {row[:6]} have a winner, onnxruntime's output {given[:6]} has none"
    return ""
