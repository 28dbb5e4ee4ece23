"""Greatest adversarial losses of digits images within several radii, engine beside engine; one thread.

python -m benchmarks.margins --samples 0:20 --radii 0.01,0.03,0.1 --norm linf
python -m benchmarks.margins --samples 0:20 --radii 0.1,0.3,1 --norm l1 --engines auto,highs
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

from benchmarks.common import REPOSITORY, conditions, header, row, single_threaded, span
from encoders.question import Norm
from trainers.datasets import digits
from verifier.margin_answer import Closed, GreatestLoss, margin
from verifier.question.model import Model, load
from verifier.question.results import Basis


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--net", default="digits-64-32-32-10", help="a net of trainers/nets")
    parser.add_argument("--norm", type=Norm, default=Norm.LINF)
    parser.add_argument("--radii", default="0.01,0.03,0.1", help="separated by commas")
    parser.add_argument("--samples", type=span, default=range(20), help="of the test split, like 0:20")
    parser.add_argument("--engines", default="auto,highs", help="names, separated by commas")
    parser.add_argument("--time-limit", type=float, default=60.0, help="seconds per image and engine")
    options = parser.parse_args()
    single_threaded()
    print(conditions())
    model = load(REPOSITORY / "trainers" / "nets" / f"{options.net}.onnx")
    print(f"\n{options.net}, {options.norm}, {len(options.samples)} images\n")
    print(header(["radius", "engine", "exact", "rigorous", "median s", "worst s", "largest gap", "largest difference"]))
    for radius in map(float, options.radii.split(",")):
        beside(model, radius, options)


def beside(model: Model, radius: float, options: argparse.Namespace) -> None:
    """A row for each engine at one radius; they take turns, so that what else the machine does falls on all alike."""
    data, names = digits(), options.engines.split(",")
    found: dict[str, list[GreatestLoss]] = {name: [] for name in names}
    for index in options.samples:
        for name in names:
            about: dict[str, Any] = {"norm": options.norm, "engine": name, "time_limit": options.time_limit}
            answer = margin(model, data.x[index], radius, label=int(data.y[index]), index=index, **about)
            found[name].append(answer)
    for name, answers in found.items():
        exact = sum(answer.verdict is Closed.EXACT for answer in answers)
        rigorous = sum(answer.basis is Basis.RIGOROUS for answer in answers)
        seconds = np.array([answer.seconds for answer in answers])
        gap = max(answer.upper - answer.lower for answer in answers)
        apart = max(disagreement(one, first) for one, first in zip(answers, found[names[0]], strict=True))
        cells = [radius, name, f"{exact}/{len(answers)}", rigorous, float(np.median(seconds)), float(seconds.max())]
        print(row([*cells, float(gap), float(apart)]), flush=True)


def disagreement(one: GreatestLoss, other: GreatestLoss) -> float:
    """By how much two brackets miss each other; zero where some value lies in both."""
    return max(0.0, one.lower - other.upper, other.lower - one.upper)


if __name__ == "__main__":
    main()
