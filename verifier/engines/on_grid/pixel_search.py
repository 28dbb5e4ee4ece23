"""Which pixels move? Branch and bound on that, for L0: level by level, is there an adversary that moves so few?

A part of the question fixes that some pixels move and others stay (`bounds.discrete.moved_pixels`). Where its bound
leaves an adversary, one undecided pixel after the other is let go: the part that moves it and none of those before it.
Where nothing is left to let go, the ranges of the moving inputs are halved, down to single points on a grid, which are
replayed. All goals share the parts. Everything is proven with rounding accounted for; no solver has a say.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from bounds.discrete.moved_pixels import Fall, Parts, SubsetBounds
from bounds.propagation.device_graph import DeviceGraph
from bounds.propagation.neuron_bounds import device_graph_for, network_bounds
from bounds.reduced_net.reduced_net import reduce
from encoders.arrays import IntArray
from encoders.deadline import Deadline, in_time
from encoders.question import Norm
from verifier.engines.on_grid.input_ranges import GridPlaces, OpenPlaces, Places
from verifier.engines.on_grid.level_question import Count, Levels
from verifier.question.results import Basis

ELEMENTS_AT_ONCE = 2_000_000  # of [parts, open neurons, inputs]
MOST_AT_ONCE = 512
CANDIDATES = 8  # points replayed per batch
INFINITY = float("inf")


@dataclass(frozen=True, eq=False)
class Waiting:
    """Parts that wait to be bounded, with the ranges that their inputs may be in."""

    low: Tensor  # [N, n] places, see `verifier.engines.on_grid.input_ranges`
    high: Tensor
    undecided: Tensor  # [N, G]
    left: Tensor  # [N]
    lower: Tensor  # [N, P] known from the part they come from
    upper: Tensor
    alive: Tensor  # [N, K] goals that may have an adversary there

    def __len__(self) -> int:
        return len(self.left)

    def take(self, index: Tensor) -> Waiting:
        return Waiting(**{name: value[index] for name, value in vars(self).items()})

    def staying(self, stays: Tensor) -> Waiting:
        """The same with these inputs [N, n] where the sample has them."""
        return replace(self, low=torch.where(stays, 0, self.low), high=torch.where(stays, 0, self.high))


class Subsets:
    """The levels of an L0 question, proven from below. `run` may be called again to go on."""

    def __init__(self, levels: Count) -> None:
        self.levels = levels
        self.device_graph: DeviceGraph = device_graph_for(levels.problem.graph, levels.problem.device)
        self.tree: Tree | None = None
        self.doubt = False  # a point is left that neither replays nor is denied: no level beyond can be proven

    @property
    def finished(self) -> bool:
        return self.doubt or self.levels.stopped

    def run(self, seconds: float = INFINITY) -> None:
        """Raise the level until both sides meet, a doubtful point is met, or time is over."""
        levels = self.levels
        if not levels.problem.goals:
            levels.prove(levels.most + 1, Basis.RIGOROUS)
        until = levels.problem.deadline.within(seconds)
        levels.technique = "subsets"
        while not (self.finished or until.passed):
            if self.tree is None or self.tree.measure < levels.lower:
                self.tree = in_time(
                    levels.problem.deadline, lambda: Tree(levels, self.device_graph, levels.lower), None
                )
            if self.tree is None:
                return
            if self.tree.run(until):
                levels.prove(min(self.tree.measure + 1, levels.enough), Basis.RIGOROUS)
            self.doubt = self.tree.doubt and not self.tree.stack


class Tree:
    """One level: is there an adversary of at most `measure`?"""

    def __init__(self, levels: Count, device_graph: DeviceGraph, measure: int) -> None:
        self.levels, self.measure, self.doubt = levels, measure, False
        problem = levels.problem
        region = problem.region
        names = np.arange(len(region.center)) if region.pixels is None else region.pixels
        # The root's ball counts inputs: as many as so few pixels have.
        most = float(measure * int(np.bincount(names).max()))
        self.net = net = reduce(device_graph, network_bounds(device_graph, region, Norm.L0, most), problem.goals)
        levels.open_phases = max(levels.open_phases, net.open_phases)
        moving: IntArray = net.moving.cpu().numpy()
        self.places: Places = OpenPlaces(region, levels.incumbent, moving, net.x.device)
        if isinstance(levels, Levels):
            self.places = GridPlaces(levels.grid, levels.witness, moving, net.x.device)
        self.pixel = torch.as_tensor(np.unique(names[moving], return_inverse=True)[1], device=net.x.device)
        self.bounds = SubsetBounds(net, self.pixel)
        self.goal_of = torch.cat([torch.full_like(rows, k) for k, rows in enumerate(net.goal_rows)])
        self.weight = net.x.abs().sum(0) + 1e-300  # what the width of an input's range is weighed by
        self.stack = [self._root()]
        width = max(1, net.open_phases + len(self.goal_of)) * len(moving)
        self.at_once = max(1, min(MOST_AT_ONCE, ELEMENTS_AT_ONCE // width))

    def run(self, until: Deadline) -> bool:
        """Go on until it is proven that there is none (True), one is found, or time is over."""
        while self.stack:
            if self.levels.stopped or until.passed:
                return False
            waiting = self.stack.pop()
            if len(waiting) > self.at_once:
                order = torch.arange(len(waiting), device=waiting.left.device)
                self.stack.append(waiting.take(order[self.at_once :]))
                waiting = waiting.take(order[: self.at_once])
            self.levels.nodes += len(waiting)
            waiting, fall = self._bounded(waiting)
            if not len(waiting):
                continue
            if self._offer(waiting, fall):
                self.levels.tell()
                continue
            self.stack += [part for part in self._children(waiting, fall) if len(part)]
        return not self.doubt

    def _root(self) -> Waiting:
        net = self.net
        low, high = self.places.root()
        device, moves = net.x.device, self.measure > 0
        return Waiting(
            low * moves, high * moves,
            torch.full((1, self.bounds.count), moves, device=device),
            torch.full((1,), self.measure, device=device),
            net.lower[None], net.upper[None],
            torch.ones(1, self.goal_count, dtype=torch.bool, device=device),
        )  # fmt: skip

    def _bounded(self, waiting: Waiting) -> tuple[Waiting, Fall]:
        """The parts that may hold an adversary still, with what is known of them now."""
        parts = Parts(
            self.places.shift(waiting.low), self.places.shift(waiting.high), waiting.undecided, waiting.left,
            waiting.lower, waiting.upper,
        )  # fmt: skip
        bounds, fall = self.bounds.bounded(parts)
        alive = waiting.alive & self._possible(fall.lowest)
        kept = torch.nonzero(alive.any(1)).flatten()
        found = replace(waiting, lower=bounds.lower, upper=bounds.upper, alive=alive).take(kept)
        return found, fall.take(kept)

    def _possible(self, lowest: Tensor) -> Tensor:
        """[N, J, …] → [N, K, …]: a goal is reached where all of its rows can fall to zero."""
        missed = torch.zeros(lowest.shape[0], self.goal_count, *lowest.shape[2:], device=lowest.device)
        return missed.index_add(1, self.goal_of, (lowest > 0).to(missed.dtype)) == 0

    @property
    def goal_count(self) -> int:
        return len(self.net.goal_rows)

    def _offer(self, waiting: Waiting, fall: Fall) -> bool:
        """Replay the points where the goals fall lowest; True if one is the nearest adversary so far."""
        lowest = torch.where(waiting.alive[:, self.goal_of], fall.lowest, torch.inf)
        value, row = lowest.min(1)
        point = ~self.places.wide(waiting.low, waiting.high).any(1) & ~waiting.undecided.any(1)
        chosen = torch.unique(torch.cat([value.argsort()[:CANDIDATES], torch.nonzero(point).flatten()]))
        a = fall.input[chosen, row[chosen]]
        low, high = waiting.low[chosen], waiting.high[chosen]
        steps = torch.where(a * low <= a * high, low, high)
        bring = fall.bring[chosen, row[chosen]]
        rank = bring.argsort(1, descending=True).argsort(1)
        stays = waiting.undecided[chosen] & ((rank >= waiting.left[chosen, None]) | (bring <= 0))
        steps = torch.where(stays[:, self.pixel], 0, steps)
        return self.places.offer(steps)

    def _children(self, waiting: Waiting, fall: Fall) -> list[Waiting]:
        """Parts that together hold every adversary of these."""
        opened = waiting.undecided.any(1)
        closed = torch.nonzero(~opened).flatten()
        opened = torch.nonzero(opened).flatten()
        parts = [self._halved(waiting.take(closed))] if len(closed) else []
        return parts + self._let_go(waiting.take(opened), fall.take(opened)) if len(opened) else parts

    def _halved(self, waiting: Waiting) -> Waiting:
        """Both halves of the range that matters most; single points cannot be halved, and leave a doubt."""
        places = self.places
        wide = places.wide(waiting.low, waiting.high)
        going = torch.nonzero(wide.any(1)).flatten()
        self.doubt = self.doubt or len(going) < len(waiting)
        waiting, wide = waiting.take(going), wide[going]
        width = (places.shift(waiting.high) - places.shift(waiting.low)) * self.weight
        chosen = torch.where(wide, width, -1.0).argmax(1)
        order = torch.arange(len(waiting), device=chosen.device)
        ends, begins = places.halves(waiting.low[order, chosen], waiting.high[order, chosen])
        parts = waiting.take(order.repeat(2))
        parts.high[order, chosen] = ends
        parts.low[len(order) + order, chosen] = begins
        return parts

    def _let_go(self, waiting: Waiting, fall: Fall) -> list[Waiting]:
        """Each undecided pixel in turn moves, and none of those before it; or no further pixel moves at all."""
        top = fall.certain - fall.lowest
        total = torch.minimum(top.unsqueeze(-1), fall.bring + (top - fall.last).unsqueeze(-1))
        safe = self.bounds.safety * (fall.certain.abs() + top).unsqueeze(-1)
        possible = self._possible(fall.certain.unsqueeze(-1) - total - safe) & waiting.alive.unsqueeze(-1)
        candidates = possible.any(1) & waiting.undecided
        shown = torch.where(waiting.alive[:, self.goal_of].unsqueeze(-1), fall.bring, -1.0).amax(1)
        rank = torch.where(candidates, shown, -torch.inf).argsort(1, descending=True).argsort(1)
        node, pixel = torch.nonzero(candidates, as_tuple=True)
        later = candidates[node] & (rank[node] > rank[node, pixel][:, None])
        left = waiting.left[node] - 1
        moved = torch.nn.functional.one_hot(pixel, self.bounds.count).bool()
        later &= (left > 0)[:, None]
        stays = waiting.undecided[node] & ~later & ~moved
        parts = replace(waiting.take(node), undecided=later, left=left, alive=possible[node, :, pixel])
        parts = parts.staying(stays[:, self.pixel])
        none = replace(
            waiting, undecided=torch.zeros_like(waiting.undecided), left=torch.zeros_like(waiting.left),
            alive=waiting.alive & self._possible(fall.certain),
        ).staying(waiting.undecided[:, self.pixel])  # fmt: skip
        return [none.take(torch.nonzero(none.alive.any(1)).flatten()), *self._either_way(parts, pixel)]

    def _either_way(self, parts: Waiting, pixel: Tensor) -> list[Waiting]:
        """A pixel of one input that moves goes up or down: two parts. One of several inputs goes anywhere."""
        if not self.bounds.single:
            return [parts]
        order = torch.arange(len(parts), device=pixel.device)
        falls = torch.nonzero(parts.low[order, pixel] < 0).flatten()
        rises = torch.nonzero(parts.high[order, pixel] > 0).flatten()
        down, up = parts.take(falls), parts.take(rises)
        down.high[torch.arange(len(falls), device=pixel.device), pixel[falls]] = -self.places.beside()
        up.low[torch.arange(len(rises), device=pixel.device), pixel[rises]] = self.places.beside()
        return [down, up]
