"""`plumbline inspect`: what a model file is made of, and what of it is not supported."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from verifier.cli.shared_options import add_box, add_model

if TYPE_CHECKING:
    from encoders.onnx.reader import Description
    from verifier.question.onnxruntime_comparison import Comparison

SUPPORTED, UNSUPPORTED = 0, 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`plumbline inspect MODEL`."""
    parser.description = (
        "Operators, layers, ReLUs, parameters, digests, how the file as read compares with onnxruntime, and every node "
        "that is not supported (then the status is 2)."
    )
    add_model(parser)
    add_box(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the report; the status is 2 where the model cannot be verified."""
    from encoders.onnx.model_file import read_model_file
    from encoders.onnx.reader import describe
    from encoders.quantised.file import describe_quantised, is_quantised
    from verifier.question.model import CHECKED, load

    path: Path = arguments.model
    output, threshold = arguments.output, arguments.threshold
    file = read_model_file(path)
    quantised = is_quantised(file)
    found = describe_quantised(file, output) if quantised else describe(file, output, threshold)
    print(report(path, found))
    if found.unsupported:
        count = len(found.unsupported)
        print(f"plumbline: {path}: {count} node{' is' if count == 1 else 's are'} not supported", file=sys.stderr)
        return UNSUPPORTED
    model = load(path, output, threshold, classifier=False)
    compared = model.comparison
    if compared is None:
        print(f"replayed         {CHECKED} random inputs in onnxruntime, equal to the bit")
        return SUPPORTED
    print(f"compared         {told(compared)}")
    return SUPPORTED


def told(compared: Comparison) -> str:
    """How a file compared with onnxruntime, in a line."""
    how = "one by one and in a batch" if compared.batched else "one by one"
    return (
        f"{compared.tensors} tensors on {compared.inputs} inputs with onnxruntime, {how}, with and without its "
        f"optimisation: scores differ by {compared.difference:.3g} at most ({compared.allowed:.3g} allowed)"
    )


def _classes(count: int | None) -> str:
    return "? classes" if count is None else "1 number" if count == 1 else f"{count} classes"


def report(path: Path, found: Description) -> str:
    """The facts of a model file, one a line."""
    operators = ", ".join(f"{name} x{count}" if count > 1 else name for name, count in found.operators)
    shape = " x ".join(str(side) for side in found.input_shape)
    lines = [
        f"model            {path}",
        f"operators        {operators} (opset {found.opset})",
        f"input            {found.input_name}: {shape}",
        f"output           {found.output_name}: {_classes(found.classes)}",
    ]
    if not found.unsupported:
        lines.append(f"layers           {found.layers}")
        lines.append(f"neurons          {found.neurons:,}" if found.neurons else f"ReLUs            {found.relus:,}")
    lines.append(f"parameters       {found.parameters:,}")
    lines += [f"SHA-256          {digest}{f' {name}' if name else ''}" for name, digest in found.files]
    lines += [f"note             {note}" for note in found.notes]
    lines += [f"not supported    {reason}" for reason in found.unsupported]
    return "\n".join(lines)
