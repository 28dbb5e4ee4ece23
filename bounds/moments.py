"""A node's bound by moments: inputs as vectors, and a ReLU's square at least as certain as its mean.

Think of the inputs as random within the box, knowing only means and covariances: E e_i² ≤ 1 for inputs scaled to
[-1, 1], and for a neuron h = A·e + k, a number |h| with E|h| ≤ (E h²)^½. The least mean of the goal over all such
moments is a semidefinite program [Raghunathan et al. 2018]; it is below the goal's least value, and far above what
chords prove where many neurons are open, since it knows that the inputs cannot push all neurons at once.

With every input a vector u_i of length ≤ 1 and an axis that means "one", moments are inner products, and the program is
a descent over those vectors [Burer & Monteiro 2003]: a forward and a backward product a step. Nothing here is proven.
What the descent ends in says where parabolas touch, what inputs pay, the lower lines' slopes and the multipliers of
fixed phases; `bounds/parabolas.py` makes one rounding-sound linear function of them, valid whatever they are.
Later layers keep the lines that they have: it is the first layer's neurons that moments know.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from bounds.climb import adam
from bounds.grouping import Grouping
from bounds.nodes import Nodes, Pass, either, handing_on
from bounds.parabolas import Parabolas, Touch
from bounds.phases import PhaseBounds, Touching

AXES = 12
STEP, LAST_STEP = 2.0, 1e-3  # in units of a vector's length: long enough to turn it around at once
KEPT = 0.3  # of a step's direction, for the next
TURNED = 0.2  # how far lower lines and shares follow what the last step saw
TINY, LEAST = 1e-9, 1e-300
DRAWS = 16  # of random inputs, each inside the box and in its corners
SMALLER_BALLS = 2  # at most, where the target is not reached
NEARER, LEAST_SHARE = 1.05, 0.3  # of the way to where the bound should be zero, and of the radius
FLAT = 1e-3  # of a neuron's reach: parabolas are no narrower
NEAREST_STEPS = 30  # towards the least point of the function that the parabolas make
VALUES_AT_ONCE = {"cpu": 2_000_000, "cuda": 400_000_000}  # of [inputs, nodes, axes]


@dataclass(frozen=True, eq=False)
class _Layer:
    """The first layer's open neurons in single precision, and N nodes by their nets: M of each net at most."""

    group: Grouping
    rows: Tensor  # [S, R, n]
    constant: Tensor  # [S, R, 1]

    @classmethod
    def of(cls, parabolas: Parabolas, group: Grouping) -> _Layer:
        return cls(group, parabolas.rows.float(), parabolas.constant.float().unsqueeze(-1))

    def spread(self, values: Tensor) -> Tensor:
        """[N, X] as [S, X, M]."""
        return self.group.spread(values.float()).transpose(1, 2)

    def each(self, wide: Tensor) -> Tensor:
        """[S, X, M, ...] as [N, X, ...]: the same undone."""
        return self.group.each(wide.transpose(1, 2))


@dataclass(frozen=True, eq=False)
class _Box:
    """The layer over the inputs of each node's ball, scaled to [-1, 1]."""

    layer: _Layer
    middle: Tensor  # [N, n]
    half: Tensor
    width: Tensor  # [S, n, M] half, in single precision
    constant: Tensor  # [S, R, M] of the neurons, at the middle

    @classmethod
    def of(cls, layer: _Layer, down: Tensor, up: Tensor) -> _Box:
        middle, half = (up - down) / 2, (up + down) / 2
        constant = layer.rows @ layer.spread(middle) + layer.constant
        return cls(layer, middle, half, layer.spread(half), constant)

    def up_to(self, vectors: Tensor) -> Tensor:
        """Neurons [S, R, M, K] of inputs [S, n, M, K], but for their constants."""
        scaled = vectors * self.width.unsqueeze(-1)
        return (self.layer.rows @ scaled.flatten(2)).unflatten(2, vectors.shape[2:])

    def down_to(self, vectors: Tensor) -> Tensor:
        """Their gradient: inputs of neurons."""
        found = (self.layer.rows.transpose(1, 2) @ vectors.flatten(2)).unflatten(2, vectors.shape[2:])
        return found.mul_(self.width.unsqueeze(-1))


