"""The command `check`: proofs against a model file, one line for each; what both ways to call it share."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from verifier.checker.errors import UncheckableError

if TYPE_CHECKING:
    from verifier.checker.checking import Verdict

DESCRIPTION = (
    "Check proofs against a model file, from the format's page alone: exit status 0 if all are accepted, 1 if some are "
    "refused or rest on a solver's claims, 2 if a file cannot be checked."
)
ACCEPTED, NOT_ACCEPTED, UNCHECKED = 0, 1, 2
SUFFIX = ".proof"


@dataclass(frozen=True)
class Checked:
    """What is said of one proof file: a verdict, or why there is none."""

    proof: Path
    verdict: Verdict | None
    why: str = ""

    @property
    def status(self) -> int:
        """The exit status that it asks for."""
        if self.verdict is None:
            return UNCHECKED
        return ACCEPTED if self.verdict.whole else NOT_ACCEPTED

    def line(self) -> str:
        """One line for people."""
        said = f"cannot be checked: {self.why}" if self.verdict is None else self.verdict.told()
        about = f"; {self.verdict.about}" if self.verdict is not None and self.verdict.accepted else ""
        return f"{self.proof}: {said}{about}"

    def record(self) -> dict[str, Any]:
        """One line for programs."""
        if self.verdict is None:
            return {"proof": str(self.proof), "accepted": None, "why": self.why}
        return {"proof": str(self.proof), **asdict(self.verdict)}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`check PROOF… --model FILE`."""
    parser.description = DESCRIPTION
    parser.add_argument(
        "proofs", nargs="+", type=Path, metavar="PROOF", help=f"a proof file, or a folder of *{SUFFIX} files"
    )
    parser.add_argument("--model", required=True, type=Path, metavar="FILE", help="the ONNX file that they are about")
    parser.add_argument(
        "--arithmetic",
        choices=("exact", "float"),
        help="whole numbers, or float64 rounded outward (default: exact where it is quick)",
    )
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="how many are checked at once (default: 1)")
    parser.add_argument("--json", action="store_true", help="a JSON object for each instead of a line")


def run(arguments: argparse.Namespace) -> int:
    """Check all, say of each what was found, and return the exit status."""
    return said_of_all(
        checked_files(arguments.proofs, arguments.model, arguments.arithmetic, arguments.jobs), arguments.json
    )


def said_of_all(outcomes: Iterable[Checked], as_json: bool) -> int:
    """Say of each what was found, and return the exit status."""
    status = ACCEPTED
    for checked in outcomes:
        print(json.dumps(checked.record()) if as_json else checked.line(), flush=True)
        status = max(status, checked.status)
    return status


def checked_files(proofs: Iterable[Path], model: Path, arithmetic: Any, jobs: int) -> Iterator[Checked]:
    """Each file's outcome in turn; folders stand for the proofs in them."""
    listed = [file for proof in proofs for file in proof_files(proof)]
    one = partial(_checked, model=model, arithmetic=arithmetic)
    if jobs <= 1 or len(listed) <= 1:
        yield from map(one, listed)
        return
    from concurrent.futures import ProcessPoolExecutor

    with ProcessPoolExecutor(min(jobs, len(listed))) as pool:
        yield from pool.map(one, listed)


def proof_files(proof: Path) -> list[Path]:
    """A file, or the proofs of a folder, 9 before 10; an empty folder stands for itself, and cannot be checked."""
    if not proof.is_dir():
        return [proof]
    inside = proof.glob(f"*{SUFFIX}")
    return sorted(inside, key=lambda path: [int(w) if w.isdigit() else w for w in re.split("([0-9]+)", path.name)]) or [
        proof
    ]


def _checked(proof: Path, model: Path, arithmetic: Any) -> Checked:
    from verifier.checker.checking import check

    if proof.is_dir():
        return Checked(proof, None, f"the folder holds no *{SUFFIX} files")
    if not proof.exists():
        return Checked(proof, None, "there is no such file")
    try:
        return Checked(proof, check(proof, model, arithmetic))
    except UncheckableError as error:
        return Checked(proof, None, str(error))
    except Exception as error:  # whatever a file holds, one line says that nothing was found out
        return Checked(proof, None, f"{type(error).__name__}: {' '.join(str(error).split())[:200]}")
