"""What each attack finds of samples, many at a time, replayed as every upper bound is."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

import numpy as np
import torch
from numpy.typing import ArrayLike

from bounds.attacks import ALL, ATTACKS, PORTFOLIO, AttackOptions, AttackProblem, Candidates
from bounds.attacks.batch import fitting
from bounds.attacks.pixel_greedy import changed_inputs, changed_pixels
from bounds.attacks.portfolio import attack_together
from bounds.device import pick_device
from encoders.arrays import FloatArray
from encoders.errors import DataError, OptionError, SoundnessError
from encoders.question import CONVEX, Norm, goals_for
from verifier.goals import incumbent_for
from verifier.options import Options
from verifier.question.model import Model
from verifier.question.results import Adversary
from verifier.regions import check_classes, region_for

ALARM = 1e-9  # relative
OFFERED = 32  # candidates of one attack that are replayed


def attacks_named(names: list[str], norm: Norm) -> tuple[str, ...]:
    """The attacks that `--attack` names, each once; `all` is the portfolio and all that are made for the norm.

    All but those that take long (`only_named`). L0 has no ball to walk in: there every attack must be made for it.
    """
    chosen: dict[str, None] = {}
    for name in names:
        if name == ALL:
            made = [one for one in ATTACKS if norm in ATTACKS[one].norms and not ATTACKS[one].only_named]
            chosen |= dict.fromkeys([*made, PORTFOLIO])
        else:
            chosen[check_attack_name(name)] = None
            if norm is Norm.L0 and name != PORTFOLIO and norm not in ATTACKS.found(name).norms:
                able = ", ".join(one for one in ATTACKS if norm in ATTACKS[one].norms)
                raise OptionError(f"attack {name} is not made for l0: choose from {able}, {PORTFOLIO}")
    return tuple(chosen)


def check_attack_name(name: str) -> str:
    """The name itself; one that no table knows is refused."""
    return name if name in (PORTFOLIO, ALL) else ATTACKS.check(name, PORTFOLIO, ALL)


@dataclass(frozen=True, eq=False)
class Found:
    """One attack's nearest replayed adversary of one sample, if it has one; `inputs` and `pixels` that it changes.

    `seconds` are the sample's part of what its batch took.
    """

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
    lower: float | None = None  # proven, of a network that no engine takes

    @property
    def misclassified(self) -> bool:
        return self.label is not None and self.label != self.predicted

    @property
    def best(self) -> Found | None:
        """The nearest adversary of all; None if there is none."""
        return min((one for one in self.found if one.adversary), key=lambda one: one.distance, default=None)


@dataclass(frozen=True, eq=False)
class Sample:
    """An input, its label if known, and its number in the data."""

    x: ArrayLike
    label: int | None = None
    index: int = 0


@dataclass(frozen=True, eq=False)
class _Asked:
    """A sample as the attacks are asked about it."""

    index: int
    label: int | None
    predicted: int
    problem: AttackProblem


@dataclass(frozen=True, eq=False)
class Attacking:
    """A question put to several attacks."""

    model: Model
    options: Options
    attacks: tuple[str, ...] = (PORTFOLIO,)
    effort: AttackOptions = field(default_factory=AttackOptions)

    def sample(self, x: ArrayLike, label: int | None = None, index: int = 0, mask: ArrayLike | None = None) -> Attacked:
        """All attacks on one sample."""
        return self.together([Sample(x, label, index)], mask)[0]

    def batches(
        self, samples: Iterable[Sample], mask: ArrayLike | None = None, size: int | None = None
    ) -> Iterator[list[Attacked]]:
        """All attacks on samples, `size` at a time; without one, as many as a batch holds."""
        waiting = iter(samples)
        size = self.fitting if size is None else size
        while batch := list(islice(waiting, size)):
            yield self.together(batch, mask)

    @property
    def fitting(self) -> int:
        """How many samples a batch holds."""
        model, options = self.model, self.options
        goals = model.classes - 1 if options.targets is None else len(options.targets)
        return fitting(model.attacked(pick_device(options.device)), goals, self.effort)

    def together(self, samples: Sequence[Sample], mask: ArrayLike | None = None) -> list[Attacked]:
        """All attacks on all of the samples, each attack in one batch."""
        asked = [self._asked(sample, mask) for sample in samples]
        right = [k for k, one in enumerate(asked) if one.label is None or one.label == one.predicted]
        found: list[list[Found]] = [[] for _ in asked]
        for name in self.attacks:
            started = time.monotonic()
            candidates = self._candidates(name, [asked[k].problem for k in right])
            each = (time.monotonic() - started) / max(1, len(right))
            for k, part in zip(right, candidates, strict=True):
                found[k].append(self._replayed(name, asked[k], part, each))
        return [self._told(one, tuple(own)) for one, own in zip(asked, found, strict=True)]

    def _told(self, asked: _Asked, found: tuple[Found, ...]) -> Attacked:
        """What was found, beside a bound where the model has one; the alarm where they contradict each other."""
        done = Attacked(asked.index, asked.label, asked.predicted, found)
        if not found or self.options.margin:
            return done
        region, norm = asked.problem.region, self.options.norm
        done = replace(done, lower=self.model.lower_bound(region, norm, asked.predicted))
        if done.lower is not None and done.best is not None and done.lower > done.best.distance * (1.0 + ALARM):
            raise SoundnessError(
                f"soundness alarm: {self.model.path}: sample {done.index} has an adversary at {done.best.distance!r}, "
                f"nearer than the proven {done.lower!r}"
            )
        return done

    def _asked(self, sample: Sample, mask: ArrayLike | None) -> _Asked:
        model, options = self.model, self.options
        region = region_for(model, sample.x, mask, options)
        check_classes(model, sample.label, options.targets)
        model.check_classifier()
        if options.change is not None:
            raise OptionError("attacks by themselves look for another class; ask distance or verify for a change")
        scores = model.scores(region.center[None])[0]
        if not np.isfinite(scores).all():
            raise DataError(f"sample {sample.index}: the model's scores are not finite: {scores}")
        predicted = int(np.argmax(scores))
        goals = goals_for(predicted, model.classes, options.targets, options.margin)
        device_graph = model.attacked(pick_device(options.device))
        problem = AttackProblem(device_graph, region, options.norm, goals, region.reach(options.norm), self.effort)
        return _Asked(sample.index, sample.label, predicted, problem)

    def _candidates(self, name: str, problems: list[AttackProblem]) -> list[Candidates]:
        """What one attack proposes for each; where a device has too little memory, for one half after the other."""
        try:
            return self._portfolio(problems) if name == PORTFOLIO else ATTACKS.found(name)().together(problems)
        except torch.OutOfMemoryError:
            if len(problems) < 2:
                raise
        torch.cuda.empty_cache()
        half = len(problems) // 2
        return self._candidates(name, problems[:half]) + self._candidates(name, problems[half:])

    def _portfolio(self, problems: list[AttackProblem]) -> list[Candidates]:
        """What the portfolio proposes for each; in L0 what it finds in L1, which comes nearest to it, counted."""
        if self.options.norm is not Norm.L0:
            return attack_together(problems)
        walked = [replace(one, norm=Norm.L1, radius=one.region.reach(Norm.L1)) for one in problems]
        counted = []
        for problem, found in zip(problems, attack_together(walked), strict=True):
            counts = problem.region.length(Norm.L0, found.inputs - problem.region.center)
            counted.append(Candidates.merged([replace(found, distances=counts)]))
        return counted

    def _replayed(self, name: str, asked: _Asked, candidates: Candidates, seconds: float) -> Found:
        """The nearest candidate that is an adversary in onnxruntime; `seconds` went into finding them."""
        started = time.monotonic()
        region = asked.problem.region
        incumbent = incumbent_for(self.model, region, self.options, asked.predicted)
        sparse = name != PORTFOLIO and not ATTACKS.found(name).norms.intersection(CONVEX)
        for offered in self._offers(candidates, region.center, sparse):
            if incumbent.offer_near(offered.inputs, offered.by):
                break
        best = incumbent.best
        inputs, pixels = 0, 0
        if best is not None:
            point = best.input.astype(np.float64)
            inputs = int(changed_inputs(point, region.center)[0])
            pixels = int(changed_pixels(point, region.center, self.model.input_shape)[0])
        return Found(name, seconds + time.monotonic() - started, best, inputs, pixels)

    @staticmethod
    def _offers(candidates: Candidates, center: FloatArray, sparse: bool) -> list[Candidates]:
        """What is replayed: the nearest together, or the sparsest alone, then the next."""
        if not len(candidates.inputs):
            return []
        if not sparse:
            return [candidates.take(np.arange(min(OFFERED, len(candidates.inputs))))]
        order = np.argsort(changed_inputs(candidates.inputs, center), kind="stable")
        return [candidates.take(order[k : k + 1]) for k in range(min(OFFERED, len(order)))]
