"""Adam on tensors in place, step for step what `torch.optim.Adam` does with its usual options (Kingma and Ba, 2015).

The first optimiser that a process makes of torch's own imports its compiler, which costs more than a second: more than
most questions take.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

MOMENTS = (0.9, 0.999)
SMALLEST = 1e-8  # of what a step is divided by


class Adam:
    """Descends on the gradients that `backward` has left; a step takes them away."""

    def __init__(self, parameters: Sequence[Tensor], moments: tuple[float, float] = MOMENTS) -> None:
        self.parameters, (self.first, self.second) = list(parameters), moments
        self.means = [torch.zeros_like(one) for one in self.parameters]
        self.squares = [torch.zeros_like(one) for one in self.parameters]
        self.taken = 0

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """One step; a parameter without a gradient stays where it is."""
        self.taken += 1
        length = rate / (1.0 - self.first**self.taken)
        root = (1.0 - self.second**self.taken) ** 0.5
        for parameter, mean, square in zip(self.parameters, self.means, self.squares, strict=True):
            gradient, parameter.grad = parameter.grad, None
            if gradient is None:
                continue
            mean.lerp_(gradient, 1.0 - self.first)
            square.mul_(self.second).addcmul_(gradient, gradient, value=1.0 - self.second)
            parameter.addcdiv_(mean, (square.sqrt() / root).add_(SMALLEST), value=-length)
