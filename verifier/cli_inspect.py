"""`plumbline inspect`: what a model file is made of, and what of it is not supported."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from encoders.onnx_reader import Description, describe
from encoders.quantised_file import describe_quantised, is_quantised
from verifier.model import CHECKED, load

SUPPORTED, UNSUPPORTED = 0, 2


def run(arguments: argparse.Namespace) -> int:
    """Print the report; the status is 2 where the model cannot be verified."""
    path: Path = arguments.model
    box: tuple[float, float] = arguments.box
    quantised = is_quantised(path)
    found = describe_quantised(path) if quantised else describe(path)
    print(report(path, found))
    if found.unsupported:
        print(f"plumbline: {path}: {len(found.unsupported)} nodes are not supported", file=sys.stderr)
        return UNSUPPORTED
    if quantised:
        load(path)
        print(f"replayed         {CHECKED} random inputs in onnxruntime, equal to the bit")
        return SUPPORTED
    difference = load(path).largest_difference(box=box)
    print(f"float32 vs real  {difference:.3g} at most, over random inputs in {box[0]:g} to {box[1]:g}")
    return SUPPORTED


def report(path: Path, found: Description) -> str:
    """The facts of a model file, one a line."""
    operators = ", ".join(f"{name} x{count}" if count > 1 else name for name, count in found.operators)
    shape = " x ".join(str(side) for side in found.input_shape)
    lines = [
        f"model            {path}",
        f"operators        {operators} (opset {found.opset})",
        f"input            {found.input_name}: {shape}",
        f"output           {found.output_name}: {'?' if found.classes is None else found.classes} classes",
    ]
    if not found.unsupported:
        lines.append(f"layers           {found.layers}")
        lines.append(f"neurons          {found.neurons:,}" if found.neurons else f"ReLUs            {found.relus:,}")
    lines.append(f"parameters       {found.parameters:,}")
    lines += [f"note             {note}" for note in found.notes]
    lines += [f"not supported    {reason}" for reason in found.unsupported]
    return "\n".join(lines)
