"""Where single inputs can be: at whole steps of a grid, or anywhere; how a range of that is halved and offered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from encoders.arrays import FloatArray, IntArray
from encoders.grid import Grid
from encoders.question import Region
from verifier.question.grid_incumbent import GridIncumbent
from verifier.question.incumbent import Incumbent

NARROWEST = 1e-7  # a range of shifts below this is not halved any more


class Places(Protocol):
    """Ranges are tensors [N, n] of the inputs that may move: of steps, or of shifts."""

    def root(self) -> tuple[Tensor, Tensor]:
        """The ends of all that the inputs can do, [1, n]."""

    def shift(self, place: Tensor) -> Tensor:
        """How far from the sample a place is."""

    def wide(self, low: Tensor, high: Tensor) -> Tensor:
        """Which ranges can be halved."""

    def halves(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        """Where the lower half ends and the upper half begins."""

    def beside(self) -> float:
        """The least place above the sample's own, or its own where there is none."""

    def offer(self, place: Tensor) -> bool:
        """Replay points; True if one is the nearest adversary so far."""


@dataclass(frozen=True, eq=False)
class GridPlaces:
    """Whole steps of a grid."""

    grid: Grid
    incumbent: GridIncumbent
    moving: IntArray
    device: torch.device

    def root(self) -> tuple[Tensor, Tensor]:
        low, high = self.grid.down[None, self.moving], self.grid.up[None, self.moving]
        return torch.as_tensor(low, device=self.device), torch.as_tensor(high, device=self.device)

    def shift(self, place: Tensor) -> Tensor:
        moved = self.grid.corner(self._every(place)) - self.grid.center
        return torch.as_tensor(moved[:, self.moving], device=self.device)

    def wide(self, low: Tensor, high: Tensor) -> Tensor:
        return high > low

    def halves(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        middle = torch.div(low + high, 2, rounding_mode="floor")
        return middle, middle + 1

    def beside(self) -> float:
        return 1

    def offer(self, place: Tensor) -> bool:
        return self.incumbent.offer_steps(self._every(place), "subsets")

    def _every(self, place: Tensor) -> IntArray:
        every = np.zeros((len(place), len(self.grid.home)), dtype=np.int64)
        every[:, self.moving] = place.cpu().numpy()
        return every


@dataclass(frozen=True, eq=False)
class OpenPlaces:
    """Anywhere in the box: a place is a shift."""

    region: Region
    incumbent: Incumbent
    moving: IntArray
    device: torch.device

    def root(self) -> tuple[Tensor, Tensor]:
        region = self.region
        # Rounded outward: nextafter of a difference of float64 numbers is beyond the difference.
        low = np.where(region.lower < region.center, np.nextafter(region.lower - region.center, -np.inf), 0.0)
        high = np.where(region.upper > region.center, np.nextafter(region.upper - region.center, np.inf), 0.0)
        return (
            torch.as_tensor(low[None, self.moving], device=self.device),
            torch.as_tensor(high[None, self.moving], device=self.device),
        )

    def shift(self, place: Tensor) -> Tensor:
        return place

    def wide(self, low: Tensor, high: Tensor) -> Tensor:
        return high - low > NARROWEST

    def halves(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        middle = (low + high) / 2
        return middle, middle

    def beside(self) -> float:
        return 0.0

    def offer(self, place: Tensor) -> bool:
        every = np.zeros((len(place), len(self.region.center)))
        every[:, self.moving] = place.cpu().numpy()
        points: FloatArray = self.region.center + every
        return self.incumbent.offer(points, "subsets")
