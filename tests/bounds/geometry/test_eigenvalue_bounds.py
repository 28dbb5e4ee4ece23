"""Greatest eigenvalues: estimates against torch's own, proven numbers never below them."""

from __future__ import annotations

import pytest
import torch

from bounds.geometry import eigenvalue_bounds as definite
from bounds.geometry.eigenvalue_bounds import about_greatest, closer_greatest, no_eigenvalue_above, taken_where_cheap


def matrices(seed: int, size: int = 300, count: int = 2) -> torch.Tensor:
    """Symmetric, and most of the spectrum close to its greatest end."""
    generator = torch.Generator().manual_seed(seed)
    basis, _ = torch.linalg.qr(torch.randn(count, size, size, generator=generator, dtype=torch.float64))
    values = 1.0 - 1.5 * torch.rand(count, size, generator=generator, dtype=torch.float64).square()
    made = (basis * (values * 10.0 ** (seed % 3 - 1)).unsqueeze(1)) @ basis.transpose(1, 2)
    both: torch.Tensor = (made + made.transpose(1, 2)) / 2
    return both


@pytest.mark.parametrize("seed", range(6))
def test_no_eigenvalue_is_above_what_is_proven(seed: int) -> None:
    matrix = matrices(seed)
    greatest = torch.linalg.eigvalsh(matrix)[:, -1]
    rough = about_greatest(matrix, 20)
    closer = closer_greatest(matrix, rough)
    assert bool((rough <= greatest * (1 + 1e-9)).all())
    assert bool((closer >= rough).all())
    assert bool(((greatest - closer).abs() <= 1e-2 * greatest).all())
    proven = no_eigenvalue_above(matrix, closer, 100.0 * closer, torch.zeros_like(closer))
    assert bool((proven >= greatest).all())
    assert bool((proven <= 1.03 * greatest).all())
    lost = 0.5 * greatest
    assert bool((no_eigenvalue_above(matrix, closer, 100.0 * closer, lost) >= greatest + lost).all())


def test_a_factor_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = matrices(0)
    greatest = torch.linalg.eigvalsh(matrix)[:, -1]
    factor = torch.linalg.cholesky_ex

    def lies(gap: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        right, info = factor(gap + 0.3 * torch.eye(gap.shape[1], dtype=gap.dtype))
        return right, torch.zeros_like(info)

    monkeypatch.setattr("torch.linalg.cholesky_ex", lies)
    below = greatest - 0.2
    assert bool((no_eigenvalue_above(matrix, below, below, torch.zeros_like(below)) >= greatest).all())


def test_a_residual_is_seen_in_strips() -> None:
    gap = matrices(3, size=2 * definite.STRIP + 7)
    factor = torch.linalg.cholesky(gap + 3.0 * torch.eye(gap.shape[1], dtype=gap.dtype))
    whole = (gap - factor @ factor.transpose(1, 2)).square().sum((1, 2)).sqrt()
    missed = definite._missed(gap, factor)
    assert bool((missed >= whole).all())
    assert bool((missed <= 1.5 * whole).all())


def test_two_rows_pay_by_what_it_costs_them() -> None:
    # λ = 1 along (1, 1)/√2: shares 1/2 and 1/6 of one unit, three times as much in all, take 3/4 + 1/4 off it. Then the
    # greatest eigenvalue of [[-3/2, 1], [1, -1/2]] is -1 + √5/2 = 0.118.
    matrix, cost = torch.tensor([[[0.0, 1.0], [1.0, 0.0]]], dtype=torch.float64), torch.tensor([[1.0, 3.0]]).double()
    assert taken_where_cheap(matrix, cost, 0.118034 * 4.0 + 1e-3)[0].tolist() == pytest.approx([1.5, 0.5], abs=1e-9)
    taken = taken_where_cheap(matrix, cost, 0.0)
    assert 0.0 <= float(taken.prod()) - 1.0 <= 0.01  # that is where nothing is above 0, and hardly more is paid


def test_few_pay_for_what_is_above_zero() -> None:
    # Two eigenvalues above 0 live on three rows of 300 each; all alike would pay 300 times the greater one.
    generator = torch.Generator().manual_seed(0)
    matrix = -matrices(0) - 2.0 * torch.eye(300, dtype=torch.float64)
    for row, value in ((0, 5.0), (100, 0.5)):
        matrix[:, row : row + 3, row : row + 3] += value
    cost = 0.1 + torch.rand(2, 300, generator=generator, dtype=torch.float64)
    taken = taken_where_cheap(matrix, cost, 1e-3)
    assert bool((taken >= 0.0).all())
    left = torch.linalg.eigvalsh(matrix - torch.diag_embed(taken))[:, -1]
    assert bool((left * cost.sum(-1) <= 1.1e-3).all())
    alike = torch.linalg.eigvalsh(matrix)[:, -1] * cost.sum(-1)
    assert bool(((taken * cost).sum(-1) < 0.05 * alike).all())


def test_nothing_is_paid_where_nothing_is_above_zero() -> None:
    matrix = -matrices(1) - 20.0 * torch.eye(300, dtype=torch.float64)
    assert not bool(taken_where_cheap(matrix, torch.ones(2, 300, dtype=torch.float64), 0.0).any())
    assert taken_where_cheap(torch.zeros(2, 0, 0), torch.zeros(2, 0), 0.0).shape == (2, 0)
    nothing = torch.full((1, 3, 3), torch.nan)
    assert taken_where_cheap(nothing, torch.ones(1, 3), 0.0).shape == (1, 3)  # whatever it says, it ends


def test_no_factor_leaves_what_was_near() -> None:
    matrix = torch.diag_embed(torch.tensor([[1.0, 5.0]], dtype=torch.float64))
    assert closer_greatest(matrix, torch.tensor([1.0], dtype=torch.float64)).tolist() == [1.0]


def test_estimates_in_single_precision_where_few_steps_say_all() -> None:
    # One step of Lanczos' method leaves nothing to go on with: 0 is no divisor, and no number below single precision.
    matrix = torch.eye(4)[None]
    assert about_greatest(matrix, 4).tolist() == pytest.approx([1.0])
    assert bool((taken_where_cheap(matrix, torch.ones(1, 4), 1e-3) >= 1.0 - 1e-3).all())
    assert closer_greatest(matrix, torch.ones(1)).tolist() == pytest.approx([1.0])
