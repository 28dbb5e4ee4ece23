"""Writes the small files of the reader's tests, and says what every answer about one of them must satisfy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import ArrayLike
from onnx import TensorProto, helper, numpy_helper

import verifier
from encoders.errors import PlumblineError, SoundnessError
from verifier.question.results import Result, Verdict

node = helper.make_node
Shape = Sequence[int | str]


def f32(values: Any) -> np.ndarray:
    """Numbers as a float32 tensor."""
    return np.asarray(values, dtype=np.float32)


def i64(*values: int) -> np.ndarray:
    """Whole numbers as a list of axes, pads or sizes."""
    return np.asarray(values, dtype=np.int64)


def exact(number: Any) -> Fraction:
    """The rational number that a float32 or a float64 stands for."""
    return Fraction(float(number))


def single(number: float) -> Fraction:
    """The rational number that a decimal becomes when a file stores it as float32."""
    return exact(np.float32(number))


def written(
    path: Path,
    nodes: Sequence[onnx.NodeProto],
    constants: Mapping[str, ArrayLike],
    *,
    inputs: Shape = (1, 1),
    outputs: Mapping[str, Shape] | None = None,
    opset: int = 17,
    double: bool = False,
    functions: Sequence[onnx.FunctionProto] = (),
) -> Path:
    """A file from input x to output y, two classes unless `outputs` says otherwise. Returns its path."""
    kind = TensorProto.DOUBLE if double else TensorProto.FLOAT
    graph = helper.make_graph(
        list(nodes),
        "small",
        [helper.make_tensor_value_info("x", kind, inputs)],
        [helper.make_tensor_value_info(name, kind, shape) for name, shape in (outputs or {"y": (1, 2)}).items()],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8, functions=list(functions)
    )
    onnx.save(model, str(path))
    return path


def head(weight: Any, bias: Any) -> dict[str, np.ndarray]:
    """The constants of `Gemm(t, w, b)`, a row of `weight` for each class."""
    return {"w": f32(weight), "b": f32(bias)}


def gemm(source: str = "t", target: str = "y") -> onnx.NodeProto:
    """The node that `head` gives constants to."""
    return node("Gemm", [source, "w", "b"], [target], transB=1)


def refusal(error: PlumblineError, *named: str) -> None:
    """A refusal is no alarm, takes one line, and names what it is about."""
    assert not isinstance(error, SoundnessError), error
    text = str(error)
    assert "\n" not in text
    assert not named or any(word in text for word in named), text


def refused(path: Path, *named: str) -> None:
    """The file must not be loaded, and the refusal names one of these."""
    with pytest.raises(PlumblineError) as caught:
        verifier.load(path)
    refusal(caught.value, *named)


ROUNDED = Fraction(1, 10**12)  # of a distance: what rounding in a replay can make of a tie


def bracketed(
    path: Path, sample: ArrayLike, truth: Fraction | None, *named: str, slack: Fraction | None = None, **options: Any
) -> Result | None:
    """The answer about a sample holds the exact distance (None: no adversary), or the file is refused by name.

    A little beyond the exact distance nothing is certified either. More time would narrow the bracket, no more.
    """
    beyond = slack or Fraction(1, 10**6)
    try:
        result = verifier.distance(path, sample, time_limit=0.3, **options)
        check_bracket(result, truth)
        if truth is not None:
            reach = verifier.verify(path, sample, float(truth * (1 + beyond)) or 1e-9, time_limit=0.1, **options)
            assert reach.verdict is not Verdict.CERTIFIED, f"certified at {reach.radius}, truth {float(truth)!r}"
    except PlumblineError as error:
        refusal(error, *named)
        return None
    return result


def check_bracket(result: Result, truth: Fraction | None) -> None:
    """lower ≤ truth ≤ upper, in rational numbers; a witness wins as the file is executed, which may round a tie."""
    if truth is None:
        assert not isfinite(result.upper), f"an adversary at {result.upper!r}, where none is"
        return
    assert isfinite(result.lower), f"nothing found, truth {float(truth)!r}"
    assert exact(result.lower) <= truth, f"lower {result.lower!r}, truth {float(truth)!r}"
    assert not isfinite(result.upper) or exact(result.upper) >= truth * (1 - ROUNDED), (
        f"{result.upper!r}, truth {float(truth)!r}"
    )
