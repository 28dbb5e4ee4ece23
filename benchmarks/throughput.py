"""Nodes a second, and what they cost: one pass of node bounds and one of the cap, against the machine's own products.

python -m benchmarks.throughput                            a digits net
python -m benchmarks.throughput --net rsl18a --radius 0.1
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch

from benchmarks.common import conditions, header, net_and_images, row, single_threaded
from bounds.device import pick_device
from bounds.envelopes.cube import CubeEnvelope
from bounds.nodes.node_bounds import NodeBounds
from bounds.nodes.output_constrained import on_the_cap
from bounds.propagation.neuron_bounds import device_graph_for, network_bounds
from bounds.reduced_net.reduced_net import reduce
from bounds.tightening.by_envelopes import enveloped
from encoders.question import Norm, goals_for
from verifier.options import Options
from verifier.regions import region_for

SECONDS = 2.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--net", default="digits-64-64-64-10")
    parser.add_argument("--radius", type=float, default=0.1)
    parser.add_argument("--sample", type=int, default=0)
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    single_threaded()
    device = pick_device(options.device)
    print(conditions(), f"; device {device}")
    found = net_and_images(options.net)
    model, x = found.model, found.x
    region = region_for(model, x[options.sample].reshape(-1), None, Options())
    predicted = int(model.scores(region.center.astype(np.float32)[None]).argmax())
    device_graph = device_graph_for(model.graph, device)
    goals = goals_for(predicted, model.classes, None, 0.0)
    bounds = network_bounds(device_graph, region, Norm.LINF, options.radius)
    engine = NodeBounds(reduce(device_graph, bounds, goals))
    count, size = engine.net.open_phases, engine.net.x.shape[1]
    print(f"\n{options.net}, sample {options.sample}, L∞ {options.radius}: {count} open phases, {size} inputs")
    side = 1024
    square = torch.rand((side, side), dtype=torch.float64, device=device)
    peak = 2.0 * side**3 * rate(lambda: square @ square, device)
    print(f"float64 product of {side} x {side}: {peak / 1e9:.3g} GFLOP/s\n")
    print(header(["what", "nodes at once", "nodes a second", "GFLOP/s", "of the product"]))
    inner = sum(2 * (layer.stop - layer.start) * layer.start for layer in engine.net.layers)
    for batch in (9, 64, 256, 1024):
        nodes = engine.roots().take(torch.arange(batch, device=engine.rows.device) % len(engine.rows))
        passes = batch * rate(lambda nodes=nodes: engine.evaluate(nodes), device)  # type: ignore[misc]
        # Backward and forward: twice the open neurons' rows, and twice what lies between them.
        work = 2 * (2 * count * size + inner) * passes
        print(row(["bound", batch, passes, work / 1e9, work / peak]), flush=True)
        if batch > 256:
            continue
        seen = engine.evaluate(nodes)
        caps = batch * rate(lambda nodes=nodes, seen=seen: on_the_cap(engine, nodes, seen, options.radius), device)  # type: ignore[misc]
        print(row(["cap", batch, caps, "–", "–"]), flush=True)
        envelope = CubeEnvelope.of(engine.stack, seen.distance.new_tensor([options.radius]))
        touch = partial(enveloped, engine, envelope, nodes, seen, 1, torch.inf, 0.1)
        print(row(["step with tangents", batch, batch * rate(touch, device), "–", "–"]), flush=True)


def rate(run: Callable[[], object], device: str) -> float:
    """Runs a second."""
    run()
    started, runs = time.perf_counter(), 0
    while time.perf_counter() < started + SECONDS:
        run()
        runs += 1
        if device.startswith("cuda"):
            torch.cuda.synchronize()
    return runs / (time.perf_counter() - started)


if __name__ == "__main__":
    main()
