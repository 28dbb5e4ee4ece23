"""Which sum of a case's rows says most: where all rows hold, so does every sum of them with shares that add up to one.

Each row alone can be negative somewhere in a box while no input has all of them so. The shares are those that raise
the least value of the rows' linear functions most, by steps of multiplicative weights. Any shares are valid.
"""

from __future__ import annotations

import torch
from torch import Tensor

STEPS = 12
RATE = 1.5  # of the first step; the k-th is that over the root of k


def mixture(normal: Tensor, value: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    """Shares [B, cases, J] of functions normal [B, cases, J, n], value [B, cases, J] over boxes [B, n]."""
    low, high = lower.unsqueeze(1), upper.unsqueeze(1)
    share = torch.full_like(value, 1.0 / value.shape[2])
    best, highest = share, torch.full_like(value[..., 0], -torch.inf)
    for step in range(1, STEPS + 1):
        slope = (share.unsqueeze(2) @ normal).squeeze(2)
        there = torch.where(slope > 0, low, high)
        values = (normal @ there.unsqueeze(3)).squeeze(3) + value
        least = (share * values).sum(2)
        best = torch.where((least > highest).unsqueeze(2), share, best)
        highest = torch.maximum(highest, least)
        size = values.abs().amax(2, keepdim=True).clamp_min(1e-300)
        share = (share.log() + RATE / step**0.5 * values / size).softmax(2)
    return best.nan_to_num(nan=0.0)
