"""Eigenvalues of symmetric matrices: estimates by Lanczos, and numbers proven by a Cholesky factor's residual."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from bounds.rounding import UNIT_ROUNDOFF, gamma
from encoders.deadline import look

MARGINS = (1e-4, 1e-3, 1e-2, 0.1, 1.0)  # of the size: above what is near, until there is a factor
LEAST = 1e-200
ABOVE, INVERSE_STEPS = 3.0, 12  # times what is near, for a first factor; steps with its inverse
FIRST_STEPS, PAYMENTS = 30, 8  # to the first eigenvalues that are paid for; rounds of payments
LEAST_TOP = 1e-6  # where a factor is looked for
STRIP = 256  # rows of a residual at a time: above the diagonal there is nothing to see


def no_eigenvalue_above(matrix: Tensor, near: Tensor, size: Tensor, lost: Tensor) -> Tensor:
    """[N] numbers that no eigenvalue of symmetric matrices [N, R, R] exceeds; inf where none was found.

    `near` is about where they should lie, and they are looked for above it in steps of `size`. The matrices meant may
    differ from those given by `lost` in norm. The factor of c·I - matrix is not believed: what it misses is added.
    """
    found = torch.full_like(near, torch.inf)
    widest = matrix.diagonal(dim1=1, dim2=2).abs().sum(-1)
    for margin in MARGINS:
        left = torch.nonzero(torch.isinf(found)).flatten()
        if not len(left):
            break
        look()
        top = near[left] + margin * size[left]
        gap = _gap(matrix[left], top)
        factor, info = torch.linalg.cholesky_ex(gap)
        if not bool((info == 0).any()):
            continue
        own = factor.square().sum((1, 2)) + widest[left] + matrix.shape[1] * top.abs()
        error = _missed(gap, factor) * (1.0 + 1e-6) + 4.0 * gamma(2 * matrix.shape[1]) * own + lost[left] * (1.0 + 1e-6)
        total = top + error + 8.0 * UNIT_ROUNDOFF * (top.abs() + error)
        found[left] = torch.where((info == 0) & torch.isfinite(total), total, torch.inf)
    return found


def closer_greatest(matrix: Tensor, near: Tensor) -> Tensor:
    """[N] nearly the greatest eigenvalue of symmetric matrices [N, R, R], where many lie close: Lanczos' method on the
    inverse of c·I - matrix, from a factor at some c above `near` > 0; `near` where there is none."""
    top = ABOVE * near
    factor, info = torch.linalg.cholesky_ex(_gap(matrix, top))
    band, _ = _lanczos(lambda vector: torch.cholesky_solve(vector, factor), matrix[:, 0], INVERSE_STEPS)
    found = top - 1.0 / torch.linalg.eigvalsh(band)[:, -1].clamp_min(torch.finfo(band.dtype).tiny)
    return torch.where((info == 0) & (found > near), found, near)


def _gap(matrix: Tensor, top: Tensor) -> Tensor:
    """top·I - matrix."""
    gap = -matrix
    gap.diagonal(dim1=1, dim2=2).add_(top.unsqueeze(-1))
    return gap


def _missed(gap: Tensor, factor: Tensor) -> Tensor:
    """[N] at least the norm of gap - factor · factorᵀ, by the lower halves; what lies on the diagonal counts twice."""
    squares = gap.new_zeros(len(gap))
    for first in range(0, gap.shape[1], STRIP):
        look()
        own = slice(first, min(first + STRIP, gap.shape[1]))
        before = slice(0, own.stop)
        part = gap[:, own, before] - factor[:, own, before] @ factor[:, before, before].transpose(1, 2)
        squares = squares + 2.0 * part.square().sum((1, 2))
    return squares.sqrt()


def about_greatest(matrix: Tensor, steps: int = 24) -> Tensor:
    """[N] nearly the greatest eigenvalue of symmetric matrices [N, R, R], from below, by Lanczos' method."""
    if not matrix.shape[1]:
        return matrix.new_zeros(len(matrix))
    greatest: Tensor = torch.linalg.eigvalsh(_lanczos(matrix.matmul, matrix[:, 0], steps)[0])[:, -1]
    return greatest


