"""Products of the all-layers semidefinite relaxation in the few bits of a proof, and what a node's goal is with them.

The descent of the search (`bounds/semidefinite/`) prices facts of neurons, as they are or turned; here they are all as
they are, y = relu(h) and z = y - h, and the price of y·z may have either sign. Numbers are rounded, and inputs and
neurons pay for what that takes of the least eigenvalue; the function that a checker makes of them is evaluated as it is
on the page of the format, with what the checker's own rounding may cost taken off.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from bounds.geometry.eigenvalue_bounds import LEAST
from bounds.nodes.node_bounds import Lines, NodeBounds
from bounds.nodes.records import Nodes, Pass
from bounds.rounding import gamma
from bounds.semidefinite.all_layers_bound import Priced, priced_on_ball
from bounds.semidefinite.all_layers_quadratic import Program, Quadratic
from bounds.tightening.by_all_layers import FEWEST, ByAllLayers
from verifier.proofs.proof_tree import ProductTerms

FEW, MOST, MOST_TOGETHER = FEWEST, 2048, 4096  # open neurons: below, splits cost less; a list holds no more
STEPS = 60  # of the descent
BITS = 26  # of the checker's matrix, and of prices
POINT_BITS, VALUE_BITS, SCALE_BITS, CROSSED_BITS = 20, 17, 23, 33  # of the numbers written: 2^bits is one, too
FARTHEST = 190.0  # of units' exponents
STEEPEST = 128.0  # a price of y·z is at most that, in units and in those of z, whose price is raised for it
NEEDED = 1.5 * 2.0**-14  # of the least eigenvalue in units, for the checker's factor
SHARES = (0.5, 0.75, 1.02, 2.0, 4.0, 8.0, 16.0, 32.0)  # of that, which are paid besides; more is not


@dataclass(frozen=True, eq=False)
class Drawn:
    """Terms of one node, and the linear function that comes to its goal with them."""

    terms: ProductTerms
    input: Tensor  # [n]
    relu: Tensor  # [P]
    value: Tensor
    error: Tensor


@dataclass(frozen=True, eq=False)
class Rows:
    """The M open neurons of a node as functions of its variables, which are inputs x - center and their ReLUs y."""

    neurons: Tensor  # [M] positions
    moves: Tensor  # [n] bool
    before: Tensor  # [M, n + M] of h
    constant: Tensor  # [M]
    error: Tensor  # [M]

    @classmethod
    def of(cls, program: Program) -> Rows:
        """Of one node's program in which no neuron is turned."""
        neurons, moves = torch.nonzero(program.sign[0] == 0).flatten(), program.half[0] > 0
        of_input = torch.where(moves, program.input[0, neurons] / program.half[0].clamp_min(LEAST), 0.0)
        constant = program.constant[0, neurons] - of_input @ program.middle[0]
        error = program.error[0, neurons] + 1e-12 * program.reach[0, neurons]
        before = torch.cat([of_input, program.inner[0][neurons][:, neurons]], dim=-1)
        return cls(neurons, moves, before, constant, error)

    @property
    def own(self) -> tuple[Tensor, Tensor]:
        """Where each neuron's own variable stands in its row."""
        at = torch.arange(len(self.neurons), device=self.neurons.device)
        return at, len(self.moves) + at

    @property
    def other(self) -> Tensor:
        """[M, n + M] of z = y - h."""
        rows = -self.before
        rows[self.own] += 1.0
        return rows


