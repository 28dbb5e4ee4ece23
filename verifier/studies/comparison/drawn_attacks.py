"""The two attacks that are drawn beside the exact curve: a typical one, as papers use it, and the strongest here.

Neither is told anything of the exact distance. What they find counts after a replay in onnxruntime, so that an
adversary nearer than the one of the exact question narrows the sample's bracket.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

import numpy as np
import torch

from bounds.attacks import ALL, ATTACKS, PORTFOLIO, AttackOptions
from bounds.device import pick_device
from bounds.propagation.neuron_bounds import device_graph_for
from encoders.arrays import Inputs
from trainers.adversarial import ascend
from verifier.goals import incumbent_for
from verifier.options import Options
from verifier.question.model import Model
from verifier.question.results import Adversary
from verifier.regions import region_for
from verifier.studies.attacks.replayed import Attacking, Found, attacks_named

BY_RADIUS, STRONGEST = "pgd-by-radius", PORTFOLIO
STEPS = 40
RADII = np.geomspace(1e-3, 1.0, 120)  # of the way to the farthest corner of the box: 6 % apart, and no distance asked

SHORT: Mapping[str, str] = {BY_RADIUS: "PGD", PORTFOLIO: "portfolio", ALL: "all attacks"}
IN_WORDS: Mapping[str, str] = {
    BY_RADIUS: f"PGD as papers use it: projected gradient ascent on the cross-entropy, {STEPS} steps from one random "
    f"start, at each of {len(RADII)} fixed radii",
    PORTFOLIO: "the portfolio that a distance begins with: FAB and PGD on margins over every other class, then descent "
    "through the linear pieces around what they found",
    ALL: "all attacks here that are made for the norm, the nearest of their adversaries",
}


def check_attack_name(name: str) -> str:
    """The name itself; one that no table knows is refused."""
    return name if name in (BY_RADIUS, PORTFOLIO, ALL) else ATTACKS.check(name, BY_RADIUS, PORTFOLIO, ALL)


def attack_in_words(name: str) -> str:
    """What the attack is, as a page tells it."""
    return IN_WORDS.get(name, f"{name} alone, its nearest adversary")


def short_name(name: str) -> str:
    """What a legend calls the attack."""
    return SHORT.get(name, name)


def drawn_attack(name: str, model: Model, x: Inputs, question: Options) -> Found:
    """The attack's nearest replayed adversary of a sample, if it has one."""
    if name == BY_RADIUS:
        return _by_radius(model, x, question)
    effort = AttackOptions(seed=question.seed, time_limit=question.time_limit)
    tried = Attacking(model, question, attacks_named([name], question.norm), effort).sample(x)
    adversary = None if tried.best is None else tried.best.adversary
    return Found(name, sum(one.seconds for one in tried.found), adversary)


def _by_radius(model: Model, x: Inputs, question: Options) -> Found:
    started = time.monotonic()
    region = region_for(model, x, None, question)
    predicted = int(model.scores(region.center[None])[0].argmax())
    device_graph = device_graph_for(model.graph, pick_device(question.device))
    radii = device_graph.tensor(RADII * region.reach(question.norm))
    center, labels = device_graph.tensor(region.center).expand(len(RADII), -1), torch.full((len(RADII),), predicted)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(question.seed)
        moved = ascend(device_graph.forward, center, labels.to(device_graph.device), question.norm, radii, STEPS)
    incumbent = incumbent_for(model, region, question, predicted)
    incumbent.offer(moved.cpu().numpy(), BY_RADIUS)
    best: Adversary | None = incumbent.best
    return Found(BY_RADIUS, time.monotonic() - started, best)
