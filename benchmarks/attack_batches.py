"""CPU milliseconds a sample of each attack, in batches of more and more samples, and whether they find the same.

python -m benchmarks.attack_batches --net digits-64-32-32-10 --norm linf,l1,l2
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence

import numpy as np

from benchmarks.common import REPOSITORY, conditions, header, row, single_threaded, span
from bounds.attacks import ATTACKS, AttackOptions, AttackProblem, Candidates
from bounds.attacks.portfolio import walked
from bounds.propagation.device_graph import DeviceGraph
from encoders.question import Norm, goals_for
from trainers.datasets import digits
from verifier.options import Options
from verifier.question.model import Model, load
from verifier.regions import region_for

SIZES = (1, 4, 16, 64)
SAME = 1e-6  # relative


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--net", default="digits-64-32-32-10", help="a net of trainers/nets")
    parser.add_argument("--norm", default="linf,l1,l2")
    parser.add_argument("--samples", type=span, default=range(64), help="of the test split, like 0:64")
    options = parser.parse_args()
    single_threaded()
    print(conditions())
    model = load(REPOSITORY / "trainers" / "nets" / f"{options.net}.onnx")
    for norm in (Norm(name) for name in options.norm.split(",")):
        measure(model, norm, options.samples)


def measure(model: Model, norm: Norm, samples: Sequence[int]) -> None:
    """One table: a row for each attack, and for the portfolio without its linear programs."""
    data, device_graph, problems = digits(), DeviceGraph(model.graph), []
    for index in samples:
        region = region_for(model, data.x[index], None, Options(norm=norm))
        predicted = int(model.scores(region.center.astype(np.float32)[None]).argmax())
        goals = goals_for(predicted, model.classes, None, 0.0)
        problems.append(AttackProblem(device_graph, region, norm, goals, region.reach(norm), AttackOptions()))
    attacks = {name: ATTACKS[name]().together for name in ATTACKS if norm in ATTACKS[name].norms}
    print(f"\n{norm}: CPU ms a sample, {len(problems)} samples\n")
    print(header(["attack", *(f"{size} at once" for size in SIZES), "other distances"]))
    for name, run in {**attacks, "portfolio's walks": walked}.items():
        tried = [_timed(run, problems, size) for size in SIZES]
        first = tried[0][1]
        other = max(int((np.abs(found - first) > SAME * first).sum()) for _, found in tried[1:])
        print(row([name, *(f"{seconds * 1e3:.2f}" for seconds, _ in tried), f"{other} of {len(problems)}"]))


def _timed(
    run: Callable[[list[AttackProblem]], list[Candidates]], problems: list[AttackProblem], size: int
) -> tuple[float, np.ndarray]:
    """Seconds a sample, and each sample's nearest distance (0 where nothing was found)."""
    started = time.process_time()
    found = [one for k in range(0, len(problems), size) for one in run(problems[k : k + size])]
    seconds = (time.process_time() - started) / len(problems)
    return seconds, np.array([one.distances[0] if len(one.distances) else 0.0 for one in found])


if __name__ == "__main__":
    main()