class AllLayersProducts:
    """Products for nodes of a net with open neurons in several layers."""

    def __init__(self, engine: NodeBounds, radius: float) -> None:
        self.engine, self.radius = engine, radius

    @classmethod
    def possible(cls, engine: NodeBounds) -> bool:
        """Where several layers have open neurons, more than splits would see to, and the format's list holds them."""
        stack = engine.stack
        few = FEW <= stack.open_phases <= MOST and stack.open_phases + stack.x.shape[2] <= MOST_TOGETHER
        return ByAllLayers.possible(engine) and len(stack.layers) > 1 and few

    def priced(self, node: Nodes, seen: Pass) -> Iterator[Priced]:
        """One node after each part of a descent; nothing where few neurons are open, as splits cost less there."""
        if int((node.phase == 0).sum()) >= FEW:
            yield from priced_on_ball(self.engine, node, seen, self.radius, STEPS)

    @torch.no_grad()
    def drawn(self, priced: Priced) -> tuple[Nodes, Drawn] | None:
        """A node with slopes and multipliers that go with its products; None where there are none."""
        node, quadratic = priced.node, priced.quadratic
        program, prices, inputs = quadratic.program, quadratic.prices, quadratic.program.half.shape[1]
        rows = Rows.of(Program.of(self.engine, node, node.slope.new_full((1,), self.radius), turning=False))
        paid = _paid(quadratic, rows) if bool(quadratic.lost[0] == 0) else None
        if paid is None:
            return None
        half, more = program.half[0], torch.zeros_like(quadratic.steep[0])
        more[:inputs] = torch.where(rows.moves, paid.more[:inputs] * half.square(), 0.0)
        more[inputs + rows.neurons] = paid.more[inputs:]
        point = priced.point(more)
        if not bool(torch.isfinite(point).all()):
            return None
        e, y = point[:inputs], point[inputs:]
        h, turned = program.input[0] @ e + program.inner[0] @ y + program.constant[0], program.turned[0]
        terms = ProductTerms(
            rows.neurons, paid.units, paid.prices, _few(program.middle[0] + half * e, POINT_BITS),
            _few(torch.where(turned, y - h, y)[rows.neurons].clamp_min(0.0), VALUE_BITS), paid.scales, paid.crossed,
            paid.others,
        )  # fmt: skip
        # The lower line h is `above` where a neuron is as it is, `zero` where turned.
        lower = prices.zero + prices.above
        share = torch.where(turned, prices.zero, prices.above) / lower
        slope = torch.where(lower > 0, share, ((h > 0) != turned).to(share.dtype))
        return replace(node, slope=slope, multiplier=prices.sign), self._function(node, rows, terms)

    def closes(self, node: Nodes, drawn: Drawn, closed_at: float) -> bool:
        """Whether the node's goal, with what was drawn, is above zero on the ball."""
        engine, (chord, offset) = self.engine, node.lines
        x, z, value, slack = engine.goal_of(node)
        slope = torch.where(node.phase == 0, node.slope, chord)
        lines = Lines(slope, chord, offset, node.phase.to(value.dtype) * node.multiplier)
        group = engine.stack.grouped(node.goal)
        below = engine.relaxed(group, x + drawn.input, z + drawn.relu, value + drawn.value, slack + drawn.error, lines)
        return bool(engine.nearest(node, below.input, below.value - below.slack)[0] > closed_at)

    def _function(self, node: Nodes, rows: Rows, terms: ProductTerms) -> Drawn:
        """F of the page, but for what rounds in a checker."""
        stack, inputs, unit = self.engine.stack, len(rows.moves), torch.exp2(terms.units.double())
        right = rows.other * terms.scales.unsqueeze(-1)
        used = _whole(right / unit) * unit
        point, none = torch.cat([terms.point, terms.values]), torch.zeros_like(terms.values)
        least = torch.cat([-stack.below[0].clamp_max(self.radius), none])
        most = torch.cat([stack.above[0].clamp_max(self.radius), node.upper[0, rows.neurons]])
        down, up = (point - least).clamp_min(0.0), (most - point).clamp_min(0.0)
        far = torch.maximum(down, up)
        astray = (used - right).abs() @ far + terms.scales * rows.error
        level = terms.scales * (terms.values - rows.before @ point - rows.constant)  # of s·z, at the point
        below, top = level + astray, astray - level
        above = top - terms.scales * node.lower[0, rows.neurons]
        paid = terms.prices * 2.0**-BITS * unit.square()
        crossed, others = terms.crossed * 2.0**-BITS * unit[inputs:], terms.others.double()
        end = torch.where(crossed > 0, -top, below)
        linear = paid * (down - up) + (crossed * terms.values + others * (below - above)) @ used
        linear[inputs:] += crossed * end
        parts = torch.cat([crossed * terms.values * end, -others * below * above, -paid * down * up, -linear * point])
        size = parts.abs().sum() + paid @ far.square() + linear.abs() @ far
        size = size + ((crossed * terms.values).abs() + others * (below.abs() + above.abs())) @ (used.abs() @ far)
        relu = torch.zeros_like(node.slope[0]).index_copy(0, rows.neurons, linear[inputs:])
        error = 64.0 * gamma(2 * len(far) + sum(stack.x.shape[1:])) * size
        return Drawn(terms, linear[:inputs], relu, parts.sum(), error)


