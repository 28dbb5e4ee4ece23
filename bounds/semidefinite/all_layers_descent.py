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
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from bounds.nodes.slope_ascent import adam
from bounds.nodes.starts import Start
from bounds.semidefinite.all_layers_quadratic import Prices, Program
from encoders.deadline import look

STEP, LAST_STEP = 1.0, 1e-3  # in units of a vector's length
KEPT = 0.3  # of a step's direction, for the next
FOLLOW = 0.3  # how far what is known of the goal's gain follows what the last step saw
MEAN = 0.2  # how far prices do
OTHER = 0.5  # a step of the price of the other side, in units of gain / w
BISECTIONS, NEAR_BISECTIONS = 12, 6  # without and with a price of the step before
NEAR = 3.0  # times as much, or as little, a price may become in a step
GOING_ON = ("vectors", "gain", "bound", "other", "fixed", "lost")  # what a descent goes on from
TINY, LOWEST, HIGHEST = 1e-12, 1e-6, 1e4


@dataclass(frozen=True, eq=False)
class Found:
    """Where the descent ended, of N nodes."""

    prices: Prices
    vectors: Tensor  # [N, n, AXES] of the inputs
    outputs: Tensor  # [N, P, AXES] and of y
    inner: Tensor  # [N, P] means of y
    before: Tensor  # [N, P] means of the neurons as they are in the net
    relaxed: Tensor  # [N, P] and of their ReLUs
    behind: Tensor  # [N, P] what the goal gains from each y
    value: Tensor  # [N] the least mean of the goal

    def take(self, index: Tensor) -> Found:
        """The same of some nodes."""
        prices = Prices(**{name: part[index] for name, part in vars(self.prices).items()})
        rest = {name: part[index] for name, part in vars(self).items() if name != "prices"}
        return Found(prices=prices, **rest)


@dataclass(frozen=True, eq=False)
class Answer:
    """What suits neurons best, and the prices at which it does."""

    output: Tensor  # [N, R, K]
    square: Tensor  # [N, R]
    bound: Tensor
    pressed: Tensor  # the gain along "one" where y₀ is at an end: above 0 at the lower


