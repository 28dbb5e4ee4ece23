"""One ball of a search: the net that it leaves open, the nodes that are open, and what is proven of those closed."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from bounds.nodes.node_bounds import NodeBounds
from bounds.nodes.records import Nodes
from bounds.nodes.regrouping import carry_over
from bounds.propagation.device_graph import DeviceGraph
from bounds.propagation.neuron_bounds import NetworkBounds, network_bounds
from bounds.reduced_net.one_sided_inputs import ONE_SIDED, one_sided
from bounds.reduced_net.reduced_net import Reduced, reduce
from encoders.arrays import IntArray
from encoders.deadline import in_time
from verifier.engines.phase_search.open_nodes import OpenNodes
from verifier.question.incumbent import Incumbent
from verifier.question.problem import Problem

INFINITY = float("inf")

Made = tuple[NetworkBounds, Reduced]


class Stage:
    """One ball being searched. A nearer adversary shrinks what is of interest of it, and with that its target."""

    def __init__(
        self, problem: Problem, incumbent: Incumbent, device_graph: DeviceGraph, radius: float, built: float, made: Made
    ) -> None:
        self.problem, self.incumbent, self.device_graph, self.radius = problem, incumbent, device_graph, radius
        self.built, (self.bounds, self.net) = built, made  # the ball that the net was made for
        self.phases = NodeBounds(self.net)
        self.frontier = OpenNodes(self.phases.roots())
        self.floor = INFINITY  # the least bound among nodes that were closed

    @classmethod
    def opened(cls, problem: Problem, incumbent: Incumbent, device_graph: DeviceGraph, radius: float) -> Stage | None:
        """The stage of this ball, with no node in it yet; None where time is up before its net is made."""
        ball = min(radius, incumbent.enough)
        made = in_time(problem.deadline, lambda: _net_on(problem, device_graph, ball), None)
        return None if made is None else cls(problem, incumbent, device_graph, radius, ball, made)

    @property
    def horizon(self) -> float:
        """Adversaries at this distance or more are of no interest: the ball that is searched."""
        return min(self.radius, self.incumbent.enough)

    @property
    def target(self) -> float:
        """A node whose bound reaches this is closed. A decision has no tolerance: an adversary that is barely beyond
        its radius leaves nothing open."""
        if self.incumbent.enough > self.radius:
            return self.radius
        if self.problem.falsify_at is not None:
            return max(0.0, self.incumbent.enough)
        upper = self.incumbent.upper
        near = upper - 0.5 * self.problem.tolerance * max(1.0, upper) if upper < INFINITY else upper
        return max(0.0, min(near, self.incumbent.enough))

    @property
    def whole(self) -> bool:
        """Whether nothing beyond this ball is of interest."""
        return self.incumbent.enough <= self.radius or self.radius >= self.problem.ceiling

    @property
    def lowest(self) -> float:
        """The proven lower bound: least over open nodes, closed nodes, and the target.

        Neuron bounds, and phases that follow from them, hold for adversaries within the target only
        (`bounds/nodes/output_constrained.py`): whatever a node's bound or program says, and wherever a node was
        dropped, beyond it nothing is claimed. It only shrinks while a tree is searched, so what was said of a node
        earlier covers it.
        """
        return min(self.frontier.lowest, self.floor, self.target)

    @property
    def least_row(self) -> float:
        """What every goal's first row is at least, at inputs of the question's ball that keep its other rows."""
        radius = self.problem.falsify_at
        if radius is None or not radius < self.target or self.floor < self.target:
            return -INFINITY
        return min(self.frontier.least_row, 0.0)

    def close(self, bound: Tensor) -> None:
        """Nodes with these bounds are closed."""
        if bound.numel():
            self.floor = min(self.floor, float(bound.min()))

    def keep(self, nodes: Nodes, bound: Tensor, branch: Tensor | None = None) -> None:
        """Nodes to go on with; without `branch` [N], there was no time to see where to split them."""
        self.frontier.push(nodes, bound, torch.zeros_like(nodes.goal) if branch is None else branch)

    def drop_closed(self) -> None:
        """Close the open nodes that the target has come down to."""
        self.floor = min(self.floor, self.frontier.drop_above(self.target))

    def closed_goals(self, count: int) -> IntArray:
        """Of so many goals, those without an open node: the ball of the target holds no adversary of them. None of
        them is closed where a leaf proved less than that."""
        if self.floor < self.target:
            return np.zeros(0, dtype=np.int64)
        return np.setdiff1d(np.arange(count), self.frontier.goals)

    def rebuilt(self) -> tuple[Nodes, Tensor] | None:
        """The open nodes and their bounds, on a net made anew for what is of interest of the ball now; they are in the
        stage no longer. None, and nothing is changed, where time is up before."""
        old, ball = self.net, self.horizon
        made = in_time(self.problem.deadline, lambda: _net_on(self.problem, self.device_graph, ball, self.bounds), None)
        if made is None:
            return None
        self.built, (self.bounds, self.net) = ball, made
        self.phases = NodeBounds(self.net)
        nodes, bound, _ = self.frontier.pop_all()
        nodes, bound = carry_over(old, self.net, self.bounds, nodes, bound)
        self.frontier = OpenNodes(self.phases.roots(), max(1024, 2 * len(nodes)))
        return nodes, bound


def _net_on(problem: Problem, device_graph: DeviceGraph, ball: float, known: NetworkBounds | None = None) -> Made:
    bounds = network_bounds(device_graph, problem.region, problem.norm, ball, known=known)
    net = reduce(device_graph, bounds, problem.goals)
    return bounds, one_sided(net) if problem.norm in ONE_SIDED else net
