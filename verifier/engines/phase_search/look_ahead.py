"""What a distance search can prove of a large net before it grows a tree, and the first ball to grow one on.

A search that is stopped early has then proven at least that; and where most phases of the ball around the nearest
adversary are open, its first nodes alone would take the whole time. Where the all-layers relaxation applies, each goal
has its own largest ball, found by halving; the goal with the least goes first, so that the others are mostly asked
once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from bounds.nodes.node_bounds import NodeBounds
from bounds.propagation.device_graph import DeviceGraph
from bounds.propagation.neuron_bounds import network_bounds
from bounds.reduced_net.reduced_net import reduce
from bounds.semidefinite.all_layers_bound import Left, left_by_all_layers, likely_by_all_layers
from bounds.tightening.base import Effort
from bounds.tightening.by_all_layers import ByAllLayers
from bounds.tightening.first_pass import nearest_possible
from encoders.arrays import FloatArray
from encoders.deadline import in_time, look
from encoders.question import Norm
from verifier.engines.phase_search.adversaries import SEARCH, Witnesses
from verifier.engines.phase_search.ball_schedule import BallSchedule
from verifier.question.incumbent import Incumbent
from verifier.question.problem import Problem, Progress, Running

LOOKS = 5  # balls
MANY_PHASES = 500  # open ones, from which on a ball is large
GOALS = 5  # that are attacked from their moments before anything is proven by all layers
SCOUTED = 0.25  # of the time there is, at most, for fresh attacks before anything is proven
STARTS = 6  # for each of them; the one with the nearest adversary is attacked from all there are
FARTHER = 0.5  # of the way to the nearest adversary: the ball that goals are asked about first
PATIENCE_BY_ALL_LAYERS = 10.0  # nodes


def by_passes(
    problem: Problem, device_graph: DeviceGraph, low: float, high: float, prove: Callable[[float], None]
) -> tuple[float, float]:
    """What plain passes prove on a few balls, between `low`, which is proven, and `high`: the largest ball that they
    close, and the least that they do not. Whatever a pass proves is told at once."""
    ball = high
    for _ in range(LOOKS):
        look()
        found = nearest_possible(device_graph, problem.region, problem.norm, problem.goals, ball)
        prove(found)
        low, high = (max(low, ball, found), high) if found >= ball else (max(low, found), ball)
        if low >= high:
            break
        ball = 0.5 * (low + high)
    return low, high


@dataclass
class LookAhead:
    """One look ahead; `proven` and the balls are what it leaves. The time limit ends it, patience does not: it is what
    a tree must be worth."""

    problem: Problem
    incumbent: Incumbent
    device_graph: DeviceGraph
    witnesses: Witnesses
    balls: BallSchedule
    effort: Effort
    progress: Progress
    cleared: FloatArray  # [goals] the ball that is proven to hold no adversary of each; raised here
    proven: float = 0.0

    @property
    def reach(self) -> float:
        """Nothing beyond is of interest, whatever the ball."""
        return min(self.incumbent.enough, self.problem.ceiling)

    def run(self) -> None:
        """Look as far as the time limit allows: what is cleared of all goals by then is proven."""
        in_time(self.problem.deadline, self._look, None)
        self._prove(min(float(self.cleared.min()), self.reach))

    def _look(self) -> None:
        """What plain passes prove on a few balls, then all layers; or a smaller first ball where many phases open.

        The passes come before fresh attacks too: an end that comes soon leaves more than nothing then.
        """
        problem = self.problem
        by_passes(problem, self.device_graph, min(self.proven, self.reach), self.reach, self._prove)
        self.witnesses.scout(None, problem.deadline.within(SCOUTED * problem.deadline.left))
        reach = self.reach
        low, high = by_passes(problem, self.device_graph, min(self.proven, reach), reach, self._prove)
        if low >= high:
            return
        if self.balls.radius <= self.proven:  # no adversary is known, and the small ball tried first is proven already
            self.balls.start_beyond(self.proven, problem.ceiling)
            return
        if self._by_all_layers(low, reach):
            return
        bounds = network_bounds(self.device_graph, problem.region, problem.norm, min(self.balls.radius, reach))
        by_one_layer = self.effort.one_layer_steps and problem.norm is Norm.LINF and len(bounds.opened) == 1
        if bounds.neurons().open_phases > MANY_PHASES and not by_one_layer:  # which see as far on a large ball
            self.balls.after_failed(self.proven, reach)

    def _prove(self, found: float) -> None:
        self.proven = max(self.proven, found)
        np.fmax(self.cleared, found, out=self.cleared)
        self.progress(Running(self.proven, self.incumbent.upper, technique=SEARCH))

    def _by_all_layers(self, low: float, high: float) -> bool:
        """The largest ball between `low`, which is proven, and `high` that all layers close; False where that does not
        apply."""
        problem, steps = self.problem, self.effort.all_layers_steps
        if not steps or problem.norm is not Norm.LINF or len(problem.graph.relus) < 2:
            return False
        engine = self._net_on(high)
        if not ByAllLayers.applies(engine, self.effort):
            return False
        order = [likely.goal for likely in self._attacked(engine, high)]
        everything = range(len(problem.goals))
        ball = failed = min(high, self.reach)
        for place, goal in enumerate(order):
            if ball > low and not (place and self._close(goal, ball)):
                ball, failed = self._halved(goal, low, ball, failed)
        while ball > low:
            look()
            left = self._left(ball, [goal for goal in everything if goal not in order])[1]
            if left is None:
                break
            order.append(left.goal)
            ball, failed = self._halved(left.goal, low, ball, failed)
        self._prove(min(ball, self.reach))
        self.balls.go_carefully(self.proven, min(failed, self.reach), PATIENCE_BY_ALL_LAYERS)
        return True

    def _close(self, goal: int, ball: float) -> bool:
        """Whether the ball holds no adversary of the goal: asked of a larger one first, since a tree on any ball below
        has no need of the goal then."""
        farther = ball + FARTHER * max(0.0, self.reach - ball)
        return self._left(farther, [goal])[1] is None or self._left(ball, [goal])[1] is None

    def _attacked(self, engine: NodeBounds, ball: float) -> list[Left]:
        """The goals that plain passes leave open, the likeliest to have an adversary within the ball first; some of
        those are attacked from their moments."""
        seen = sorted(likely_by_all_layers(engine, self.effort.all_layers_steps, ball), key=lambda likely: likely.value)
        nearest: Left | None = None
        for likely in seen[:GOALS]:
            if self._attack(engine, likely, STARTS):
                nearest = likely
        if nearest is not None:
            self._attack(engine, nearest, len(nearest.shifts))
        return seen

    def _attack(self, engine: NodeBounds, left: Left, starts: int) -> bool:
        return self.witnesses.start_from(engine, self.problem.aims[left.goal], left.shifts[:starts])

    def _halved(self, goal: int, low: float, high: float, failed: float) -> tuple[float, float]:
        """The largest ball between `low` and `high` in which all layers leave no adversary of the goal, and the least
        in which they leave one, of this goal or those before it."""
        for _ in range(LOOKS):
            look()
            middle = 0.5 * (low + high)
            engine, left = self._left(middle, [goal])
            if left is None:
                low = middle
            else:
                self._attack(engine, left, STARTS)
                high = min(middle, self.reach)
        return low, min(high, failed)

    def _left(self, ball: float, goals: list[int]) -> tuple[NodeBounds, Left | None]:
        engine = self._net_on(ball)
        found = left_by_all_layers(engine, self.effort.all_layers_steps, ball, goals)
        if found is None:
            self.cleared[goals] = np.fmax(self.cleared[goals], ball)
        return engine, found

    def _net_on(self, ball: float) -> NodeBounds:
        bounds = network_bounds(self.device_graph, self.problem.region, self.problem.norm, ball)
        return NodeBounds(reduce(self.device_graph, bounds, self.problem.goals))
