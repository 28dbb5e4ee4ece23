"""`plumbline vipr PROOF… --model FILE`: proofs as VIPR certificates, which programs that are not ours check."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from encoders.errors import OptionError, ProofError
from verifier.checker.command import SUFFIX as PROOF
from verifier.checker.command import proof_files

WRITTEN, NOT_ALL = 0, 1
SUFFIX = ".vipr"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`vipr PROOF… --model FILE`."""
    parser.description = (
        "Write proofs in linf and l1 as VIPR 1.1 certificates, which viprchk (https://github.com/scipopt/vipr) checks: "
        "exit status 0 if all are written, 1 if some have no such form."
    )
    parser.add_argument(
        "proofs", nargs="+", type=Path, metavar="PROOF", help=f"a proof file, or a folder of *{PROOF} files"
    )
    parser.add_argument("--model", required=True, type=Path, metavar="FILE", help="the ONNX file that they are about")
    parser.add_argument(
        "--out", type=Path, metavar="PATH", help=f"a *{SUFFIX} file, or a folder for them (default: beside each proof)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Write all, say of each where it is and what it claims, or why there is none, and return the exit status."""
    from verifier.proofs.vipr.vipr_file import write_vipr

    arguments.model.stat()  # a model that is not there is no proof's fault
    proofs = [file for proof in arguments.proofs for file in proof_files(proof)]
    status = WRITTEN
    for proof, path in zip(proofs, _paths(proofs, arguments.out), strict=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            written = write_vipr(path, proof, arguments.model)
        except ProofError as error:
            print(f"no certificate: {error}", file=sys.stderr, flush=True)
            status = NOT_ALL
        else:
            print(f"{path}: {written.claim} ({written.size / 1e6:.1f} MB)", flush=True)
    return status


def _paths(proofs: list[Path], out: Path | None) -> list[Path]:
    """Where each certificate goes; two of one name have no place in one folder."""
    if out is None:
        return [proof.with_suffix(SUFFIX) for proof in proofs]
    if out.suffix == SUFFIX:
        if len(proofs) > 1:
            raise OptionError(f"--out {out}: one file for {len(proofs)} proofs; name a folder")
        return [out]
    paths = [out / f"{proof.stem}{SUFFIX}" for proof in proofs]
    twice = next((path for path in paths if paths.count(path) > 1), None)
    if twice is not None:
        raise OptionError(f"--out {out}: two proofs would be written to {twice}; name a folder for each")
    return paths
