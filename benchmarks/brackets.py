"""Every lower bound on many images: seconds, images a second, and how near the distance it comes.

python -m benchmarks.brackets --samples 0:200                             the digits net, against exact distances
python -m benchmarks.brackets --net wk17a --samples 0:500 --bounds crown  MNIST, against the portfolio's adversaries
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from benchmarks.common import conditions, header, net_and_images, row, single_threaded, span
from bounds.attacks.base import AttackOptions
from bounds.attacks.portfolio import attack
from bounds.device import pick_device
from bounds.lower import LOWER_BOUNDS, LowerBoundOptions, LowerBoundProblem
from bounds.propagation.neuron_bounds import device_graph_for
from encoders.question import Norm, goals_for
from verifier.answer import distance
from verifier.options import Options
from verifier.question.results import Verdict
from verifier.regions import region_for


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--net", default="digits-64-32-32-10", help="a net of trainers/nets, or an MNIST net by name")
    parser.add_argument("--norm", default="linf")
    parser.add_argument("--samples", type=span, default=range(50))
    parser.add_argument(
        "--bounds", default=",".join(n for n, bound in LOWER_BOUNDS.items() if not bound.rests_on_solver)
    )
    parser.add_argument("--balls", type=int, default=LowerBoundOptions().balls)
    parser.add_argument("--steps", type=int, default=LowerBoundOptions().steps)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--unpolished", action="store_true", help="reference: the portfolio without its programs")
    options = parser.parse_args()
    single_threaded()
    print(conditions(), f"; device {pick_device(options.device)}")
    given = net_and_images(options.net)
    model, x, y = given.model, given.x, given.y
    norm, device = Norm(options.norm), pick_device(options.device)
    device_graph = device_graph_for(model.graph, device)
    regions, predicted, reference = [], [], []
    effort = AttackOptions(polish=()) if options.unpolished else AttackOptions()
    started = time.monotonic()
    for index in options.samples:
        sample = x[index].reshape(-1)
        found = int(model.scores(sample[None]).argmax())
        if found != int(y[index]):
            continue
        region = region_for(model, sample, None, Options(norm=norm))
        if given.own:
            result = distance(model, sample, norm=norm)
            if result.verdict is not Verdict.EXACT:
                continue
            nearest = result.upper
        else:
            goals = goals_for(found, model.classes, None, 0.0)
            candidates = attack(device_graph, region, norm, goals, region.reach(norm), effort)
            nearest = float(candidates.distances[0]) if len(candidates.distances) else region.reach(norm)
        regions.append(region)
        predicted.append(found)
        reference.append(nearest)
    what = "exact distance" if given.own else "nearest adversary of the portfolio"
    print(f"\n{options.net}, {norm}: {len(regions)} correctly classified images; reference: {what}, "
          f"{(time.monotonic() - started) / max(1, len(regions)):.3g} s an image\n")  # fmt: skip
    print(header(["bound", "s an image", "images a second", "median of bound / reference", "10 %", "90 %"]))
    hard = LowerBoundOptions(options.balls, options.steps)
    problem = LowerBoundProblem(device_graph, tuple(regions), tuple(predicted), norm, tuple(reference), hard)
    for name in options.bounds.split(","):
        technique = LOWER_BOUNDS[name]()
        reason = technique.unsupported(model.graph)
        if norm not in technique.norms or reason:
            print(row([name, "–", "–", reason or f"not in {norm}", "–", "–"]))
            continue
        bounds = technique.run(problem)
        each = bounds.seconds / max(1, len(regions))
        ratios = bounds.nearest / np.array(reference)
        low, middle, high = (float(np.quantile(ratios, q)) for q in (0.1, 0.5, 0.9))
        print(row([name, each, 1 / each, middle, low, high]), flush=True)


if __name__ == "__main__":
    main()
