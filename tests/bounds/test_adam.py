"""Adam in place against torch's own."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import Tensor

from bounds.adam import MOMENTS, Adam


def loss(parts: list[Tensor]) -> Tensor:
    return (parts[0] - 3.0).square().sum() + (parts[0][:2] * parts[1]).abs().sum()


@pytest.mark.slow
@pytest.mark.parametrize("moments", [MOMENTS, (0.5, 0.9)])
def test_it_steps_as_torch_does(moments: tuple[float, float]) -> None:
    start = [torch.tensor([0.5, -2.0, 4.0]), torch.tensor([1.0, -1.0])]
    ours, theirs = ([part.clone().requires_grad_() for part in start] for _ in range(2))
    descent, optimiser = Adam(ours, moments), torch.optim.Adam(theirs, betas=moments)
    for step in range(12):
        rate = 0.3 / (step + 1)
        optimiser.param_groups[0]["lr"] = rate
        for parts in (ours, theirs):
            loss(parts).backward()  # type: ignore[no-untyped-call]
        descent.step(rate)
        optimiser.step()
        optimiser.zero_grad()
        assert all(torch.equal(one, other) for one, other in zip(ours, theirs, strict=True))
        assert all(part.grad is None for part in ours)


def test_a_parameter_without_a_gradient_stays() -> None:
    part = torch.tensor([1.0], requires_grad=True)
    Adam([part]).step(0.1)
    assert part.item() == 1.0


@pytest.mark.slow
def test_it_does_without_torchs_compiler() -> None:
    code = "from bounds.adam import Adam; import sys, torch; Adam([torch.zeros(1)]).step(0.1)"
    shown = [sys.executable, "-c", f"{code}; print('torch._dynamo' in sys.modules)"]
    assert subprocess.run(shown, capture_output=True, text=True, check=True).stdout == "False\n"
