"""Decisions and exact minima on MNIST nets of the literature, against MIPVerify's own verdicts where there are any.

python -m benchmarks.wk17a --samples 0:100 --jobs 2              WK17a, L∞ 0.1, decisions
python -m benchmarks.wk17a --minima --samples 0:500 --jobs 2     exact minima of the images with an adversary
python -m benchmarks.wk17a --exact --samples 0:20                 exact minima of all images in [0, 1]
python -m benchmarks.wk17a --net rsl18a --samples 0:20 --time-limit 600 --jobs 2
"""

from __future__ import annotations

import argparse
import csv
import time
from collections import Counter

import numpy as np

from benchmarks.common import conditions, header, mnist, row, shared_file, span
from verifier.options import Options
from verifier.question.model import load
from verifier.question.problem import Running
from verifier.runs.job import Job
from verifier.runs.run import outcomes
from verifier.runs.samples import Samples

VERDICTS = {"certified": "robust", "falsified": "adversarial", "misclassified": "misclassified"}


def silent(index: int, running: Running) -> None:
    """No progress is shown."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--net", default="wk17a", help="a net of ../shared/data that reads MNIST")
    parser.add_argument("--samples", type=span, default=range(100))
    parser.add_argument("--radius", type=float, default=0.1)
    parser.add_argument("--time-limit", type=float, default=120.0)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--batch", type=int, default=1, help="samples side by side in each job")
    parser.add_argument("--device", default="cpu")
    parser.add_argument(
        "--minima", action="store_true", help="exact distances of the images MIPVerify calls adversarial"
    )
    parser.add_argument("--exact", action="store_true", help="exact distances in [0, 1] of all samples")
    options = parser.parse_args()
    print(conditions(), f"; device {options.device}")
    oracle = {}
    if options.net == "wk17a":
        with shared_file("wk17a_mipverify_500.csv").open() as file:
            oracle = {int(line["test_index_0based"]): line for line in csv.DictReader(file)}
    indices = list(options.samples)
    if options.minima:
        indices = [k for k in indices if k in oracle and oracle[k]["verdict_at_0.1"] == "adversarial"]
    x, y = mnist()
    model = load(shared_file(f"{options.net}.onnx"))
    whole = options.minima or options.exact
    job = Job(Options(time_limit=options.time_limit, device=options.device), None if whole else options.radius)
    samples = Samples("mnist_test", x.reshape(len(x), -1), y)
    started = time.monotonic()
    counts: Counter[str] = Counter()
    wrong = []
    if not options.minima:
        print(header(["image", "verdict", "lower", "upper", "nodes", "open phases", "seconds"]))
    else:
        print(header(["image", "verdict", "lower", "upper", "MIPVerify bound", "objective", "nodes", "seconds"]))
    seconds, gaps = [], []
    for outcome in outcomes(model, job, samples, indices, options.jobs, silent, options.batch):
        if outcome.result is None:
            raise outcome.error or RuntimeError("no result")
        result = outcome.result
        counts[result.verdict] += 1
        seconds.append(result.seconds)
        if result.verdict == "unresolved":
            gaps.append((result.upper - result.lower) / result.upper)
        known = oracle.get(result.index)
        if options.minima:
            assert known is not None
            bound, objective = (float(known[f"min_linf_best_{side}"] or "nan") for side in ("bound", "objective"))
            if result.lower > objective + 1e-5 or result.upper < bound - 1e-5:
                wrong.append(result.index)
            print(row([result.index, result.verdict, f"{result.lower:.7f}", f"{result.upper:.7f}", f"{bound:.7f}",
                       f"{objective:.7f}", result.nodes, f"{result.seconds:.2f}"]), flush=True)  # fmt: skip
            continue
        if (
            not options.exact
            and known is not None
            and VERDICTS.get(result.verdict, known["verdict_at_0.1"]) != known["verdict_at_0.1"]
        ):
            wrong.append(result.index)
        if result.engine != "crown":
            print(row([result.index, result.verdict, result.lower, result.upper, result.nodes, result.open_phases,
                       f"{result.seconds:.2f}"]), flush=True)  # fmt: skip
    print(f"\n{len(indices)} images in {time.monotonic() - started:.1f} s with {options.jobs} jobs: {dict(counts)}")
    print(f"seconds an image: median {np.median(seconds):.3f}, worst {max(seconds):.2f}")
    if gaps:
        print(f"unresolved: median gap {np.median(gaps):.2%} of the upper side, worst {max(gaps):.2%}")
    if oracle and not options.exact:
        print(f"against MIPVerify: {'no disagreement' if not wrong else f'DISAGREE on {wrong}'}")


if __name__ == "__main__":
    main()
