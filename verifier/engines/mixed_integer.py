"""An engine around any mixed-integer solver: one program per goal, the best distance so far as box and cutoff."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise

import numpy as np
import torch

from bounds.geometry.halfspace_distance import distance_to_halfspace
from bounds.propagation.device_graph import DeviceGraph
from bounds.propagation.neuron_bounds import NetworkBounds, device_graph_for, goal_bounds, network_bounds
from encoders.arrays import FloatArray
from encoders.deadline import in_time
from encoders.errors import OptionError
from encoders.layer_graph.graph import Affine, Relu
from encoders.programs.mixed_integer_encoding import Body, Encoder
from encoders.programs.mixed_integer_program import Program
from encoders.question import Goal, NeuronBounds, Norm
from encoders.solvers.base import Solution, Solver, SolverOptions, Status
from encoders.solvers.highs import HighsSolver
from verifier.engines.adversary_ranges import by_passes, by_programs
from verifier.engines.base import Capabilities, Engine, Proof
from verifier.engines.on_grid.level_question import Levels
from verifier.engines.quantised.by_solver import close_by_solver
from verifier.question.grid_incumbent import GridIncumbent
from verifier.question.incumbent import Incumbent
from verifier.question.problem import Problem, Progress, Running
from verifier.question.results import Basis

# Solvers hold rows, bounds and integers to tolerances of 1e-9 in the program's units, and a bound moves by their sum
# weighted with the multipliers. What is reported is lowered by this much, relative to max(1, bound).
SOLVER_SLACK = 1e-7

# A solver's point lies on the boundary, where nothing flips yet: it is offered a little further out as well.
STRETCHES = 1.0 + np.array([0.0, 1e-7, 3e-7, 1e-6, 3e-6, 1e-5, 3e-5, 1e-4, 1e-3])

PUSHES = (1e-7, 3e-7, 1e-6, 1e-5, 1e-4)  # how far beyond the boundary a witness is looked for, in scores

GRID_SLACK = 1e-4  # of a step: more than a solver's tolerances are worth, and than inputs stray from whole steps

NARROWING = 0.3  # of a goal's time, at most, for linear programs that narrow its neurons' ranges

SHRINK = 0.95  # bounds and program are made anew when the ball has shrunk below this part of the one they hold for


@dataclass(frozen=True, eq=False)
class Stage:
    """All that holds on one ball: neurons' ranges at each goal's adversaries in it, and the programs but for goals."""

    radius: float
    open_phases: int
    neurons: list[NeuronBounds]
    bodies: dict[NeuronBounds, Body] = field(default_factory=dict)
    narrowed: set[int] = field(default_factory=set)  # goals whose ranges linear programs have narrowed


class MixedIntegerEngine(Engine):
    """Closes a problem goal by goal with a solver, whose word its lower bounds rest on."""

    capabilities = Capabilities(frozenset({Norm.LINF, Norm.L1, Norm.L0}), Basis.SOLVER, grid=True, quantised=True)
    instead = "for l2 take auto or search, or a solver of quadratic programs with integers: pyomo:scip, pyomo:gurobi"

    def __init__(self, name: str, solver: Solver) -> None:
        self.name = name
        self._solver = solver
        if solver.capabilities.quadratic:
            self.capabilities = replace(self.capabilities, norms=self.capabilities.norms | {Norm.L2})
        self._encoder: Encoder | None = None

    def _close(self, problem: Problem, incumbent: Incumbent, progress: Progress) -> Proof:
        if problem.norm is Norm.L2 and problem.grid is not None:
            raise OptionError(f"engine {self.name} minimises l2 off the grid only; take auto, search, steps or cpsat")
        if problem.quantised is not None:
            return close_by_solver(Levels(problem, incumbent, progress), problem.quantised, self._solver)
        run = in_time(problem.deadline, lambda: self._begun(problem, incumbent, progress), None)
        if run is None:
            return Proof(0.0, Basis.SOLVER)
        run.close()
        return Proof(run.reported(run.lower), Basis.SOLVER, run.nodes, run.open_phases)

    def _begun(self, problem: Problem, incumbent: Incumbent, progress: Progress) -> Run:
        if self._encoder is None or self._encoder.graph is not problem.graph:
            self._encoder = Encoder(problem.graph)
        return Run(self._encoder, self._solver, problem, incumbent, progress)


class Run:
    """One problem on its way."""

    def __init__(
        self, encoder: Encoder, solver: Solver, problem: Problem, incumbent: Incumbent, progress: Progress
    ) -> None:
        self.encoder, self.solver = encoder, solver
        self.problem, self.incumbent, self.progress = problem, incumbent, progress
        self.lowers = np.zeros(len(problem.goals))
        self.finished = np.zeros(len(problem.goals), dtype=np.bool_)
        self.nodes = 0
        self.stray = strays(problem)
        self.stage = self.new_stage()
        self.open_phases = self.stage.open_phases

    @property
    def lower(self) -> float:
        """Proven for all goals together."""
        least = float(self.lowers.min(initial=np.inf))
        return least if self.problem.grid is not None else min(least, self.problem.ceiling)

    def reported(self, lower: float) -> float:
        """The bound as it is told: on a grid, and where inputs are counted, rounded up to the next level."""
        grid = self.problem.grid
        if grid is None:
            whole = self.problem.falsify_at is not None or lower < self.problem.ceiling
            counted = self.problem.norm is Norm.L0 and np.isfinite(lower) and whole
            return max(0.0, float(np.ceil(lower - GRID_SLACK))) if counted else lower
        if not np.isfinite(lower):
            return float("inf")
        step = 1.0 if grid.norm is Norm.L0 else 1.0 / grid.n
        return grid.proven(max(0, int(np.ceil((lower - grid.drift) / step - GRID_SLACK))))

    @property
    def enough(self) -> float:
        """No goal needs a lower bound above this; on a grid, half a unit above the last level of interest."""
        grid = self.problem.grid
        if grid is not None and isinstance(self.incumbent, GridIncumbent):
            measure = min(self.problem.most + 1, self.incumbent.measure)
            before = grid.taken_before(measure) if measure > 0 else -1
            return (before + 0.5) * (1.0 if grid.norm is Norm.L0 else 1.0 / grid.n)
        return min(self.problem.ceiling, self.incumbent.enough - 0.5 * self.problem.tolerance)

    @property
    def of_use(self) -> float:
        """No witness is of use from here on."""
        return min(self.problem.ceiling, self.incumbent.upper - 0.5 * self.problem.tolerance)

    @property
    def answered(self) -> bool:
        falsify_at = self.problem.falsify_at
        return falsify_at is not None and self.incumbent.upper <= falsify_at

    def close(self) -> None:
        """Goals in the order given, each with its share of the time left; what stays open is tried again."""
        while True:
            waiting = [i for i in range(len(self.lowers)) if self.is_open(i)]
            if not waiting:
                return
            for place, goal in enumerate(waiting):
                if self.answered or self.problem.deadline.passed:
                    return
                if self.is_open(goal):
                    seconds = self.problem.deadline.left / (len(waiting) - place)
                    in_time(self.problem.deadline, partial(self.ask, goal, seconds), None)

    def is_open(self, goal: int) -> bool:
        return not self.finished[goal] and self.lowers[goal] < self.enough

    def ask(self, goal: int, seconds: float) -> None:
        """Solve one goal's program, and keep what it proves and finds."""
        if min(self.problem.ceiling, self.incumbent.upper) < SHRINK * self.stage.radius:
            self.stage = self.new_stage()
        end = self.problem.deadline.within(seconds)
        if self.is_open(goal):
            self.narrow(goal, seconds)
        if not self.is_open(goal):
            return
        enough = self.enough
        asked = self.problem.goals[goal]
        reach = np.abs(asked.rows) @ self.stray[-1]
        program = self.body(goal).program(replace(asked, offset=asked.offset - reach))
        before = self.lowers[goal]

        def watch(lower: float, point: FloatArray | None) -> bool:
            self.keep(goal, max(before, _proven(lower, enough)), program, point)
            return self.answered

        solution = self.solver.solve(program, self.options(end.left, enough), watch)
        self.nodes += solution.nodes
        # Only a lack of time is mended by asking again.
        self.finished[goal] = solution.status is not Status.TIME_LIMIT
        self.keep(goal, max(before, _proven(solution.lower, enough)), program, solution.point)
        nearer = solution.status is Status.OPTIMAL and solution.objective < self.of_use
        if nearer and self.problem.grid is None:
            self.push(goal, solution, program)

    @property
    def narrows(self) -> bool:
        """Whether ranges are narrowed goal by goal: in norms with balls, where inputs are real numbers."""
        return self.problem.grid is None and self.problem.norm is not Norm.L0

    def narrow(self, goal: int, seconds: float) -> None:
        """Narrow the goal's ranges by linear programs, once on each ball; without an adversary there it is closed."""
        problem, stage = self.problem, self.stage
        if goal in stage.narrowed or not self.narrows:
            return
        stage.narrowed.add(goal)
        asked, limit = problem.goals[goal], problem.deadline.within(NARROWING * seconds)
        found = by_programs(self.encoder, problem.region, problem.norm, asked, stage.neurons[goal], stage.radius, limit)
        if found is not None:
            stage.neurons[goal] = found
            return
        self.lowers[goal] = max(self.lowers[goal], self.enough)
        self.tell()

    def body(self, goal: int) -> Body:
        """The goal's program but for its rows, with the ranges that are known by now."""
        stage, problem = self.stage, self.problem
        neurons = stage.neurons[goal]
        if neurons not in stage.bodies:
            stage.bodies[neurons] = self.encoder.body(
                problem.region, problem.norm, self.strayed(neurons), stage.radius, problem.grid
            )
        return stage.bodies[neurons]

    def options(self, seconds: float, enough: float) -> SolverOptions:
        limit = seconds if np.isfinite(seconds) else None
        return SolverOptions(limit, _widened(enough), absolute_gap=min(1e-9, self.problem.tolerance / 4))

    def push(self, goal: int, solution: Solution, program: Program) -> None:
        """Look for a witness a little beyond an optimum on the boundary, where straight on was not enough.

        The phases stay as they were found, a linear program; where that region ends at the optimum, all are tried.
        """
        point = solution.point
        if point is None:
            return
        asked = self.problem.goals[goal]
        fixed = np.where(program.integral, np.round(point), np.nan)
        for phases_fixed in (True, False):
            for push in PUSHES:
                if self.problem.deadline.passed or self.incumbent.upper <= solution.objective + self.problem.tolerance:
                    return
                beyond = self.body(goal).program(replace(asked, offset=asked.offset + self.problem.eased(goal) + push))
                if phases_fixed:
                    lower, upper = (
                        np.where(program.integral, fixed, a) for a in (beyond.column_lower, beyond.column_upper)
                    )
                    beyond = replace(beyond, column_lower=lower, column_upper=upper)
                found = self.solver.solve(beyond, self.options(self.problem.deadline.left, self.of_use))
                self.keep(goal, 0.0, beyond, found.point)

    def keep(self, goal: int, lower: float, program: Program, point: FloatArray | None) -> None:
        """Raise the goal's bound, offer the point, tell of it."""
        self.lowers[goal] = max(self.lowers[goal], lower)
        if point is not None:
            center = self.problem.region.center
            self.incumbent.offer(center + STRETCHES[:, None] * (program.inputs(point) - center), self.solver.name)
        self.tell()

    def tell(self) -> None:
        """What is proven and found by now."""
        lower = min(self.reported(self.lower), self.incumbent.upper)
        self.progress(
            Running(lower, self.incumbent.upper, Basis.SOLVER, self.nodes, self.open_phases, self.solver.name)
        )

    def strayed(self, neurons: NeuronBounds) -> NeuronBounds:
        """Bounds that hold at whole steps of the grid too."""
        if self.problem.grid is None:
            return neurons
        away = {i: self.stray[i] for i in neurons.lower}
        return NeuronBounds(
            {i: v - away[i] for i, v in neurons.lower.items()}, {i: v + away[i] for i, v in neurons.upper.items()}
        )

    @torch.no_grad()
    def new_stage(self) -> Stage:
        """Bounds, program and a first lower bound of each goal, on the ball that still matters."""
        problem = self.problem
        most = min(problem.ceiling, self.incumbent.upper)
        reach, drift = problem.region.reach(problem.norm), 0.0
        if problem.grid is not None:  # points lie up to the drift farther than their whole steps say
            drift = problem.grid.drift
            reach = max(reach, problem.grid.length(problem.grid.reach)) + drift
        radius = min(_widened(most) + 2.0 * drift, reach)
        device_graph = device_graph_for(problem.graph, problem.device)
        pixels = problem.region.pixels
        # Bounds count inputs: as many as so few pixels have.
        farthest = radius if pixels is None else radius * int(np.bincount(pixels).max())
        bounds = network_bounds(device_graph, problem.region, problem.norm, farthest)
        neurons = bounds.neurons()
        whole = radius >= reach
        target = _widened(reach) if whole else radius  # where the box ends before, it holds no more than that
        if self.narrows:
            ranges, best = by_passes(device_graph, bounds, problem.goals, target)
        else:
            ranges = [neurons] * len(problem.goals)
            best = np.zeros(len(ranges)) if pixels is not None else _by_one_pass(device_graph, bounds, problem.goals)
        # Beyond the ball nothing is claimed, unless it holds the whole box.
        self.lowers = np.maximum(self.lowers, np.where(best >= target, np.inf if whole else radius, best))
        return Stage(radius, neurons.open_phases, ranges)


