"""What parts of the search are worth: questions about MNIST nets with and without them, CPU seconds and nodes.

python -m benchmarks.search_options --samples 8,62,115,149,211,479 --variants default,no-tangents,no-programs
python -m benchmarks.search_options --net rsl18a --samples 7,24 --radius 0.1 --variants default,no-tangents
python -m benchmarks.search_options --net rsl18a --samples 1,4,8,18 --variants default,no-moments,no-tangents
"""

from __future__ import annotations

import argparse
import time
from functools import partial

from benchmarks.common import conditions, header, mnist, row, shared_file, single_threaded
from bounds.tightening.base import Effort
from verifier.answer import distance, verify
from verifier.engines.adapters import SearchEngine
from verifier.engines.phase_search.adversaries import WitnessOptions
from verifier.engines.phase_search.search import SearchOptions
from verifier.engines.registry import ENGINES
from verifier.question.model import load
from verifier.question.results import Verdict

VARIANTS = {
    "default": SearchOptions(),
    "no-tangents": SearchOptions(effort=Effort(envelope_steps=0)),
    "no-moments": SearchOptions(effort=Effort(one_layer_steps=0)),
    "no-products": SearchOptions(effort=Effort(all_layers_steps=0)),
    "no-programs": SearchOptions(program_share=0.0, program_worth=2.0),
    "programs-everywhere": SearchOptions(program_worth=0.0),
    "no-random-starts": SearchOptions(witnesses=WitnessOptions(scout_restarts=0)),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--net", default="wk17a", help="a net of ../shared/data that reads MNIST")
    parser.add_argument("--norm", default="linf")
    parser.add_argument("--samples", default="8,62,115,149,211,479")
    parser.add_argument("--variants", default=",".join(VARIANTS))
    parser.add_argument("--radius", type=float, default=None, help="ask about this radius, not for the distance")
    parser.add_argument("--time-limit", type=float, default=60.0)
    options = parser.parse_args()
    single_threaded()
    print(conditions())
    x, _ = mnist()
    model = load(shared_file(f"{options.net}.onnx"))
    samples = [int(sample) for sample in options.samples.split(",")]
    names = options.variants.split(",")
    totals = dict.fromkeys(names, 0.0)
    print(header(["image", *(f"{name}: verdict, nodes, CPU s" for name in names)]))
    for sample in samples:
        cells = []
        for name in names:
            ENGINES[name] = partial(SearchEngine, VARIANTS[name])
            started = time.process_time()
            asked = {"norm": options.norm, "engine": name, "time_limit": options.time_limit}
            if options.radius is None:
                result = distance(model, x[sample], **asked)
            else:
                result = verify(model, x[sample], options.radius, **asked)
            spent = time.process_time() - started
            totals[name] += spent
            gap = "" if result.verdict is not Verdict.UNRESOLVED else f" {result.lower:.6f} to {result.upper:.6f}"
            cells.append(f"{result.verdict}{gap}, {result.nodes}, {spent:.1f}")
        print(row([sample, *cells]), flush=True)
    print(row(["all", *(f"{totals[name]:.1f}" for name in names)]))


if __name__ == "__main__":
    main()
