"""The open nodes of a search, in preallocated arrays that grow by doubling."""

from __future__ import annotations

from dataclasses import fields
from typing import Generic, TypeVar

import numpy as np
import torch
from torch import Tensor

from bounds.nodes.records import Nodes
from encoders.arrays import IntArray

INFINITY = float("inf")
STORED = {
    "slope": torch.float32,
    "multiplier": torch.float32,
    "point": torch.float32,
}  # guidance only: any values are valid


N = TypeVar("N", bound=Nodes)

Taken = tuple[N, Tensor, Tensor]
"""Nodes with their bounds and the neurons to split at."""


class OpenNodes(Generic[N]):
    """Nodes with their proven distance bound and the neuron to split next. Free places carry the bound inf."""

    def __init__(self, like: N, capacity: int = 1024) -> None:
        self.bound = torch.full((capacity,), INFINITY, dtype=torch.float64)
        self.branch = torch.zeros(capacity, dtype=torch.int64)
        self.arrays: dict[str, Tensor] = {}
        self.kind = type(like)
        for field in fields(like):
            example = getattr(like, field.name)
            dtype = STORED.get(field.name, example.dtype)
            self.arrays[field.name] = torch.zeros((capacity, *example.shape[1:]), dtype=dtype)
        self.compute = like.slope.dtype
        self.device = like.slope.device

    def __len__(self) -> int:
        return int((self.bound < INFINITY).sum())

    @property
    def bytes(self) -> int:
        """What the open nodes take up."""
        each = sum(array[:1].numel() * array.element_size() for array in self.arrays.values())
        return len(self) * (each + self.bound.element_size() + self.branch.element_size())

    @property
    def lowest(self) -> float:
        """The least bound of an open node; inf when there is none."""
        return float(self.bound.min())

    @property
    def goal_of_lowest(self) -> int:
        """Which goal the node with the least bound belongs to."""
        return int(self.arrays["goal"][self.bound.argmin()])

    @property
    def share(self) -> float:
        """How much of the roots' trees is open, were trees even; a root counts as 1."""
        return float(self.arrays["share"][self.bound < INFINITY].sum())

    @property
    def least_row(self) -> float:
        """The least first row of an open node; inf when there is none."""
        return float(torch.where(self.bound < INFINITY, self.arrays["least"], INFINITY).min())

    @property
    def goals(self) -> IntArray:
        """The goals that have open nodes."""
        return np.unique(self.arrays["goal"][self.bound < INFINITY].numpy())

    def push(self, nodes: N, bound: Tensor, branch: Tensor) -> None:
        free = torch.nonzero(torch.isinf(self.bound)).flatten()
        while len(free) < len(nodes):
            self._grow()
            free = torch.nonzero(torch.isinf(self.bound)).flatten()
        place = free[: len(nodes)]
        self.bound[place] = bound.detach().cpu().double()
        self.branch[place] = branch.cpu()
        for name, array in self.arrays.items():
            array[place] = getattr(nodes, name).to(array.dtype).cpu()

    def pop_lowest(self, count: int) -> Taken[N]:
        """Take out the `count` nodes with the least bounds: nodes, bounds, branches."""
        count = min(count, len(self))
        bound, place = torch.topk(self.bound, count, largest=False)
        return self._take(place), bound, self.branch[place]

    def pop_least(self, count: int) -> Taken[N]:
        """Take out the `count` nodes whose first rows may be least: nodes, bounds, branches."""
        count = min(count, len(self))
        _, place = torch.topk(torch.where(self.bound < INFINITY, self.arrays["least"], INFINITY), count, largest=False)
        bound = self.bound[place]
        return self._take(place), bound, self.branch[place]

    def pop_highest(self, count: int) -> Taken[N]:
        """Take out the `count` nodes with the greatest bounds, which have the least below them."""
        count = min(count, len(self))
        height = torch.where(torch.isinf(self.bound), -INFINITY, self.bound)
        bound, place = torch.topk(height, count)
        return self._take(place), bound, self.branch[place]

    def drop_above(self, threshold: float) -> float:
        """Forget the nodes whose bound reached `threshold`; returns the least bound forgotten (inf if none)."""
        closed = (self.bound >= threshold) & (self.bound < INFINITY)
        if not bool(closed.any()):
            return INFINITY
        least = float(self.bound[closed].min())
        self.bound[closed] = INFINITY
        return least

    def pop_all(self) -> Taken[N]:
        return self.pop_lowest(len(self))

    def _take(self, place: Tensor) -> N:
        values = {}
        for name, array in self.arrays.items():
            value = array[place].to(self.device)
            values[name] = value.to(self.compute) if value.is_floating_point() else value
        self.bound[place] = INFINITY
        return self.kind(**values)

    def _grow(self) -> None:
        size = len(self.bound)
        self.bound = torch.cat([self.bound, torch.full((size,), INFINITY, dtype=torch.float64)])
        self.branch = torch.cat([self.branch, torch.zeros_like(self.branch)])
        self.arrays = {name: torch.cat([a, torch.zeros_like(a)]) for name, a in self.arrays.items()}
