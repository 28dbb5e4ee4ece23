"""A proof of a test as a certificate, and what the tests' checker, and viprchk where it is there, say of that."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tests.verifier.checker.small_proofs import Line, packed
from tests.vipr_checker import Vipr
from verifier.proofs.vipr.vipr_file import write_vipr

VIPRCHK = shutil.which("viprchk")
SAYS = {
    "RTP infeas": "Infeasibility verified.",
    "RTP range -inf": "Successfully checked solution for feasibility",
    "RTP range": "Successfully verified optimal value range",
}


def translated(model: Path, *lines: Line) -> str:
    """The certificate's text."""
    proof = model.with_suffix(".proof")
    proof.write_bytes(packed(*lines))
    return write_vipr(model.with_suffix(".vipr"), proof, model).path.read_text()


def accepted(text: str, folder: Path) -> str:
    """What it proves, in the words of the tests' checker; viprchk agrees, where it is on the PATH."""
    if VIPRCHK is not None:
        assert by_viprchk(VIPRCHK, text, folder)
    return Vipr(text).check()


def by_viprchk(program: str, text: str, folder: Path) -> bool:
    """Whether viprchk says what was to be proven: its exit status alone is 0 also where nothing is derived."""
    path = folder / "asked.vipr"
    path.write_text(text)
    done = subprocess.run([program, str(path)], capture_output=True, text=True, check=False)
    said = next(said for asked, said in SAYS.items() if f"\n{asked}" in text)
    return done.returncode == 0 and said in done.stdout
