"""What every attack shares: the question as tensors, the options, and the check that nothing gets past.

An attack only proposes. `Attack.run` clips its proposals to the box, pulls each along its segment to the center until
it lies on the boundary of its goal, and evaluates it again in float64: what does not hold is dropped.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bounds.lowered import Lowered
from encoders.errors import OptionError, SoundnessError
from encoders.linear_maps import FloatArray
from encoders.question import CONVEX, Goal, Norm, Region

BOUNDARY_STEPS = 14
CLAIM_TOLERANCE = 1e-9  # relative; a norm summed in another order is not a false claim


@dataclass(frozen=True)
class AttackOptions:
    """How hard to try: `time_limit` in seconds, `restarts` random starts for the nearest goals, `steps` per start.

    `polish`: how many of the portfolio's candidates are walked through how many linear pieces, field after field.
    """

    seed: int = 0
    time_limit: float | None = None
    restarts: int = 32
    steps: int = 24
    polish: tuple[tuple[int, int], ...] = ((8, 3), (2, 12))

    def __post_init__(self) -> None:
        if self.time_limit is not None and not self.time_limit >= 0:
            raise OptionError(f"attack time limit {self.time_limit}: give a number of seconds, zero or more")
        if self.restarts < 0:
            raise OptionError(f"attack restarts {self.restarts}: give a whole number, zero or more")
        if self.steps < 1:
            raise OptionError(f"attack steps {self.steps}: give a whole number, one or more")


@dataclass(frozen=True, eq=False)
class Candidates:
    """Adversaries [B, n] with their distances and the positions of their goals, nearest first."""

    inputs: FloatArray
    distances: FloatArray
    goal: NDArray[np.int64]

    @classmethod
    def none(cls, size: int) -> Candidates:
        """No candidate at all, of inputs with `size` entries."""
        return cls(np.zeros((0, size)), np.zeros(0), np.zeros(0, dtype=np.int64))

    @classmethod
    def merged(cls, parts: Sequence[Candidates]) -> Candidates:
        """All of the parts' candidates, nearest first."""
        distances = np.concatenate([part.distances for part in parts])
        order = np.argsort(distances, kind="stable")
        inputs = np.concatenate([part.inputs for part in parts])[order]
        return cls(inputs, distances[order], np.concatenate([part.goal for part in parts])[order])

    def nearest(self) -> Candidates:
        """The nearest candidate of each goal that has one."""
        _, first = np.unique(self.goal, return_index=True)
        first = np.sort(first)
        return Candidates(self.inputs[first], self.distances[first], self.goal[first])


@dataclass(frozen=True, eq=False)
class AttackProblem:
    """The question on a device: x is near `center`, in the box, and every row of its goal is at most zero."""

    lowered: Lowered
    region: Region
    norm: Norm
    goals: tuple[Goal, ...]
    radius: float
    options: AttackOptions
    started: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        tensor = self.lowered.tensor
        most = max((len(goal.rows) for goal in self.goals), default=0)
        # A goal with fewer rows repeats its first: the worst row is the same, and one tensor holds all goals.
        pick = [np.arange(most) * (np.arange(most) < len(goal.rows)) for goal in self.goals]
        rows = [goal.rows[chosen] for goal, chosen in zip(self.goals, pick, strict=True)]
        offset = [goal.offset[chosen] for goal, chosen in zip(self.goals, pick, strict=True)]
        classes = self.lowered.graph.classes
        object.__setattr__(self, "rows", tensor(np.array(rows).reshape(len(rows), most, classes)))
        object.__setattr__(self, "offset", tensor(np.array(offset).reshape(len(rows), most)))
        object.__setattr__(self, "center", tensor(self.region.center))
        object.__setattr__(self, "lower", tensor(self.region.lower))
        object.__setattr__(self, "upper", tensor(self.region.upper))

    rows: Tensor = field(init=False)  # [goals, J, classes]
    offset: Tensor = field(init=False)  # [goals, J]
    center: Tensor = field(init=False)  # [n]
    lower: Tensor = field(init=False)
    upper: Tensor = field(init=False)

    @property
    def time_left(self) -> float:
        """Seconds left, never negative; infinite without a limit."""
        limit = self.options.time_limit
        return float("inf") if limit is None else max(0.0, limit - (time.monotonic() - self.started))

    def clip(self, x: Tensor) -> Tensor:
        """The nearest point of the box; what may not move is put back."""
        return torch.minimum(torch.maximum(x, self.lower), self.upper)

    def length(self, x: Tensor) -> Tensor:
        """Distance of each row of x from the center."""
        return lengths(x - self.center, self.norm)

    def best_known(self, known: Candidates) -> tuple[Tensor, Tensor]:
        """The nearest candidate of each goal [goals, n] and its distance; the center and inf where there is none."""
        count = len(self.goals)
        best = self.center.expand(count, -1).clone()
        distance = best.new_full((count,), torch.inf)
        nearest = known.nearest()
        best[nearest.goal] = self.lowered.tensor(nearest.inputs)
        distance[nearest.goal] = self.lowered.tensor(nearest.distances)
        return best, distance

    def proposals(self, x: Tensor, distance: Tensor, goal: Tensor) -> Candidates:
        """The rows of x [B, n] that have a finite distance, as candidates still to be checked."""
        hit = distance.isfinite()
        inputs = x[hit].cpu().numpy().astype(np.float64)
        distances = self.norm.length(inputs - self.region.center)
        return Candidates(inputs, distances, goal[hit].cpu().numpy())

    def worst(self, x: Tensor, goal: Tensor) -> Tensor:
        """The largest row value of each input's goal [B]: it is an adversary iff that is at most zero."""
        return self.worst_of(self.lowered.forward(x), goal)

    def worst_of(self, scores: Tensor, goal: Tensor) -> Tensor:
        """The same for scores [B, classes]."""
        return ((self.rows[goal] @ scores.unsqueeze(-1)).squeeze(-1) + self.offset[goal]).max(dim=1).values

    def linearised(self, x: Tensor, goal: Tensor) -> tuple[Tensor, Tensor]:
        """The worst row value at each x [B], and its gradient [B, n]."""
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            value = self.worst(x, goal)
            (gradient,) = torch.autograd.grad(value.sum(), x)
        return value.detach(), gradient.nan_to_num()


