"""Branch and bound on one ball, of which every step can be written down.

The search of `verifier/engines/phase_search/` closes nodes by whatever is quickest; this one knows the ball, and uses
what the proof format has a rule for: splits at phases, and one backward pass with slopes, multipliers of signs and
weights of rows. They come from an ascent, or from the duals of a node's linear program.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from bounds.nodes.linear_program import NodeProgram
from bounds.nodes.node_bounds import NodeBounds
from bounds.nodes.records import Nodes
from encoders.deadline import Deadline, under
from verifier.engines.phase_search.branching import by_program, by_relaxation

BATCH = 128  # nodes at a time
STEPS = 8  # of an ascent
RATE = 0.15
BEYOND = 1e-9  # relative: a node is raised so far beyond the radius that rounding its multipliers leaves it closed
PROGRAM_ENTRIES = 2_000_000  # of a node's linear program, at most


@dataclass(frozen=True)
class Split:
    """A node with two below it: where the open neuron is active, and where it is not."""

    neuron: int  # position among the net's open neurons
    active: int  # node numbers
    inactive: int


@dataclass(frozen=True, eq=False)
class Closing:
    """What closes a node: the phases that were split, and multipliers for its pass."""

    goal: int
    phase: Tensor  # [P] 1 active, -1 inactive, 0 open
    slope: Tensor  # [P] lower slopes of open neurons
    sign: Tensor  # [P] multipliers of the split signs, with the phase's own sign
    weight: Tensor  # [J] of the goal's rows


@dataclass(eq=False)
class ProofTree:
    """Nodes by number; the first ones are the goals' roots."""

    goals: int
    nodes: dict[int, Split | Closing] = field(default_factory=dict)

    def walk(self, goal: int) -> Iterator[Split | Closing]:
        """A goal's nodes, each before those below it."""
        left = [goal]
        while left:
            node = self.nodes[left.pop()]
            yield node
            if isinstance(node, Split):
                left += [node.inactive, node.active]


Written = Callable[[Closing], bool]
"""Whether a node can be written down as closed."""


class ProofSearch:
    """The tree that shows that a ball holds no adversary."""

    def __init__(self, engine: NodeBounds, radius: float, written: Written, deadline: Deadline) -> None:
        self.engine, self.radius, self.written, self.deadline = engine, radius, written, deadline
        self.enough = radius * (1.0 + BEYOND) + 1e-12

    def run(self) -> ProofTree | None:
        """The tree; None where time was up before, or where a linear piece of the net could not be closed."""
        roots = self.engine.roots()
        tree = ProofTree(len(roots))
        following = len(roots)
        left = [(roots, list(range(len(roots))))]
        while left:
            nodes, numbers = left.pop()
            if len(nodes) > BATCH:
                rest = torch.arange(BATCH, len(nodes), device=nodes.goal.device)
                left.append((nodes.take(rest), numbers[BATCH:]))
                nodes, numbers = nodes.take(torch.arange(BATCH, device=nodes.goal.device)), numbers[:BATCH]
            if self.deadline.passed:
                return None
            with under(self.deadline):
                found = self._closed_or_split(nodes)
            if found is None:
                return None
            places, neurons = [], []
            for k, one in enumerate(found):
                if isinstance(one, Closing):
                    tree.nodes[numbers[k]] = one
                else:
                    places.append(k)
                    neurons.append(one)
            if places:
                count = len(places)
                for k, (place, neuron) in enumerate(zip(places, neurons, strict=True)):
                    tree.nodes[numbers[place]] = Split(neuron, following + k, following + count + k)
                device = nodes.goal.device
                parents = self._seen.take(torch.tensor(places, device=device))
                children = parents.split(torch.tensor(neurons, device=device))
                left.append((children, list(range(following, following + 2 * count))))
                following += 2 * count
        return tree

    def _closed_or_split(self, nodes: Nodes) -> list[Closing | int] | None:
        """Of each node, what closes it or the open neuron to split it at; None where one can be neither."""
        nodes, seen = self.engine.optimise(nodes, STEPS, self.enough, RATE)
        branch = by_relaxation(nodes, seen)
        found: list[Closing | int] = []
        raised = []
        for k in range(len(nodes)):
            node, distance, neuron = nodes.take(torch.tensor([k], device=nodes.goal.device)), 0.0, int(branch[k])
            distance = float(seen.distance[k])
            if distance < self.enough and NodeProgram.entries(self.engine, node) <= PROGRAM_ENTRIES:
                program = NodeProgram(self.engine, node)
                better = program.raised(self.enough, self.deadline.left)
                if better.distance > distance:
                    node, distance = better.node, better.distance
                chosen = by_program(better.cost)
                if chosen is not None:
                    neuron = chosen
            closing = closing_of(node)
            if distance > self.radius and self.written(closing):
                found.append(closing)
            elif bool((node.phase[0] == 0).any()):
                found.append(neuron)
            else:
                return None
            raised.append(node)
        self._seen = joined(raised)
        return found


def closing_of(node: Nodes) -> Closing:
    """What a node of its own says of its pass."""
    phase = node.phase[0]
    sign = phase.to(node.multiplier.dtype) * node.multiplier[0]
    return Closing(int(node.goal[0]), phase, node.slope[0], sign, node.row_weight[0])


def joined(nodes: list[Nodes]) -> Nodes:
    """Nodes side by side in one batch."""
    parts = {name: torch.cat([getattr(one, name) for one in nodes]) for name in vars(nodes[0])}
    return type(nodes[0])(**parts)
