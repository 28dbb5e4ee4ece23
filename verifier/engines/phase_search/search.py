"""Branch and bound on ReLU phases over the reduced net: the same integer program, with the tree in our hands.

A node's bound is a *distance* (`bounds.nodes.node_bounds`), so the least bound over the open nodes is a proven lower
bound on the exact distance at any moment. Nodes are evaluated in batches, all targets of a sample together. The points
where the bounds are attained are candidate adversaries; every one that replays shrinks the ball, and the reduced net
with it. A node with every phase fixed is closed by its linear program, from whose multipliers the bound is recomputed.
Everything that a verdict rests on is float64 with its rounding accounted for: the basis is `rigorous`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from bounds.nodes.linear_program import NodeProgram, Proven
from bounds.nodes.records import Nodes, Pass
from bounds.propagation.device_graph import DeviceGraph
from bounds.propagation.neuron_bounds import device_graph_for
from bounds.tightening.base import Effort
from bounds.tightening.by_all_layers import ByAllLayers
from bounds.tightening.by_one_layer import ByOneLayer
from bounds.tightening.raising import ascended
from encoders.arrays import FloatArray
from encoders.deadline import Deadline, in_time, under
from encoders.layer_graph.graph import Relu
from encoders.question import Norm
from verifier.batching.cores import each_on_a_core
from verifier.batching.node_request import NodeRequest
from verifier.batching.request import run_alone
from verifier.engines.base import Proof
from verifier.engines.phase_search.adversaries import SEARCH, Witnesses, WitnessOptions
from verifier.engines.phase_search.all_layers_choice import AllLayersChoice, Use
from verifier.engines.phase_search.ball_schedule import STAGE_GROWTH, BallSchedule
from verifier.engines.phase_search.branching import by_program, by_relaxation
from verifier.engines.phase_search.look_ahead import LookAhead, by_passes
from verifier.engines.phase_search.open_nodes import Taken
from verifier.engines.phase_search.program_choice import SHARE, WORTH, ProgramChoice, program_of
from verifier.engines.phase_search.stage import Stage
from verifier.question.incumbent import Incumbent
from verifier.question.problem import Problem, Progress, Running
from verifier.question.results import Basis

INFINITY = float("inf")
FIRST_STAGE = 1.0 / 128.0
LEAST_STAGE = 1e-5  # relative
LARGE_NET = 1000  # neurons, from which on a net is large
PROGRAMS_AT_ONCE = 32
BATCH_SECONDS = 2.0  # at most, or a time limit is overshot by as much
DEAR_BATCH = 4  # roots, or nodes to split, that are bounded by all layers side by side, on each core
LARGEST_TREE = 6.0  # times the patience, of a tree that is closing
LITTLE_PROVEN = 0.25  # of a decision's radius: where roots prove less, smaller balls are looked at
DEEP_BATCH = 16  # nodes at a time while memory is short: each has at most its depth in open siblings below it


@dataclass(frozen=True)
class SearchOptions:
    """What the search may be tuned by; none of it can change an answer, only the time it takes."""

    batch: int = 256
    batch_on_device: int = 2048  # the same beside the CPU, where a batch costs little more than a node
    memory: int = 2 * 2**30  # bytes of open nodes; beyond it the search goes deep where least is left
    root_steps: int = 4
    steps: int = 4
    shallow_steps: int = 2  # the same where all open neurons lie in one layer: slopes gain little there
    effort: Effort = field(default_factory=Effort)
    few_leaves: int = 8  # at a time: their programs are cheaper than an ascent first
    chords_first: int = 32  # nodes before tangents are tried in L∞, but for large nets: few nodes have no need of them
    splits_first: int = 128  # nodes of which a round of tightening must close more: few splits are cheap
    worth_at_first: float = 0.75  # part of their gap, but in large nets
    witnesses: WitnessOptions = field(default_factory=WitnessOptions)
    rebuild_below: float = 0.97  # rebuild the reduced net once the ball has shrunk by this much
    patience: int = 50  # nodes without a nearer adversary before a smaller ball is tried
    program_share: float = SHARE
    program_worth: float = WORTH


class Search:
    """One problem being closed. `solve` and `run` may be called again to go on where it stopped."""

    def __init__(self, problem: Problem, incumbent: Incumbent, progress: Progress, options: SearchOptions) -> None:
        if problem.falsify_at is not None:
            options = replace(options, effort=replace(options.effort, closing=True))
        self.problem, self.incumbent, self.progress, self.options = problem, incumbent, progress, options
        self.device_graph: DeviceGraph = device_graph_for(problem.graph, problem.device)
        self.witnesses = Witnesses(problem, incumbent, self.device_graph, options.witnesses)
        self.large = sum(node.size for node in problem.graph.nodes if isinstance(node, Relu)) >= LARGE_NET
        self.visited = 0
        self.root_open = 0
        self.proven = min(problem.known.start, problem.ceiling)
        self.looked = False  # at smaller balls, of a decision
        self.patient_until = Deadline(None)
        self.stage: Stage | None = None  # the ball that is searched, once its roots are in it
        self.finished = False  # every node is closed: whatever gap is left lies between float32 and real scores
        self.balls = BallSchedule(self._first_ball(), float(options.patience))
        self.cleared = np.full(
            len(problem.goals), self.proven
        )  # of each goal, a ball that is proven to hold no adversary of it
        self.programs = ProgramChoice(problem.deadline.clock, options.program_share, options.program_worth)
        self.seconds_a_node = 0.0
        self.patience_spent = 0.0  # nodes, where those that cost less than the dearest count for less
        self.all_layers = AllLayersChoice(problem.deadline.clock)
        on_cpu = self.device_graph.device.type == "cpu"
        self.batch = options.batch if on_cpu else options.batch_on_device  # halved whenever memory is short

    @property
    def reach(self) -> float:
        """Nothing beyond is of interest, whatever the ball."""
        return min(self.incumbent.enough, self.problem.ceiling)

    @property
    def answered(self) -> bool:
        at = self.problem.falsify_at
        return at is not None and self.incumbent.upper <= at

    @property
    def stopped(self) -> bool:
        """Answered, or out of time or patience."""
        return self.answered or self.patient_until.passed

    def run(self, patience: float = INFINITY) -> Proof:
        """Search for at most `patience` seconds, stage by stage."""
        return run_alone(self.solve(patience))

    async def solve(self, patience: float = INFINITY) -> Proof:
        """The same, awaiting one batch of bounds after the other."""
        if not self.problem.goals:
            return Proof(self.problem.ceiling, Basis.RIGOROUS)
        self.patient_until = self.problem.deadline.within(patience)
        if not self.visited and self.stage is None:
            self._look_ahead()
        while True:
            stage = self.stage = self.stage or await self._opened()
            if stage is None:  # not even the net of this ball was made in time
                break
            self._prove_less(stage)
            await self._close(stage)
            self._clear(stage)
            self.finished = stage.whole and not len(stage.frontier)
            if self.stopped or self.finished:
                break
            next_ball = self.balls.after_failed if len(stage.frontier) else self.balls.after_closed
            next_ball(self.proven, self.reach)
            self.stage = None
        return Proof(self.proven, Basis.RIGOROUS, self.visited, self.root_open)

    def _look_ahead(self) -> None:
        """For the distance in a large net: what can be proven without a tree, and the first ball to grow one on."""
        if self.large and self.problem.falsify_at is None:
            ahead = LookAhead(
                self.problem, self.incumbent, self.device_graph, self.witnesses, self.balls, self.options.effort,
                self.progress, self.cleared, self.proven,
            )  # fmt: skip
            ahead.run()
            self.proven = max(self.proven, ahead.proven)

    def _prove_less(self, stage: Stage) -> None:
        """Look below where the roots say next to nothing of distances."""
        if len(stage.frontier) and max(self.proven, stage.lowest) < LITTLE_PROVEN * stage.target:
            self._look_below(stage)

    def _look_below(self, stage: Stage) -> None:
        """For a decision: what passes prove of smaller balls, once, so that an early end leaves more than zero."""
        if self.problem.falsify_at is None or self.looked or self.stopped:
            return
        self.looked = True

        def prove(found: float) -> None:
            self.proven = max(self.proven, min(found, stage.target))

        ball = 0.5 * stage.target
        in_time(self.problem.deadline, lambda: by_passes(self.problem, self.device_graph, 0.0, ball, prove), (0.0, 0.0))

    def _first_ball(self) -> float:
        """The first ball to search: the whole question if an adversary is known, else a small one that then grows.

        Bounds on a ball far larger than the distance say nothing; a small ball that is proven empty says much.
        """
        if self.incumbent.upper < INFINITY or self.problem.falsify_at is not None:
            return self.problem.ceiling
        return min(self.problem.ceiling, max(self.problem.ceiling * FIRST_STAGE, STAGE_GROWTH * self.proven))

    async def _opened(self) -> Stage | None:
        """The next ball, with the roots in it that it needs; None where there is no time for its net."""
        stage = Stage.opened(self.problem, self.incumbent, self.device_graph, self.balls.radius)
        if stage is None:
            return None
        self.root_open = max(self.root_open, stage.net.open_phases)
        roots = stage.phases.roots()
        # What larger balls hold no adversary of is closed on this one; what is no number proves nothing.
        asked = np.flatnonzero(~(self.cleared >= stage.target))
        roots = roots.take(torch.tensor(asked, device=roots.goal.device))
        # By all layers a root takes about a second: the time limit is looked at between a few of them.
        dear = ByAllLayers.applies(stage.phases, self.options.effort)
        if dear and len(roots):
            self._look_below(stage)
        every = torch.arange(len(roots), device=roots.goal.device)
        together = DEAR_BATCH * self.problem.workers if dear else len(roots)
        for chosen in torch.split(every, together) if len(roots) else ():
            part = roots.take(chosen)
            if dear and self.problem.deadline.passed:
                stage.keep(part, torch.zeros(len(part), dtype=part.slope.dtype))
                continue
            part, seen = await self._ask(stage, part, self.options.root_steps)
            self._settle(stage, part, seen, seen.distance.new_tensor(self.cleared[part.goal.cpu().numpy()]))
        return stage

    async def _close(self, stage: Stage) -> None:
        """Expand open nodes until none is left, or the search is stopped, or a smaller ball is to be tried."""
        started, upper, share = self.patience_spent, self.incumbent.upper, stage.frontier.share
        while len(stage.frontier) and not self.stopped:
            self._report(stage)
            if self.incumbent.upper < upper:
                started, upper, share = self.patience_spent, self.incumbent.upper, stage.frontier.share
            spent = self.patience_spent - started
            if spent > self.balls.patience and self._may_retreat(stage) and self._too_large(stage, spent, share):
                break
            if self.witnesses.scouting:
                self.witnesses.scout(self.problem.aims[stage.frontier.goal_of_lowest])
            if stage.horizon < stage.built * self.options.rebuild_below:
                self._rebuild(stage)
            stage.drop_closed()
            if len(stage.frontier):
                await self._expand(stage)
        self._report(stage)

    def _may_retreat(self, stage: Stage) -> bool:
        """Whether a smaller ball could help: not for `verify`, which asks about this one, nor near the end."""
        if ByOneLayer.applies(stage.phases, self.options.effort):
            return False
        wide = len(stage.frontier) >= self.balls.patience // 2
        left = stage.horizon - self.proven
        return wide and self.problem.falsify_at is None and left > LEAST_STAGE * stage.horizon

    def _too_large(self, stage: Stage, spent: float, share: float) -> bool:
        """Whether a tree seems to need too many nodes, by how much of the share that was open they have closed."""
        return spent * share > LARGEST_TREE * self.balls.patience * (share - stage.frontier.share)

    def _clear(self, stage: Stage) -> None:
        """Remember the goals that the stage has closed."""
        closed = stage.closed_goals(len(self.cleared))
        self.cleared[closed] = np.fmax(self.cleared[closed], stage.target)

    def _report(self, stage: Stage) -> None:
        self.proven = max(self.proven, stage.lowest)
        least = stage.least_row if self.problem.values else -INFINITY
        self.progress(
            Running(
                self.proven, self.incumbent.upper, nodes=self.visited, open_phases=self.root_open, technique=SEARCH,
                least_row=least,
            )
        )  # fmt: skip

    def _rebuild(self, stage: Stage) -> None:
        """Tighten everything to what is of interest of the ball now, and the open nodes with it."""
        carried = stage.rebuilt()
        if carried is None:
            return
        nodes, bound = carried
        for chosen in torch.split(torch.arange(len(nodes)), self.batch):
            if self.problem.deadline.passed:
                stage.keep(nodes.take(chosen), bound[chosen])
                continue
            part, seen = stage.phases.optimise(nodes.take(chosen), 0, stage.target, self.options.effort.rate)
            self._settle(stage, part, seen, bound[chosen].to(seen.distance.device))

    def _use_of_all_layers(self, stage: Stage) -> Use | None:
        """How the next nodes are bounded where all layers apply; None where they do not. A decision does without the
        factorisations by which gains are measured."""
        if not ByAllLayers.applies(stage.phases, self.options.effort):
            return None
        return self.all_layers.next() if self.problem.falsify_at is None else Use.ALL_LAYERS

    def _pop(self, stage: Stage, use: Use | None) -> Taken[Nodes]:
        """The nodes to split next: what is least proven, or what has least below it where memory is short."""
        if stage.frontier.bytes < self.options.memory // self.problem.share:
            count = PROGRAMS_AT_ONCE if self.programs.pays else self.batch // 2
            seconds, least = self.seconds_a_node, 1
            if use is not None and self.problem.falsify_at is None:  # one that nothing is known of takes long
                seconds, least = self.all_layers.seconds_a_node(use) or BATCH_SECONDS, self.problem.workers
            elif use is not None:
                least = DEAR_BATCH
            count = max(least, min(count, int(BATCH_SECONDS / max(seconds, 1e-9))))
            return (stage.frontier.pop_least if self.problem.values else stage.frontier.pop_lowest)(count)
        return stage.frontier.pop_highest(DEEP_BATCH)

    def _programmed(self, stage: Stage, taken: Taken[Nodes]) -> Taken[Nodes]:
        """The nodes raised by their linear programs, for as long as that gains much; what is closed is left out."""
        nodes, bound, branch = taken
        kept = torch.ones(len(nodes), dtype=torch.bool)
        every = range(len(nodes) if self.problem.norm is not Norm.L2 else 0)
        for some in (every[k : k + self.problem.workers] for k in every[:: self.problem.workers]):
            if self.stopped or not self.programs.next():
                break
            with self.programs.timed():
                parts = [nodes.take(torch.tensor([k], device=nodes.goal.device)) for k in some]
                answers = each_on_a_core([partial(self._program, stage, part) for part in parts], self.problem.workers)
                for k, found in zip(some, answers, strict=True):
                    if found is None:
                        continue
                    gap, gained = stage.target - float(bound[k]), found.distance - float(bound[k])
                    if gained > 0.0:
                        bound[k] = found.distance
                        nodes = nodes.put(torch.tensor([k], device=nodes.goal.device), found.node)
                    chosen = by_program(found.cost)
                    if chosen is not None:
                        branch[k] = chosen
                    if found.shift is not None:
                        self.witnesses.see(stage.phases, self.device_graph.tensor(found.shift)[None])
                    kept[k] = bool(bound[k] < stage.target)
                    self.programs.saw(gap, gained)
        stage.close(bound[~kept])
        left = torch.nonzero(kept).flatten()
        return nodes.take(left.to(nodes.goal.device)), bound[left], branch[left]

    def _program(self, stage: Stage, node: Nodes) -> Proven | None:
        return program_of(stage.phases, node, stage.target, self.problem.deadline.left)

    async def _expand(self, stage: Stage) -> None:
        clock = self.problem.deadline.clock
        use = self._use_of_all_layers(stage)
        taken, began = self._pop(stage, use), clock.now()
        try:
            taken = self._programmed(stage, taken)
            nodes, bound, branch = taken
            if not len(nodes):
                return
            split = nodes.split(branch.to(nodes.goal.device))
            steps = self.options.steps if len(stage.net.layers) > 1 else self.options.shallow_steps
            request = self._ask(stage, split, steps)
            children, seen = await (request if use is None else self.all_layers.bounded(request, use))
            self.seconds_a_node = (clock.now() - began) / len(nodes)
        except torch.OutOfMemoryError:
            if self.batch < 2:
                raise
            self.batch //= 2
            stage.keep(*taken)
            torch.cuda.empty_cache()
            return
        self.patience_spent += len(children) * (1.0 if use is None else self.all_layers.weight(use))
        self._settle(stage, children, seen, bound.to(nodes.goal.device).repeat(2))
        self.witnesses.dive(stage.phases, children, seen, stage.target, stage.horizon)

    def _ask(self, stage: Stage, nodes: Nodes, steps: int) -> NodeRequest:
        effort = self.options.effort
        early = self.visited < self.options.chords_first and not self.large
        if early and self.problem.norm is Norm.LINF:
            effort = replace(effort, envelope_steps=0)
        if self.visited < self.options.splits_first and not self.large:
            effort = replace(effort, worth=max(effort.worth, self.options.worth_at_first))
        return NodeRequest(stage.phases, nodes, steps, stage.target, effort, self.problem.deadline)

    def _settle(self, stage: Stage, nodes: Nodes, seen: Pass, inherited: Tensor) -> None:
        """Offer candidates, close what is proven, solve what is fully fixed, keep the rest."""
        self.visited += len(nodes)
        bound = torch.fmax(seen.distance, inherited)  # a bound that is NaN proves no more than its parent's
        self.witnesses.corners(stage.phases, seen, bound)
        closed = bound >= stage.target
        stage.close(bound[closed])
        fixed = ~closed & (nodes.phase != 0).all(-1)
        if bool(fixed.any()):
            self._leaves(stage, nodes.take(fixed.nonzero().flatten()), bound[fixed])
        rest = torch.nonzero(~closed & ~fixed).flatten()
        if len(rest):
            kept = nodes.take(rest)
            if self.problem.values:
                row = stage.phases.first_row(kept, seen.take(rest), stage.target)
                kept = replace(kept, least=torch.fmax(kept.least, row))
            stage.keep(kept, bound[rest], by_relaxation(kept, seen.take(rest)))

    def _leaves(self, stage: Stage, nodes: Nodes, inherited: Tensor) -> None:
        """Fully fixed nodes: more ascent, all at once, and a linear program each for what is still not closed."""
        bound = inherited
        if len(nodes) > self.options.few_leaves:
            seen = stage.phases.evaluate(nodes)
            every = torch.arange(len(nodes), device=inherited.device)
            with under(self.problem.deadline):
                nodes, seen = ascended(stage.phases, nodes, seen, every, stage.target, self.options.effort)
            bound = torch.fmax(seen.distance, inherited)
        for some in torch.split(torch.argsort(bound), self.problem.workers):
            for_programs = (bound[some] < stage.target) & (not self.problem.deadline.passed)
            stage.close(bound[some[~for_programs]])
            left = [(nodes.take(one[None]), float(bound[one])) for one in some[for_programs]]
            for leaf, shift, closed in each_on_a_core([partial(self._leaf, stage, *one) for one in left], len(some)):
                if shift is not None and closed < stage.target:
                    self.witnesses.push_over(leaf, shift, stage.horizon)
                stage.floor = min(stage.floor, closed)

    def _leaf(self, stage: Stage, node: Nodes, inherited: float) -> tuple[NodeProgram, FloatArray | None, float]:
        """A fully fixed node's program, its point, and the bound that its multipliers prove."""
        leaf = NodeProgram(stage.phases, node)
        quick = self.problem.norm is Norm.LINF
        if quick and leaf.raised(stage.target, self.problem.deadline.left).distance >= stage.target:
            return leaf, None, stage.target
        answer = leaf.solve(stage.horizon, 0.0, self.problem.deadline.left)
        return leaf, leaf.shift(answer), max(inherited, leaf.proven(answer).distance)
