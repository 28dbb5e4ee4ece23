"""Files that anybody may send are read in a process of their own, with little memory and little time.

It is a fork of one that has imported everything: a file that takes all memory, or never ends, or crashes what reads it,
costs one line.
"""

from __future__ import annotations

import io
import math
import multiprocessing
import resource
import signal
import threading
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeVar

from encoders.errors import DataError, ModelError, OptionError, PlumblineError
from verifier.service.errors import TooLargeError
from verifier.service.settings import Limits

T = TypeVar("T")
AT_ONCE = 2  # files that are read at the same time
ROOM = 2**30  # bytes of address space that a process has before it reads anything, at most
PICTURES = "pictures.npz"
_reading = threading.BoundedSemaphore(AT_ONCE)


def warm() -> Any:
    """The context whose processes are forks of one that has imported what reads and answers."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["verifier.service.worker"])
    return context


def isolated(limits: Limits, folder: Path, read: Callable[..., T], *arguments: Any) -> T:
    """What `read` returns or raises, in a process of its own; errors name files without the `folder` they are in."""
    context = warm()
    with _reading:
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=_read, args=(theirs, limits, folder, read, arguments), daemon=True)
        process.start()
        theirs.close()
        try:
            if not ours.poll(limits.reading_seconds):
                raise DataError(f"reading it takes more than {limits.reading_seconds:g} s; give a smaller file")
            found = ours.recv()
        except (EOFError, OSError):
            raise DataError("reading it takes more memory than there is, or crashes; give a smaller file") from None
        finally:
            process.kill()
            process.join()
            ours.close()
    if isinstance(found, Exception):
        raise found
    answer: T = found
    return answer


def _read(line: Connection, limits: Limits, folder: Path, read: Callable[..., Any], arguments: Sequence[Any]) -> None:
    """In the process of its own; SIGTERM ends it whatever the server does with its own."""
    from verifier.runs.processes import depend_on_parent

    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    depend_on_parent()
    seconds = math.ceil(limits.reading_seconds)
    resource.setrlimit(resource.RLIMIT_AS, (_address_space() + limits.reading_memory,) * 2)
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    line.send(attempted(folder, read, arguments))
    line.close()


def attempted(folder: Path, read: Callable[..., Any], arguments: Sequence[Any]) -> Any:
    """What `read` returns, or as an error why it does not, in a line."""
    try:
        return read(*arguments)
    except PlumblineError as error:
        return type(error)(str(error).replace(f"{folder}/", ""))
    except MemoryError:
        return DataError("reading it takes more memory than is allowed; give a smaller file")
    except Exception as error:
        return DataError(f"it cannot be read ({type(error).__name__}: {' '.join(str(error).split())[:200]})")


def _address_space() -> int:
    """Bytes that this process has mapped already."""
    pages = int(Path("/proc/self/statm").read_text().split()[0]) if Path("/proc/self/statm").exists() else 0
    return pages * resource.getpagesize() or ROOM


@dataclass(frozen=True)
class ReadModel:
    """What a model file is: its digest with all external data, and what `inspect` says of it."""

    sha256: str
    external: Mapping[str, str]
    facts: dict[str, Any]


def read_model(path: Path, output: str | None, threshold: float | None, limits: Limits) -> ReadModel:
    """The facts of a model that can be verified; what cannot be is refused as the command line refuses it."""
    from encoders.onnx.model_file import read_model_file
    from encoders.onnx.reader import describe
    from encoders.quantised.file import describe_quantised, is_quantised
    from verifier.question.model import load

    file = read_model_file(path)
    quantised = is_quantised(file)
    found = describe_quantised(file, output) if quantised else describe(file, output, threshold)
    inputs = math.prod(found.input_shape)
    neurons = found.neurons or found.relus
    for name, count, most in (("inputs", inputs, limits.inputs), ("neurons", neurons, limits.neurons)):
        if count > most:
            raise TooLargeError(f"{path}: {count:,} {name}; at most {most:,} are taken here")
    if found.unsupported:
        count = len(found.unsupported)
        reasons = "; ".join(found.unsupported)[:800]
        raise ModelError(f"{path}: {count} node{' is' if count == 1 else 's are'} not supported: {reasons}")
    model = load(path, output, threshold, classifier=False)
    compared = model.comparison
    facts: dict[str, Any] = {
        "inputs": inputs, "input_shape": list(found.input_shape), "classes": model.classes, "neurons": neurons,
        "operators": [[name, count] for name, count in found.operators], "opset": found.opset,
        "input_name": found.input_name, "output_name": found.output_name, "parameters": found.parameters,
        "notes": list(found.notes), "quantised": quantised, "layers": _layers(model),
        "type": model.input_type.__name__, "output": output, "threshold": threshold,
        "compared": None if compared is None else {
            "tensors": compared.tensors, "inputs": compared.inputs, "difference": compared.difference,
            "allowed": compared.allowed,
        },
    }  # fmt: skip
    return ReadModel(file.digest, {name: digest for name, digest in file.files if name}, facts)


def _layers(model: Any) -> list[dict[str, Any]]:
    """The layers of a model from its input on, as a picture of it shows them."""
    from encoders.layer_graph.graph import Affine, Input

    if model.quantised is not None:
        sizes = [("dense, int8", layer.outputs) for layer in model.quantised.layers]
        return [{"name": f"layer {k + 1}", "kind": kind, "size": size} for k, (kind, size) in enumerate(sizes)]
    try:
        nodes = model.guide.nodes
    except OptionError:  # a smooth network is attacked, and has no layer graph
        return []
    layers = []
    for node in nodes:
        kind = "relu"
        if isinstance(node, Input):
            kind = "input"
        elif isinstance(node, Affine):
            kind = " + ".join(sorted({type(one).__name__.lower() for one in node.maps})) or "constant"
        layers.append({"name": node.name, "kind": kind, "size": node.size})
    return layers


@dataclass(frozen=True)
class ReadData:
    """What a data file is: how many samples of which shape, and the file that holds them."""

    path: Path
    count: int
    shape: tuple[int, ...]
    labelled: bool


def read_data(paths: Sequence[Path], limits: Limits) -> ReadData:
    """The facts of an .npz, an .npy, or of pictures, which become one .npz."""
    from verifier.runs.samples import load_labelled

    path = _pictures(paths, limits) if paths[0].suffix.lower() == ".png" else paths[0]
    check_declared(path, limits.data_bytes)
    x, y = load_labelled(str(path))
    return ReadData(path, len(x), tuple(x.shape[1:]), y is not None)


def _pictures(paths: Sequence[Path], limits: Limits) -> Path:
    """Pictures of one size as uint8 [N, H, W] or [N, H, W, 3], in the order of their names."""
    import numpy as np
    from PIL import Image, UnidentifiedImageError

    arrays = []
    for path in sorted(paths, key=lambda path: path.name):
        try:
            with Image.open(path, formats=["PNG"]) as image:
                if image.width * image.height * 3 * len(paths) > limits.data_bytes:
                    raise TooLargeError(f"{path}: {image.width} x {image.height} pixels are more than is taken here")
                arrays.append(np.asarray(image.convert("L" if image.mode in ("1", "L", "LA", "I;16") else "RGB")))
        except (UnidentifiedImageError, SyntaxError, ValueError, OSError, Image.DecompressionBombError) as error:
            if isinstance(error, PlumblineError):
                raise
            raise DataError(f"{path}: not a readable PNG ({' '.join(str(error).split())})") from None
    shapes = {array.shape for array in arrays}
    if len(shapes) > 1:
        raise DataError(f"pictures of {len(shapes)} sizes or kinds; give all in one size, all grey or all in colour")
    made = paths[0].parent / PICTURES
    np.savez_compressed(made, x=np.stack(arrays))
    return made


def check_declared(path: Path, most: int) -> None:
    """Refuse arrays that say of themselves that they are larger than is taken, before any is read."""
    if path.suffix.lower() == ".npy":
        with open(path, "rb") as file:
            sizes = [_declared(path, file)]
    else:
        try:
            with zipfile.ZipFile(path) as archive:
                sizes = [_of_member(path, archive, member) for member in archive.infolist()]
        except (zipfile.BadZipFile, OSError, NotImplementedError, RuntimeError) as error:
            raise DataError(
                f"{path}: not a readable numpy file without pickled objects ({' '.join(str(error).split())})"
            ) from None
    if sum(sizes) > most:
        raise TooLargeError(f"{path}: holds {sum(sizes):,} bytes of arrays; at most {most:,} are taken here")


def read_array(path: Path, limits: Limits) -> None:
    """Refuse what is no readable .npy, .npz or .png; what it holds is looked at when an option names it."""
    from verifier.runs.samples import readable

    if path.suffix.lower() != ".png":
        check_declared(path, limits.data_bytes)
    readable(path)


def _of_member(path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> int:
    with archive.open(member) as file:
        return max(member.file_size, _declared(path, file))


def _declared(path: Path, file: Any) -> int:
    """Bytes of the array whose header comes next."""
    import numpy as np
    from numpy.lib import format as numpy_format

    try:
        head = io.BytesIO(file.read(2**16))
        version = numpy_format.read_magic(head)
        read = numpy_format.read_array_header_1_0 if version == (1, 0) else numpy_format.read_array_header_2_0
        shape, _, dtype = read(head)
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"{path}: not a readable numpy file without pickled objects ({reason})") from None
    if dtype.hasobject:
        raise DataError(f"{path}: not a readable numpy file without pickled objects (it holds Python objects)")
    return math.prod(shape) * int(np.dtype(dtype).itemsize)


def check_question(
    path: Path, facts: Mapping[str, Any], source: str, chosen: str | None, kind: str, radius: float | None,
    options: Mapping[str, Any], proofs: bool, arrays: Mapping[str, Path],
) -> Any:  # fmt: skip
    """Whether a question can be asked of a model and data, and what it comes to."""
    from verifier.service.asking import Question, checked

    return checked(path, facts, source, chosen, Question(kind, radius, options, proofs, arrays))
