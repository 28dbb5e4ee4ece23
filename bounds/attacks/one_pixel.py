"""One pixel, or as few as do: differential evolution over which pixels move, and where to; it needs no gradient.

Su, Vargas & Sakurai, One pixel attack for fooling deep neural networks, 2017. A candidate is k places and the values
there; each generation every one of them meets a child, another candidate plus half the difference of two more, and the
better stays. Without crossover, as they have it. They fix k; here it is doubled until the attack wins and bisected
from then on, for each goal.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from bounds.attacks.base import Attack, AttackBatch, Candidates, Runs
from bounds.attacks.pixel_greedy import moved_together
from bounds.attacks.walk import Nearest
from encoders.question import Norm

POPULATION = 48
GENERATIONS = 2  # times the steps of the other attacks
MUTATION = 0.5
ROUNDS = 9  # numbers of pixels tried
MOST_PIXELS = 64


class OnePixel(Attack):
    """See the module."""

    name: ClassVar[str] = "one-pixel"
    norms: ClassVar[frozenset[Norm]] = frozenset({Norm.L0})

    def search(self, batch: AttackBatch, known: Candidates) -> Candidates:
        runs, places = batch.every_goal(), Places.of(batch)
        nearest = Nearest.of(runs)
        nearest.see(runs.start, runs.worst(runs.start))
        most = min(places.number, MOST_PIXELS)
        k, low = torch.ones_like(runs.goal), torch.zeros_like(runs.goal)
        high = torch.where(nearest.distance.isfinite(), 0, most + 1)  # the fewest that won
        fewest = nearest.best
        for attempt in range(ROUNDS):
            open_ = high - low > 1
            if batch.time_left <= 0 or not open_.any():
                break
            k = k.clamp(1, most)
            point, won = self._evolved(runs, places, k, batch.options.seed + 8 + 2 * attempt)
            won &= open_
            fewest = torch.where(won.unsqueeze(1), point, fewest)
            high, low = torch.where(won, k, high), torch.where(open_ & ~won, k, low)
            k = torch.where(high <= most, (low + high) // 2, (2 * k).clamp_max(most))
        won = high <= most
        return runs.proposals(fewest, runs.length(fewest).masked_fill(~won, torch.inf))

    @staticmethod
    def _evolved(runs: Runs, places: Places, k: Tensor, seed: int) -> tuple[Tensor, Tensor]:
        """The fittest [B, n] with at most k [B] pixels moved, and which are adversaries: these evolve no further."""
        batch = runs.batch
        slots = int(k.max())
        genes = 2 + places.inputs.shape[1]  # of a slot
        # Of their own, so that what a row is given depends neither on how many slots nor on how many generations the
        # others have.
        first, pairs = torch.Generator().manual_seed(seed), torch.Generator().manual_seed(seed + 1)

        def uniform(generator: torch.Generator, *shape: int) -> Tensor:
            return (batch.noise(generator, batch.each, *shape) + 1.0) / 2.0

        def fitness(population: Tensor) -> tuple[Tensor, Tensor]:
            points = places.moved(runs, population.reshape(len(runs), POPULATION, slots, -1), k)
            return points, runs.worst(points.transpose(0, 1)).T

        population = torch.cat([uniform(first, POPULATION, genes) for _ in range(slots)], dim=2)
        points, value = fitness(population)
        rows = torch.arange(len(runs), device=k.device).unsqueeze(1)
        for _ in range(GENERATIONS * batch.options.steps):
            if batch.time_left <= 0 or (value.amin(1) <= 0).all():
                break
            one, two, three = (uniform(pairs, POPULATION, 3) * POPULATION).long().unbind(-1)
            child = population[rows, one] + MUTATION * (population[rows, two] - population[rows, three])
            child = child.clamp(0.0, 1.0)
            tried, fit = fitness(child)
            better = (fit < value) & (value.amin(1, keepdim=True) > 0)
            population, points = (
                torch.where(better.unsqueeze(2), new, old) for new, old in ((child, population), (tried, points))
            )
            value = torch.where(better, fit, value)
        least, best = value.min(1)
        return points[rows.squeeze(1), best], least <= 0


@dataclass(frozen=True, eq=False)
class Places:
    """Where pixels lie, and which inputs each has [pixels, channels]."""

    inputs: Tensor
    width: int  # of a row of pixels

    @classmethod
    def of(cls, batch: AttackBatch) -> Places:
        """Those of the images that the net reads; what is none is one row."""
        pixel, shape = moved_together(batch), batch.device_graph.graph.input_shape
        number = int(pixel.max()) + 1
        width = shape[-1] if len(shape) > 1 and number % shape[-1] == 0 else number
        return cls(pixel.argsort(stable=True).reshape(number, -1), width)

    @property
    def number(self) -> int:
        return len(self.inputs)

    def moved(self, runs: Runs, genes: Tensor, k: Tensor) -> Tensor:
        """Inputs [B, P, n] with the first k [B] pixels of genes [B, P, slots, 2 + channels] in [0, 1] moved."""
        height = self.number // self.width
        row = (genes[..., 0] * height).long().clamp_max(height - 1)
        column = (genes[..., 1] * self.width).long().clamp_max(self.width - 1)
        chosen = self.inputs[row * self.width + column]  # [B, P, slots, channels]
        points = runs.start.unsqueeze(1).expand(-1, genes.shape[1], -1)
        low, high = (side.expand(len(runs), -1).unsqueeze(1).expand_as(points) for side in (runs.lower, runs.upper))
        for slot in range(genes.shape[2]):  # one after the other: which of two at one place wins is no chance
            at, used = chosen[:, :, slot], (slot < k).reshape(-1, 1, 1)
            value = low.gather(2, at) + genes[:, :, slot, 2:] * (high - low).gather(2, at)
            points = points.scatter(2, at, torch.where(used, value, points.gather(2, at)))
        return points
