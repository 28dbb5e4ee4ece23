"""What each attack finds of one sample, replayed as every upper bound is."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from bounds.attacks import ATTACKS, AttackOptions, AttackProblem, Candidates
from bounds.attacks.pixel_greedy import changed_inputs, changed_pixels
from bounds.attacks.portfolio import attack
from bounds.network import lowered_for
from encoders.errors import DataError, OptionError
from encoders.linear_maps import FloatArray
from encoders.question import Norm, goals_for
from verifier.model import Model
from verifier.query import Options, check_classes, incumbent_for, pick_device, region_for
from verifier.results import Adversary

PORTFOLIO, ALL = "portfolio", "all"
OFFERED = 32  # candidates of one attack that are replayed


def attacks_named(names: list[str], norm: Norm) -> tuple[str, ...]:
    """The attacks that `--attack` names, each once; `all` is the portfolio and all that are made for the norm."""
    chosen: dict[str, None] = {}
    for name in names:
        if name == ALL:
            made = [one for one in ATTACKS if norm in ATTACKS[one].norms]
            chosen |= dict.fromkeys([*made, PORTFOLIO])
        elif name == PORTFOLIO or name in ATTACKS:
            chosen[name] = None
        else:
            raise OptionError(f"attack {name!r}: choose from {', '.join([*ATTACKS, PORTFOLIO, ALL])}")
    return tuple(chosen)


@dataclass(frozen=True, eq=False)
class Found:
    """One attack's nearest replayed adversary of one sample, if it has one; `inputs` and `pixels` that it changes."""

    attack: str
    seconds: float
    adversary: Adversary | None
    inputs: int = 0
    pixels: int = 0

    @property
    def distance(self) -> float:
        return float("inf") if self.adversary is None else self.adversary.distance


@dataclass(frozen=True, eq=False)
class Attacked:
    """One sample under several attacks; `found` is empty where the sample is misclassified as it is."""

    index: int
    label: int | None
    predicted: int
    found: tuple[Found, ...] = ()

    @property
    def misclassified(self) -> bool:
        return self.label is not None and self.label != self.predicted

    @property
    def best(self) -> Found | None:
        """The nearest adversary of all; None if there is none."""
        return min((one for one in self.found if one.adversary), key=lambda one: one.distance, default=None)


@dataclass(frozen=True, eq=False)
class Attacking:
    """A question put to several attacks."""

    model: Model
    options: Options
    attacks: tuple[str, ...] = (PORTFOLIO,)
    effort: AttackOptions = field(default_factory=AttackOptions)

    def sample(self, x: ArrayLike, label: int | None = None, index: int = 0, mask: ArrayLike | None = None) -> Attacked:
        """All attacks on one sample."""
        model, options = self.model, self.options
        region = region_for(model, x, mask, options)
        check_classes(model, label, options.targets)
        scores = model.scores(region.center.astype(np.float32)[None])[0]
        if not np.isfinite(scores).all():
            raise DataError(f"sample {index}: the model's scores are not finite: {scores}")
        predicted = int(np.argmax(scores))
        if label is not None and label != predicted:
            return Attacked(index, label, predicted)
        goals = goals_for(predicted, model.classes, options.targets, options.margin)
        lowered = lowered_for(model.graph, pick_device(options.device))
        reach = region.reach(options.norm)
        found = []
        for name in self.attacks:
            started = time.monotonic()
            if name == PORTFOLIO:
                candidates = attack(lowered, region, options.norm, goals, reach, self.effort)
            else:
                problem = AttackProblem(lowered, region, options.norm, goals, reach, self.effort)
                candidates = ATTACKS[name]().run(problem)
            incumbent = incumbent_for(model, region, options, predicted)
            sparse = name in ATTACKS and not ATTACKS[name].norms
            for points in self._offers(candidates, region.center, sparse):
                if incumbent.offer_near(points):
                    break
            seconds, best = time.monotonic() - started, incumbent.best
            inputs, pixels = 0, 0
            if best is not None:
                point = best.input.astype(np.float64)
                inputs = int(changed_inputs(point, region.center)[0])
                pixels = int(changed_pixels(point, region.center, model.input_shape)[0])
            found.append(Found(name, seconds, best, inputs, pixels))
        return Attacked(index, label, predicted, tuple(found))

    @staticmethod
    def _offers(candidates: Candidates, center: FloatArray, sparse: bool) -> list[FloatArray]:
        """What is replayed: the nearest together, or the sparsest alone, then the next."""
        if not len(candidates.inputs):
            return []
        if not sparse:
            return [candidates.inputs[:OFFERED]]
        order = np.argsort(changed_inputs(candidates.inputs, center), kind="stable")
        return [candidates.inputs[k] for k in order[:OFFERED]]