@dataclass(frozen=True, eq=False)
class _Goal:
    """What is to be least: all [S, R, M] but `input` [S, n, M]."""

    input: Tensor  # coefficients of the inputs that no slope or multiplier below changes
    plain: Tensor  # of neurons, likewise
    convex: Tensor  # weights of open neurons with lower lines
    concave: Tensor  # and of those with upper lines
    sign: Tensor  # of fixed phases; 0 elsewhere
    chord: Tensor
    offset: Tensor


@dataclass(frozen=True, eq=False)
class _Found:
    """Where the descent ended, of N nodes, in double precision."""

    middle: Tensor  # [N, n] means of the inputs
    price: Tensor  # [N, n] of their squares
    mean: Tensor  # [N, R] of the neurons
    relaxed: Tensor  # [N, R] of their ReLUs
    slope: Tensor
    multiplier: Tensor
    share: Tensor  # of parabolas, where chords are not lower
    spread: Tensor  # root mean squares of neurons
    vectors: Tensor  # [N, n, K] in single precision


@torch.no_grad()
def with_moments(
    engine: PhaseBounds, parabolas: Parabolas, nodes: Nodes, seen: Pass, steps: int, target: float | Tensor
) -> tuple[Nodes, Pass]:
    """Raise bounds to `target` by the moments of the first layer; each node keeps the best function known of it."""
    goal = engine.enough(nodes, target)
    live = torch.nonzero(seen.distance < goal).flatten()
    at_once = max(1, VALUES_AT_ONCE[live.device.type] // (engine.stack.x.shape[2] * AXES))
    for chosen in torch.split(live, at_once):
        before = seen.take(chosen)
        part, found = _Raise(engine, parabolas, nodes.take(chosen), goal[chosen]).run(steps)
        best = either(found.distance >= before.distance, found, before, of=found)
        best = replace(best, distance=torch.maximum(found.distance, before.distance))
        nodes, seen = nodes.put(chosen, part), seen.put(chosen, best)
    return nodes, seen


class _Raise:
    """N nodes being raised."""

    def __init__(self, engine: PhaseBounds, parabolas: Parabolas, nodes: Nodes, target: Tensor) -> None:
        self.engine, self.parabolas, self.nodes, self.target = engine, parabolas, nodes, target
        self.first = engine.stack.layers[0]
        self.plain = engine.evaluate(nodes)
        self.inherited = engine.through(nodes, self.plain, nodes.normal, nodes.height)
        self.unit = engine.stack.goal_z[nodes.goal].abs().amax((-1, -2)).clamp_min(1e-12)

    def run(self, steps: int) -> tuple[Nodes, Pass]:
        """On the ball of the target; where that is not closed, on smaller ones, which say how far the node is."""
        nodes, plain, first = self.nodes, self.plain, self.first
        known = (nodes.height > -torch.inf).unsqueeze(-1)
        down, up = self.parabolas.room(self.engine.stack.grouped(nodes.goal), self.target)
        middle, half = (up - down) / 2, (up + down) / 2
        mean = torch.where(known, (nodes.point - middle) / half.clamp_min(LEAST), -0.5 * plain.normal.sign())
        every = torch.arange(len(nodes), device=mean.device)
        ball = self._on(every, self.target, _vectors(mean), steps)
        nodes = replace(ball.nodes, point=middle + half * ball.found.middle.clamp(-1.0, 1.0))
        best = either(self.inherited.distance > ball.seen.distance, self.inherited, ball.seen)
        before, behind = plain.preactivation.clone(), plain.mean_behind.clone()
        before[:, first], behind[:, first] = ball.found.mean, ball.found.relaxed
        shift = middle + half * self._likely(ball.found.vectors, middle, half)
        best = replace(best, mean_before=before, mean_behind=behind, shift=shift)
        nodes = handing_on(replace(nodes, normal=best.normal, height=best.height), best)
        distance = best.distance.clone()
        live = every
        for _ in range(SMALLER_BALLS):
            going = ball.nearer > distance[live]
            if not bool(going.any()):
                break
            live, radius = live[going], ball.nearer[going]
            ball = self._on(live, radius, ball.found.vectors[going], steps // 3)
            proven = torch.minimum(ball.seen.distance, radius)
            distance[live] = torch.maximum(distance[live], proven)
        return nodes, replace(best, distance=distance)

    def _likely(self, vectors: Tensor, middle: Tensor, half: Tensor) -> Tensor:
        """[N, n] the likeliest adversary of each node among random inputs with these moments."""
        axes = torch.randn(AXES, DRAWS, generator=torch.Generator().manual_seed(0)).to(vectors.device)
        axes[0] = 1.0
        drawn = (vectors @ axes).double().transpose(1, 2)  # [N, DRAWS, n]
        drawn = torch.cat([drawn.clamp(-1.0, 1.0), drawn.sign()], dim=1)
        values = self.engine.values(self.nodes, middle.unsqueeze(1) + half.unsqueeze(1) * drawn)
        return drawn[torch.arange(len(drawn), device=drawn.device), values.argmin(-1)]

    def _on(self, chosen: Tensor, radius: Tensor, vectors: Tensor, steps: int) -> _Ball:
        """The nodes `chosen` on balls of `radius` [N]; what is found holds there only."""
        engine, parabolas, first = self.engine, self.parabolas, self.first
        nodes, plain = self.nodes.take(chosen), self.plain.take(chosen)
        group = engine.stack.grouped(nodes.goal)
        down, up = parabolas.room(group, radius)
        box = _Box.of(_Layer.of(parabolas, group), down, up)
        goal = _goal(parabolas, box, nodes, plain, first)
        is_open = nodes.phase[:, first] == 0
        found = _descent(
            box, goal, vectors, nodes.slope[:, first], nodes.multiplier[:, first], self.unit[chosen], steps
        )
        slope, multiplier = nodes.slope.clone(), nodes.multiplier.clone()
        slope[:, first] = torch.where(is_open, found.slope, slope[:, first])
        multiplier[:, first] = torch.where(is_open, multiplier[:, first], found.multiplier)
        nodes = replace(nodes, slope=slope, multiplier=multiplier)
        chord, offset = (line[:, first] for line in nodes.lines)
        concave = torch.where(is_open, (-plain.behind[:, first]).clamp_min(0.0), 0.0) * (1.0 + 1e-12)
        touch = Touch(
            found.relaxed, found.share, found.spread, chord, offset,
            found.price / box.half.square().clamp_min(LEAST), box.middle, concave, down, up,
        )  # fmt: skip
        touch = parabolas.priced(group, touch)
        least = box.middle + box.half * _least(box, goal, found, touch.price * box.half.square())
        touched = torch.zeros_like(nodes.phase, dtype=torch.bool)
        touched[:, first] = is_open

        def through(point: Tensor) -> Pass:
            drawn = Touching(parabolas, touch.drawn_at(point), touched, plain.preactivation, plain.preactivation)
            return engine.evaluate(nodes, None, drawn)

        # On the way from the center to its least point the function falls to zero: drawn there, it says most of
        # distances.
        lowest = through(least)
        across = through(least * _crossing(parabolas, group, touch, lowest, least).unsqueeze(-1))
        best = either(across.distance >= lowest.distance, across, lowest)
        return _Ball(nodes, found, best, _nearer(touch, lowest, least, radius))


@dataclass(frozen=True, eq=False)
class _Ball:
    """What was found of N nodes on one ball each."""

    nodes: Nodes
    found: _Found
    seen: Pass
    nearer: Tensor  # [N] a smaller ball that may well be closed; 0 where this one is


def _nearer(touch: Touch, lowest: Pass, least: Tensor, radius: Tensor) -> Tensor:
    """[N] where the least value would be a little above zero, at the rate at which it falls with the ball."""
    reach = radius.unsqueeze(-1)
    rate = touch.price * ((least + touch.down) * (touch.up >= reach) + (touch.up - least) * (touch.down >= reach))
    value = lowest.height - (lowest.normal.clamp_min(0.0) * touch.down - lowest.normal.clamp_max(0.0) * touch.up).sum(
        -1
    )
    found = radius + NEARER * (value / rate.sum(-1).clamp_min(LEAST))
    found = torch.maximum(found, LEAST_SHARE * radius)
    return torch.where(torch.isfinite(found) & (value < 0), found, 0.0)


def _goal(parabolas: Parabolas, box: _Box, nodes: Nodes, plain: Pass, first: slice) -> _Goal:
    phase, behind, before = nodes.phase[:, first], plain.behind[:, first], plain.before[:, first]
    chord, offset = (line[:, first] for line in nodes.lines)
    is_open = phase == 0
    own = (plain.normal - box.layer.group.times(before, parabolas.rows)) * box.half
    parts = (
        own,
        torch.where(phase > 0, behind, 0.0),
        torch.where(is_open, behind, 0.0).clamp_min(0.0),
        torch.where(is_open, -behind, 0.0).clamp_min(0.0),
        phase,
        chord,
        offset,
    )
    return _Goal(*(box.layer.spread(part) for part in parts))


def _vectors(mean: Tensor) -> Tensor:
    """[N, n, K] of length 1, with these means [N, n]."""
    mean = mean.float().clamp(-0.95, 0.95).unsqueeze(-1)
    axes = torch.randn(mean.shape[1], AXES - 1, generator=torch.Generator().manual_seed(0)).to(mean.device)
    return torch.cat([mean, (1.0 - mean * mean).sqrt() * (axes / axes.norm(dim=-1, keepdim=True))], dim=-1)


def _descent(
    box: _Box, goal: _Goal, vectors: Tensor, slope: Tensor, multiplier: Tensor, unit: Tensor, steps: int
) -> _Found:
    """Every step moves each input against its gradient, at a common pace; multipliers and lower lines follow."""
    vectors = box.layer.spread(vectors)
    slope, multiplier, unit = map(box.layer.spread, (slope, multiplier, unit.unsqueeze(-1)))
    share, moments = torch.ones_like(slope), (torch.zeros_like(slope), torch.zeros_like(slope))
    direction = torch.zeros_like(vectors)
    least = FLAT * (box.constant.abs() + box.layer.rows.abs() @ box.width).clamp_min(TINY)
    for step in range(steps + 1):
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
    found = (vectors[..., 0], price, mean, relaxed, slope, multiplier, share, spread)
    return _Found(*(box.layer.each(part).double() for part in found), box.layer.each(vectors))


def _behind(goal: _Goal, neurons: Tensor, slope: Tensor, multiplier: Tensor, share: Tensor, spread: Tensor) -> Tensor:
    """The gradient [S, R, M, K] of the goal's mean by the neurons' vectors."""
    gradient = neurons * (-0.5 * goal.concave * share / spread).unsqueeze(-1)
    upper = 0.5 * share + (1.0 - share) * goal.chord
    fixed = torch.where(goal.sign != 0, goal.sign * multiplier, 0.0)
    gradient[..., 0] += goal.plain + goal.convex * slope - goal.concave * upper - fixed
    return gradient


def _least(box: _Box, goal: _Goal, found: _Found, price: Tensor) -> Tensor:
    """[N, n] nearly where the convex function that parabolas and prices make is least on the box."""
    slope, multiplier, share, spread = map(box.layer.spread, (found.slope, found.multiplier, found.share, found.spread))
    price, point = box.layer.spread(price), box.layer.spread(found.middle.clamp(-1.0, 1.0))
    follow, last, pace = point, point, 1.0
    for _ in range(NEAREST_STEPS):
        h = box.up_to(follow.unsqueeze(-1)).squeeze(-1) + box.constant
        upper = share * 0.5 * (1.0 + h / spread) + (1.0 - share) * goal.chord
        fixed = torch.where(goal.sign != 0, goal.sign * multiplier, 0.0)
        before = goal.plain + goal.convex * slope - goal.concave * upper - fixed
        gradient = goal.input + box.down_to(before.unsqueeze(-1)).squeeze(-1) + 2.0 * price * follow
        point = (follow - gradient / (2.0 * price)).clamp(-1.0, 1.0)
        further = 0.5 * (1.0 + math.sqrt(1.0 + 4.0 * pace * pace))
        follow, last, pace = point + (pace - 1.0) / further * (point - last), point, further
    return box.layer.each(point).double().nan_to_num(0.0)


def _crossing(parabolas: Parabolas, group: Grouping, touch: Touch, lowest: Pass, way: Tensor) -> Tensor:
    """[N] the share of the way from the center to the least point at which the function is zero; 1 if it never is."""
    curvature = touch.most * touch.share / (4.0 * touch.spread)
    moved = group.times(way, parabolas.rows.transpose(1, 2))
    bend = (touch.price * way.square()).sum(-1) - (curvature * moved.square()).sum(-1)
    end, slope = lowest.height + (lowest.normal * way).sum(-1), (lowest.normal * way).sum(-1)
    # end + slope · t + bend · t² = 0 for t in [-1, 0], t = 0 being the least point.
    root = (slope.square() - 4.0 * bend.clamp_min(0.0) * end).clamp_min(0.0).sqrt()
    back = 2.0 * end / (root - slope).clamp_min(LEAST)
    return torch.where(end < 0, 1.0 + back, 1.0).nan_to_num(1.0).clamp(0.0, 1.0)
