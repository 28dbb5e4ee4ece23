"""Exact distances on the grid of digits images (pixels 0..16), engine beside engine; one thread.

python -m benchmarks.grid --norm linf,l1 --samples 0:100 --engines auto,cpsat,highs
python -m benchmarks.grid --net digits-int8 --norm linf,l1,l0 --samples 0:100 --engines auto,cpsat,highs
"""

from __future__ import annotations

import argparse

import numpy as np

from benchmarks.common import REPOSITORY, conditions, header, row, single_threaded, span
from trainers.datasets import digits
from verifier.answer import distance
from verifier.question.model import Model, load
from verifier.question.results import Result, Verdict

LEVELS = 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--net", default="digits-64-32-32-10", help="a net of trainers/nets")
    parser.add_argument("--norm", default="linf,l1")
    parser.add_argument("--samples", type=span, default=range(100), help="of the test split, like 0:100")
    parser.add_argument("--engines", default="auto,cpsat")
    parser.add_argument("--time-limit", type=float, default=60.0, help="seconds per image and engine")
    options = parser.parse_args()
    single_threaded()
    print(conditions())
    model = load(REPOSITORY / "trainers" / "nets" / f"{options.net}.onnx")
    for norm in options.norm.split(","):
        print(f"\n{options.net}, {norm}, pixels 0..{LEVELS}, {options.time_limit:.0f} s an image\n")
        print(header(["engine", "exact", "median s", "90 % s", "worst s", "rigorous", "integer", "solver"]))
        answers = {engine: measured(model, norm, engine, options) for engine in options.engines.split(",")}
        check_agreement(answers)


def measured(model: Model, norm: str, engine: str, options: argparse.Namespace) -> dict[int, Result]:
    """One engine on all samples that are classified correctly: its row, and its results."""
    data = digits()
    found: dict[int, Result] = {}
    for index in options.samples:
        result = distance(
            model, data.x[index], norm=norm, label=int(data.y[index]), engine=engine, grid=LEVELS,
            time_limit=options.time_limit,
        )  # fmt: skip
        if result.verdict is not Verdict.MISCLASSIFIED:
            found[index] = result
    seconds = np.array([r.seconds for r in found.values()])
    exact = sum(r.verdict is Verdict.EXACT for r in found.values())
    bases = [sum(r.basis == basis for r in found.values()) for basis in ("rigorous", "integer", "solver")]
    spread = [float(np.median(seconds)), float(np.quantile(seconds, 0.9)), float(seconds.max())]
    print(row([engine, f"{exact}/{len(found)}", *spread, *bases]), flush=True)
    return found


def check_agreement(answers: dict[str, dict[int, Result]]) -> None:
    """Every two brackets of one image must overlap; say so if they do not."""
    for name, results in answers.items():
        for other, others in answers.items():
            for index in results.keys() & others.keys():
                if results[index].lower > others[index].upper:
                    print(f"CONTRADICTION at image {index}: {name} proves what {other} refutes")


if __name__ == "__main__":
    main()
