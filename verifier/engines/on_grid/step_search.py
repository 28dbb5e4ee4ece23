"""Branch and bound on a grid: phases are fixed and ranges of steps are halved, and every bound is in whole steps.

The search over phases proves real distances and ends at the nearest adversary between the levels. This tree goes on
from there: its bounds are on the grid's measure (`bounds.discrete.step_bounds`), rule out steps input by input, and
where a node's phases hardly matter any more, it is split at an input. The least bound of the open nodes is proven at
any time.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from math import ceil

import numpy as np
import torch
from torch import Tensor

from bounds.discrete.moved_pixels import Parts, SubsetBounds
from bounds.discrete.step_bounds import Ranged, StepBounds
from bounds.nodes.output_constrained import on_the_cap
from bounds.nodes.records import Pass
from bounds.propagation.neuron_bounds import device_graph_for, network_bounds
from bounds.reduced_net.reduced_net import reduce
from encoders.arrays import IntArray
from encoders.deadline import in_time
from encoders.question import Norm
from verifier.engines.on_grid.level_question import Levels
from verifier.engines.phase_search.open_nodes import OpenNodes
from verifier.question.results import Basis

INFINITY = float("inf")
SEARCHED = 5.0  # seconds for the search over phases before this one
WHOLE = 1e-6  # a bound this far above a whole number proves the next one


@dataclass(frozen=True)
class StepOptions:
    """What the tree may be tuned by; none of it can change an answer, only the time it takes."""

    batch: int = 128
    ascent: int = 6
    rate: float = 0.25
    area_weight: float = 0.2  # of a relaxation's area in the branching score
    matters: float = 0.02  # of the gap that a phase's relaxation must cost for a split there
    candidates: int = 8
    memory: int = 1_000_000_000  # bytes of open nodes; beyond, the nearest to done come first


class StepSearch:
    """One question in L1 or L2 on its grid. `run` may be called again to go on."""

    def __init__(self, levels: Levels, options: StepOptions | None = None) -> None:
        self.levels, self.grid, self.options = levels, levels.grid, options or StepOptions()
        problem, grid = levels.problem, levels.grid
        self.most = levels.enough - 1  # greater measures are of no interest
        device_graph = device_graph_for(problem.graph, problem.device)
        self.radius = grid.beyond(self.most + 1)
        net = reduce(device_graph, network_bounds(device_graph, problem.region, grid.norm, self.radius), problem.goals)
        self.moving: IntArray = net.moving.cpu().numpy()
        stride = grid.stride[self.moving].astype(np.float64)
        worth = stride if grid.norm is Norm.L1 else stride * stride
        size, cost, drift = (device_graph.tensor(v) for v in (stride / grid.n, worth, grid.error[self.moving]))
        self.bounds = StepBounds(net, grid.norm, size, cost, drift)
        self.box = SubsetBounds(net, torch.arange(len(self.moving), device=net.x.device))
        self.net = net
        low, high = (device_graph.tensor(v[self.moving]) for v in (grid.down, grid.up))
        roots = self.bounds.ranged(low, high)
        self.frontier = OpenNodes(roots)
        self._push(roots, torch.zeros(len(roots), device=net.x.device))
        self.floor = INFINITY  # the least bound of a point that neither replays nor is denied
        levels.open_phases = max(levels.open_phases, net.open_phases)

    @property
    def finished(self) -> bool:
        return self.levels.stopped or not len(self.frontier)

    @torch.no_grad()
    def run(self, seconds: float = INFINITY) -> None:
        """Search for at most so many seconds; what it proves and finds is the levels'."""
        deadline = self.levels.problem.deadline
        until = deadline.within(seconds)
        self.levels.technique = "steps"
        while not (self.finished or until.passed):
            full = self.frontier.bytes > self.options.memory // self.levels.problem.share
            taken, known, branch = (self.frontier.pop_highest if full else self.frontier.pop_lowest)(self.options.batch)
            self.levels.nodes += len(taken)
            left = in_time(deadline, partial(self._processed, taken, known.to(self.net.x.device)), None)
            if left is None:
                self.frontier.push(taken, known, branch)
                return
            self._push(*left)
            self.frontier.drop_above(self.levels.enough - 1 + WHOLE)
            self._prove()

    def _push(self, nodes: Ranged, bound: Tensor) -> None:
        self.frontier.push(nodes, bound, torch.zeros_like(nodes.goal))

    def _prove(self) -> None:
        """The least measure that is still possible; beyond `most` nothing is claimed."""
        least = min(self.frontier.lowest, self.floor, float(self.most + 1))
        self.levels.prove(min(self.grid.taken(ceil(least - WHOLE)), self.levels.enough), Basis.RIGOROUS)

    def _processed(self, nodes: Ranged, known: Tensor) -> tuple[Ranged, Tensor]:
        """The children of nodes that may hold an adversary still, and their parents' bounds."""
        target = self.levels.enough - 1 + 2 * WHOLE
        nodes, seen = self._ascended(nodes, target)
        for _ in range(2):
            nodes, seen, known = self._open(nodes, seen, known, target)
            if not len(nodes):
                return nodes, known
            nodes = self.bounds.narrowed(nodes, seen.normal, seen.height, float(self.levels.enough - 1))
            empty = (nodes.low > nodes.high).any(1)
            nodes, crossed = self._rebounded(nodes, seen)
            empty |= crossed
            kept = torch.nonzero(~empty).flatten()
            nodes, known = nodes.take(kept), known[kept]
            if not len(nodes):
                return nodes, known
            nodes, seen = self._ascended(nodes, target)
        nodes, seen, known = self._open(nodes, seen, known, target)
        if not len(nodes):
            return nodes, known
        self._offer(nodes, seen)
        return self._split(nodes, seen, torch.maximum(known, seen.distance))

    def _ascended(self, nodes: Ranged, target: float) -> tuple[Ranged, Pass]:
        return self.bounds.optimise(nodes, self.options.ascent, target, self.options.rate)

    def _open(self, nodes: Ranged, seen: Pass, known: Tensor, target: float) -> tuple[Ranged, Pass, Tensor]:
        kept = torch.nonzero(seen.distance < target).flatten()
        return nodes.take(kept), seen.take(kept), known[kept]

    def _rebounded(self, nodes: Ranged, seen: Pass) -> tuple[Ranged, Tensor]:
        """Neuron bounds on the ranges, and on the cap; True where they leave nothing."""
        size = self.bounds.size
        drift = self.bounds.drift
        low, high = torch.minimum(nodes.low, nodes.high) * size - drift, nodes.high * size + drift
        none = torch.zeros(len(nodes), low.shape[1], dtype=torch.bool, device=low.device)
        left = torch.zeros(len(nodes), dtype=torch.int64, device=low.device)
        parts, fall = self.box.bounded(Parts(low, high, none, left, nodes.lower, nodes.upper))
        missed = (fall.lowest.gather(1, self.bounds.rows[nodes.goal] - self.net.open_phases) > 0).any(1)
        nodes = replace(nodes, lower=parts.lower, upper=parts.upper)
        found = on_the_cap(self.bounds, nodes, seen, self.radius)
        return found, missed | (found.lower > found.upper).any(1)

    def _offer(self, nodes: Ranged, seen: Pass) -> None:
        """Replay the points where the least bounds are attained."""
        index = seen.distance.argsort()[: self.options.candidates]
        chosen = nodes.take(index)
        priced = self.bounds.priced(chosen, seen.normal[index], seen.height[index])
        points = torch.cat([priced.steps, _toward(priced.smooth, chosen)])
        every = np.zeros((len(points), len(self.grid.home)), dtype=np.int64)
        every[:, self.moving] = points.cpu().numpy().astype(np.int64)
        if self.levels.witness.offer_steps(every, "steps"):
            self.levels.witness.walk(self.levels.problem.deadline, self.levels.lower)
            self.levels.tell()

    def _split(self, nodes: Ranged, seen: Pass, known: Tensor) -> tuple[Ranged, Tensor]:
        """Both children of each node: at the phase that costs most, or at an input where none costs much."""
        count, options = len(nodes), self.options
        wide = nodes.high > nodes.low
        at_input = torch.ones(count, dtype=torch.bool, device=known.device)
        best = torch.zeros(count, dtype=torch.int64, device=known.device)
        if self.net.open_phases:
            h, behind = seen.preactivation, seen.behind
            chord, offset = nodes.lines
            above = (chord * h + offset - h.clamp_min(0.0)).clamp_min(0.0)
            below = (h.clamp_min(0.0) - nodes.slope * h).clamp_min(0.0)
            cost = torch.where(behind < 0, -behind * above, behind * below)
            cost = cost + options.area_weight * behind.abs() * offset
            cost = torch.where(nodes.phase == 0, cost, -1.0)
            top, best = cost.max(1)
            # By how much φ must rise at the sample for the bound to reach its aim: in L2 that grows with its square.
            power = 1.0 if self.grid.norm is Norm.L1 else 0.5
            aim = (self.levels.enough / seen.distance.clamp_min(1e-9)) ** power - 1.0
            at_input = (top <= 0) | (wide.any(1) & (top < options.matters * aim * seen.height.clamp_min(0.0)))
        points = torch.nonzero(at_input & ~wide.any(1)).flatten()
        if len(points):
            self._doubt(nodes.take(points))
        phases, inputs = (torch.nonzero(s).flatten() for s in (~at_input, at_input & wide.any(1)))
        split = nodes.take(phases).split(best[phases])
        halves = self._halves(nodes.take(inputs), seen.take(inputs))
        bounds = torch.cat([known[phases].repeat(2), known[inputs].repeat(2)])
        return _joined(split, halves), bounds

    def _halves(self, nodes: Ranged, seen: Pass) -> Ranged:
        """Each node split at the input whose steps are the farthest from whole, or matter most, near the bound."""
        if not len(nodes):
            return nodes
        priced = self.bounds.priced(nodes, seen.normal, seen.height)
        width = nodes.high - nodes.low
        near = (priced.smooth - priced.smooth.round()).abs()
        score = torch.where(width > 0, priced.pull.abs() * (near + 0.05 * width.clamp_max(4.0)) + 1e-12 * width, -1.0)
        chosen = score.argmax(1)
        order = torch.arange(len(nodes), device=chosen.device)
        at = priced.smooth[order, chosen].floor()
        at = torch.minimum(torch.maximum(at, nodes.low[order, chosen]), nodes.high[order, chosen] - 1.0)
        both = nodes.take(order.repeat(2))
        low, high = both.low.clone(), both.high.clone()
        high[order, chosen] = at
        low[len(order) + order, chosen] = at + 1.0
        return replace(both, low=low, high=high)

    def _doubt(self, nodes: Ranged) -> None:
        """Single points that no bound denies: replayed, and where that fails too nothing is proven beyond them."""
        every = np.zeros((len(nodes), len(self.grid.home)), dtype=np.int64)
        every[:, self.moving] = nodes.low.cpu().numpy().astype(np.int64)
        self.levels.witness.offer_steps(every, "steps")
        self.floor = min(self.floor, float(self.grid.measure(every).min()))


def _toward(smooth: Tensor, nodes: Ranged) -> Tensor:
    """Whole steps away from the sample by no less than `smooth`."""
    away = torch.sign(smooth) * smooth.abs().sub(1e-3).ceil()
    return torch.minimum(torch.maximum(away, nodes.low), nodes.high)


def _joined(first: Ranged, second: Ranged) -> Ranged:
    return Ranged(**{name: torch.cat([value, getattr(second, name)]) for name, value in vars(first).items()})
