"""Roots by the all-layers relaxation: how many goals of a ball plain passes close, how many it does, and its time.

    python -m benchmarks.all_layers_roots NET --data mnist_test.npz --radius 0.04 --samples 0:5

A row for each sample: the open neurons of the ball, the goals, those that passes close, those that are closed after the
relaxation, and its processor seconds for all goals that were left, in one thread.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch

from bounds.nodes.node_bounds import NodeBounds
from bounds.propagation.neuron_bounds import device_graph_for, network_bounds
from bounds.reduced_net.reduced_net import reduce
from bounds.semidefinite.all_layers_bound import raised_by_all_layers
from bounds.tightening.base import Effort
from encoders.arrays import Inputs
from encoders.question import Norm, Region, goals_for
from verifier.question.model import Model, load
from verifier.runs.samples import load_samples, parse_samples

PASSES, RATE = 4, 0.15  # as a search asks of its roots


@torch.no_grad()
def measured(model: Model, x: Inputs, radius: float) -> str:
    """The row of one sample."""
    center = np.asarray(x, dtype=np.float64).reshape(-1)
    region = Region(center, np.zeros_like(center), np.ones_like(center))
    device_graph = device_graph_for(model.graph)
    predicted = int(np.argmax(model.scores(center[None])[0]))
    goals = goals_for(predicted, model.classes, None, 0.0)
    engine = NodeBounds(reduce(device_graph, network_bounds(device_graph, region, Norm.LINF, radius), goals))
    nodes, seen = engine.optimise(engine.roots(), PASSES, radius, RATE)
    began = time.process_time()
    _, raised = raised_by_all_layers(engine, nodes, seen, Effort().all_layers_steps, radius)
    spent = time.process_time() - began
    closed = [int((found.distance >= radius).sum()) for found in (seen, raised)]
    return f"{engine.stack.open_phases:6} {len(goals):6} {closed[0]:8} {closed[1]:8} {spent:9.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("net", type=Path)
    parser.add_argument("--data", required=True)
    parser.add_argument("--radius", type=float, required=True)
    parser.add_argument("--samples", default="0:5")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    model = load(asked.net)
    samples = load_samples(asked.data, model.input_shape, model.classes)
    print("sample   open  goals   passes   closed     CPU s")
    for index in parse_samples(asked.samples, samples.count):
        print(f"{index:6} {measured(model, samples.x[index], asked.radius)}", flush=True)


if __name__ == "__main__":
    main()
