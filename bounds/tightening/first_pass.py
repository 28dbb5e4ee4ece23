"""What one backward pass proves of a ball, before any attack and any search; in L1 a few, with envelopes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from bounds.geometry.halfspace_distance import lowest_value
from bounds.nodes.node_bounds import NodeBounds
from bounds.propagation.device_graph import DeviceGraph
from bounds.propagation.neuron_bounds import bounds_together
from bounds.reduced_net.one_sided_inputs import ONE_SIDED, one_sided_stack
from bounds.reduced_net.stacked_nets import Stack
from bounds.tightening.base import Aim, Effort
from bounds.tightening.by_envelopes import ByEnvelopes
from encoders.arrays import FloatArray
from encoders.question import Goal, Norm, Region

RATE = 0.3
PASSES = 4  # with envelopes, which are the same for all of them


def nearest_possible(
    device_graph: DeviceGraph, region: Region, norm: Norm, goals: tuple[Goal, ...], radius: float
) -> float:
    """A proven lower bound, at most `radius`, on the distance of the nearest adversary of any goal: no search."""
    return nearest_together(device_graph, (region,), norm, (goals,), (radius,))[0]


def nearest_together(
    device_graph: DeviceGraph,
    regions: Sequence[Region],
    norm: Norm,
    goals: Sequence[tuple[Goal, ...]],
    radii: Sequence[float],
) -> list[float]:
    """The same for several samples in one batch."""
    each = distances_together(device_graph, regions, norm, goals, radii)
    return [float(distances.min(initial=radius)) for distances, radius in zip(each, radii, strict=True)]


def distances_together(
    device_graph: DeviceGraph,
    regions: Sequence[Region],
    norm: Norm,
    goals: Sequence[tuple[Goal, ...]],
    radii: Sequence[float],
) -> list[FloatArray]:
    """For each sample a proven lower bound, at most its radius, on the distance of an adversary of each goal."""
    asked = [k for k, each in enumerate(goals) if each]
    found = [np.zeros(0) for _ in goals]
    if not asked:
        return found
    bounds = bounds_together(device_graph, [regions[k] for k in asked], norm, [radii[k] for k in asked])
    stack = Stack.on(device_graph, bounds, [goals[k] for k in asked])
    phases = NodeBounds(stack=one_sided_stack(stack) if norm in ONE_SIDED else stack)
    enough = device_graph.tensor([radii[k] for k in asked])
    nodes, seen = phases.optimise(phases.roots(), 0, enough, RATE)
    short = bool((seen.distance < phases.enough(nodes, enough)).any())
    if norm in ONE_SIDED and short and ByEnvelopes.possible(phases):
        aim = Aim(phases, enough, Effort(envelope_steps=PASSES, envelope_rate=RATE))
        _, seen = ByEnvelopes(aim).raised(nodes, seen)
    # Bounds that overflowed say nothing; min() would take a NaN for the radius.
    distances = seen.distance.nan_to_num(nan=0.0, posinf=torch.inf)
    for k, place in zip(asked, phases.stack.goals, strict=True):
        found[k] = np.minimum(radii[k], distances[place].cpu().numpy())
    return found


def least_values(
    device_graph: DeviceGraph, region: Region, norm: Norm, goals: tuple[Goal, ...], radius: float
) -> FloatArray:
    """A proven lower bound on the one row of each goal over ball ∩ box; -inf where a bound overflowed."""
    bounds = bounds_together(device_graph, [region], norm, [radius])
    stack = Stack.on(device_graph, bounds, [goals])
    phases = NodeBounds(stack=one_sided_stack(stack) if norm in ONE_SIDED else stack)
    nodes = phases.roots()
    seen, group = phases.evaluate(nodes), phases.stack.grouped(nodes.goal)
    far = torch.full_like(seen.height, radius)
    below, above = group.of(phases.stack.below), group.of(phases.stack.above)
    found = lowest_value(seen.normal, seen.height, below, above, norm, far)
    return np.asarray(found.nan_to_num(nan=-torch.inf).cpu().numpy())
