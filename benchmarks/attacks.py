"""How far above the exact distance each attack ends, on digits; one thread.

python -m benchmarks.attacks --net digits-64-32-32-10 --samples 0:50
"""

from __future__ import annotations

import argparse
import math
from statistics import median

import numpy as np

from benchmarks.common import REPOSITORY, conditions, header, row, single_threaded, span
from bounds.attacks import ALL, AttackOptions
from encoders.errors import SoundnessError
from encoders.question import Norm
from trainers.datasets import digits
from verifier.answer import distance
from verifier.options import Options
from verifier.question.model import Model, load
from verifier.question.results import Verdict
from verifier.studies.attacks.replayed import Attacked, Attacking, attacks_named

EXACT = 1e-4  # relative
BELOW = 1e-6  # what the search's own tolerance and float32 inputs may account for


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--net", default="digits-64-32-32-10", help="a net of trainers/nets")
    parser.add_argument("--norm", default="linf,l1")
    parser.add_argument("--samples", type=span, default=range(50), help="of the test split, like 0:50")
    parser.add_argument("--time-limit", type=float, default=120.0, help="seconds for each exact distance")
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--restarts", type=int, default=32)
    options = parser.parse_args()
    single_threaded()
    print(conditions())
    model = load(REPOSITORY / "trainers" / "nets" / f"{options.net}.onnx")
    for norm in (Norm(name) for name in options.norm.split(",")):
        measure(model, norm, options)


def measure(model: Model, norm: Norm, options: argparse.Namespace) -> None:
    """One table: every attack made for the norm, and the portfolio, over the samples whose distance is exact."""
    data = digits()
    names = attacks_named([ALL, "l-bfgs", "pixel-greedy"], norm)
    effort = AttackOptions(restarts=options.restarts, steps=options.steps)
    attacking = Attacking(model, Options(norm=norm), names, effort)
    exact: list[float] = []
    attacked: list[Attacked] = []
    open_ = 0
    for index in options.samples:
        x, label = data.x[index], int(data.y[index])
        result = distance(model, x, norm=norm, label=label, time_limit=options.time_limit)
        if result.verdict is Verdict.MISCLASSIFIED:
            continue
        if result.verdict is not Verdict.EXACT:
            open_ += 1
            continue
        done = attacking.sample(x, label, index)
        for one in done.found:
            if one.distance < result.lower * (1.0 - BELOW) - BELOW:
                raise SoundnessError(f"sample {index}: {one.attack} at {one.distance!r}, proven {result.lower!r}")
        exact.append(result.upper)
        attacked.append(done)
    print(f"\n{options.net}, {norm}: {len(exact)} of {len(options.samples)} images (right and exact; {open_} open)\n")
    print(header(["attack", "found", "median overestimate", "90 % overestimate", "exact", "changed inputs", "s"]))
    for k, name in enumerate(names):
        found = [done.found[k] for done in attacked]
        ratios = np.array([one.distance / known for one, known in zip(found, exact, strict=True)])
        hit = [one for one in found if math.isfinite(one.distance)]
        print(
            row(
                [name, f"{len(hit)}/{len(found)}", _percent(np.median(ratios)), _percent(np.quantile(ratios, 0.9)),
                 f"{100 * float((ratios <= 1 + EXACT).mean()):.0f} %",
                 f"{median(one.inputs for one in hit):g}" if hit else "-", median(one.seconds for one in found)]
            )
        )  # fmt: skip


def _percent(ratio: float) -> str:
    return f"{100 * (float(ratio) - 1):.3f} %"


if __name__ == "__main__":
    main()
