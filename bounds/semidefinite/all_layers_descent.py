"""Prices for the all-layers relaxation: inputs as vectors, and what each neuron makes of its own in the best case.

As in `bounds/semidefinite/one_layer_descent.py`, every input is a vector u of length ≤ 1, an axis means "one", and
moments are inner products [Burer & Monteiro 2003]. A neuron's h is a vector too, A·u + B·y + k, and its output y is the
vector that suits the goal best among those with

    |y|² ≤ y·h,    |y|² ≤ u·y₀,    max(0, h₀) ≤ y₀ ≤ chord:

two balls and a slab, a problem of one number a neuron (the price of the second ball), which bisection solves; the
others follow in closed form. That z = y - h has |z|² ≤ w·z₀ as well is no matter of y alone: its price rises where a
step missed it, and falls where not. Going up the layers makes all y; going down again makes what the goal gains from
each, and the prices. Inputs then move against their gradient. Nothing here is proven. With K axes it costs some 2·n·P·K
multiplications a step, and a hundred small operations a layer.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from bounds.nodes.slope_ascent import adam
from bounds.semidefinite.all_layers_quadratic import Prices, Program
from encoders.deadline import look

STEP, LAST_STEP = 1.0, 1e-3  # in units of a vector's length
KEPT = 0.3  # of a step's direction, for the next
FOLLOW = 0.3  # how far what is known of the goal's gain follows what the last step saw
MEAN = 0.2  # how far prices do
OTHER = 3.0  # a step of the price of the other side, in units of gain / w
BISECTIONS = 12
TINY, LOWEST, HIGHEST = 1e-12, 1e-6, 1e4


@dataclass(frozen=True, eq=False)
class Found:
    """Where the descent ended, of N nodes."""

    prices: Prices
    vectors: Tensor  # [N, n, AXES] of the inputs
    inner: Tensor  # [N, P] means of y
    before: Tensor  # [N, P] means of the neurons as they are in the net
    relaxed: Tensor  # [N, P] and of their ReLUs
    behind: Tensor  # [N, P] what the goal gains from each y
    value: Tensor  # [N] the least mean of the goal


@dataclass(frozen=True, eq=False)
class Answer:
    """What suits neurons best, and the prices at which it does."""

    output: Tensor  # [N, R, K]
    square: Tensor  # [N, R]
    bound: Tensor
    pressed: Tensor  # the gain along "one" where y₀ is at an end: above 0 at the lower


@torch.no_grad()
def descent(program: Program, vectors: Tensor, steps: int) -> Found:
    """From inputs [N, n, K], all at a common pace."""
    rows, inner, constant, goal_input, goal_inner, most, wide, chord, offset, sign = (
        part.float()
        for part in (
            program.input, program.inner, program.constant, program.goal_input, program.goal_inner, program.most,
            program.wide, program.chord, program.offset, program.sign,
        )
    )  # fmt: skip
    count, size, axes = *constant.shape, vectors.shape[2]
    h, y, gain = (rows.new_zeros(count, size, axes) for _ in range(3))
    gain[..., 0] = goal_inner
    square, bound, pressed, fixed, other = (rows.new_zeros(count, size) for _ in range(5))
    moments = torch.zeros_like(fixed), torch.zeros_like(fixed)
    unit = torch.cat([goal_inner.abs(), goal_inner.new_full((count, 1), TINY)], dim=-1).amax(-1, keepdim=True)
    direction = torch.zeros_like(vectors)
    is_open = sign == 0
    wide = torch.where(is_open, wide, 1.0)
    means: tuple[Tensor, ...] = ()
    for step in range(steps + 1):
        look()
        last = step == steps
        pace = LAST_STEP + STEP * 0.5 * (1.0 + math.cos(math.pi * step / (steps + 1)))
        every = rows @ vectors
        every[..., 0] += constant
        for layer in program.layers:
            h[:, layer] = every[:, layer]
            if layer.start:
                h[:, layer] += inner[:, layer, : layer.start] @ y[:, : layer.start]
            # Where |y|² = y·h, the price of the other side is linear in y.
            wanted = gain[:, layer] - other[:, layer].unsqueeze(-1) * h[:, layer]
            wanted[..., 0] -= other[:, layer] * wide[:, layer]
            best = best_response(wanted, *(part[:, layer] for part in (h, most, chord, offset, is_open)))
            y[:, layer], square[:, layer], bound[:, layer], pressed[:, layer] = vars(best).values()
        down = torch.zeros_like(gain)
        down[..., 0] = goal_inner
        gradient = torch.zeros_like(vectors)
        gradient[..., 0] = goal_input
        rise = adam(-sign * h[..., 0], *moments, step + 1)
        fixed = torch.where(is_open, 0.0, (fixed + 0.25 * pace * unit * rise).clamp_min(0.0))
        missed = (h.square().sum(-1) - (y * h).sum(-1)) / wide.square() + (h[..., 0] - y[..., 0]) / wide
        if program.whole:
            other = torch.where(is_open, other + OTHER * pace * missed * gain.norm(dim=-1) / wide, 0.0).clamp_min(0.0)
        for layer in reversed(program.layers):
            gain[:, layer] = gain[:, layer].lerp(down[:, layer], max(FOLLOW, 1 / (step + 2)))
            before = -square[:, layer].unsqueeze(-1) * y[:, layer]
            before[..., 0] += torch.where(h[:, layer, 0] > 0, pressed[:, layer].clamp_min(0.0), 0.0)
            before[..., 0] += pressed[:, layer].clamp_max(0.0) * chord[:, layer]
            before[..., 0] -= sign[:, layer] * fixed[:, layer]
            before += other[:, layer].unsqueeze(-1) * (2.0 * h[:, layer] - y[:, layer])
            before[..., 0] += other[:, layer] * wide[:, layer]
            if layer.start:
                down[:, : layer.start] += inner[:, layer, : layer.start].transpose(1, 2) @ before
            gradient += rows[:, layer].transpose(1, 2) @ before
        length = gradient.norm(dim=-1, keepdim=True)
        now = (square, bound, other, pressed, fixed, 0.5 * length.squeeze(-1), h[..., 0])
        # What a step prices is noisy; what a few do, together, is not.
        means = tuple(mean.lerp(part, MEAN) for mean, part in zip(means or now, now, strict=True))
        if last:
            break
        direction.mul_(KEPT).addcdiv_(gradient, length.clamp_min(1e-30), value=1.0 - KEPT)
        vectors = vectors - pace * direction
        vectors = vectors / vectors.norm(dim=-1, keepdim=True).clamp_min(1.0)
    square, bound, other, pressed, fixed, price, h_mean = means
    up = h_mean > 0
    prices = Prices(
        input=price,
        square=square,
        bound=bound,
        other=other,
        zero=torch.where(up, 0.0, pressed.clamp_min(0.0)),
        above=torch.where(up, pressed.clamp_min(0.0), 0.0),
        below=-pressed.clamp_max(0.0),
        sign=fixed,
    )
    value = (goal_input * vectors[..., 0]).sum(-1) + (goal_inner * y[..., 0]).sum(-1) + program.goal_constant
    h_mean, y_mean, behind = (part.double().nan_to_num() for part in (h[..., 0], y[..., 0], down[..., 0]))
    as_is = torch.where(program.turned, -h_mean, h_mean)
    relaxed = torch.where(program.turned, as_is + y_mean, y_mean)
    return Found(prices, vectors, y_mean, as_is, relaxed, behind, value)


def best_response(gain: Tensor, h: Tensor, most: Tensor, chord: Tensor, offset: Tensor, is_open: Tensor) -> Answer:
    """The y [N, R, K] with the least gain·y: see the module. `gain` and `h` are [N, R, K], the rest [N, R]."""
    gain_one, h_one = gain[..., 0], h[..., 0]
    gain_gain = gain[..., 1:].square().sum(-1)
    gain_h = (gain[..., 1:] * h[..., 1:]).sum(-1)
    h_h = h[..., 1:].square().sum(-1)
    length = (h_h + h_one * h_one).sqrt().clamp_min(TINY)
    least = h_one.clamp_min(0.0)
    highest = torch.maximum(chord * h_one + offset, least)

    def at(bound: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """|y|² - u·y₀, y₀ with its ends and without, and the sum of both prices."""
        along = gain_one + bound * (h_one - most)
        across = (gain_gain + 2.0 * bound * gain_h + bound * bound * h_h).clamp_min(0.0)
        total = torch.maximum((along * along + across).sqrt() / length, bound).clamp_min(TINY)
        free = 0.5 * (h_one - along / total)
        one = torch.minimum(torch.maximum(free, least), highest)
        room = (0.25 * h_h + one * h_one - one * one).clamp_min(1e-14 * length * length + 1e-20).sqrt()
        ended = torch.maximum(across.sqrt() / (2.0 * room), bound).clamp_min(TINY)
        total = torch.where(one == free, total, ended)
        of_h, of_gain = 0.5 - 0.5 * bound / total, -0.5 / total
        beside = of_h * of_h * h_h + 2.0 * of_h * of_gain * gain_h + of_gain * of_gain * gain_gain
        return beside + one * one - most * one, one, free, total

    none = torch.zeros_like(gain_one)
    beyond = at(none)[0] > 1e-9 * most * most
    unit = (gain_one * gain_one + gain_gain).sqrt() / most.clamp_min(TINY)
    low, high = LOWEST * unit, HIGHEST * unit
    for _ in range(BISECTIONS):
        middle = (low * high).sqrt()
        too_low = at(middle)[0] > 0
        low, high = torch.where(too_low, middle, low), torch.where(too_low, high, middle)
    bound = torch.where(beyond, high, none)
    _, one, free, total = at(bound)
    square = total - bound
    y = h * (0.5 - 0.5 * bound / total).unsqueeze(-1) - gain * (0.5 / total).unsqueeze(-1)
    y[..., 0] = one
    pressed = gain_one + square * (2.0 * one - h_one) + bound * (2.0 * one - most)
    ended = is_open & (one != free)
    nothing = torch.zeros_like(one)
    return Answer(
        torch.where(is_open.unsqueeze(-1), y, 0.0),
        torch.where(is_open, square, nothing),
        torch.where(is_open, bound, nothing),
        torch.where(ended, pressed, nothing),
    )
