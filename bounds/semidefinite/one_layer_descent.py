"""Moments: inputs as vectors, and a ReLU's square at least as certain as its mean.

Think of the inputs as random within the box, knowing only means and covariances: E e_i² ≤ 1 for inputs scaled to
[-1, 1], and for a neuron h = A·e + k, a number |h| with E|h| ≤ (E h²)^½. The least mean of the goal over all such
moments is a semidefinite program [Raghunathan et al. 2018]; it is below the goal's least value, and far above what
chords prove where many neurons are open, since it knows that the inputs cannot push all neurons at once.

With every input a vector u_i of length ≤ 1 and an axis that means "one", moments are inner products, and the program is
a descent over those vectors [Burer & Monteiro 2003]: a forward and a backward product a step, in single precision.
Nothing here is proven. Where the descent ends says where parabolas touch, what inputs pay, the lower lines' slopes and
the multipliers of fixed phases; `bounds/semidefinite/one_layer_bound.py` makes rounding-sound bounds of them, valid
whatever they are. Later layers keep the lines that they have: it is the first layer's neurons that moments know.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from bounds.nodes.slope_ascent import adam
from bounds.propagation.sample_groups import Grouping
from encoders.deadline import look, out_of_time

AXES = 12
STEP, LAST_STEP = 2.0, 1e-3  # in units of a vector's length: long enough to turn it around at once
KEPT = 0.3  # of a step's direction, for the next
TURNED = 0.2  # how far lower lines and shares follow what the last step saw
TINY = 1e-9
DRAWS = 16
FLAT = 1e-3  # of a neuron's reach: parabolas are no narrower
NEAREST_STEPS = 30  # towards the least point of the function that the parabolas make


@dataclass(frozen=True, eq=False)
class Layer:
    """The first layer's open neurons in single precision, and N nodes by their nets: M of each net at most."""

    group: Grouping
    rows: Tensor  # [S, R, n]
    constant: Tensor  # [S, R, 1]

    @classmethod
    def of(cls, group: Grouping, rows: Tensor, constant: Tensor) -> Layer:
        return cls(group, rows.float(), constant.float().unsqueeze(-1))

    def spread(self, values: Tensor) -> Tensor:
        """[N, X] as [S, X, M]."""
        return self.group.spread(values.float()).transpose(1, 2)

    def each(self, wide: Tensor) -> Tensor:
        """[S, X, M, ...] as [N, X, ...]: the same undone."""
        return self.group.each(wide.transpose(1, 2))


@dataclass(frozen=True, eq=False)
class Box:
    """The layer over the inputs of each node's ball, scaled to [-1, 1]."""

    layer: Layer
    middle: Tensor  # [N, n]
    half: Tensor
    width: Tensor  # [S, n, M] half, in single precision
    constant: Tensor  # [S, R, M] of the neurons, at the middle

    @classmethod
    def of(cls, layer: Layer, down: Tensor, up: Tensor) -> Box:
        middle, half = (up - down) / 2, (up + down) / 2
        constant = layer.rows @ layer.spread(middle) + layer.constant
        return cls(layer, middle, half, layer.spread(half), constant)

    def up_to(self, vectors: Tensor) -> Tensor:
        """Neurons [S, R, M, K] of inputs [S, n, M, K], but for their constants."""
        scaled = vectors * self.width.unsqueeze(-1)
        return (self.layer.rows @ scaled.flatten(2)).view(*self.constant.shape, vectors.shape[3])

    def down_to(self, vectors: Tensor) -> Tensor:
        """Their gradient: inputs of neurons."""
        found = (self.layer.rows.transpose(1, 2) @ vectors.flatten(2)).view(*self.width.shape, vectors.shape[3])
        return found.mul_(self.width.unsqueeze(-1))


@dataclass(frozen=True, eq=False)
class Goal:
    """What is to be least: all [S, R, M] but `input` [S, n, M]."""

    input: Tensor  # coefficients of the inputs that no slope or multiplier below changes
    plain: Tensor  # of neurons, likewise
    convex: Tensor  # weights of open neurons with lower lines
    concave: Tensor  # and of those with upper lines
    sign: Tensor  # of fixed phases; 0 elsewhere
    chord: Tensor
    offset: Tensor


@dataclass(frozen=True, eq=False)
class Found:
    """Where the descent ended, of N nodes."""

    middle: Tensor  # [N, n] means of the inputs
    price: Tensor  # [N, n] of their squares
    mean: Tensor  # [N, R] of the neurons
    relaxed: Tensor  # [N, R] of their ReLUs
    slope: Tensor
    multiplier: Tensor
    share: Tensor  # of parabolas, where chords are not lower
    spread: Tensor  # root mean squares of neurons
    vectors: Tensor  # [N, n, K]


def vectors_of(mean: Tensor) -> Tensor:
    """[N, n, K] of length 1, with these means [N, n]."""
    mean = mean.float().clamp(-0.95, 0.95).unsqueeze(-1)
    axes = torch.randn(mean.shape[1], AXES - 1, generator=torch.Generator().manual_seed(0)).to(mean.device)
    return torch.cat([mean, (1.0 - mean * mean).sqrt() * (axes / axes.norm(dim=-1, keepdim=True))], dim=-1)


