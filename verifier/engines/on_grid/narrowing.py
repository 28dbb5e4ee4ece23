"""What bounds leave of one goal on the grid at one measure: open neurons, and the steps its adversaries can take.

On the ball of the measure come neuron bounds, slopes ascended on the distance, neurons on the cap that they leave, and
from the same cap the steps of each input (`bounds.discrete.step_ranges`). All of it is repeated on the smaller box
while that shrinks. A part of the goal may have some phases fixed: that is how a decision too hard for one program is
split.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch

from bounds.discrete.step_ranges import narrowed
from bounds.nodes.node_bounds import NodeBounds
from bounds.nodes.output_constrained import on_the_cap
from bounds.nodes.records import Nodes, Pass
from bounds.propagation.device_graph import DeviceGraph
from bounds.propagation.neuron_bounds import NetworkBounds, network_bounds
from bounds.reduced_net.reduced_net import Reduced, reduce
from encoders.arrays import FloatArray, IntArray
from encoders.grid import Grid
from encoders.programs.integer_encoding import OpenNet, Steps
from encoders.question import Goal, Norm, Region

Neuron = tuple[int, int]
"""A ReLU node's position, and the entry in it."""


@dataclass(frozen=True)
class NarrowOptions:
    """What narrowing may be tuned by; none of it can change an answer, only the time it takes."""

    rounds: int = 4  # of narrowing the box
    shrinks: float = 0.95  # a round must leave at most this part of all steps for another one
    ascent: int = 10  # steps on the slopes between two looks at the cap
    caps: int = 4
    rate: float = 0.15
    calmer: float = 0.7  # each cap is followed by steps this much smaller
    nearly: float = 0.03  # a gap of this part of the radius is worth a long calm ascent
    fine_rates: tuple[float, ...] = (0.05, 0.015, 0.005)
    fine_steps: int = 40
    area_weight: float = 0.2  # of a relaxation's area in the branching score


@dataclass(frozen=True, eq=False)
class Narrow:
    """The open rows, the steps of the inputs that matter, and the neuron to split next (None: all phases are fixed)."""

    net: OpenNet
    steps: Steps
    inputs: IntArray
    branch: Neuron | None
    open_phases: int


