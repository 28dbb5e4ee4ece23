"""Products of neurons and inputs: what a semidefinite relaxation of several layers proves, made a line.

Every open neuron has a row h = A·e + B·y + k over the inputs e, scaled to [-1, 1] on a ball, and the outputs y of the
open neurons before it, y = relu(h) ≤ u. True of every input of the ball are then

    y·(y - h) = 0,    y·(y - u) ≤ 0,    y ≥ 0,    y ≥ h,    y ≤ the chord over h,    (e - low)·(e - high) ≤ 0,

and of the other side z = y - h = relu(-h) ≤ w, z·(z - w) ≤ 0, which is h² - y·h + w·(h - y) ≤ 0: what holds h together
where y is small. Each may be added to the goal at a price (the first at any, the others at one that is not negative):
the goal is at least a quadratic function of p = (e, y). With rows R = [A B], that is h = R·p + k, its matrix is

    S = diag(price, Λ + H) + Rᵀ·M·R - ½ ([0 Λ+M]ᵀ·R + Rᵀ·[0 Λ+M]),

Λ prices of y·(y - h), H of y·(y - u), M of z·(z - w), and where S has no negative eigenvalue, a quadratic function is
nowhere below its tangents. A tangent is linear; what it says of neurons goes down to the inputs by lower line 0 and
chords. Prices come from `bounds/semidefinite/all_layers_descent.py`, and any are made good here: that no eigenvalue of
S is below some -t, at its scale, is proven by a Cholesky factor's residual; and inputs and neurons pay t more. This is
the relaxation of Raghunathan et al. (2018) for all layers at once, with y ≤ u and z ≤ w among its products, and without
the neurons that the ball decides. Where inputs are too many, M is nothing; they are eliminated, and the matrix is one
of neurons.

Where -l < u it is relu(-h) that has the smaller bound: such a neuron is *turned*, y = relu(-h), and later rows get
relu(h) = h + relu(-h). Neurons of fixed phases are h or nothing in later rows; their signs have prices of their own.

Trusted are rows with their errors, and that adversaries of interest lie in the ball and within the neurons' bounds.
Costs some 2·(n + P)³ multiplications a node, for n inputs and P neurons, or P²·n + 2·P³ without M.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypeVar

import torch
from torch import Tensor

from bounds.geometry.eigenvalue_bounds import (
    LEAST,
    about_greatest,
    closer_greatest,
    no_eigenvalue_above,
    taken_where_cheap,
)
from bounds.nodes.node_bounds import NodeBounds
from bounds.nodes.records import Nodes
from bounds.propagation.backward_pass import chords
from bounds.rounding import UNIT_ROUNDOFF, gamma
from encoders.deadline import look, out_of_time

ROOM = 3e-3  # of what a row of S has beside its diagonal, to be paid at least
LEAST_NEAR = 1e-4  # below, it costs nothing
LANCZOS = 60  # steps: the least eigenvalue is near many others
STEEP_LANCZOS, STEEPER = 12, 1.1  # steps to the greatest, which is not, and how much it may be missed by
MOST_TOGETHER = 2500  # inputs and neurons in one matrix
MORE, STEEP = 0.01, 2.5  # of their scale, that inputs pay more where they are eliminated; about S's greatest eigenvalue
ENOUGH = 0.005  # of a score, that all may pay together for what few do not
LEAST_COST = 1e-3  # of the mean: what costs nothing would pay for everything
NEAREST_STEPS = 60  # towards the least point
NARROW = 1e-9  # of a neuron's bounds: y has at least this much room


R = TypeVar("R", "Program", "Prices")


@dataclass(frozen=True, eq=False)
class Program:
    """N nodes' rows, on a ball for each: see the module. P neurons, n inputs."""

    input: Tensor  # A [N, P, n]
    inner: Tensor  # B [N, P, P], strictly by layers
    constant: Tensor  # k [N, P]
    error: Tensor  # [N, P] of rows
    goal_input: Tensor  # [N, n]
    goal_inner: Tensor  # [N, P]
    goal_constant: Tensor  # [N]
    goal_error: Tensor
    most: Tensor  # u [N, P]; 0 where the phase is fixed
    wide: Tensor  # w [N, P]; likewise
    chord: Tensor  # [N, P] y ≤ chord · h + offset
    offset: Tensor
    sign: Tensor  # [N, P] 0 where open, else ±1: sign · h ≥ 0
    turned: Tensor  # [N, P] bool
    reach: Tensor  # [N, P] no value on the way to h is larger
    middle: Tensor  # [N, n] d = middle + half · e
    half: Tensor
    layers: tuple[slice, ...]

    @classmethod
    @torch.no_grad()
    def of(cls, engine: NodeBounds, nodes: Nodes, radius: Tensor, turning: bool = True) -> Program:
        """On the parts of L∞ balls of `radius` [N] that lie in the box; with neurons turned, or all as they are."""
        stack = engine.stack
        member = stack.member[nodes.goal]
        down, up = (torch.minimum(side[member], radius.unsqueeze(-1)) for side in (stack.below, stack.above))
        middle, half = (up - down) / 2, (up + down) / 2 * (1.0 + 8.0 * UNIT_ROUNDOFF)
        half = torch.where(half > 0, half.clamp_min(LEAST), half)  # it is divided by; a wider ball holds the ball too
        is_open = nodes.phase == 0
        turned = is_open & (-nodes.lower < nodes.upper) & turning
        through = turned | (nodes.phase > 0)
        most = torch.minimum(nodes.upper, -nodes.lower)
        most = torch.maximum(most, NARROW * (nodes.upper - nodes.lower)).clamp_min(LEAST)
        largest = torch.maximum(nodes.upper, -nodes.lower).clamp_min(0.0)
        far = middle.abs() + half
        x, z, constant = stack.x[member], stack.z[member].clone(), stack.constant[member].clone()
        goal_x, goal_z, goal_constant, goal_slack = engine.goal_of(nodes)
        terms = 8.0 * gamma(sum(x.shape[1:]) + len(stack.layers) + 64)
        reach = _times(x.abs(), far) + _times(z.abs(), largest) + constant.abs()
        goal_reach = _dot(goal_x.abs(), far) + _dot(goal_z.abs(), largest) + goal_constant.abs()
        constant = constant + _times(x, middle)
        goal_constant = goal_constant + _dot(goal_x, middle)
        x, goal_x, goal_z = x * half.unsqueeze(1), goal_x * half, goal_z.clone()
        error, goal_error = stack.error[member] + terms * reach, goal_slack + terms * goal_reach
        for layer in stack.layers:
            later, before = slice(layer.stop, x.shape[1]), slice(0, layer.start)
            lost = error[:, layer] + terms * reach[:, layer]
            on = torch.where(through[:, None, layer], z[:, later, layer], 0.0)
            x[:, later] += on @ x[:, layer]
            z[:, later, before] += on @ z[:, layer, before]
            constant[:, later] += _times(on, constant[:, layer])
            error[:, later] += _times(on.abs(), lost)
            reach[:, later] += _times(on.abs(), reach[:, layer])
            on = torch.where(through[:, layer], goal_z[:, layer], 0.0)
            goal_x += _times(x[:, layer].transpose(1, 2), on)
            goal_z[:, before] += _times(z[:, layer, before].transpose(1, 2), on)
            goal_constant = goal_constant + _dot(on, constant[:, layer])
            goal_error = goal_error + _dot(on.abs(), lost)
            z[:, later, layer] = torch.where(is_open[:, None, layer], z[:, later, layer], 0.0)
            goal_z[:, layer] = torch.where(is_open[:, layer], goal_z[:, layer], 0.0)
            flip = torch.where(turned[:, layer], -1.0, 1.0)
            x[:, layer] *= flip.unsqueeze(-1)
            z[:, layer, before] *= flip.unsqueeze(-1)
            constant[:, layer] *= flip
        lower, upper = torch.where(turned, -nodes.upper, nodes.lower), torch.where(turned, -nodes.lower, nodes.upper)
        chord, offset, _ = chords(lower, upper)
        nothing = torch.zeros_like(most)
        return cls(
            x, z, constant, error * (1.0 + 1e-6), goal_x, goal_z, goal_constant, goal_error * (1.0 + 1e-6),
            torch.where(is_open, most, nothing), torch.where(is_open, largest, nothing),
            torch.where(is_open, chord, nothing), torch.where(is_open, offset, nothing),
            nodes.phase.to(x.dtype), turned, reach, middle, half, stack.layers,
        )  # fmt: skip

    def changed(self, change: Callable[[Tensor], Tensor]) -> Program:
        """With every tensor changed so."""
        return _changed(self, change)

    def take(self, index: Tensor) -> Program:
        """The same of some nodes."""
        return self.changed(lambda part: part[index])

    @property
    def whole(self) -> bool:
        """Whether inputs and neurons are few enough for one matrix, and the other side for prices of its own."""
        return self.input.shape[1] + self.input.shape[2] <= MOST_TOGETHER

    def within(self, down: Tensor, up: Tensor) -> tuple[Tensor, Tensor]:
        """The ends [N, n] of inputs e on smaller balls, from which inputs can go `down` and `up`."""
        moves = self.half > 0
        low, high = ((end - self.middle) / self.half.clamp_min(LEAST) for end in (-down, up))
        low, high = low - 16.0 * UNIT_ROUNDOFF, high + 16.0 * UNIT_ROUNDOFF
        return torch.where(moves, low.clamp(-1.0, 1.0), 0.0), torch.where(moves, high.clamp(-1.0, 1.0), 0.0)