def descent(
    box: Box, goal: Goal, vectors: Tensor, slope: Tensor, multiplier: Tensor, unit: Tensor, steps: int
) -> Found:
    """Every step moves each input against its gradient, at a common pace; multipliers and lower lines follow."""
    vectors = box.layer.spread(vectors)
    slope, multiplier, unit = map(box.layer.spread, (slope, multiplier, unit.unsqueeze(-1)))
    share, moments = torch.ones_like(slope), (torch.zeros_like(slope), torch.zeros_like(slope))
    direction = torch.zeros_like(vectors)
    least = FLAT * (box.constant.abs() + box.layer.rows.abs() @ box.width).clamp_min(TINY)
    for step in range(steps + 1):
        look()
        neurons = box.up_to(vectors)
        neurons[..., 0] += box.constant
        mean = neurons[..., 0]
        spread = torch.maximum(neurons.norm(dim=-1), least)
        certain, chord = 0.5 * (mean + spread), goal.chord * mean + goal.offset
        follow = max(TURNED, 1.0 / (step + 2))
        slope = slope.lerp((mean > 0).float(), follow)
        share = share.lerp((certain <= chord).float(), follow)
        # What neurons must not be, -sign · h ≤ 0, at a price.
        pace = LAST_STEP + STEP * 0.5 * (1.0 + math.cos(math.pi * step / (steps + 1)))
        rise = adam(-goal.sign * mean, *moments, step + 1)
        multiplier = torch.where(goal.sign != 0, (multiplier + 0.25 * pace * unit * rise).clamp_min(0.0), multiplier)
        gradient = box.down_to(_behind(goal, neurons, slope, multiplier, share, spread))
        gradient[..., 0] += goal.input
        size = gradient.norm(dim=-1, keepdim=True)
        if step == steps:
            break
        direction.mul_(KEPT).addcdiv_(gradient, size.clamp_min(1e-30), value=1.0 - KEPT)
        vectors = vectors - pace * direction
        vectors = vectors / vectors.norm(dim=-1, keepdim=True).clamp_min(1.0)
    relaxed = torch.where(goal.concave > 0, torch.minimum(certain, chord), mean.clamp_min(0.0))
    price = 0.5 * size.squeeze(-1)
    price = torch.maximum(price, 1e-6 * price.amax(1, keepdim=True)).clamp_min(1e-30)
    narrow = (vectors[..., 0], price, mean, relaxed, slope, multiplier, share, spread)
    return Found(*map(box.layer.each, (*narrow, vectors)))


def _behind(goal: Goal, neurons: Tensor, slope: Tensor, multiplier: Tensor, share: Tensor, spread: Tensor) -> Tensor:
    """The gradient [S, R, M, K] of the goal's mean by the neurons' vectors."""
    gradient = neurons * (-0.5 * goal.concave * share / spread).unsqueeze(-1)
    upper = 0.5 * share + (1.0 - share) * goal.chord
    fixed = torch.where(goal.sign != 0, goal.sign * multiplier, 0.0)
    gradient[..., 0] += goal.plain + goal.convex * slope - goal.concave * upper - fixed
    return gradient


def least_point(box: Box, goal: Goal, found: Found, price: Tensor) -> Tensor:
    """[N, n] nearly where the convex function that parabolas and prices make is least on the box."""
    slope, multiplier, share, spread = map(box.layer.spread, (found.slope, found.multiplier, found.share, found.spread))
    price, point = box.layer.spread(price), box.layer.spread(found.middle.clamp(-1.0, 1.0))
    follow, last, pace = point, point, 1.0
    for _ in range(NEAREST_STEPS):
        if out_of_time():
            break
        h = box.up_to(follow.unsqueeze(-1)).squeeze(-1) + box.constant
        upper = share * 0.5 * (1.0 + h / spread) + (1.0 - share) * goal.chord
        fixed = torch.where(goal.sign != 0, goal.sign * multiplier, 0.0)
        before = goal.plain + goal.convex * slope - goal.concave * upper - fixed
        gradient = goal.input + box.down_to(before.unsqueeze(-1)).squeeze(-1) + 2.0 * price * follow
        point = (follow - gradient / (2.0 * price)).clamp(-1.0, 1.0)
        further = 0.5 * (1.0 + math.sqrt(1.0 + 4.0 * pace * pace))
        follow, last, pace = point + (pace - 1.0) / further * (point - last), point, further
    return box.layer.each(point).nan_to_num(0.0)


def draws(vectors: Tensor) -> Tensor:
    """[N, 2 · DRAWS, n] of random inputs with these moments [N, n, K], as they are and in corners of the box."""
    axes = torch.randn(AXES, DRAWS, generator=torch.Generator().manual_seed(0)).to(vectors.device)
    axes[0] = 1.0
    drawn = (vectors @ axes).double().transpose(1, 2)
    return torch.cat([drawn.clamp(-1.0, 1.0), drawn.sign()], dim=1)
