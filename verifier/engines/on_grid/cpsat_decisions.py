"""The engine `cpsat`: level by level from below, goal by goal, is there an adversary of at most this measure?

A decision first takes what bounds prove (`verifier.engines.on_grid.narrowing`); most end there. What is left is an
integer program that every true adversary satisfies, its rounding carried as slack
(`encoders.programs.integer_encoding`): where CP-SAT finds no point, there is no adversary. A program that it does not
decide soon is split at one ReLU, and both parts are narrowed anew.

A point that CP-SAT finds is replayed. One that the network itself denies came in through the slack: it is ruled out,
and where more of them come the program is made finer, and then split too: a fixed phase has less slack. A point that
is a tie, or wins only off onnxruntime, leaves the goal open.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from bounds.propagation.device_graph import DeviceGraph
from bounds.propagation.neuron_bounds import device_graph_for, goal_bounds, network_bounds
from encoders.arrays import IntArray
from encoders.deadline import Deadline, in_time
from encoders.programs.integer_encoding import COARSE, FINE, Precision, encode
from encoders.programs.integer_program import IntegerProgram
from encoders.question import Norm, Region
from encoders.solvers.base import Status
from encoders.solvers.cpsat import satisfy
from verifier.engines.on_grid.level_question import Levels
from verifier.engines.on_grid.narrowing import Narrow, Narrowing, NarrowOptions, Neuron
from verifier.question.results import Basis

INFINITY = float("inf")


@dataclass(frozen=True)
class CpSatOptions:
    """What the engine may be tuned by; none of it can change an answer, only the time it takes."""

    narrow: NarrowOptions = field(default_factory=NarrowOptions)
    precisions: tuple[Precision, ...] = (COARSE, FINE)
    big_m: bool = True
    patience: float = 1.0  # seconds of CP-SAT before a program is split
    patience_l0: float = 20.0  # the same where only their number limits inputs: splitting says little there
    near_misses: int = 8  # points of one program ruled out one by one
    parameters: tuple[tuple[str, object], ...] = ()


class Decisions:
    """All goals of a question, each proven up to a level of its own. `run` may be called again to go on."""

    def __init__(self, levels: Levels, options: CpSatOptions) -> None:
        self.levels, self.options = levels, options
        self.problem, self.grid = levels.problem, levels.grid
        self.device_graph: DeviceGraph = device_graph_for(self.problem.graph, self.problem.device)
        self.narrowing = Narrowing(self.device_graph, self.problem.region.center, self.grid, options.narrow)
        self.proven = [levels.lower] * len(self.problem.goals)
        self.basis = Basis.RIGOROUS  # until CP-SAT had to say something
        self.stuck = False  # nothing more can be said, however long it takes
        self.until = Deadline(None)

    @property
    def stopped(self) -> bool:
        return self.levels.stopped or self.until.passed

    def run(self, seconds: float = INFINITY) -> None:
        """Raise the lowest level until both sides meet, nothing more can be said, or time is over."""
        levels = self.levels
        if not self.problem.goals:
            levels.prove(self.problem.most + 1, Basis.RIGOROUS)
        self.until = self.problem.deadline.within(seconds)
        levels.technique = "cpsat"
        while not (self.stopped or self.stuck):
            measure = levels.lower
            for goal, known in enumerate(self.proven):
                if known <= measure and not self.stopped and self._decided(goal, measure):
                    self.proven[goal] = self.grid.taken(measure + 1)
            least = min(self.proven)
            if least > measure:
                levels.prove(min(least, levels.enough), self.basis)
            elif not self.stopped:
                self.stuck = True

    def _decided(self, goal: int, measure: int) -> bool:
        """The same as `_decide`, in time."""
        return in_time(self.problem.deadline, lambda: self._decide(goal, measure), False)

    def _decide(self, goal: int, measure: int) -> bool:
        """Whether the goal has no adversary of at most `measure`; False also where that stays open."""
        parts: list[Mapping[Neuron, int]] = [{}]
        while parts:
            if self.stopped:
                return False
            fixed = parts.pop()
            narrow = self.narrowing.of(self.problem.goals[goal], measure, fixed)
            self.levels.nodes += 1
            if narrow is None:
                continue
            self.levels.open_phases = max(self.levels.open_phases, narrow.open_phases)
            status = self._ask(narrow, goal)
            if status in (Status.TIME_LIMIT, Status.STOPPED) and narrow.branch is not None:
                parts += [{**fixed, narrow.branch: 1}, {**fixed, narrow.branch: -1}]
            elif status is not Status.INFEASIBLE:
                return False
        return True

    def _ask(self, narrow: Narrow, goal: int) -> Status:
        """CP-SAT on what is left of a part. INFEASIBLE proves; TIME_LIMIT and STOPPED may be split; UNKNOWN is lost."""
        status = Status.UNKNOWN
        for precision in self.options.precisions:
            self.basis = Basis.INTEGER
            program = encode(narrow.net, narrow.steps, precision, self.options.big_m)
            status = Status.INFEASIBLE if program is None else self._emptied(program, narrow, goal)
            if status is not Status.STOPPED or self.stopped:
                break
        return status

    def _emptied(self, program: IntegerProgram, narrow: Narrow, goal: int) -> Status:
        """INFEASIBLE once no point is left, STOPPED if too many are; a witness that is found on the way is kept.

        A few points that the network denies beyond doubt are ruled out. A point that may be an adversary and does not
        replay is passed over too, for there may be a better one; but then nothing is proven.
        """
        sure = True
        patience = self.options.patience if self.grid.norm is not Norm.L0 else self.options.patience_l0
        patience = patience if narrow.branch is not None else INFINITY
        for _ in range(self.options.near_misses):
            left = min(patience, self.until.left)
            limit = None if left == INFINITY else left
            answer = satisfy(program, limit, self.problem.workers, parameters=dict(self.options.parameters))
            if answer.status is Status.INFEASIBLE:
                return Status.INFEASIBLE if sure else Status.UNKNOWN
            if answer.point is None:
                return Status.TIME_LIMIT
            chosen = answer.point[: program.inputs]
            found = np.zeros(len(self.grid.home), dtype=np.int64)
            found[narrow.inputs] = chosen
            if self.levels.witness.offer_steps(found, "cpsat"):
                self.levels.tell()
                return Status.OPTIMAL
            sure = sure and self._denies(found, goal)
            program = replace(program, forbidden=(*program.forbidden, chosen))
        return Status.STOPPED if sure else Status.UNKNOWN

    @torch.no_grad()
    def _denies(self, found: IntArray, goal: int) -> bool:
        """Whether the real-valued network proves that this one point is no adversary of the goal."""
        point = self.grid.corner(found)
        bounds = network_bounds(self.device_graph, Region(point, point, point), Norm.LINF, 0.0)
        asked = self.problem.goals[goal]
        rows = goal_bounds(self.device_graph, bounds, self.device_graph.tensor(asked.rows))
        lowest = bounds.ball.lowest(rows).cpu().numpy()
        value = lowest + asked.offset
        return bool((value > 1e-15 * (np.abs(lowest) + np.abs(asked.offset))).any())