@dataclass(frozen=True, eq=False)
class Prices:
    """Of N nodes: see the module. All [N, P] but `input` [N, n]; none is negative."""

    input: Tensor
    square: Tensor  # Λ, of y·(y - h)
    bound: Tensor  # H, of y·(y - u)
    other: Tensor  # M, of z·(z - w)
    zero: Tensor  # of y ≥ 0
    above: Tensor  # of y ≥ h
    below: Tensor  # of the chord
    sign: Tensor  # of the sign of h, where the phase is fixed

    def of(self, program: Program) -> Prices:
        """What a descent left, made valid: numbers, not negative, and none of what is not there."""
        is_open = program.sign == 0
        wanted = dict.fromkeys(vars(self), is_open) | {"input": program.half > 0, "sign": ~is_open}
        return Prices(**{
            name: torch.where(wanted[name] & torch.isfinite(value.double()), value.double().clamp_min(0.0), 0.0)
            for name, value in vars(self).items()
        })  # fmt: skip


@dataclass(frozen=True, eq=False)
class Quadratic:
    """Prices that pay for themselves; `lost` [N] is infinite where none were found."""

    program: Program
    prices: Prices
    steep: Tensor  # [N, n + P] S is about no steeper than this on its diagonal
    lost: Tensor

    @classmethod
    @torch.no_grad()
    def of(cls, program: Program, prices: Prices) -> Quadratic:
        """How far S is from having no negative eigenvalue, and the prices that make up for it."""
        prices = prices.of(program)
        if not program.whole:
            return cls._eliminated(program, replace(prices, other=torch.zeros_like(prices.other)))
        # Estimates are not proven, and half the digits take half the time; now and then they say nothing.
        found = cls._together(program, prices, torch.float32)
        return found if bool((found.lost == 0).all()) else cls._together(program, prices, torch.float64)

    @classmethod
    def _together(cls, program: Program, prices: Prices, digits: torch.dtype) -> Quadratic:
        """The same by one matrix of inputs and neurons, whose eigenvalues are estimated in so many digits."""
        square, other, inputs = prices.square, prices.other, program.input.shape[2]
        rows = torch.cat([program.input, program.inner], dim=-1)
        paid = torch.cat([prices.input, square + prices.bound], dim=-1)
        aside = rows * (-0.5 * (square + other)).unsqueeze(-1)
        spread = rows * other.sqrt().unsqueeze(-1)
        matrix = rows.new_zeros(len(rows), rows.shape[2], rows.shape[2])
        for layer in program.layers:  # a layer's rows know those before it, and some have no such price
            look()
            priced = layer.start + torch.nonzero((other[:, layer] > 0).any(0)).flatten()
            known = slice(0, inputs + layer.start)
            part = spread[:, priced, known]
            matrix[:, known, known] += part.transpose(1, 2) @ part
        matrix[:, inputs:] += aside
        matrix[:, :, inputs:] += aside.transpose(1, 2)
        beside = matrix.abs().sum(-1) - matrix.diagonal(dim1=1, dim2=2).abs()
        matrix.diagonal(dim1=1, dim2=2).add_(paid)
        scale = _scale(paid, beside)
        root = scale.rsqrt()
        negative = matrix * -root.unsqueeze(1) * root.unsqueeze(2)
        guess = negative.to(digits)
        steep = STEEPER * about_greatest(-guess, STEEP_LANCZOS).unsqueeze(-1) * scale
        rooms = torch.cat([torch.ones_like(prices.input), 0.25 * program.most.square()], dim=-1)
        taken = _taken(guess, scale, rooms)
        negative.diagonal(dim1=1, dim2=2).sub_(taken)
        guess = negative.to(digits)
        near = about_greatest(guess, LANCZOS)
        # What rounding makes of it: sums of squares, and a handful of operations on everything else.
        aside = aside * root.unsqueeze(1) * root[:, inputs:].unsqueeze(2)
        squares = (spread * root.unsqueeze(1)).square().sum((1, 2))
        lost = squares + 2.0 * aside.square().sum((1, 2)).sqrt() + (paid * root * root).square().sum(-1).sqrt()
        lost = 4.0 * gamma(rows.shape[1] + 64) * (lost + taken.norm(dim=-1))
        near = closer_greatest(guess, near.clamp_min(LEAST_NEAR)).double()
        short = no_eigenvalue_above(negative, near, 100.0 * near.clamp_min(1e-3), lost).clamp_min(0.0)
        none = torch.isinf(short)
        more = (torch.where(none, 0.0, short).unsqueeze(-1) + taken) * scale * (1.0 + 1e-9)
        prices = replace(prices, input=prices.input + more[:, :inputs], bound=prices.bound + more[:, inputs:])
        return cls(program, prices, steep + STEEPER * more, torch.where(none, torch.inf, 0.0))

    @classmethod
    def _eliminated(cls, program: Program, prices: Prices) -> Quadratic:
        """The same without prices of the other side: the inputs' part of S is diagonal, and only neurons are left once
        it is eliminated. Inputs pay a little more at once, neurons what is missing then."""
        square, inputs = prices.square, program.input.shape[2]
        inner = program.inner * (-0.5 * square).unsqueeze(-1)
        inner = inner + inner.transpose(1, 2)
        mixed = program.input * (-0.5 * square).unsqueeze(-1)
        beside = torch.cat([mixed.abs().sum(1), inner.abs().sum(2) + mixed.abs().sum(2)], dim=-1)
        scale = _scale(torch.cat([prices.input, square + prices.bound], dim=-1), beside)
        prices = replace(prices, input=prices.input + MORE * scale[:, :inputs])
        inner.diagonal(dim1=1, dim2=2).add_(square + prices.bound)
        root = scale[:, inputs:].rsqrt()
        inner = inner * root.unsqueeze(1) * root.unsqueeze(2)
        mixed = mixed * root.unsqueeze(2) * prices.input.rsqrt().unsqueeze(1)
        negative = mixed @ mixed.transpose(1, 2) - inner
        taken = _taken(negative.float(), scale[:, inputs:], 0.25 * program.most.square())
        negative.diagonal(dim1=1, dim2=2).sub_(taken)
        lost = mixed.square().sum((1, 2)) + inner.square().sum((1, 2)).sqrt() + taken.norm(dim=-1)
        lost = 4.0 * gamma(inputs + 16) * lost
        near = about_greatest(negative, LANCZOS)
        short = no_eigenvalue_above(negative, near, 100.0 * near.abs().clamp_min(1e-3), lost).clamp_min(0.0)
        none = torch.isinf(short)
        more = (torch.where(none, 0.0, short).unsqueeze(-1) + taken) * scale[:, inputs:] * (1.0 + 1e-9)
        prices = replace(prices, bound=prices.bound + more)
        steep = STEEP * scale + STEEPER * torch.cat([torch.zeros_like(prices.input), more], dim=-1)
        return cls(program, prices, steep, torch.where(none, torch.inf, 0.0))

    def changed(self, change: Callable[[Tensor], Tensor]) -> Quadratic:
        """With every tensor changed so."""
        program, prices = _changed(self.program, change), _changed(self.prices, change)
        return Quadratic(program, prices, change(self.steep), change(self.lost))

    def take(self, index: Tensor) -> Quadratic:
        return self.changed(lambda part: part[index])

    def paying(self, more: Tensor) -> Quadratic:
        """With as much more [N, n + P] paid by inputs e, and by neurons relu(h) as they are.

        A turned neuron's y has y + h in place of relu(h), whose square is y·(y + h) and h·(y + h) together.
        """
        program, prices = self.program, self.prices
        of_inputs, of_neurons = more[:, : program.input.shape[2]], more[:, program.input.shape[2] :]
        turned = torch.where(program.turned, of_neurons, 0.0)
        paid = replace(
            prices, input=prices.input + of_inputs, bound=prices.bound + of_neurons - turned,
            square=prices.square + turned, other=prices.other + turned,
        )  # fmt: skip
        return replace(self, prices=paid, steep=self.steep + STEEPER * more)

    def times(self, point: Tensor) -> Tensor:
        """S · point [N, n + P]."""
        program, prices, inputs = self.program, self.prices, self.program.input.shape[2]
        e, y = point[:, :inputs], point[:, inputs:]
        rows = _times(program.input, e) + _times(program.inner, y)
        mixed = 0.5 * (prices.square + prices.other)
        back = prices.other * rows - mixed * y
        return torch.cat([
            prices.input * e + _times(program.input.transpose(1, 2), back),
            (prices.square + prices.bound) * y - mixed * rows + _times(program.inner.transpose(1, 2), back),
        ], dim=-1)  # fmt: skip

    @torch.no_grad()
    def drawn(self, low: Tensor, high: Tensor, start: Tensor) -> Line:
        """The tangent near the least point with inputs from `low` to `high` [N, n]; `start` [N, n + P] is near it."""
        program, prices, inputs = self.program, self.prices, self.program.input.shape[2]
        row = prices.above - prices.below * program.chord - prices.sign * program.sign  # of h
        row = row + prices.other * (program.wide + 2.0 * program.constant)
        linear = torch.cat([
            program.goal_input + _times(program.input.transpose(1, 2), row) - prices.input * (low + high),
            program.goal_inner + _times(program.inner.transpose(1, 2), row) + prices.below - prices.zero - prices.above
            - (prices.square + prices.other) * program.constant - prices.bound * program.most
            - prices.other * program.wide,
        ], dim=-1)  # fmt: skip
        constant = (
            program.goal_constant + _dot(row, program.constant) - _dot(prices.below, program.offset)
            + _dot(prices.input, low * high) - _dot(prices.other, program.constant.square())
        )  # fmt: skip
        least, most = torch.cat([low, torch.zeros_like(program.most)], -1), torch.cat([high, program.most], -1)
        point = self._least(linear, least, most, start)
        tangent = linear + 2.0 * self.times(point)
        value = constant - _dot(point, self.times(point))
        far = torch.maximum(least.abs(), most.abs())
        size = self._size(row, far)
        slack = program.goal_error + _dot(row.abs(), program.error) + _dot(prices.square * program.most, program.error)
        # h enters as a square, too: |h² - g²| is at most |h - g| times what both can be.
        entered = 2.0 * (program.reach + program.wide) + program.error + program.most
        slack = slack + _dot(prices.other * entered, program.error)
        normal, inner = tangent[:, :inputs], tangent[:, inputs:].clone()
        for layer in reversed(program.layers):
            down = inner[:, layer].clamp_max(0.0)
            on = down * program.chord[:, layer]
            normal = normal + _times(program.input[:, layer].transpose(1, 2), on)
            inner[:, : layer.start] += _times(program.inner[:, layer, : layer.start].transpose(1, 2), on)
            value = value + _dot(on, program.constant[:, layer]) + _dot(down, program.offset[:, layer])
            slack = slack + _dot(on.abs(), program.error[:, layer])
            size = size + _dot(on.abs(), program.reach[:, layer]) + _dot(down.abs(), program.offset[:, layer].abs())
        size = size + normal.abs().sum(-1) + value.abs()
        slack = (slack + 16.0 * gamma(4 * sum(program.input.shape[1:]) + 256) * size) * (1.0 + 1e-6)
        # From e to d.
        moves = program.half > 0
        away = torch.where(moves, normal / program.half.clamp_min(LEAST), 0.0)
        value = value - _dot(away, program.middle)
        slack = slack + 16.0 * gamma(program.half.shape[1] + 8) * _dot(away.abs(), program.middle.abs() + program.half)
        sound = torch.isfinite(slack + value) & torch.isfinite(away).all(-1) & (self.lost == 0)
        height = torch.where(sound, value - slack * (1.0 + 1e-6), -torch.inf)
        away = torch.where(sound.unsqueeze(-1), away, 0.0)
        return Line(away, height, point)

    def _least(self, linear: Tensor, least: Tensor, most: Tensor, start: Tensor) -> Tensor:
        """[N, n + P] nearly where the function is least: projected gradients with momentum. Any point would do."""
        single = self.single
        linear, low, high, start, steep = (part.float() for part in (linear, least, most, start, self.steep))
        point = torch.minimum(torch.maximum(start.nan_to_num(), low), high)
        follow, last, pace = point, point, 1.0
        rate = 0.5 / steep
        for _ in range(NEAREST_STEPS):
            if out_of_time():
                break
            gradient = linear + 2.0 * single.times(follow)
            point = torch.minimum(torch.maximum(follow - rate * gradient, low), high)
            further = 0.5 * (1.0 + math.sqrt(1.0 + 4.0 * pace * pace))
            follow, last, pace = point + (pace - 1.0) / further * (point - last), point, further
        return torch.minimum(torch.maximum(point.nan_to_num().to(least.dtype), least), most)

    @cached_property
    def single(self) -> Quadratic:
        """The same in single precision, to find points by."""
        return self.changed(Tensor.float)

    def _size(self, row: Tensor, far: Tensor) -> Tensor:
        """[N] no smaller than all that is summed in `drawn`, wherever the inputs are."""
        program, prices, inputs = self.program, self.prices, self.program.input.shape[2]
        own = (prices.square + prices.bound) * program.most.square()
        products = 4.0 * (prices.input.sum(-1) + own.sum(-1) + _dot(prices.square * program.most, program.reach))
        products = products + 4.0 * _dot(prices.other * (program.reach + program.most + program.wide), program.reach)
        products = products + 4.0 * _dot(prices.other * program.wide, program.most)
        goal = program.goal_constant.abs() + _dot(program.goal_input.abs(), far[:, :inputs])
        goal = goal + _dot(program.goal_inner.abs(), far[:, inputs:])
        rows = _dot(row.abs() + prices.square * program.most, program.reach) + 4.0 * prices.input.sum(-1)
        own = prices.below * (1.0 + program.chord) + prices.zero + prices.above + prices.bound * program.most
        return products + goal + rows + _dot(own, program.most) + _dot(prices.below, program.offset.abs())


