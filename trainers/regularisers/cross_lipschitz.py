"""Cross-Lipschitz regularisation: gradients of different classes shall not differ much at the training points.

Hein & Andriushchenko, Formal guarantees on the robustness of a classifier against adversarial manipulation, 2017.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from encoders.question import Norm
from trainers.regularisers.base import Batch, Regulariser, require, score_gradients
from trainers.regularisers.geometry import dual_length, norm_of


@dataclass(frozen=True)
class CrossLipschitz(Regulariser):
    """Ω = 1/(nK²) Σ_i Σ_{l,m} ‖∇f_l(x_i) - ∇f_m(x_i)‖², by Σ_{l,m} ‖g_l - g_m‖² = 2K Σ_l ‖g_l‖² - 2 ‖Σ_l g_l‖²."""

    name: ClassVar[str] = "cross-lipschitz"
    strength: float = 1e-2

    def penalty(self, batch: Batch) -> Tensor:
        gradients = score_gradients(batch)
        classes = gradients.shape[1]
        each, together = gradients.square().sum((1, 2)), gradients.sum(1).square().sum(1)
        return (2 * classes * each - 2 * together).mean() / classes**2


@dataclass(frozen=True)
class MarginCrossLipschitz(Regulariser):
    """1/n Σ_i ‖∇f_y(x_i) - ∇f_s(x_i)‖_q² / max(f_y(x_i) - f_s(x_i), least margin), s the strongest other class.

    q is dual to `norm`. With `power` 1 the length is not squared: the quotient is then one over the distance to the
    boundary as the gradient sees it. Where the margin is smaller than `least_margin`, or the sample misclassified,
    only the gradient is pushed.
    """

    name: ClassVar[str] = "cross-lipschitz-margin"
    strength: float = 1e-2
    norm: str = "l2"
    least_margin: float = 0.1
    power: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        norm_of(self, self.norm)
        require(self, "least_margin", self.least_margin > 0, "a number above zero")
        require(self, "power", self.power in (1, 2), "2, the squared length, or 1")

    def penalty(self, batch: Batch) -> Tensor:
        rows = torch.arange(len(batch.labels), device=batch.labels.device)
        others = batch.outputs.detach().clone()
        others[rows, batch.labels] = -torch.inf
        strongest = others.argmax(1)
        margin = batch.outputs[rows, batch.labels] - batch.outputs[rows, strongest]
        (gradient,) = torch.autograd.grad(margin.sum(), batch.inputs, create_graph=True)
        length = dual_length(gradient.flatten(1), Norm(self.norm))
        return (length**self.power / margin.clamp_min(self.least_margin)).mean()