def lengths(difference: Tensor, norm: Norm) -> Tensor:
    """Norm of each row of [..., n]."""
    if norm is Norm.LINF:
        return difference.abs().amax(-1)
    return difference.abs().sum(-1) if norm is Norm.L1 else difference.square().sum(-1).sqrt()


class Attack(ABC):
    """One technique that looks for near adversaries of every goal at once.

    `norms` are those that it was made for; it runs in any, and is always measured in the question's.
    """

    name: ClassVar[str]
    norms: ClassVar[frozenset[Norm]] = frozenset(CONVEX)

    @abstractmethod
    def search(self, problem: AttackProblem, known: Candidates) -> Candidates:
        """Propose inputs with the distances that they are claimed to have; `known` are checked adversaries."""

    @torch.no_grad()
    def run(self, problem: AttackProblem, known: Candidates | None = None) -> Candidates:
        """The proposals that hold, on the boundary, nearest first."""
        nothing = Candidates.none(problem.region.center.size)
        if not problem.goals:
            return nothing
        proposed = self.search(problem, nothing if known is None else known)
        return checked(problem, proposed, self.name)


@torch.no_grad()
def checked(problem: AttackProblem, proposed: Candidates, name: str) -> Candidates:
    """The proposals, clipped, moved to the boundary, and measured; those that are no adversaries dropped."""
    region, norm = problem.region, problem.norm
    finite = np.isfinite(proposed.inputs).all(axis=1)
    inputs, goal = proposed.inputs[finite], proposed.goal[finite]
    measured = norm.length(np.clip(inputs, region.lower, region.upper) - region.center)
    if (proposed.distances[finite] < measured * (1.0 - CLAIM_TOLERANCE) - 1e-12).any():
        raise SoundnessError(f"attack {name} claims a distance that its input does not have; report this as a bug")
    points, kinds = problem.clip(problem.lowered.tensor(inputs)), torch.as_tensor(goal, device=problem.center.device)
    points = to_boundary(problem, points, kinds)
    holds = (problem.worst(points, kinds) <= 0).cpu().numpy() if len(goal) else np.zeros(0, dtype=bool)
    inputs, goal = points.cpu().numpy()[holds], goal[holds]
    distances = norm.length(inputs - region.center)
    order = np.argsort(distances, kind="stable")
    return Candidates(inputs[order], distances[order], goal[order])


@torch.no_grad()
def to_boundary(problem: AttackProblem, points: Tensor, goal: Tensor) -> Tensor:
    """Each adversary moved towards the center for as long as it stays one; what is none stays where it is.

    Along the segment the net is piecewise linear: a secant step, set a hair on the holding side, is exact as soon as
    one piece is left; bisection in between makes sure that the bracket shrinks.
    """
    if not len(points):
        return points
    direction = points - problem.center
    best, value = points, problem.worst(points, goal)
    holds = value <= 0
    high, high_value = torch.ones_like(value), value
    low, low_value = torch.zeros_like(value), problem.worst(problem.center.expand(len(points), -1), goal)
    best = torch.where((holds & (low_value <= 0)).unsqueeze(1), problem.center, best)
    open_rows = holds & (low_value > 0)
    for step in range(BOUNDARY_STEPS):
        share = low_value / (low_value - high_value) if step % 2 == 0 else torch.full_like(low, 0.5)
        share = share.nan_to_num(0.5).clamp(0.0, 1.0)
        share = share + 1e-7 * (1.0 - share)
        middle = low + share * (high - low)
        tried = problem.clip(problem.center + middle.unsqueeze(1) * direction)
        value = problem.worst(tried, goal)
        won = open_rows & (value <= 0)
        best = torch.where(won.unsqueeze(1), tried, best)
        high, high_value = torch.where(won, middle, high), torch.where(won, value, high_value)
        lost = open_rows & ~won
        low, low_value = torch.where(lost, middle, low), torch.where(lost, value, low_value)
    return best
