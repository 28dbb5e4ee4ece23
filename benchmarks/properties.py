"""VNN-LIB properties with known verdicts: how many are answered, how fast, and that none is contradicted; one thread.

python -m benchmarks.properties --benchmark acasxu_2023 --time-limit 20
python -m benchmarks.properties --benchmark collins_rul_cnn_2023 --instances 0:20

Seconds are from reading both files to the answer; each file of a network is read once. CPU seconds, which other work
beside it changes less, are those of this process, without the runs of onnxruntime that a file is compared with.
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
from statistics import median

from benchmarks.common import conditions, header, row, shared_file, single_threaded, span
from encoders.properties.vnnlib import read_vnnlib
from verifier.property_answer import PropertyOptions, Satisfied, check_property
from verifier.question.model import load_network

ANSWERED = (Satisfied.SAT, Satisfied.UNSAT)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--benchmark", default="acasxu_2023", help="a folder of ../shared/data/vnncomp2024")
    parser.add_argument("--instances", type=span, help="like 0:20 (default: all)")
    parser.add_argument("--time-limit", type=float, default=20.0, help="seconds for each")
    parser.add_argument("--engine", default="search")
    given = parser.parse_args()
    single_threaded()
    print(conditions())
    folder = shared_file("vnncomp2024") / given.benchmark
    with open(folder / "instances.csv", newline="") as file:
        instances = list(csv.DictReader(file))
    seconds, work, answered, wrong = [], [], 0, 0
    for number in range(len(instances)) if given.instances is None else given.instances:
        known = instances[number]
        started, before = time.monotonic(), time.process_time()
        asked = read_vnnlib(folder / known["vnnlib"])
        options = PropertyOptions(time_limit=given.time_limit, engine=given.engine)
        found = check_property(load_network(folder / known["onnx"]), asked, options)
        seconds.append(time.monotonic() - started)
        work.append(time.process_time() - before)
        answered += found.verdict in ANSWERED
        contradicted = found.verdict in ANSWERED and known["verdict"] != found.verdict
        wrong += contradicted
        mark = "  CONTRADICTED" if contradicted else ""
        print(
            f"{number:4d} {found.verdict:8s} {seconds[-1]:7.2f} s {work[-1]:7.2f} CPU s {found.nodes:7d} nodes{mark}",
            flush=True,
        )
    print(
        header(["benchmark", "instances", "answered", "contradicted", "median s", "in all s", "median CPU s", "most"])
    )
    figures = (median(seconds), sum(seconds), median(work), max(work))
    print(row([given.benchmark, len(seconds), answered, wrong, *figures]))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
