"""The table of attacks. Adding one means adding a module and a line here, or a plugin (`plumbline.attacks`)."""

from __future__ import annotations

from bounds.attacks.apgd import ApgdCe, ApgdDlr
from bounds.attacks.base import Attack, AttackBatch, AttackOptions, AttackProblem, Candidates
from bounds.attacks.carlini_wagner import CarliniWagner
from bounds.attacks.deepfool import DeepFool
from bounds.attacks.elastic_net import ElasticNet
from bounds.attacks.fab import Fab
from bounds.attacks.fgsm import Fgsm
from bounds.attacks.iterated_fgsm import IteratedFgsm
from bounds.attacks.linearised import Linearised
from bounds.attacks.pgd import Pgd
from bounds.attacks.pixel_greedy import PixelGreedy
from bounds.attacks.region_descent import RegionDescent
from encoders.plugins import Table

TECHNIQUES: tuple[type[Attack], ...] = (
    Fgsm, IteratedFgsm, Linearised, DeepFool, Pgd, ApgdCe, ApgdDlr, CarliniWagner, ElasticNet, PixelGreedy, Fab,
    RegionDescent,
)  # fmt: skip
PORTFOLIO, ALL = "portfolio", "all"  # several at once, and every one here that is made for the norm
ATTACKS: Table[type[Attack]] = Table(
    "plumbline.attacks",
    "attack",
    Attack,
    {attack.name: attack for attack in TECHNIQUES},
    reserved=(PORTFOLIO, ALL, "pgd-by-radius"),
)

__all__ = ["ALL", "ATTACKS", "PORTFOLIO", "Attack", "AttackBatch", "AttackOptions", "AttackProblem", "Candidates"]
