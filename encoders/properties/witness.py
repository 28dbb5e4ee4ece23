"""Writes a witness of a property in the words of VNN-LIB: version 1.0's pairs, or version 2.0's tensors.

Version 1.0 has what the competition takes: one s-expression of pairs, `((X_0 0.5) (Y_0 1.0))`, inputs first. Version
2.0 has what its standard asks solvers to print: for each declared tensor, in the order of the declarations, a line with
its name, type and shape, and then its entries in row-major order, a line each. Numbers are those of the witness, to the
last digit: who reads them as float64 has them exactly.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from encoders.arrays import FloatArray, Inputs
from encoders.errors import OptionError
from encoders.properties.property import Property, Variable
from encoders.properties.vnnlib import VERSION_1, VERSION_2

VERSIONS = (VERSION_1, VERSION_2)


def check_form(asked: Property, version: str) -> None:
    """Refuse a form that has no words for a witness of this property."""
    if version not in VERSIONS:
        raise OptionError(f"version {version} of witnesses; choose from {', '.join(VERSIONS)}")
    if version == VERSION_1 and len(asked.networks) > 1:
        raise OptionError("version 1.0 has no words for a witness of several networks; leave it out, or choose 2.0")


def witness_text(asked: Property, inputs: Inputs, outputs: FloatArray, version: str | None = None) -> str:
    """A witness in the form of one version, by default the property's own."""
    version = asked.version if version is None else version
    check_form(asked, version)
    return _pairs(inputs, outputs) if version == VERSION_1 else _tensors(asked, inputs, outputs)


def _pairs(inputs: Inputs, outputs: FloatArray) -> str:
    names = [
        (f"{letter}_{k}", value) for letter, both in (("X", inputs), ("Y", outputs)) for k, value in enumerate(both)
    ]
    return "(" + "\n ".join(f"({name} {float(value)!r})" for name, value in names) + ")"


def _tensors(asked: Property, inputs: Inputs, outputs: FloatArray) -> str:
    lines: list[str] = []
    start = {"input": 0, "output": 0}
    for network in asked.networks:
        for side, tensor, values in (("input", network.input, inputs), ("output", network.output, outputs)):
            lines += _tensor(tensor, values[start[side] : start[side] + tensor.size].tolist())
            start[side] += tensor.size
    return "\n".join(lines)


def _tensor(tensor: Variable, values: Sequence[float]) -> list[str]:
    """The version's numbers have a point and no exponent."""
    shape = ",".join(map(str, tensor.shape))
    numbers = [np.format_float_positional(float(value), trim="0") for value in values]
    return [f"{tensor.name} {tensor.kind} [{shape}]", *numbers]
