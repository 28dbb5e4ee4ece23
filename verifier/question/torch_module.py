"""A torch module as a model: exported by torch itself, and the export held against the module it came from.

`torch.export` refuses a branch on values, where tracing would keep one side of it in silence. The exporter folds what
it can in the module's own type, as BatchNorm into a convolution: the file is what is proven, and how far it is from
the module is compared. What torch notes beside the operators, source lines and paths, is taken out, so that equal
modules have equal digests. The file lasts as long as the process, where its workers read it too.
"""

from __future__ import annotations

import hashlib
import io
import logging
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from encoders.arrays import FloatArray, Inputs
from encoders.errors import DataError, ModelError, OptionError, PlumblineError
from encoders.onnx.model_file import first_line
from verifier.question.model import Model, load
from verifier.question.sample_values import array_of, numbers_of

KINDS: dict[torch.dtype, type[np.floating[Any]]] = {torch.float32: np.float32, torch.float64: np.float64}
POINTS, NEAR = 8, (0.1, 1.0)  # random inputs at each distance from the example, in units of its largest entry
ROUNDING = 64.0  # times what onnxruntime rounds on the same inputs, the module may differ from it
REPEATED = 1e-6  # relative: what two runs on one input may differ by, on devices that sum in no fixed order


def load_module(
    module: nn.Module, example_input: ArrayLike | None, threshold: float | None = None, save_as: Path | None = None
) -> Model:
    """Export a module in evaluation mode, load the file, and compare it with the module; the module stays as it was."""
    name = type(module).__name__
    with _evaluated(module):
        example = _example(module, name, example_input)
        points = _points(example)
        outputs = _outputs(module, name, points)
        content = _exported(module, name, example)
    path = _written(content, name, save_as)
    try:
        model = load(path, threshold=threshold, classifier=False)
    except PlumblineError as error:
        raise type(error)(str(error).replace(str(path), f"{name}, exported")) from None
    _compare(model, name, points.cpu().numpy(), outputs)
    return model


@contextmanager
def _evaluated(module: nn.Module) -> Iterator[None]:
    """The module in evaluation mode, without gradients; after it modes and random state are as before."""
    before = [(part, part.training) for part in module.modules()]
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            module.eval()
            yield
    finally:
        for part, training in before:
            part.training = training


def _example(module: nn.Module, name: str, given: ArrayLike | None) -> Tensor:
    """One sample [1, ...] in the module's own type, on its device."""
    if given is None:
        raise OptionError(f"example_input: {name} has no shape of its own; give one sample, plumbline.load(net, x[:1])")
    if isinstance(given, tuple | list | dict) and any(isinstance(one, Tensor) for one in given):
        raise DataError(f"example_input: {name} must take one input; wrap it in a module that does, and give a tensor")
    weight = next((p for p in [*module.parameters(), *module.buffers()] if p.is_floating_point()), None)
    array = array_of("example_input", given)
    dtype = torch.float64 if array.dtype == np.float64 else torch.float32
    dtype = dtype if weight is None else weight.dtype
    if dtype not in KINDS:
        raise ModelError(
            f"{name}: it computes in {str(dtype).removeprefix('torch.')}; give module.float() or .double()"
        )
    values = numbers_of("example_input", array, KINDS[dtype])
    if values.ndim < 2 or not values.size:
        raise DataError(f"example_input: shape {values.shape}; its first axis counts samples: give x[:1]")
    return torch.from_numpy(values[:1].copy()).to("cpu" if weight is None else weight.device)


def _points(example: Tensor) -> Tensor:
    """The example and random inputs around it, near and far."""
    size = max(1.0, float(example.abs().max()))
    rng = np.random.default_rng(0)
    noise = [far * size * rng.normal(size=(POINTS, *example.shape[1:])) for far in NEAR]
    return torch.cat([example, *(example + torch.as_tensor(one).to(example) for one in noise)])


def _outputs(module: nn.Module, name: str, points: Tensor) -> FloatArray:
    """The module's output [P, K] for each point by itself; refuses what is no deterministic function to one tensor."""
    first, again = (np.stack([_output(module, name, point[None]) for point in points]) for _ in range(2))
    if not np.isfinite(first).all():
        raise ModelError(f"{name}: its output is not finite on or near the example input; give another, or mend it")
    apart = float(np.abs(first - again).max())
    if apart > REPEATED * float(np.abs(first).max()):
        raise ModelError(
            f"{name}: two runs on one input differ by {apart:.3g}, in evaluation mode; take out what is random, as "
            "dropout that does not ask for the mode"
        )
    return first


