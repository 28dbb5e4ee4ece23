"""`plumbline verify-property`: is a VNN-LIB property of a network satisfied? And the calls of the competition."""

from __future__ import annotations

import argparse
import gzip
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from encoders.errors import OptionError

if TYPE_CHECKING:
    from encoders.properties.property import Property
    from verifier.property_answer import PropertyResult

ANSWERED, OPEN = 0, 1
VERSION = "v1"  # of the competition's calls
CALLS = ("install", "prepare", "run")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`plumbline verify-property MODEL PROPERTY`."""
    parser.description = (
        "Whether some input satisfies a property (VNN-LIB 1.0 or 2.0, or either compressed by gzip), of one network or "
        "of several. The first word on standard output is sat (an input in the file's own number type does, in "
        "onnxruntime and in real numbers), unsat (proven: no real input does), timeout or unknown; the status is 0 "
        "after sat and unsat, else 1."
    )
    parser.add_argument(
        "model", type=Path, metavar="MODEL", help="an ONNX file with one input: the first network that is declared"
    )
    parser.add_argument("property", type=Path, metavar="PROPERTY", help="a .vnnlib file, or .vnnlib.gz")
    parser.add_argument(
        "--network", type=_network, action="append", default=[], metavar="NAME=FILE",
        help="the file of another network that the property declares, unless it is equal to one; may be repeated",
    )  # fmt: skip
    parser.add_argument(
        "--output", metavar="NAME", help="which output the property speaks of, where a file has several"
    )
    parser.add_argument("--time-limit", type=float, metavar="SECONDS", help="for the whole property (default: none)")
    parser.add_argument(
        "--witness", type=Path, metavar="FILE", help="where the input and its outputs are written if sat"
    )
    parser.add_argument(
        "--witness-version", metavar="V",
        help="the VNN-LIB version whose form a witness has: 1.0 or 2.0 (default: the property's own)",
    )  # fmt: skip
    parser.add_argument(
        "--engine", default="search", metavar="E",
        help="for nets with many inputs: search, highs, auto, or module:Name (default: search)",
    )  # fmt: skip
    parser.add_argument("--device", default="auto", metavar="D", help="auto, cpu or cuda (default: auto)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of random starts (default: 0)")


def run(arguments: argparse.Namespace) -> int:
    """Print the answer; returns the exit status."""
    from encoders.properties.vnnlib import read_vnnlib
    from encoders.properties.witness import check_form

    asked = read_vnnlib(arguments.property)
    check_form(asked, arguments.witness_version or asked.version)
    found = answer(arguments, asked)
    told = f"{found.verdict} in {found.seconds:.2f} s, {found.nodes} nodes"
    print(told if found.basis is None else f"{told}, {found.basis}")
    text = _witness(asked, found, arguments.witness_version)
    if text is not None:
        if arguments.witness is None:
            print(text)
        else:
            arguments.witness.write_text(text + "\n")
    return ANSWERED if found.verdict in ("sat", "unsat") else OPEN


def answer(arguments: argparse.Namespace, asked: Property) -> PropertyResult:
    """The property's answer."""
    from verifier.property_answer import PropertyOptions, check_property
    from verifier.question.model import load_network

    options = PropertyOptions(
        time_limit=arguments.time_limit, engine=arguments.engine, device=arguments.device, seed=arguments.seed
    )
    files = {asked.networks[0].name: arguments.model}
    for name, path in arguments.network:
        if name in files:
            raise OptionError(f"--network {name}={path}: {name} is {files[name]} already; give each network one file")
        files[name] = path
    models = {name: load_network(path, arguments.output) for name, path in files.items()}
    return check_property(models, asked, options)


def _witness(asked: Property, found: PropertyResult, version: str | None) -> str | None:
    """The witness of a property that is satisfied, in the words of one version."""
    from encoders.properties.witness import witness_text

    if found.witness is None or found.outputs is None:
        return None
    return witness_text(asked, found.witness, found.outputs, version)


def _network(text: str) -> tuple[str, Path]:
    name, _, path = text.partition("=")
    if not (name and path):
        raise argparse.ArgumentTypeError(f"{text!r} is no network and file; write such as g=other.onnx")
    return name, Path(path)


def add_competition(parser: argparse.ArgumentParser) -> None:
    """`plumbline vnncomp CALL v1 …`."""
    parser.description = (
        "What the competition's three scripts call: `install v1`, `prepare v1 CATEGORY MODEL PROPERTY` (status 0 where "
        "both can be read) and `run v1 CATEGORY MODEL PROPERTY RESULTS SECONDS`, which writes the answer, and the "
        "witness after sat, to the file RESULTS."
    )
    parser.add_argument("call", choices=CALLS)
    parser.add_argument("version", metavar="VERSION", help=f"of the calls: {VERSION}")
    parser.add_argument("rest", nargs="*", metavar="ARGUMENT", help="as the competition gives them")


def run_competition(arguments: argparse.Namespace) -> int:
    """One call; returns the exit status."""
    from encoders.properties.vnnlib import read_vnnlib

    if arguments.version != VERSION:
        raise OptionError(f"version {arguments.version!r} of the competition's calls; only {VERSION} is known")
    wanted = {"install": 0, "prepare": 3, "run": 5}[arguments.call]
    if len(arguments.rest) != wanted:
        raise OptionError(
            f"vnncomp {arguments.call} takes {wanted} arguments after {VERSION}, not {len(arguments.rest)}"
        )
    if arguments.call == "install":
        return ANSWERED
    if arguments.call == "run":
        Path(arguments.rest[3]).unlink(missing_ok=True)  # an answer of another run is none of this one
    with tempfile.TemporaryDirectory() as folder:
        model, path = (_unpacked(Path(name), Path(folder)) for name in arguments.rest[1:3])
        if arguments.call == "prepare":
            return _prepare(model, path)
        results, seconds = Path(arguments.rest[3]), _seconds(arguments.rest[4])
        call = argparse.Namespace(
            model=model, network=[], output=None, time_limit=seconds, engine="search", device="auto", seed=0
        )
        asked = read_vnnlib(path)
        found = answer(call, asked)
    text = _witness(asked, found, None)
    results.write_text(f"{found.verdict}\n{text}\n" if text else f"{found.verdict}\n")
    return ANSWERED


def _prepare(model: Path, path: Path) -> int:
    from encoders.properties.vnnlib import read_vnnlib
    from verifier.question.model import load_network
    from verifier.question.networks import networks_of

    networks_of(read_vnnlib(path), load_network(model))
    return ANSWERED


def _seconds(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise OptionError(f"{text!r} is no number of seconds") from None


def _unpacked(path: Path, folder: Path) -> Path:
    """A model as a file that can be read: the competition packs them by gzip. Properties are read packed."""
    if path.suffix != ".gz" or path.name.endswith(".vnnlib.gz"):
        return path
    unpacked = folder / path.stem
    unpacked.write_bytes(gzip.decompress(path.read_bytes()))
    return unpacked
