"""A model from where it is: an ONNX file, or a torch module."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from numpy.typing import ArrayLike

from encoders.errors import OptionError
from verifier.question import model as files
from verifier.question.model import Model

if TYPE_CHECKING:
    from torch import nn


def load(
    model: str | Path | nn.Module,
    example_input: ArrayLike | None = None,
    *,
    output: str | None = None,
    threshold: float | None = None,
    save_as: str | Path | None = None,
) -> Model:
    """Read an ONNX file, or export a torch module, and compare it with onnxruntime; what was read once is kept.

    A module comes with an example input, one sample or more with an axis that counts them, as `x[:1]`. It is exported
    in evaluation mode and compared with its export, on the example and on random inputs near it; it stays as it was.
    The export is a temporary file, or `save_as`.
    `output` names the output of a file that holds the scores, where there are several. `threshold` makes a model with
    one output a classifier of two classes: class 1 where the output is above it, class 0 elsewhere. Without one it can
    be asked for a change of its output, and for its range.
    """
    from torch import nn

    threshold = files.checked_threshold(threshold)
    if isinstance(model, nn.Module):
        from verifier.question.torch_module import load_module

        if output is not None:
            raise OptionError("output is for a file; give a module that returns the scores alone")
        return load_module(model, example_input, threshold, None if save_as is None else Path(save_as))
    for name, value in (("example_input", example_input), ("save_as", save_as)):
        if value is not None:
            raise OptionError(f"{name} is for a torch module; leave it out for a file")
    if not isinstance(model, str | os.PathLike):
        raise OptionError(f"model: give the path of an ONNX file, or a torch module, not {type(model).__name__}")
    return files.load(model, output, threshold, classifier=False)
