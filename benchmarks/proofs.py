"""Proofs of results: how many are accepted, what writing and checking cost beside the question itself, how large.

python -m benchmarks.proofs --net trainers/nets/digits-64-32-32-10.onnx --norm linf,l1,l2 --samples 0:200
python -m benchmarks.proofs --net ../shared/data/wk17a.onnx --data ../shared/data/mnist_test.npz --radius 0.1 \\
    --samples 0:100 --exact 0:5
python -m benchmarks.proofs --net ../shared/data/wk17a.onnx --data ../shared/data/mnist_test.npz --norm linf \\
    --samples 8,62,92 --exact 92 --each
python -m benchmarks.proofs --net trainers/nets/digits-int8.onnx --grid 16 --norm linf,l1 --samples 0:100
python -m benchmarks.proofs --net trainers/nets/digits-int8.onnx --grid 16 --norm linf,l1 --samples 0:50 \\
    --radius 0.0625 --losses
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.common import chosen, conditions, header, row, single_threaded
from encoders.deadline import Deadline
from verifier.answer import ask
from verifier.batching.request import run_alone
from verifier.checker import check
from verifier.margin_answer import TOLERANCE, GreatestLoss, margin_asked
from verifier.options import Options
from verifier.proofs.proof import written as write_as
from verifier.proofs.proof import written_loss
from verifier.question.loading import load
from verifier.question.model import Model
from verifier.question.results import Basis, Result, Verdict
from verifier.runs.samples import load_samples

COLUMNS = [
    "norm", "results", "rigorous", "proofs", "accepted, float", "accepted, exact", "question s", "writing / question",
    "checking in float / question", "checking exactly / question", "kB", "lines", "claims",
]  # fmt: skip


@dataclass(frozen=True)
class Proven:
    """One sample: seconds of the question, of writing and of checking, and the file; zeros where there is none."""

    rigorous: bool
    asked: float
    writing: float
    size: int = 0
    lines: int = 0
    in_float: float = np.nan
    exactly: float = np.nan
    accepted: tuple[bool, bool] = (False, False)  # and nothing in it rests on claims
    claims: int = 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--net", type=Path, default=Path("trainers/nets/digits-64-32-32-10.onnx"))
    parser.add_argument("--data", default="digits")
    parser.add_argument("--norm", default="linf,l1,l2")
    parser.add_argument("--radius", type=float, help="decisions within it, in place of distances")
    parser.add_argument("--losses", action="store_true", help="greatest losses within the radius, not decisions")
    parser.add_argument("--grid", type=int, metavar="N", help="on the grid of N levels")
    parser.add_argument("--samples", type=chosen, default=range(200))
    parser.add_argument("--exact", type=chosen, help="those that are checked exactly, too (default: all)")
    parser.add_argument("--time-limit", type=float, default=60.0, help="seconds of a question, and again of its proof")
    parser.add_argument("--each", action="store_true", help="a row of each sample as it is done, too")
    given = parser.parse_args()
    if given.losses and given.radius is None:
        parser.error("--losses are those within a --radius: give one")
    single_threaded()
    print(conditions())
    model = load(given.net)
    samples = load_samples(given.data, model.input_shape, model.classes, model.input_type)
    kind = "greatest losses" if given.losses else "decisions"
    print(f"\n{given.net.name}, {'distances' if given.radius is None else f'{kind} within {given.radius:g}'}\n")
    print(header(COLUMNS), flush=True)
    for norm in given.norm.split(","):
        options = Options(norm=norm, time_limit=given.time_limit, grid=given.grid)
        found = []
        for index in given.samples:
            about = model, samples.x[index], given.radius
            result: Result | GreatestLoss
            if given.losses:
                options = replace(options, tolerance=TOLERANCE)
                result = run_alone(margin_asked(*about, options, samples.label(index), index))
            else:
                result = ask(*about, options, samples.label(index), index)
            if result.verdict is not Verdict.MISCLASSIFIED:
                exactly = given.exact is None or index in given.exact
                found.append(proven(model, samples.x[index], result, options, exactly))
                if given.each:
                    print(told(f"{norm}, sample {index}, {result.verdict}", found[-1:]), flush=True)
        print(told(norm, found), flush=True)


def proven(model: Model, x: np.ndarray, result: Result | GreatestLoss, options: Options, exactly: bool) -> Proven:
    """The proof of one result, written and checked."""
    rigorous = result.basis is Basis.RIGOROUS and result.verdict is not Verdict.UNRESOLVED
    with TemporaryDirectory() as folder:
        started = time.monotonic()
        about = options, None, Deadline(options.time_limit)
        if isinstance(result, GreatestLoss):
            written = written_loss(Path(folder) / "0.proof", model, x, result, *about)
        else:
            written = write_as(Path(folder) / "0.proof", model, x, result, *about)
        writing = time.monotonic() - started
        if written.path is None:
            print(f"  sample {result.index}, {result.verdict}: {written.why}", flush=True)
            return Proven(rigorous, result.seconds, writing)
        started = time.monotonic()
        in_float = check(written.path, model.path, "float")
        between = time.monotonic()
        exact = check(written.path, model.path, "exact") if exactly else None
        ended = time.monotonic()
        return Proven(
            rigorous, result.seconds, writing, written.path.stat().st_size, in_float.lines, between - started,
            ended - between if exact else np.nan, (in_float.whole, exact is not None and exact.whole), in_float.claims,
        )  # fmt: skip


def told(norm: str, found: list[Proven]) -> str:
    """A row: medians, and the worst behind them."""
    written = [one for one in found if one.size]
    if not written:
        return row([norm, len(found), sum(one.rigorous for one in found), *[0] * (len(COLUMNS) - 3)])
    asked = np.array([one.asked for one in written])
    exactly = sum(not np.isnan(one.exactly) for one in written)

    def over(name: str) -> str:
        parts = np.array([getattr(one, name) for one in written]) / asked
        parts = parts[~np.isnan(parts)]
        return f"{np.median(parts):.2f}, {parts.max():.2f}" if parts.size else ""

    sizes = np.array([one.size for one in written]) / 1000.0
    return row(
        [norm, len(found), sum(one.rigorous for one in found), len(written), sum(one.accepted[0] for one in written),
         f"{sum(one.accepted[1] for one in written)} of {exactly}", f"{np.median(asked):.2f}, {asked.max():.2f}",
         over("writing"), over("in_float"), over("exactly"), f"{np.median(sizes):.1f}, {sizes.max():.1f}",
         int(np.median([one.lines for one in written])), sum(one.claims for one in written)]
    )  # fmt: skip


if __name__ == "__main__":
    main()
