"""Rows of several samples in one batch: which sample each belongs to, and products with what is the sample's own."""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor


class Grouping:
    """M rows of S samples; `member` [M] names each row's. Where S is 1 everything broadcasts, and nothing is copied."""

    def __init__(self, count: int, member: Tensor) -> None:
        self.count, self.member = count, member
        self.alone = count == 1

    @classmethod
    def one(cls, rows: Tensor) -> Grouping:
        """All of these rows belong to one sample."""
        return cls(1, torch.zeros(len(rows), dtype=torch.int64, device=rows.device))

    @cached_property
    def slots(self) -> tuple[int, Tensor]:
        """The most rows of any sample, and each row's number among those of its own."""
        samples = torch.arange(self.count, device=self.member.device)
        order = (self.member.unsqueeze(-1) == samples).cumsum(0)
        most = int(order[-1].max()) if len(self.member) else 0
        return most, order.gather(1, self.member.unsqueeze(-1)).squeeze(-1) - 1

    @cached_property
    def place(self) -> Tensor:
        """Where each row stands in [S · most], sample after sample."""
        most, slot = self.slots
        return self.member * most + slot

    def spread(self, rows: Tensor) -> Tensor:
        """[M, ...] as [S, most, ...], zeros where a sample has fewer rows."""
        if self.alone:
            return rows.unsqueeze(0)
        most = self.slots[0]
        wide = rows.new_zeros(self.count * most, *rows.shape[1:])
        wide[self.place] = rows
        return wide.view(self.count, most, *rows.shape[1:])

    def each(self, wide: Tensor) -> Tensor:
        """[S, most, ...] as [M, ...]: what `spread` did, undone."""
        return wide[0] if self.alone else wide.flatten(0, 1)[self.place]

    def of(self, values: Tensor) -> Tensor:
        """[S, ...] as [M, ...]; of one sample it is left to broadcast."""
        return values if self.alone else values[self.member]

    def times(self, a: Tensor, matrix: Tensor) -> Tensor:
        """[M, K] · [S, K, L], each row by its sample's matrix."""
        return a @ matrix[0] if self.alone else self.each(self.spread(a) @ matrix)

    def dot(self, a: Tensor, vector: Tensor) -> Tensor:
        """[M, K] · [S, K], a number for each row."""
        return a @ vector[0] if self.alone else (a * vector[self.member]).sum(-1)