@dataclass(frozen=True, eq=False)
class Paid:
    """A node's prices in few bits, of which its matrix has no negative eigenvalue still, as `ProductTerms` has them."""

    units: Tensor
    prices: Tensor
    scales: Tensor
    crossed: Tensor
    others: Tensor
    more: Tensor  # [n + M] than the prices they are made of, of squares of inputs x - center and of neurons


def _paid(quadratic: Quadratic, rows: Rows) -> Paid | None:
    """The node's prices; None where they pay for nothing."""
    prices, inputs, other_side = quadratic.prices, len(rows.moves), rows.other
    turned, half = quadratic.program.turned[0, rows.neurons], quadratic.program.half[0]
    one, two, square = (part[0, rows.neurons] for part in (prices.bound, prices.other, prices.square))
    crossed, bound, other = square - two, torch.where(turned, two, one), torch.where(turned, one, two)
    of_inputs = torch.where(rows.moves, prices.input[0] / half.clamp_min(LEAST).square(), 0.0)
    paid, squares = torch.cat([of_inputs, bound]), other @ other_side.square()
    diagonal = paid + squares
    diagonal[inputs:] += crossed * other_side[rows.own]
    exponents = (0.5 * torch.maximum(diagonal, squares).clamp_min(LEAST).log2()).ceil().clamp(-FARTHEST, FARTHEST)
    exponents[:inputs] = torch.where(rows.moves, exponents[:inputs], FARTHEST)  # what can't move has no coefficient
    unit = torch.exp2(exponents)
    with_other = torch.maximum(other.sqrt(), crossed.abs() / (STEEPEST * unit[inputs:]))
    scales = _few(torch.where(other > 0, with_other, 0.5 * crossed.abs() / unit[inputs:]), SCALE_BITS)
    others, most = (other > 0) & (scales > 0), 2.0**CROSSED_BITS
    whole = torch.where(scales > 0, crossed / (scales * unit[inputs:]).clamp_min(LEAST) * 2.0**BITS, 0.0)
    whole = whole.round().clamp(-most, most)
    # What a checker makes of them, and the least that is to be paid besides.
    used = _whole(other_side * scales.unsqueeze(-1) / unit)
    mixed = 0.5 * 2.0**-BITS * whole.unsqueeze(-1) * used
    matrix = used[others].T @ used[others] + torch.diag(paid / unit.square())
    matrix[inputs:] += mixed
    matrix[:, inputs:] += mixed.T
    for share in SHARES:
        more = share * NEEDED
        room = matrix + (more - NEEDED) * torch.eye(len(matrix), dtype=matrix.dtype)
        if int(torch.linalg.cholesky_ex(room).info) == 0:
            whole_prices = ((paid / unit.square() + more) * 2.0**BITS).ceil()
            more_paid = whole_prices * 2.0**-BITS * unit.square() - paid
            return Paid(exponents.long(), whole_prices.long(), scales, whole.long(), others, more_paid)
    return None


def _whole(numbers: Tensor) -> Tensor:
    """Numbers rounded to whole multiples of 2^-26."""
    return (numbers * 2.0**BITS).round() * 2.0**-BITS


def _few(numbers: Tensor, bits: int) -> Tensor:
    """Numbers rounded to whole multiples of 2^-bits of the largest, towards zero."""
    unit = torch.exp2(numbers.abs().amax().clamp(1e-60, 1e60).log2().ceil()) * 2.0**-bits
    return torch.trunc(numbers / unit) * unit
