"""One question about one sample, from the first attack to what engine and incumbent leave between them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from bounds.attacks import AttackOptions, AttackProblem
from bounds.attacks.portfolio import polished
from bounds.attacks.region_descent import polish
from bounds.device import pick_device
from bounds.execution_error import ARITHMETICS, execution_error
from bounds.propagation.neuron_bounds import device_graph_for, network_bounds
from encoders.arrays import FloatArray
from encoders.deadline import Clock, Deadline, in_time, under
from encoders.errors import DataError, SoundnessError
from encoders.grid import Grid
from encoders.layer_graph.graph import Relu
from encoders.question import CONVEX, Goal, Norm, Region
from verifier.batching.attack_request import AttackRequest
from verifier.batching.first_pass_request import FirstPassRequest
from verifier.engines.base import Proof
from verifier.engines.phase_search.adversaries import goal_holds
from verifier.engines.registry import engine_for
from verifier.goals import goals_of, incumbent_for, inside
from verifier.options import REAL, Options
from verifier.question.float_execution_incumbent import ExecutedIncumbent
from verifier.question.grid_incumbent import GridIncumbent
from verifier.question.incumbent import Incumbent
from verifier.question.model import Model
from verifier.question.model_views import View
from verifier.question.output_change import OutputChange
from verifier.question.problem import NOTHING, Known, Problem, Progress, Running
from verifier.question.results import Basis, Result, Verdict, check_sandwich, meet
from verifier.why_open import Moves, why_open

ATTACK_SHARE = 0.3  # of the time limit, at the most
FEW_NEURONS = 600  # the search of a net as small finds a nearer adversary itself, sooner than more polishing would
QUICK_POLISH = ((4, 3),)
POLISH_SECONDS = 1.0  # at most, for a last walk
OFFERED = 32  # candidates that are replayed
ROOMS = (0.25, 1.0, 4.0)  # of what rounding an input does to a constraint: how far inside it a witness is looked for
SAMPLE, ATTACK = "sample", "attack"


@dataclass(frozen=True, eq=False)
class SampleQuestion:
    """One sample's question: what stays the same while it is answered, and the answer."""

    model: Model
    region: Region
    radius: float | None
    options: Options
    label: int | None
    index: int
    predicted: int
    clock: Clock
    grid: Grid | None = None
    workers: int = 1
    share: int = 1
    rooms: FloatArray = field(default_factory=lambda: np.zeros(0))  # what rounding an input does to each constraint
    change: OutputChange | None = None
    known: Known = NOTHING
    moves: Moves = field(default_factory=Moves)

    def told(self, found: Result) -> Result:
        """The result with its adversary as one of the file."""
        if not isinstance(self.model, View) or found.adversary is None:
            return found
        return replace(found, adversary=self.model.told(found.adversary))

    def result(self, verdict: Verdict, lower: float, upper: float, **more: Any) -> Result:
        facts: dict[str, Any] = {"basis": Basis.RIGOROUS, "engine": self.options.engine, **more}
        adversary = facts.get("adversary")
        if adversary is not None:
            facts["adversary"] = adversary.shaped(self.model.input_shape)
        if 0.0 < lower <= self.known.lower and self.known.proven_by != facts["engine"]:
            facts["proven_by"] = self.known.proven_by
        if self.change is not None:
            facts["before"] = self.change.before
            facts["after"] = None if adversary is None else float(adversary.scores[self.change.output])
        return Result(
            index=self.index,
            label=self.label,
            predicted=self.predicted,
            norm=self.options.norm,
            radius=self.radius,
            verdict=verdict,
            lower=lower,
            upper=upper,
            seconds=self.clock.now(),
            **facts,
        )

    def already_there(self) -> Result:
        """The target is the predicted class: the sample itself is the nearest input classified so.

        Predicted is what onnxruntime says, so that nothing else is asked here.
        """
        incumbent = self._incumbent()
        incumbent.wins = lambda s: np.argmax(s, axis=1) == self.predicted
        incumbent.real = self.model.scores
        incumbent.offer(self.region.center, SAMPLE)
        return self._at_the_sample(incumbent)

    def _at_the_sample(self, incumbent: Incumbent) -> Result:
        verdict = Verdict.EXACT if self.radius is None else Verdict.FALSIFIED
        return self.result(verdict, 0.0, 0.0, adversary=incumbent.best)

    def _telling(self, incumbent: Incumbent, progress: Progress | None, error: float | None = None) -> Progress:
        """Hand on what an engine tells, with what is known besides, and the answer that it comes to so far."""

        def tell(running: Running) -> None:
            if self.known.lower > running.lower:
                running = replace(running, lower=self.known.lower, basis=self.known.basis)
            lower, upper = min(running.lower, incumbent.upper), incumbent.upper
            self.moves.see(self.clock.now(), lower, upper)
            if progress is None:
                return
            found = self.result(
                self._verdict(lower, upper), lower, upper, basis=running.basis, adversary=incumbent.best,
                nodes=running.nodes, open_phases=running.open_phases, execution_error=error,
            )  # fmt: skip
            progress(replace(running, lower=lower, upper=upper, answer=self.told(found)))

        return tell

    def _offer_known(self, incumbent: Incumbent) -> None:
        """An adversary from before is a candidate like any other; nearer than what was proven, it is an alarm."""
        if self.known.adversary is not None:
            candidate = np.asarray(self.known.adversary, dtype=np.float64).reshape(1, -1)
            if candidate.shape[1] != self.region.center.size:
                raise DataError(
                    f"known: an adversary of {candidate.shape[1]} inputs does not fit the {self.region.center.size} "
                    "that are asked about; leave it out"
                )
            own = self.model.own(candidate) if isinstance(self.model, View) else candidate
            incumbent.offer(own, self.known.found_by)
        self._check_known(incumbent)

    def _check_known(self, incumbent: Incumbent) -> None:
        check_sandwich(self.known.lower, incumbent.upper, self.options.norm)
        if self.grid is not None and self.known.lower > incumbent.upper:
            raise SoundnessError(
                f"soundness alarm: known level {self.known.lower!r} above a replayed adversary at {incumbent.upper!r}"
            )

    async def answer(self, progress: Progress | None) -> Result:
        options, norm = self.options, self.options.norm
        deadline = Deadline(options.time_limit, self.clock)
        reach = self.region.reach(norm)
        # Beyond the farthest point of the box there is nothing: proving this ceiling proves that no adversary exists.
        beyond = float(np.nextafter(reach * (1.0 + 1e-9), np.inf)) + 1e-12
        ceiling = beyond
        if self.grid is not None:
            ceiling = self.grid.beyond(1 + (self.grid.reach if self.radius is None else self.grid.within(self.radius)))
        elif self.radius is not None:
            ceiling = min(beyond, float(np.nextafter(self.radius * (1.0 + 1e-9), np.inf)) + 1e-12)
            if norm is Norm.L0:  # distances are whole: halfway to the next one is as good as there
                ceiling = min(beyond, float(np.floor(self.radius)) + 0.5)
        incumbent = self._incumbent()
        if options.targets is not None and self.predicted in options.targets:
            incumbent.offer(self.region.center, SAMPLE)  # it may be what is asked for itself
            if incumbent.upper == 0.0:
                return self._at_the_sample(incumbent)
        self._offer_known(incumbent)
        goals = goals_of(self.model, self.predicted, options, self.change)
        device = pick_device(options.device)
        self._telling(incumbent, progress)(Running(0.0, incumbent.upper, technique=ATTACK))
        if self._may_be_certified_at_once() and not self._falsified(incumbent):
            eased, error = self._eased(goals, ceiling, device, deadline)
            if await self._certified_at_once(eased, ceiling, device, deadline):
                lower = float("inf") if ceiling >= beyond else ceiling
                if self.grid is not None:
                    lower = self.grid.proven(self.grid.reached(ceiling))
                return self.result(Verdict.CERTIFIED, lower, float("inf"), engine="crown", execution_error=error)
        goals = await self._attack(goals, incumbent, ceiling, deadline)
        engine = engine_for(options.engine)
        proof, error = Proof(self.known.lower, self.known.basis), None
        self._check_known(incumbent)
        closed = proof.lower > 0.0 and self._verdict(proof.lower, incumbent.upper) is not Verdict.UNRESOLVED
        if not (closed or self._falsified(incumbent)):
            eased, error = self._eased(goals, min(ceiling, incumbent.upper), device, deadline)
            problem = Problem(
                self.model.guide, self.region, norm, eased, ceiling, self.radius, options.tolerance, deadline, device,
                self.grid, self.model.quantised, self.workers, self.share, inside(goals, self.rooms), self.known,
            )  # fmt: skip
            if isinstance(incumbent, ExecutedIncumbent) and error is not None:
                incumbent.ease(eased, error, options.tolerance)
            if error is None or np.isfinite(error):
                tell = self._telling(incumbent, progress, error)
                tell(Running(0.0, incumbent.upper, technique=engine.name))
                proof = await engine.solve(problem, incumbent, tell)
            if error is not None:
                self._polish(problem, incumbent, goals)
            for room in ROOMS if len(self.rooms) else ():
                if not meet(proof.lower, incumbent.upper, options.tolerance):
                    self._polish(problem, incumbent, goals, inside(goals, room * self.rooms))
        lower = proof.lower
        if self.grid is None and lower >= beyond:
            lower = float("inf")
        verdict = self._verdict(lower, incumbent.upper)
        why = None
        if verdict is Verdict.UNRESOLVED:
            why = why_open(
                self.moves, self.clock.now(), proof.open_phases, options.engine, device, deadline.passed,
                self.clock.stopped, on_grid=self.grid is not None,
            )  # fmt: skip
        return self.result(
            verdict,
            lower if lower == float("inf") else min(lower, incumbent.upper),
            incumbent.upper,
            basis=proof.basis,
            engine=engine.name,
            adversary=incumbent.best,
            nodes=proof.nodes,
            open_phases=proof.open_phases,
            execution_error=error,
            why_open=why,
        )

    def _may_be_certified_at_once(self) -> bool:
        asked = self.radius is not None and self.options.engine == "auto"
        return asked and self.options.norm is not Norm.L0 and self.model.quantised is None

    async def _certified_at_once(
        self, goals: tuple[Goal, ...], ceiling: float, device: str, deadline: Deadline
    ) -> bool:
        """Whether one backward pass per goal proves the whole ball: most robust samples need no attack and no tree."""
        device_graph = device_graph_for(self.model.graph, device)
        proven = await FirstPassRequest(device_graph, self.region, self.options.norm, goals, ceiling, deadline)
        return proven >= ceiling

    def _eased(
        self, goals: tuple[Goal, ...], radius: float, device: str, deadline: Deadline
    ) -> tuple[tuple[Goal, ...], float | None]:
        """The goals as far as any execution can reach them within `radius`, and the most that a row was eased by.

        Every input of that ball that wins in some execution reaches an eased goal in real arithmetic. Where the
        question is about real arithmetic, the goals as they are: bounds of a ball are dear, and not needed. Where there
        was no time for them, no execution is known to be near: the goals are eased without end.
        """
        if self.options.execution == REAL:
            return goals, None
        if not goals:
            return goals, 0.0
        device_graph = device_graph_for(self.model.graph, device)
        pixels, norm = self.region.pixels, self.options.norm
        radius = radius if norm is not Norm.L0 else float(np.floor(radius))
        # Bounds count inputs: as many as so few pixels have.
        farthest = radius if pixels is None else radius * int(np.bincount(pixels).max())
        rows = np.concatenate([goal.rows for goal in goals])

        def bounded() -> FloatArray:
            bounds = network_bounds(device_graph, self.region, norm, farthest)
            arithmetic = ARITHMETICS[self.options.execution]
            return np.asarray(
                execution_error(device_graph, bounds, arithmetic, device_graph.tensor(rows))[0].cpu().numpy()
            )

        errors = in_time(deadline, bounded, np.full(len(rows), np.inf))
        errors = errors + 2.0**-52 * self.options.margin  # a lead is itself rounded before it is held against a margin
        parts = np.split(errors, np.cumsum([len(goal.offset) for goal in goals])[:-1])
        return tuple(goal.eased(part) for goal, part in zip(goals, parts, strict=True)), float(errors.max())

    def _falsified(self, incumbent: Incumbent) -> bool:
        return self.radius is not None and incumbent.upper <= self.radius

    def _verdict(self, lower: float, upper: float) -> Verdict:
        if self.radius is not None:
            if upper <= self.radius:
                return Verdict.FALSIFIED
            return Verdict.CERTIFIED if lower > self.radius else Verdict.UNRESOLVED
        if self.grid is not None:
            return Verdict.EXACT if lower >= upper else Verdict.UNRESOLVED  # two levels meet, or they do not
        return Verdict.EXACT if meet(lower, upper, self.options.tolerance) else Verdict.UNRESOLVED

    async def _attack(
        self, goals: tuple[Goal, ...], incumbent: Incumbent, ceiling: float, deadline: Deadline
    ) -> tuple[Goal, ...]:
        """Find a first adversary, and order the goals by how near their attacks came."""
        if not goals or not ceiling > 0 or self.radius == 0:
            return goals
        device_graph = device_graph_for(self.model.guide, pick_device(self.options.device))
        limit = None if deadline.left == float("inf") else ATTACK_SHARE * deadline.left
        settings = AttackOptions(seed=self.options.seed, time_limit=limit)
        if sum(node.size for node in self.model.guide.nodes if isinstance(node, Relu)) <= FEW_NEURONS:
            settings = replace(settings, polish=QUICK_POLISH)
        norm = self.options.norm
        if norm is Norm.L0:  # the attacks know norms; few changed inputs are what L1 comes nearest to
            norm, ceiling = Norm.L1, self.region.reach(Norm.L1)
        problem = AttackProblem(device_graph, self.region, norm, inside(goals, self.rooms), ceiling, settings)
        started = self.clock.now()
        walked = await AttackRequest(problem, deadline)
        with under(deadline):
            found = polished(problem.after(self.clock.now() - started), walked)
        if len(found.inputs):
            incumbent.offer_near(found.inputs[:OFFERED], found.by[:OFFERED])
        if isinstance(incumbent, GridIncumbent):
            incumbent.walk(deadline)
        nearest = [float("inf")] * len(goals)
        for goal, length in zip(found.goal, found.distances, strict=True):
            nearest[int(goal)] = min(nearest[int(goal)], float(length))
        return tuple(goals[k] for k in np.argsort(nearest, kind="stable"))

    def _polish(
        self, problem: Problem, incumbent: Incumbent, goals: tuple[Goal, ...], aims: tuple[Goal, ...] | None = None
    ) -> None:
        """Walk from the best adversary to where its goal is just reached, as asked or as aimed at.

        Proofs lead short of that; and in the corner of a constraint and a class no ray from the sample leads on to an
        adversary.
        """
        best = incumbent.best
        if best is None or problem.norm not in CONVEX:
            return
        device_graph = device_graph_for(problem.graph, problem.device)
        for goal, aim in zip(goals, aims or goals, strict=True):
            if bool(goal_holds(goal, best.scores)):
                limit = min(POLISH_SECONDS, problem.deadline.left)
                start = best.input.astype(np.float64)
                point = polish(device_graph, problem.region, problem.norm, aim, start, time_limit=limit)
                incumbent.offer_near(point, "polish")

    def _incumbent(self) -> Incumbent:
        return incumbent_for(self.model, self.region, self.options, self.predicted, self.grid, self.change)