def _output(module: nn.Module, name: str, sample: Tensor) -> FloatArray:
    try:
        found = module(sample)
    except Exception as error:  # whatever its code may raise
        raise ModelError(
            f"{name}: it fails on one sample of shape {tuple(sample.shape)}: {first_line(error)}; example_input is "
            "x[:1], with an axis that counts samples"
        ) from None
    if not isinstance(found, Tensor):
        several = f" of {len(found)}" if isinstance(found, tuple | list | dict) else ""
        raise ModelError(
            f"{name}: it returns a {type(found).__name__}{several}; wrap it in a module that returns the scores alone"
        )
    if not found.is_floating_point():
        raise ModelError(f"{name}: it returns {str(found.dtype).removeprefix('torch.')}; return the class scores")
    if not found.ndim or found.shape[0] != 1:
        raise ModelError(
            f"{name}: it makes {tuple(found.shape)} of one sample of shape {tuple(sample.shape)}; example_input is "
            "x[:1], with an axis that counts samples, and so must the output have one"
        )
    return np.asarray(found.cpu().numpy(), dtype=np.float64).reshape(-1)


def _exported(module: nn.Module, name: str, example: Tensor) -> bytes:
    """The ONNX file of a module, for any number of samples, or for one where its code says so."""
    any_number = (torch.cat([example, example]), ({0: torch.export.Dim("samples")},))
    try:
        try:
            proto = _by_torch(module, *any_number)
        except ImportError:
            raise
        except Exception:
            proto = _by_torch(module, example, None)
    except ImportError as error:
        raise ModelError(f"{name}: torch exports with onnxscript; pip install onnxscript ({error})") from None
    except Exception as error:  # torch's exporter has no family of exceptions
        raise ModelError(
            f"{name}: torch cannot export it: {_cause(error)}; no branch may depend on values, or export it to an "
            "ONNX file yourself and load that"
        ) from None
    for part in (proto, proto.graph, *proto.graph.node, *proto.graph.initializer, *proto.graph.value_info,
                 *proto.graph.input, *proto.graph.output):  # fmt: skip
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    return bytes(proto.SerializeToString(deterministic=True))


def _by_torch(module: nn.Module, example: Tensor, shapes: Any) -> onnx.ModelProto:
    """What torch's exporter makes of a module; it says on the way what nobody asked for."""
    level = logging.root.manager.disable
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        logging.disable(logging.CRITICAL)
        try:
            program = torch.export.export(module, (example,), dynamic_shapes=shapes, strict=False)
            made = torch.onnx.export(
                program, dynamo=True, verbose=False, input_names=["input"], output_names=["scores"]
            )
        finally:
            logging.disable(level)
    if made is None:
        raise RuntimeError("its exporter returned nothing")
    proto: onnx.ModelProto = made.model_proto
    return proto


def _cause(error: BaseException) -> str:
    """The first line of what went wrong first."""
    while error.__cause__ is not None:
        error = error.__cause__
    return first_line(error).rstrip(".")


def _written(content: bytes, name: str, save_as: Path | None) -> Path:
    """Where the export lies: as it was asked for, or by its digest in a folder that lasts as long as the process."""
    path = save_as
    if path is None:
        path = Path(_folder().name) / f"{name}-{hashlib.sha256(content).hexdigest()[:16]}.onnx"
    try:
        path.write_bytes(content)
    except OSError as error:
        raise OptionError(f"save_as {path}: cannot be written ({error.strerror})") from None
    return path


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="plumbline-")


def _compare(model: Model, name: str, points: Inputs, outputs: FloatArray) -> None:
    """Refuse an export that computes something else than its module, beyond what rounding explains.

    How far rounding goes is seen on the same points: it parts onnxruntime's scores from those in real numbers.
    """
    flat = points.reshape(len(points), -1)
    rounded = float(np.abs(model.scores(flat) - model.real(flat.astype(np.float64))).max())
    allowed = ROUNDING * (rounded + float(np.finfo(model.input_type).eps) * float(np.abs(outputs).max()))
    found = model.outputs(flat)[:, -outputs.shape[1] :]
    apart = np.abs(found - outputs) if found.shape == outputs.shape else np.full_like(outputs, np.inf)
    if (apart <= allowed).all():
        return
    row, column = np.unravel_index(int(apart.argmax()), apart.shape)
    raise ModelError(
        f"{name}: its export differs from the module by {apart[row, column]:.3g} in output {column} on "
        f"{'an input near the example' if row else 'the example input'} (rounding explains {allowed:.3g}); export it "
        "to an ONNX file yourself and load that"
    )
