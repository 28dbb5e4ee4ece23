"""The questions of several samples beside each other, as tensors: an attack walks towards all their goals at once.

The goals are counted through, sample after sample, and every sample has as many. Nothing a sample is given depends on
the others: it finds what it would find alone. One sample by itself is a batch of one, and pays nothing for it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bounds.attacks.problem import AttackOptions, AttackProblem, Candidates
from bounds.propagation.device_graph import DeviceGraph
from encoders.arrays import FloatArray
from encoders.deadline import out_of_time
from encoders.errors import SoundnessError
from encoders.question import Goal, Norm

MOST_SAMPLES = 64
MOST_VALUES = {"cpu": 2_000_000, "cuda": 200_000_000}  # of all neurons, in the rows of all samples


@dataclass(frozen=True, eq=False)
class AttackBatch:
    """Problems of one kind, with G goals in all."""

    problems: tuple[AttackProblem, ...]
    started: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        if len({problem.kind for problem in self.problems}) != 1:
            raise SoundnessError("attack problems of different kinds in one batch; report this as a bug")
        tensor, goals = self.device_graph.tensor, self.goals
        most = max((len(goal.rows) for goal in goals), default=0)
        # A goal with fewer rows repeats its first: the worst row is the same, and one tensor holds all goals.
        pick = [np.arange(most) * (np.arange(most) < len(goal.rows)) for goal in goals]
        rows = [goal.rows[chosen] for goal, chosen in zip(goals, pick, strict=True)]
        offset = [goal.offset[chosen] for goal, chosen in zip(goals, pick, strict=True)]
        regions = [problem.region for problem in self.problems]
        sides = ([r.center for r in regions], [r.lower for r in regions], [r.upper for r in regions])
        boxes = tuple(np.stack(side) for side in sides)
        most_of = [problem.most for problem in self.problems]
        reach_of = [region.reach(self.norm) for region in regions]
        set_ = object.__setattr__
        set_(self, "rows", tensor(np.array(rows).reshape(len(goals), most, self.device_graph.graph.classes)))
        set_(self, "offset", tensor(np.array(offset).reshape(len(goals), most)))
        set_(self, "targets", torch.tensor([goal.target for goal in goals], device=self.rows.device))
        set_(self, "boxes", boxes)
        for name, value in zip(("center", "lower", "upper", "most", "reach"), (*boxes, most_of, reach_of), strict=True):
            set_(self, name, tensor(value))

    rows: Tensor = field(init=False)  # [G, J, classes]
    offset: Tensor = field(init=False)  # [G, J]
    targets: Tensor = field(init=False)  # [G] the class of each goal
    boxes: tuple[FloatArray, FloatArray, FloatArray] = field(init=False)  # center, lower, upper
    center: Tensor = field(init=False)  # [samples, n]
    lower: Tensor = field(init=False)
    upper: Tensor = field(init=False)
    most: Tensor = field(init=False)  # [samples] the largest distance of interest
    reach: Tensor = field(init=False)  # [samples] the largest distance in the box

    @property
    def device_graph(self) -> DeviceGraph:
        return self.problems[0].device_graph

    @property
    def norm(self) -> Norm:
        return self.problems[0].norm

    @property
    def pixels(self) -> Tensor | None:
        """The pixel of each input, where L0 counts pixels."""
        pixels = self.problems[0].region.pixels
        return None if pixels is None else torch.as_tensor(pixels, device=self.rows.device)

    def length(self, difference: FloatArray) -> FloatArray:
        """The norm of each row of [..., n], in float64 as proofs measure it."""
        return self.problems[0].region.length(self.norm, difference)

    @property
    def options(self) -> AttackOptions:
        """Those of every sample, but for the time limit."""
        return self.problems[0].options

    @property
    def goals(self) -> tuple[Goal, ...]:
        return tuple(goal for problem in self.problems for goal in problem.goals)

    @property
    def each(self) -> int:
        """The goals of one sample."""
        return len(self.problems[0].goals)

    @property
    def time_left(self) -> float:
        """Seconds left, never negative: the batch may take what its samples would take one after the other."""
        if out_of_time():
            return 0.0
        limit = len(self.problems) * min(problem.limit for problem in self.problems)
        return max(0.0, limit - (time.monotonic() - self.started))

    def sample_of(self, goal: NDArray[np.int64]) -> NDArray[np.int64]:
        """Whose goals these are."""
        return goal // max(1, self.each)

    def runs(self, goal: Tensor) -> Runs:
        """A row for each entry of `goal`, to be walked towards that goal."""
        if len(self.problems) == 1:
            sample = torch.zeros(1, dtype=torch.int64, device=goal.device)
        else:
            sample = goal // max(1, self.each)
        return Runs(
            self, goal, self.rows[goal], self.offset[goal], self.center[sample], self.lower[sample],
            self.upper[sample], self.most[sample], self.reach[sample],
        )  # fmt: skip

    def every_goal(self, copies: int = 1) -> Runs:
        """Rows for all goals, `copies` in a row for each."""
        return self.runs(torch.arange(len(self.rows), device=self.rows.device).repeat_interleave(copies))

    def noise(self, generator: torch.Generator, *shape: int) -> Tensor:
        """Random numbers in [-1, 1) of this shape for each sample, one below the other: the same that it gets alone."""
        drawn = 2 * torch.rand(shape, generator=generator, dtype=torch.float64).to(self.center) - 1
        return drawn.repeat(len(self.problems), *(1 for _ in shape[1:]))

    def best_known(self, known: Candidates) -> tuple[Tensor, Tensor]:
        """The nearest candidate of each goal [G, n] and its distance; the center and inf where there is none."""
        best = self.every_goal().start.clone()
        distance = best.new_full((len(best),), torch.inf)
        nearest = known.nearest()
        best[nearest.goal] = self.device_graph.tensor(nearest.inputs)
        distance[nearest.goal] = self.device_graph.tensor(nearest.distances)
        return best, distance

    def joined(self, parts: Sequence[Candidates]) -> Candidates:
        """The candidates of each sample as those of the batch."""
        if len(parts) == 1:
            return parts[0]
        return Candidates.merged([
            Candidates(part.inputs, part.distances, part.goal + k * self.each, part.by) for k, part in enumerate(parts)
        ])  # fmt: skip

    def parted(self, found: Candidates) -> list[Candidates]:
        """The other way round: each sample's candidates, with its own count of goals."""
        if len(self.problems) == 1:
            return [found]
        parts = []
        for k in range(len(self.problems)):
            own = found.take(self.sample_of(found.goal) == k)
            parts.append(Candidates(own.inputs, own.distances, own.goal - k * self.each, own.by))
        return parts


