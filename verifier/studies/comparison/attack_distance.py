"""The distance that an attack alone would have reported: what the exact one is held against."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from bounds.attacks import ALL, ATTACKS
from bounds.attacks.base import AttackOptions, AttackProblem
from bounds.attacks.portfolio import attack
from bounds.device import pick_device
from bounds.propagation.neuron_bounds import device_graph_for
from encoders.question import Norm, Region, goals_for
from trainers.adversarial import ascend
from verifier.options import Options
from verifier.question.model import Model
from verifier.question.results import Result

BY_RADIUS = "pgd-by-radius"
STEPS = 40
RADII = np.geomspace(1.0, 8.0, 64)  # times the exact distance: below it there is nothing to find

ATTACK_NAMES: Mapping[str, str] = {
    BY_RADIUS: f"projected gradient ascent ({STEPS} steps, one random start) at one radius after another, from the "
    "exact distance on in steps of 3 %, as robustness curves are usually drawn",
    **{name: f"{name} alone, its nearest adversary" for name in ATTACKS},
    ALL: "all attacks of bounds/ together, their nearest adversary",
}


def check_attack_name(name: str) -> str:
    """The name itself; one that no table knows is refused."""
    return name if name in (BY_RADIUS, ALL) else ATTACKS.check(name, BY_RADIUS, ALL)


def attack_in_words(name: str) -> str:
    """What the attack is, as a page tells it."""
    return ATTACK_NAMES.get(name, f"{name} alone, its nearest adversary")


def attack_distance(name: str, model: Model, region: Region, question: Options, result: Result) -> float:
    """The smallest distance at which the attack has an adversary; infinite where it has none."""
    if name == BY_RADIUS:
        return _by_radius(model, region, question, result)
    device_graph = device_graph_for(model.graph, pick_device(question.device))
    goals = goals_for(result.predicted, model.classes, None, 0.0)
    options, reach = AttackOptions(seed=question.seed), region.reach(question.norm)
    if name == ALL:
        distances = attack(device_graph, region, question.norm, goals, reach, options).distances
    else:
        problem = AttackProblem(device_graph, region, question.norm, goals, reach, options)
        distances = ATTACKS.found(name)().run(problem).distances
    return float(distances[0]) if len(distances) else float("inf")


def _by_radius(model: Model, region: Region, question: Options, result: Result) -> float:
    reach = region.reach(question.norm)
    start = min(result.upper, reach)
    radii = np.minimum(start * RADII, reach)
    device_graph = device_graph_for(model.graph, pick_device(question.device))
    center = device_graph.tensor(region.center).expand(len(radii), -1)
    labels = torch.full((len(radii),), result.predicted, device=device_graph.device)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(question.seed)
        moved = ascend(device_graph.forward, center, labels, question.norm, device_graph.tensor(radii), STEPS)
    with torch.no_grad():
        fooled = (device_graph.forward(moved).argmax(1) != result.predicted).cpu().numpy()
    return _nearest(question.norm, moved[torch.as_tensor(fooled)].cpu().numpy() - region.center)


def _nearest(norm: Norm, differences: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> float:
    return float(norm.length(differences).min(initial=np.inf))
