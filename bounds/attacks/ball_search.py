"""The search for the smallest ball that holds an adversary, for attacks that are made for a ball that is given.

Each goal's ball grows until the attack wins in it and is bisected from then on. What one steepest step from the center
finds (`fgsm`) is known from the start, so that no attack of steps loses to its own first one. An attack that has no
gradient begins with the whole box.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, final

import torch
from torch import Tensor

from bounds.attacks.base import Attack, AttackBatch, Candidates, Runs, checked, to_boundary
from bounds.attacks.batch import lengths
from bounds.attacks.fgsm import one_step
from bounds.attacks.steps import project
from bounds.attacks.walk import Nearest
from bounds.geometry.halfspace_distance import nearest_in_halfspace

BALLS = 8  # tried one after the other
FIRST = 1.2  # of the distance that the linearised net promises
GROW = 2.0


class BallSearch(Attack):
    """The search; a subclass attacks in given balls, from `starts` points of each.

    The first start is the nearest adversary so far, else the center; the others are random points of the ball.
    """

    starts: ClassVar[int | None] = None  # for each goal; without it as many as the options' restarts allow
    salt: ClassVar[int]  # added to the seed, so that attacks draw different points

    @abstractmethod
    def descend(self, runs: Runs, start: Tensor, radius: Tensor, seen: Nearest) -> None:
        """Walk from `start` [B, n] in balls of `radius` [B], showing every point on the way to `seen`."""

    def first(self, batch: AttackBatch, goals: Runs) -> tuple[Tensor, Candidates]:
        """How far the linearised net promises each goal to be [G], and what one step finds."""
        value, gradient = goals.linearised(goals.start)
        below, above = goals.center - goals.lower, goals.upper - goals.center
        step = checked(batch, self.one_step(goals, gradient), self.name)
        return nearest_in_halfspace(gradient, value, below, above, batch.norm)[0], step

    def one_step(self, goals: Runs, gradient: Tensor) -> Candidates:
        """The steepest step of the goals, of the smallest size that wins."""
        return one_step(goals, gradient)

    @final
    def search(self, batch: AttackBatch, known: Candidates) -> Candidates:
        generator = torch.Generator().manual_seed(batch.options.seed + self.salt)
        copies = max(1, batch.options.restarts // batch.each) if self.starts is None else self.starts
        goals, runs = batch.every_goal(), batch.every_goal(copies)
        reach = goals.most
        promised, step = self.first(batch, goals)
        best, distance = batch.best_known(Candidates.merged([known, step]))
        low, high = torch.zeros_like(distance), distance
        radius = torch.where(promised.isfinite(), FIRST * promised, reach).clamp(1e-3 * reach, reach)
        found = Nearest.of(goals)
        found.see(goals.start, goals.worst(goals.start))
        for _ in range(BALLS):
            if batch.time_left <= 0:
                break
            radius = torch.where(high.isfinite(), (low + high) / 2.0, radius)
            radii = radius.repeat_interleave(copies)
            seen = Nearest.of(runs)
            self.descend(runs, self._starts(runs, best, high, radii, generator), radii, seen)
            pulled = to_boundary(runs, seen.best)
            value = runs.worst(pulled).masked_fill(~seen.distance.isfinite(), torch.inf)
            seen.see(pulled, value)
            nearest, copy = seen.distance.reshape(-1, copies).min(1)
            points = seen.best.reshape(len(goals), copies, -1)[torch.arange(len(goals), device=copy.device), copy]
            won = found.see(points, torch.where(nearest.isfinite(), -1.0, 1.0).to(nearest)) & (nearest < high)
            best = torch.where(won.unsqueeze(1), points, best)
            high = torch.where(won, nearest, high)
            low = torch.where(won, torch.minimum(low, 0.9 * high), radius)
            radius = (GROW * radius).clamp_max(reach)
        return Candidates.merged([step, found.proposals()])

    def _starts(self, runs: Runs, best: Tensor, distance: Tensor, radius: Tensor, generator: torch.Generator) -> Tensor:
        """For each goal the nearest adversary so far (else the center), and random points of the ball."""
        copies = len(runs) // len(best)
        noise = runs.batch.noise(generator, runs.batch.each * copies, best.shape[1])
        noise = noise * (radius / lengths(noise, runs.norm).clamp_min(1e-30)).unsqueeze(1)
        start = runs.center + noise
        start[::copies] = torch.where(distance.isfinite().unsqueeze(1), best, runs.start[::copies])
        return project(runs, start, radius)
