"""Questions about several networks on digits: transfer, universal perturbations, differences, and a pruned copy.

python -m benchmarks.several_networks --samples 0:10 --sizes 2,3,5 --time-limit 60
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from benchmarks.common import REPOSITORY, conditions, header, row, single_threaded, span
from trainers.datasets import digits
from verifier.network_difference import GreatestDifference, difference
from verifier.question.model import Model, load
from verifier.question.results import Verdict
from verifier.several_networks import (
    JointDistance,
    transfer_distance,
    universal_distance,
)

FIRST, SECOND = "digits-64-32-32-10", "digits-64-64-64-10"
QUESTIONS = ("transfer", "universal", "difference", "pruned")
Answer = JointDistance | GreatestDifference


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--questions", default=",".join(QUESTIONS))
    parser.add_argument("--samples", type=span, default=range(10))
    parser.add_argument("--sizes", default="2,3,5,10", help="of the sets of samples that one perturbation must fool")
    parser.add_argument("--radius", type=float, default=0.05)
    parser.add_argument("--pruned", type=float, default=0.1, help="which share of the weights becomes zero")
    parser.add_argument("--norm", default="linf")
    parser.add_argument("--time-limit", type=float, default=60.0)
    options = parser.parse_args()
    single_threaded()
    print(conditions())
    nets = REPOSITORY / "trainers" / "nets"
    first, second = (load(nets / f"{name}.onnx") for name in (FIRST, SECOND))
    print(header(["question", "rows", "exact", "median s", "lower / upper: median, least", "median lower", "upper"]))
    with tempfile.TemporaryDirectory() as folder:
        thinner = load(pruned(nets / f"{FIRST}.onnx", options.pruned, Path(folder) / "pruned.onnx"))
        for name, answers in asked(first, second, thinner, options):
            print(row([name, *told(list(answers))]), flush=True)


def asked(
    first: Model, second: Model, thinner: Model, options: argparse.Namespace
) -> Iterator[tuple[str, Iterator[Answer]]]:
    """Each question's name, and its answers as they come."""
    x, radius = digits().x[list(options.samples)], options.radius
    how = {"norm": options.norm, "time_limit": options.time_limit}
    chosen = options.questions.split(",")
    if "transfer" in chosen:
        yield "transfer", (transfer_distance([first, second], one, **how) for one in x)
    if "universal" in chosen:
        for size in map(int, options.sizes.split(",")):
            sets = [x[start : start + size] for start in range(0, len(x) - size + 1, size)]
            yield f"universal, {size} samples", (universal_distance(first, one, **how) for one in sets)
    for name, other in (("difference", second), ("pruned", thinner)):
        if name in chosen:
            yield f"{name}, radius {radius}", (difference(first, other, x=one, radius=radius, **how) for one in x)
            yield f"{name}, box", (difference(first, other, **how) for _ in range(1))


def told(answers: Sequence[Answer]) -> list[object]:
    """How many were closed, how long they took, and how far apart the two sides are."""
    lower, upper = (np.array([getattr(one, side) for one in answers]) for side in ("lower", "upper"))
    ratio = np.where(np.isinf(lower) & np.isinf(upper), 1.0, lower / np.where(np.isinf(lower), 1.0, upper))
    return [
        len(answers),
        sum(one.verdict is Verdict.EXACT for one in answers),
        float(np.median([one.seconds for one in answers])),
        f"{np.median(ratio):.3f}, {ratio.min():.3f}",
        float(np.median(lower)),
        float(np.median(upper)),
    ]


def pruned(path: Path, share: float, to: Path) -> Path:
    """A copy of the file whose smallest weights, matrix by matrix, are zero."""
    model = onnx.load(path)
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.ndim >= 2:
            kept = np.abs(values) > np.quantile(np.abs(values), share)
            tensor.CopyFrom(numpy_helper.from_array(values * kept, tensor.name))
    onnx.save(model, to)
    return to


if __name__ == "__main__":
    main()
