"""A model file with all that belongs to it: read once, checked before anything is allocated, known by its digest."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnx.inliner
from google.protobuf.message import DecodeError
from onnx import numpy_helper

from encoders.errors import ModelError
from encoders.layer_graph.builder import MAX_ELEMENTS

RUNTIMES_OWN = ("ai.onnx", "com.microsoft", "com.ms.")  # how domains begin whose operators onnxruntime brings itself


@dataclass(frozen=True, eq=False)
class ModelFile:
    """An ONNX file and its external data, as bytes that were read once: what is hashed is what is verified.

    `files` are the digests of all that was read, by name; `digest` is that of the model file where it stands alone,
    and of all names and digests together where it does not. `given` is the file before its local functions were
    written out, where it has any: that this changes nothing is compared.
    """

    path: Path
    proto: onnx.ModelProto
    files: tuple[tuple[str, str], ...]
    given: onnx.ModelProto | None = None

    @property
    def digest(self) -> str:
        if len(self.files) == 1:
            return self.files[0][1]
        told = "\n".join(f"{digest} {name}" for name, digest in self.files)
        return hashlib.sha256(told.encode()).hexdigest()


def read_model_file(path: Path) -> ModelFile:
    """Read, check and hash a model file; its local functions are written out in place of their calls."""
    if not path.is_file():
        raise ModelError(f"{path}: no such model file")
    try:
        content = path.read_bytes()
        proto = onnx.load_model_from_string(content)
    except (DecodeError, ValueError) as error:
        raise ModelError(f"{path}: not a readable ONNX file ({first_line(error)})") from None
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror or first_line(error)})") from None
    if not proto.graph.node or not proto.graph.output:
        raise ModelError(f"{path}: not an ONNX model: it holds no nodes or no outputs; is the file complete?")
    files = {"": hashlib.sha256(content).hexdigest()}
    outside: dict[str, bytes] = {}
    for tensor in all_tensors(proto):
        _check_tensor(path, tensor, outside, files)
    _check_functions(path, proto)
    given = proto if proto.functions else None
    try:
        onnx.checker.check_model(proto)
        if given is not None:
            proto = onnx.inliner.inline_local_functions(given)
    except (onnx.checker.ValidationError, ValueError, OSError, RuntimeError) as error:
        raise ModelError(f"{path}: the ONNX checker refuses it: {first_line(error)}") from None
    return ModelFile(path, proto, tuple(sorted(files.items())), given)


def _check_functions(path: Path, proto: onnx.ModelProto) -> None:
    """Refuse local functions that mean one thing written out and another where onnxruntime calls them."""
    overridden = sorted({f.name for f in proto.functions if not f.domain or f.domain.startswith(RUNTIMES_OWN)})
    if overridden:
        raise ModelError(
            f"{path}: it gives standard operators another meaning ({', '.join(overridden)}); export it without local "
            "functions in the domains of ONNX's and onnxruntime's own operators"
        )
    defaults = sorted({f.name for f in proto.functions if f.attribute_proto})
    if defaults:
        raise ModelError(
            f"{path}: its local functions have attributes with defaults ({', '.join(defaults)}), which are lost when "
            "they are written out; export it without local functions"
        )


def digest_of(path: Path) -> str:
    """The digest of a model file and its external data as they are now; what cannot be read has none."""
    files = {}
    try:
        content = path.read_bytes()
        files[""] = hashlib.sha256(content).hexdigest()
        for tensor in all_tensors(onnx.load_model_from_string(content)):
            location = external_entry(tensor).get("location")
            if location is not None and location not in files:
                files[location] = hashlib.sha256((path.parent / location).read_bytes()).hexdigest()
    except (DecodeError, ValueError, OSError):
        return ""
    return ModelFile(path, onnx.ModelProto(), tuple(sorted(files.items()))).digest


def external_entry(tensor: onnx.TensorProto) -> dict[str, str]:
    """Where a tensor's values lie; empty where the model file holds them itself."""
    if tensor.data_location != onnx.TensorProto.EXTERNAL:
        return {}
    return {entry.key: entry.value for entry in tensor.external_data}


def all_tensors(proto: onnx.ModelProto) -> list[onnx.TensorProto]:
    """Every tensor that a model holds: initializers and attributes, those of local functions too."""
    nodes = [*proto.graph.node, *(node for function in proto.functions for node in function.node)]
    attributes = [a for node in nodes for a in node.attribute if not a.ref_attr_name]
    held = [a.t for a in attributes if a.type == onnx.AttributeProto.TENSOR]
    return [*proto.graph.initializer, *held]


def _check_tensor(path: Path, tensor: onnx.TensorProto, outside: dict[str, bytes], files: dict[str, str]) -> None:
    """Refuse what lies about its size or points out of the model's folder; bring external values in."""
    size = 1
    for extent in tensor.dims:
        size *= int(extent)
    where = f"{path}: tensor {tensor.name!r} of shape {tuple(tensor.dims)}"
    if size > MAX_ELEMENTS or any(extent < 0 for extent in tensor.dims):
        raise ModelError(f"{where} is larger than the {MAX_ELEMENTS} entries allowed")
    external = external_entry(tensor)
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        _bring_in(path, tensor, external, size, where, outside, files)
    if tensor.data_type == onnx.TensorProto.STRING:
        return
    try:
        numpy_helper.to_array(tensor)
    except (ValueError, TypeError, RuntimeError, KeyError) as error:
        raise ModelError(f"{where} does not hold as many values as it declares ({first_line(error)})") from None


def _bring_in(
    path: Path,
    tensor: onnx.TensorProto,
    external: dict[str, str],
    size: int,
    where: str,
    outside: dict[str, bytes],
    files: dict[str, str],
) -> None:
    """Copy a tensor's values out of its file into the model, where they are hashed and cannot change any more."""
    folders, location = (path.parent.resolve(), path.resolve().parent), external.get("location", "")
    target = (path.parent / location).resolve()
    if not any(target.is_relative_to(folder) for folder in folders):
        raise ModelError(f"{where} points to {location!r}, outside the model's folder")
    if not target.is_file():
        raise ModelError(f"{where} lies in {location!r}, which is missing")
    if location not in outside:
        outside[location] = target.read_bytes()
        files[location] = hashlib.sha256(outside[location]).hexdigest()
    try:
        start = int(external.get("offset", 0))
        needed = size * int(np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)).itemsize)
        needed = int(external.get("length", needed)) or needed
    except (ValueError, TypeError, KeyError) as error:
        raise ModelError(f"{where} says nothing sensible of where it lies ({first_line(error)})") from None
    content = outside[location][max(start, 0) : max(start, 0) + max(needed, 0)]
    if start < 0 or len(content) < needed:
        raise ModelError(f"{where} needs {needed} bytes; {target.name} holds {len(content)}")
    tensor.raw_data = content
    tensor.data_location = onnx.TensorProto.DEFAULT
    del tensor.external_data[:]


def first_line(error: BaseException) -> str:
    """The first line of an error's text, or its name where it has none."""
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
