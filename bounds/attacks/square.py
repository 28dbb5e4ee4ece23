"""Square: random squares of the largest change, kept where they bring the goal nearer; it needs no gradient.

Andriushchenko, Croce, Flammarion & Hein, Square Attack: a query-efficient black-box adversarial attack via random
search, 2020. In L∞ the walk starts with vertical stripes, and a square takes one of the ball's two sides in each
channel. In L2 it starts with a tiling of bumps, and a square gets a new bump that is paid for by what another square
gives up, so that the point stays on the sphere. The squares shrink as the walk goes on. They attack a ball that is
given; here it is searched for. What is no image is one row of inputs, and its squares are stretches of it.
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor

from bounds.attacks.ball_search import BallSearch
from bounds.attacks.base import AttackBatch, Candidates, Runs
from bounds.attacks.batch import lengths
from bounds.attacks.steps import project
from bounds.attacks.walk import Nearest
from encoders.question import Norm

LONGER = 10  # times the steps of the other attacks: each of these is one forward pass
FIRST_SHARE = {Norm.LINF: 0.05, Norm.L2: 0.3, Norm.L1: 0.3}  # of the pixels, that the first squares cover
GAIN = 1e-9  # relative; what is less is rounding, and no reason to move
LEAST_SIDE = 3  # of squares that are bumps
HALVINGS = (0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8)  # of the walk; after each squares are half as large
TILES = 5  # across, that the walk in L2 starts with


class Square(BallSearch):
    """See the module."""

    name: ClassVar[str] = "square"
    norms: ClassVar[frozenset[Norm]] = frozenset({Norm.LINF, Norm.L2})
    only_named: ClassVar[bool] = True  # hundreds of passes for every ball: seconds a sample
    starts: ClassVar[int | None] = 1
    salt: ClassVar[int] = 5

    def first(self, batch: AttackBatch, goals: Runs) -> tuple[Tensor, Candidates]:
        return torch.full_like(goals.offset[:, 0], torch.inf), Candidates.none(batch.center.shape[1])

    def descend(self, runs: Runs, start: Tensor, radius: Tensor, seen: Nearest) -> None:
        batch = runs.batch
        generator = torch.Generator().manual_seed(batch.options.seed + self.salt)
        channels, height, width = image = plane(batch.device_graph.graph.input_shape)
        shape = (len(runs), *image)
        draws = batch.each * (len(runs) // len(batch.goals))  # of one sample
        center, size = runs.start.reshape(shape), radius.reshape(-1, 1, 1, 1)
        if runs.norm is Norm.LINF:
            opening = stripes(batch.noise(generator, draws, channels, 1, width), height)
        else:
            opening = tiles(batch.noise(generator, draws, channels, TILES, TILES), height, width)
        begins = (start == runs.center).all(1).reshape(-1, 1, 1, 1)
        change = torch.where(begins, self._sized(opening, radius, runs.norm), start.reshape(shape) - center)
        change = change * (change.abs() > GAIN * size)  # a rounding error is no change to be made larger
        x = project(runs, (center + change).flatten(1), radius)
        best = runs.worst(x)
        steps = LONGER * batch.options.steps
        for step in range(steps):
            if batch.time_left <= 0:
                break
            share = FIRST_SHARE[runs.norm] * 0.5 ** sum(step >= part * steps for part in HALVINGS)
            side = side_of(share, height, width, 1 if runs.norm is Norm.LINF else LEAST_SIDE)
            drawn = batch.noise(generator, draws, 4)
            signs = batch.noise(generator, draws, channels).sign()[:, :, None, None]
            here = window(drawn[:, :2], side, height, width)[:, None]
            if runs.norm is Norm.LINF:
                tried = torch.where(here, size * signs, change)
            else:
                there = window(drawn[:, 2:], side, height, width)[:, None] & ~here
                tried = self._moved(change, here, there, signs, radius, runs.norm)
            ahead = project(runs, (center + tried).flatten(1), radius)
            value = runs.worst(ahead)
            better = value < best - GAIN * best.abs()
            change = torch.where(better.reshape(-1, 1, 1, 1), tried, change)
            x, best = torch.where(better.unsqueeze(1), ahead, x), torch.where(better, value, best)
        seen.see(x, best)  # of points that are all as far from the center the one that is deepest among the adversaries

    @staticmethod
    def _sized(change: Tensor, radius: Tensor, norm: Norm) -> Tensor:
        """The same direction, as long as the radius."""
        length = lengths(change.flatten(1), norm).clamp_min(1e-30)
        return change * (radius / length).reshape(-1, 1, 1, 1)

    def _moved(self, change: Tensor, here: Tensor, there: Tensor, signs: Tensor, radius: Tensor, norm: Norm) -> Tensor:
        """One square's change given up, and as much as the ball then has room for put into a bump in the other."""
        kept = change * ~(here | there)
        power = 2.0 if norm is Norm.L2 else 1.0
        room = radius.pow(power) - lengths(kept.flatten(1), norm).pow(power)
        room = room * (room > GAIN * radius.pow(power))
        bump = bump_in(here) * signs
        old = self._sized(change * here, torch.ones_like(radius), norm)
        bump = self._sized(bump, torch.ones_like(radius), norm) + old
        return kept + self._sized(bump, room.pow(1.0 / power), norm)