@dataclass(frozen=True, eq=False)
class Runs:
    """B inputs, each on its way to one goal of a batch; what belongs to samples is [1, ...] where there is but one."""

    batch: AttackBatch
    goal: Tensor  # [B]
    rows: Tensor  # [B, J, classes]
    offset: Tensor  # [B, J]
    center: Tensor  # [B, n] or [1, n]
    lower: Tensor
    upper: Tensor
    most: Tensor  # [B] or [1] the largest distance of interest
    reach: Tensor  # [B] or [1] the largest distance in the box

    def __len__(self) -> int:
        return len(self.goal)

    @property
    def norm(self) -> Norm:
        return self.batch.norm

    @property
    def start(self) -> Tensor:
        """The center of each row [B, n]."""
        return self.center.expand(len(self), -1)

    def clip(self, x: Tensor) -> Tensor:
        """The nearest point of the box; what may not move is put back."""
        return torch.minimum(torch.maximum(x, self.lower), self.upper)

    def length(self, x: Tensor) -> Tensor:
        """Distance of each row of x from its center."""
        return lengths(x - self.center, self.norm, self.batch.pixels)

    def worst(self, x: Tensor) -> Tensor:
        """The largest row value of the goals at x [..., B, n]: an adversary iff that is at most zero."""
        return self.worst_of(self.batch.device_graph.forward(x.reshape(-1, x.shape[-1])).reshape(*x.shape[:-1], -1))

    def worst_of(self, scores: Tensor) -> Tensor:
        """The same for scores [..., B, classes]."""
        return self.row_values(scores).max(dim=-1).values

    def row_values(self, scores: Tensor) -> Tensor:
        """Every row's value [..., B, J] for scores [..., B, classes]."""
        return (self.rows @ scores.unsqueeze(-1)).squeeze(-1) + self.offset

    def linearised(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The worst row value at each x [B], and its gradient [B, n]."""
        device_graph = self.batch.device_graph
        with torch.no_grad():
            values = device_graph.values(x)
            value, row = self.row_values(values[-1]).max(dim=-1)
            gradient = device_graph.gradient(values, self.rows[torch.arange(len(row), device=row.device), row])
        return value, gradient.nan_to_num()

    def proposals(self, x: Tensor, distance: Tensor) -> Candidates:
        """The rows of x [B, n] that have a finite distance, as candidates still to be checked."""
        hit = distance.isfinite()
        inputs = x[hit].cpu().numpy().astype(np.float64)
        distances = self.batch.length(inputs - self.start[hit].cpu().numpy())
        return Candidates(inputs, distances, self.goal[hit].cpu().numpy())


def fitting(device_graph: DeviceGraph, goals: int, options: AttackOptions) -> int:
    """How many samples with so many goals a batch holds: beyond that a device is busy, and only memory grows."""
    values = max(1, goals, options.restarts) * sum(node.size for node in device_graph.graph.nodes)
    return max(1, min(MOST_SAMPLES, MOST_VALUES[device_graph.device.type] // values))


def lengths(difference: Tensor, norm: Norm, pixels: Tensor | None = None) -> Tensor:
    """Norm of each row of [..., n]; in L0 the inputs that differ, or of `pixels` [n] those with one that does."""
    if norm is Norm.L0:
        moved = (difference != 0).to(difference.dtype)
        if pixels is not None:
            none = moved.new_zeros(*moved.shape[:-1], int(pixels.max()) + 1)
            moved = none.index_add(-1, pixels, moved).clamp_max(1.0)
        return moved.sum(-1)
    if norm is Norm.LINF:
        return difference.abs().amax(-1)
    return difference.abs().sum(-1) if norm is Norm.L1 else difference.square().sum(-1).sqrt()
