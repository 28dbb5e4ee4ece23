"""How the time for an exact distance grows with the number of open phases: a table, and a plot as SVG and PNG.

python -m benchmarks.growth --samples 0:60 --out docs/growth            digits nets
python -m benchmarks.growth --wk17a 0:20 --time-limit 60 --out docs/growth
"""

from __future__ import annotations

import argparse
from itertools import pairwise
from pathlib import Path

import numpy as np

from benchmarks.common import REPOSITORY, conditions, header, mnist, row, shared_file, single_threaded, span
from trainers.datasets import digits
from verifier.answer import distance
from verifier.pages.chart_style import Frame, mark
from verifier.pages.charts import Line, Point, line_chart, scatter
from verifier.question.model import load
from verifier.question.results import Verdict

BINS = (0, 5, 10, 15, 20, 30, 45, 65, 100, 150, 250, 400, 10**9)
Found = list[tuple[int, float, bool]]  # open phases, seconds, whether it was closed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nets", default="digits-64-32-32-10,digits-64-64-64-10,digits-conv", help="of trainers/nets")
    parser.add_argument("--norm", default="linf")
    parser.add_argument("--samples", type=span, default=range(60))
    parser.add_argument("--wk17a", type=span, default=range(0), help="MNIST images for WK17a")
    parser.add_argument("--time-limit", type=float, default=60.0)
    parser.add_argument("--out", type=Path, help="a file name without its ending, for the plot")
    options = parser.parse_args()
    single_threaded()
    print(conditions())
    found: dict[str, Found] = {}
    data = digits()
    for name in options.nets.split(","):
        path = REPOSITORY / "trainers" / "nets" / f"{name}.onnx"
        found[name] = measured(path, data.x, data.y, options.samples, options)
    if options.wk17a:
        x, y = mnist()
        found["wk17a"] = measured(shared_file("wk17a.onnx"), x.reshape(len(x), -1), y, options.wk17a, options)
    everything = [one for part in found.values() for one in part]
    print("\n" + header(["open phases", "images", "closed", "median s", "90 % s", "worst s"]))
    middles, medians = [], []
    for low, high in pairwise(BINS):
        chosen = [one for one in everything if low <= one[0] < high]
        if not chosen:
            continue
        seconds = np.array([one[1] for one in chosen])
        middles.append(float(np.median([one[0] for one in chosen])))
        medians.append(float(np.median(seconds)))
        span_told = f"{low} to {high - 1}" if high < 10**9 else f"{low} and more"
        closed = sum(one[2] for one in chosen)
        print(
            row([span_told, len(chosen), closed, medians[-1], float(np.quantile(seconds, 0.9)), float(seconds.max())])
        )
    if options.out is not None:
        plot(found, middles, medians, options)


def measured(path: Path, x: np.ndarray, y: np.ndarray, samples: range, options: argparse.Namespace) -> Found:
    """Exact distances of one net's images."""
    model, found = load(path), []
    for index in samples:
        result = distance(model, x[index], norm=options.norm, label=int(y[index]), time_limit=options.time_limit)
        if result.verdict is not Verdict.MISCLASSIFIED:
            found.append((result.open_phases, result.seconds, result.verdict is Verdict.EXACT))
    return found


def plot(found: dict[str, Found], middles: list[float], medians: list[float], options: argparse.Namespace) -> None:
    """Every image as a point, and the medians as a line, both over a logarithm of the seconds."""
    options.out.parent.mkdir(parents=True, exist_ok=True)
    frame = Frame(
        f"Exact distance, {options.norm}", "open phases at the first ball", "seconds", 620, 380, y_log=True
    )  # fmt: skip
    points = [
        Point(name, float(phases), seconds, mark(k))
        for k, (name, part) in enumerate(found.items())
        for phases, seconds, _ in part
    ]
    line = Line("median of each range", middles, medians, mark(1))
    for name, chart in (("", scatter(frame, points)), ("-median", line_chart(frame, [line]))):
        for kind in ("svg", "png"):
            path = options.out.with_name(f"{options.out.name}{name}.{kind}")
            chart.save(path)
            print(path)


if __name__ == "__main__":
    main()
