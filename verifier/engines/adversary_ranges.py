"""Ranges of neurons where adversaries of one goal can be at all, so that its program has fewer binaries to decide.

A program knows its ball and its goal from its rows alone; what both together leave of each neuron, it would find out by
branching. Two ways tell it before. Passes raise the distance bound of each goal by itself, all goals at once, and bound
neurons where an adversary can still be (`bounds/tightening/raising.py`): most goals need no program after that.
Of the others, the linear relaxation of the program, its goal's row included, gives a least and a greatest value of each
open neuron; the program written with those is tighter, and gives better ones.
All of them hold at the goal's adversaries within the ball, the farthest included, and at no other input.
"""

from __future__ import annotations

from functools import partial
from typing import cast

import numpy as np
import torch
from scipy import sparse

from bounds.nodes.node_bounds import NodeBounds
from bounds.propagation.device_graph import DeviceGraph
from bounds.propagation.neuron_bounds import NetworkBounds
from bounds.reduced_net.one_sided_inputs import ONE_SIDED, one_sided
from bounds.reduced_net.reduced_net import reduce
from bounds.tightening.base import Effort
from bounds.tightening.raising import bounded
from encoders.arrays import FloatArray
from encoders.deadline import NEVER, Deadline, in_time, look
from encoders.programs.mixed_integer_encoding import Encoder, Opened
from encoders.programs.sparse_blocks import wide
from encoders.question import Goal, NeuronBounds, Norm, Region
from encoders.solvers.base import Status
from encoders.solvers.highs_least_values import least_values
from encoders.solvers.highs_linear import solve_linear

STEPS = 8  # of the ascent before neurons are bounded again, and after
EFFORT = Effort(one_layer_steps=0, all_layers_steps=0)  # descents of matrices cost more than a program's root
ROUNDS = 4  # of linear programs, at most
FEW_OPEN = 12  # a program with no more is solved before its neurons are bounded
OUTWARD = 1e-9  # of a neuron's own size: more than rows lose as they are written down


@torch.no_grad()
def by_passes(
    device_graph: DeviceGraph, bounds: NetworkBounds, goals: tuple[Goal, ...], radius: float
) -> tuple[list[NeuronBounds], FloatArray]:
    """For each goal the ranges at its adversaries within `radius`, and a proven lower bound of their distance.

    `bounds` hold on the ball. A bound of `radius` says that the ball holds none: then the ranges are the ball's.
    """
    net = reduce(device_graph, bounds, goals)
    engine = NodeBounds(one_sided(net) if bounds.ball.norm in ONE_SIDED else net)
    nodes, seen = bounded(engine, engine.roots(), STEPS, radius, EFFORT)
    whole, found = bounds.neurons(), list[NeuronBounds]()
    for k in range(len(goals)):
        if not bool(seen.distance[k] < radius):
            found.append(whole)
            continue
        lower, upper = ({i: v.copy() for i, v in side.items()} for side in (whole.lower, whole.upper))
        for place, (position, entries) in zip(net.layers, net.neurons, strict=True):
            chosen = entries.cpu().numpy()
            lower[position][chosen] = np.fmax(lower[position][chosen], nodes.lower[k, place].cpu().numpy())
            upper[position][chosen] = np.fmin(upper[position][chosen], nodes.upper[k, place].cpu().numpy())
        found.append(NeuronBounds(lower, upper))
    distance = seen.distance.cpu().numpy()
    return found, np.where(np.isnan(distance), 0.0, distance)


def by_programs(
    encoder: Encoder,
    region: Region,
    norm: Norm,
    goal: Goal,
    neurons: NeuronBounds,
    radius: float,
    limit: Deadline = NEVER,
) -> NeuronBounds | None:
    """Narrower ranges at the goal's adversaries within `radius`, as far as there is time; None where there is none."""
    for _ in range(ROUNDS):
        if neurons.open_phases <= FEW_OPEN:
            break
        work = partial(_narrowed, encoder, region, norm, goal, neurons, radius)
        narrower = in_time(limit, work, cast(NeuronBounds | None, neurons))
        if narrower is None or narrower.open_phases == neurons.open_phases:
            return narrower
        neurons = narrower
    return neurons


def _narrowed(
    encoder: Encoder, region: Region, norm: Norm, goal: Goal, neurons: NeuronBounds, radius: float
) -> NeuronBounds | None:
    # In L∞ the ball is a box, and in L2 it lies in one: without a column or a square for the distance.
    body = encoder.body(region, norm if norm is Norm.L1 else None, neurons, radius)
    program = body.program(goal)
    start = solve_linear(
        np.zeros(program.columns), program.matrix, program.row_lower, program.row_upper, program.column_lower,
        program.column_upper,
    )  # fmt: skip
    if start.status is Status.INFEASIBLE and start.ray is not None:
        return None
    look()
    opened: dict[int, Opened] = {i: one for i, one in body.opened.items() if len(one.neurons)}
    read = sparse.csr_array(sparse.vstack([wide(one.table, program.columns) for one in opened.values()], format="csr"))
    count = read.shape[0]
    values = least_values(program, sparse.csr_array(sparse.vstack([read, -read], format="csr")))
    lower, upper = ({i: v.copy() for i, v in side.items()} for side in (neurons.lower, neurons.upper))
    first = 0
    for position, one in opened.items():
        chosen, place = one.neurons, slice(first, first + len(one.neurons))
        first = place.stop
        away = OUTWARD * np.maximum(-lower[position][chosen], upper[position][chosen])
        lower[position][chosen] = np.maximum(lower[position][chosen], values[:count][place] - away)
        upper[position][chosen] = np.minimum(upper[position][chosen], -values[count:][place] + away)
        if (lower[position] > upper[position]).any():
            return None
    return NeuronBounds(lower, upper)
