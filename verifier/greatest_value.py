"""The greatest value of linear functions of the scores over a ball: bracketed by decisions at rising thresholds.

Whether some input of the ball reaches a threshold T is a question that every engine answers: a goal  T - row · s ≤ 0.
A witness of it raises `lower` to what replays; a proof that there is none lowers `upper` to T. The first threshold lies
a hair above the best value known, and where attacks found the greatest that one decision is the last. On its way the
search says what its open nodes leave possible, which lowers `upper`. With engines that say nothing before they end,
what is not decided within its turn is tried again with a longer one, after thresholds in between have lowered `upper`.
The bracket is true at any moment. Constraints on the input are further rows of every goal; where the sample breaks one,
whether any input keeps them all is a decision of its own, the one without a threshold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from bounds.attacks import AttackOptions, AttackProblem
from bounds.attacks.ball_minimum import lower_still, lowest_in_ball
from bounds.device import pick_device
from bounds.propagation.neuron_bounds import device_graph_for
from bounds.tightening.first_pass import least_values
from encoders.arrays import FloatArray, Inputs, InputType
from encoders.deadline import Deadline, in_time
from encoders.errors import DataError, SoundnessError
from encoders.grid import Grid
from encoders.layer_graph.graph import Graph
from encoders.question import Goal, Region
from verifier.engines.base import Engine
from verifier.engines.registry import engine_for
from verifier.goals import constrained_goals, inside
from verifier.options import Options
from verifier.question.grid_incumbent import GridIncumbent
from verifier.question.incumbent import Incumbent, round_into_box
from verifier.question.model_views import ScaledModel
from verifier.question.problem import Problem, Progress, Running
from verifier.question.results import Adversary, Basis, weakest
from verifier.why_open import Moves, why_open

ATTACK_SHARE = 0.3  # of the time, at most
FIRST_TURN, LONGER = 5.0, 3.0  # seconds of the first decisions; how much longer they get
NARROW = 0.1  # of the bracket: once thresholds in between leave no more, the hard end is tried again
GIVEN_UP = 0.5  # of a turn: an engine that leaves as much of it had no use for time
ROUNDING = 1e-6  # relative, between float32 scores and real ones: beyond it, a value above a proof is an alarm
DISTANCE = 1e-6  # how near the radius an input just outside it may leave a decision open
CENTER, ATTACK, EARLIER = "sample", "ball-minimum", "earlier"


class Network(Protocol):
    """What is asked of a network: how a `Model` answers, or several of them side by side."""

    @property
    def graph(self) -> Graph: ...

    @property
    def guide(self) -> Graph: ...

    @property
    def input_type(self) -> InputType: ...

    def scores(self, inputs: Inputs) -> FloatArray: ...

    def real(self, inputs: FloatArray) -> FloatArray: ...


class Bracket(Protocol):
    """What is known of a greatest value: an input attains `lower`, and `upper` is proven."""

    @property
    def lower(self) -> float: ...

    @property
    def upper(self) -> float: ...

    @property
    def best(self) -> Adversary | None: ...

    @property
    def basis(self) -> Basis: ...


@dataclass(frozen=True, eq=False)
class KnownValue:
    """What an earlier attempt at the same greatest value left: a proven upper side, and inputs that attain much.

    The upper side is taken as given, with what it rests on; inputs [k, n] of the file count by what they replay to.
    """

    upper: float = float("inf")
    basis: Basis = Basis.RIGOROUS
    inputs: Inputs | None = None

    def __post_init__(self) -> None:
        if np.isnan(self.upper):
            raise DataError("known: an upper bound that is no number is none; leave it out")


UNKNOWN = KnownValue()


@dataclass(eq=False)
class GreatestValue:
    """The bracket of the greatest of rows · scores over ball ∩ box (∩ grid); `best` attains `lower`.

    Where the model has constraints, over the inputs that keep them; there is an entry of `rooms` for each: how far
    inside it inputs are looked for. Where no input keeps them, `upper` is -inf.
    """

    model: Network
    region: Region
    radius: float
    rows: FloatArray  # [K, classes]
    options: Options
    deadline: Deadline
    grid: Grid | None = None
    workers: int = 1
    share: int = 1
    progress: Progress | None = None
    lower: float = -float("inf")
    upper: float = float("inf")
    best: Adversary | None = None
    basis: Basis = Basis.RIGOROUS
    nodes: int = 0
    hint: float = -float("inf")  # the greatest value seen at real inputs, which the file's numbers may miss by a hair
    floor: float = -float("inf")  # no input of ball ∩ box has less: where thresholds start while none is known
    rooms: FloatArray = field(default_factory=lambda: np.zeros(0))
    known: KnownValue = UNKNOWN
    negated: bool = False  # whether what is asked about is the least value of the negated rows
    why_open: str | None = None  # in a sentence, where the two sides did not meet
    open_phases: int = 0  # of the last decision
    engine: Engine = field(init=False)
    device: str = field(init=False)

    def __post_init__(self) -> None:
        self._moves, self._began, self._decisions = Moves(), 0.0, 0
        self.engine, self.device = engine_for(self.options.engine), pick_device(self.options.device)
        if self.known.upper < self.upper:  # from the first word on: whatever is told before is no wider
            self.upper, self.basis = self.known.upper, self.known.basis
        reach = self.region.reach(self.options.norm)
        beyond = float(np.nextafter(reach * (1.0 + 1e-9), np.inf)) + 1e-12
        self.ceiling = min(beyond, float(np.nextafter(self.radius * (1.0 + 1e-9), np.inf)) + 1e-12)
        self.whole = self.radius >= reach  # the ball holds the box
        if self.grid is not None:
            self.ceiling = self.grid.beyond(1 + self.grid.within(self.radius))

    @property
    def least(self) -> float:
        """What thresholds are above: the value attained, or the least possible where none is."""
        return self.lower if np.isfinite(self.lower) else self.floor

    @property
    def gap(self) -> float:
        """How far apart the two sides may be and still be called exact."""
        return self.options.tolerance * max(1.0, abs(self.least))

    @property
    def empty(self) -> bool:
        """Whether it is proven that no input keeps all constraints."""
        return self.upper == -float("inf")

    @property
    def exact(self) -> bool:
        """Whether the two sides meet."""
        return self.empty or (bool(np.isfinite(self.lower)) and self.upper - self.lower <= self.gap)

    async def close(self) -> None:
        """Raise and lower the two sides until they meet, or time is up; then say why."""
        began = self._began = self.deadline.clock.now()
        await self._close()
        if not self.exact:
            clock, moves = self.deadline.clock, self._moves.negated if self.negated else self._moves
            self.why_open = why_open(
                moves, clock.now() - began, self.open_phases, self.options.engine, self.device, self.deadline.passed,
                clock.stopped, self._decisions > 0,
            )  # fmt: skip

    async def _close(self) -> None:
        self._see(self.region.center[None], CENTER)
        self._go_on()
        self._bound()
        if not self.exact:
            self._attack()
        if not self.exact and self.best is None and len(self.rooms):
            await self._decide(-float("inf"), self.deadline)
        open_below, turn, misses, bold, late = self.least, FIRST_TURN, 0, True, False
        while np.isfinite(open_below) and not (self.exact or self.deadline.passed):
            if open_below > self.least and self.upper - open_below < max(self.gap, NARROW * (self.upper - self.least)):
                if not late:
                    break  # nothing is left but what more time would not decide
                open_below, turn, bold, late = self.least, turn * LONGER, True, False
            threshold = self._just_above(open_below) if bold else self._between(open_below)
            if not open_below < threshold < self.upper:
                break  # what is left lies between float32 and real numbers
            before, part = self.least, self.deadline if self._told else self.deadline.within(turn)
            given = part.left
            decided = await self._decide(threshold, part)
            if decided is None:
                open_below, bold = threshold, False
                late = late or (not self._told and part.left < GIVEN_UP * given)  # who had all the time and ends early
            elif decided:
                # Witnesses in a row that say little more: the greatest value is farther up.
                misses = misses + 1 if self.lower - before < NARROW * (self.upper - before) else 0
                open_below = max(open_below, self.lower)
                bold = bold and misses < 3 if self._told else misses % 3 == 0
            else:
                bold = open_below <= self.least  # a new hard end

    def _go_on(self) -> None:
        """From what is known: inputs first, so that one above the proven side is an alarm."""
        if self.known.inputs is not None:
            inputs = np.asarray(self.known.inputs, dtype=np.float64).reshape(-1, self.region.center.size)
            self._see(self.model.own(inputs) if isinstance(self.model, ScaledModel) else inputs, EARLIER)
        self._prove(self.known.upper, self.known.basis)

    def join(self, parts: Sequence[Bracket]) -> None:
        """Take over what is known of the rows one by one: all of them, each in a part of its own."""
        highest = max(parts, key=lambda part: part.lower)
        if highest.lower > self.lower:
            self.best, self.lower = highest.best, highest.lower
        self._prove(max(part.upper for part in parts), weakest(part.basis for part in parts))

    def _just_above(self, least: float) -> float:
        """The threshold that makes the bracket exact, if nothing reaches it."""
        least = max(least, self.hint)
        return max(least + 0.1 * self.gap, min(least + 0.5 * self.gap, self.least + 0.98 * self.gap))

    def _between(self, least: float) -> float:
        """A threshold between what is not decided and what is proven; farther and farther up where nothing is."""
        if self.upper == float("inf"):
            return least + max(1.0, 2.0 * (least - self.least))
        near, far = max(least - self.least, self.gap), self.upper - self.least
        return max(self.least + float(np.sqrt(near * far)), 0.9 * least + 0.1 * self.upper)

    def _bound(self) -> None:
        """What one backward pass proves of every row, from above and, while no value is known, from below."""
        graph = device_graph_for(self.model.graph, self.device)
        radius = min(self.ceiling, self.region.reach(self.options.norm) * (1.0 + 1e-9) + 1e-12)
        none = np.full(len(self.rows), -np.inf)

        def least(goals: tuple[Goal, ...]) -> FloatArray:
            return in_time(
                self.deadline, lambda: least_values(graph, self.region, self.options.norm, goals, radius), none
            )

        count = len(self.rooms)
        lowered = [Goal(k, np.pad(-row[None], ((0, 0), (0, count))), np.zeros(1)) for k, row in enumerate(self.rows)]
        self._prove(-float(least(tuple(lowered)).min()), Basis.RIGOROUS)
        if self.best is None:
            self.floor = float(least(tuple(replace(goal, rows=-goal.rows) for goal in lowered)).max())

    def _prove(self, upper: float, basis: Basis) -> None:
        if np.isnan(upper) or upper >= self.upper:
            return
        if upper < self.lower - ROUNDING * max(1.0, abs(self.lower)):
            raise SoundnessError(
                f"soundness alarm: no input is proven to reach {upper!r}, and one that replays reaches {self.lower!r}"
            )
        self.upper, self.basis = max(upper, self.lower), basis
        self._report()

    def _report(self) -> None:
        self._moves.see(self.deadline.clock.now() - self._began, self.lower, self.upper)
        if self.progress is not None:
            self.progress(Running(self.lower, self.upper, self.basis, self.nodes, technique=self.engine.name))

    def _goals(self, threshold: float) -> tuple[Goal, ...]:
        """A goal for each row: it reaches the threshold, where all constraints are kept; without one, the latter."""
        goals = tuple(Goal(k, -row[None], np.array([threshold])) for k, row in enumerate(self.rows))
        if not len(self.rooms):
            return goals
        goals = constrained_goals(goals, len(self.rooms))
        if threshold == -float("inf"):
            return (Goal(0, goals[0].rows[1:], goals[0].offset[1:]),)
        return goals

    def _attack(self) -> None:
        """Look for where the rows are greatest."""
        problem = self._attack_problem()
        found = in_time(self.deadline, lambda: lowest_in_ball(problem).inputs, self.region.center[None])
        self._see(found, ATTACK)

    def _attack_problem(self) -> AttackProblem:
        limit = None if self.deadline.left == float("inf") else ATTACK_SHARE * self.deadline.left
        settings = AttackOptions(seed=self.options.seed, time_limit=limit)
        graph = device_graph_for(self.model.guide, self.device)
        radius = min(self.radius, self.region.reach(self.options.norm))
        return AttackProblem(
            graph, self.region, self.options.norm, inside(self._goals(0.0), self.rooms), radius, settings
        )

    def _raise(self, found: Adversary) -> None:
        """A witness of a threshold, and what the linear pieces around it hold."""
        point = found.input.astype(np.float64)
        self._see(point[None], found.found_by)
        values = found.scores[: self.rows.shape[1]] @ self.rows.T
        goal, problem = int(np.argmax(values)), self._attack_problem()
        higher = in_time(self.deadline, lambda: lower_still(problem, goal, point), point)
        self._see(higher[None], found.found_by)

    def _see(self, points: FloatArray, by: str) -> None:
        """Replay points [B, n] of the ball, and keep the one with the greatest value."""
        if self.grid is None:
            real = self.model.real(points)
            self.hint = max(self.hint, float(self.value(real)[self._allowed(real)].max(initial=-np.inf)))
        inputs = self._inside(points)
        if not len(inputs):
            return
        scores = self.model.scores(inputs)
        values = np.minimum(self.value(scores), self.value(self.model.real(inputs.astype(np.float64))))
        values = np.where(np.isfinite(values) & self._allowed(scores), values, -np.inf)
        pick = int(np.argmax(values))
        if not values[pick] > self.lower:
            return
        alone = self.model.scores(inputs[pick : pick + 1])  # what a file makes of a batch must not make a value
        value = min(float(values[pick]), float(self.value(alone)[0]))
        if value > self.lower:
            far = float(self.region.length(self.options.norm, inputs[pick].astype(np.float64) - self.region.center))
            self.best = Adversary(inputs[pick], far, int(np.argmax(alone[0])), alone[0], by)
            self.lower = value
            if self.lower > self.upper + ROUNDING * max(1.0, abs(self.lower)):
                raise SoundnessError(
                    f"soundness alarm: an input replays with the value {self.lower!r}, above the proven {self.upper!r}"
                )
            self.upper = max(self.upper, self.lower)
            self._report()

    def _inside(self, points: FloatArray) -> Inputs:
        """The points in the file's own numbers, inside the ball and the box (and on the grid)."""
        if self.grid is not None:
            moved = points * self.grid.levels - self.grid.home
            ways = np.concatenate([np.rint(moved), np.trunc(moved)])
            steps = np.clip(ways, self.grid.down, self.grid.up).astype(np.int64)
            return self.grid.values(steps[self.grid.measure(steps) <= self.grid.within(self.radius)])
        center, norm = self.region.center, self.options.norm
        inputs = self._rounded(points)
        for back in (0.0, 1e-7, 1e-6, 1e-5):
            far = self.region.length(norm, inputs.astype(np.float64) - center) > self.radius
            if not far.any():
                break
            inputs[far] = self._rounded_inward(center + (1.0 - back) * (points[far] - center))
        return inputs[self.region.length(norm, inputs.astype(np.float64) - center) <= self.radius]

    def _rounded(self, points: FloatArray) -> Inputs:
        """The nearest of the file's numbers in the box, in units where those are what inputs are counted in."""
        inputs = round_into_box(points, self.region, self.model.input_type)
        return self.model.rounded(inputs.astype(np.float64)) if isinstance(self.model, ScaledModel) else inputs

    def _rounded_inward(self, points: FloatArray) -> Inputs:
        """The file's numbers that lie no farther from the center than the points, input by input.

        In a small ball half a step of the file's numbers is more than any share of the radius.
        """
        inputs, center = self._rounded(points), self.region.center
        if isinstance(self.model, ScaledModel):
            return inputs
        farther = np.abs(inputs.astype(np.float64) - center) > np.abs(points - center)
        return np.where(farther, np.nextafter(inputs, center.astype(inputs.dtype)), inputs)

    def value(self, scores: FloatArray) -> FloatArray:
        """The greatest row of each of scores [B, classes], whatever stands behind them."""
        return np.asarray((scores[:, : self.rows.shape[1]] @ self.rows.T).max(axis=1))

    def _allowed(self, scores: FloatArray) -> NDArray[np.bool_]:
        """Which keep all constraints, whose values stand behind the scores."""
        return np.asarray((scores[:, self.rows.shape[1] :] <= 0).all(axis=1))

    async def _decide(self, threshold: float, deadline: Deadline) -> bool | None:
        """Whether some input of the ball reaches the threshold; None where that stays open."""
        incumbent, goals = self._incumbent(threshold), self._goals(threshold)
        problem = Problem(
            self.model.guide, self.region, self.options.norm, goals, self.ceiling, self.radius, DISTANCE,
            deadline, self.device, self.grid, workers=self.workers, share=self.share, asked=inside(goals, self.rooms),
            values=self._told and np.isfinite(threshold),
        )  # fmt: skip
        before = self.nodes
        proof = await self.engine.solve(problem, incumbent, partial(self._tell, threshold, before))
        self.nodes = before + proof.nodes
        self.open_phases, self._decisions = proof.open_phases, self._decisions + 1
        if incumbent.best is not None and incumbent.upper <= self.radius:
            self._raise(incumbent.best)
            return self.lower >= threshold or None
        if proof.lower > self.radius or (self.whole and proof.lower >= self.ceiling):
            self._prove(threshold, proof.basis)
            return False
        return None

    @property
    def _told(self) -> bool:
        """Whether the engine says of an open decision how far its threshold would have to be raised: then it is given
        all the time, for decisions in between would say less."""
        return self.engine.capabilities.values and self.grid is None

    def _tell(self, threshold: float, before: int, running: Running) -> None:
        """What an open decision proves on its way: nothing reaches the threshold raised by what the rows lack."""
        self.nodes = before + running.nodes
        if np.isfinite(running.least_row):
            self._prove(float(np.nextafter(threshold - running.least_row, np.inf)), Basis.RIGOROUS)

    def _incumbent(self, threshold: float) -> Incumbent:
        """Empty: what counts reaches the threshold in onnxruntime and in real numbers."""

        def wins(scores: FloatArray) -> NDArray[np.bool_]:
            reached = (self.value(scores) >= threshold) & self._allowed(scores)
            return np.asarray(reached & np.isfinite(scores).all(axis=1))

        model, norm = self.model, self.options.norm
        if self.grid is None:
            rounded = model.rounded if isinstance(model, ScaledModel) else None
            return Incumbent(self.region, norm, model.scores, model.real, wins, model.input_type, rounded=rounded)
        return GridIncumbent(
            self.region, norm, model.scores, model.real, wins, model.input_type, grid=self.grid,
            value=lambda scores: threshold - self.value(scores),
        )  # fmt: skip
