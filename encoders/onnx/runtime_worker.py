"""The process that onnxruntime runs in while a file is read: a crash of it costs that file, and nobody else."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from encoders.solvers.process import serve_requests

Array = NDArray[Any]
PREFIX = re.compile(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ")


@dataclass(frozen=True, eq=False)
class Execution:
    """A model, run on each of several feeds, at onnxruntime's default optimisation level or at none."""

    model: bytes
    feeds: Sequence[Mapping[str, Array]]
    outputs: Sequence[str]
    optimised: bool = False


@dataclass(frozen=True, eq=False)
class UnitResponses:
    """A model with one input, run on zero and on each unit vector of it: the columns of a linear operator."""

    model: bytes
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    output: str


@dataclass(frozen=True, eq=False)
class Table:
    """Entries (row, column, value) of a linear operator, the shape of its output, and what it makes of zero."""

    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    values: Array
    at_zero: Array


@dataclass(frozen=True, eq=False)
class Reply:
    """What was computed, or why it was not."""

    value: Any = None
    error: str = ""


def session_of(model: bytes, optimised: bool = True, written: Path | None = None) -> onnxruntime.InferenceSession:
    """A session on one core, at onnxruntime's default level or without optimisation; what it executes may be `written`.

    onnxruntime's own family of exceptions is raised where it cannot be had.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    if not optimised:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    if written is not None:
        options.optimized_model_filepath = str(written)
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def executed(request: Execution) -> list[list[Array]]:
    """The outputs of each run: tensors, nothing else."""
    session = session_of(request.model, request.optimised)
    found = [session.run(list(request.outputs), dict(feed)) for feed in request.feeds]
    others = {type(value).__name__ for run in found for value in run if not isinstance(value, np.ndarray)}
    if others:
        raise TypeError(f"it makes no tensor but a {' and a '.join(sorted(others))}")
    return found


def responses(request: UnitResponses) -> Table:
    """The operator, column by column."""
    session = session_of(request.model, optimised=False)
    probe = np.zeros(request.shape, dtype=request.dtype)
    flat = probe.reshape(-1)
    (at_zero,) = session.run([request.output], {request.name: probe})
    rows, columns, values = [], [], []
    for k in range(flat.size):
        flat[k] = 1
        (found,) = session.run([request.output], {request.name: probe})
        flat[k] = 0
        change = np.asarray(found, dtype=np.float64).reshape(-1) - np.asarray(at_zero, dtype=np.float64).reshape(-1)
        touched = np.flatnonzero(change)
        rows.append(touched)
        columns.append(np.full(touched.size, k))
        values.append(change[touched])
    return Table(np.concatenate(rows), np.concatenate(columns), np.concatenate(values), at_zero)


def answer(request: Execution | UnitResponses) -> Reply:
    """What was asked for."""
    return Reply(responses(request) if isinstance(request, UnitResponses) else executed(request))


def failed(error: Exception) -> Reply:
    """onnxruntime raises its own family of exceptions; the first line of their text says what is wrong."""
    lines = PREFIX.sub("", str(error).strip()).splitlines()
    return Reply(error=lines[0][:300] if lines else type(error).__name__)


def serve(descriptor: int) -> None:
    """Answer requests from an open connection until the other side hangs up."""
    serve_requests(descriptor, lambda request, _: answer(request), failed)
