"""The nearest point of the linearised goal in the box, its constraint tightened until the net itself gives way.

After Hein & Andriushchenko, Formal guarantees on the robustness of a classifier against adversarial manipulation,
2017. With the goal's worst row v + a·d taken at the center, the attack is the d of least norm with v + a·d ≤ -const
that stays in the box, in closed form for every norm; const is the smallest whose point is an adversary, so that the
result lies on the decision boundary.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from bounds.attacks.base import Attack, AttackBatch, Candidates
from bounds.attacks.walk import first_wins
from bounds.geometry.halfspace_distance import nearest_in_halfspace, room


class Linearised(Attack):
    """See the module."""

    name: ClassVar[str] = "linearised"

    def search(self, batch: AttackBatch, known: Candidates) -> Candidates:
        runs = batch.every_goal()
        center = runs.start
        below, above = center - runs.lower, runs.upper - center
        _, gradient = runs.linearised(center)

        def fallen(fall: Tensor) -> Tensor:
            """`fall` = v + const: how far the linear function must fall."""
            step = nearest_in_halfspace(gradient, fall, below, above, batch.norm)[1]
            return center + step.nan_to_num() * (fall > 0).unsqueeze(1)

        def path(falls: Tensor) -> Tensor:
            return torch.stack([fallen(fall) for fall in falls])

        # The linear function cannot fall further than in the corner of the box; from there on nothing moves.
        most = (gradient.abs() * room(gradient, below, above)).sum(1)
        return first_wins(runs, path, most).proposals()
