"""Decisions with proofs on digits, beside Marabou's proof production (`maraboupy`, extra `peers`); one thread each.

python -m benchmarks.marabou_peer --samples 0:20 --shares 0.5,0.8

Is no adversary nearer than a share of the exact distance in L∞? Marabou is asked once for each other class, since an
adversary of several is a disjunction. It checks its proofs itself, in float64 and within a tolerance, and writes none:
leaves that its checker does not accept are counted as delegated, to be shown by an SMT solver. Ours are files, checked
in whole numbers by code that shares nothing with what wrote them.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import REPOSITORY, conditions, header, row, single_threaded, span
from encoders.errors import SolverError
from trainers.datasets import digits
from verifier.answer import distance, verify
from verifier.checker import check
from verifier.proofs.proof import write_proof
from verifier.question.model import Model, load
from verifier.question.results import Verdict

COLUMNS = [
    "share", "images", "ours: decided, accepted exactly", "seconds of question and writing", "of the exact check", "kB",
    "Marabou: decided", "seconds with its own check", "leaves certified; delegated",
]  # fmt: skip
CERTIFIED = re.compile(r"Number of certified leaves: (\d+)")
DELEGATED = re.compile(r"Number of leaves to delegate: (\d+)")


@dataclass(frozen=True)
class Beside:
    """One image within one radius: ours and Marabou's."""

    accepted: bool
    asked: float
    checked: float
    size: int
    decided: bool
    marabou: float
    certified: int
    delegated: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--net", default="digits-64-32-32-10", help="a net of trainers/nets")
    parser.add_argument("--samples", type=span, default=range(20), help="of the test split, like 0:20")
    parser.add_argument("--shares", default="0.5,0.8", help="of the exact distance, separated by commas")
    parser.add_argument(
        "--time-limit", type=float, default=60.0, help="seconds for an image, and for a class of Marabou"
    )
    given = parser.parse_args()
    single_threaded()
    print(conditions())
    path, data = REPOSITORY / "trainers" / "nets" / f"{given.net}.onnx", digits()
    model = load(path)
    print(f"\n{given.net}, L∞\n\n{header(COLUMNS)}", flush=True)
    distances = {
        index: found.lower
        for index in given.samples
        if (found := distance(model, data.x[index], label=int(data.y[index]))).verdict is Verdict.EXACT
    }
    for share in map(float, given.shares.split(",")):
        answers = [beside(model, data.x[k], share * far, given.time_limit) for k, far in distances.items()]
        print(told(share, answers), flush=True)


def beside(model: Model, x: np.ndarray, radius: float, limit: float) -> Beside:
    """Both answers for one image."""
    with tempfile.TemporaryDirectory() as folder:
        started = time.monotonic()
        result = verify(model, x, radius, time_limit=limit)
        written = write_proof(Path(folder) / "0.proof", model, x, result, proof_time_limit=limit)
        between = time.monotonic()
        accepted = written.path is not None and check(written.path, model.path, "exact").whole
        ended = time.monotonic()
        size = 0 if written.path is None else written.path.stat().st_size
    decided, seconds, told_by_it = marabou(model, x, radius, result.predicted, limit)
    certified, delegated = (sum(map(int, which.findall(told_by_it))) for which in (CERTIFIED, DELEGATED))
    return Beside(accepted, between - started, ended - between, size, decided, seconds, certified, delegated)


def marabou(model: Model, x: np.ndarray, radius: float, predicted: int, limit: float) -> tuple[bool, float, str]:
    """Whether every other class is refuted, the seconds of all, and what Marabou says of its proofs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            from maraboupy import Marabou
        except ImportError as error:
            raise SolverError("maraboupy is not installed: pip install maraboupy") from error
    options = Marabou.createOptions(produceProofs=True, verbosity=1, timeoutInSeconds=int(limit))
    center, seconds, answers = x.astype(np.float64).reshape(-1), 0.0, []
    with captured() as read:
        for target in (t for t in range(model.classes) if t != predicted):
            query = Marabou.read_onnx(str(model.path))
            inputs, scores = query.inputVars[0].flatten(), query.outputVars[0].flatten()
            for variable, value in zip(inputs, center, strict=True):
                query.setLowerBound(variable, max(0.0, value - radius))
                query.setUpperBound(variable, min(1.0, value + radius))
            query.addInequality([scores[predicted], scores[target]], [1.0, -1.0], 0.0)
            started = time.monotonic()
            answers.append(query.solve(options=options, verbose=False)[0])
            seconds += time.monotonic() - started
        told_by_it = read()
    return all(answer == "unsat" for answer in answers), seconds, told_by_it


@contextmanager
def captured() -> Iterator[Any]:
    """What is written to standard output meanwhile, by whatever language."""
    sys.stdout.flush()
    kept = os.dup(1)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 1)

        def read() -> str:
            file.seek(0)
            return file.read().decode(errors="replace")

        try:
            yield read
        finally:
            os.dup2(kept, 1)
            os.close(kept)


def told(share: float, found: list[Beside]) -> str:
    """A row: medians, and the worst behind them."""

    def over(name: str) -> str:
        values = [getattr(one, name) for one in found]
        return f"{np.median(values):.2f}, {max(values):.2f}"

    sizes = [one.size / 1000.0 for one in found]
    return row(
        [share, len(found), sum(one.accepted for one in found), over("asked"), over("checked"),
         f"{np.median(sizes):.1f}, {max(sizes):.1f}", sum(one.decided for one in found), over("marabou"),
         f"{sum(one.certified for one in found)}; {sum(one.delegated for one in found)}"]
    )  # fmt: skip


if __name__ == "__main__":
    main()