def stripes(noise: Tensor, height: int) -> Tensor:
    """Of each column and channel one side of the ball, for noise [B, C, 1, W]."""
    return noise.sign().expand(-1, -1, height, -1)


def tiles(noise: Tensor, height: int, width: int) -> Tensor:
    """A tiling whose tiles are bumps of either sign, for noise [B, C, T, T]."""
    row, column = (torch.arange(length, device=noise.device) * TILES // length for length in (height, width))
    fall = hill(row)[:, None] * hill(column)[None, :]
    return noise.sign()[:, :, row][:, :, :, column] * fall


def side_of(share: float, height: int, width: int, least: int) -> tuple[int, int]:
    """How high and wide the square is that covers about this share; in one row, how long the stretch."""
    if height == 1:
        return 1, min(width, max(least, round(share * width)))
    side = min(height, width, max(least, round(math.sqrt(share * height * width))))
    return side, side


def plane(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """(channels, height, width) of an input of this shape; what is no image of channels first is one row."""
    if len(shape) == 3 and shape[0] in (1, 3, 4):
        return shape[0], shape[1], shape[2]
    if len(shape) == 2 and min(shape) > 1:
        return 1, shape[0], shape[1]
    return 1, 1, math.prod(shape)


def window(drawn: Tensor, side: tuple[int, int], height: int, width: int) -> Tensor:
    """Squares at random places, as masks [B, H, W]; `drawn` [B, 2] in [-1, 1) says where each lies."""
    inside = []
    for place, length, most in zip(drawn.unbind(1), side, (height, width), strict=True):
        first = ((place + 1.0) / 2.0 * (most - length + 1)).long().clamp(0, most - length).unsqueeze(1)
        at = torch.arange(most, device=drawn.device)
        inside.append((at >= first) & (at < first + length))
    return inside[0][:, :, None] & inside[1][:, None, :]


def bump_in(here: Tensor) -> Tensor:
    """For masks [B, 1, H, W] of squares, what falls from the middle of each to its sides; zero outside."""
    falls = []
    for axis in (2, 3):
        along = here.any(dim=5 - axis)[:, 0].to(torch.float64)  # [B, H] or [B, W]
        rank = along.cumsum(1)
        falls.append(along * torch.minimum(rank, along.sum(1, keepdim=True) + 1 - rank))
    return (falls[0][:, :, None] * falls[1][:, None, :]).unsqueeze(1)


def hill(tile: Tensor) -> Tensor:
    """Along one axis, what falls from the middle of each tile to its sides; `tile` says to which each place belongs."""
    place = torch.arange(len(tile), device=tile.device)
    same = tile[:, None] == tile[None, :]
    before = (same & (place[None, :] <= place[:, None])).sum(1)
    after = (same & (place[None, :] >= place[:, None])).sum(1)
    return torch.minimum(before, after).to(torch.float64)
