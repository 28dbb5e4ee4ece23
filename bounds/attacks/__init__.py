"""The table of attacks. Adding one means adding a module and a line here, or a plugin (`plumbline.attacks`)."""

from __future__ import annotations

from bounds.attacks.apgd import ApgdCe, ApgdDlr
from bounds.attacks.base import Attack, AttackBatch, AttackOptions, AttackProblem, Candidates
from bounds.attacks.carlini_wagner import CarliniWagner
from bounds.attacks.deepfool import DeepFool
from bounds.attacks.elastic_net import ElasticNet
from bounds.attacks.fab import Fab
from bounds.attacks.fgsm import Fgsm
from bounds.attacks.hopskipjump import HopSkipJump
from bounds.attacks.ilcm import Ilcm
from bounds.attacks.iterated_fgsm import IteratedFgsm
from bounds.attacks.lbfgs import Lbfgs
from bounds.attacks.linearised import Linearised
from bounds.attacks.one_pixel import OnePixel
from bounds.attacks.pgd import Pgd
from bounds.attacks.pixel_greedy import PixelGreedy
from bounds.attacks.region_descent import RegionDescent
from bounds.attacks.square import Square
from encoders.plugins import Table

TECHNIQUES: tuple[type[Attack], ...] = (
    Fgsm, IteratedFgsm, Ilcm, Linearised, DeepFool, Pgd, ApgdCe, ApgdDlr, Lbfgs, CarliniWagner, ElasticNet, Square,
    HopSkipJump, PixelGreedy, OnePixel, Fab, RegionDescent,
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
