"""HopSkipJump: an attack that is told nothing but the predicted class.

Chen, Jordan & Wainwright, HopSkipJumpAttack: a query-efficient decision-based attack, 2020. From any adversary it goes
to the boundary by bisection; there it estimates the boundary's normal from which of many near points are adversaries,
goes along it for as far as it stays among them, and bisects again. In L∞ bisection shrinks a ball around the sample
and the step has the normal's signs; else it follows the segment, and the step the normal. Neither gradients nor scores
are looked at, so that a margin is not seen: what does not reach it is dropped in the end. The question's goals are one:
any of its classes will do.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from bounds.attacks.base import Attack, AttackBatch, Candidates, Runs
from bounds.attacks.batch import lengths
from encoders.question import Norm

STARTS = 4  # walks of each sample
TRIES = 16  # random points for each, half of them corners of the box
BISECTIONS = 24
NEIGHBOURS = 64  # points around the first place on the boundary; their number grows with the root of the steps
TOGETHER = 32  # neighbours of a place that are asked about at once
HALVINGS = 20  # of a step, at most
FIRST_DISTANCE = 0.1  # of the walk's length, at which the first neighbours are; then length / inputs


class HopSkipJump(Attack):
    """See the module."""

    name: ClassVar[str] = "hopskipjump"
    norms: ClassVar[frozenset[Norm]] = frozenset({Norm.LINF, Norm.L2})

    def search(self, batch: AttackBatch, known: Candidates) -> Candidates:
        samples = torch.arange(len(batch.problems), device=batch.center.device).repeat_interleave(STARTS)
        decision = Decision(batch.runs(samples * batch.each), samples)
        x, found = self._random_adversaries(decision)
        generator = torch.Generator().manual_seed(batch.options.seed + 6)
        best = x
        distance = decision.runs.length(best).masked_fill(~found, torch.inf)
        if found.any():
            x = decision.bisected(x)
            for step in range(1, batch.options.steps + 1):
                length = decision.runs.length(x)
                nearer = found & (length < distance)
                best, distance = torch.where(nearer.unsqueeze(1), x, best), torch.where(nearer, length, distance)
                if batch.time_left <= 0:
                    break
                normal = self._normal(decision, x, step, generator)
                x = decision.bisected(self._jump(decision, x, normal, step))
        return decision.proposals(best, distance)

    @staticmethod
    def _random_adversaries(decision: Decision) -> tuple[Tensor, Tensor]:
        """For each walk the sample itself or a random point of the box, whichever is an adversary first; and if any."""
        runs, batch = decision.runs, decision.runs.batch
        generator = torch.Generator().manual_seed(batch.options.seed + 7)
        x, found = runs.start, decision.holds(runs.start)
        for attempt in range(TRIES):
            if found.all() or batch.time_left <= 0:
                break
            share = (batch.noise(generator, STARTS, x.shape[1]) + 1.0) / 2.0
            if attempt % 2:
                share = share.round()
            tried = runs.lower + share * (runs.upper - runs.lower)
            won = decision.holds(tried) & ~found
            x, found = torch.where(won.unsqueeze(1), tried, x), found | won
        return x, found

    @staticmethod
    def _normal(decision: Decision, x: Tensor, step: int, generator: torch.Generator) -> Tensor:
        """Which way the adversaries lie: the mean of small steps, each with the sign of what the net says there."""
        runs, batch = decision.runs, decision.runs.batch
        share = FIRST_DISTANCE if step == 1 else 1.0 / x.shape[1]
        size = (share * runs.length(x)).clamp_min(1e-12).reshape(-1, 1, 1)
        signed, plain, votes, number = torch.zeros_like(x), torch.zeros_like(x), torch.zeros_like(x[:, :1]), 0
        while number < NEIGHBOURS * math.sqrt(step):
            noise = batch.noise(generator, STARTS, TOGETHER, x.shape[1])
            if runs.norm is not Norm.LINF:
                noise = torch.erfinv(noise.clamp(-1 + 1e-12, 1 - 1e-12))  # normal, so that no direction is preferred
            noise = noise / lengths(noise, Norm.L2).clamp_min(1e-30).unsqueeze(-1)
            near = decision.clip(x.unsqueeze(1) + size * noise)
            moved = (near - x.unsqueeze(1)) / size
            vote = torch.where(decision.holds(near), 1.0, -1.0).to(x).unsqueeze(-1)
            signed, plain = signed + (vote * moved).sum(1), plain + moved.sum(1)
            votes, number = votes + vote.sum(1), number + TOGETHER
        mean = votes / number
        normal = torch.where(mean.abs() == 1.0, mean * plain, signed - mean * plain)
        if runs.norm is Norm.LINF:
            return normal.sign()
        return normal / lengths(normal, Norm.L2).clamp_min(1e-30).unsqueeze(-1)

    @staticmethod
    def _jump(decision: Decision, x: Tensor, normal: Tensor, step: int) -> Tensor:
        """As far along the normal as is tried first, or half, a quarter … of it; stays where no step holds."""
        runs = decision.runs
        size = (runs.length(x) / math.sqrt(step)).unsqueeze(1)
        landed, done = x, torch.zeros_like(runs.goal, dtype=torch.bool)
        for _ in range(HALVINGS):
            tried = runs.clip(x + size * normal)
            won = decision.holds(tried) & ~done
            landed, done = torch.where(won.unsqueeze(1), tried, landed), done | won
            if done.all():
                break
            size = size / 2.0
        return landed


@dataclass(frozen=True, eq=False)
class Decision:
    """What a decision-based attack may ask: is the predicted class one that the row's question is about?"""

    runs: Runs
    sample: Tensor  # [B] of each row

    @property
    def targets(self) -> Tensor:
        """The classes of each row's question [B, each]."""
        return self.runs.batch.targets.reshape(-1, self.runs.batch.each)[self.sample]

    def classes(self, x: Tensor) -> Tensor:
        """The predicted class of each x [..., n]."""
        return self.runs.batch.device_graph.forward(x.reshape(-1, x.shape[-1])).argmax(1).reshape(x.shape[:-1])

    def holds(self, x: Tensor) -> Tensor:
        """Which of x [B, n] or [B, K, n] are adversaries."""
        classes = self.classes(x).reshape(len(self.runs), -1, 1)
        return (classes == self.targets.unsqueeze(1)).any(-1).reshape(x.shape[:-1])

    def clip(self, x: Tensor) -> Tensor:
        """The nearest points of the boxes, for x [B, K, n]."""
        return torch.minimum(torch.maximum(x, self.runs.lower.unsqueeze(1)), self.runs.upper.unsqueeze(1))

    def bisected(self, x: Tensor) -> Tensor:
        """Adversaries [B, n] brought to the boundary, on the segment to the center or by a ball that shrinks."""
        center, length = self.runs.center, self.runs.length(x).unsqueeze(1)
        low, high, best = torch.zeros_like(length), torch.ones_like(length), x
        for _ in range(BISECTIONS):
            middle = (low + high) / 2.0
            if self.runs.norm is Norm.LINF:
                tried = center + torch.minimum(torch.maximum(x - center, -middle * length), middle * length)
            else:
                tried = center + middle * (x - center)
            won = self.holds(tried).unsqueeze(1)
            best = torch.where(won, tried, best)
            high, low = torch.where(won, middle, high), torch.where(won, low, middle)
        return best

    def proposals(self, x: Tensor, distance: Tensor) -> Candidates:
        """Adversaries [B, n] as candidates for the goals of their classes."""
        batch = self.runs.batch
        goal = (self.classes(x).unsqueeze(1) == self.targets).int().argmax(1)
        return batch.runs(self.sample * batch.each + goal).proposals(x, distance)
