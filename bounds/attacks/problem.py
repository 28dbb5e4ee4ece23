"""What an attack is asked about one sample, how hard it is to try, and what it may find."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from bounds.propagation.device_graph import DeviceGraph
from encoders.arrays import FloatArray
from encoders.question import Goal, Norm, Region
from encoders.validation import Natural, NaturalWithZero, Seconds, Whole, validated


@validated
class AttackOptions:
    """How hard to try: `time_limit` in seconds, `restarts` random starts for the nearest goals, `steps` per start.

    `polish`: how many of the portfolio's candidates are walked through how many linear pieces, field after field.
    """

    seed: Whole = 0
    time_limit: Seconds | None = None
    restarts: NaturalWithZero = 32
    steps: Natural = 24
    polish: tuple[tuple[int, int], ...] = ((8, 3), (2, 12))


@dataclass(frozen=True, eq=False)
class Candidates:
    """Adversaries [B, n] with their distances and the positions of their goals, nearest first; `by` which attacks."""

    inputs: FloatArray
    distances: FloatArray
    goal: NDArray[np.int64]
    by: NDArray[np.str_] = field(default_factory=lambda: np.zeros(0, dtype=np.str_))

    def __post_init__(self) -> None:
        if len(self.by) != len(self.distances):  # nobody yet
            object.__setattr__(self, "by", np.full(len(self.distances), ""))

    @classmethod
    def none(cls, size: int) -> Candidates:
        """No candidate at all, of inputs with `size` entries."""
        return cls(np.zeros((0, size)), np.zeros(0), np.zeros(0, dtype=np.int64))

    @classmethod
    def merged(cls, parts: Sequence[Candidates]) -> Candidates:
        """All of the parts' candidates, nearest first."""
        distances = np.concatenate([part.distances for part in parts])
        order = np.argsort(distances, kind="stable")
        inputs, goal, by = (
            np.concatenate([getattr(part, name) for part in parts])[order] for name in ("inputs", "goal", "by")
        )
        return cls(inputs, distances[order], goal, by)

    def nearest(self) -> Candidates:
        """The nearest candidate of each goal that has one."""
        _, first = np.unique(self.goal, return_index=True)
        return self.take(np.sort(first))

    def take(self, chosen: NDArray[np.int64] | NDArray[np.bool_]) -> Candidates:
        """Some of the candidates, in this order."""
        return Candidates(self.inputs[chosen], self.distances[chosen], self.goal[chosen], self.by[chosen])


@dataclass(frozen=True, eq=False)
class AttackProblem:
    """One sample's question: x is near the region's center, in its box, and every row of a goal is at most zero."""

    device_graph: DeviceGraph
    region: Region
    norm: Norm
    goals: tuple[Goal, ...]
    radius: float
    options: AttackOptions

    @property
    def kind(self) -> tuple[object, ...]:
        """Problems of one kind fit into one batch."""
        pixels = self.region.pixels
        counted = None if pixels is None else pixels.tobytes()
        return self.device_graph, self.norm, counted, len(self.goals), replace(self.options, time_limit=None)

    @property
    def limit(self) -> float:
        """Seconds allowed; infinite without a limit."""
        return float("inf") if self.options.time_limit is None else self.options.time_limit

    @property
    def most(self) -> float:
        """The largest distance of interest."""
        return min(self.radius, self.region.reach(self.norm))

    def after(self, seconds: float) -> AttackProblem:
        """The same with so many seconds less."""
        if self.options.time_limit is None:
            return self
        return replace(self, options=replace(self.options, time_limit=max(0.0, self.limit - seconds)))