class Descent:
    """A descent of N nodes from inputs [N, n, K], all at a common pace; it goes on where it stopped."""

    @torch.no_grad()
    def __init__(self, program: Program, vectors: Tensor) -> None:
        self.program, self.vectors = program, vectors
        self.single = program.changed(Tensor.float)
        count, size, axes = *program.constant.shape, vectors.shape[2]
        self.gain = vectors.new_zeros(count, size, axes)  # of the goal from each y, as the steps so far saw it
        self.gain[..., 0] = self.single.goal_inner
        self.direction = torch.zeros_like(vectors)
        self.bound, self.other, self.fixed, *self.moments = (vectors.new_zeros(count, size) for _ in range(5))
        self.lost = vectors.new_full((count,), torch.inf)  # the least by which prices so far fell short of values
        self.means: tuple[Tensor, ...] = ()
        self.taken, self.goes_on = 0, False

    def go_on(self, starts: Sequence[Start]) -> None:
        """From where earlier descents of like nodes ended, one for each node."""
        for name in GOING_ON:
            setattr(self, name, torch.stack([start[name] for start in starts]))
        self.goes_on = True

    def start(self, index: int) -> Start:
        """What a child of a node goes on from."""
        return {name: getattr(self, name)[index].clone() for name in GOING_ON}

    def take(self, index: Tensor) -> Descent:
        """The same of some nodes."""
        other = Descent(self.program.take(index), self.vectors[index])
        for name in (*GOING_ON, "direction"):
            setattr(other, name, getattr(self, name)[index])
        other.moments = [part[index] for part in self.moments]
        other.taken, other.goes_on = self.taken, self.goes_on
        other.means = tuple(part[index] for part in self.means)
        return other

    @torch.no_grad()
    def run(self, steps: int, pace: float = STEP) -> Found:
        """So many steps of `pace` times a vector's length at first, and shorter ones towards the end."""
        for step in range(steps + 1):
            look()
            length = LAST_STEP + pace * 0.5 * (1.0 + math.cos(math.pi * step / (steps + 1)))
            seen = self._seen(length)
            # What a step prices is noisy; what a few do, together, is not.
            self.means = tuple(
                mean.lerp(part, MEAN) for mean, part in zip(self.means or seen.now, seen.now, strict=True)
            )
            if step < steps:
                size = seen.gradient.norm(dim=-1, keepdim=True).clamp_min(1e-30)
                self.direction.mul_(KEPT).addcdiv_(seen.gradient, size, value=1.0 - KEPT)
                vectors = self.vectors - length * self.direction
                self.vectors = vectors / vectors.norm(dim=-1, keepdim=True).clamp_min(1.0)
        return self._found(seen)

    def _seen(self, pace: float) -> _Step:
        """One way up the layers, and one down again; prices follow at this pace."""
        program, fixed, other, gain = self.single, self.fixed, self.other, self.gain
        is_open = program.sign == 0
        wide = torch.where(is_open, program.wide, 1.0)
        unit = torch.cat([program.goal_inner.abs(), program.goal_inner.new_full((len(wide), 1), TINY)], dim=-1)
        unit = unit.amax(-1, keepdim=True)
        h = program.input @ self.vectors
        h[..., 0] += program.constant
        y = torch.zeros_like(h)
        square, pressed = torch.zeros_like(wide), torch.zeros_like(wide)
        bisections = NEAR_BISECTIONS if self.taken or self.goes_on else BISECTIONS
        for layer in program.layers:
            if layer.start:
                h[:, layer] += program.inner[:, layer, : layer.start] @ y[:, : layer.start]
            # Where |y|² = y·h, the price of the other side is linear in y.
            wanted = gain[:, layer] - other[:, layer].unsqueeze(-1) * h[:, layer]
            wanted[..., 0] -= other[:, layer] * wide[:, layer]
            given = (part[:, layer] for part in (h, program.most, program.chord, program.offset, is_open))
            best = best_response(wanted, *given, near=self.bound[:, layer], bisections=bisections)
            y[:, layer], square[:, layer], pressed[:, layer] = best.output, best.square, best.pressed
            self.bound[:, layer] = best.bound
        down = torch.zeros_like(gain)
        down[..., 0] = program.goal_inner
        gradient = torch.zeros_like(self.vectors)
        gradient[..., 0] = program.goal_input
        self.taken += 1
        rise = adam(-program.sign * h[..., 0], self.moments[0], self.moments[1], self.taken)
        self.fixed = fixed = torch.where(is_open, 0.0, (fixed + 0.25 * pace * unit * rise).clamp_min(0.0))
        missed = (h.square().sum(-1) - (y * h).sum(-1)) / wide.square() + (h[..., 0] - y[..., 0]) / wide
        if program.whole:
            other = torch.where(is_open, other + OTHER * pace * missed * gain.norm(dim=-1) / wide, 0.0).clamp_min(0.0)
            self.other = other
        follow = FOLLOW if self.goes_on else max(FOLLOW, 1 / (self.taken + 1))
        for layer in reversed(program.layers):
            gain[:, layer] = gain[:, layer].lerp(down[:, layer], follow)
            before = -square[:, layer].unsqueeze(-1) * y[:, layer]
            before[..., 0] += torch.where(h[:, layer, 0] > 0, pressed[:, layer].clamp_min(0.0), 0.0)
            before[..., 0] += pressed[:, layer].clamp_max(0.0) * program.chord[:, layer]
            before[..., 0] -= program.sign[:, layer] * fixed[:, layer]
            before += other[:, layer].unsqueeze(-1) * (2.0 * h[:, layer] - y[:, layer])
            before[..., 0] += other[:, layer] * wide[:, layer]
            if layer.start:
                down[:, : layer.start] += program.inner[:, layer, : layer.start].transpose(1, 2) @ before
            gradient += program.input[:, layer].transpose(1, 2) @ before
        now = (square, self.bound.clone(), other, pressed, fixed, 0.5 * gradient.norm(dim=-1), h[..., 0])
        return _Step(gradient, h, y, down, now)

    def _found(self, last: _Step) -> Found:
        square, bound, other, pressed, fixed, price, h_mean = self.means
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
        program, y_one = self.single, last.y[..., 0]
        value = (program.goal_input * self.vectors[..., 0]).sum(-1) + (program.goal_inner * y_one).sum(-1)
        h_mean, y_mean, behind = (part.double().nan_to_num() for part in (last.h[..., 0], y_one, last.down[..., 0]))
        as_is = torch.where(self.program.turned, -h_mean, h_mean)
        relaxed = torch.where(self.program.turned, as_is + y_mean, y_mean)
        value = value.double() + self.program.goal_constant
        return Found(prices, self.vectors, last.y, y_mean, as_is, relaxed, behind, value)


@dataclass(frozen=True, eq=False)
class _Step:
    """What one way up and down saw."""

    gradient: Tensor  # [N, n, K]
    h: Tensor  # [N, P, K]
    y: Tensor
    down: Tensor  # what the goal gains from each y
    now: tuple[Tensor, ...]  # what is averaged


def best_response(
    gain: Tensor,
    h: Tensor,
    most: Tensor,
    chord: Tensor,
    offset: Tensor,
    is_open: Tensor,
    *,
    near: Tensor | None = None,
    bisections: int = BISECTIONS,
) -> Answer:
    """The y [N, R, K] with the least gain·y: see the module. `gain` and `h` are [N, R, K], the rest [N, R].

    `near` is about the price of the second ball where it had one a step ago: it moves little from step to step.
    """
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
    if near is not None:
        low, high = torch.where(near > 0, near / NEAR, low), torch.where(near > 0, near * NEAR, high)
    for _ in range(bisections):
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