class Narrowing:
    """Narrows the goals of one question."""

    def __init__(self, device_graph: DeviceGraph, center: FloatArray, grid: Grid, options: NarrowOptions) -> None:
        self.device_graph, self.center, self.grid, self.options = device_graph, center, grid, options

    @torch.no_grad()
    def of(self, goal: Goal, measure: int, fixed: Mapping[Neuron, int]) -> Narrow | None:
        """What is left; None where bounds prove that this part of the goal has no adversary of at most `measure`."""
        grid = self.grid
        down, up = grid.down, grid.up
        for _ in range(max(1, self.options.rounds)):
            # The closed forms want the sample inside the box.
            hull = (np.minimum(down, 0), np.maximum(up, 0))
            region = Region(self.center, grid.corner(hull[0]), grid.corner(hull[1]))
            norm, radius = grid.norm, grid.beyond(measure + 1)
            if norm is Norm.L0 and grid.pixels is not None:  # closed forms count inputs: a box, which is an L∞ ball
                norm = Norm.LINF
                radius = float(np.nextafter(region.reach(norm) * (1.0 + 1e-9), np.inf)) + 1e-12
            bounds = network_bounds(self.device_graph, region, norm, radius)
            phases = NodeBounds(reduce(self.device_graph, bounds, (goal,)))
            roots = _with_fixed(phases, bounds, fixed)
            if roots is None:
                return None
            nodes, passes = self._ascended(phases, roots, radius)
            if nodes is None:
                return None
            moving = phases.net.moving.cpu().numpy()
            before = int((up - down)[moving].sum())
            down, up = down.copy(), up.copy()
            for one in passes:
                allowed = self._steps(moving, *hull, measure)
                part = narrowed(allowed, one.normal[0].cpu().numpy(), float(one.height[0]))
                down[moving], up[moving] = np.maximum(down[moving], part.down), np.minimum(up[moving], part.up)
                if not part.possible or (down > up).any():
                    return None
            after = int((up - down)[moving].sum())
            steps = self._steps(moving, down, up, measure)
            open_phases = int((nodes.phase == 0).sum())
            branch = self._branch(phases.net, nodes, passes[-1]) if open_phases else None
            left = Narrow(_open_net(phases.net, nodes), steps, moving, branch, open_phases)
            if after > self.options.shrinks * before:
                break
        return left

    def _steps(self, moving: IntArray, down: IntArray, up: IntArray, measure: int) -> Steps:
        """What the inputs `moving` may do within down and up."""
        grid = self.grid
        pixels = None if grid.pixels is None else grid.pixels[moving]
        return Steps(
            grid.norm, grid.n, grid.stride[moving], down[moving], up[moving], grid.error[moving], measure, pixels
        )

    def _ascended(self, phases: NodeBounds, nodes: Nodes, radius: float) -> tuple[Nodes | None, list[Pass]]:
        """Slopes and caps in turns; None for the node where that proves the ball empty. First and last pass."""
        options = self.options
        nodes, seen = phases.optimise(nodes, options.ascent, radius, options.rate)
        passes = [seen]
        for turn in range(options.caps):
            if float(seen.distance[0]) >= radius:
                return None, passes
            if not phases.net.open_phases:
                break
            nodes = on_the_cap(phases, nodes, seen, radius)
            if bool((nodes.lower > nodes.upper).any()):
                return None, passes
            before = float(seen.distance[0])
            nodes, seen = phases.optimise(nodes, options.ascent, radius, options.rate * options.calmer ** (turn + 1))
            if float(seen.distance[0]) - before < 0.05 * (radius - before):
                break
        if float(seen.distance[0]) > radius * (1.0 - options.nearly):
            for rate in options.fine_rates:
                if float(seen.distance[0]) < radius:
                    nodes, seen = phases.optimise(nodes, options.fine_steps, radius, rate)
        return (None if float(seen.distance[0]) >= radius else nodes), [*passes, seen]

    def _branch(self, net: Reduced, nodes: Nodes, seen: Pass) -> Neuron:
        """The open neuron whose relaxation costs the most at the point where the bound is attained."""
        h, behind = seen.preactivation, seen.behind
        chord, offset = nodes.lines
        above = (chord * h + offset - h.clamp_min(0.0)).clamp_min(0.0)
        below = (h.clamp_min(0.0) - nodes.slope * h).clamp_min(0.0)
        cost = torch.where(behind < 0, -behind * above, behind * below)
        score = cost + self.options.area_weight * behind.abs() * offset
        return _names(net)[int(torch.where(nodes.phase == 0, score, -1.0).argmax())]


def _with_fixed(phases: NodeBounds, bounds: NetworkBounds, fixed: Mapping[Neuron, int]) -> Nodes | None:
    """The root with the given phases; None where the bounds leave one of them nothing."""
    nodes = phases.roots()
    if not fixed:
        return nodes
    phase, lower, upper = nodes.phase.clone(), nodes.lower.clone(), nodes.upper.clone()
    place = {name: k for k, name in enumerate(_names(phases.net))}
    for (position, entry), sign in fixed.items():
        least, most = float(bounds.lower[position][0, entry]), float(bounds.upper[position][0, entry])
        if (sign > 0 and most < 0) or (sign < 0 and least > 0):
            return None
        k = place.get((position, entry))
        if k is None:
            continue
        phase[0, k] = sign
        if sign > 0:
            lower[0, k] = max(0.0, float(lower[0, k]))
        else:
            upper[0, k] = min(0.0, float(upper[0, k]))
    return replace(nodes.fixed(phase), lower=lower, upper=upper)


def _names(net: Reduced) -> list[Neuron]:
    return [(position, int(entry)) for position, entries in net.neurons for entry in entries.tolist()]


def _open_net(net: Reduced, nodes: Nodes) -> OpenNet:
    x, z, constant, error = (t.cpu().numpy() for t in (net.x, net.z, net.constant, net.error))
    lower, upper, phase = (t[0].cpu().numpy() for t in (nodes.lower, nodes.upper, nodes.phase))
    return OpenNet(x, z, constant, error, lower, upper, phase)
