"""Milliseconds to build WK17a's mixed-integer program at L∞ 0.1, ours against the same as a Pyomo model.

python -m benchmarks.program_build
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np

from benchmarks.common import conditions, header, mnist, row, shared_file, single_threaded
from bounds.propagation.neuron_bounds import neuron_bounds
from encoders.programs.mixed_integer_encoding import Encoder
from encoders.programs.pyomo_block import to_pyomo
from encoders.question import Norm, goals_for
from verifier.options import Options
from verifier.question.model import load
from verifier.regions import region_for


def median_milliseconds(action: Callable[[], object], repeats: int) -> float:
    """Median over the repeats."""
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        action()
        seconds.append(time.perf_counter() - started)
    return 1e3 * float(np.median(seconds))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image", type=int, default=0)
    parser.add_argument("--radius", type=float, default=0.1)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    single_threaded()
    print(conditions())
    model = load(shared_file("wk17a.onnx"))
    graph = model.graph
    region = region_for(model, mnist()[0][options.image], None, Options())
    predicted = int(model.scores(region.center.astype(np.float32)[None])[0].argmax())
    goals = goals_for(predicted, model.classes, None, 0.0)
    bounds = neuron_bounds(graph, region, Norm.LINF, options.radius)
    encoder = Encoder(graph)
    body = encoder.body(region, Norm.LINF, bounds, options.radius)
    program = body.program(goals[0])
    print(
        f"\n{bounds.open_phases} open phases; program of {program.matrix.shape[0]} rows, {program.matrix.nnz} entries\n"
    )
    print(header(["step", "milliseconds"]))
    for name, action in {
        "encoder, once a net": lambda: Encoder(graph),
        "body, once a sample": lambda: encoder.body(region, Norm.LINF, bounds, options.radius),
        "program, each target": lambda: body.program(goals[1]),
        "the same program as a Pyomo model": lambda: to_pyomo(program),
    }.items():
        print(row([name, median_milliseconds(action, options.repeats)]))


if __name__ == "__main__":
    main()