@dataclass(frozen=True, eq=False)
class Line:
    """normal · d + height is nowhere above the goals of N nodes on their balls."""

    normal: Tensor  # [N, n]
    height: Tensor  # [N], -inf where nothing is known
    point: Tensor  # [N, n + P] where it touches


def _changed(record: R, change: Callable[[Tensor], Tensor]) -> R:
    tensors: dict[str, Any] = {name: change(part) for name, part in vars(record).items() if isinstance(part, Tensor)}
    return replace(record, **tensors)


def _scale(paid: Tensor, beside: Tensor) -> Tensor:
    """What S is measured by: its prices, or a part of what its rows have beside the diagonal."""
    scale = torch.maximum(paid, ROOM * beside)
    return torch.maximum(scale, 1e-9 * scale.amax(-1, keepdim=True)).clamp_min(LEAST)


def _taken(negative: Tensor, scale: Tensor, room: Tensor) -> Tensor:
    """What inputs and neurons pay for the few eigenvalues that are far below zero, at their `scale`; a unit costs
    `room`. For the rest all pay alike."""
    cost = scale * room
    cost = cost.clamp_min(LEAST_COST * cost.mean(-1, keepdim=True).clamp_min(LEAST))
    return taken_where_cheap(negative, cost.to(negative), ENOUGH).double().nan_to_num(0.0, 0.0, 0.0)


def _times(matrix: Tensor, vector: Tensor) -> Tensor:
    """[N, R, C] · [N, C]."""
    return (matrix @ vector.unsqueeze(-1)).squeeze(-1)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum(-1)