def _by_one_pass(device_graph: DeviceGraph, bounds: NetworkBounds, goals: tuple[Goal, ...]) -> FloatArray:
    """A lower bound of each goal's distance within the ball. A goal needs all its rows, so its best row counts."""
    function = goal_bounds(device_graph, bounds, device_graph.tensor(np.concatenate([g.rows for g in goals])))
    value = function.value - function.slack + device_graph.tensor(np.concatenate([g.offset for g in goals]))
    ball = bounds.ball
    rows = distance_to_halfspace(function.input, value, ball.below, ball.above, ball.norm).cpu().numpy()
    ends = np.cumsum([0, *(len(g.offset) for g in goals)])
    return np.array([rows[a:b].max(initial=0.0) for a, b in pairwise(ends)])


def strays(problem: Problem) -> list[FloatArray]:
    """How far each node's values can be from those at whole steps of the grid: its levels are float32 numbers."""
    found: list[FloatArray] = []
    for node in problem.graph.nodes:
        if isinstance(node, Affine):
            terms = zip(node.sources, problem.graph.matrices(node), strict=True)
            found.append(sum((abs(matrix) @ found[source] for source, matrix in terms), np.zeros(node.size)))
        elif isinstance(node, Relu):
            found.append(found[node.source])
        else:
            found.append(np.zeros(node.size) if problem.grid is None else problem.grid.error)
    return found


def _slack(bound: float) -> float:
    """What solver tolerances may be worth at this bound."""
    return SOLVER_SLACK * max(1.0, abs(bound)) if np.isfinite(bound) else 0.0


def _widened(bound: float) -> float:
    """So far a program must reach for its bound, less the slack, to prove the whole of `bound`."""
    return bound + 2.0 * _slack(bound)


def _proven(lower: float, enough: float) -> float:
    """A solver's bound as it is reported: less its tolerances, and no more than was asked."""
    return min(max(0.0, lower - _slack(lower)), enough)


class HighsEngine(MixedIntegerEngine):
    """HiGHS tuned for proofs. Good where few phases are open; its bounds rest on its tolerances."""

    def __init__(self) -> None:
        super().__init__("highs", HighsSolver())


class PyomoEngine(MixedIntegerEngine):
    """Any Pyomo solver; its bounds rest on that solver's tolerances, and its time limit is the solver's own."""

    def __init__(self, name: str) -> None:
        from encoders.solvers.pyomo_solver import PyomoSolver  # Pyomo takes a second to import

        super().__init__(f"pyomo:{name}", PyomoSolver(name))
