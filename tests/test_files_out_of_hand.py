"""Files that would take all memory, or the whole process, cost one line and no more."""

from __future__ import annotations

import atexit
import resource
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

from tests.small_files import f32, i64, node, refused, written

ROOT = Path(__file__).parents[1]
MEMORY = 4 * 2**30
SECONDS = 30  # of one core, however many share it
PROGRAM = """
import os, resource, sys, traceback
import numpy as np
import onnxruntime, torch
import verifier
from encoders.errors import PlumblineError

def answer(path, memory, seconds):
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    try:
        model = verifier.load(path)
        inputs = np.random.default_rng(0).normal(size=(2, int(np.prod(model.input_shape)))).astype(np.float32)
        np.testing.assert_allclose(model.real(inputs.astype(np.float64)), model.scores(inputs), rtol=1e-4, atol=1e-4)
    except PlumblineError as error:
        print("refused:", error, flush=True)
    else:
        print("answered", flush=True)

for path in sys.stdin:
    child = os.fork()
    if not child:
        try:
            answer(path.rstrip("\\n"), *map(int, sys.argv[1:]))
        except BaseException:
            print(traceback.format_exc(), flush=True)
            os._exit(1)
        os._exit(0)
    print("status", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


def limit() -> None:
    """What a process of its own may take."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))


@cache
def warm() -> subprocess.Popen[str]:
    """A process that has imported everything, and answers each file in a fork of its own that has little memory."""
    command = [sys.executable, "-c", PROGRAM, str(MEMORY), str(SECONDS)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    atexit.register(process.kill)
    return process


def loaded(path: Path) -> str:
    """What a process of its own, in little memory, says of a file: one line, that it was read or refused."""
    process = warm()
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{path}\n")
    process.stdin.flush()
    said: list[str] = []
    while not (line := process.stdout.readline()).startswith("status "):
        assert line, "the warm process has ended"
        said.append(line)
    assert line == "status 0\n", f"{line}{''.join(said)[-500:]}"
    assert len(said) == 1, said
    assert said[0].startswith(("refused:", "answered")), said
    return said[0]


@pytest.mark.release
def test_an_ordinary_file_is_answered(tmp_path: Path) -> None:
    assert loaded(pooled(tmp_path, "MaxPool", [2, 2], [2, 2], [0, 0, 0, 0], (6, 8))) == "answered\n"


def pooled(
    folder: Path, operator: str, kernel: list[int], strides: list[int], pads: list[int], image: tuple[int, int]
) -> Path:
    """A picture pooled, and every fiftieth or so of what comes out against the rest: two classes."""
    counted: dict[str, Any] = {"count_include_pad": 1} if operator == "AveragePool" else {}
    nodes = [node(operator, ["x"], ["p"], kernel_shape=kernel, strides=strides, pads=pads, **counted)]
    nodes += [node("Flatten", ["p"], ["f"]), node("Gemm", ["f", "w"], ["y"], transB=1)]
    rows, columns = (
        (s + a + b - k) // t + 1 for s, a, b, k, t in zip(image, pads[:2], pads[2:], kernel, strides, strict=True)
    )
    weight = f32([[(k * 7 + c) % 5 - 2 for k in range(rows * columns)] for c in range(2)])
    return written(folder / "net.onnx", nodes, {"w": weight}, inputs=(1, 1, *image))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("operator", "kernel", "pads"),
    [
        ("MaxPool", [1, 200], [0, 199, 0, 199]),
        ("MaxPool", [200, 1], [199, 0, 199, 0]),
        ("MaxPool", [60, 80], [30, 40, 30, 40]),
        ("MaxPool", [60, 80], [0, 0, 0, 0]),
        ("AveragePool", [60, 80], [30, 40, 30, 40]),
    ],
)
@pytest.mark.fewer(1)
def test_windows_as_large_as_the_picture(operator: str, kernel: list[int], pads: list[int], tmp_path: Path) -> None:
    loaded(pooled(tmp_path, operator, kernel, [1, 1], pads, (60, 80)))