def taken_where_cheap(matrix: Tensor, cost: Tensor, enough: float) -> Tensor:
    """[N, R] what to take off the diagonals of symmetric matrices [N, R, R], where a unit of it costs `cost` [N, R], so
    that hardly an eigenvalue is above 0, for little.

    Few are above it, as a rule, and their vectors v live on few rows. Each value λ is brought to 0 by what is in
    proportion to v² / cost, and takes λ off along v. Others turn up then, smaller ones, which a factor of c·I - matrix
    finds, for c a little above them. It ends when all rows could be paid alike for `enough`.
    """
    taken = torch.zeros_like(cost)
    if not matrix.shape[1]:
        return taken
    band, basis = _lanczos(matrix.matmul, matrix[:, 0], FIRST_STEPS, anew=True)
    values, vectors = torch.linalg.eigh(band)
    for _ in range(PAYMENTS):
        near = values[:, -1].clamp_min(0.0)
        if bool((near * cost.sum(-1) <= enough).all()):
            break
        along = (vectors.transpose(1, 2) @ basis).square()
        share = along / cost.unsqueeze(1)
        share = share / (share * along).sum(-1, keepdim=True).clamp_min(torch.finfo(share.dtype).tiny)
        taken = taken + (share * values.clamp_min(0.0).unsqueeze(-1)).sum(1)
        less = matrix.clone()
        less.diagonal(dim1=1, dim2=2).sub_(taken)
        factor, top = _factor_above(less, 0.5 * near)
        band, basis = _lanczos(partial(_solved, factor), matrix[:, 0], INVERSE_STEPS, anew=True)
        values, vectors = torch.linalg.eigh(band)
        values = top.unsqueeze(-1) - 1.0 / values.clamp_min(torch.finfo(band.dtype).tiny)
    return taken


def _factor_above(matrix: Tensor, top: Tensor) -> tuple[Tensor, Tensor]:
    """Factors of c·I - matrix, and c [N]: `top`, or more where that has none."""
    while True:
        factor, info = torch.linalg.cholesky_ex(_gap(matrix, top))
        if not bool(info.any()) or not bool(torch.isfinite(top).all()):
            return factor, top
        top = torch.where(info == 0, top, ABOVE * top.clamp_min(LEAST_TOP))


def _solved(factor: Tensor, vector: Tensor) -> Tensor:
    return torch.cholesky_solve(vector, factor)


def _lanczos(times: Callable[[Tensor], Tensor], like: Tensor, steps: int, anew: bool = False) -> tuple[Tensor, Tensor]:
    """A tridiagonal matrix [N, steps, steps] whose outer eigenvalues are near those of what `times` multiplies
    [N, R, 1] by, and its basis in rows, made orthogonal `anew` or as it is. Vectors are `like` [N, R]."""
    count, size = like.shape
    vector = torch.linspace(1.0, 2.0, size, dtype=like.dtype, device=like.device).cos().expand(count, size)
    vector = vector / vector.norm(dim=-1, keepdim=True)
    before, beta = torch.zeros_like(vector), like.new_zeros(count)
    steps = min(steps, size)
    band, basis = like.new_zeros(count, steps, steps), like.new_zeros(count, steps, size)
    for step in range(steps):
        look()
        basis[:, step] = vector
        after = times(vector.unsqueeze(-1)).squeeze(-1) - beta.unsqueeze(-1) * before
        alpha = (after * vector).sum(-1)
        band[:, step, step] = alpha
        after = after - alpha.unsqueeze(-1) * vector
        if anew:  # rounding would bring vectors back that are found already
            known = basis[:, : step + 1]
            after = after - ((known @ after.unsqueeze(-1)).transpose(1, 2) @ known).squeeze(1)
        beta = after.norm(dim=-1)
        if step + 1 < steps:
            band[:, step, step + 1] = band[:, step + 1, step] = beta
        before, vector = vector, after / beta.unsqueeze(-1).clamp_min(torch.finfo(like.dtype).tiny)
    return torch.where(torch.isfinite(band).all((1, 2), keepdim=True), band, 0.0), basis
