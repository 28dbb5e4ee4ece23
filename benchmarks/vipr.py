"""Proofs of distances as VIPR certificates: how many viprchk accepts, what that costs, and whether it sees changes.

viprchk is a program of https://github.com/scipopt/vipr. Each certificate is changed a few times: once more is asked
than was proven, and else a random multiplier is another one. No change may be accepted.

python -m benchmarks.vipr --viprchk viprchk --net trainers/nets/digits-64-32-32-10.onnx --norm linf,l1 --samples 0:20
"""

from __future__ import annotations

import argparse
import subprocess
import time
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.common import chosen, conditions, header, row, single_threaded
from encoders.deadline import Deadline
from encoders.errors import ProofError
from verifier.answer import ask
from verifier.options import Options
from verifier.proofs.proof import written as write_as
from verifier.proofs.vipr.vipr_file import write_vipr
from verifier.question.loading import load
from verifier.question.results import Verdict
from verifier.runs.samples import load_samples

COLUMNS = [
    "norm", "results", "proofs", "certificates", "accepted by viprchk", "translating s", "viprchk s", "proof kB",
    "certificate MB", "changes refused",
]  # fmt: skip
SAYS = "Successfully verified optimal value range"  # of a bracket; the exit status alone says less


@dataclass(frozen=True)
class Checked:
    """One certificate: seconds to write and to check it, sizes in bytes, changes, and how many of them are refused."""

    translating: float
    checking: float
    proof: int
    size: int
    accepted: bool
    changes: int
    refused: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--viprchk", default="viprchk", help="the program, or where it is")
    parser.add_argument("--net", type=Path, default=Path("trainers/nets/digits-64-32-32-10.onnx"))
    parser.add_argument("--data", default="digits")
    parser.add_argument("--norm", default="linf,l1")
    parser.add_argument("--samples", type=chosen, default=range(20))
    parser.add_argument("--time-limit", type=float, default=60.0, help="seconds of a question, and again of its proof")
    parser.add_argument("--changes", type=int, default=5, help="of each certificate (default: 5)")
    given = parser.parse_args()
    single_threaded()
    print(conditions())
    model = load(given.net)
    samples = load_samples(given.data, model.input_shape, model.classes, model.input_type)
    print(f"\n{given.net.name}, distances; medians, and the worst behind them\n")
    print(header(COLUMNS), flush=True)
    for norm in given.norm.split(","):
        options, results, proofs, found = Options(norm=norm, time_limit=given.time_limit), 0, 0, []
        for index in given.samples:
            result = ask(model, samples.x[index], None, options, samples.label(index), index)
            results += result.verdict is not Verdict.MISCLASSIFIED
            with TemporaryDirectory() as folder:
                path, limit = Path(folder) / f"{index}.proof", Deadline(given.time_limit)
                if write_as(path, model, samples.x[index], result, options, None, limit).path is None:
                    continue
                proofs += 1
                try:
                    found.append(checked(given.viprchk, path, model.path, Random(index), given.changes))
                except ProofError as error:
                    print(f"  sample {index}: {error}", flush=True)
        print(told(norm, results, proofs, found), flush=True)


def checked(program: str, proof: Path, model: Path, rng: Random, changes: int) -> Checked:
    """A proof's certificate, as it is and changed."""
    path = proof.with_suffix(".vipr")
    started = time.monotonic()
    written = write_vipr(path, proof, model)
    between = time.monotonic()
    accepted = accepts(program, path)
    ended = time.monotonic()
    text, refused = path.read_text(), 0
    for at in range(changes):
        path.write_text(with_another_multiplier(text, rng) if at else with_more_asked(text))
        refused += not accepts(program, path)
    size = proof.stat().st_size
    return Checked(between - started, ended - between, size, written.size, accepted, changes, refused)


def accepts(program: str, certificate: Path) -> bool:
    """Whether viprchk says that the bracket is verified."""
    done = subprocess.run([program, str(certificate)], capture_output=True, text=True, check=False)
    return done.returncode == 0 and SAYS in done.stdout


def with_more_asked(text: str) -> str:
    """The middle of the bracket in place of its lower end."""
    before = text[text.index("RTP range") :].split("\n", 1)[0]
    low, high = before.split()[2:]
    return text.replace(before, f"RTP range {(Fraction(low) + Fraction(high)) / 2} {high}", 1)


def with_another_multiplier(text: str, rng: Random) -> str:
    """One multiplier of one line, larger by a thousandth part."""
    lines = text.splitlines()
    at = rng.choice([at for at, line in enumerate(lines) if " { lin " in line])
    words = lines[at].split()
    first = words.index("lin") + 1
    place = first + 2 + 2 * rng.randrange(int(words[first]))
    words[place] = str(Fraction(words[place]) * Fraction(1001, 1000))
    return "\n".join([*lines[:at], " ".join(words), *lines[at + 1 :]]) + "\n"


def told(norm: str, results: int, proofs: int, found: list[Checked]) -> str:
    """A row: medians, and the worst behind them."""
    if not found:
        return row([norm, results, proofs, *[0] * (len(COLUMNS) - 3)])

    def both(name: str, unit: float, digits: int) -> str:
        numbers = np.array([getattr(one, name) for one in found]) / unit
        return f"{np.median(numbers):.{digits}f}, {numbers.max():.{digits}f}"

    changed = f"{sum(one.refused for one in found)} of {sum(one.changes for one in found)}"
    return row(
        [norm, results, proofs, len(found), sum(one.accepted for one in found), both("translating", 1.0, 2),
         both("checking", 1.0, 2), both("proof", 1e3, 1), both("size", 1e6, 2), changed]
    )  # fmt: skip


if __name__ == "__main__":
    main()
