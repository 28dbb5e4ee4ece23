"""What a batch of many samples costs: neuron bounds, node bounds and caps, microseconds a sample; one thread.

python -m benchmarks.sharing --net digits-64-32-32-10 --radius 0.08
python -m benchmarks.sharing --net wk17a --radius 0.1 --together 1,4,16
"""

from __future__ import annotations

import argparse

import numpy as np
import torch

from benchmarks.common import conditions, header, net_and_images, row, single_threaded
from benchmarks.throughput import rate
from bounds.device import pick_device
from bounds.nodes.node_bounds import NodeBounds
from bounds.nodes.output_constrained import on_the_cap
from bounds.propagation.neuron_bounds import bounds_together, device_graph_for, network_bounds
from bounds.reduced_net.reduced_net import reduce
from encoders.question import Norm, goals_for
from verifier.options import Options
from verifier.regions import region_for

RATE, STEPS = 0.15, 4


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--net", default="digits-64-32-32-10")
    parser.add_argument("--radius", type=float, default=0.08)
    parser.add_argument("--together", default="1,2,4,8,16")
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    single_threaded()
    device = pick_device(options.device)
    print(conditions(), f"; device {device}\n")
    found = net_and_images(options.net)
    model, x = found.model, found.x
    device_graph, radius = device_graph_for(model.graph, device), options.radius
    counts = [int(count) for count in options.together.split(",")]
    regions = [region_for(model, x[k].reshape(-1), None, Options()) for k in range(max(counts))]
    goals = [
        goals_for(int(model.scores(r.center.astype(np.float32)[None]).argmax()), model.classes, None, 0.0)
        for r in regions
    ]
    nets = [
        reduce(device_graph, network_bounds(device_graph, r, Norm.LINF, radius), g)
        for r, g in zip(regions, goals, strict=True)
    ]
    print(header(["samples at once", "neuron bounds", "one pass", f"{STEPS} ascent steps", "cap", "stacking"]))
    for count in counts:
        engine = NodeBounds(*nets[:count])
        nodes = engine.roots()
        seen = engine.evaluate(nodes)
        runs = (
            lambda n=count: bounds_together(device_graph, regions[:n], Norm.LINF, [radius] * n),
            lambda e=engine, k=nodes: e.evaluate(k),
            lambda e=engine, k=nodes: e.optimise(k, STEPS, radius, RATE),
            lambda e=engine, k=nodes, s=seen: on_the_cap(e, k, s, radius),
            lambda n=count: NodeBounds(*nets[:n]),
        )
        print(row([count, *(f"{1e6 / (count * rate(run, device)):.0f}" for run in runs)]), flush=True)


if __name__ == "__main__":
    main()
