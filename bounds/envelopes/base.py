"""Upper lines of open neurons that know the ball, where a chord knows only how far inputs can push one neuron.

One module for each kind of ball: `cube_envelope.py` in L∞, `simplex_envelope.py` in L1.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Self

from torch import Tensor

from bounds.geometry.relu_over_simplex import Above
from bounds.propagation.sample_groups import Grouping


@dataclass(frozen=True, eq=False)
class Tangents:
    """One upper line for each of R neurons and N nodes."""

    value: Tensor  # [N, R] of the lines at the nodes' points, nearly: it only says which line is lower

    def take(self, index: Tensor) -> Self:
        return type(self)(*(value[index] for value in vars(self).values()))


@dataclass(frozen=True, eq=False)
class UpperLines(ABC):
    """Linear functions above weighted sums of some neurons of a stack, which hold on each net's ball in the box."""

    neurons: Tensor  # [R]

    @abstractmethod
    def lines(self, group: Grouping, tangents: Any, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Below Σ weight · relu, weights [N, R] ≤ 0: the input's normal [N, n], the value at zero, and its error."""


@dataclass(frozen=True, eq=False)
class Envelope(UpperLines):
    """A line for each neuron."""

    down: Tensor  # [S, n] how far inputs can go
    up: Tensor

    @property
    def everywhere(self) -> Above | None:
        """A line for each neuron that does well everywhere, if there is one."""
        return None

    @abstractmethod
    def on(self, chosen: Tensor) -> Self:
        """Of these of its neurons only."""

    @abstractmethod
    def at(self, group: Grouping, point: Tensor) -> Tangents:
        """The least lines at points d [N, n]."""