@pytest.mark.release
def test_a_window_over_a_line(tmp_path: Path) -> None:
    nodes = [node("MaxPool", ["x"], ["p"], kernel_shape=[200], pads=[100, 100]), node("Flatten", ["p"], ["f"])]
    nodes += [node("Gemm", ["f", "w"], ["y"], transB=1)]
    weight = f32([[(k * 7 + c) % 5 - 2 for k in range(4801)] for c in range(2)])
    loaded(written(tmp_path / "net.onnx", nodes, {"w": weight}, inputs=(1, 1, 4800)))


@pytest.mark.slow
def test_a_constant_of_many_terabytes(tmp_path: Path) -> None:
    # A shape of three numbers stands for a zero of 8e12 entries, of which two are kept.
    nodes = [node("ConstantOfShape", ["shape"], ["huge"]), node("Slice", ["huge", "from", "to"], ["some"])]
    nodes += [node("Reshape", ["some", "two"], ["bias"]), node("Gemm", ["x", "w", "bias"], ["y"], transB=1)]
    constants = {"shape": i64(20000, 20000, 20000), "from": i64(0, 0, 0), "to": i64(1, 1, 2), "two": i64(2)}
    loaded(written(tmp_path / "net.onnx", nodes, {**constants, "w": f32([[-1], [1]])}))


@pytest.mark.slow
def test_an_expansion_of_many_terabytes(tmp_path: Path) -> None:
    nodes = [node("Expand", ["x", "shape"], ["huge"]), node("ReduceMean", ["huge"], ["m"], axes=[0, 1], keepdims=0)]
    nodes += [node("Gemm", ["x", "w"], ["h"], transB=1), node("Add", ["h", "m"], ["y"])]
    constants = {"shape": i64(2000000, 2000000, 1), "w": f32([[-1], [1]])}
    loaded(written(tmp_path / "net.onnx", nodes, constants))


@pytest.mark.slow
def test_a_crash_of_onnxruntime_is_a_refusal(tmp_path: Path) -> None:
    # A Split with a part left out kills the process when a session is made.
    nodes = [node("Split", ["x"], ["a", "", "c"], axis=1), node("Concat", ["c", "a"], ["y"], axis=1)]
    path = written(tmp_path / "net.onnx", nodes, {}, inputs=(1, 6), outputs={"y": (1, 4)}, opset=13)
    onnx.checker.check_model(str(path))
    loaded(path)


@pytest.mark.slow
def test_a_crash_costs_the_command_one_line(tmp_path: Path) -> None:
    nodes = [node("Split", ["x"], ["a", "", "c"], axis=1), node("Concat", ["c", "a"], ["y"], axis=1)]
    path = written(tmp_path / "net.onnx", nodes, {}, inputs=(1, 6), outputs={"y": (1, 4)}, opset=13)
    done = subprocess.run(
        [sys.executable, "-m", "verifier.cli.main", "inspect", str(path)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        preexec_fn=limit,
    )
    assert done.returncode in (0, 2), done.stderr
    assert done.returncode == 0 or done.stderr.count("\n") == 1


@pytest.mark.slow
def test_a_reference_to_itself_ends(tmp_path: Path) -> None:
    # A local function that calls itself has no meaning; nobody may follow it forever.
    again = helper.make_function(
        "my",
        "Again",
        ["X"],
        ["Y"],
        [helper.make_node("Again", ["X"], ["Y"], domain="my")],
        [helper.make_opsetid("my", 1)],
    )
    graph = helper.make_graph(
        [helper.make_node("Again", ["x"], ["y"], domain="my")],
        "again",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 2))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, 2))],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("my", 1)]
    onnx.save(
        helper.make_model(graph, opset_imports=opsets, functions=[again], ir_version=8), str(tmp_path / "net.onnx")
    )
    assert loaded(tmp_path / "net.onnx").startswith("refused:")


def test_a_constant_that_is_no_tensor(tmp_path: Path) -> None:
    nodes = [
        node("SequenceConstruct", ["b", "b"], ["q"]),
        node("ConcatFromSequence", ["q"], ["c"], axis=0, new_axis=1),
        node("MatMul", ["x", "c"], ["y"]),
    ]
    refused(written(tmp_path / "net.onnx", nodes, {"b": f32([1, 2])}, inputs=(1, 2)), "SequenceConstruct")
