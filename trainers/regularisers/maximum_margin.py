"""Maximum margin regularisation: large linear regions, with the decision boundary far inside them.

Croce, Andriushchenko & Hein, Provable robustness of ReLU networks via maximization of linear regions, 2019; and, for
all norms at once, Croce & Hein, Provable robustness against all adversarial l_p-perturbations for p ≥ 1, 2020.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from encoders.question import Norm
from trainers.layers import steps_of
from trainers.regularisers.base import Batch, Regulariser, require, score_gradients
from trainers.regularisers.geometry import boundary_distances, decision_distances, norm_of


def hinge(distances: Tensor, reach: float, nearest: int) -> Tensor:
    """Mean over the `nearest` smallest distances of max(0, 1 - d/reach), then over the batch."""
    if distances.shape[1] == 0:
        return distances.new_zeros(())
    smallest = distances.topk(min(nearest, distances.shape[1]), dim=1, largest=False).values
    return (1.0 - smallest / reach).clamp_min(0.0).mean()


@dataclass(frozen=True)
class _Margins(Regulariser):
    """`first_share` to `last_share`: the share of the hidden neurons that counts as near, falling over the training."""

    needs_relus: ClassVar[bool] = True
    first_share: float = 0.2
    last_share: float = 0.05

    def __post_init__(self) -> None:
        super().__post_init__()
        for field in ("first_share", "last_share"):
            require(self, field, 0 < getattr(self, field) <= 1, "a share above 0, at most 1")

    def measured(self, batch: Batch, reaches: dict[Norm, tuple[float, float]]) -> Tensor:
        """Σ over norms of hinge(region boundaries) + hinge(decision boundaries); reaches: (boundary, decision)."""
        gradients = score_gradients(batch)
        regions = boundary_distances(steps_of(batch.module), batch.inputs, tuple(reaches))
        share = self.first_share + (self.last_share - self.first_share) * batch.progress
        total = batch.outputs.new_zeros(())
        for (norm, (boundary, decision)), distances in zip(reaches.items(), regions, strict=True):
            near = max(1, round(share * distances.shape[1]))
            planes = decision_distances(batch.outputs, gradients, batch.labels, norm)
            total = total + hinge(distances, boundary, near) + hinge(planes, decision, planes.shape[1])
        return total


@dataclass(frozen=True)
class MaximumMargin(_Margins):
    """max(0, 1 - d/γ) averaged over the nearest region boundaries, and over the decision boundaries, of one norm.

    `boundary_reach` and `decision_reach` are the γ: distances, in input units, that are wanted.
    """

    name: ClassVar[str] = "mmr"
    strength: float = 0.5
    norm: str = "linf"
    boundary_reach: float = 0.1
    decision_reach: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        norm_of(self, self.norm)
        for field in ("boundary_reach", "decision_reach"):
            require(self, field, getattr(self, field) > 0, "a distance above zero")

    def penalty(self, batch: Batch) -> Tensor:
        return self.measured(batch, {Norm(self.norm): (self.boundary_reach, self.decision_reach)})


@dataclass(frozen=True)
class UniversalMaximumMargin(_Margins):
    """The same in L1 and L∞ together, which bounds every norm in between: γ is `reach_l1` and `reach_linf`."""

    name: ClassVar[str] = "mmr-universal"
    strength: float = 0.5
    reach_l1: float = 1.0
    reach_linf: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        for field in ("reach_l1", "reach_linf"):
            require(self, field, getattr(self, field) > 0, "a distance above zero")

    def penalty(self, batch: Batch) -> Tensor:
        reaches = {Norm.L1: (self.reach_l1, self.reach_l1), Norm.LINF: (self.reach_linf, self.reach_linf)}
        return self.measured(batch, reaches)
