"""The engine `cpsat`: level by level from below, goal by goal, is there an adversary of at most this measure?

A decision first takes what bounds prove: on the ball of that measure, neuron bounds, slopes ascended on the distance,
neurons on the cap that they leave, and from the same cap the steps that each input can take (`bounds.grid_domains`);
that is repeated on the smaller box while it shrinks. Most goals end there. What is left is an integer program that
every true adversary satisfies, its rounding carried as slack (`encoders.integer_net`): where CP-SAT finds no point,
there is no adversary. A point that it finds is replayed. One that the network itself denies came in through the slack:
the program is made finer; after the finest, what is known of the goal stays open.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from bounds.cap import on_the_cap
from bounds.grid_domains import narrowed
from bounds.lowered import Lowered
from bounds.network import lowered_for, network_bounds
from bounds.phases import PhaseBounds
from bounds.reduced import reduce
from encoders.errors import SoundnessError
from encoders.integer_net import COARSE, FINE, OpenNet, Precision, Steps, encode
from encoders.linear_maps import IntArray
from encoders.question import Goal, Norm, Region
from encoders.solvers.base import Status
from encoders.solvers.cpsat import satisfy
from verifier.engines.base import Capabilities, Engine, Proof
from verifier.engines.levels import Levels
from verifier.problem import Incumbent, Problem, Progress
from verifier.results import Basis


@dataclass(frozen=True)
class CpSatOptions:
    """What the engine may be tuned by; none of it can change an answer, only the time it takes."""

    ascent: int = 12  # steps on the slopes, each round
    rate: float = 0.15
    rounds: int = 4  # of narrowing the box
    shrinks: float = 0.95  # a round must leave at most this part of all steps for another one
    precisions: tuple[Precision, ...] = (COARSE, FINE)
    big_m: bool = True
    near_misses: int = 8  # points denied by float32 alone that are ruled out one by one
    parameters: tuple[tuple[str, object], ...] = ()


class CpSatEngine(Engine):
    """See the module."""

    name = "cpsat"
    capabilities = Capabilities(
        frozenset({Norm.LINF, Norm.L1, Norm.L2, Norm.L0}), Basis.INTEGER, grid=True, continuous=False
    )

    def __init__(self, options: CpSatOptions | None = None) -> None:
        self.options = options or CpSatOptions()

    def _close(self, problem: Problem, incumbent: Incumbent, progress: Progress) -> Proof:
        levels = Levels(problem, incumbent, progress)
        Decisions(levels, self.options).run()
        return levels.proof()


@dataclass(frozen=True, eq=False)
class Narrow:
    """What bounds leave of one goal at one measure: its open rows, and the steps its adversaries can take."""

    net: OpenNet
    inputs: IntArray  # which inputs matter
    down: IntArray  # of all inputs
    up: IntArray


class Decisions:
    """All goals of a question, each proven up to a level of its own."""

    def __init__(self, levels: Levels, options: CpSatOptions) -> None:
        self.levels, self.options = levels, options
        self.problem, self.grid = levels.problem, levels.grid
        self.lowered: Lowered = lowered_for(self.problem.graph, self.problem.device)
        self.proven = [levels.lower] * len(self.problem.goals)
        self.given_up: set[int] = set()

    def run(self, seconds: float = float("inf")) -> None:
        """Raise the lowest level until both sides meet, nothing more can be said, or time is over."""
        levels = self.levels
        if not self.problem.goals:
            levels.prove(self.problem.most + 1, Basis.RIGOROUS)
        end = self.problem.deadline.left - seconds
        while not levels.stopped and self.problem.deadline.left > end:
            self.proven = [max(known, levels.lower) for known in self.proven]
            measure = levels.lower
            waiting = [g for g, known in enumerate(self.proven) if known <= measure]
            if any(g in self.given_up for g in waiting):
                return
            for goal in waiting:
                self._decide(goal, measure)
                if levels.stopped:
                    break
            open_levels = [known for known in self.proven if known <= measure]
            if not open_levels:
                levels.prove(min([*self.proven, levels.enough]), Basis.INTEGER)
            elif not any(g in self.given_up for g in waiting):
                return  # out of time

    def _decide(self, goal: int, measure: int) -> None:
        """Raise the goal's level above `measure`, find a witness there, or give the goal up."""
        narrow = self._narrow(self.problem.goals[goal], measure)
        if narrow is None:
            self.proven[goal] = measure + 1
            return
        steps = Steps(
            self.grid.norm, self.grid.n, narrow.down[narrow.inputs], narrow.up[narrow.inputs],
            self.grid.error[narrow.inputs], measure,
        )  # fmt: skip
        for precision in self.options.precisions:
            program = encode(narrow.net, steps, precision, self.options.big_m)
            if program is None:
                self.proven[goal] = measure + 1
                return
            left = self.problem.deadline.left
            limit = None if left == float("inf") else left
            answer = satisfy(program, limit, parameters=dict(self.options.parameters))
            self.levels.nodes += answer.branches
            if answer.status is Status.INFEASIBLE:
                self.proven[goal] = measure + 1
                return
            if answer.point is None:
                return
            found = np.zeros(len(self.grid.home), dtype=np.int64)
            found[narrow.inputs] = answer.point[: program.inputs]
            if self.levels.incumbent.offer_steps(found):
                self.levels.tell()
                if self.levels.incumbent.measure <= measure:
                    return
        self.given_up.add(goal)

    @torch.no_grad()
    def _narrow(self, goal: Goal, measure: int) -> Narrow | None:
        """Bounds on ever smaller boxes; None where they prove that the goal has no adversary of this measure."""
        grid, norm = self.grid, self.grid.norm
        down, up = grid.down, grid.up
        cubes = norm is Norm.L0
        radius = grid.beyond(measure + 1)
        for turn in range(self.options.rounds):
            hull = (np.minimum(down, 0), np.maximum(up, 0))
            region = Region(self.problem.region.center, grid.corner(hull[0]), grid.corner(hull[1]))
            ball, reach = (Norm.LINF, region.reach(Norm.LINF)) if cubes else (norm, radius)
            reach = float(np.nextafter(reach * (1.0 + 1e-9), np.inf)) if cubes else reach
            try:
                net = reduce(self.lowered, network_bounds(self.lowered, region, ball, reach), (goal,))
            except SoundnessError:
                raise
            phases = PhaseBounds(net)
            nodes, seen = phases.optimise(phases.roots(), self.options.ascent, reach, self.options.rate)
            if float(seen.distance[0]) >= reach:
                return None
            nodes = on_the_cap(phases, nodes, seen, reach)
            if bool((nodes.lower > nodes.upper).any()):
                return None
            nodes, better = phases.optimise(nodes, self.options.ascent, reach, self.options.rate)
            if float(better.distance[0]) >= reach:
                return None
            moving = net.moving.cpu().numpy()
            before = int((up - down)[moving].sum())
            narrow_down, narrow_up = down[moving], up[moving]
            for one in (seen, better):
                part = narrowed(
                    norm, grid.n, hull[0][moving], hull[1][moving], grid.error[moving], measure,
                    one.normal[0].cpu().numpy(), float(one.height[0]),
                )  # fmt: skip
                if not part.possible:
                    return None
                narrow_down, narrow_up = np.maximum(narrow_down, part.down), np.minimum(narrow_up, part.up)
            if (narrow_down > narrow_up).any():
                return None
            down, up = down.copy(), up.copy()
            down[moving], up[moving] = narrow_down, narrow_up
            after = int((up - down)[moving].sum())
            if after > self.options.shrinks * before or turn + 1 == self.options.rounds:
                break
        self.levels.open_phases = max(self.levels.open_phases, int((nodes.phase == 0).sum()))
        open_net = OpenNet(
            net.x.cpu().numpy(), net.z.cpu().numpy(), net.constant.cpu().numpy(), net.error.cpu().numpy(),
            nodes.lower[0].cpu().numpy(), nodes.upper[0].cpu().numpy(), nodes.phase[0].cpu().numpy(),
        )  # fmt: skip
        return Narrow(open_net, moving, down, up)
