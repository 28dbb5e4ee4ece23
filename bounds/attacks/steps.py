"""Steps that attacks share: the steepest of a norm, and the way back into ball and box.

The step is the steepest one of the norm: the signs for L∞, the gradient's direction for L2, the few entries that
promise most for L1.
"""

from __future__ import annotations

import torch
from torch import Tensor

from bounds.attacks.base import Runs
from bounds.attacks.batch import lengths
from encoders.question import Norm

SPARSITY = 0.05  # share of the entries that an L1 step moves


def steepest(runs: Runs, x: Tensor, gradient: Tensor, entries: Tensor | None = None) -> Tensor:
    """The step of length one that raises the linear function most, of the entries that are not at their side yet."""
    stuck = ((gradient > 0) & (x <= runs.lower)) | ((gradient < 0) & (x >= runs.upper))
    return steepest_direction(gradient * ~stuck, runs.norm, entries)


def steepest_direction(gradient: Tensor, norm: Norm, entries: Tensor | None = None) -> Tensor:
    """The step of length one that raises the linear function most; in L1, of the few `entries` [B] that raise it most.

    Without `entries`, those are a fixed share of all.
    """
    if norm is Norm.LINF:
        return gradient.sign()
    if norm is Norm.L1:
        if entries is None:
            most = max(1, int(SPARSITY * gradient.shape[1]))
            least = gradient.abs().topk(most, dim=1).values[:, -1:]
        else:
            ordered = gradient.abs().sort(dim=1, descending=True).values
            least = ordered.gather(1, entries.clamp(1, ordered.shape[1]).unsqueeze(1) - 1)
        gradient = gradient.sign() * (gradient.abs() >= least)
    return gradient / lengths(gradient, norm).clamp_min(1e-30).unsqueeze(1)


def project(runs: Runs, x: Tensor, radius: Tensor) -> Tensor:
    """A point of box ∩ ball near x: clipped to the box first, which never brings a point farther from the center."""
    difference = into_ball(runs.clip(x) - runs.center, radius, runs.norm)
    return runs.clip(runs.center + difference)


def into_ball(difference: Tensor, radius: Tensor, norm: Norm) -> Tensor:
    """The nearest point (in L2) of the ball around zero, for each row of [B, n]."""
    radius = radius.unsqueeze(1)
    if norm is Norm.LINF:
        return torch.minimum(torch.maximum(difference, -radius), radius)
    if norm is Norm.L2:
        return difference * (radius / lengths(difference, norm).unsqueeze(1).clamp_min(1e-30)).clamp_max(1.0)
    # Soft thresholding, at the level where the entries left over sum to the radius.
    ordered = difference.abs().sort(dim=1, descending=True).values
    ranks = torch.arange(1, ordered.shape[1] + 1, device=difference.device)
    level = ((ordered.cumsum(1) - radius) / ranks).amax(dim=1, keepdim=True).clamp_min(0.0)
    return difference.sign() * (difference.abs() - level).clamp_min(0.0)
