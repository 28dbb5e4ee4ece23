"""Eigenvalues of symmetric matrices: estimates by Lanczos, and numbers proven by a Cholesky factor's residual."""

from __future__ import annotations

import torch
from torch import Tensor

from bounds.lowered import UNIT_ROUNDOFF, gamma

MARGINS = (1e-4, 1e-3, 1e-2, 0.1, 1.0)  # of the size: above what is near, until there is a factor
LEAST = 1e-200


def no_eigenvalue_above(matrix: Tensor, near: Tensor, size: Tensor, lost: Tensor) -> Tensor:
    """[N] numbers that no eigenvalue of symmetric matrices [N, R, R] exceeds; inf where none was found.

    `near` is about where they should lie, and they are looked for above it in steps of `size`. The matrices meant may
    differ from those given by `lost` in norm. The factor of c·I - matrix is not believed: what it misses is added.
    """
    found = torch.full_like(near, torch.inf)
    identity = torch.eye(matrix.shape[1], dtype=matrix.dtype, device=matrix.device)
    widest = matrix.diagonal(dim1=1, dim2=2).abs().sum(-1)
    for margin in MARGINS:
        left = torch.nonzero(torch.isinf(found)).flatten()
        if not len(left):
            break
        top = near[left] + margin * size[left]
        gap = top[:, None, None] * identity - matrix[left]
        factor, info = torch.linalg.cholesky_ex(gap)
        missed = (gap - factor @ factor.transpose(1, 2)).square().sum((1, 2)).sqrt()
        own = factor.square().sum((1, 2)) + widest[left] + top.abs()
        error = missed * (1.0 + 1e-6) + 4.0 * gamma(2 * matrix.shape[1]) * own + lost[left] * (1.0 + 1e-6)
        total = top + error + 8.0 * UNIT_ROUNDOFF * (top.abs() + error)
        found[left] = torch.where((info == 0) & torch.isfinite(total), total, torch.inf)
    return found


def about_greatest(matrix: Tensor, steps: int = 24) -> Tensor:
    """[N] nearly the greatest eigenvalue of symmetric matrices [N, R, R], from below, by Lanczos' method."""
    size = matrix.shape[1]
    if not size:
        return matrix.new_zeros(len(matrix))
    vector = torch.linspace(1.0, 2.0, size, dtype=matrix.dtype, device=matrix.device).cos().expand(len(matrix), size)
    vector = vector / vector.norm(dim=-1, keepdim=True)
    before, beta = torch.zeros_like(vector), matrix.new_zeros(len(matrix))
    steps = min(steps, size)
    band = matrix.new_zeros(len(matrix), steps, steps)
    for step in range(steps):
        after = (matrix @ vector.unsqueeze(-1)).squeeze(-1) - beta.unsqueeze(-1) * before
        alpha = (after * vector).sum(-1)
        band[:, step, step] = alpha
        after = after - alpha.unsqueeze(-1) * vector
        beta = after.norm(dim=-1)
        if step + 1 < steps:
            band[:, step, step + 1] = band[:, step + 1, step] = beta
        before, vector = vector, after / beta.unsqueeze(-1).clamp_min(LEAST)
    band = torch.where(torch.isfinite(band).all((1, 2), keepdim=True), band, 0.0)
    greatest: Tensor = torch.linalg.eigvalsh(band)[:, -1]
    return greatest
