"""Iterated FGSM: the ball that one step leaves is shrunk by projected steps.

Kurakin, Goodfellow & Bengio, Adversarial examples in the physical world, 2017, fix the ball; here `pgd` shrinks it.
"""

from __future__ import annotations

from typing import ClassVar

from bounds.attacks.base import Attack, AttackBatch, Candidates
from bounds.attacks.fgsm import Fgsm
from bounds.attacks.pgd import Pgd


class IteratedFgsm(Attack):
    """See the module."""

    name: ClassVar[str] = "iterated-fgsm"

    def search(self, batch: AttackBatch, known: Candidates) -> Candidates:
        first = Candidates.merged([known, Fgsm().on(batch, known)])
        return Candidates.merged([first, Pgd().search(batch, first)])
