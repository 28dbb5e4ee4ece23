"""How the search comes by adversaries: corners of its nodes, dives, descents, and fresh attacks on the way.

Nothing here proves anything, and nothing that is found counts before it replays (`Incumbent.offer`); a nearer
adversary shrinks the ball, and with it whatever is still to be proven.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bounds.attacks.apgd import ApgdDlr
from bounds.attacks.base import AttackOptions, AttackProblem
from bounds.attacks.from_starts import nearest_from
from bounds.attacks.region_descent import polish
from bounds.nodes.linear_program import NodeProgram
from bounds.nodes.node_bounds import NodeBounds
from bounds.nodes.records import Nodes, Pass
from bounds.propagation.device_graph import DeviceGraph
from encoders.arrays import FloatArray
from encoders.deadline import NEVER, Deadline, under
from encoders.question import Goal
from verifier.batching.cores import each_on_a_core
from verifier.question.incumbent import Incumbent
from verifier.question.problem import Problem

SEARCH = "search"
PUSHES = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 16.0)  # of the difference between float32 and real scores
LEAST_PUSH = 2.0**-24  # of what a row adds up: where no number happened to be rounded, a tie is still no win
DEAR_DIVE = 0.05  # seconds: shorter ones may follow each other
FAR = 1.4  # an adversary this much farther than the ceiling may still be walked into it


@dataclass(frozen=True)
class WitnessOptions:
    """How much the search does for `upper`."""

    candidates: int = 16  # corner points replayed per batch
    polish_pieces: int = 6  # linear regions walked through from each adversary found
    polish_seconds: float = 0.5
    scout_restarts: int = 8  # random starts of one fresh attack
    scout_share: float = 0.1  # of the time, for fresh attacks that find nothing nearer
    scout_after: float = 1.0  # seconds
    scout_after_values: float = 10.0  # the same where a greatest value is asked for, which attacks have just looked for
    starts_seconds: float = 10.0  # for one attack from given starts
    dive_share: float = 0.2  # of the time, for dives once they find nothing nearer


class Witnesses:
    """The adversaries of one problem's search."""

    def __init__(
        self, problem: Problem, incumbent: Incumbent, device_graph: DeviceGraph, options: WitnessOptions
    ) -> None:
        self.problem, self.incumbent, self.device_graph, self.options = problem, incumbent, device_graph, options
        self.clock = problem.deadline.clock
        after = options.scout_after_values if problem.values else options.scout_after
        self.next_scout = self.clock.now() + after
        self.rounds = 0
        self.next_dive = 0.0

    def corners(self, phases: NodeBounds, seen: Pass, bound: Tensor) -> None:
        """Replay the points where the bounds of the most promising nodes are attained."""
        count = min(self.options.candidates, len(bound))
        self.see(phases, seen.shift[torch.topk(bound, count, largest=False).indices])

    def see(self, phases: NodeBounds, shift: Tensor) -> None:
        """Replay the points at these shifts of the reduced net's inputs, if the net in float64 says that they win."""
        points = torch.as_tensor(self.problem.region.center, device=shift.device) + phases.net.moved(shift)
        scores = self.device_graph.forward(points).cpu().numpy()
        good = np.zeros(len(shift), dtype=bool)
        for goal in self.problem.goals:
            good |= goal_holds(goal, scores)
        if good.any():
            self.incumbent.offer(points[torch.as_tensor(good)].cpu().numpy(), SEARCH)

    def start_from(self, phases: NodeBounds, goal: Goal, shifts: Tensor) -> bool:
        """A fresh attack from points at these shifts of the reduced net's inputs; whether it found anything nearer."""
        problem, upper = self.problem, self.incumbent.upper
        radius = min(self.incumbent.upper, FAR * problem.ceiling, problem.region.reach(problem.norm))
        effort = AttackOptions(time_limit=min(self.options.starts_seconds, problem.deadline.left))
        attack = AttackProblem(self.device_graph, problem.region, problem.norm, (goal,), radius, effort)
        center = self.device_graph.tensor(problem.region.center)
        with under(problem.deadline):
            found = nearest_from(attack, center + phases.net.moved(shifts))
        if len(found.distances):
            self.incumbent.offer_near(found.inputs[:1], SEARCH)
            self._polish(goal, found.inputs[0])
        return self.incumbent.upper < upper

    def dive(self, phases: NodeBounds, nodes: Nodes, seen: Pass, target: float, reach: float) -> None:
        """From two open nodes, the most promising and the most decided, straight to adversaries: the phases that a node
        leaves open are taken as they are where its bound is attained, and that linear region is solved. What it finds
        within `reach` is polished in the regions around."""
        live = torch.nonzero(seen.distance < target).flatten()
        started = self.clock.now()
        if not len(live) or started < self.next_dive or self.problem.deadline.passed:
            return
        undecided = (nodes.phase[live] == 0).sum(-1)
        chosen = torch.unique(torch.stack([live[seen.distance[live].argmin()], live[undecided.argmin()]]))
        nodes, seen = nodes.take(chosen), seen.take(chosen)
        points = [self._points(phases, shift) for shift in seen.shift.cpu().numpy()]
        real = self.device_graph.preactivations(self.device_graph.tensor(np.concatenate(points)))
        there = torch.cat([real[i][:, entries] for i, entries in phases.net.neurons], dim=-1) > 0
        phase = torch.where(nodes.phase == 0, (2 * there.to(nodes.phase.dtype) - 1), nodes.phase)
        upper = self.incumbent.upper

        def solved(node: Nodes) -> tuple[NodeProgram, FloatArray | None]:
            leaf = NodeProgram(phases, node)
            return leaf, leaf.shift(leaf.solve(reach, 0.0, self.problem.deadline.left))

        every = torch.arange(len(nodes), device=phase.device)
        leaves = [replace(nodes.take(at), phase=phase[at]) for at in every[:, None]]
        for leaf, shift in each_on_a_core([partial(solved, leaf) for leaf in leaves], self.problem.workers):
            if shift is not None and self._length(phases, shift) < target:  # else it is the nearest that is known
                self.push_over(leaf, shift, reach)
        if self.incumbent.upper < upper:
            self._polish_best()
        else:
            spent = self.clock.now() - started
            self.next_dive = self.clock.now() + (spent / self.options.dive_share if spent > DEAR_DIVE else 0.0)

    def push_over(self, leaf: NodeProgram, shift: FloatArray, reach: float) -> None:
        """Make a strict adversary of a boundary point: ask the program for a little more than a tie."""
        points = self._points(leaf.engine, shift)
        replayed = self.incumbent.replay(points.astype(self.incumbent.type))
        goal = int(leaf.node.goal[0])
        scores = self.device_graph.forward(self.device_graph.tensor(points)).cpu().numpy()[0]
        sizes = np.abs(self.problem.goals[goal].rows) @ np.abs(scores)
        noise = np.maximum(np.abs(replayed - self.incumbent.real(points)).max(), LEAST_PUSH * sizes)
        eased = self.problem.eased(goal)
        for push in PUSHES:
            if self.incumbent.offer(self._points(leaf.engine, shift), SEARCH) or self.problem.deadline.passed:
                return
            moved = leaf.shift(leaf.solve(reach, eased + push * noise, self.problem.deadline.left))
            if moved is not None:
                shift = moved
        self.incumbent.offer(self._points(leaf.engine, shift), SEARCH)

    @property
    def scouting(self) -> bool:
        """Whether it is time for a fresh attack."""
        return self.clock.now() >= self.next_scout

    def scout(self, likely: Goal | None, until: Deadline = NEVER) -> None:
        """Fresh attacks for as long as they help, or `until` then: random starts, pulled in and polished.

        In turns toward the goal of the adversary known and the one that is `likely`, where least is proven; one goal at
        a time, since random starts are what finds another valley. They take a small share of the time where they find
        nothing nearer.
        """
        enough = self.problem.falsify_at if self.problem.falsify_at is not None else 0.0
        while self.incumbent.upper > enough and not (self.problem.deadline.passed or until.passed):
            started, upper = self.clock.now(), self.incumbent.upper
            self.rounds += 1
            known = self._goals_of_best()
            goal = known[0] if known and (likely is None or self.rounds % 2) else likely
            if goal is not None:
                self._attack(goal)
            self.next_scout = self.clock.now()
            if self.incumbent.upper >= upper:
                self.next_scout += (self.clock.now() - started) / self.options.scout_share
                return

    def _attack(self, goal: Goal) -> None:
        problem, options = self.problem, self.options
        effort = AttackOptions(self.rounds, problem.deadline.left, options.scout_restarts)
        radius = min(FAR * problem.ceiling, problem.region.reach(problem.norm))
        # What is known is not handed on: attacks that start from there end there.
        attack = AttackProblem(self.device_graph, problem.region, problem.norm, (goal,), radius, effort)
        with under(problem.deadline):
            found = ApgdDlr().run(attack)
        if len(found.distances):
            self.incumbent.offer_near(found.inputs[:1], ApgdDlr.name)
            self._polish(goal, found.inputs[0])

    def _polish_best(self) -> None:
        """Walk from the best adversary through the linear regions around it."""
        best, goals = self.incumbent.best, self._goals_of_best()
        if best is not None and goals:
            self._polish(goals[0], best.input.astype(np.float64))

    def _polish(self, goal: Goal, start: FloatArray) -> None:
        limit = min(self.options.polish_seconds, self.problem.deadline.left)
        region, norm = self.problem.region, self.problem.norm
        with under(self.problem.deadline):
            point = polish(self.device_graph, region, norm, goal, start, self.options.polish_pieces, limit)
        self.incumbent.offer_near(point, SEARCH)

    def _goals_of_best(self) -> list[Goal]:
        """Those that the best adversary reaches in the network searched: what replays may keep other scores with it."""
        best = self.incumbent.best
        if best is None:
            return []
        scores = self.device_graph.forward(self.device_graph.tensor(best.input[None])).cpu().numpy()[0]
        return [goal for goal in self.problem.aims if bool(goal_holds(goal, scores))]

    def _length(self, phases: NodeBounds, shift: FloatArray) -> float:
        """How far a shift of the reduced net's inputs goes."""
        return float(self.problem.norm.length(self._points(phases, shift) - self.problem.region.center).min())

    def _points(self, phases: NodeBounds, shift: FloatArray) -> FloatArray:
        region = self.problem.region
        moved: FloatArray = phases.net.moved(self.device_graph.tensor(shift)[None]).cpu().numpy()
        return np.clip(region.center + moved, region.lower, region.upper)


def goal_holds(goal: Goal, scores: FloatArray) -> NDArray[np.bool_]:
    """Whether scores [..., classes] are an adversary's of the goal, entry by entry."""
    return np.asarray(((scores @ goal.rows.T + goal.offset) <= 0).all(axis=-1))
