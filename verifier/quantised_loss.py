"""The greatest lead of some classes over another one, at the points of a grid within a radius: of a quantised network.

Scores are levels of one scale, so that a lead is a whole number of them, from -255 to 255, and there is no tolerance.
Whether some point leads by d levels or more is a question that every engine of such networks decides: first for one
level more than the best point that attacks and walks find, and where that takes too long for numbers in between. The
bracket is true at any moment. It is told in scores as executed. Equal leads in levels can differ there by float32's
rounding, less than a ten-thousandth of a level: `lower` is what its point attains, and `upper` the most that a lead of
so many levels can be.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray

from bounds.attacks import AttackOptions, AttackProblem
from bounds.attacks.ball_minimum import lowest_in_ball
from bounds.device import pick_device
from bounds.propagation.neuron_bounds import device_graph_for
from encoders.arrays import FloatArray, IntArray
from encoders.deadline import Deadline, in_time
from encoders.errors import SoundnessError
from encoders.grid import Grid
from encoders.quantised.semantics import TOP, QuantisedNet
from encoders.question import CONVEX, Goal, Region
from verifier.engines.base import Engine
from verifier.engines.registry import engine_for
from verifier.greatest_value import (
    ATTACK,
    ATTACK_SHARE,
    CENTER,
    DISTANCE,
    EARLIER,
    FIRST_TURN,
    LONGER,
    UNKNOWN,
    Bracket,
    KnownValue,
)
from verifier.options import Options
from verifier.question.grid_incumbent import GridIncumbent
from verifier.question.grid_local_search import reached as on_grid
from verifier.question.model import Model
from verifier.question.problem import Problem, Progress, Running
from verifier.question.results import Adversary, Basis, weakest
from verifier.why_open import Moves, why_open

WALK = "walk"
HAIR = 1e-3  # of a level


class AnyPoint(GridIncumbent):
    """Whatever lies within the radius will do: no witness is walked nearer."""

    def walk(self, deadline: Deadline, least: int = 0) -> None:
        pass


@dataclass(eq=False)
class QuantisedLoss:
    """The bracket of the greatest lead of `targets` over `against`; `best` attains `lower`."""

    model: Model
    net: QuantisedNet
    region: Region
    grid: Grid
    radius: float
    targets: Sequence[int]
    against: int
    options: Options
    deadline: Deadline
    workers: int = 1
    share: int = 1
    progress: Progress | None = None
    known: KnownValue = UNKNOWN
    best: Adversary | None = None
    basis: Basis = Basis.RIGOROUS
    nodes: int = 0
    why_open: str | None = None  # in a sentence, where the two sides did not meet
    reached: int = -TOP - 1  # levels by which a point leads; before one is known, fewer than there are
    beyond: int = TOP + 1  # levels by which no point leads, nor by more
    engine: Engine = field(init=False)

    def __post_init__(self) -> None:
        self._moves, self._began = Moves(), 0.0
        self.engine = engine_for(self.options.engine)
        if (beyond := self._above(self.known.upper)) < self.beyond:
            self.beyond, self.basis = beyond, self.known.basis

    @property
    def lower(self) -> float:
        """The lead of the best point, in scores."""
        return -float("inf") if self.best is None else float(self._leads(self.best.scores[None])[0])

    @property
    def upper(self) -> float:
        """The most that a lead can be which is not excluded, in scores."""
        return float(self.net.leads[1][self.beyond - 1 + TOP])

    @property
    def exact(self) -> bool:
        """Whether no point leads by a level more than the best one."""
        return self.reached + 1 == self.beyond

    @property
    def empty(self) -> bool:
        """Whether there is no point: the sample is always one."""
        return False

    async def close(self) -> None:
        """Raise and lower the two sides until they meet, or time is up; then say why."""
        began = self._began = self.deadline.clock.now()
        self._see(np.zeros((1, self.region.center.size), dtype=np.int64), CENTER)
        if self.known.inputs is not None:
            self._offer(np.asarray(self.known.inputs, dtype=np.float64).reshape(-1, self.region.center.size), EARLIER)
        if not self.exact:
            self._attack()
        self._climb()
        tried, turn, more = self.reached, FIRST_TURN, 1  # up to where no turn decides
        while not (self.exact or self.deadline.passed):
            before = self.reached
            lead = min(tried + more, self.beyond - 1) if tried == before else (tried + 1 + self.beyond) // 2
            decided = await self._decide(lead, self.deadline.within(turn))
            more = 2 * more if self.reached > before else 1  # points in a row: the greatest lead is farther up
            tried = max(tried, self.reached) if decided else lead
            if tried + 1 == self.beyond:
                tried, turn = self.reached, turn * LONGER
        if not self.exact:
            clock, seconds = self.deadline.clock, self.deadline.clock.now() - began
            self.why_open = why_open(
                self._moves, seconds, 0, self.options.engine, "cpu", self.deadline.passed, clock.stopped, True, True
            )

    def join(self, parts: Sequence[Bracket]) -> None:
        """Take over what is known of the targets one by one: all of them, each in a part of its own."""
        for part in parts:
            if part.best is not None and part.lower > self.lower:
                self._keep(part.best)
        beyond = self._above(max(part.upper for part in parts))
        if beyond < self.beyond:
            self._prove(beyond, weakest(part.basis for part in parts))

    def _above(self, upper: float) -> int:
        """The least number of levels that are a greater lead than that."""
        return int(np.searchsorted(self.net.leads[0], upper, side="right")) - TOP

    def _leads(self, scores: FloatArray) -> FloatArray:
        """The greatest lead of a target, of each of scores [B, classes]; these are float32 numbers, and it is exact."""
        return np.asarray(scores[:, list(self.targets)].max(axis=1) - scores[:, self.against])

    def _attack(self) -> None:
        """Look for where a target leads most in the float network that is nearly this one."""
        if self.options.norm not in CONVEX:  # whose attacks know balls
            return
        limit = None if self.deadline.left == float("inf") else ATTACK_SHARE * self.deadline.left
        graph = device_graph_for(self.model.guide, pick_device(self.options.device))
        settings = AttackOptions(seed=self.options.seed, time_limit=limit)
        radius = min(self.radius, self.region.reach(self.options.norm))
        problem = AttackProblem(graph, self.region, self.options.norm, self._goals(0.0), radius, settings)
        found = in_time(self.deadline, lambda: lowest_in_ball(problem).inputs, self.region.center[None])
        self._offer(found, ATTACK)

    def _climb(self) -> None:
        """Walk on from the best point, and from the sample, for as long as a walk leads to a greater lead."""
        start = np.zeros(self.region.center.size, dtype=np.int64)
        within = self.grid.within(self.radius)
        while self.best is not None and not (self.exact or self.deadline.passed):
            before, near = self.reached, self.grid.nearest(self.best.input.astype(np.float64).reshape(-1))
            for here in (near, start):
                lacking = partial(self._lacking, self.reached + 1)
                found = in_time(self.deadline, partial(on_grid, self.grid, here, within, lacking, self.deadline), None)
                if found is not None:
                    self._see(found[None], WALK)
            if self.reached == before:
                return

    def _lacking(self, lead: int, steps: IntArray) -> FloatArray:
        """What each point lacks to so many levels, by the last sums before they are rounded; negative at none less."""
        levels, last = self.net.layers[0].source.levels(self.grid.values(steps)), self.net.layers[-1]
        for layer in self.net.layers[:-1]:
            levels = layer.requantise(layer.accumulate(levels))
        sums, others = last.accumulate(levels), list(self.targets)
        levels, smooth = last.requantise(sums), sums * last.factor.astype(np.float64)
        led, leads = (one[:, others].max(axis=1) - one[:, self.against] for one in (levels, smooth))
        return np.where(led >= lead, -1.0, HAIR + np.maximum(0.0, lead - leads))

    def _offer(self, points: FloatArray, by: str) -> None:
        """Points near the grid's: each is rounded onto it, to the nearest point and toward the sample."""
        moved = points * self.grid.levels - self.grid.home
        ways = np.concatenate([np.rint(moved), np.trunc(moved)])
        self._see(np.clip(ways, self.grid.down, self.grid.up).astype(np.int64), by)

    def _see(self, steps: IntArray, by: str) -> None:
        """Replay points of the grid [B, n], and keep the one with the greatest lead of those within the radius."""
        steps = steps[self.grid.measure(steps) <= self.grid.within(self.radius)]
        if not len(steps):
            return
        inputs = self.grid.values(steps)
        scores = self.model.scores(inputs)
        pick = int(self._leads(scores).argmax())
        if float(self._leads(scores)[pick]) <= self.lower:
            return
        length = self.grid.length(int(self.grid.measure(steps[pick])))
        self._keep(Adversary(inputs[pick], length, int(np.argmax(scores[pick])), scores[pick], by))
        self._report()

    def _keep(self, best: Adversary) -> None:
        self.best = best
        self.reached = int(np.searchsorted(self.net.leads[1], self.lower)) - TOP
        self._check()

    async def _decide(self, lead: int, deadline: Deadline) -> bool:
        """Find a point that leads by so many levels, or prove that there is none; False where that stays open."""
        below, above = self.net.leads[1][lead - 1 + TOP], self.net.leads[0][lead + TOP]
        threshold = float(0.5 * (below + above))  # between fewer levels and so many: never 0, which would be a win's

        def wins(scores: FloatArray) -> NDArray[np.bool_]:
            return np.asarray(self._leads(scores) >= threshold)

        incumbent = AnyPoint(
            self.region, self.options.norm, self.model.scores, self.model.real, wins, self.model.input_type,
            grid=self.grid, value=lambda scores: threshold - self._leads(scores),
        )  # fmt: skip
        problem = Problem(
            self.model.guide, self.region, self.options.norm, self._goals(threshold),
            self.grid.beyond(1 + self.grid.within(self.radius)), self.radius, DISTANCE, deadline, "cpu", self.grid,
            self.net, self.workers, self.share,
        )  # fmt: skip
        proof = await self.engine.solve(problem, incumbent, lambda running: self._report())
        self.nodes += proof.nodes
        if incumbent.steps is not None and incumbent.upper <= self.radius:
            self._see(incumbent.steps[None], self.engine.name)
            self._climb()
            return True
        if proof.lower > self.radius:
            self._prove(lead, proof.basis)
            return True
        return False

    def _goals(self, threshold: float) -> tuple[Goal, ...]:
        """Each target leads by the threshold or more."""
        classes = np.eye(self.net.classes)
        return tuple(Goal(t, (classes[self.against] - classes[t])[None], np.array([threshold])) for t in self.targets)

    def _prove(self, beyond: int, basis: Basis) -> None:
        """No point leads by so many levels."""
        self.beyond, self.basis = beyond, basis
        self._check()
        self._report()

    def _check(self) -> None:
        if self.reached >= self.beyond:
            raise SoundnessError(
                f"soundness alarm: a point replays that leads by {self.reached} levels, and none is proven to lead by "
                f"{self.beyond}"
            )

    def _report(self) -> None:
        self._moves.see(self.deadline.clock.now() - self._began, self.lower, self.upper)
        if self.progress is not None:
            self.progress(Running(self.lower, self.upper, self.basis, self.nodes, technique=self.engine.name))
