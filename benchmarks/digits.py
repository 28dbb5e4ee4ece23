"""Exact distances of digits images, engine beside engine, and beside the naive textbook program; one thread.

python -m benchmarks.digits --net digits-64-32-32-10 --samples 0:200 --engines auto,highs --textbook 0:2
python -m benchmarks.digits --engines auto,auto:16        the second with 16 images side by side in a batch
python -m benchmarks.digits --engines auto:16,gurobi      our own programs on Gurobi (extra `peers`)
python -m benchmarks.digits --norm l2 --engines search,pyomo:gurobi,pyomo:scip     quadratic ones in L2
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from benchmarks.common import REPOSITORY, conditions, header, row, single_threaded, span
from benchmarks.gurobi_peer import gurobi_engine
from benchmarks.omlt_peer import omlt_distance
from benchmarks.textbook import textbook_distance
from encoders.deadline import Clock
from encoders.question import Norm
from trainers.datasets import digits
from trainers.datasets.base import Dataset
from verifier.answer import asked
from verifier.batching.scheduler import Scheduler
from verifier.engines.registry import ENGINES
from verifier.options import Options
from verifier.question.model import Model, load
from verifier.question.results import Result, Verdict
from verifier.regions import region_for


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--net", default="digits-64-32-32-10", help="a net of trainers/nets")
    parser.add_argument("--norm", default="linf,l1")
    parser.add_argument("--samples", type=span, default=range(200), help="of the test split, like 0:200")
    parser.add_argument("--engines", default="auto,highs", help="names, `gurobi` too; `auto:N`: N images side by side")
    parser.add_argument("--time-limit", type=float, default=60.0, help="seconds per image and engine")
    parser.add_argument("--repeat", type=int, default=1, help="ask so often, and count each image's least seconds")
    parser.add_argument("--textbook", type=span, default=range(0), help="images for the textbook program")
    parser.add_argument("--textbook-limit", type=float, default=60.0, help="seconds per target of the textbook")
    parser.add_argument("--omlt", type=span, default=range(0), help="images for OMLT + HiGHS (extra `peers`)")
    options = parser.parse_args()
    single_threaded()
    ENGINES["gurobi"] = gurobi_engine
    print(conditions())
    model = load(REPOSITORY / "trainers" / "nets" / f"{options.net}.onnx")
    for norm in (Norm(name) for name in options.norm.split(",")):
        ours = engines(model, norm, options)
        peer(model, norm, ours, options.textbook, options.textbook_limit, "textbook + HiGHS")
        peer(model, norm, ours, options.omlt, options.textbook_limit, "OMLT + HiGHS")


def engines(model: Model, norm: Norm, options: argparse.Namespace) -> dict[int, Result]:
    """A row per engine; the first engine's results by sample."""
    data = digits()
    names = options.engines.split(",")
    results: dict[str, dict[int, Result]] = {name: {} for name in names}
    walls: dict[str, float] = dict.fromkeys(names, 0.0)
    for batch in (batch for batch in batches(options.samples, names) for _ in range(options.repeat)):
        for name in names:  # in turns, so that what else the machine does falls on all alike
            engine, share = parted(name)
            asked = Options(norm=norm, engine=engine, time_limit=options.time_limit)
            questions = ((k, lambda clock, k=k, asked=asked: question(model, data, k, asked, clock)) for k in batch)
            started = time.monotonic()
            for index, ended in Scheduler[Result](share).outcomes(questions):
                if isinstance(ended, Exception):
                    raise ended
                known = results[name].get(index)
                if ended.verdict is not Verdict.MISCLASSIFIED and (known is None or ended.seconds < known.seconds):
                    results[name][index] = ended
            walls[name] += time.monotonic() - started
    first = results[names[0]]
    print(f"\n{options.net}, {norm}: {len(first)} correctly classified of {len(options.samples)} images\n")
    print(header(["engine", "median s", "90 % s", "worst s", "all, s", "exact", "rigorous", "largest difference"]))
    for name in names:
        seconds = np.array([r.seconds for r in results[name].values()])
        exact = [k for k, r in results[name].items() if r.verdict is Verdict.EXACT]
        both = [k for k in exact if first[k].verdict is Verdict.EXACT]
        differences = [abs(results[name][k].upper - first[k].upper) for k in both]
        rigorous = sum(r.basis == "rigorous" for r in results[name].values())
        print(
            row(
                [name, float(np.median(seconds)), float(np.quantile(seconds, 0.9)), float(seconds.max()),
                 walls[name], f"{len(exact)}/{len(seconds)}", rigorous, float(max(differences, default=0.0))]
            )
        )  # fmt: skip
    if len(names) > 1:
        ratios = {k: results[names[0]][k].seconds / results[names[1]][k].seconds for k in first}
        worst = ", ".join(f"{ratios[k]:.3g} (image {k})" for k in sorted(ratios, key=ratios.__getitem__)[:-4:-1])
        print(
            f"\n{names[0]} / {names[1]}, image by image: median {np.median(list(ratios.values())):.3g}, worst {worst}"
        )
    return first


def parted(name: str) -> tuple[str, int]:
    """An engine's name, and how many images stand side by side: `auto:16`, but also `pyomo:scip`."""
    engine, _, share = name.rpartition(":")
    return (engine, int(share)) if share.isdigit() else (name, 1)


def batches(samples: range, names: list[str]) -> list[range]:
    """One image after the other; four times as many as stand side by side, where some do."""
    share = max(parted(name)[1] for name in names)
    size = 1 if share == 1 else 4 * share
    return [samples[first : first + size] for first in range(0, len(samples), size)]


async def question(model: Model, data: Dataset, index: int, options: Options, clock: Clock) -> Result:
    """One image's question."""
    return await asked(model, data.x[index], None, options, int(data.y[index]), index, None, None, clock)


def peer(model: Model, norm: Norm, ours: dict[int, Result], samples: range, limit: float, name: str) -> None:
    """A naive program on HiGHS, per image: its seconds (a lower limit where targets time out) against ours."""
    if not samples:
        return
    data = digits()
    print("\n" + header([name, "seconds", "its lower", "its upper", "ours", "our seconds", "ratio"]))
    for index in samples:
        if index not in ours:
            continue
        region = region_for(model, data.x[index], None, Options())
        started = time.monotonic()
        if name.startswith("OMLT"):
            found = omlt_distance(model.path, region, norm, ours[index].predicted, limit)
            if found is None:
                print("OMLT is not installed: pip install -c constraints.txt -e '.[peers]'")
                return
            lower, upper = found
        else:
            lower, upper, _ = textbook_distance(model.graph, region, norm, ours[index].predicted, limit)
        seconds = time.monotonic() - started
        print(
            row([index, seconds, lower, upper, f"{ours[index].upper:.7f}", ours[index].seconds,
                 seconds / ours[index].seconds]), flush=True
        )  # fmt: skip


if __name__ == "__main__":
    main()
